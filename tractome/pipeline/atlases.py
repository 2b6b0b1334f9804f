"""The parcellations that a subject has: which is meant, and what it holds."""

from __future__ import annotations

import dataclasses

from tractome.datatypes.parcellation import Parcellation
from tractome.errors import OptionError
from tractome.io.images import read_labels
from tractome.pipeline.ledger import Ledger


def choose_atlas(ledger: Ledger, atlas: str | None, stage: str) -> str:
    """The parcellation to use: the one named, or the only one there is.

    Parameters
    ----------
    ledger : Ledger
    atlas : str or None
    stage : str
        The stage that must have been done for it: ``"parcellate"`` or ``"connect"``.

    Raises
    ------
    OptionError
        None was named and there are several, or the one named is not there.
    """
    prefix = f"{stage}/"
    names = [name.removeprefix(prefix) for name in sorted(ledger.records()) if name.startswith(prefix)]
    if atlas is not None and (atlas in names or not names):
        return atlas
    if not names:
        ledger.finished(stage)
    if atlas is None and len(names) == 1:
        return names[0]
    known = ", ".join(names)
    message = (
        f"{ledger.subject.root} has {len(names)} parcellations; choose one with --atlas: {known}."
        if atlas is None
        else f"{atlas!r} was not brought to this subject ({stage}); it has: {known}."
    )
    raise OptionError(message)


def choose_atlases(ledger: Ledger, listed: str | None) -> tuple[str, ...]:
    """Several parcellations, with commas between their names, or ``"all"``; None for the only one there is."""
    if listed == "all":
        names = [
            name.removeprefix("parcellate/") for name in sorted(ledger.records()) if name.startswith("parcellate/")
        ]
        return tuple(names) or (choose_atlas(ledger, None, "parcellate"),)
    parts = dict.fromkeys(part.strip() for part in (listed or "").split(",") if part.strip())
    return tuple(choose_atlas(ledger, part, "parcellate") for part in parts or [None])


def read_parcellation(ledger: Ledger, atlas: str) -> Parcellation:
    """Read the parcellation that `parcellate_subject` wrote."""
    from tractome.io.atlases import read_region_table

    subject = ledger.subject
    labels, grid = read_labels(subject.labels(atlas))
    from_image = bool(ledger.finished(f"parcellate/{atlas}").facts["from_image"])
    regions = dataclasses.replace(read_region_table(subject.regions(atlas), atlas), from_image=from_image)
    return Parcellation.from_labels(labels, grid, regions)
