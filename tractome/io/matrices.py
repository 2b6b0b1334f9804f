"""Connectomes and their matrices as files: `.npz`, labelled TSV, headerless CSV, `.mat`.

An entry without a value (a mean where no streamline runs) is NaN in memory; every format says here what it puts there.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.connectome import Connectome, Measure
from tractome.datatypes.measures import MEASURES, measure_named
from tractome.datatypes.parcellation import RegionTable
from tractome.errors import TableError
from tractome.io.atomic import replacing
from tractome.io.matrix_text import read_matrix_text, require_symmetric

FORMAT_VERSION = 1
"""Of the `.npz` file; a reader refuses a newer one."""

_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_REGION_COLUMNS = ("labels", "names", "hemispheres", "structures", "networks")


# --- .npz: everything, no pickle --------------------------------------------------------------------------------------


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as a compressed `.npz` whose bytes depend on nothing but the arrays: fixed dates, no pickle."""
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", _ZIP_DATE)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o644 << 16
            with archive.open(member, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)


def write_connectome(path: str | Path, connectome: Connectome) -> None:
    """Write all of a connectome to one `.npz`.

    ``numpy.load(path)["count"]`` is the matrix of that name, NaN where absent; ``region_names`` names its rows;
    ``node_fa`` is the node feature fa; ``description`` is JSON with every measure's unit and definition.
    """
    regions = connectome.regions
    description = {
        "format_version": FORMAT_VERSION,
        "atlas": regions.atlas,
        "from_image": regions.from_image,
        "n_streamlines": connectome.n_streamlines,
        "n_unassigned": connectome.n_unassigned,
        "measures": {name: _measure_as_dict(measure) for name, measure in connectome.measures.items()},
        "node_features": list(connectome.node_features),
        "metadata": connectome.metadata,
    }
    arrays: dict[str, NDArray[Any]] = {
        "description": np.array(json.dumps(description, sort_keys=False, ensure_ascii=False)),
        **{f"region_{column}": np.array(getattr(regions, column)) for column in _REGION_COLUMNS},
        "region_template_centroids_mm": regions.centroids_mm,
        "region_centroids_mm": connectome.centroids_mm,
        "region_volumes_mm3": connectome.volumes_mm3,
        **{f"node_{name}": values for name, values in connectome.node_features.items()},
    }
    clash = sorted(set(arrays) & set(connectome.matrices))
    if clash:
        message = f"A measure cannot be called {clash[0]!r}: the file uses that name. Give the map another name."
        raise TableError(message)
    write_npz(Path(path), {**arrays, **connectome.matrices})


def _measure_as_dict(measure: Measure) -> dict[str, Any]:
    known = {"unit": measure.unit, "definition": measure.definition, "is_mean": measure.is_mean}
    return known | ({"about": measure.about} if measure.about else {})


