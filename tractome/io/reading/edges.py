"""Lists of edges: two nodes and one or more values per line."""

from __future__ import annotations

import ast
import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tractome.datatypes.given_matrix import GivenMatrix
from tractome.errors import TableError

Entry = tuple[str, str, float]

_NODE_COLUMNS = ({"from", "source", "node1", "node_1", "src", "src_id", "i"},
    {"to", "target", "node2", "node_2", "dst", "dst_id", "j"})  # fmt: skip
_SAYS_NOTHING = ("weight", "value", "w", "")
_MISSING = ("", "n/a", "na", "nan")


def is_edge_header(cells: Sequence[str]) -> bool:
    """Whether a header line is that of a list of edges."""
    words = [cell.strip().strip('"').lower() for cell in cells]
    return len(words) >= 2 and all(word in known for word, known in zip(words, _NODE_COLUMNS, strict=False))


def read_edge_list(path: Path, lines: Sequence[tuple[int, str]]) -> list[GivenMatrix]:
    """Read a list of edges from numbered lines of text.

    Cells are separated by tabs, commas, semicolons or blanks. Per line: two nodes, names or whole numbers, and nothing
    (the value is 1), one number, or NetworkX's ``{'weight': 2.0}``. A header such as ``from,to,count,fa`` names the
    measures; ``weight`` and ``value`` say nothing about what it is. A list without header whose third column is a
    number has one measure.

    Returns
    -------
    list of GivenMatrix
        One per value column.

    Raises
    ------
    TableError
        A line has too few cells or no number, or the same pair stands twice in one direction.
    """
    rows = [(n, cells) for n, line in lines if (cells := split(line))]
    header = rows[0][1] if is_edge_header(rows[0][1]) else None
    if header is not None:
        rows = rows[1:]
    if not rows:
        message = f"{path} has a header but no edges. A line per edge is needed: two nodes and a value."
        raise TableError(message)
    columns: dict[str, list[Entry]] = {}
    for n, cells in rows:
        for name, value in _values(path, n, cells, header):
            columns.setdefault(name, []).append((cells[0], cells[1], value))
    return from_entries(path.name, columns)


def split(line: str) -> list[str]:
    """Cells of a line; NetworkX's dict at its end stays whole."""
    dictionary = re.search(r"\{.*\}\s*$", line)
    tail = [dictionary.group(0).strip()] if dictionary else []
    line = (line[: dictionary.start()] if dictionary else line).strip()
    mark = next((mark for mark in "\t,;" if mark in line), None)
    if mark is None:
        return line.split() + tail
    cells = next(csv.reader([line], delimiter=mark))
    return [cell.strip() for cell in cells] + tail


def _values(path: Path, n: int, cells: list[str], header: list[str] | None) -> list[tuple[str, float]]:
    wanted = len(header) if header is not None else 3
    if len(cells) < 2 or len(cells) > wanted or (header is not None and len(cells) != wanted):
        message = (
            f"{path}: line {n} has {len(cells)} cells; two nodes and {max(wanted - 2, 1)} value"
            f"{'s' if wanted > 3 else ''} are needed. Mend the line, or say --layout matrix if this is a matrix."
        )
        raise TableError(message)
    if len(cells) == 2:
        return [("", 1.0)]
    if cells[2].startswith("{"):
        return _from_dictionary(path, n, cells[2])
    names = header[2:] if header is not None else [""]
    return [(_said(name), _number(path, n, cell)) for name, cell in zip(names, cells[2:], strict=True)]


def _from_dictionary(path: Path, n: int, text: str) -> list[tuple[str, float]]:
    try:
        content = ast.literal_eval(text)
        return [(_said(str(name)), float(value)) for name, value in content.items()] or [("", 1.0)]
    except (ValueError, SyntaxError, TypeError, AttributeError) as error:
        message = f"{path}: line {n} holds {text!r}, which is no dict of numbers. Write the value as a plain number."
        raise TableError(message) from error


def _said(name: str) -> str:
    name = name.strip().strip('"')
    return "" if name.lower() in _SAYS_NOTHING else name


def _number(path: Path, n: int, cell: str) -> float:
    if cell.lower() in _MISSING:
        return float("nan")
    try:
        return float(cell)
    except ValueError as error:
        message = f"{path}: line {n} holds {cell!r} where a number (or n/a) is needed."
        raise TableError(message) from error


def from_entries(
    source: str, columns: Mapping[str, Sequence[Entry]], nodes: Iterable[str] = (), *, is_directed: bool | None = None
) -> list[GivenMatrix]:
    """Matrices from entries (one node, other node, value), one per column.

    A list in which no pair stands in both directions is undirected: each entry is mirrored. Otherwise it is directed,
    and an entry without its reverse is not symmetric. `is_directed` says it where the file does.

    Parameters
    ----------
    source : str
    columns : mapping of measure to entries
    nodes : iterable of str
        Nodes in order, where the file lists them; by default those of the entries, numbers by size, names by alphabet.
    is_directed : bool, optional
    """
    found = {node for entries in columns.values() for one, other, _ in entries for node in (one, other)}
    names = tuple(nodes) or tuple(sorted(found, key=_order))
    row = {name: index for index, name in enumerate(names)}
    made = []
    for measure, entries in columns.items():
        values, listed = np.zeros((len(names),) * 2), np.zeros((len(names),) * 2, np.bool_)
        for one, other, value in entries:
            i, j = row[one], row[other]
            if listed[i, j]:
                message = f"{source} lists the edge {one} - {other} twice. Keep one of the two lines."
                raise TableError(message)
            values[i, j], listed[i, j] = value, True
        both_ways = bool((listed & listed.T & ~np.eye(len(names), dtype=np.bool_)).any())
        if not (both_ways if is_directed is None else is_directed):
            values = np.where(listed, values, values.T)
            listed |= listed.T
        made.append(GivenMatrix(values, source, names, measure, is_listed=listed))
    return made


def _order(name: str) -> tuple[int, float, str]:
    return (0, float(name), name) if re.fullmatch(r"\d+", name) else (1, 0.0, name)
