"""The atlases that come with tractome: one folder each, data only."""

from importlib.resources import files
from pathlib import Path

ATLAS_ROOT: Path = Path(str(files(__name__)))
"""Folder that holds one folder per atlas."""
