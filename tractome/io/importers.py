"""One table of all files that a matrix made elsewhere is read from, and the tables of regions' own values."""

from __future__ import annotations

import dataclasses
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.connectome import Connectome
from tractome.datatypes.given_matrix import GivenMatrix
from tractome.datatypes.measures import MEASURES
from tractome.errors import TableError
from tractome.io.matrices import read_connectome, read_sidecar
from tractome.io.matrix_text import read_matrix_text
from tractome.io.reading.arrays import read_arrays
from tractome.io.reading.edges import is_edge_header, read_edge_list, split
from tractome.io.reading.networks import read_network
from tractome.options import ImportOptions


def read_given(path: str | Path, options: ImportOptions) -> list[GivenMatrix] | Connectome:
    """Read what a file of another program holds, and decide nothing about it.

    Returns
    -------
    list of GivenMatrix
        One per measure; or a `Connectome`, whole, when the file is a `.npz` of ours.

    Raises
    ------
    TableError, OptionError
        No such file, an ending that is not known, or what the reader of its kind says.
    """
    path = Path(path)
    if not path.is_file():
        message = f"There is no file {path}. Give a matrix or a list of edges: {', '.join(IMPORTERS)}."
        raise TableError(message)
    reader = IMPORTERS.get(path.suffix.lower())
    if reader is None:
        message = f"{path}: files that end in {path.suffix!r} are not read. Give one of: {', '.join(IMPORTERS)}."
        raise TableError(message)
    found = reader(path, options)
    if isinstance(found, list) and len(found) == 1 and not found[0].measure:
        return [dataclasses.replace(found[0], measure=_measure_in_name(path))]
    return found


def _npz(path: Path, options: ImportOptions) -> list[GivenMatrix] | Connectome:
    try:
        with np.load(path, allow_pickle=False) as archive:
            is_ours = "description" in archive.files and "region_names" in archive.files
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile):
        is_ours = False  # what is wrong with it is said by the reader of arrays
    return read_connectome(path) if is_ours else read_arrays(path, options.variable)


def _arrays(path: Path, options: ImportOptions) -> list[GivenMatrix]:
    return read_arrays(path, options.variable)


def _network(path: Path, _: ImportOptions) -> list[GivenMatrix]:
    return read_network(path)


def _text(path: Path, options: ImportOptions) -> list[GivenMatrix]:
    """A matrix or a list of edges: by the option, the ending, the header, or whether it is as wide as long."""
    try:
        numbered = list(enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1))
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path} cannot be read as text ({error}). Give a matrix or a list of edges as text."
        raise TableError(message) from error
    lines = [(n, line) for n, line in numbered if line.strip() and not line.startswith("#")]
    if not lines:
        message = f"{path} is empty. A matrix, or a line per edge, is needed."
        raise TableError(message)
    if _is_edge_list(path, lines, options.layout):
        return read_edge_list(path, lines)
    names, matrix = read_matrix_text(path)
    sidecar = read_sidecar(path)
    measure = str(sidecar.get("Measure", ""))
    is_mean = sidecar.get("IsMean")
    nodes = None if names is None else tuple(names)
    return [GivenMatrix(matrix, path.name, nodes, measure, str(sidecar.get("Unit", "")), is_mean)]


def _is_edge_list(path: Path, lines: list[tuple[int, str]], layout: str) -> bool:
    if layout != "auto":
        return layout == "edges"
    first = split(lines[0][1])
    if path.suffix.lower() in (".edgelist", ".edges") or is_edge_header(first):
        return True
    return len(first) in (2, 3) and not _can_be_matrix([split(line) for _, line in lines[:5]], len(lines))


def _can_be_matrix(rows: list[list[str]], n_lines: int) -> bool:
    """Whether text of two or three columns can be a matrix: as long as wide, perhaps with names, and all numbers."""
    width = len(rows[0])
    has_header = any(_number(cell) != _number(cell) for cell in rows[0])
    named = 1 if has_header and n_lines == width else 0
    numbers = [cell for row in rows[has_header:] for cell in row[named:]]
    return n_lines == width + (has_header and not named) and _numeric(numbers)


def _measure_in_name(path: Path) -> str:
    """A measure that a file name states: ``stat-fa``, or a word that is one, such as ``truth_fa.csv``."""
    stated = re.search(r"stat-([A-Za-z0-9]+)", path.stem)
    if stated:
        return stated.group(1)
    known = [word for word in re.split(r"[^A-Za-z0-9]+", path.stem) if word in MEASURES]
    return known[-1] if known else ""


IMPORTERS: dict[str, Callable[[Path, ImportOptions], list[GivenMatrix] | Connectome]] = {
    **dict.fromkeys((".csv", ".tsv", ".txt", ".edgelist", ".edges"), _text),
    **dict.fromkeys((".mat", ".h5", ".hdf5", ".npy"), _arrays),
    **dict.fromkeys((".graphml", ".gexf", ".json"), _network),
    ".npz": _npz,
}
"""File ending to reader."""


def read_region_values(path: str | Path) -> tuple[tuple[str, ...], dict[str, NDArray[np.float64]]]:
    """Read a table with a line per region: what regions are called there, and each column of numbers.

    The header is the first line that has a column called roi, region, name, label, index or id; what is above it is
    passed over, as are columns that hold text.

    Returns
    -------
    regions : tuple of str
        Names or label values.
    values : dict of str to (n_lines,) float64
        NaN where a cell is empty or ``n/a``.

    Raises
    ------
    TableError
        No such header, or lines of other lengths.
    """
    path = Path(path)
    try:
        rows = [split(line) for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        message = f"The table of regions' values {path} cannot be read ({error}). Give a .csv or .tsv."
        raise TableError(message) from error
    known = ("name", "region", "roi", "label", "index", "id")
    start = next((k for k, row in enumerate(rows) if {cell.lower() for cell in row} & set(known)), None)
    if start is None or start == len(rows) - 1:
        message = f"{path} has no header with a column called {', '.join(known)}. Add one: it says which region."
        raise TableError(message)
    header, lines = [cell.strip('"') for cell in rows[start]], rows[start + 1 :]
    for line in lines:
        if len(line) != len(header):
            message = f"{path}: the line {line[:3]} has {len(line)} cells, the header {len(header)}. Mend the line."
            raise TableError(message)
    words = [cell.lower() for cell in header]
    key = words.index(next(word for word in known if word in words))
    columns = {header[k]: [line[k] for line in lines] for k in range(len(header)) if k != key and header[k]}
    values = {name: np.array([_number(cell) for cell in cells]) for name, cells in columns.items() if _numeric(cells)}
    return tuple(line[key].strip('"') for line in lines), values


def _numeric(cells: list[str]) -> bool:
    return all(cell.lower() in ("", "n/a", "na", "nan") or _number(cell) == _number(cell) for cell in cells)


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")
