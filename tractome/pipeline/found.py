"""From what a path holds, and what the user named, to the files of a run."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tractome.errors import OptionError
from tractome.io.gradients import is_mrtrix_table
from tractome.io.layouts import FoundSubject, LabelImage, find_subject_in
from tractome.pipeline.fit import ScanFiles, find_scan
from tractome.pipeline.layout import subject_label
from tractome.pipeline.parcellate import DEFAULT_ATLAS, OWN_LABELS, LabelSource
from tractome.pipeline.raw import PreprocessFiles, wants_preprocessing


@dataclass(frozen=True, kw_only=True)
class GivenFiles:
    """Files that the user named; each takes the place of what a path gave.

    Parameters
    ----------
    dwi : Path or None
        Another scan: then gradients, mask and gradient nonlinearity of the one that was found do not count.
    bval, bvec, mask, grad_dev, t1, tissue : Path or None
    labels, regions : Path or None
        In place of every label image that was found.
    responses : tuple of Path
    """

    dwi: Path | None = None
    bval: Path | None = None
    bvec: Path | None = None
    mask: Path | None = None
    grad_dev: Path | None = None
    t1: Path | None = None
    labels: Path | None = None
    regions: Path | None = None
    tissue: Path | None = None
    responses: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SubjectSources:
    """What a run of one subject takes, and from where.

    Parameters
    ----------
    found : FoundSubject or None
        What the path holds; None where every file was named.
    scan : ScanFiles
    regions_from : LabelSource
    atlas : str or None
        Name of the parcellation; None for the default of what there is.
    tissue : Path or None
    label : str or None
        Label of the subject's results; None to take it from the scan's path.
    session, scan_name : str or None
        Folders of the results below the subject's.
    """

    found: FoundSubject | None
    scan: ScanFiles
    regions_from: LabelSource
    atlas: str | None = None
    tissue: Path | None = None
    label: str | None = None
    session: str | None = None
    scan_name: str | None = None

    def to_preprocess(self, asked: str, reversed_phase: tuple[Path, ...] = ()) -> tuple[PreprocessFiles | None, str]:
        """What helps to preprocess the scan, None where it is fitted as it is; and why, where that is worth saying.

        Parameters
        ----------
        asked : str
            See `wants_preprocessing`.
        reversed_phase : tuple of Path
            In place of what was found.
        """
        found = self.found
        wanted, why = wants_preprocessing(asked, found.is_preprocessed if found is not None else None)
        if not wanted:
            return None, why
        there = reversed_phase or (found.reverse_phase if found is not None else ())
        metadata = found.metadata if found is not None else None
        return PreprocessFiles(self.regions_from.t1, tuple(there), metadata), why

    @property
    def labels_follow_t1(self) -> bool:
        """Whether labels lie where the T1 does, and have to be brought to the scan."""
        return self.found is not None and self.found.labels_follow_t1

    def regions_of(self, atlas: str) -> LabelSource:
        """Where the regions of another atlas come from: the subject's own labels of that name, or the atlas itself."""
        own = self.found.label_images.get(atlas) if self.found is not None else None
        t1 = self.regions_from.t1
        return LabelSource(t1, own.path, own.regions) if own is not None else LabelSource(t1)

    def describe(self) -> tuple[str, ...]:
        """What was found and what is used for what, one line each."""
        if self.found is None:
            return ()
        found, scan = self.found, self.scan
        who = "_".join(
            part
            for part in (
                f"sub-{subject_label(scan.dwi, self.label)}",
                f"ses-{self.session}" if self.session else "",
                self.scan_name or "",
            )
            if part
        )
        state = {True: "preprocessed", False: "raw", None: "not known whether preprocessed"}[found.is_preprocessed]
        rest = [scan.bval.name, *(path.name for path in (scan.bvec, scan.mask, scan.grad_dev) if path is not None)]
        lines = [
            f"{_TITLES[found.layout]} in {found.root}, {who}: {_shown(scan.dwi, found.root)} ({state}) "
            f"with {', '.join(rest)}{'' if scan.mask else '; a mask is made'}",
            f"regions: {self._regions()}; "
            f"tissues: {_shown(self.tissue, found.root) if self.tissue is not None else 'no map found'}",
        ]
        return (*lines, *found.notices)

    def _regions(self) -> str:
        source, root = self.regions_from, self.found.root if self.found is not None else Path()
        if source.labels is not None:
            named = f", named by {_shown(source.regions, root)}" if source.regions is not None else ""
            others = [name for name in (self.found.label_images if self.found else ()) if name != self.atlas]
            more = f"; --atlas {' or '.join(others)} for others" if others else ""
            moved = ", brought to the scan through the T1" if self.labels_follow_t1 else ""
            return f"{self.atlas or OWN_LABELS} from {_shown(source.labels, root)}{named}{moved}{more}"
        through = _shown(source.t1, root) if source.t1 is not None else "FA (there is no T1)"
        return f"{self.atlas or DEFAULT_ATLAS} through {through}"

    def as_dict(self) -> dict[str, Any]:
        """Every file by role, and what else was found, in plain values."""
        found = self.found
        files = {
            "dwi": self.scan.dwi,
            "bval": self.scan.bval,
            "bvec": self.scan.bvec,
            "mask": self.scan.mask,
            "grad_dev": self.scan.grad_dev,
            "t1": self.regions_from.t1,
            "labels": self.regions_from.labels,
            "regions": self.regions_from.regions,
            "tissue": self.tissue,
            "sidecar": found.sidecar if found else None,
            "freesurfer_labels": found.freesurfer_labels if found else None,
        }
        return {
            "layout": found.layout if found else None,
            "root": str(found.root) if found else None,
            "subject": subject_label(self.scan.dwi, self.label),
            "session": self.session,
            "scan": self.scan_name,
            "atlas": self.atlas,
            "is_preprocessed": found.is_preprocessed if found else None,
            "files": {role: str(path) if path is not None else None for role, path in files.items()},
            "reverse_phase": [str(path) for path in found.reverse_phase] if found else [],
            "notices": list(found.notices) if found else [],
        }


