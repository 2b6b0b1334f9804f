"""Everything that can be known of a subject's files before computing: files in, findings out."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tractome.datatypes.diffusion import DiffusionImage
from tractome.datatypes.findings import CheckReport
from tractome.datatypes.parcellation import RegionTable
from tractome.datatypes.tissue import TissueMap
from tractome.errors import AtlasError, OptionError, TractomeError
from tractome.io.gradients import is_mrtrix_table
from tractome.io.headers import read_header_facts
from tractome.io.nifti import NiftiFile
from tractome.options import ReadOptions
from tractome.pipeline.check_reading import (
    BeingChecked,
    read_gradient_files,
    read_scan_signal,
    read_some_b0,
    read_whole,
    read_world_gradients,
    see_header,
)
from tractome.pipeline.fit import ScanFiles, beside_scan
from tractome.pipeline.found import GivenFiles, gather_sources
from tractome.pipeline.parcellate import OWN_LABELS, LabelSource

if TYPE_CHECKING:
    from tractome.stages.check import Inspection

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class CheckedFiles:
    """The files of one subject that are checked, each for itself and against the others.

    Parameters
    ----------
    scan : ScanFiles
    regions_from : LabelSource
    tissue : Path or None
    atlas : str or None
        Of the labels, where they are of a known one and come without a table.
    """

    scan: ScanFiles
    regions_from: LabelSource = field(default_factory=LabelSource)
    tissue: Path | None = None
    atlas: str | None = None

    def by_role(self) -> dict[str, Path]:
        """The files that there are, by what they are."""
        scan, source = self.scan, self.regions_from
        roles = {
            "dwi": scan.dwi,
            "bval": scan.bval,
            "bvec": scan.bvec,
            "mask": scan.mask,
            "grad_dev": scan.grad_dev,
            "t1": source.t1,
            "labels": source.labels,
            "regions": source.regions,
            "tissue": self.tissue,
        }
        return {role: path for role, path in roles.items() if path is not None}


def named_scan(
    dwi: Path,
    bval: Path | None = None,
    bvec: Path | None = None,
    mask: Path | None = None,
    grad_dev: Path | None = None,
) -> ScanFiles:
    """As `find_scan`, without asking whether the files are there: a check reports what is missing."""
    bval = bval if bval is not None else beside_scan(dwi, "bval")
    if bvec is None and bval.suffix != ".b" and not is_mrtrix_table(bval):
        bvec = beside_scan(dwi, "bvec")
    return ScanFiles(dwi, bval, bvec, mask, grad_dev=grad_dev)


def files_to_check(
    path: Path | None,
    given: GivenFiles,
    *,
    atlas: str | None = None,
    subject: str | None = None,
    session: str | None = None,
    scan: str | None = None,
) -> CheckedFiles:
    """As `gather_sources`: what a path holds, with what the user named in its place.

    Where everything is named, files need not be there: that is one of the things to find.

    Raises
    ------
    OptionError
        Neither a path nor a scan.
    LayoutError, ImageError, GradientError
        A path holds no scan, or not what a scan needs.
    """
    if path is None and given.dwi is not None:
        files = named_scan(given.dwi, given.bval, given.bvec, given.mask, given.grad_dev)
        return CheckedFiles(files, LabelSource(given.t1, given.labels, given.regions), given.tissue, atlas)
    sources = gather_sources(path, given, atlas=atlas, subject=subject, session=session, scan=scan)
    return CheckedFiles(sources.scan, sources.regions_from, sources.tissue, sources.atlas)


def require_known_findings(names: tuple[str, ...]) -> None:
    """Raise OptionError unless each name is that of a finding: a typing error must not accept nothing silently."""
    from tractome.stages.check import CATALOGUE

    for name in names:
        if name not in CATALOGUE:
            close = difflib.get_close_matches(name, CATALOGUE, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else " `tractome check` shows the names of what it found."
            message = f"There is no finding {name!r} to accept.{hint}"
            raise OptionError(message)


def check_files(
    files: CheckedFiles,
    read: ReadOptions,
    accept: tuple[str, ...] = (),
    *,
    quick: bool = False,
    progress: Progress | None = None,
) -> CheckReport:
    """Check a subject's files, each for itself and against the others.

    Parameters
    ----------
    files : CheckedFiles
    read : ReadOptions
    accept : tuple of str
        Names of findings that the user takes responsibility for.
    quick : bool
        Leave out what needs all volumes of the scan: dropped slices, orientation, truncation of a compressed scan.
    progress : callable or None
        Called with the number of volumes read and the number there are.

    Raises
    ------
    OptionError
        A name in `accept` is of no finding.
    """
    from tractome.stages.check import Inspection

    require_known_findings(accept)
    inspection = Inspection()
    subject = BeingChecked(inspection, _there(inspection, files))
    _check_scan(subject, files.scan.bvec is not None, read)
    _check_mask(subject)
    if not quick:
        read_scan_signal(subject, progress)
        _check_signal(subject)
    _check_grad_dev(subject)
    _check_t1(subject)
    tissue = _check_tissue(subject)
    _check_labels(subject, files.atlas, tissue)
    return inspection.report(accept)


def require_sound(
    files: CheckedFiles, read: ReadOptions, accept: tuple[str, ...] = (), progress: Progress | None = None
) -> CheckReport:
    """Check a subject's files before a run.

    Returns
    -------
    CheckReport
        With nothing refused that is not accepted.

    Raises
    ------
    TractomeError
        Something cannot be right; the message names every such finding, and how to go on all the same.
    """
    report = check_files(files, read, accept, progress=progress)
    refused = report.of("refuse")
    if refused:
        said = " ".join(f"[{each.name}] {each.message}" for each in refused)
        names = " ".join(f"--accept {name}" for name in dict.fromkeys(each.name for each in refused))
        message = f"The files cannot be right. {said} If you are sure that they are, go on with {names}."
        raise TractomeError(message)
    return report


def _there(inspection: Inspection, files: CheckedFiles) -> dict[str, Path]:
    """The files that are there, by role; what is missing is reported."""
    roles = files.by_role()
    for role, path in roles.items():
        if not path.is_file():
            about = "gradients" if role in ("bval", "bvec") else role
            state = "is a folder" if path.is_dir() else "does not exist"
            flag = "--" + role.replace("_", "-")
            message = f"{path} {state}. It is needed as {role}; check the path, or name the file with {flag}."
            inspection.find("missing-file", message, about=about, path=str(path))
    return {role: path for role, path in roles.items() if path.is_file()}


def _check_scan(subject: BeingChecked, has_bvec: bool, read: ReadOptions) -> None:
    """Header and gradients of the scan, and the first of its b0 volumes."""
    from tractome.stages.check import check_gradients

    inspection, paths = subject.inspection, subject.paths
    if "dwi" in paths:
        file = see_header(inspection, "dwi", paths["dwi"], 4)
        if isinstance(file, NiftiFile):
            subject.dwi, stated = file, read_header_facts(paths["dwi"]).slice_axis
            subject.slice_axis = 2 if stated is None else stated
    tables = None
    if "bval" in paths and ("bvec" in paths or not has_bvec):
        tables = read_gradient_files(inspection, paths["bval"], paths.get("bvec"))
    if tables is not None:
        n_volumes = subject.dwi.n_volumes if subject.dwi is not None else None
        check_gradients(inspection, *tables, n_volumes, read.b0_threshold_s_per_mm2)
        if subject.dwi is not None and not subject.refuses("gradients"):
            read_world_gradients(subject, read)
    if subject.dwi is not None:
        read_some_b0(subject)


def _check_mask(subject: BeingChecked) -> None:
    """The mask, if there is one; and what counts as brain from here on."""
    from tractome.stages.check import check_mask_place, check_mask_shape, foreground

    inspection, b0 = subject.inspection, subject.b0
    found = read_whole(inspection, "mask", subject.paths.get("mask"))
    if found is not None:
        values, grid = found
        check_mask_shape(inspection, values, grid, subject.dwi.grid if subject.dwi is not None else None)
        if b0 is not None and subject.dwi is not None and not subject.refuses("mask"):
            check_mask_place(inspection, values > 0.5, b0, subject.dwi.grid)
        if not subject.refuses("mask"):
            subject.brain = values > 0.5
    if b0 is not None:
        head = foreground(b0)
        if not head.any():
            subject.brain = None
            message = "The b0 volumes are empty or constant. At least one with signal is needed; check the image."
            inspection.find("no-signal", message)
        elif subject.brain is None:
            subject.brain = head


def _check_signal(subject: BeingChecked) -> None:
    """What the volumes hold, once they are read."""
    from tractome.stages.check import SampledScan, check_filled, check_signal

    table, image = subject.gradients, subject.image
    if table is None or len(subject.filled) == 0:
        return
    has_b0 = check_filled(subject.inspection, subject.filled, table.gradients.is_b0, subject.not_finite)
    if not has_b0 or image is None:
        return
    subject.sampled = SampledScan.of(image, table.kept[subject.filled] + 1)
    check_signal(subject.inspection, subject.sampled, subject.slice_axis)
    _check_orientation(subject, image)


def _check_orientation(subject: BeingChecked, image: DiffusionImage) -> None:
    """Whether the directions make fibres that run on; not asked where they are those of other volumes."""
    from tractome.stages.orient import find_gradient_orientation

    inspection = subject.inspection
    if inspection.has("bvals-order", "bvecs-order", "bvals-too-low"):
        return
    found = find_gradient_orientation(image, "image" if "bvec" in subject.paths else "world")
    inspection.facts["gradient orientation"] = found.summary
    if found.verdict == "other":
        message = (
            f"{found.summary} Directions in the axes of the image are needed (FSL's convention for bvec files, RAS+ "
            f"for MRtrix tables): change them so ({found.fix}), and find out what turned them."
        )
        inspection.find("gradient-orientation", message, fix=found.fix, margin=found.margin)


def _check_grad_dev(subject: BeingChecked) -> None:
    path = subject.paths.get("grad_dev")
    if path is None or subject.dwi is None or subject.brain is None:
        return
    from tractome.io.grad_dev import read_grad_dev

    try:
        read_grad_dev(path, subject.brain, subject.dwi.grid)
    except TractomeError as error:
        subject.inspection.find("grad-dev-unusable", str(error))


def _check_t1(subject: BeingChecked) -> None:
    from tractome.stages.check import check_t1

    found = read_whole(subject.inspection, "t1", subject.paths.get("t1"))
    if found is not None:
        check_t1(subject.inspection, *found, subject.b0, subject.dwi.grid if subject.dwi is not None else None)


def _check_tissue(subject: BeingChecked) -> TissueMap | None:
    """The tissue map, where it can be used."""
    from tractome.stages.check import check_tissue_place, check_tissue_values, thinned

    inspection = subject.inspection
    found = read_whole(inspection, "tissue", subject.paths.get("tissue"), n_dimensions=4)
    if found is None or not check_tissue_values(inspection, found[0]):
        return None
    found = thinned(*found)
    if subject.brain is not None and subject.dwi is not None:
        check_tissue_place(inspection, *found, subject.brain, subject.dwi.grid, subject.sampled)
    if subject.refuses("tissue"):
        return None
    try:
        return TissueMap(*found)
    except TractomeError as error:
        inspection.find("tissue-range", str(error))
        return None


def _check_labels(subject: BeingChecked, atlas: str | None, tissue: TissueMap | None) -> None:
    from tractome.stages.check import check_label_place, check_label_values, check_pieces, check_regions

    inspection = subject.inspection
    regions = _regions(subject, atlas)
    found = read_whole(inspection, "labels", subject.paths.get("labels"))
    if found is None:
        return
    labels, grid = check_label_values(inspection, found[0].astype(np.float64)), found[1]
    if labels is None:
        return
    check_pieces(inspection, labels)
    if regions is not None:
        check_regions(inspection, labels, grid, regions)
    if subject.brain is not None and subject.dwi is not None:
        known = regions.labels if regions is not None else None
        grey = regions.labels[np.isin(regions.structures, ("cortex", "subcortex"))] if regions is not None else None
        wanted = labels if known is None else np.where(np.isin(labels, known), labels, 0)
        wanted = wanted if wanted.any() else labels
        check_label_place(inspection, wanted, grid, subject.brain, subject.dwi.grid, tissue, grey)


def _regions(subject: BeingChecked, atlas: str | None) -> RegionTable | None:
    """The table that names the labels: a file, or that of a known atlas."""
    from tractome.io.atlases import read_atlas_regions
    from tractome.io.regions import read_region_table

    inspection, path = subject.inspection, subject.paths.get("regions")
    try:
        if path is not None:
            regions = read_region_table(path)
        elif atlas is not None and atlas != OWN_LABELS and "labels" in subject.paths:
            regions = read_atlas_regions(atlas)[1]
        else:
            return None
    except AtlasError as error:
        inspection.find("regions-unreadable", str(error))
        return None
    if "labels" not in subject.paths and not inspection.has("missing-file"):
        message = f"{path} names the regions of a label image, and there is none. Give the image with --labels too."
        inspection.find("regions-without-labels", message)
    return regions
