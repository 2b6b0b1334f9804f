"""Whole streamlines of a subject whose table of ends is kept: from a file, or tracked again from their seeds."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.tractogram import Tractogram
from tractome.errors import TableError
from tractome.io.hashing import sha256_file
from tractome.io.tractograms import read_streamline_tables, read_tractogram
from tractome.options import TrackOptions
from tractome.pipeline.layout import TRACTOGRAM_FORMATS, SubjectFolder
from tractome.pipeline.ledger import Ledger
from tractome.pipeline.track import tracking_material
from tractome.pipeline.tracking_files import TrackingFiles
from tractome.pipeline.until import ROLES as UNTIL_ROLES
from tractome.provenance import StageRecord

ADOPTED = "tractogram"
"""Role of a tractogram that was made elsewhere, among the inputs of the step that made its table."""


def kept_streamlines(ledger: Ledger) -> Path | None:
    """The file of whole streamlines that belongs to the table: kept while tracking, or what the table was made from."""
    tracked = ledger.finished("track")
    if ADOPTED in tracked.input_paths:
        path = Path(tracked.input_paths[ADOPTED])
        return path if path.is_file() else None
    paths = (ledger.subject.tractogram(suffix) for suffix in TRACTOGRAM_FORMATS)
    return next((path for path in paths if path.is_file()), None)


def require_whole(ledger: Ledger, why: str, *, retrace: bool) -> Path | None:
    """The kept file of whole streamlines; None where they are to be tracked again.

    Raises
    ------
    TableError
        None is kept, and `retrace` was not asked for or cannot be done.
    """
    kept = kept_streamlines(ledger)
    tracked = ledger.finished("track")
    if kept is not None or (retrace and ADOPTED not in tracked.input_paths):
        return kept
    name = ledger.subject.name
    if ADOPTED in tracked.input_paths:
        message = (
            f"{why}: that needs whole streamlines, and the tractogram of {name} is no longer at "
            f"{tracked.input_paths[ADOPTED]}. Put it back, or connect it from where it is."
        )
    else:
        message = (
            f"{why}: that needs whole streamlines, and {name} keeps only their ends. Pass --retrace to track the same "
            f"streamlines again (tracking took {tracked.seconds:.0f} s; without what was rejected it takes less), or "
            "track with --tractogram trx to keep them."
        )
    raise TableError(message)


def whole_streamlines(ledger: Ledger, kept: Path | None) -> Iterator[Tractogram]:
    """Yield all whole streamlines of a subject, block by block, those of its table one by one.

    Parameters
    ----------
    ledger : Ledger
    kept : Path or None
        The file that holds them; None to track them again.

    Raises
    ------
    TableError
        They are not those of the table (known when the last one has come).
    """
    blocks = read_tractogram(kept, None) if kept is not None else _retraced(ledger)
    # What .trk files hold is rounded.
    is_exact = kept is None or kept.suffix.lower() != ".trk"
    found, n_found = hashlib.sha256(), 0
    for block in blocks:
        n_found += block.n_streamlines
        if is_exact:
            _add_ends(found, np.stack([block.points[block.offsets[:-1]], block.points[block.offsets[1:] - 1]], axis=1))
        yield block
    expected, n_expected = hashlib.sha256(), 0
    for table in read_streamline_tables(ledger.subject.streamline_table):
        n_expected += table.n_streamlines
        if is_exact:
            _add_ends(expected, table.ends_mm)
    if n_found != n_expected or found.digest() != expected.digest():
        what = str(kept) if kept is not None else "Tracking again"
        message = (
            f"{what} gives {n_found:,} streamlines that are not the {n_expected:,} of the table of "
            f"{ledger.subject.name}. Track again, with --tractogram trx to keep them."
        )
        raise TableError(message)


def _add_ends(digest: hashlib._Hash, ends_mm: NDArray[np.float32]) -> None:
    digest.update(np.ascontiguousarray(ends_mm, dtype="<f4").data)


def _retraced(ledger: Ledger) -> Iterator[Tractogram]:
    from tractome.stages.track import retrace

    tracked = ledger.finished("track")
    _require_unchanged(tracked)
    known = {field.name for field in dataclasses.fields(TrackOptions)}
    options = TrackOptions(**{name: value for name, value in tracked.options.items() if name in known})
    orientations, material = tracking_material(ledger, options, _tracking_files(tracked))
    accepted = _seeds_of(ledger.subject)
    progress = ledger.listener.progress("streamlines again", "streamlines")
    yield from retrace(orientations, options, accepted, **material, progress=progress)


def _seeds_of(subject: SubjectFolder) -> NDArray[np.int64]:
    """Seed index of each row of the table, (n_streamlines,) int64: all that must be in memory."""
    return np.concatenate([table.seed_index for table in read_streamline_tables(subject.streamline_table)])


def _require_unchanged(tracked: StageRecord) -> None:
    for role, path in tracked.input_paths.items():
        if role in UNTIL_ROLES:  # they said how many streamlines there are, and that is known
            continue
        if not Path(path).is_file() or sha256_file(Path(path)) != tracked.inputs[role]:
            state = "is not there any more" if not Path(path).is_file() else "changed"
            message = f"{path} ({role}) {state} since the streamlines were tracked from it. Track again."
            raise TableError(message)


def _tracking_files(tracked: StageRecord) -> TrackingFiles:
    """The files that tracking was given, from its record."""
    paths = {role: Path(path) for role, path in tracked.input_paths.items()}

    def numbered(name: str) -> tuple[Path, ...]:
        roles = [role for role in paths if role.startswith(f"{name}_")]
        return tuple(paths[role] for role in sorted(roles, key=lambda role: int(role.rpartition("_")[2])))

    return TrackingFiles(
        paths.get("tissue"),
        paths.get("seed_mask"),
        paths.get("seed_points"),
        numbered("include"),
        numbered("exclude"),
        paths.get("tracking_mask"),
    )
