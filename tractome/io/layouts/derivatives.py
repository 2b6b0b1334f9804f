"""Preprocessed scans in BIDS derivatives, QSIPrep's (Cieslak et al. 2021) above all.

QSIPrep stores its images as LPS, so that the directions of its ``.bvec`` are easily misread; its ``.b`` file is an
MRtrix3 table in world axes and is preferred.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tractome.errors import TractomeError
from tractome.io.gradients import read_gradients
from tractome.io.layouts import bids
from tractome.io.layouts.found import FoundSubject, LabelImage, Scan
from tractome.io.layouts.names import entities, first, images, read_sidecars, stem
from tractome.io.nifti import open_nifti
from tractome.options import ReadOptions

NAME = "derivatives"
QSIPREP = "qsiprep"

_SPACES = ("ACPC", "T1w", None)
"""Spaces of a scan, the preferred one first: the subject's own. Scans in a template's space are passed over."""
_SAME_DEG = 2.0
_OF_ANOTHER_KIND = ("desc", "model", "param", "label", "seg", "atlas", "res")


def scans_in(path: Path, subject: str | None, session: str | None) -> list[Scan]:
    """Scans at or below `path` that were made from others and lie in the subject's own space."""
    scans = bids.all_scans(path, subject, session)
    return [each for each in scans if "desc" in entities(each.dwi) and _space(each.dwi) in (*_SPACES, "dwi", "DWI")]


def _space(path: Path) -> str | None:
    return entities(path).get("space")


def main_scans(scans: Sequence[Scan]) -> list[Scan]:
    """The result of the preprocessing, not of a step of it, in the best space that there is."""
    kept = [each for each in scans if entities(each.dwi)["desc"] == "preproc"] or list(scans)
    best = min((_rank(each.dwi) for each in kept), default=0)
    return [each for each in kept if _rank(each.dwi) == best]


def _rank(path: Path) -> int:
    space = _space(path)
    return _SPACES.index(space) if space in _SPACES else len(_SPACES)


def describe(scan: Scan) -> FoundSubject:
    """Gather what belongs to a scan."""
    table = scan.dwi.with_name(f"{stem(scan.dwi)}.b")
    others: tuple[Path, ...] = ()
    notices: list[str] = []
    if table.is_file():
        bval, bvec = table, None
        others = tuple(path for path in (table.with_suffix(".bval"), table.with_suffix(".bvec")) if path.is_file())
        notices += _disagreement(scan.dwi, table, others)
    else:
        bval, bvec = bids.gradients_of(scan)
    sidecars = bids.inherited(scan, ".json")
    labels = _labels(scan)
    anatomical = _anatomical(scan)
    t1 = first(path for path in anatomical if path.name.split(".")[0].endswith("_T1w"))
    mask = first(_fitting(images(scan.dwi.parent, "*_desc-brain_mask"), scan))
    if mask is None:
        notices.append("No brain mask lies with the scan: one is made from it.")
    numbered = first(path for path in anatomical if entities(path).get("desc") in ("aparcaseg", "aseg"))
    return FoundSubject(
        layout=QSIPREP if _is_qsiprep(scan) else NAME,
        root=scan.root,
        subject=scan.subject,
        session=scan.session,
        scan=_told_apart(scan),
        dwi=scan.dwi,
        bval=bval,
        bvec=bvec,
        other_gradients=others,
        mask=mask,
        sidecars=tuple(sidecars),
        metadata=read_sidecars(sidecars),
        t1=t1,
        t1_mask=first(path for path in anatomical if path.name.split(".")[0].endswith("desc-brain_mask")),
        label_images=labels,
        freesurfer_labels=numbered,
        tissue=first(path for path in anatomical if "5tt" in path.name),
        is_preprocessed=True,
        notices=tuple(notices),
    )


