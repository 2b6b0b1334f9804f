"""Raw data in BIDS: subjects, sessions, runs, and metadata that is inherited (Gorgolewski et al. 2016)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tractome.errors import LayoutError
from tractome.io.layouts.found import FoundSubject, LabelImage, Scan
from tractome.io.layouts.names import entities, images, read_sidecars, stem

NAME = "bids"

_WHO = ("sub", "ses")
SEGMENTATIONS = {"aparcaseg": "freesurfer-dk-84", "aparca2009saseg": "freesurfer-a2009s-164"}
"""Atlas of FreeSurfer's labels, by the description in their name."""

_MIN_DIRECTIONS = 6
_WEIGHTED = 50.0


def scans_in(path: Path, subject: str | None, session: str | None) -> list[Scan]:
    """Scans at or below `path` that are not derivatives."""
    return [each for each in all_scans(path, subject, session) if "desc" not in entities(each.dwi)]


def all_scans(path: Path, subject: str | None, session: str | None) -> list[Scan]:
    """Every ``_dwi`` image in a ``dwi`` folder of a ``sub-`` folder, at or below `path`."""
    path = path.absolute()
    root = _root(path)
    if root is None:
        return []
    found = []
    for folder in sorted(root.glob(f"sub-{subject or '*'}")):
        for inside in (folder, *sorted(folder.glob(f"ses-{session or '*'}"))):
            if session is not None and inside is folder:
                continue
            for dwi in images(inside / "dwi", "*_dwi"):
                if path in (dwi, *dwi.parents):
                    found.append(_scan(dwi, root, folder, inside))
    return found


def _scan(dwi: Path, root: Path, folder: Path, inside: Path) -> Scan:
    named = entities(dwi)
    name = "_".join(f"{key}-{value}" for key, value in named.items() if key not in _WHO)
    session = inside.name.removeprefix("ses-") if inside != folder else None
    return Scan(dwi, root, folder.name.removeprefix("sub-"), session, name)


def _root(path: Path) -> Path | None:
    """The data set that `path` is or lies in: the folder that holds ``sub-`` folders."""
    inside = [place for place in (path, *path.parents) if re.fullmatch(r"sub-[A-Za-z0-9+]+", place.name)]
    folders = [place for place in inside if place.is_dir()]
    if folders:
        return folders[-1].parent
    return path if path.is_dir() and any(each.is_dir() for each in path.glob("sub-*")) else None


def main_scans(scans: Sequence[Scan]) -> list[Scan]:
    """Those with directions enough to be fitted: not the few volumes of the reversed phase-encoding direction."""
    return [each for each in scans if _n_weighted(each) >= _MIN_DIRECTIONS] or list(scans)


def _n_weighted(scan: Scan) -> int:
    """Number of b-values above that of a b0; 0 where they cannot be read."""
    bvals = inherited(scan, ".bval")
    try:
        values = [float(word) for word in bvals[-1].read_text(encoding="utf-8-sig").split()] if bvals else []
    except (OSError, ValueError):
        return 0
    return sum(value > _WEIGHTED for value in values)


def inherited(scan: Scan, ending: str) -> list[Path]:
    """Files about a scan: its own and those of higher folders that apply to it, from the most general to its own.

    A file applies when all its entities are the scan's too (the inheritance principle of BIDS).
    """
    own = entities(scan.dwi)
    places = [place for place in reversed(scan.dwi.parents) if place == scan.root or scan.root in place.parents]
    found: list[Path] = []
    for place in places:
        files = [*place.glob(f"*_dwi{ending}"), *place.glob(f"dwi{ending}")]
        fitting = [path for path in files if entities(path).items() <= own.items() and not path.name.startswith(".")]
        found += sorted(fitting, key=lambda path: (len(entities(path)), path.name))
    return found


def gradients_of(scan: Scan) -> tuple[Path, Path]:
    """b-values and directions of a scan, nearest first.

    Raises
    ------
    LayoutError
        There is none.
    """
    found = {ending: inherited(scan, ending) for ending in (".bval", ".bvec")}
    for ending, paths in found.items():
        if not paths:
            message = (
                f"{scan.dwi} has no {stem(scan.dwi)}{ending} beside it, nor a file above that applies to it. "
                f"Put it there, or name it with --{ending[1:]}."
            )
            raise LayoutError(message)
    return found[".bval"][-1], found[".bvec"][-1]


