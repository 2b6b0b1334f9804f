"""The stage fit, from files to files: tensors, maps and orientations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tractome.datatypes.diffusion import DiffusionImage
from tractome.datatypes.fields import ScalarMap, TensorField, unpack
from tractome.errors import GradientError, ImageError
from tractome.io.gradients import is_mrtrix_table
from tractome.io.images import write_packed, write_scalar_map, write_volume
from tractome.io.subjects import read_diffusion
from tractome.options import FitOptions, ReadOptions
from tractome.pipeline.layout import SubjectFolder
from tractome.pipeline.ledger import Facts, Ledger, Made, Step
from tractome.pipeline.orientations import make_orientations, plan_model
from tractome.provenance import StageRecord, option_values

HIGH_FA = 0.2
"""FA above which a voxel counts as white matter where nothing better is known."""


@dataclass(frozen=True)
class ScanFiles:
    """Where a scan is.

    Parameters
    ----------
    dwi, bval : Path
    bvec : Path or None
        None when `bval` is an MRtrix gradient table, which holds both.
    mask : Path or None
        None to make one from the scan.
    responses : tuple of Path
        Response files of white matter, and of grey matter and CSF, to use in place of estimated ones.
    grad_dev : Path or None
        Gradient nonlinearity, as the HCP writes it; the tensors obey it.
    """

    dwi: Path
    bval: Path
    bvec: Path | None
    mask: Path | None = None
    responses: tuple[Path, ...] = ()
    grad_dev: Path | None = None


def find_scan(
    dwi: Path,
    bval: Path | None = None,
    bvec: Path | None = None,
    mask: Path | None = None,
    responses: tuple[Path, ...] = (),
    grad_dev: Path | None = None,
) -> ScanFiles:
    """Name the files of a scan: b-values and directions lie beside it unless given.

    They are called as the scan is (``dwi.bval``), or as the HCP does (``bvals``); `bval` may be an MRtrix3 table, which
    needs no `bvec`. A ``grad_dev.nii.gz`` beside a
    ``data.nii.gz``, as the HCP has it, is taken without being asked for.

    Raises
    ------
    ImageError, GradientError
        A file is not there.
    """
    if not dwi.is_file():
        message = f"There is no scan {dwi}. Check the path given with --dwi."
        raise ImageError(message)
    bval = bval if bval is not None else beside_scan(dwi, "bval")
    if bvec is None and bval.suffix != ".b" and not is_mrtrix_table(bval):
        bvec = beside_scan(dwi, "bvec")
    for path, flag in ((bval, "--bval"), (bvec, "--bvec")):
        if path is not None and not path.is_file():
            message = f"There is no {path}. The scan needs its b-values and directions; name the file with {flag}."
            raise GradientError(message)
    if mask is not None and not mask.is_file():
        message = f"There is no mask {mask}. Check the path given with --mask, or leave it out to have one made."
        raise ImageError(message)
    if grad_dev is not None and not grad_dev.is_file():
        message = f"There is no {grad_dev}. Check the path given with --grad-dev."
        raise ImageError(message)
    if grad_dev is None and dwi.name in ("data.nii.gz", "data.nii"):
        beside = dwi.with_name("grad_dev.nii.gz")
        grad_dev = beside if beside.is_file() else None
    for path in responses:
        if not path.is_file():
            message = f"There is no response {path}. Check the paths given with --response."
            raise GradientError(message)
    return ScanFiles(dwi, bval, bvec, mask, responses, grad_dev)


def beside_scan(dwi: Path, kind: str) -> Path:
    """Where the ``bval`` or ``bvec`` file of a scan lies unless named: called as the scan is, or as in the HCP."""
    own = dwi.with_name(f"{dwi.name.removesuffix('.gz').removesuffix('.nii')}.{kind}")
    shared = dwi.with_name(f"{kind}s")
    return shared if shared.is_file() and not own.is_file() else own


def fit_subject(ledger: Ledger, scan: ScanFiles, read: ReadOptions, options: FitOptions) -> StageRecord:
    """Read a scan, fit it, and write mask, mean b0, maps and orientations, unless that is done.

    Parameters
    ----------
    ledger : Ledger
    scan : ScanFiles
    read : ReadOptions
    options : FitOptions
    """
    subject = ledger.subject
    if not read.gradient_nonlinearity:
        scan = replace(scan, grad_dev=None)
    inputs = {"dwi": scan.dwi, "bval": scan.bval, "bvec": scan.bvec, "mask": scan.mask, "grad_dev": scan.grad_dev}
    inputs |= {f"response_{index}": path for index, path in enumerate(scan.responses)}
    step = Step(
        name="fit",
        options=option_values(read, options),
        inputs={role: path for role, path in inputs.items() if path is not None},
        may_write=(
            f"dwi/{subject.name}_desc-brain_mask.*",
            f"dwi/{subject.name}_desc-b0_dwiref.*",
            *(f"dwi/{subject.name}_model-{model}_param-*_dwimap.*" for model in ("tensor", "csd", "msmt")),
            *(f"dwi/{subject.name}_model-{model}_response-*.txt" for model in ("csd", "msmt")),
            f"figures/{subject.name}_colourfa.png",
        ),
        work=lambda made: _fit(ledger, scan, read, options, made),
    )
    return ledger.do(step)


def _fit(ledger: Ledger, scan: ScanFiles, read: ReadOptions, options: FitOptions, made: Made) -> Facts:
    from tractome.stages.fit import fit_tensors, tensor_maps, tensor_notices
    from tractome.stages.mask import make_brain_mask

    listener = ledger.listener
    mask = scan.mask if scan.mask is not None else make_brain_mask
    progress = listener.progress("reading", "volumes")
    found = read_diffusion(scan.dwi, scan.bval, scan.bvec, mask, read, progress, scan.grad_dev)
    image = found.image
    plan = plan_model(image, options, scan.responses)
    tensors = fit_tensors(image, options, listener.progress("tensors", "voxels"))
    notices = [*found.notices, *_gradient_notices(scan, plan.choice.model), *tensor_notices(tensors)]
    for notice in notices:
        listener.note(notice)
    maps = tensor_maps(tensors)
    _write_maps(ledger.subject, image, tensors, maps, scan, made)
    field = make_orientations(image, tensors, plan, options, ledger, made)
    fa = maps["fa"].values
    return {
        "gradients": image.gradients.describe(),
        "grid": image.grid.describe(),
        "n_voxels": image.n_voxels,
        "brain_volume_ml": image.n_voxels * image.grid.voxel_volume_mm3 / 1000,
        "gradient_nonlinearity": image.gradient_nonlinearity is not None,
        "mask": "given" if scan.mask is not None else "made from the mean b0",
        "model": plan.choice.model,
        "model_reason": plan.choice.reason,
        "lmax": field.lmax,
        "mean_fa_where_high": float(np.nanmean(fa[fa > HIGH_FA])) if (fa > HIGH_FA).any() else float("nan"),
        "tensor_counts": dict(tensors.counts),
        "notices": notices,
    }


def _gradient_notices(scan: ScanFiles, model: str) -> list[str]:
    """What gradient nonlinearity was used for."""
    if scan.grad_dev is None:
        return []
    obeyed = "the tensors and their bootstrap obey" if model == "tensor" else "the tensors obey"
    rest = "" if model == "tensor" else "; FODs and their responses are fitted with the gradients that were asked for"
    return [f"Gradient nonlinearity of {scan.grad_dev.name}: {obeyed} it voxel by voxel{rest}."]


def _write_maps(
    subject: SubjectFolder,
    image: DiffusionImage,
    tensors: TensorField,
    maps: Mapping[str, ScalarMap],
    scan: ScanFiles,
    made: Made,
) -> None:
    from tractome.io.figures import draw_colour_fa
    from tractome.stages.fit import principal_directions

    source = {"Sources": [scan.dwi.name]}
    mask_made = "copied" if scan.mask is not None else "median filter and Otsu threshold of the mean b0"
    write_volume(
        made(subject.mask, sidecar=True), image.mask, image.grid, {**source, "Type": "Brain", "Made": mask_made}
    )
    b0 = {**source, "Name": "mean b0", "Units": "arbitrary"}
    write_packed(made(subject.mean_b0, sidecar=True), image.mean_b0, image.mask, image.grid, b0)
    for name, scalar_map in maps.items():
        write_scalar_map(made(subject.tensor_map(name), sidecar=True), scalar_map, source)
    s0 = ScalarMap("s0", "arbitrary", tensors.s0, tensors.mask, tensors.grid)
    write_scalar_map(made(subject.tensor_map("s0"), sidecar=True), s0, source)
    if tensors.n_outliers is not None:
        facts = {**source, "Name": "measurements left out of the tensor fit as outliers", "Units": "count"}
        path = made(subject.tensor_map("noutliers"), sidecar=True)
        write_packed(path, tensors.n_outliers.astype(np.int16), image.mask, image.grid, facts)
    directions = principal_directions(tensors).astype(np.float32)
    facts = {**source, "Name": "principal direction", "Units": "unitless", "Axes": "world, RAS+"}
    write_packed(made(subject.tensor_map("direction"), sidecar=True), directions, image.mask, image.grid, facts)
    colour = np.abs(directions) * np.clip(np.nan_to_num(maps["fa"].values), 0, 1)[:, None]
    facts = {**source, "Name": "colour FA", "Units": "unitless", "Colours": "red left-right, green front-back, blue up"}
    write_packed(made(subject.tensor_map("colorfa"), sidecar=True), colour, image.mask, image.grid, facts)
    draw_colour_fa(made(subject.figure("colourfa")), unpack(colour, image.mask), image.grid)
