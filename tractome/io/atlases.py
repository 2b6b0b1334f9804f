"""Atlases: the ones that come with tractome, the ones that users add, and the template they lie on."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.datatypes.parcellation import Parcellation, RegionTable
from tractome.datatypes.template import Template
from tractome.errors import AtlasError
from tractome.io.atomic import write_json
from tractome.io.images import read_labels
from tractome.io.nifti import write_nifti
from tractome.io.regions import PathLike, read_region_table, write_region_table

__all__ = [
    "Atlas",
    "AtlasInfo",
    "add_atlas",
    "atlas_folder",
    "check_atlas",
    "list_atlases",
    "read_atlas",
    "read_atlas_regions",
    "read_region_table",
    "read_template",
    "write_region_table",
]

ATLAS_FOLDER_VARIABLE = "TRACTOME_ATLAS_DIR"
"""Environment variable that names the folder of the user's own atlases."""

_LABELS, _REGIONS, _INFO = "labels.nii.gz", "regions.tsv", "atlas.json"


@dataclass(frozen=True)
class AtlasInfo:
    """What is said about an atlas.

    Parameters
    ----------
    name : str
        Short name, that of its folder.
    title : str
    space : str
        Exact name of the standard space that it is drawn in, such as ``"MNI152NLin6Asym"``.
    source, version, citation : str
        Where it comes from, which one it is, and what to cite.
    licence, licence_url : str
        Name of the licence upstream, and where its text stands.
    n_regions : int
    notes : str
        What else one should know.
    """

    name: str
    title: str
    space: str
    source: str
    version: str
    citation: str
    licence: str
    licence_url: str
    n_regions: int
    notes: str = ""

    def as_dict(self) -> dict[str, Any]:
        """All fields by name, for a sidecar."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Atlas:
    """Named regions in a standard space.

    Parameters
    ----------
    labels : (x, y, z) int64
        0 for background.
    grid : Grid
    regions : RegionTable
    info : AtlasInfo
    """

    labels: NDArray[np.int64]
    grid: Grid
    regions: RegionTable
    info: AtlasInfo


def atlas_folder() -> Path:
    """Folder of the user's own atlases: $TRACTOME_ATLAS_DIR, or tractome/atlases in the user's data folder."""
    stated = os.environ.get(ATLAS_FOLDER_VARIABLE)
    if stated:
        return Path(stated).expanduser()
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "tractome" / "atlases"


def _folders() -> Iterator[Path]:
    """Folders of all atlases; a user's own does not hide one that comes with tractome."""
    from tractome_atlases import ATLAS_ROOT

    for root in (ATLAS_ROOT, atlas_folder()):
        if root.is_dir():
            yield from sorted(path.parent for path in root.glob(f"*/{_INFO}"))


def list_atlases() -> tuple[AtlasInfo, ...]:
    """Every atlas that `read_atlas` knows, those that come with tractome first."""
    found: dict[str, AtlasInfo] = {}
    for folder in _folders():
        info = _read_info(folder)
        found.setdefault(info.name, info)
    return tuple(found.values())


def read_atlas(name: str) -> Atlas:
    """Read an atlas by name.

    Parameters
    ----------
    name : str
        One of `list_atlases`.

    Raises
    ------
    AtlasError
        No atlas of this name (the nearest is suggested), or its files contradict each other.
    """
    info, regions = read_atlas_regions(name)
    labels, grid = read_labels(atlas_files(name)["labels"])
    faults = check_atlas(labels, grid, regions)
    if faults:
        message = (
            f"The atlas {name} in {_folder_of(name)} contradicts itself: {' '.join(faults)} Add it again, corrected."
        )
        raise AtlasError(message)
    return Atlas(labels, grid, regions, info)


def read_atlas_regions(name: str) -> tuple[AtlasInfo, RegionTable]:
    """Read what is said about an atlas, and its regions, without its volume.

    An atlas may have no volume: it then names the labels that a program makes in each subject.

    Raises
    ------
    AtlasError
        No atlas of this name (the nearest is suggested).
    """
    folder = _folder_of(name)
    info = _read_info(folder)
    return info, read_region_table(folder / _REGIONS, info.name)


def atlas_files(name: str, *, volume: bool = True) -> dict[str, Path]:
    """The files that an atlas is made of, by role: ``regions`` and, if wanted, ``labels``.

    Raises
    ------
    AtlasError
        No atlas of this name (the nearest is suggested), or a volume is wanted that it has not.
    """
    folder = _folder_of(name)
    if not volume:
        return {"regions": folder / _REGIONS}
    if not (folder / _LABELS).is_file():
        message = (
            f"The atlas {name} has no volume that could be brought to a subject: it names the labels that a program "
            "makes in each subject. Give that label image with --labels, or choose an atlas with a volume."
        )
        raise AtlasError(message)
    return {"labels": folder / _LABELS, "regions": folder / _REGIONS}


def _folder_of(name: str) -> Path:
    folders = {folder.name: folder for folder in reversed(list(_folders()))}
    if name not in folders:
        close = difflib.get_close_matches(name.lower(), folders, n=1, cutoff=0.4)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        message = (
            f"There is no atlas {name!r}.{hint} Known: {', '.join(sorted(folders))}. "
            "`tractome atlas add` adds one of your own."
        )
        raise AtlasError(message)
    return folders[name]


def _read_info(folder: Path) -> AtlasInfo:
    path = folder / _INFO
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known = {field.name for field in fields(AtlasInfo)}
        return AtlasInfo(**{key: value for key, value in content.items() if key in known})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        message = f"{path} does not describe an atlas ({error}). Add the atlas again, or remove its folder."
        raise AtlasError(message) from error


