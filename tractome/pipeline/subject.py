"""Opening the folder of a subject to work in it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tractome.errors import OutputError
from tractome.io.atomic import remove_empty_folders, remove_leftovers, write_json
from tractome.pipeline.layout import (
    SubjectFolder,
    find_subject,
    make_folder,
    plain_label,
    require_file_name,
    subject_label,
)
from tractome.pipeline.ledger import Ledger
from tractome.pipeline.listener import Listener

DESCRIPTION = {
    "BIDSVersion": "1.10.0",
    "DatasetType": "derivative",
    "GeneratedBy": [{"Name": "tractome"}],
    "Name": "tractome",
}
"""Content of ``dataset_description.json``; without the version, so that an update does not change the file."""


@contextmanager
def new_subject(
    out: Path,
    dwi: Path,
    label: str | None,
    listener: Listener,
    *,
    session: str | None = None,
    scan: str | None = None,
    force: bool = False,
) -> Iterator[Ledger]:
    """Make (or open) the folder of a subject below `out`, and work in it.

    Parameters
    ----------
    out : Path
        Folder of all results.
    dwi : Path
        The subject's scan, or the FODs given in its place: its path may hold the subject's label, and another scan's
        results are not mixed with it.
    label : str or None
        Label of the subject, if given.
    listener : Listener
    session, scan : str or None
        Session, and what tells the scan from others of its session: each gets a folder of its own.
    force : bool
        Do every stage again, over whatever is there.

    Raises
    ------
    OutputError
        The folder cannot be written, belongs to another data set or another scan, or another process works in it.
    """
    within = [f"ses-{plain_label(session, '--session')}"] if session is not None else []
    within += [require_file_name(scan, "The name of a scan")] if scan is not None else []
    subject = SubjectFolder(out.joinpath(f"sub-{subject_label(dwi, label)}", *within))
    make_folder(out)
    _describe(out)
    with _working_in(subject):
        ledger = Ledger(subject, listener, force)
        _require_same_scan(ledger, dwi)
        yield ledger


@contextmanager
def old_subject(path: Path, listener: Listener, *, force: bool = False) -> Iterator[Ledger]:
    """Work in the folder of a subject that an earlier stage made."""
    subject = find_subject(path)
    with _working_in(subject):
        yield Ledger(subject, listener, force)


def _describe(out: Path) -> None:
    path = out / "dataset_description.json"
    if not path.exists():
        write_json(path, DESCRIPTION)
        return
    try:
        made_by = [str(each.get("Name")) for each in json.loads(path.read_text(encoding="utf-8"))["GeneratedBy"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        made_by = []
    if "tractome" not in made_by:
        message = f"{out} is a data set that tractome did not make ({path.name} says so). Give another --out."
        raise OutputError(message)


def _require_same_scan(ledger: Ledger, dwi: Path) -> None:
    """One label, one scan: results of two people must never be mixed because both are called 01."""
    records = ledger.records()
    record = records.get("fit")
    # A fit that failed made nothing that could be mixed.
    if ledger.force or record is None or not any(each.status == "done" or each.outputs for each in records.values()):
        return
    role = "dwi" if "dwi" in record.inputs else "orientations"
    before = record.input_paths.get(role, "")
    if before == str(dwi.resolve()) or not dwi.is_file():
        return
    from tractome.io.hashing import sha256_file

    if sha256_file(dwi) != record.inputs.get(role):
        message = (
            f"{ledger.subject.root} holds the results of another scan ({before}). "
            "Give this one a label of its own with --subject, or pass --force to replace the results."
        )
        raise OutputError(message)


@contextmanager
def _working_in(subject: SubjectFolder) -> Iterator[None]:
    """Make the subject's folder, keep other runs out of it while the block lasts, clear what a killed run left."""
    make_folder(subject.root)
    handle = _lock(subject.root)
    try:
        remove_leftovers(subject.root)
        yield
    finally:
        remove_empty_folders(subject.root)
        if handle is not None:
            os.close(handle)


def _lock(folder: Path) -> int | None:
    """Lock the folder itself: no lock file stays behind, and the system unlocks it when the process dies."""
    try:
        import fcntl
    except ImportError:  # not on this system
        return None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        message = f"Another tractome is working in {folder}. Wait until it is done, or give another --out."
        raise OutputError(message) from error
    except OSError:
        # Some network file systems have no locks; then the user must take care.
        os.close(handle)
        return None
    return handle
