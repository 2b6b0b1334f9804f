"""A whole synthetic subject with known wiring: `make_phantom` draws it, `write_phantom` writes its folder."""

from __future__ import annotations

from tractome.phantom.subject import Phantom, make_phantom, phantom_grid
from tractome.phantom.write import write_phantom

__all__ = ["Phantom", "make_phantom", "phantom_grid", "write_phantom"]
