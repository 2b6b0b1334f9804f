"""tractome: one diffusion MRI scan, or a thousand, to named brain graphs.

Names are loaded when first used (PEP 562), so importing tractome costs nothing.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Grid": "tractome.datatypes.grid",
    "GradientTable": "tractome.datatypes.diffusion",
    "DiffusionImage": "tractome.datatypes.diffusion",
    "ScalarMap": "tractome.datatypes.fields",
    "TensorField": "tractome.datatypes.fields",
    "OrientationField": "tractome.datatypes.fields",
    "TissueMap": "tractome.datatypes.tissue",
    "Tractogram": "tractome.datatypes.tractogram",
    "StreamlineTable": "tractome.datatypes.tractogram",
    "RegionTable": "tractome.datatypes.parcellation",
    "Parcellation": "tractome.datatypes.parcellation",
    "Connectome": "tractome.datatypes.connectome",
    "BrainGraph": "tractome.datatypes.graph",
    "TractomeError": "tractome.errors",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    message = f"module 'tractome' has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted(__all__)
