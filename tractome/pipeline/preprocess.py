"""The stage preprocess, from files to files: a raw scan made fit for fitting, and what each step did to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.diffusion import GradientTable
from tractome.datatypes.grid import Grid, require_same_grid
from tractome.errors import ImageError
from tractome.io.acquisition import Acquisition, acquisition_of, phase_direction
from tractome.io.gradients import read_gradients, write_gradients
from tractome.io.images import read_mask, write_volume
from tractome.io.nifti import open_nifti
from tractome.options import PreprocessOptions, ReadOptions
from tractome.pipeline.distortion import find_distortion
from tractome.pipeline.fit import ScanFiles
from tractome.pipeline.layout import SubjectFolder
from tractome.pipeline.ledger import Facts, Ledger, Made, Step
from tractome.pipeline.raw import PreprocessFiles
from tractome.provenance import option_values

ROOM_MM = 8.0
"""Around the brain mask, where steps look beyond it: the picture of the brain may reach out of its mask."""
GUESSED_AXIS = 1
"""Phase encoding runs from back to front in nearly all head scans; images are nearly always stored so that it is j."""


@dataclass
class Scan:
    """A scan on its way through the steps.

    Parameters
    ----------
    signal : (x, y, z, v) float32
    gradients : GradientTable
    grid : Grid
    mask : (x, y, z) bool
        Brain.
    room : (x, y, z) bool
        Brain with room around it.
    acquisition : Acquisition
    facts : dict
        What each step did.
    """

    signal: NDArray[np.float32]
    gradients: GradientTable
    grid: Grid
    mask: NDArray[np.bool_]
    room: NDArray[np.bool_]
    acquisition: Acquisition
    facts: Facts

    @property
    def mean_b0(self) -> NDArray[np.float32]:
        """Mean of the b0 volumes, (x, y, z)."""
        return np.asarray(self.signal[..., self.gradients.is_b0].mean(axis=3), dtype=np.float32)

    @property
    def slice_axis(self) -> int:
        """Axis across the slices: k unless the sidecar says otherwise."""
        return 2 if self.acquisition.slice_axis is None else self.acquisition.slice_axis

    @property
    def phase_axis(self) -> int:
        """Axis of phase encoding, guessed where nothing says so."""
        return GUESSED_AXIS if self.acquisition.phase_axis is None else self.acquisition.phase_axis


def preprocess_subject(
    ledger: Ledger,
    scan: ScanFiles,
    read: ReadOptions,
    options: PreprocessOptions,
    files: PreprocessFiles | None = None,
) -> ScanFiles:
    """Correct a raw scan, unless that is done.

    Parameters
    ----------
    ledger : Ledger
    scan : ScanFiles
        As measured.
    read : ReadOptions
    options : PreprocessOptions
    files : PreprocessFiles or None

    Returns
    -------
    ScanFiles
        The corrected scan, its directions and its mask, in place of the raw ones. What it was given besides stays.
    """
    files = files or PreprocessFiles()
    subject = ledger.subject
    acquisition = _acquisition(scan, options, files)
    wants_distortion = "distortion" in options.preprocess_steps
    inputs: dict[str, Path | None] = {"dwi": scan.dwi, "bval": scan.bval, "bvec": scan.bvec, "mask": scan.mask}
    if wants_distortion:
        inputs |= {"t1": files.t1} if options.distortion_source != "reversed" else {}
        inputs |= {f"reversed_{n}": path for n, path in enumerate(files.reversed_phase)}
    step = Step(
        name="preprocess",
        options={**option_values(read, options), "acquisition": vars(acquisition)},
        inputs={role: path for role, path in inputs.items() if path is not None},
        may_write=(
            f"dwi/{subject.name}_desc-preproc_dwi.*",
            *(f"dwi/{subject.name}_desc-{what}_dwimap.*" for what in ("noise", "distortion", "bias")),
            f"dwi/{subject.name}_desc-preproc_mask.*",
            f"dwi/{subject.name}_desc-motion_timeseries.tsv",
            f"figures/{subject.name}_preprocess-*.png",
        ),
        work=lambda made: _preprocess(ledger, scan, read, options, files, acquisition, made),
    )
    ledger.do(step)
    dwi = subject.preprocessed
    return replace(
        scan,
        dwi=dwi,
        bval=_beside(dwi, "bval"),
        bvec=_beside(dwi, "bvec"),
        mask=subject.preprocessing("preproc", "mask.nii.gz"),
    )


def _beside(dwi: Path, suffix: str) -> Path:
    return dwi.with_name(f"{dwi.name.removesuffix('.nii.gz')}.{suffix}")


def _acquisition(scan: ScanFiles, options: PreprocessOptions, files: PreprocessFiles) -> Acquisition:
    known = acquisition_of(scan.dwi, files.metadata)
    if options.phase_encoding is None:
        return known
    axis, sign = phase_direction(options.phase_encoding, "--phase-encoding")
    return replace(known, phase_axis=axis, phase_sign=sign)


def _preprocess(
    ledger: Ledger,
    files: ScanFiles,
    read: ReadOptions,
    options: PreprocessOptions,
    helpers: PreprocessFiles,
    acquisition: Acquisition,
    made: Made,
) -> Facts:
    from tractome.stages import preprocess as stage

    listener = ledger.listener
    scan, notices = _read(files, read, acquisition)
    steps = options.preprocess_steps
    scan.facts["disagreement_before"] = stage.disagreement(scan.signal, scan.gradients, scan.mask)
    first_look = _look(scan)
    if "denoise" in steps:
        _denoise(ledger, scan, options, made)
    if "unring" in steps:
        notices += _unring(ledger, scan)
    cleaned_look = _look(scan)
    notices += _displace(ledger, scan, options, helpers, made)
    if "bias" in steps:
        _bias(ledger.subject, scan, made)
    scan.facts["disagreement_after"] = stage.disagreement(scan.signal, scan.gradients, scan.mask)
    for notice in notices:
        listener.note(notice)
    _draw(ledger.subject, scan, first_look, cleaned_look, made)
    return _write(ledger.subject, scan, files, steps, notices, made)


def _read(files: ScanFiles, read: ReadOptions, acquisition: Acquisition) -> tuple[Scan, list[str]]:
    from scipy.ndimage import binary_dilation

    from tractome.stages.mask import make_brain_mask

    opened = open_nifti(files.dwi)
    if opened.n_dimensions != 4:
        message = f"{files.dwi} is 3-D. A diffusion scan is 4-D, one volume per direction; give the whole series."
        raise ImageError(message)
    table = read_gradients(files.bval, files.bvec, opened.grid, opened.n_volumes, read)
    wanted = {int(volume): column for column, volume in enumerate(table.kept)}
    signal = np.zeros((*opened.grid.shape, len(wanted)), dtype=np.float32)
    for volume, values in enumerate(opened.volumes()):
        if volume in wanted:
            np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
            signal[..., wanted[volume]] = np.maximum(values, 0.0)
    notices = [*opened.notices, *table.notices]
    empty = np.flatnonzero(~signal.any(axis=(0, 1, 2)))
    if len(empty):
        message = (
            f"Volume {empty[0] + 1} of {files.dwi.name} holds only 0 or NaN. Leave it out of the scan and its "
            "gradients, or fit the scan without preprocessing."
        )
        raise ImageError(message)
    grid = opened.grid
    if files.mask is None:
        mask = make_brain_mask(signal[..., table.gradients.is_b0].mean(axis=3), grid)
    else:
        mask, mask_grid = read_mask(files.mask)
        require_same_grid(grid, mask_grid, str(files.dwi), str(files.mask))
    n_around = max(1, round(ROOM_MM / float(grid.voxel_sizes_mm.mean())))
    room = np.asarray(binary_dilation(mask, iterations=n_around))
    return Scan(signal, table.gradients, grid, mask, room, acquisition, {}), notices


def _look(scan: Scan) -> NDArray[np.float32]:
    """One weighted volume, for pictures: the middle one."""
    weighted = np.flatnonzero(~scan.gradients.is_b0)
    return scan.signal[..., weighted[len(weighted) // 2]].copy()


def _denoise(ledger: Ledger, scan: Scan, options: PreprocessOptions, made: Made) -> None:
    from tractome.stages.preprocess import denoise, denoising_facts

    progress = ledger.listener.progress("denoising", "rows")
    found = denoise(scan.signal, scan.room, options.denoise_radius, progress)
    scan.facts["denoise"] = denoising_facts(scan.signal, found, scan.gradients, scan.mask)
    facts = {"Name": "standard deviation of the noise", "Units": "arbitrary", **scan.facts["denoise"]}
    write_volume(made(ledger.subject.preprocessing("noise"), sidecar=True), found.sigma, scan.grid, facts)
    scan.signal = found.signal


def _unring(ledger: Ledger, scan: Scan) -> list[str]:
    from tractome.stages.preprocess import LEAST_RIM_POWER, rim_power, unring, unringing_facts

    notices = []
    sigma = scan.facts.get("denoise", {}).get("sigma")
    if sigma is not None:
        power = rim_power(scan.signal[..., 0], sigma, scan.slice_axis)
        if power < LEAST_RIM_POWER:
            scan.facts["unring"] = {"skipped": "interpolated on the scanner", "rim_power": power}
            return [
                "Gibbs ringing was not corrected: the highest spatial frequencies are empty, so the scanner "
                "interpolated the images, and ringing has another period than the correction expects."
            ]
    share = scan.acquisition.partial_fourier
    if share is not None and share < 1:
        notices.append(
            f"Partial Fourier {share:g}: ringing along the phase-encode axis is only partly corrected "
            "(it has another period there)."
        )
    after = unring(scan.signal, scan.room, scan.slice_axis, ledger.listener.progress("unringing", "slices"))
    scan.facts["unring"] = unringing_facts(scan.signal, after, scan.mask)
    scan.signal = after
    return notices


def _displace(
    ledger: Ledger, scan: Scan, options: PreprocessOptions, helpers: PreprocessFiles, made: Made
) -> list[str]:
    """Motion, eddy currents and distortion: found one after the other, undone together."""
    from tractome.stages import preprocess as stage

    listener, steps = ledger.listener, options.preprocess_steps
    notices: list[str] = []
    frame = stage.Frame(scan.grid, scan.phase_axis, scan.slice_axis)
    volumes = np.moveaxis(scan.signal, 3, 0)
    motions = [stage.Motion(np.eye(4), np.zeros(0)) for _ in volumes]
    gradients = scan.gradients
    if "align" in steps:
        if scan.acquisition.phase_axis is None and options.eddy_field != "none":
            notices.append(
                f"Nothing says along which axis the phase was encoded: eddy currents are looked for along "
                f"{'ijk'[scan.phase_axis]}. Say it with --phase-encoding."
            )
        found = stage.align(
            scan.signal,
            gradients,
            scan.mask,
            frame,
            stage.EDDY_TERMS[options.eddy_field],
            options.outlier_cutoff,
            listener.progress("aligning", "rounds"),
        )
        motions, gradients, volumes = list(found.motions), found.gradients, found.volumes
        scan.facts["align"] = stage.alignment_facts(found, frame, scan.mask)
        _write_motion(ledger.subject, found, frame, made)
        if found.outliers.n_outliers:
            n_volumes = len(scan.facts["align"]["outlier_slices"])
            notices.append(
                f"{found.outliers.n_outliers} slices of {n_volumes} volumes had lost their signal and were replaced by "
                "what the other volumes predict."
            )
    distortion = None
    if "distortion" in steps:
        # The b0s alone are moved for it; everything else is sampled once, at the end.
        b0s = np.flatnonzero(gradients.is_b0)
        moved = stage.resample_scan(volumes[b0s], [motions[v] for v in b0s], frame).mean(axis=3)
        distortion, facts, more = find_distortion(
            moved, scan.mask, scan.room, frame, scan.acquisition, options, helpers, listener
        )
        scan.facts["distortion"] = facts
        notices += more
    if "align" in steps or distortion is not None:
        scan.signal = stage.resample_scan(
            volumes, motions, frame, distortion, listener.progress("resampling", "volumes")
        )
        scan.gradients = gradients
    if distortion is not None:
        sidecar = {"Name": "displacement along the phase-encode axis", "Units": "mm", **scan.facts["distortion"]}
        path = made(ledger.subject.preprocessing("distortion"), sidecar=True)
        write_volume(path, distortion.displacement_mm, scan.grid, sidecar)
        inside, shift_mm = scan.mask.astype(np.float32), distortion.displacement_mm.astype(np.float64)
        shifted = stage.corrected(inside, shift_mm, scan.grid, scan.phase_axis)
        scan.mask = shifted / distortion.stretch > 0.5
    return notices


def _write_motion(subject: SubjectFolder, found: Any, frame: Any, made: Made) -> None:
    from tractome.io.motions import write_motion_table
    from tractome.io.preprocess_figures import draw_motion
    from tractome.stages.preprocess.measures import motion_rows

    header, rows = motion_rows(found, frame)
    write_motion_table(made(subject.preprocessing("motion", "timeseries.tsv")), header, rows)
    columns = dict(zip(header, np.array(rows, dtype=np.float64).T, strict=True))
    draw_motion(made(subject.figure("preprocess-motion")), columns, found.outliers.deviation, found.outliers.is_outlier)


def _bias(subject: SubjectFolder, scan: Scan, made: Made) -> None:
    from tractome.stages.preprocess import bias_facts, bias_field

    found = bias_field(scan.mean_b0, scan.mask, scan.grid)
    scan.facts["bias"] = bias_facts(found, scan.mask)
    sidecar = {"Name": "brightness that was divided out", "Units": "unitless", **scan.facts["bias"]}
    write_volume(made(subject.preprocessing("bias"), sidecar=True), found, scan.grid, sidecar)
    scan.signal /= found[..., None]


def _draw(
    subject: SubjectFolder, scan: Scan, first: NDArray[np.float32], cleaned: NDArray[np.float32], made: Made
) -> None:
    from tractome.io.preprocess_figures import draw_steps

    rows = [("as measured", first), ("denoised, unrung", cleaned), ("what was taken out", np.abs(first - cleaned))]
    draw_steps(made(subject.figure("preprocess-denoise")), rows, scan.grid, "One weighted volume", (0, 0, 1))
    rows = [("as measured", first), ("preprocessed", _look(scan))]
    draw_steps(made(subject.figure("preprocess-result")), rows, scan.grid, "One weighted volume", (0, 1))


def _write(
    subject: SubjectFolder, scan: Scan, files: ScanFiles, steps: tuple[str, ...], notices: list[str], made: Made
) -> Facts:
    from tractome.stages.mask import make_brain_mask

    dwi = subject.preprocessed
    if files.mask is None:
        scan.mask = make_brain_mask(scan.mean_b0, scan.grid)
    facts: Facts = {
        "steps": [step for step in ("denoise", "unring", "align", "distortion", "bias") if step in steps],
        "gradients": scan.gradients.describe(),
        "acquisition": vars(scan.acquisition),
        **scan.facts,
        "notices": notices,
    }
    sidecar = {"Sources": [files.dwi.name], "SkullStripped": False, "Preprocessing": facts}
    write_volume(made(dwi, sidecar=True), scan.signal, scan.grid, sidecar)
    write_gradients(made(_beside(dwi, "bval")), made(_beside(dwi, "bvec")), scan.gradients, scan.grid)
    made_by = "copied" if files.mask is not None else "median filter and Otsu threshold of the mean b0"
    mask_path = made(subject.preprocessing("preproc", "mask.nii.gz"), sidecar=True)
    write_volume(mask_path, scan.mask, scan.grid, {"Sources": [dwi.name], "Type": "Brain", "Made": made_by})
    return facts