_TITLES = {
    "hcp": "HCP subject",
    "qsiprep": "QSIPrep derivatives",
    "derivatives": "BIDS derivatives",
    "bids": "raw BIDS",
    "plain": "plain files",
}


def _shown(path: Path | None, root: Path) -> str:
    """A path as seen from the data set."""
    if path is None:
        return "none"
    try:
        return str(path.relative_to(root))
    except ValueError:
        return os.path.relpath(path) if not path.is_absolute() else str(path)


def gather_sources(
    path: Path | None,
    given: GivenFiles,
    *,
    atlas: str | None = None,
    subject: str | None = None,
    session: str | None = None,
    scan: str | None = None,
) -> SubjectSources:
    """Find a subject's files, and let what the user named override them.

    Parameters
    ----------
    path : Path or None
        Data set, folder or scan, see `find_subject_in`; None when the scan is named.
    given : GivenFiles
    atlas : str or None
        Parcellation asked for: the subject's own labels of this name where there are, else an atlas brought to it.
    subject, session, scan : str or None
        See `find_subject_in`; with no path, `subject` is the label of the results.

    Raises
    ------
    OptionError
        Neither a path nor a scan.
    LayoutError, ImageError, GradientError
        What is needed was not found.
    """
    if path is None:
        if given.dwi is None:
            message = "No scan is given. Name a folder with one, as in `tractome run PATH`, or the scan with --dwi."
            raise OptionError(message)
        if session is not None or scan is not None:
            message = "--session and --scan choose among what a path holds. Give the path of the data set too."
            raise OptionError(message)
        files = find_scan(given.dwi, given.bval, given.bvec, given.mask, given.responses, given.grad_dev)
        source = LabelSource(given.t1, given.labels, given.regions)
        return SubjectSources(
            found=None, scan=files, regions_from=source, atlas=atlas, tissue=given.tissue, label=subject
        )
    found = _overridden(find_subject_in(path, subject, session, scan), given, atlas)
    files = find_scan(found.dwi, found.bval, found.bvec, found.mask, given.responses, found.grad_dev)
    chosen = atlas if atlas is not None else found.atlas
    own = found.label_images.get(chosen) if chosen is not None else None
    source = LabelSource(found.t1, own.path, own.regions) if own is not None else LabelSource(found.t1)
    return SubjectSources(
        found=found,
        scan=files,
        regions_from=source,
        atlas=chosen,
        tissue=found.tissue,
        label=plain_subject(found.subject),
        session=found.session,
        scan_name=found.scan,
    )


def plain_subject(name: str | None) -> str | None:
    """A folder's name as a BIDS label: letters, digits, + and . only."""
    return "".join(character for character in name if character.isalnum() or character in "+.") if name else None


def _overridden(found: FoundSubject, given: GivenFiles, atlas: str | None) -> FoundSubject:
    """What was found, with what was named in its place."""
    changes: dict[str, Any] = {}
    if given.dwi is not None:
        beside = find_scan(given.dwi, given.bval, given.bvec, given.mask, (), given.grad_dev)
        changes = {name: getattr(beside, name) for name in ("dwi", "bval", "bvec", "mask", "grad_dev")}
        changes |= {"sidecars": (), "metadata": {}, "reverse_phase": (), "is_preprocessed": None, "other_gradients": ()}
    elif given.bval is not None:
        changes["bvec"] = None if is_mrtrix_table(given.bval) else found.bvec
    named = {name: getattr(given, name) for name in ("bval", "bvec", "mask", "grad_dev", "t1", "tissue")}
    changes |= {name: path for name, path in named.items() if path is not None}
    if given.labels is not None:
        changes["label_images"] = {atlas or OWN_LABELS: LabelImage(given.labels, given.regions)}
        if found.labels_follow_t1:
            # One image brought to the scan and one that is there already would not fit each other.
            changes |= {"labels_follow_t1": False, "freesurfer_labels": None}
    elif given.regions is not None:
        changes["label_images"] = {
            name: replace(each, regions=given.regions) for name, each in list(found.label_images.items())[:1]
        }
    return replace(found, **changes)
