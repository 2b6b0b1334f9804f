"""Maps that are sampled along streamlines: those of the fit, and any that are given."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tractome.datatypes.fields import ScalarMap
from tractome.datatypes.measures import MAP_UNITS
from tractome.errors import ImageError, OptionError
from tractome.io.hashing import sha256_file
from tractome.io.images import read_mask, read_scalar_map, read_volume
from tractome.pipeline.adopt import map_names
from tractome.pipeline.ledger import Ledger


@dataclass(frozen=True)
class MapFile:
    """A map and its file.

    Parameters
    ----------
    name, unit : str
    path : Path
    role : str
        Among the inputs of a step.
    mask : Path or None
        Where it is defined, the brain mask; None for wherever it is finite.
    """

    name: str
    path: Path
    unit: str
    role: str
    mask: Path | None = None

    def is_hash(self, sha256: str | None) -> bool:
        """Whether the file has this hash."""
        return sha256 is not None and sha256_file(self.path) == sha256


def parse_map(words: str) -> MapFile:
    """``"myelin=t1t2.nii.gz"``, or with a unit ``"t1[ms]=t1.nii.gz"``, to a map.

    Raises
    ------
    OptionError
        Not of that form, or a name that cannot be part of a file name.
    ImageError
        There is no such file.
    """
    found = re.fullmatch(r"([A-Za-z][A-Za-z0-9]*)(?:\[([^\]=]+)\])?=(.+)", words)
    if found is None:
        message = (
            f"--map takes NAME=FILE or NAME[UNIT]=FILE, such as t1[ms]=t1.nii.gz, the name of letters and digits; "
            f"got {words!r}."
        )
        raise OptionError(message)
    name, unit, path = found.groups()
    if not Path(path).is_file():
        message = f"There is no {path}. Check the path given with --map {name}."
        raise ImageError(message)
    return MapFile(name, Path(path), unit or MAP_UNITS.get(name, "not stated"), f"map_{name}")


def subject_maps(ledger: Ledger) -> tuple[MapFile, ...]:
    """The maps of a subject: of its tensors, or those that came with a tractogram made elsewhere."""
    if "fit" in ledger.records():
        subject = ledger.subject
        return tuple(
            MapFile(name, subject.tensor_map(name), MAP_UNITS[name], name, subject.mask) for name in map_names(ledger)
        )
    tracked = ledger.finished("track")
    units: dict[str, str] = tracked.facts.get("maps", {})
    return tuple(
        MapFile(name, Path(tracked.input_paths[f"map_{name}"]), unit, f"map_{name}") for name, unit in units.items()
    )


def read_map(file: MapFile) -> ScalarMap:
    """Read a map: where its mask says, or wherever it is finite (0 is a value)."""
    if file.mask is not None:
        return read_scalar_map(file.path, file.name, file.unit, read_mask(file.mask)[0])
    if not file.path.is_file():
        message = (
            f"There is no {file.path} any more, from which {file.name} was read. Put it back, or give it with --map."
        )
        raise ImageError(message)
    volume, grid = read_volume(file.path)
    mask = np.isfinite(volume)
    if not mask.any():
        message = f"{file.path} holds no finite value; a map of {file.name} is needed."
        raise ImageError(message)
    return ScalarMap(file.name, file.unit, volume[mask], mask, grid)
