"""The stage tissue, from files to files: a tissue map from the best that a subject brings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from tractome.datatypes.tissue import TISSUES, TissueMap
from tractome.errors import ImageError, OptionError, RegistrationError
from tractome.io.images import read_mask, read_volume, write_volume
from tractome.options import ParcellateOptions, TissueOptions
from tractome.pipeline.adopt import GIVEN, background_file
from tractome.pipeline.ledger import Facts, Ledger, Made, Step
from tractome.pipeline.parcellate import DEFAULT_ATLAS
from tractome.pipeline.register import earlier_t1, register_subject, registered_inputs
from tractome.pipeline.tissue_sources import (
    TissueFiles,
    freesurfer_labels,
    is_registered,
    map_from_dwi,
    map_from_freesurfer,
    map_from_t1,
    multi_tissue_files,
)
from tractome.pipeline.tracking_files import TrackingFiles
from tractome.provenance import StageRecord, option_values

_LEAST_OVERLAP = 0.5
_FILES = ("t1", "freesurfer", "labels", "regions")
EXPLAINED = {
    "freesurfer": "FreeSurfer's labels",
    "t1": "the T1",
    "dwi": "the scan alone",
    "none": "nothing",
}


@dataclass(frozen=True)
class TissuePlan:
    """What a tissue map is to be made from.

    Parameters
    ----------
    source : str
        ``"freesurfer"``, ``"t1"``, ``"dwi"`` or ``"none"``.
    reason : str
        Why this one.
    """

    source: str
    reason: str


def earlier_files(ledger: Ledger) -> TissueFiles:
    """The files that earlier stages of this subject were given, as far as they are still there."""
    paths: dict[str, Path | None] = {"t1": earlier_t1(ledger)}
    for name, record in sorted(ledger.records().items()):
        if name.partition("/")[0] in ("parcellate", "tissue"):
            paths |= {role: Path(record.input_paths[role]) for role in _FILES if role in record.input_paths}
    return TissueFiles(**{role: path for role, path in paths.items() if path is not None and path.is_file()})


def tissue_subject(
    ledger: Ledger,
    options: TissueOptions,
    files: TissueFiles,
    parcellate: ParcellateOptions | None = None,
    n_threads: int = 0,
) -> StageRecord | None:
    """Write a subject's tissue map from what the options name or the subject brings, unless that is done.

    Parameters
    ----------
    ledger : Ledger
    options : TissueOptions
    files : TissueFiles
    parcellate : ParcellateOptions, optional
        For a registration where one is needed.
    n_threads : int
        For the registration, 0 for all there are.

    Returns
    -------
    StageRecord or None
        None where there is nothing to make a tissue map from (said as a note), or none is wanted.

    Raises
    ------
    OptionError, ImageError, RegistrationError
        The source that was asked for by name is not there, or does not do.
    """
    parcellate = parcellate or ParcellateOptions()
    plan = plan_tissue(ledger, options, files)
    if options.tissue_source != "auto":
        return None if plan.source == "none" else _do(ledger, plan, options, files, parcellate, n_threads)
    if plan.source == "none":
        ledger.listener.note(f"No tissue map: {plan.reason}. Streamlines end where orientations, FA or the mask end.")
        return None
    try:
        return _do(ledger, plan, options, files, parcellate, n_threads)
    except (ImageError, RegistrationError) as error:
        ledger.listener.note(f"No tissue map from {EXPLAINED[plan.source]}: {error}")
    if plan.source == "dwi" or not _has_maps(ledger):
        return None
    try:
        plan = TissuePlan("dwi", f"no map could be made from {EXPLAINED[plan.source]}")
        return _do(ledger, plan, options, replace(files, t1=None, freesurfer=None), parcellate, n_threads)
    except (ImageError, RegistrationError) as error:
        ledger.listener.note(f"No tissue map from the scan alone either: {error}")
        return None


def require_tissue_files(options: TissueOptions, files: TissueFiles, given: Path | None = None) -> None:
    """Raise OptionError unless the source asked for by name is among the files; `given` is a map of the user's own."""
    asked = options.tissue_source
    if given is not None and asked != "auto":
        message = (
            f"--tissue {given.name} and --tissue-source {asked} both say what the tissue map is. Give one of them."
        )
        raise OptionError(message)
    if asked == "freesurfer" and files.freesurfer is None and files.labels is None:
        message = "--tissue-source freesurfer needs FreeSurfer's labels (aparc+aseg). Give them with --labels."
        raise OptionError(message)
    if asked == "t1" and files.t1 is None:
        message = "--tissue-source t1 needs a T1 of the subject. Give it with --t1."
        raise OptionError(message)


def with_tissue(
    ledger: Ledger,
    tracking: TrackingFiles,
    options: TissueOptions,
    files: TissueFiles,
    parcellate: ParcellateOptions | None = None,
    n_threads: int = 0,
) -> tuple[TrackingFiles, StageRecord | None]:
    """The files of tracking with a tissue map, made where none was given; and the record of making it."""
    require_tissue_files(options, files, tracking.tissue)
    if tracking.tissue is not None:
        return tracking, None
    record = tissue_subject(ledger, options, files, parcellate, n_threads)
    return (replace(tracking, tissue=ledger.subject.tissue) if record is not None else tracking), record