def _disagreement(dwi: Path, table: Path, others: tuple[Path, ...]) -> list[str]:
    """Say by how much the directions of an FSL pair differ from those of the table that is used."""
    if len(others) != 2:
        return []
    try:
        grid = open_nifti(dwi).grid
        first = read_gradients(table, None, grid, None, ReadOptions()).gradients
        second = read_gradients(others[0], others[1], grid, None, ReadOptions()).gradients
    except TractomeError:
        return []  # what cannot be read is not used; the table itself is read, and judged, later
    if first.n_volumes != second.n_volumes:
        return [f"{others[0].name} has {second.n_volumes} volumes, {table.name} {first.n_volumes}: the latter is used."]
    weighted = ~first.is_b0
    cosines = np.abs((first.bvecs * second.bvecs).sum(axis=1))[weighted]
    apart = float(np.rad2deg(np.arccos(np.clip(cosines, 0, 1))).max(initial=0.0))
    if apart < _SAME_DEG:
        return []
    return [
        f"{others[1].name} differs from {table.name} by up to {apart:.0f} degrees in the world: the latter is used."
    ]


def _told_apart(scan: Scan) -> str | None:
    siblings = main_scans(scans_in(scan.dwi.parent, scan.subject, scan.session))
    if len(siblings) < 2 and scan in siblings:
        return None
    parts = {key: value for key, value in entities(scan.dwi).items() if key not in ("sub", "ses", "desc", "space")}
    return "_".join(f"{key}-{value}" for key, value in parts.items()) or None


def _is_qsiprep(scan: Scan) -> bool:
    description = scan.root / "dataset_description.json"
    made_by = str(read_sidecars([description]).get("GeneratedBy", "")) if description.is_file() else ""
    return "qsiprep" in f"{made_by} {scan.root.name}".lower() or scan.dwi.with_name(f"{stem(scan.dwi)}.b").is_file()


def _fitting(paths: Sequence[Path], scan: Scan) -> list[Path]:
    """Of images beside a scan those that are about it: same space, and no entity that the scan has not."""
    own = entities(scan.dwi)
    return [
        path
        for path in paths
        if _space(path) == _space(scan.dwi)
        and {k: v for k, v in entities(path).items() if k not in _OF_ANOTHER_KIND}.items() <= own.items()
    ]


def _anatomical(scan: Scan) -> list[Path]:
    """Images of the anatomy in the space of the scan: of its session, then the subject's, then of other sessions.

    An image without a space is in that of the T1, to which QSIPrep brings the scan.
    """
    subject_folder = scan.root / f"sub-{scan.subject}"
    folders = [scan.dwi.parents[1], subject_folder, *sorted(subject_folder.glob("ses-*"))]
    found = [path for folder in dict.fromkeys(folders) for path in images(folder / "anat", "*")]
    return [path for space in (_space(scan.dwi), None) for path in found if _space(path) == space]


def _labels(scan: Scan) -> dict[str, LabelImage]:
    """Labels of the subject in the space of the scan, FreeSurfer's first."""
    beside = _fitting(images(scan.dwi.parent, "*_dseg"), scan)
    anatomical = [path for path in _anatomical(scan) if path.name.split(".")[0].endswith("_dseg")]
    found: dict[str, LabelImage] = {}
    for path in anatomical:
        name = bids.SEGMENTATIONS.get(entities(path).get("desc", ""))
        if name is not None:
            found.setdefault(name, LabelImage(path))
    for path in (*beside, *anatomical):
        atlas = entities(path).get("atlas") or entities(path).get("seg")
        table = _table_of(path, scan.root, atlas) if atlas else None
        if atlas and table is not None:
            found.setdefault(atlas, LabelImage(path, table))
    return found


def _table_of(path: Path, root: Path, atlas: str) -> Path | None:
    """Region table of a label image: beside it, or one for the whole data set."""
    names = [f"{kind}-{atlas}_dseg.tsv" for kind in ("atlas", "seg")]
    folders = [root, root / "atlases", root / "atlases" / f"atlas-{atlas}"]
    return first([path.with_name(f"{stem(path)}.tsv"), *(folder / name for folder in folders for name in names)])
