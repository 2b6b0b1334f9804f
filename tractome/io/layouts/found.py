"""What was found of a subject."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class LabelImage:
    """Labels of a subject that its layout already has.

    Parameters
    ----------
    path : Path
    regions : Path or None
        Region table; None where the labels are those of a known atlas, or have no names.
    """

    path: Path
    regions: Path | None = None


@dataclass(frozen=True)
class Scan:
    """One diffusion scan among those of a data set.

    Parameters
    ----------
    dwi : Path
    root : Path
        The data set that it belongs to.
    subject, session : str or None
        Labels, without ``sub-`` and ``ses-``.
    name : str
        What tells it from the other scans of its session, such as ``"acq-multi_run-1"``; may be empty.
    """

    dwi: Path
    root: Path
    subject: str | None = None
    session: str | None = None
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class FoundSubject:
    """The files of one subject, as its layout names them. Nothing but headers and small tables has been read.

    Parameters
    ----------
    layout : str
        ``"hcp"``, ``"qsiprep"``, ``"derivatives"``, ``"bids"`` or ``"plain"``.
    root : Path
        The data set, or the folder of plain files.
    subject, session : str or None
        Labels, without ``sub-`` and ``ses-``; None where the files do not say.
    scan : str or None
        What tells the scan from the others of its session, such as ``"run-2"``; None where there is no other.
    dwi, bval : Path
    bvec : Path or None
        None when `bval` is an MRtrix3 table, which holds both, in world axes.
    other_gradients : tuple of Path
        Gradient files that lie there too and are not used.
    mask, grad_dev : Path or None
        On the grid of the scan.
    sidecars : tuple of Path
        JSON files about the scan, from the most general to its own.
    metadata : mapping
        What they say together: ``PhaseEncodingDirection``, ``TotalReadoutTime``, ...
    reverse_phase : tuple of Path
        Images taken with the phase-encoding direction reversed, or its field map's.
    t1, t1_mask : Path or None
        T1-weighted image and its brain mask.
    label_images : mapping of str to LabelImage
        Labels of this subject, by name of the parcellation; the first is the default.
    freesurfer_labels : Path or None
        An image with FreeSurfer's numbers of cortex, white matter and deep structures, from which a tissue map can be
        made.
    labels_follow_t1 : bool
        Whether these labels lie where the T1 lies, as it was measured, and not where the scan does.
    tissue : Path or None
        Five-tissue-type image.
    is_preprocessed : bool or None
        Whether the scan has been corrected for motion and distortion; None where nothing says so.
    notices : tuple of str
        What one should know of the choice of files, one sentence each.
    """

    layout: str
    root: Path
    dwi: Path
    bval: Path
    bvec: Path | None
    subject: str | None = None
    session: str | None = None
    scan: str | None = None
    other_gradients: tuple[Path, ...] = ()
    mask: Path | None = None
    grad_dev: Path | None = None
    sidecars: tuple[Path, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    reverse_phase: tuple[Path, ...] = ()
    t1: Path | None = None
    t1_mask: Path | None = None
    label_images: Mapping[str, LabelImage] = field(default_factory=dict)
    freesurfer_labels: Path | None = None
    labels_follow_t1: bool = False
    tissue: Path | None = None
    is_preprocessed: bool | None = None
    notices: tuple[str, ...] = ()

    @property
    def sidecar(self) -> Path | None:
        """The JSON file nearest to the scan."""
        return self.sidecars[-1] if self.sidecars else None

    @property
    def atlas(self) -> str | None:
        """Name of the subject's own labels that are taken when no atlas is asked for."""
        return next(iter(self.label_images), None)

    @property
    def labels(self) -> Path | None:
        """Those labels."""
        return self.label_images[self.atlas].path if self.atlas is not None else None

    @property
    def regions(self) -> Path | None:
        """Region table of those labels, where they have one of their own."""
        return self.label_images[self.atlas].regions if self.atlas is not None else None
