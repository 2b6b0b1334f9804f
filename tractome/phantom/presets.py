"""Named kinds of synthetic subject: a table of options that differ from the defaults."""

from __future__ import annotations

from typing import Any

from tractome.errors import OptionError
from tractome.options import PHANTOM_PRESETS, PhantomOptions
from tractome.phantom.layouts import BY_LAYOUT

PRESETS: dict[str, dict[str, Any]] = {
    "standard": {},
    # A 3T subject of the Human Connectome Project after its preprocessing (Glasser et al. 2013, Sotiropoulos et al.
    # 2013): volumes, voxels, b-values and their jitter, storage, files. The directions are our own.
    "hcp": {
        "voxel_size_mm": 1.25,
        "field_of_view_mm": (181.25, 217.5, 181.25),
        "anatomy_voxel_size_mm": 0.7,
        "t1_voxel_size_mm": 0.7,
        "n_deep": 16,
        "shells": (1000.0, 2000.0, 3000.0),
        "directions": (90, 90, 90),
        "n_b0": 18,
        "b0_value_s_per_mm2": 5.0,
        "b_jitter_s_per_mm2": (10.0, 15.0, 20.0),
        "gradient_nonlinearity": 0.1,
        "storage": "LAS",
        "label_numbers": "freesurfer",
        "layout": "hcp",
        "value_type": "float32",
    },
    "clinical": {
        "voxel_size_mm": 2.5,
        "shells": (1000.0,),
        "directions": (30,),
        "n_b0": 2,
        "storage": "LAS",
    },
    "oblique": {
        "slice_thickness_mm": 3.0,
        "storage": "oblique",
    },
}
"""By name: the fields of `PhantomOptions` that differ from their defaults."""


def preset_options(preset: str, **changes: Any) -> PhantomOptions:
    """Options of a preset; a layout among `changes` brings what goes with it, and `changes` override both.

    Raises
    ------
    OptionError
        No preset of this name, or a value out of range.
    """
    if preset not in PRESETS:
        message = f"preset = {preset!r} is not known; choose one of: {', '.join(PHANTOM_PRESETS)}."
        raise OptionError(message)
    return PhantomOptions(**{**PRESETS[preset], **BY_LAYOUT.get(changes.get("layout", ""), {}), **changes})
