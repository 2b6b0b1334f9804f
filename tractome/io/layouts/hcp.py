"""Subjects of the Human Connectome Project after its minimal preprocessing (Glasser et al. 2013)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tractome.errors import LayoutError
from tractome.io.layouts.found import FoundSubject, LabelImage, Scan
from tractome.io.layouts.names import first

NAME = "hcp"

_DATA = ("data.nii.gz", "data.nii")
_T1 = (
    "T1w_acpc_dc_restore.nii.gz",
    "T1w_acpc_dc_restore_brain.nii.gz",
    "T1w_acpc_dc_restore_1.25.nii.gz",
    "T1w_acpc_dc.nii.gz",
)
_LABELS = {
    "freesurfer-dk-84": "aparc+aseg.nii.gz",
    "freesurfer-a2009s-164": "aparc.a2009s+aseg.nii.gz",
}
_NUMBERED = ("aparc+aseg.nii.gz", "wmparc.nii.gz", "aparc.a2009s+aseg.nii.gz")


def scans_in(path: Path, subject: str | None, session: str | None) -> list[Scan]:
    """Scans of the subject that `path` is, lies in, or of all subjects that it holds."""
    inside = _subject_around(path)
    if inside is not None:
        # The folder says who it is; another label is only a name for the results.
        scans = _scans(inside, subject or inside.name)
        named = path.name if path.name.startswith("Diffusion") else None
        kept = [each for each in scans if named is None or each.name == named]
        return [each for each in kept if not path.is_file() or each.dwi.resolve() == path.resolve()]
    if not path.is_dir():
        return []
    folders = sorted({found.parents[1] for found in path.glob("*/T1w/Diffusion*")})
    scans = [each for folder in folders for each in _scans(folder, folder.name)]
    return [each for each in scans if subject in (None, each.subject)]


def _subject_around(path: Path) -> Path | None:
    """The folder with T1w/Diffusion that `path` is or lies in."""
    path = path.absolute()
    places = [path, *path.parents][:4]
    return next((folder for folder in places if _scans(folder, "")), None)


def _scans(folder: Path, subject: str) -> list[Scan]:
    found = []
    for diffusion in sorted((folder / "T1w").glob("Diffusion*")):
        dwi = first(diffusion / name for name in _DATA)
        if dwi is not None:
            found.append(Scan(dwi, folder, subject, None, diffusion.name))
    return found


def main_scans(scans: Sequence[Scan]) -> list[Scan]:
    """The 3 T scan where there is one of 7 T too."""
    return [each for each in scans if each.name == "Diffusion"] or list(scans)


def describe(scan: Scan) -> FoundSubject:
    """Gather what belongs to a scan."""
    folder, structural = scan.dwi.parent, scan.root / "T1w"
    bval, bvec = folder / "bvals", folder / "bvecs"
    for path in (bval, bvec):
        if not path.is_file():
            message = f"{scan.dwi} has no {path.name} beside it. Fetch the whole Diffusion folder of the subject again."
            raise LayoutError(message)
    labels = {name: structural / file for name, file in _LABELS.items() if (structural / file).is_file()}
    notices = []
    mask = first([folder / "nodif_brain_mask.nii.gz"])
    grad_dev = first([folder / "grad_dev.nii.gz"])
    if mask is None:
        notices.append("There is no nodif_brain_mask.nii.gz: a mask is made from the scan.")
    if grad_dev is None:
        notices.append("There is no grad_dev.nii.gz: gradients are taken as linear.")
    others = [each.name for each in _scans(scan.root, "") if each.name != scan.name]
    if others:
        notices.append(f"{scan.name} is used; --scan {others[0]} takes the other scan.")
    return FoundSubject(
        layout=NAME,
        root=scan.root,
        subject=scan.subject,
        scan=scan.name if scan.name != "Diffusion" else None,
        dwi=scan.dwi,
        bval=bval,
        bvec=bvec,
        mask=mask,
        grad_dev=grad_dev,
        t1=first(structural / name for name in _T1),
        t1_mask=first(structural / name for name in ("brainmask_fs.nii.gz", "T1w_acpc_brain_mask.nii.gz")),
        label_images={name: LabelImage(path) for name, path in labels.items()},
        freesurfer_labels=first(structural / name for name in _NUMBERED),
        tissue=first(structural / name for name in ("5tt.nii.gz", "5ttgen.nii.gz")),
        is_preprocessed=True,
        notices=tuple(notices),
    )
