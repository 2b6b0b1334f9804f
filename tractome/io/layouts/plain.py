"""Plain files: a scan and what lies around it, told by what the files hold and then by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tractome.errors import GradientError, ImageError, LayoutError, SpaceError
from tractome.io.gradients import read_numbers
from tractome.io.layouts.found import FoundSubject, LabelImage, Scan
from tractome.io.layouts.names import entities, first, is_image, read_sidecars, stem
from tractome.io.nifti import NiftiFile, open_nifti

NAME = "plain"

MIN_VOLUMES = 7
"""A b0 and six directions."""
_MAX_DEPTH = 2
_RESULTS = ("provenance.json", "dataset_description.json")
"""In a folder of results, or of a data set of its own."""
_MAX_FILES = 2000
_MAX_TABLE_BYTES = 2_000_000
_TABLE_ENDINGS = (".bval", ".bvec", ".bvals", ".bvecs", ".b", ".grad", ".txt", ".csv", ".tsv", ".dat", "")
_REGION_ENDINGS = (".tsv", ".csv", ".txt")
_NO_SCAN = re.compile(r"grad_?dev|5tt|bedpost|fod|odf|dwimap|tensor|warp|_xfm|peaks|noise|residual|bold|func", re.I)
_T1 = re.compile(r"(?:^|[_\-.])(?:t1w?|mprage|mp2rage|spgr|bravo|tfe)(?:[_\-.]|\d*$)|T1w|mprage|T1", re.I)
_NO_T1 = re.compile(r"mask|seg|label|5tt|tissue|aparc|ribbon|brainmask|pve|dwi|fa\b|md\b|warp", re.I)
_NOT_BRAIN = re.compile(r"seed|wm|white|gm|grey|gray|csf|lesion|roi|t1", re.I)
_DONE = re.compile(r"preproc|eddy|corr|topup|moco|denois|(?:^|_)ec(?:_|$)|(?:^|_)mc(?:_|$)", re.I)
_FREESURFER = {
    "freesurfer-dk-84": re.compile(r"^aparc\+aseg|aparcaseg|aparc_aseg", re.I),
    "freesurfer-a2009s-164": re.compile(r"^aparc[._]?a2009s\+?_?aseg", re.I),
}
_LABELS = re.compile(r"label|parc|dseg|nodes|atlas|regions|aparc", re.I)


@dataclass(frozen=True, eq=False)
class _Table:
    """A text file with numbers, and what they can be: ``bval``, ``bvec`` or ``both`` (MRtrix3), for so many volumes."""

    path: Path
    kind: str
    n_volumes: int


def scans_in(path: Path, subject: str | None, session: str | None) -> list[Scan]:
    """The image that `path` is, or the 4-D images at or below it that gradients belong to."""
    path = path.absolute()
    root = path.parent if path.is_file() else path
    files = [path] if path.is_file() else [each for each in _files(root) if is_image(each)]
    scans = []
    for file in files:
        image = _header(file)
        if image is None or image.n_volumes < MIN_VOLUMES or (file != path and _NO_SCAN.search(stem(file))):
            continue
        named = entities(file)
        scans.append(Scan(file, root, subject or named.get("sub"), session or named.get("ses"), _name(file, root)))
    return [replace(scan, root=_own_folder(scan, scans)) for scan in scans]


def _own_folder(scan: Scan, scans: Sequence[Scan]) -> Path:
    """The largest folder around a scan that holds no other one: what lies further off may be another subject's."""
    folder, others = scan.dwi.parent, [each.dwi for each in scans if each.dwi.parent != scan.dwi.parent]
    while folder != scan.root and not any(folder.parent in other.parents for other in others):
        folder = folder.parent
    return folder


def _name(file: Path, root: Path) -> str:
    return (file.parent.relative_to(root) / stem(file)).as_posix()


def _files(root: Path) -> list[Path]:
    """Files of a folder and of the folders in it, two deep; hidden ones are passed over."""
    found: list[Path] = []
    folders = [(root, 0)]
    while folders:
        folder, depth = folders.pop(0)
        for path in sorted(folder.iterdir()):
            if path.name.startswith("."):
                continue
            if path.is_dir() and depth < _MAX_DEPTH and not any((path / mark).exists() for mark in _RESULTS):
                folders.append((path, depth + 1))
            elif path.is_file():
                found.append(path)
        if len(found) > _MAX_FILES:
            message = f"{root} holds more than {_MAX_FILES} files. Give the folder of one subject, or its scan."
            raise LayoutError(message)
    return found


def _header(path: Path) -> NiftiFile | None:
    try:
        return open_nifti(path)
    except (ImageError, SpaceError):
        return None


