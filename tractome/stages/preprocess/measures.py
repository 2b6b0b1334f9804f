"""What each step of preprocessing did, in numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.diffusion import GradientTable
from tractome.stages.preprocess.align import Alignment
from tractome.stages.preprocess.denoise import Denoised
from tractome.stages.preprocess.distortion import Distortion
from tractome.stages.preprocess.motion import Frame, framewise_mm, measured_at, moved
from tractome.stages.preprocess.prediction import fit_prediction, predict

Facts = dict[str, Any]


def disagreement(signal: NDArray[np.float32], gradients: GradientTable, mask: NDArray[np.bool_]) -> float | None:
    """Root mean square of weighted volumes minus what the others predict, over their mean signal.

    Noise, motion and distortion that differs between volumes all raise it. None with fewer than 6 weighted volumes.
    """
    weighted = np.flatnonzero(~gradients.is_b0)
    if len(weighted) < 6:
        return None
    values = signal[mask][:, weighted]
    prediction = fit_prediction(values, gradients.select(weighted))
    volumes = np.ascontiguousarray(values.T)
    square = [float(np.mean((volumes[v] - predict(prediction.weights, volumes, v)) ** 2)) for v in range(len(volumes))]
    return float(np.sqrt(np.mean(square)) / max(float(volumes.mean()), 1e-12))


def denoising_facts(
    before: NDArray[np.float32], found: Denoised, gradients: GradientTable, mask: NDArray[np.bool_]
) -> Facts:
    """Noise, signal over noise per shell, and whether what was removed looks like noise."""
    removed = before - found.signal
    sigma = found.sigma[mask]
    levels = {"0": np.flatnonzero(gradients.is_b0)}
    levels |= {f"{shell.b_s_per_mm2:.0f}": np.array(shell.volumes) for shell in gradients.shells}
    noise = max(float(np.median(sigma)), 1e-12)
    inside = removed[mask]
    brightness = {b: float(np.median(before[mask][:, rows].mean(axis=1))) for b, rows in levels.items()}
    return {
        "sigma": float(np.median(sigma)),
        "signal_to_noise": {b: value / noise for b, value in brightness.items()},
        "removed_over_sigma": float(np.sqrt(np.mean(inside**2)) / noise),
        "removed_neighbour_correlation": _neighbour_correlation(removed, mask),
        "n_components_kept": found.n_components,
        "patch_radius_voxels": found.radius,
    }


def _neighbour_correlation(values: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """Correlation of neighbouring voxels along the first axis: near 0 for independent noise."""
    both = mask[1:] & mask[:-1]
    one, two = values[1:][both].ravel(), values[:-1][both].ravel()
    spread = float(np.std(one) * np.std(two))
    return float(np.mean((one - one.mean()) * (two - two.mean())) / spread) if spread > 0 else 0.0


def unringing_facts(before: NDArray[np.float32], after: NDArray[np.float32], mask: NDArray[np.bool_]) -> Facts:
    """How much was changed, as a share of the mean signal."""
    changed = (after - before)[mask]
    mean = max(float(before[mask].mean()), 1e-12)
    return {
        "mean_change": float(np.abs(changed).mean()) / mean,
        "largest_change": float(np.percentile(np.abs(changed), 99.9)) / mean,
    }


def alignment_facts(found: Alignment, frame: Frame, mask: NDArray[np.bool_]) -> Facts:
    """Motion and eddy currents over the brain, outlying slices, and what is left."""
    points = frame.grid.to_world(np.argwhere(mask)[::29])
    centre = points.mean(axis=0)
    shift, eddy, stretch = [], [], []
    for motion in found.motions:
        still = moved(motion.matrix, points)
        shift.append(float(np.linalg.norm(still - points, axis=1).mean()))
        where, factor = measured_at(motion, frame, points)
        eddy.append(float(np.linalg.norm(frame.grid.to_world(where.T) - still, axis=1).max()))
        stretch += [float(factor.min()), float(factor.max())]
    steps = framewise_mm(list(found.motions), centre)
    turns = [motion.rotation_deg for motion in found.motions]
    dark = found.outliers.is_outlier
    ties = {b: moved(matrix, points) - points for b, matrix in found.anchors.items()}
    return {
        "displacement_mm": {"mean": float(np.mean(shift)), "largest": float(np.max(shift))},
        "rotation_deg": {"mean": float(np.mean(turns)), "largest": float(np.max(turns))},
        "framewise_mm": {"mean": float(steps.mean()), "largest": float(steps.max())} if len(steps) else {},
        "eddy_displacement_mm": {"mean": float(np.mean(eddy)), "largest": float(np.max(eddy))},
        "eddy_stretch": [min(stretch), max(stretch)],
        "n_outlier_slices": found.outliers.n_outliers,
        "outlier_slices": {str(v): np.flatnonzero(dark[v]).tolist() for v in np.flatnonzero(dark.any(axis=1))},
        "residual": [float(each) for each in found.residual],
        "shells_to_b0_mm": {b: float(np.linalg.norm(tie, axis=1).mean()) for b, tie in ties.items()},
    }


def distortion_facts(found: Distortion, mask: NDArray[np.bool_]) -> Facts:
    """Displacement and stretch over the brain, and how well the two images agree before and after."""
    size = np.abs(found.displacement_mm[mask])
    stretch = found.stretch[mask]
    return {
        "displacement_mm": {"mean": float(size.mean()), "largest": float(size.max())},
        "stretch": [float(stretch.min()), float(stretch.max())],
        "agreement": [found.before, found.after],
    }


def bias_facts(field: NDArray[np.float32], mask: NDArray[np.bool_]) -> Facts:
    """Brightness over the brain, 1st to 99th percentile, mean 1."""
    low, high = np.percentile(field[mask], (1, 99))
    return {"brightness": [float(low), float(high)]}


def motion_rows(found: Alignment, frame: Frame) -> tuple[list[str], list[list[float]]]:
    """Names and values of one row per volume: shifts of the grid's centre, turns, eddy terms, outlying slices.

    Turns are a rotation vector in degrees, shifts are mm, both along the world's axes; eddy terms are mm at 100 mm from
    the centre.
    """
    from scipy.spatial.transform import Rotation

    centre = frame.centre[None]
    n_terms = max(len(motion.eddy_mm) for motion in found.motions)
    header = ["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"]
    header += [f"eddy_{term + 1}" for term in range(n_terms)] + ["outlier_slices"]
    rows = []
    for motion, slices in zip(found.motions, found.outliers.is_outlier, strict=True):
        shift = (moved(motion.matrix, centre) - centre)[0]
        turn = Rotation.from_matrix(motion.rotation).as_rotvec(degrees=True)
        eddy = np.zeros(n_terms)
        eddy[: len(motion.eddy_mm)] = motion.eddy_mm
        rows.append([*map(float, (*shift, *turn, *eddy)), float(np.count_nonzero(slices))])
    return header, rows
