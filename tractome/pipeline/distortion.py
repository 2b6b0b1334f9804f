"""Susceptibility distortion of a scan, from whichever of its files shows it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.errors import ImageError, OptionError
from tractome.io.acquisition import Acquisition, acquisition_of
from tractome.io.images import read_volume
from tractome.io.nifti import open_nifti
from tractome.options import PreprocessOptions
from tractome.pipeline.ledger import Facts
from tractome.pipeline.listener import Listener
from tractome.stages.register.rigid import b0_to_t1
from tractome.stages.register.sampling import resample

if TYPE_CHECKING:
    from tractome.pipeline.raw import PreprocessFiles
    from tractome.stages.preprocess import Distortion, Frame

LEAST_GAIN = 0.01
"""By so much the agreement with the T1 must rise for its correction to be believed."""

Found = tuple["Distortion | None", Facts, list[str]]


def find_distortion(
    b0: NDArray[np.float32],
    mask: NDArray[np.bool_],
    room: NDArray[np.bool_],
    frame: Frame,
    acquisition: Acquisition,
    options: PreprocessOptions,
    helpers: PreprocessFiles,
    listener: Listener,
) -> Found:
    """Displacement along the phase-encode axis, if anything shows it; what was measured; what could not be done.

    Raises
    ------
    OptionError
        The source that was asked for by name is not there.
    """
    source, why = _choose(acquisition, options, helpers)
    if source is None:
        return None, {"source": "none", "reason": why}, [f"Distortion was not corrected: {why}."]
    if source == "reversed":
        return _by_pair(b0, mask, room, frame, acquisition, helpers, listener)
    return _by_t1(b0, mask, room, frame, helpers.t1, listener)


def _choose(acquisition: Acquisition, options: PreprocessOptions, helpers: PreprocessFiles) -> tuple[str | None, str]:
    asked = options.distortion_source
    there = {"reversed": bool(helpers.reversed_phase), "t1": helpers.t1 is not None}
    if asked != "auto" and not there[asked]:
        what = "a T1 with --t1" if asked == "t1" else "a b0 of reversed phase encoding with --reversed-b0"
        message = f"--distortion-source {asked} needs {what}. Give it, or leave distortion out of --preprocess-steps."
        raise OptionError(message)
    if acquisition.phase_axis is None:
        if asked != "auto":
            message = "Nothing says along which axis the phase was encoded. Say it with --phase-encoding, such as j."
            raise OptionError(message)
        return None, "nothing says along which axis the phase was encoded (say it with --phase-encoding)"
    for source in ("reversed", "t1") if asked == "auto" else (asked,):
        if there[source]:
            return source, ""
    return None, "there is neither a b0 of reversed phase encoding nor a T1"


def _by_pair(
    b0: NDArray[np.float32],
    mask: NDArray[np.bool_],
    room: NDArray[np.bool_],
    frame: Frame,
    acquisition: Acquisition,
    helpers: PreprocessFiles,
    listener: Listener,
) -> Found:
    from tractome.stages.preprocess import distortion_facts, distortion_from_pair

    path, other = _reversed(acquisition, helpers.reversed_phase)
    second, notices = _first_volume(path, frame.grid)
    ratio = -1.0
    if other.readout_s and acquisition.readout_s:
        ratio = -other.readout_s / acquisition.readout_s
    progress = listener.progress("distortion", "rounds")
    found, motion = distortion_from_pair(b0, second, room, frame, ratio, progress)
    facts = {"source": "reversed", "image": path.name, **distortion_facts(found, mask)}
    facts |= {"rotation_deg": motion.rotation_deg, "readout_ratio": -ratio}
    return found, facts, notices


def _reversed(acquisition: Acquisition, paths: tuple[Path, ...]) -> tuple[Path, Acquisition]:
    """The first image whose phase encoding is opposite to the scan's, or not said."""
    for path in paths:
        other = acquisition_of(path)
        if other.phase_axis is not None and other.phase_axis != acquisition.phase_axis:
            continue
        same = other.phase_sign is not None and other.phase_sign == acquisition.phase_sign
        if not same or acquisition.phase_sign is None:
            return path, other
    message = (
        f"{', '.join(path.name for path in paths)}: none has the opposite phase encoding of the scan along the same "
        "axis. Give one that has, or leave distortion out of --preprocess-steps."
    )
    raise ImageError(message)


def _first_volume(path: Path, grid: Grid) -> tuple[NDArray[np.float32], list[str]]:
    opened = open_nifti(path)
    volume = np.nan_to_num(next(opened.volumes()))
    notices = list(opened.notices)
    if opened.n_volumes > 1:
        notices.append(f"Of the {opened.n_volumes} volumes of {path.name} the first is taken as its b0.")
    if not opened.grid.is_same(grid):
        volume = resample(volume, opened.grid, grid)
        notices.append(f"{path.name} lies on another grid than the scan and was brought to it.")
    return volume, notices


def _by_t1(
    b0: NDArray[np.float32],
    mask: NDArray[np.bool_],
    room: NDArray[np.bool_],
    frame: Frame,
    t1: Path | None,
    listener: Listener,
) -> Found:
    from tractome.stages.preprocess import distortion_facts, from_t1

    assert t1 is not None
    head, t1_grid = read_volume(t1)
    matrix = b0_to_t1(b0, mask, frame.grid, head, t1_grid, 0.0).matrix
    nearby = resample(head, t1_grid, frame.grid, matrix)
    progress = listener.progress("distortion", "rounds")
    found = from_t1(b0, nearby, room, frame.grid, frame.phase_axis, mask, progress)
    facts = {"source": "t1", "image": t1.name, **distortion_facts(found, mask)}
    if found.after < found.before + LEAST_GAIN:
        # What was tried and left is not what was done.
        facts = {"source": "none", "reason": "the T1 agreed no better with the corrected b0", "tried": facts}
        return None, facts, ["Distortion was not corrected: the T1 agreed no better with the corrected b0."]
    return found, facts, []