def main_scans(scans: Sequence[Scan]) -> list[Scan]:
    """Those that gradients of as many volumes belong to."""
    return [each for each in scans if _candidates(each)] or list(scans)


def _candidates(scan: Scan) -> list[_Table]:
    image = _header(scan.dwi)
    n_volumes = image.n_volumes if image is not None else 0
    return [table for table in _tables(scan) if table.n_volumes == n_volumes]


def _tables(scan: Scan) -> list[_Table]:
    """Every gradient file near a scan: in its own folder first, then in the others."""
    paths = [path for path in _files(scan.root) if path.suffix.lower() in _TABLE_ENDINGS]
    paths.sort(key=lambda path: (path.parent != scan.dwi.parent, path.as_posix()))
    return [table for path in paths if (table := _read(path)) is not None]


def _read(path: Path) -> _Table | None:
    if path.stat().st_size > _MAX_TABLE_BYTES:
        return None
    try:
        rows = read_numbers(path)
    except GradientError:
        return None
    if len({len(row) for row in rows}) > 1:
        return None
    return _classified(path, np.array(rows))


def _classified(path: Path, table: NDArray[np.float64]) -> _Table | None:
    """What a table of numbers is, by its shape and values."""
    n_rows, n_columns = table.shape
    if 1 in (n_rows, n_columns) and table.size >= MIN_VOLUMES:
        good = (table >= 0).all() and table.max() > 1.5
        return _Table(path, "bval", table.size) if good else None
    if n_columns == 4 and n_rows >= MIN_VOLUMES and _are_directions(table[:, :3]) and (table[:, 3] >= 0).all():
        return _Table(path, "both", n_rows)
    if n_rows == 3 and n_columns >= MIN_VOLUMES and _are_directions(table.T):
        return _Table(path, "bvec", n_columns)
    if n_columns == 3 and n_rows >= MIN_VOLUMES and _are_directions(table):
        return _Table(path, "bvec", n_rows)
    return None


def _are_directions(vectors: NDArray[np.float64]) -> bool:
    finite = np.nan_to_num(vectors)
    norms = np.linalg.norm(finite, axis=1)
    return bool((norms <= 1.1).all() and (np.abs(norms - 1) < 0.1).sum() >= 3)


def _gradients(scan: Scan) -> tuple[Path, Path | None, tuple[Path, ...]]:
    """b-values and directions of a scan, and what lies there too.

    Raises
    ------
    LayoutError
        There are none of as many volumes, or several and no name tells which.
    """
    fitting = _candidates(scan)
    chosen: dict[str, Path | None] = {}
    for kind in ("bval", "bvec", "both"):
        tables = [table.path for table in fitting if table.kind == kind]
        chosen[kind] = _nearest(tables, scan, kind)
    bval, bvec, both = chosen["bval"], chosen["bvec"], chosen["both"]
    used: tuple[Path, Path | None] | None = None
    if bval is not None and bvec is not None and not (both is not None and _alike(both, scan) > _alike(bvec, scan)):
        used = bval, bvec
    elif both is not None:
        used = both, None
    if used is None:
        raise LayoutError(_no_gradients(scan, bval, bvec))
    return *used, tuple(table.path for table in fitting if table.path not in used)


def _alike(path: Path, scan: Scan) -> int:
    """How much a file's place and name say that it belongs to a scan."""
    own, other = stem(scan.dwi), path.name.split(".")[0]
    return 2 * (path.parent == scan.dwi.parent) + 4 * (other == own) + (other.startswith(own) or own.startswith(other))


def _nearest(paths: Sequence[Path], scan: Scan, kind: str) -> Path | None:
    """The file whose name and place fit best.

    Raises
    ------
    LayoutError
        Two fit as well, and hold different numbers.
    """
    if not paths:
        return None
    best = max(_alike(path, scan) for path in paths)
    rivals = [path for path in paths if _alike(path, scan) == best]
    contents = [np.array(read_numbers(path)) for path in rivals]
    if any(each.shape != contents[0].shape or not np.array_equal(each, contents[0]) for each in contents[1:]):
        what = {"bval": "b-values", "bvec": "directions", "both": "gradients"}[kind]
        flag = "--bvec" if kind == "bvec" else "--bval"
        message = (
            f"{scan.dwi} has {len(rivals)} files with {what} that could be its own: "
            f"{', '.join(path.name for path in rivals)}. Name one with {flag}."
        )
        raise LayoutError(message)
    return rivals[0]


