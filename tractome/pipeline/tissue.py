"""The stage tissue, from files to files: a tissue map from the best that a subject brings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.datatypes.parcellation import Parcellation
from tractome.datatypes.tissue import TISSUES, TissueMap
from tractome.errors import ImageError, OptionError, RegistrationError
from tractome.io.atlases import read_atlas, read_template
from tractome.io.images import read_labels, read_mask, read_volume, write_volume
from tractome.io.regions import read_region_table
from tractome.options import ParcellateOptions, TissueOptions
from tractome.pipeline.adopt import GIVEN, background_file
from tractome.pipeline.ledger import Facts, Ledger, Made, Step
from tractome.pipeline.parcellate import DEFAULT_ATLAS
from tractome.pipeline.register import (
    earlier_t1,
    read_registration,
    register_subject,
    registered_inputs,
)
from tractome.pipeline.tracking_files import TrackingFiles
from tractome.provenance import StageRecord, option_values
from tractome.stages.parcellate import regions_from_labels
from tractome.stages.register import Registration, warp_labels, warp_map

if TYPE_CHECKING:
    from tractome.stages.tissue import Expected

_LEAST_OVERLAP = 0.5
_FILES = ("t1", "freesurfer", "labels", "regions")
EXPLAINED = {
    "freesurfer": "FreeSurfer's labels",
    "t1": "the T1",
    "dwi": "the scan alone",
    "none": "nothing",
}


@dataclass(frozen=True)
class TissueFiles:
    """What a subject brings besides its scan that a tissue map may be made from.

    Parameters
    ----------
    t1 : Path or None
        T1-weighted image in the space of the scan.
    freesurfer : Path or None
        Label image with FreeSurfer's numbers, in the space of the scan.
    labels, regions : Path or None
        The subject's own labels, of any numbers, and their table: they say where deep grey matter is when the table
        tells structures apart. Labels that are FreeSurfer's stand in for `freesurfer`.
    """

    t1: Path | None = None
    freesurfer: Path | None = None
    labels: Path | None = None
    regions: Path | None = None


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
    labels = _freesurfer_labels(files)
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


def is_registered(ledger: Ledger) -> bool:
    """Whether a template was registered to this subject."""
    record = ledger.records().get("register")
    return record is not None and record.status == "done"


def _freesurfer_labels(files: TissueFiles) -> Path | None:
    """FreeSurfer's labels, if there are any; labels given by name as FreeSurfer's are not doubted here."""
    from tractome.stages.tissue import is_freesurfer

    if files.freesurfer is not None or files.labels is None:
        return files.freesurfer
    return files.labels if is_freesurfer(read_labels(files.labels)[0]) else None


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
        labels = _freesurfer_labels(files)
        if labels is None:
            message = (
                f"{files.labels} is not numbered as FreeSurfer's aparc+aseg: cortex (3, 42 or 1001 to 2035) and white "
                "matter (2, 41) are needed. Take another --tissue-source, or leave it out."
            )
            raise ImageError(message)
        inputs |= {"freesurfer": labels}
        chosen |= {name: value for name, value in option_values(options).items() if name != "tissue_source"}
        work = partial(_from_freesurfer, ledger, options, labels)
    else:
        own = {"labels": files.labels, "regions": files.regions}
        inputs |= {role: path for role, path in own.items() if path is not None}
        if plan.source == "t1":
            assert files.t1 is not None
            register_subject(ledger, parcellate, files.t1, n_threads)
            inputs |= {"t1": files.t1}
            work = partial(_from_t1, ledger, options, files)
        else:
            _register_if_possible(ledger, files, parcellate, n_threads)
            inputs |= {name: subject.tensor_map(name) for name in ("fa", "md")} | _companions(ledger)
            work = partial(_from_dwi, ledger, options, files)
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


def _from_freesurfer(ledger: Ledger, options: TissueOptions, path: Path) -> tuple[TissueMap, Facts]:
    from tractome.stages.tissue import tissue_from_freesurfer

    labels, grid = read_labels(path)
    tissue, unknown = tissue_from_freesurfer(labels, grid, options)
    if unknown:
        shown = ", ".join(map(str, unknown[:8]))
        ledger.listener.note(f"Labels of no known tissue count as outside the brain: {shown}.")
    return tissue, {"Method": "tissue of each label", "Sources": [path.name], "UnknownLabels": list(unknown)}


def _from_t1(ledger: Ledger, options: TissueOptions, files: TissueFiles) -> tuple[TissueMap, Facts]:
    from tractome.stages.tissue import box_around, tissue_from_t1

    assert files.t1 is not None
    t1, own = read_volume(files.t1)
    registration, facts = read_registration(ledger.subject)
    template = read_template()
    where = registration.warp_grid.to_world(np.argwhere(registration.brain))
    box, cut = box_around(where, own)
    grid = Grid(cut.shape, registration.to_dwi @ cut.affine)
    brain = warp_map(registration, (template.t1 > 0).astype(np.float32), template.grid, grid) > 0.5
    expected = _expected(replace(registration, label_grid=cut), grid, files, options)
    tissue = tissue_from_t1(t1[box], brain, expected)
    method = "mixture of Gaussians with a bias field, Markov random field, partial volumes"
    return tissue, {"Method": method, "Sources": [files.t1.name], "Registration": facts["summary"]}


def _from_dwi(ledger: Ledger, options: TissueOptions, files: TissueFiles) -> tuple[TissueMap, Facts]:
    from tractome.stages.tissue import DiffusionMaps, Expected, expected_from_regions, tissue_from_dwi

    subject = ledger.subject
    mask, grid = read_mask(subject.mask)
    fa, md, b0 = (
        read_volume(path)[0] for path in (subject.tensor_map("fa"), subject.tensor_map("md"), subject.mean_b0)
    )
    if is_registered(ledger):
        registration, facts = read_registration(subject)
        expected, explained = _expected(registration, grid, files, options), facts["summary"]
    else:
        labelled = _own_regions(files)
        expected = expected_from_regions(labelled, grid, mask, options) if labelled is not None else Expected(grid)
        if options.tissue_source == "auto" and not expected.has_template:
            # Without anything that says where cortex is, FA takes crossings for grey matter.
            message = "nothing says where cortex is. A T1 would, or labels of all grey matter; or --tissue-source dwi."
            raise ImageError(message)
        explained = "none; " + ("by the subject's own labels" if expected.has_template else "no labels of grey matter")
    maps = DiffusionMaps(fa, md, b0, mask, _multi_tissue(ledger, mask))
    what = "MD, FA, b0" + (" and shares by multi-tissue deconvolution" if maps.shares is not None else "")
    return tissue_from_dwi(maps, expected), {"Method": f"mixtures of Gaussians over {what}", "Registration": explained}


def _expected(registration: Registration, grid: Grid, files: TissueFiles, options: TissueOptions) -> Expected:
    """What the template and the regions say beforehand, on a grid in the world of the scan."""
    from tractome.stages.tissue import Expected, regions_shares

    template = read_template()
    regions = _own_regions(files)
    if regions is None or "subcortex" not in regions.regions.structures:
        atlas = read_atlas(DEFAULT_ATLAS)
        regions = Parcellation.from_labels(*warp_labels(registration, atlas.labels, atlas.grid), atlas.regions)
    deep, stem = regions_shares(regions, grid, options)
    grey, white = (warp_map(registration, each, template.grid, grid) for each in (template.grey, template.white))
    return Expected(grid, grey, white, deep, stem)


def _own_regions(files: TissueFiles) -> Parcellation | None:
    """The subject's own regions, if it brings any."""
    if files.labels is None:
        return None
    labels, grid = read_labels(files.labels)
    table = read_region_table(files.regions) if files.regions is not None else regions_from_labels(labels, grid)
    return Parcellation.from_labels(labels, grid, table)


def _companions(ledger: Ledger) -> dict[str, Path]:
    """Images of grey matter and CSF by multi-tissue deconvolution, with that of white matter; or none."""
    subject = ledger.subject
    paths = {name: subject.orientations("msmt", name) for name in ("csf", "gm", "afd")}
    is_msmt = ledger.finished("fit").facts["model"] == "msmt"
    return paths if is_msmt and all(path.is_file() for path in paths.values()) else {}


def _multi_tissue(ledger: Ledger, mask: NDArray[np.bool_]) -> NDArray[np.float32] | None:
    """Shares (x, y, z, 3) of CSF, grey and white matter by multi-tissue deconvolution, if there was one."""
    paths = _companions(ledger)
    if not paths:
        return None
    shares = np.stack([read_volume(paths[name])[0] for name in ("csf", "gm", "afd")], axis=-1)
    shares[..., 2] /= np.float32(np.sqrt(4 * np.pi))  # the integral of an FOD, and the companions' l = 0 coefficient
    shares[~mask] = 0
    return shares
