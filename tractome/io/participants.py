"""Tables of participants: one line per subject, as BIDS has them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from tractome.errors import TableError


def read_participants(path: str | Path, column: str, subjects: Sequence[str]) -> tuple[str, ...]:
    """Read one column for the subjects named, in their order.

    Parameters
    ----------
    path : path
        Tab- or comma-separated, with a header and a column ``participant_id`` (with or without ``sub-``).
    column : str
        Such as ``"diagnosis"``.
    subjects : sequence of str
        Labels, without ``sub-``.

    Raises
    ------
    TableError
        No such file or column; a subject that is not there, stands twice, or has no value.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        message = f"The table of participants {path} cannot be read: {reason}. Give a .tsv or .csv."
        raise TableError(message) from error
    delimiter = max("\t,;", key=lines[0].count) if lines else "\t"
    rows = list(csv.DictReader(lines, delimiter=delimiter))
    header = list(rows[0]) if rows else []
    for wanted in ("participant_id", column):
        if wanted not in header:
            message = f"{path} has no column {wanted!r}; it has: {', '.join(header) or 'nothing'}. Name one it has."
            raise TableError(message)
    found: dict[str, str] = {}
    for row in rows:
        label = str(row["participant_id"]).strip().removeprefix("sub-")
        if label in found:
            message = f"{path} has two lines for {label}. One line per subject is needed."
            raise TableError(message)
        found[label] = str(row[column] or "").strip()
    absent = [label for label in subjects if found.get(label, "").lower() in ("", "n/a")]
    if absent:
        message = (
            f"{path} has no {column} for {', '.join(absent[:5])}{' and others' if len(absent) > 5 else ''}. "
            "Fill it in, or leave these subjects out."
        )
        raise TableError(message)
    return tuple(found[label] for label in subjects)
