"""Region tables: label values and names, in tractome's own form and in those that other programs write."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tractome.datatypes.parcellation import HEMISPHERES, Parcellation, RegionTable
from tractome.errors import AtlasError
from tractome.io.atomic import replacing

PathLike = str | os.PathLike[str]

COLUMNS = ("label", "name", "hemisphere", "structure", "network", "x_mm", "y_mm", "z_mm")
"""Of a table as tractome writes it: tab-separated, one region a line."""

_LABEL_COLUMNS = (
    "label",
    "index",
    "id",
    "value",
    "label_value",
    "label_id",
    "roi_label",
    "roi_id",
    "number",
    "key",
)
_NAME_COLUMNS = ("name", "region", "roi_name", "label_name", "labelname", "labels", "label", "roi", "structure_name")
_HEMISPHERE_COLUMNS = ("hemisphere", "hemi", "side")
_CENTROID_COLUMNS = (("x_mm", "x", "r", "mni_x"), ("y_mm", "y", "a", "mni_y"), ("z_mm", "z", "s", "mni_z"))
_HEMISPHERE_WORDS = {
    "l": "L", "lh": "L", "left": "L", "r": "R", "rh": "R", "right": "R",
    "b": "B", "both": "B", "bilateral": "B", "midline": "B", "m": "B", "": "B", "n/a": "B", "none": "B",
}  # fmt: skip
_HEMISPHERE_IN_NAME = re.compile(r"(?:^|[-_. ])(lh|rh|left|right|l|r)(?:$|[-_. ])", re.IGNORECASE)


def read_region_table(path: PathLike, atlas_name: str | None = None) -> RegionTable:
    """Read a table of regions.

    Accepted: tab- or comma-separated with a header line (columns are found by name, in any case: a column of whole
    numbers called label, index, id or value; a column called name, region or label; optionally hemisphere, structure,
    network, x_mm, y_mm, z_mm), and without a header FreeSurfer's colour table (number, name, four colour values) and
    MRtrix3's label files (number, abbreviation, name, colours). Label 0 is the background and is passed over.

    Parameters
    ----------
    path : path
    atlas_name : str, optional
        Name for the table; by default the file's name without suffix.

    Returns
    -------
    RegionTable
        Hemispheres that the table does not state are taken from the names (lh, Left-, _R, ...); "B" where those say
        nothing. Centroids are NaN where not stated.

    Raises
    ------
    AtlasError
        No such file, no usable columns, or repeated labels or names.
    """
    path = Path(path)
    atlas_name = atlas_name or path.name.split(".")[0]
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        message = f"The region table {path} cannot be read: {reason}. A .tsv or .csv with labels and names is needed."
        raise AtlasError(message) from error
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        message = f"The region table {path} is empty. It needs one line per region with a label and a name."
        raise AtlasError(message)
    if re.match(r"\s*\d+[\s,;]", lines[0]):
        columns = _headerless(lines, path)
    else:
        columns = _with_header(lines, path)
    return _table(columns, path, atlas_name)


def _with_header(lines: Sequence[str], path: Path) -> dict[str, list[str]]:
    delimiter = max("\t,;", key=lines[0].count)
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    header = [name.lower().replace(" ", "_").replace("-", "_") for name in rows[0]]
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            message = (
                f"{path}, row {number}: {len(row)} cells where the header has {len(header)}. "
                f"Offending row: {delimiter.join(row)!r}. Each row needs a cell per column."
            )
            raise AtlasError(message)
    found = {name: [row[column] for row in rows[1:]] for column, name in enumerate(header) if name}
    label = next((name for name in _LABEL_COLUMNS if name in found and _all_whole(found[name])), None)
    name = next((name for name in _NAME_COLUMNS if name in found and name != label), None)
    if label is None or name is None:
        missing = "a column of whole numbers called label" if label is None else "a column called name"
        message = (
            f"The region table {path} lacks {missing}; it has: {', '.join(header)}. "
            "Needed: label (whole number) and name, tab- or comma-separated, with a header line."
        )
        raise AtlasError(message)
    columns = {"label": found[label], "name": found[name]}
    for target, sources in (
        ("hemisphere", _HEMISPHERE_COLUMNS),
        ("structure", ("structure",)),
        ("network", ("network",)),
        *zip(("x_mm", "y_mm", "z_mm"), _CENTROID_COLUMNS, strict=True),
    ):
        source = next((source for source in sources if source in found), None)
        if source is not None:
            columns[target] = found[source]
    return columns


def _headerless(lines: Sequence[str], path: Path) -> dict[str, list[str]]:
    """FreeSurfer: `number name R G B A`. MRtrix3: `number abbreviation name R G B A`."""
    labels, names = [], []
    for number, line in enumerate(lines, start=1):
        cells = re.split(r"[\s,;]+", line.strip())
        words = [cell for cell in cells[1:] if not re.fullmatch(r"-?\d+(\.\d+)?", cell)]
        if not cells[0].isdigit() or not words:
            message = (
                f"{path}, line {number}: {line.strip()!r} is not 'label name ...'. Each line needs a whole number and "
                "a name, or the table a header line."
            )
            raise AtlasError(message)
        labels.append(cells[0])
        names.append(words[-1])
    return {"label": labels, "name": names}


def _table(columns: dict[str, list[str]], path: Path, atlas_name: str) -> RegionTable:
    labels = np.array([int(float(value)) for value in columns["label"]], dtype=np.int64)
    keep = np.flatnonzero(labels != 0)
    if keep.size == 0:
        message = f"The region table {path} has no region: every label is 0, the background."
        raise AtlasError(message)
    names = columns["name"]
    blank = [""] * len(names)
    hemispheres = [_hemisphere(word, name) for word, name in zip(columns.get("hemisphere", blank), names, strict=True)]
    names = _distinct([names[k] for k in keep], [hemispheres[k] for k in keep])
    centroids = np.full((len(labels), 3), np.nan)
    for axis, column in enumerate(("x_mm", "y_mm", "z_mm")):
        centroids[:, axis] = [_number(value) for value in columns.get(column, blank)]
    structures, networks = columns.get("structure", blank), columns.get("network", blank)
    return RegionTable(
        labels=labels[keep],
        names=tuple(names),
        hemispheres=tuple(hemispheres[k] for k in keep),
        structures=tuple(_plain(structures[k]) for k in keep),
        networks=tuple(_plain(networks[k]) for k in keep),
        centroids_mm=centroids[keep],
        atlas=atlas_name,
        from_image=all(re.fullmatch(r"region-\d{4,}", name) for name in names),
    )


def _all_whole(values: Sequence[str]) -> bool:
    return bool(values) and all(re.fullmatch(r"\d+(\.0*)?", value) for value in values)


def _hemisphere(word: str, name: str) -> str:
    stated = _HEMISPHERE_WORDS.get(word.lower(), "?")
    if stated == "?":
        message = f"The hemisphere {word!r} of region {name!r} is not known; use one of {', '.join(HEMISPHERES)}."
        raise AtlasError(message)
    if word.strip():
        return stated
    found = _HEMISPHERE_IN_NAME.search(name)
    return _HEMISPHERE_WORDS[found.group(1).lower()] if found else "B"


def _distinct(names: list[str], hemispheres: list[str]) -> list[str]:
    """Names as they are; where left and right share one, with the side after it."""
    if len(set(names)) == len(names):
        return names
    sides = {"L": "-left", "R": "-right", "B": ""}
    return [
        name + sides[hemisphere] if names.count(name) > 1 else name
        for name, hemisphere in zip(names, hemispheres, strict=True)
    ]


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return float("nan")


def _plain(value: str) -> str:
    return "" if value.lower() in ("n/a", "none", "nan") else value


def write_region_table(path: PathLike, regions: RegionTable, parcellation: Parcellation | None = None) -> None:
    """Write a table of regions, tab-separated; equal regions give equal bytes.

    Parameters
    ----------
    path : path
    regions : RegionTable
    parcellation : Parcellation, optional
        Adds this subject's columns subject_x_mm, subject_y_mm, subject_z_mm (RAS+) and volume_mm3; missing regions
        have n/a and 0.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    header = list(COLUMNS)
    if parcellation is not None:
        header += ["subject_x_mm", "subject_y_mm", "subject_z_mm", "volume_mm3"]
    rows = ["\t".join(header)]
    for row in range(regions.n_regions):
        cells = [
            str(int(regions.labels[row])),
            regions.names[row],
            regions.hemispheres[row],
            regions.structures[row] or "n/a",
            regions.networks[row] or "n/a",
            *(_cell(value) for value in regions.centroids_mm[row]),
        ]
        if parcellation is not None:
            cells += [_cell(value) for value in parcellation.centroids_mm[row]]
            cells.append(f"{parcellation.volumes_mm3[row]:.6g}")
        rows.append("\t".join(cells))
    with replacing(path) as temporary:
        temporary.write_text("\n".join(rows) + "\n", encoding="utf-8")


def _cell(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "n/a"
