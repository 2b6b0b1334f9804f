"""Square arrays by name: MATLAB's `.mat` (5 and 7.3), HDF5, NumPy's `.npz` and `.npy`."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.given_matrix import GivenMatrix
from tractome.datatypes.measures import MEASURES
from tractome.errors import OptionError, TableError

_NAMES = ("regions", "region_names", "names", "roi_names", "labels", "regions/name", "node_names")
"""Variables that, when they are as many distinct strings as there are rows, name the rows."""

_HDF5_START = b"\x89HDF"


def read_arrays(path: Path, variable: str | None) -> list[GivenMatrix]:
    """Read the square matrices of a file.

    Parameters
    ----------
    path : Path
        `.mat`, `.h5`, `.hdf5`, `.npz` or `.npy`. No pickle is ever loaded.
    variable : str or None
        The one to read. By default: every square matrix whose name is a measure that tractome knows; or the only
        square matrix there is, which then says nothing about what it holds.

    Raises
    ------
    TableError
        The file cannot be read, or holds no square matrix.
    OptionError
        Several square matrices, and none was named; or the one named is not there.
    """
    try:
        arrays, strings, about = _READERS[path.suffix.lower()](path)
    except (
        OSError, ValueError, KeyError, TypeError, NotImplementedError, EOFError, AttributeError, zipfile.BadZipFile,
    ) as error:  # fmt: skip
        # NumPy takes whatever it does not know for a pickle, and says how to load it all the same.
        reason = "not a NumPy file, or pickled objects, which are never loaded" if "pickle" in str(error) else error
        message = f"{path} cannot be read as {path.suffix} ({reason}). Save the matrix again, or give it as .csv."
        raise TableError(message) from error
    square = {name: array for name, array in arrays.items() if _is_square(array)}
    chosen = _choose(path, square, arrays, variable)
    made = []
    for name, array in chosen.items():
        nodes = next((strings[each] for each in _NAMES if len(strings.get(each, ())) == len(array)), None)
        short = name.rpartition("/")[2]
        says = short in MEASURES or short in about
        facts = about.get(short, {})
        made.append(
            GivenMatrix(
                np.asarray(array, np.float64),
                path.name,
                nodes,
                short if says else "",
                str(facts.get("unit", "")),
                facts.get("is_mean"),
            )
        )
    return made


def _is_square(array: NDArray[Any]) -> bool:
    return array.ndim == 2 and array.shape[0] == array.shape[1] > 1 and array.dtype.kind in "fiub"


def _choose(
    path: Path, square: dict[str, NDArray[Any]], arrays: Mapping[str, NDArray[Any]], variable: str | None
) -> dict[str, NDArray[Any]]:
    listed = ", ".join(square) or ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "nothing"
    if variable is not None:
        if variable not in square:
            message = f"variable: {path} has no square matrix {variable!r}; it has: {listed}."
            raise OptionError(message)
        return {variable: square[variable]}
    if not square:
        message = f"{path} holds no square matrix; it has: {listed}. A matrix of N x N numbers is needed."
        raise TableError(message)
    known = {name: array for name, array in square.items() if name.rpartition("/")[2] in MEASURES}
    if known:
        return known
    if len(square) > 1:
        message = f"variable: {path} holds {len(square)} square matrices: {listed}. Name the one to read."
        raise OptionError(message)
    return square


Content = tuple[dict[str, NDArray[Any]], dict[str, tuple[str, ...]], dict[str, Any]]


def _mat(path: Path) -> Content:
    if path.read_bytes()[512:516] == _HDF5_START or path.read_bytes()[:4] == _HDF5_START:
        return _hdf5(path, transposed=True)
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    arrays, strings = {}, {}
    try:
        content: dict[str, Any] = loadmat(str(path), squeeze_me=False)
    except MatReadError as error:
        raise ValueError(str(error)) from error
    for name, value in content.items():
        if name.startswith("__"):
            continue
        if hasattr(value, "toarray"):  # a sparse matrix
            arrays[name] = value.toarray()
        elif value.dtype == object:
            cells = [cell.ravel() for cell in value.ravel() if isinstance(cell, np.ndarray)]
            if len(cells) == value.size and all(cell.size == 1 and cell.dtype.kind == "U" for cell in cells):
                strings[name] = tuple(str(cell[0]).strip() for cell in cells)
        elif value.dtype.kind == "U":
            strings[name] = tuple(str(each).strip() for each in value.ravel())
        else:
            arrays[name] = value
    return arrays, strings, {}


def _hdf5(path: Path, *, transposed: bool = False) -> Content:
    """MATLAB 7.3 stores arrays with the axes exchanged, and strings as arrays of 16-bit numbers behind references."""
    import h5py

    arrays: dict[str, NDArray[Any]] = {}
    strings: dict[str, tuple[str, ...]] = {}
    about: dict[str, Any] = {}
    with h5py.File(path) as file:

        def visit(name: str, item: Any) -> None:
            if not isinstance(item, h5py.Dataset) or name.startswith("#refs#"):
                return
            if h5py.check_string_dtype(item.dtype) is not None:
                strings[name] = tuple(map(str, np.ravel(item.asstr()[()])))
            elif h5py.check_ref_dtype(item.dtype) is not None:
                cells = [file[reference][()] for reference in np.ravel(item[()])]
                if all(cell.dtype.kind == "u" for cell in cells):
                    strings[name] = tuple("".join(map(chr, cell.ravel())) for cell in cells)
            elif item.dtype.kind in "fiub":
                arrays[name] = item[()].T if transposed else item[()]
                short = name.rpartition("/")[2]
                if "unit" in item.attrs and "is_mean" in item.attrs:
                    about[short] = {"unit": str(item.attrs["unit"]), "is_mean": bool(item.attrs["is_mean"])}

        file.visititems(visit)
    return arrays, strings, about


def _npz(path: Path) -> Content:
    with np.load(path, allow_pickle=False) as archive:
        everything = {name: archive[name] for name in archive.files}
    strings = {name: tuple(map(str, a.ravel())) for name, a in everything.items() if a.dtype.kind == "U" and a.ndim}
    return {name: array for name, array in everything.items() if array.dtype.kind != "U"}, strings, {}


def _npy(path: Path) -> Content:
    return {path.stem: np.load(path, allow_pickle=False)}, {}, {}


_READERS = {".mat": _mat, ".h5": _hdf5, ".hdf5": _hdf5, ".npz": _npz, ".npy": _npy}