def describe(scan: Scan) -> FoundSubject:
    """Gather what belongs to a scan."""
    bval, bvec = gradients_of(scan)
    sidecars = inherited(scan, ".json")
    notices: list[str] = []
    labels, t1 = _segmented(scan)
    return FoundSubject(
        layout=NAME,
        root=scan.root,
        subject=scan.subject,
        session=scan.session,
        scan=told_apart(scan),
        dwi=scan.dwi,
        bval=bval,
        bvec=bvec,
        sidecars=tuple(sidecars),
        metadata=read_sidecars(sidecars),
        reverse_phase=_reverse_phase(scan),
        t1=t1 if t1 is not None else _t1(scan, notices),
        label_images=labels,
        freesurfer_labels=next((each.path for each in labels.values()), None),
        labels_follow_t1=bool(labels),
        is_preprocessed=False,
        notices=(*notices, *_preprocessed_elsewhere(scan)),
    )


def told_apart(scan: Scan) -> str | None:
    """The scan's name where its session has other scans that can be fitted, else None."""
    others = [each for each in all_scans(scan.dwi.parent, scan.subject, scan.session) if each.dwi != scan.dwi]
    desc = entities(scan.dwi).get("desc")
    rivals = [each for each in main_scans(others) if entities(each.dwi).get("desc") == desc]
    return scan.name or None if any(_n_weighted(each) >= _MIN_DIRECTIONS for each in rivals) else None


def _reverse_phase(scan: Scan) -> tuple[Path, ...]:
    """Images with the phase-encoding direction reversed: in the folder of field maps, or beside the scan."""
    direction = entities(scan.dwi).get("dir")
    beside = [
        path
        for path in (*images(scan.dwi.parent, "*_dwi"), *images(scan.dwi.parent, "*_sbref"))
        if direction is not None and entities(path).get("dir", direction) != direction
    ]
    return (*images(scan.dwi.parents[1] / "fmap", "*_epi"), *beside)


def _t1(scan: Scan, notices: list[str]) -> Path | None:
    """The T1 of the session, else the subject's, else that of another session."""
    session_folder = scan.dwi.parents[1]
    subject_folder = scan.root / f"sub-{scan.subject}"
    others = sorted(folder for folder in subject_folder.glob("ses-*") if folder != session_folder)
    for folder in (session_folder, subject_folder, *others):
        found = images(folder / "anat", "*_T1w")
        if not found:
            continue
        if len(found) > 1:
            notices.append(f"{len(found)} T1 images; {found[0].name} is used. Name another one with --t1.")
        if folder in others:
            notices.append(f"The session has no T1; that of {folder.name} is used.")
        return found[0]
    return None


def _segmented(scan: Scan) -> tuple[dict[str, LabelImage], Path | None]:
    """FreeSurfer's labels in a derivative of the anatomy (fMRIPrep's, sMRIPrep's), and the T1 that they lie on."""
    pattern = f"derivatives/*/sub-{scan.subject}/**/anat/sub-{scan.subject}*_desc-aparc*aseg_dseg.nii*"
    for path in sorted(scan.root.glob(pattern), key=lambda each: (entities(each).get("ses") != scan.session, each)):
        named = entities(path)
        same = [each for each in images(path.parent, "*_desc-preproc_T1w") if "space" not in entities(each)]
        if "space" in named or named["desc"] not in SEGMENTATIONS or not same:
            continue
        pairs = ((SEGMENTATIONS[desc], desc) for desc in SEGMENTATIONS)
        others = {name: path.with_name(path.name.replace(named["desc"], desc)) for name, desc in pairs}
        return {name: LabelImage(other) for name, other in others.items() if other.is_file()}, same[0]
    return {}, None


def _preprocessed_elsewhere(scan: Scan) -> list[str]:
    """Say where the same subject lies preprocessed."""
    found = sorted(scan.root.glob(f"derivatives/*/sub-{scan.subject}/**/dwi/*desc-*_dwi.nii*"))
    if not found:
        return []
    data_set = found[0].relative_to(scan.root / "derivatives").parts[0]
    return [f"derivatives/{data_set} holds this subject preprocessed; give that folder to use it."]
