"""From a path to one subject: the layout that fits, and the scan that was meant."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tractome.errors import LayoutError
from tractome.io.layouts import bids, derivatives, hcp, plain
from tractome.io.layouts.found import FoundSubject, Scan
from tractome.io.layouts.names import label

PathLike = str | os.PathLike[str]

_MAX_LISTED = 12


class Layout(Protocol):
    """What a module of a layout has."""

    NAME: str

    def scans_in(self, path: Path, subject: str | None, session: str | None) -> list[Scan]:
        """Scans at or below a path; of the subject and session named, where listing the others can be saved."""

    def main_scans(self, scans: Sequence[Scan]) -> list[Scan]:
        """Of the scans of one session those that can be fitted on their own, the preferred ones where there are."""

    def describe(self, scan: Scan) -> FoundSubject:
        """Gather what belongs to a scan."""


LAYOUTS: tuple[Layout, ...] = (hcp, derivatives, bids, plain)
"""In the order in which they are tried: what is laid out most strictly comes first."""


def find_subject_in(
    path: PathLike,
    subject: str | None = None,
    session: str | None = None,
    scan: str | None = None,
    *,
    command: str = "tractome run",
) -> FoundSubject:
    """Find the files of one subject.

    Parameters
    ----------
    path : path
        A data set, the folder of a subject or session, a folder with a scan, or the scan itself.
    subject, session : str or None
        Labels, with or without ``sub-`` and ``ses-``; needed where there are several.
    scan : str or None
        Part of the name of the scan, such as ``run-2`` or ``acq-multi``, where a session has several.
    command : str
        What the user typed before the path, for advice in errors.

    Raises
    ------
    LayoutError
        Nothing is there, no scan is found, several are and none is named, or the one named is not among them.
    GradientError
        The scan has no b-values or directions.
    """
    path = Path(path)
    if not path.exists():
        message = f"There is no {path}. Give a data set, the folder of a subject, or a diffusion scan."
        raise LayoutError(message)
    subject, session = label(subject, "sub-"), label(session, "ses-")
    for layout in LAYOUTS:
        scans = layout.scans_in(path, subject, session)
        if scans:
            chosen = _choose(layout, scans, _Wanted(path, subject, session, scan, command))
            return layout.describe(chosen)
        if (subject or session) and (others := layout.scans_in(path, None, None)):
            _refuse_unknown(others, _Wanted(path, subject, session, scan, command))
    message = (
        f"{path} holds no diffusion scan that is understood. Known are HCP's T1w/Diffusion/data.nii.gz, BIDS "
        "sub-X/[ses-Y/]dwi/*_dwi.nii.gz, raw or preprocessed (QSIPrep), and plain 4-D .nii or .nii.gz files with "
        "b-values and directions beside them. Name the files with --dwi, --bval and --bvec."
    )
    raise LayoutError(message)


class _Wanted:
    """What the user asked for, and how to ask for something else."""

    def __init__(self, path: Path, subject: str | None, session: str | None, scan: str | None, command: str) -> None:
        self.path, self.subject, self.session, self.scan, self.command = path, subject, session, scan, command

    def who(self, scan: Scan) -> str:
        """Whose scan it is."""
        return f"Subject {scan.subject}" if scan.subject else str(self.path)

    def commands(self, scans: Sequence[Scan], *, whole: bool) -> str:
        """One command per scan (per subject unless `whole`), a line each."""
        lines = []
        for each in scans:
            words = [*self.command.split(), str(self.path)]
            if self.subject is not None or (each.subject is not None and len({s.subject for s in scans}) > 1):
                words += ["--subject", str(self.subject or each.subject)]
            if whole and each.session is not None:
                words += ["--session", each.session]
            if whole and each.name and _n_same(scans, each) > 1:
                words += ["--scan", each.name]
            lines.append("  " + shlex.join(words))
        unique = list(dict.fromkeys(lines))
        more = [f"  ... and {len(unique) - _MAX_LISTED} more"] if len(unique) > _MAX_LISTED else []
        return "\n".join([*unique[:_MAX_LISTED], *more])


def _n_same(scans: Sequence[Scan], scan: Scan) -> int:
    return sum((each.subject, each.session) == (scan.subject, scan.session) for each in scans)


def _choose(layout: Layout, scans: Sequence[Scan], wanted: _Wanted) -> Scan:
    """The one scan that is meant; its name is kept only where it has to be told from others."""
    subjects = sorted({each.subject or "" for each in scans})
    if len(subjects) > 1:
        listed = ", ".join(subjects[:_MAX_LISTED]) + (", ..." if len(subjects) > _MAX_LISTED else "")
        message = (
            f"{wanted.path} holds {len(subjects)} subjects: {listed}. Name one:\n{wanted.commands(scans, whole=False)}"
        )
        raise LayoutError(message)
    sessions = sorted({each.session or "" for each in scans})
    if len(sessions) > 1:
        message = (
            f"{wanted.who(scans[0])} has {len(sessions)} sessions with a diffusion scan: {', '.join(sessions)}. "
            f"Each has results of its own; name one:\n{wanted.commands(scans, whole=True)}"
        )
        raise LayoutError(message)
    main = layout.main_scans(scans)
    if wanted.scan is not None:
        named = _named(scans, wanted.scan)
        if not named:
            names = ", ".join(each.name or each.dwi.name for each in scans)
            message = f"No scan of {wanted.who(scans[0])} is called {wanted.scan!r}. There are: {names}."
            raise LayoutError(message)
        main = named
    if len(main) > 1:
        message = (
            f"{wanted.who(main[0])} has {len(main)} diffusion scans"
            f"{f' in session {main[0].session}' if main[0].session else ''}. They are not joined; name one:\n"
            f"{wanted.commands(main, whole=True)}"
        )
        raise LayoutError(message)
    return main[0]


def _named(scans: Sequence[Scan], text: str) -> list[Scan]:
    """Scans of exactly this name; else those whose name has all its parts; else those that hold the text."""
    exact = [each for each in scans if text in (each.name, each.dwi.name)]
    parts = [each for each in scans if set(text.split("_")) <= set(each.name.split("_"))]
    return exact or parts or [each for each in scans if text in each.name]


def _refuse_unknown(others: Sequence[Scan], wanted: _Wanted) -> None:
    """Raise for a subject or session that is not among those that are there."""
    subjects = sorted({each.subject for each in others if each.subject is not None})
    if wanted.subject is not None and subjects and wanted.subject not in subjects:
        listed = ", ".join(subjects[:_MAX_LISTED]) + (", ..." if len(subjects) > _MAX_LISTED else "")
        message = f"{wanted.path} has no subject {wanted.subject!r}. There are: {listed}."
        raise LayoutError(message)
    sessions = sorted({each.session for each in others if each.session and wanted.subject in (None, each.subject)})
    if wanted.session is not None and sessions:
        message = (
            f"{wanted.path} has no session {wanted.session!r} with a diffusion scan. There are: {', '.join(sessions)}."
        )
        raise LayoutError(message)
    if wanted.session is not None:
        message = f"The scans in {wanted.path} have no sessions. Leave --session out."
        raise LayoutError(message)