def _read_npz(path: Path) -> Connectome:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        description = json.loads(str(arrays["description"]))
        if description["format_version"] > FORMAT_VERSION:
            message = f"{path} was written by a newer tractome. Update tractome to read it."
            raise TableError(message)
        strings = {column: tuple(map(str, arrays[f"region_{column}"])) for column in _REGION_COLUMNS[1:]}
        regions = RegionTable(
            labels=arrays["region_labels"],
            centroids_mm=arrays["region_template_centroids_mm"],
            atlas=description["atlas"],
            from_image=description["from_image"],
            **strings,
        )
        measures = {name: Measure(name, **entry) for name, entry in description["measures"].items()}
        return Connectome(
            regions=regions,
            centroids_mm=arrays["region_centroids_mm"],
            volumes_mm3=arrays["region_volumes_mm3"],
            matrices={name: arrays[name] for name in measures},
            measures=measures,
            n_streamlines=description["n_streamlines"],
            n_unassigned=description["n_unassigned"],
            node_features={name: arrays[f"node_{name}"] for name in description["node_features"]},
            metadata=description["metadata"],
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        # NumPy takes whatever it does not know for a pickle, and says how to load it all the same.
        reason = "it is not a NumPy archive" if "pickle" in str(error) else error
        message = (
            f"{path} cannot be read as a connectome ({reason}). A .npz written by tractome is needed; make it again, "
            "or give a .tsv or .csv matrix."
        )
        raise TableError(message) from error


# --- one matrix as text ----------------------------------------------------------------------------------------------


def matrix_sidecar(connectome: Connectome, name: str) -> dict[str, Any]:
    """What explains one matrix: its measure, what was looked at, and how."""
    measure = connectome.measures[name]
    return {
        "Measure": name,
        "Unit": measure.unit,
        "Definition": measure.definition,
        "IsMean": measure.is_mean,
        "Symmetric": True,
        "Atlas": connectome.regions.atlas,
        "NumberOfRegions": connectome.n_regions,
        "NumberOfStreamlines": connectome.n_streamlines,
        "NumberOfUnassignedStreamlines": connectome.n_unassigned,
        "Options": dict(connectome.metadata),
    }


def read_connectome(path: str | Path, *, measure: str | None = None, regions: RegionTable | None = None) -> Connectome:
    """Read a connectome: a `.npz` of ours, or one matrix as labelled or headerless text.

    Parameters
    ----------
    path : path
        `.npz`; or text with tabs, commas or blanks between the numbers, with region names in the first row (and
        column), or without names. A matrix of which only the upper triangle is filled, as MRtrix3 writes by default,
        is mirrored.
    measure : str, optional
        What the text matrix holds; by default what its sidecar says, or the file name (``stat-fa``, ``truth_fa``), or
        ``"count"``. 0 in the matrix of a mean that has no other mark for it means that there is none.
    regions : RegionTable, optional
        Names for the rows of a headerless matrix; without it they are numbered.

    Raises
    ------
    TableError
        Not readable, not square, not symmetric, or not of the size of the region table.
    """
    path = Path(path)
    if not path.is_file():
        message = f"{path} does not exist. Give a connectome (.npz) or a matrix (.tsv, .csv)."
        raise TableError(message)
    if path.suffix == ".npz":
        return _read_npz(path)
    names, matrix = read_matrix_text(path)
    sidecar = read_sidecar(path)
    meaning = _meaning(path, measure, sidecar)
    matrix = require_symmetric(matrix, path)
    if meaning.is_mean and not np.isnan(matrix).any():
        matrix[matrix == 0] = np.nan
    if not meaning.is_mean:
        matrix = np.nan_to_num(matrix, nan=0.0)
    table = _regions_for(path, names, len(matrix), regions, str(sidecar.get("Atlas", "")))
    total = int(np.triu(matrix).sum()) if meaning.name == "count" else 0
    options = sidecar.get("Options", {})
    return Connectome(
        regions=table,
        centroids_mm=np.full((table.n_regions, 3), np.nan),
        volumes_mm3=np.full(table.n_regions, np.nan),
        matrices={meaning.name: matrix},
        measures={meaning.name: meaning},
        n_streamlines=int(sidecar.get("NumberOfStreamlines", total)),
        n_unassigned=int(sidecar.get("NumberOfUnassignedStreamlines", 0)),
        metadata={str(key): str(value) for key, value in options.items()} if isinstance(options, dict) else {},
    )


def _regions_for(
    path: Path, names: list[str] | None, n_rows: int, regions: RegionTable | None, atlas: str
) -> RegionTable:
    if regions is not None:
        if names is not None and set(names) == set(regions.names) and tuple(names) != regions.names:
            message = f"{path} lists the regions in another order than the region table {regions.atlas}; give no table."
            raise TableError(message)
        if regions.n_regions != n_rows or (names is not None and tuple(names) != regions.names):
            message = (
                f"{path} has {n_rows} rows{'' if names is None else ' with other names'}; the region table "
                f"{regions.atlas} has {regions.n_regions}. Give the table that belongs to this matrix."
            )
            raise TableError(message)
        return regions
    return RegionTable.numbered(n_rows) if names is None else RegionTable.from_names(names, atlas or path.stem)


def read_sidecar(path: Path) -> dict[str, Any]:
    """Content of the JSON file beside a matrix; empty when there is none."""
    sidecar = path.with_suffix(".json")
    if not sidecar.is_file():
        return {}
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"The sidecar {sidecar} is not valid JSON ({error}). Mend it or move it away."
        raise TableError(message) from error
    return content if isinstance(content, dict) else {}


def _meaning(path: Path, measure: str | None, sidecar: dict[str, Any]) -> Measure:
    stated = str(sidecar.get("Measure", ""))
    if stated and (measure is None or measure == stated):
        default = measure_named(stated)
        return replace(
            default,
            unit=str(sidecar.get("Unit", default.unit)),
            definition=str(sidecar.get("Definition", default.definition)),
            is_mean=bool(sidecar.get("IsMean", default.is_mean)),
        )
    if measure is not None:
        return measure_named(measure)
    stat = re.search(r"stat-([A-Za-z0-9]+)", path.stem)
    if stat:
        return measure_named(stat.group(1))
    known = [word for word in re.split(r"[^A-Za-z0-9]+", path.stem) if word in MEASURES]
    return MEASURES[known[-1] if known else "count"]


# --- .mat -------------------------------------------------------------------------------------------------------------


def write_mat(path: str | Path, connectome: Connectome, matrices: Mapping[str, NDArray[np.float64]]) -> None:
    r"""Write matrices for MATLAB, Octave and the Brain Connectivity Toolbox.

    Each matrix is a variable of its measure's name; ``regions`` is a cell column of names; ``labels``,
    ``centroids_mm`` and ``volumes_mm3`` describe them; ``about`` is JSON: unit and definition of every measure, and
    every choice that was made. Octave cuts names with letters outside ASCII when it reads a cell of them:
    ``strsplit(char(regions_utf8), "\n")`` has them whole. The header, where others write the date, is fixed.
    """
    about = {
        "atlas": connectome.regions.atlas,
        "measures": {name: _measure_as_dict(measure) for name, measure in connectome.measures.items()},
        "metadata": connectome.metadata,
    }
    variables: dict[str, Any] = {
        "regions": connectome.regions.names,
        "regions_utf8": np.frombuffer("\n".join(connectome.regions.names).encode("utf-8"), np.uint8)[None, :],
        "labels": connectome.regions.labels[:, None],
        "centroids_mm": connectome.centroids_mm,
        "volumes_mm3": connectome.volumes_mm3[:, None],
        "about": json.dumps(about, sort_keys=True, ensure_ascii=False),
    }
    for name, matrix in matrices.items():
        variable = re.sub(r"\W", "_", name, flags=re.ASCII)
        variable = variable if re.match(r"[A-Za-z]", variable) else f"m_{variable}"
        if variable in variables:
            message = f"Two variables of the .mat file would be called {variable!r}. Rename the map {name!r}."
            raise TableError(message)
        variables[variable] = np.array(matrix)
    write_mat_file(path, variables)


def write_mat_file(path: str | Path, variables: Mapping[str, Any]) -> None:
    """Write a MATLAB 5 file whose bytes depend on nothing but the variables; a tuple of strings is a cell column."""
    from scipy.io import savemat

    content = {}
    for name, value in variables.items():
        if isinstance(value, tuple):
            cells = np.empty((len(value), 1), dtype=object)
            cells[:, 0] = value
            value = cells
        content[name] = value
    with replacing(path) as temporary:
        savemat(str(temporary), content, appendmat=False, long_field_names=True, do_compression=True)
        with temporary.open("r+b") as stream:
            stream.write(b"MATLAB 5.0 MAT-file, written by tractome".ljust(116))