def plan_tissue(ledger: Ledger, options: TissueOptions, files: TissueFiles) -> TissuePlan:
    """Choose what a tissue map is made from.

    Raises
    ------
    OptionError
        What was asked for by name is not there.
    """
    asked = options.tissue_source
    if asked == "none":
        return TissuePlan("none", "none is wanted")
    if asked in ("t1", "dwi") and not _has_maps(ledger):
        message = (
            f"--tissue-source {asked} needs FA, MD and b0; this subject began with FODs. Give a map with --tissue."
        )
        raise OptionError(message)
    if asked != "auto":
        require_tissue_files(options, files)
        return TissuePlan(asked, "asked for")
    labels = freesurfer_labels(files)
    if labels is not None:
        return TissuePlan("freesurfer", f"{labels.name} is numbered as FreeSurfer's segmentations")
    if not _has_maps(ledger):
        return TissuePlan("none", "there are neither FreeSurfer's labels nor FA and MD maps")
    if files.t1 is not None:
        return TissuePlan("t1", f"there is a T1, {files.t1.name}")
    if is_registered(ledger):
        return TissuePlan("dwi", "there is neither a T1 nor a FreeSurfer segmentation")
    if files.labels is not None:
        return TissuePlan("dwi", f"regions of {files.labels.name} say where grey matter is")
    return TissuePlan("none", "there is no T1, no FreeSurfer segmentation, and no registration to a template")


def _has_maps(ledger: Ledger) -> bool:
    return bool(ledger.finished("fit").facts["model"] != GIVEN)


def _do(
    ledger: Ledger,
    plan: TissuePlan,
    options: TissueOptions,
    files: TissueFiles,
    parcellate: ParcellateOptions,
    n_threads: int,
) -> StageRecord:
    subject = ledger.subject
    inputs = {"background": background_file(ledger), "mask": subject.mask}
    work: Callable[[], tuple[TissueMap, Facts]]
    chosen: dict[str, object] = {"source": plan.source, "hippocampus": options.hippocampus}
    if plan.source == "freesurfer":
        labels = freesurfer_labels(files)
        if labels is None:
            message = (
                f"{files.labels} is not numbered as FreeSurfer's aparc+aseg: cortex (3, 42 or 1001 to 2035) and white "
                "matter (2, 41) are needed. Take another --tissue-source, or leave it out."
            )
            raise ImageError(message)
        inputs |= {"freesurfer": labels}
        chosen |= {name: value for name, value in option_values(options).items() if name != "tissue_source"}
        work = partial(map_from_freesurfer, ledger, options, labels)
    else:
        own = {"labels": files.labels, "regions": files.regions}
        inputs |= {role: path for role, path in own.items() if path is not None}
        if plan.source == "t1":
            assert files.t1 is not None
            register_subject(ledger, parcellate, files.t1, n_threads)
            inputs |= {"t1": files.t1}
            work = partial(map_from_t1, ledger, options, files)
        else:
            _register_if_possible(ledger, files, parcellate, n_threads)
            inputs |= {name: subject.tensor_map(name) for name in ("fa", "md")} | multi_tissue_files(ledger)
            work = partial(map_from_dwi, ledger, options, files)
        if is_registered(ledger):
            inputs |= registered_inputs(subject, DEFAULT_ATLAS)
    step = Step(
        name="tissue",
        options=chosen,
        inputs=inputs,
        may_write=(f"dwi/{subject.name}_desc-5tt_probseg.*", f"figures/{subject.name}_tissue.png"),
        work=lambda made: _write(ledger, plan, made, *work()),
    )
    return ledger.do(step)


def _register_if_possible(ledger: Ledger, files: TissueFiles, parcellate: ParcellateOptions, n_threads: int) -> None:
    """Register the template through FA unless it is registered; without it the map has no atlas's word."""
    if is_registered(ledger) or files.labels is not None:
        return
    try:
        register_subject(ledger, parcellate, None, n_threads)
    except RegistrationError as error:
        ledger.listener.note(f"The tissue map is made without a template: {error}")


def _write(ledger: Ledger, plan: TissuePlan, made: Made, tissue: TissueMap, explained: Facts) -> Facts:
    from tractome.io.figures import draw_tissue
    from tractome.stages.tissue import overlap

    subject = ledger.subject
    share = overlap(tissue, *read_mask(subject.mask))
    if share < _LEAST_OVERLAP:
        message = (
            f"The tissue map from {EXPLAINED[plan.source]} does not lie on the scan: {share:.0%} of the smaller brain "
            "is in the other. Look at both in one viewer; labels and T1 must be in the space of the scan."
        )
        raise ImageError(message)
    voxel_ml = tissue.grid.voxel_volume_mm3 / 1000
    sums = tissue.fractions.reshape(-1, len(TISSUES)).sum(axis=0, dtype=np.float64)
    volumes = {name: round(float(each) * voxel_ml, 3) for name, each in zip(TISSUES, sums, strict=True)}
    sidecar = {
        "Name": "five tissue types",
        "LabelMap": list(TISSUES),
        "Units": "share of the voxel",
        "Source": EXPLAINED[plan.source],
        "Reason": plan.reason,
        "VolumesMl": volumes,
        **explained,
    }
    write_volume(made(subject.tissue, sidecar=True), tissue.fractions, tissue.grid, sidecar)
    background, grid = read_volume(background_file(ledger))
    draw_tissue(made(subject.figure("tissue")), background, grid, tissue)
    return {"source": plan.source, "reason": plan.reason, "volumes_ml": volumes, **explained}
