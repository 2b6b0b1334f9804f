"""One matrix as text: with region names (TSV), or bare (CSV)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.connectome import Connectome
from tractome.datatypes.parcellation import RegionTable
from tractome.errors import TableError
from tractome.io.atomic import replacing, write_json

_NOT_AVAILABLE = "n/a"
"""What BIDS writes where there is no value."""


def write_matrix_tsv(
    path: str | Path, matrix: NDArray[np.float64], regions: RegionTable, sidecar: Mapping[str, Any]
) -> None:
    """Write a matrix with region names in its first row and column, and its JSON sidecar beside it.

    Absent entries are ``n/a``, as BIDS writes them. Numbers are written so that they read back exactly.
    """
    path = Path(path)
    for name in regions.names:
        if "\t" in name or "\n" in name or "\r" in name:
            message = (
                f"The region name {name!r} holds a tab or a line break; a table cannot hold it. Rename the region."
            )
            raise TableError(message)
    lines = ["\t".join(["region", *regions.names])]
    for name, row in zip(regions.names, matrix, strict=True):
        lines.append("\t".join([name, *(_number(value, _NOT_AVAILABLE) for value in row.tolist())]))
    _write_text(path, "\n".join(lines) + "\n")
    write_json(path.with_suffix(".json"), sidecar)


def write_matrix_csv(path: str | Path, matrix: NDArray[np.float64], sidecar: Mapping[str, Any] | None = None) -> None:
    """Write a matrix as MRtrix3 does: comma-separated, no header, 0 where there is no value; and a JSON sidecar."""
    lines = (",".join(_number(value, "0") for value in row) for row in matrix.tolist())
    _write_text(Path(path), "\n".join(lines) + "\n")
    if sidecar is not None:
        write_json(Path(path).with_suffix(".json"), sidecar)


def relmat_sidecar(connectome: Connectome, name: str) -> dict[str, Any]:
    """What the BIDS extension proposal 17 (connectivity, a draft) wants in the sidecar of a relmat file."""
    measure, matrix = connectome.measures[name], connectome.matrices[name]
    return {
        "RelationshipMeasure": name,
        "MeasureDescription": measure.definition,
        "MeasureUnits": measure.unit,
        "Weighted": connectome.metadata.get("edge_transform") != "binary" or measure.is_mean,
        "Directed": False,
        "ValidDiagonal": connectome.metadata.get("self_connections", "kept") == "kept",
        "NonNegative": bool((np.nan_to_num(matrix) >= 0).all()),
        "StorageFormat": "Full",
    }


def write_label_text(path: str | Path, regions: RegionTable) -> None:
    """Write ``number name`` per line, the number being the row from 1: the table that belongs to a headerless CSV."""
    _write_text(Path(path), "".join(f"{row} {name}\n" for row, name in enumerate(regions.names, start=1)))


def _number(value: float, absent: str) -> str:
    if value != value:
        return absent
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def read_matrix_text(path: Path) -> tuple[list[str] | None, NDArray[np.float64]]:
    """Read a square matrix with tabs, commas or blanks between the numbers.

    Returns
    -------
    names : list of str or None
        From the first row, which must agree with the first column where there is one; None without a header.
    matrix : (n, n) float64
        NaN where the file has ``n/a``, ``nan`` or nothing.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path} cannot be read as text ({error}). Give a .npz of tractome, or a matrix as .tsv or .csv."
        raise TableError(message) from error
    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip() and not line.startswith("#")]
    if not lines:
        message = f"{path} is empty. A matrix with one row per region is needed."
        raise TableError(message)
    separator = next((mark for mark in ("\t", ",") if mark in lines[0][1]), None)
    rows = [(n, [cell.strip() for cell in line.split(separator)]) for n, line in lines]
    # A trailing separator, as some programs write, is not one more column.
    rows = [(n, cells[:-1] if separator and len(cells) > 1 and cells[-1] == "" else cells) for n, cells in rows]
    names: list[str] | None = None
    if not all(_is_number(cell) for cell in rows[0][1]):
        names, rows = [cell.strip('"') for cell in rows[0][1]], rows[1:]
        if rows and all(len(cells) == len(rows) + 1 for _, cells in rows):
            row_names = [cells[0].strip('"') for _, cells in rows]
            names = names[1:] if len(names) == len(rows) + 1 else names
            if row_names != names:
                wrong = next((i for i, pair in enumerate(zip(row_names, names, strict=False)) if pair[0] != pair[1]), 0)
                message = (
                    f"{path}: row {wrong + 1} is called {row_names[wrong]!r}, its column is not. "
                    "Rows and columns must have the same names in the same order."
                )
                raise TableError(message)
            rows = [(n, cells[1:]) for n, cells in rows]
    n_rows = len(rows)
    if n_rows == 0:
        message = f"{path} has a header but no numbers. A matrix with one row per region is needed."
        raise TableError(message)
    matrix = np.empty((n_rows, n_rows))
    for index, (n, cells) in enumerate(rows):
        if len(cells) != n_rows or (names is not None and len(names) != n_rows):
            message = (
                f"{path}: line {n} has {len(cells)} numbers, but there are {n_rows} rows. The matrix must be square, "
                "with one row and one column per region."
            )
            raise TableError(message)
        for column, cell in enumerate(cells):
            if not _is_number(cell):
                message = f"{path}: line {n} holds {cell!r} where a number (or n/a) is needed."
                raise TableError(message)
            matrix[index, column] = np.nan if cell in ("", _NOT_AVAILABLE) else float(cell)
    return names, matrix


def _is_number(cell: str) -> bool:
    if cell == _NOT_AVAILABLE:
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return True


def require_symmetric(matrix: NDArray[np.float64], path: Path) -> NDArray[np.float64]:
    """Make a matrix from a file exactly symmetric, or raise TableError.

    One triangle without values is filled from the other; differences in the last digits (1e-6) are averaged away.
    """
    if np.isinf(matrix).any():
        message = f"{path} holds infinite numbers. Write n/a where there is no value."
        raise TableError(message)
    absent = np.isnan(matrix)
    values = np.where(absent, 0.0, matrix)
    if not np.tril(values, -1).any() or not np.triu(values, 1).any():
        values = np.where(values == 0, values.T, values)
        absent &= absent.T
    elif not np.array_equal(absent, absent.T) or not np.allclose(values, values.T, rtol=1e-6, atol=0):
        message = f"{path} is not symmetric; a tractogram has no direction. Symmetrise it, or leave one triangle 0."
        raise TableError(message)
    result: NDArray[np.float64] = np.where(absent, np.nan, 0.5 * (values + values.T))
    return result


def read_edges(path: str | Path) -> tuple[tuple[str, str], ...]:
    """Read a list of edges: a header line, then two region names per line with a tab between them."""
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path} cannot be read as a list of edges ({error}). Give a .tsv of two columns of region names."
        raise TableError(message) from error
    edges = []
    for n, line in enumerate(lines[1:], start=2):
        cells = line.split("\t")
        if line.strip() and len(cells) < 2:
            message = f"{path}: line {n} has one column; two region names with a tab between them are needed."
            raise TableError(message)
        if line.strip():
            edges.append((cells[0].strip(), cells[1].strip()))
    return tuple(edges)