def check_atlas(labels: NDArray[np.int64], grid: Grid, regions: RegionTable) -> tuple[str, ...]:
    """Every contradiction between a label volume, its header and its table, one sentence each; none is good.

    Parameters
    ----------
    labels : (x, y, z) int64
    grid : Grid
    regions : RegionTable
    """
    faults = []
    in_volume = {int(label) for label in np.unique(labels)} - {0}
    in_table = {int(label) for label in regions.labels}
    if negative := sorted(label for label in in_volume if label < 0):
        faults.append(f"Labels must be positive; the volume has {_some(negative)}.")
    if unnamed := sorted(label for label in in_volume - in_table if label > 0):
        faults.append(f"{len(unnamed)} labels of the volume are not in the table: {_some(unnamed)}.")
    if absent := sorted(in_table - in_volume):
        faults.append(f"{len(absent)} regions of the table are not in the volume: {_some(absent)}.")
    if not in_volume & in_table:
        return tuple(faults)
    centroids = Parcellation.from_labels(labels, grid, regions).centroids_mm
    sides = np.array([{"L": -1.0, "R": 1.0}.get(side, 0.0) for side in regions.hemispheres])
    # 1 mm: a small region at the midline may well lean over it by half a voxel.
    wrong = [regions.names[row] for row in np.flatnonzero(centroids[:, 0] * sides < -1.0)]
    if wrong:
        faults.append(
            f"{len(wrong)} regions lie on the other side of the midline than the table says: {_some(wrong)}. "
            "The header may be wrong about left and right."
        )
    apart = np.linalg.norm(centroids - regions.centroids_mm, axis=1)
    far = [regions.names[row] for row in np.flatnonzero(apart > 2.0)]
    if far:
        faults.append(f"{len(far)} regions lie more than 2 mm from the centroid in the table: {_some(far)}.")
    return tuple(faults)


def _some(values: list[Any]) -> str:
    return ", ".join(map(str, values[:8])) + (", ..." if len(values) > 8 else "")


def add_atlas(
    name: str,
    labels_path: PathLike,
    table_path: PathLike,
    folder: PathLike | None = None,
    description: Mapping[str, str] | None = None,
) -> AtlasInfo:
    """Add an atlas of one's own: checked, copied into a folder, from then on known by name.

    Parameters
    ----------
    name : str
        Short name: letters, digits and -; it becomes part of file names.
    labels_path : path
        Label image in a standard space.
    table_path : path
        Region table, see `read_region_table`.
    folder : path, optional
        Folder of atlases; `atlas_folder` by default, the only one where `read_atlas` looks.
    description : mapping, optional
        Any of the other fields of `AtlasInfo`: title, space, source, version, citation, licence, licence_url, notes.

    Returns
    -------
    AtlasInfo

    Raises
    ------
    AtlasError
        The name is taken or unusable, or volume and table contradict each other: every mismatch is listed.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", name):
        message = f"{name!r} cannot be the name of an atlas; use letters, digits and - only."
        raise AtlasError(message)
    if any(info.name == name for info in list_atlases()):
        message = f"There is an atlas {name!r} already. Choose another name, or remove its folder first."
        raise AtlasError(message)
    known = {field.name for field in fields(AtlasInfo)} - {"name", "n_regions"}
    if unknown := sorted(set(description or {}) - known):
        message = f"An atlas has no {', '.join(unknown)}; known are: {', '.join(sorted(known))}."
        raise AtlasError(message)
    labels, grid = read_labels(labels_path)
    regions = read_region_table(table_path, name)
    faults = check_atlas(labels, grid, regions)
    if faults:
        message = (
            f"{labels_path} and {table_path} do not fit each other: {' '.join(faults)} Correct the table or the volume."
        )
        raise AtlasError(message)
    stated = dict.fromkeys(("title", "space", "source", "version", "citation", "licence", "licence_url"), "not stated")
    info = AtlasInfo(name=name, n_regions=regions.n_regions, **{**stated, **(description or {})})
    write_atlas(Path(folder) if folder is not None else atlas_folder(), labels, grid, regions, info)
    return info


def write_atlas(folder: Path, labels: NDArray[np.int64], grid: Grid, regions: RegionTable, info: AtlasInfo) -> None:
    """Write an atlas folder below `folder`: labels in the smallest type that holds them, centroids measured.

    `atlas.json`, by which the folder is found, comes last.
    """
    target = folder / info.name
    dtype = next(kind for kind in (np.uint8, np.int16, np.int32) if labels.max() <= np.iinfo(kind).max)
    write_nifti(target / _LABELS, [labels], None, dtype, grid)
    measured = RegionTable(
        labels=regions.labels,
        names=regions.names,
        hemispheres=regions.hemispheres,
        structures=regions.structures,
        networks=regions.networks,
        centroids_mm=Parcellation.from_labels(labels, grid, regions).centroids_mm,
        atlas=info.name,
    )
    write_region_table(target / _REGIONS, measured)
    write_json(target / _INFO, info.as_dict())


def read_template() -> Template:
    """The MNI152 template that nilearn installs: T1, grey and white matter, 1 mm, skull removed.

    nilearn's documentation calls it asymmetric; its files are named `sym_09a`, and are left-right symmetric.
    """
    from nilearn import datasets

    images = {
        "t1": datasets.load_mni152_template(resolution=1),
        "grey": datasets.load_mni152_gm_template(resolution=1),
        "white": datasets.load_mni152_wm_template(resolution=1),
    }
    grid = Grid(images["t1"].shape, images["t1"].affine)
    volumes = {name: np.asarray(image.dataobj, dtype=np.float32) for name, image in images.items()}
    volumes["grey"], volumes["white"] = np.clip(volumes["grey"], 0, 1), np.clip(volumes["white"], 0, 1)
    return Template(**volumes, grid=grid, space="MNI152NLin2009aSym")
