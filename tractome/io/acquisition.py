"""How a scan was measured, as far as its JSON sidecar says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tractome.errors import ImageError
from tractome.io.images import read_facts

_AXES = {"i": 0, "j": 1, "k": 2}


@dataclass(frozen=True)
class Acquisition:
    """What matters for correcting a scan; each is None where nothing says so.

    Parameters
    ----------
    phase_axis : int or None
        Voxel axis of phase encoding.
    phase_sign : int or None
        1 along the axis, -1 against it. Some scanners tell the axis alone.
    readout_s : float or None
        Total read-out time, seconds.
    slice_axis : int or None
    partial_fourier : float or None
        Share of the frequencies that was measured.
    """

    phase_axis: int | None = None
    phase_sign: int | None = None
    readout_s: float | None = None
    slice_axis: int | None = None
    partial_fourier: float | None = None


def acquisition_of(path: Path, metadata: Mapping[str, Any] | None = None) -> Acquisition:
    """What a sidecar says of an image.

    Parameters
    ----------
    path : Path
        The image.
    metadata : mapping or None
        Content of its sidecars; None to read the JSON file beside the image.

    Raises
    ------
    ImageError
        The direction of phase encoding is none, or a number is not one.
    """
    known = read_facts(path) if metadata is None else metadata
    direction = known.get("PhaseEncodingDirection")
    axis, sign = (None, None) if direction is None else phase_direction(str(direction), f"{path.name}'s sidecar")
    if axis is None and known.get("PhaseEncodingAxis") is not None:
        axis, _ = phase_direction(str(known["PhaseEncodingAxis"]), f"{path.name}'s sidecar")
    across = known.get("SliceEncodingDirection")
    slice_axis = None if across is None else phase_direction(str(across), f"{path.name}'s sidecar")[0]
    return Acquisition(
        axis, sign, _number(known, "TotalReadoutTime", path), slice_axis, _number(known, "PartialFourier", path)
    )


def phase_direction(text: str, where: str) -> tuple[int, int]:
    """``"j-"`` -> (1, -1): voxel axis and sign.

    Raises
    ------
    ImageError
        It is none of i, j, k with or without a minus.
    """
    name, minus = text.strip().removesuffix("-"), text.strip().endswith("-")
    if name not in _AXES:
        message = f"{where} says {text!r} for a direction along an image axis; it must be one of i, i-, j, j-, k, k-."
        raise ImageError(message)
    return _AXES[name], -1 if minus else 1


def _number(known: Mapping[str, Any], key: str, path: Path) -> float | None:
    value = known.get(key)
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        message = f"{key} in the sidecar of {path.name} is {value!r}, which is no number. Mend or remove it."
        raise ImageError(message) from error