def _no_gradients(scan: Scan, bval: Path | None, bvec: Path | None) -> str:
    image = _header(scan.dwi)
    n_volumes = image.n_volumes if image is not None else 0
    others = [f"{table.path.name} ({table.n_volumes})" for table in _tables(scan) if table.n_volumes != n_volumes]
    has = f"{bval.name} but no directions" if bval else (f"{bvec.name} but no b-values" if bvec else "neither")
    rest = f" Of another number of volumes: {', '.join(others[:5])}." if others else ""
    return (
        f"{scan.dwi} has {n_volumes} volumes; of as many b-values and directions there is {has} near it.{rest} "
        "Put them beside the scan, or name them with --bval and --bvec."
    )


def describe(scan: Scan) -> FoundSubject:
    """Gather what belongs to a scan."""
    bval, bvec, others = _gradients(scan)
    notices: list[str] = []
    files = [path for path in _files(scan.root) if is_image(path) and path != scan.dwi]
    files.sort(key=lambda path: (path.parent != scan.dwi.parent, path.as_posix()))
    image = open_nifti(scan.dwi)
    headers = {path: header for path in files if (header := _header(path)) is not None}
    volumes = [path for path, header in headers.items() if header.n_dimensions == 3]
    sidecars = [path for path in [scan.dwi.with_name(f"{stem(scan.dwi)}.json")] if path.is_file()]
    labels = _labels(volumes, scan, notices)
    siblings = main_scans(scans_in(scan.dwi.parent, scan.subject, scan.session))
    return FoundSubject(
        layout=NAME,
        root=scan.root,
        subject=scan.subject,
        session=scan.session,
        scan=None if len(siblings) < 2 else re.sub(r"[^A-Za-z0-9+.-]+", "-", stem(scan.dwi)),
        dwi=scan.dwi,
        bval=bval,
        bvec=bvec,
        other_gradients=others,
        mask=_mask(volumes, headers, image, notices),
        grad_dev=first(path for path in files if re.search("grad_?dev", path.name, re.I)),
        sidecars=tuple(sidecars),
        metadata=read_sidecars(sidecars),
        t1=_t1(volumes, notices),
        label_images=labels,
        freesurfer_labels=next((each.path for name, each in labels.items() if name in _FREESURFER), None),
        tissue=first(path for path in files if "5tt" in path.name.lower() and path in headers),
        is_preprocessed=True if _DONE.search(stem(scan.dwi)) else None,
        notices=tuple(notices),
    )


def _mask(volumes: Sequence[Path], headers: dict[Path, NiftiFile], image: NiftiFile, notices: list[str]) -> Path | None:
    """The brain mask on the grid of the scan."""
    masks = [path for path in volumes if "mask" in path.name.lower() and not _NOT_BRAIN.search(path.name)]
    fitting = [path for path in masks if headers[path].grid.is_same(image.grid)]
    if masks and not fitting:
        notices.append(f"{masks[0].name} is not on the grid of the scan and is not used as its mask.")
    fitting.sort(key=lambda path: not re.search("brain|nodif", path.name, re.I))
    if len(fitting) > 1:
        notices.append(f"{len(fitting)} masks fit the scan; {fitting[0].name} is used. Name another one with --mask.")
    return fitting[0] if fitting else None


def _t1(volumes: Sequence[Path], notices: list[str]) -> Path | None:
    found = [path for path in volumes if _T1.search(stem(path)) and not _NO_T1.search(stem(path))]
    # The whole head is asked for: registration looks for the brain itself.
    found.sort(key=lambda path: bool(re.search("brain|bet|strip", path.name, re.I)))
    if len(found) > 1:
        notices.append(f"{len(found)} T1 images; {found[0].name} is used. Name another one with --t1.")
    return found[0] if found else None


def _labels(volumes: Sequence[Path], scan: Scan, notices: list[str]) -> dict[str, LabelImage]:
    """FreeSurfer's labels by name, else the one image of labels with the table that lies beside it."""
    found: dict[str, LabelImage] = {}
    for name, pattern in _FREESURFER.items():
        path = next((path for path in volumes if pattern.search(stem(path))), None)
        if path is not None:
            found[name] = LabelImage(path)
    if found:
        return found
    images = [path for path in volumes if _LABELS.search(stem(path)) and "mask" not in path.name.lower()]
    if len(images) > 1:
        names = ", ".join(path.name for path in images)
        notices.append(f"{len(images)} label images ({names}): none is taken. Name one with --labels.")
        return {}
    if not images:
        return {}
    image = images[0]
    table = first(
        path.with_suffix(ending)
        for path in (image.with_name(stem(image) + ".x"), image.with_name("regions.x"))
        for ending in _REGION_ENDINGS
    )
    return {"labels": LabelImage(image, table)}
