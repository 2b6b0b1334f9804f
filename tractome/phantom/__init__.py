"""A whole synthetic subject with known wiring: `make_phantom` draws it, `write_phantom` writes its folder."""

from __future__ import annotations

from tractome.phantom.layouts import phantom_files
from tractome.phantom.presets import PRESETS, preset_options
from tractome.phantom.subject import Phantom, make_phantom, phantom_grid
from tractome.phantom.write import write_phantom

__all__ = [
    "PRESETS",
    "Phantom",
    "make_phantom",
    "phantom_files",
    "phantom_grid",
    "preset_options",
    "write_phantom",
]
