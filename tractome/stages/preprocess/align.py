"""Motion and eddy currents: every volume brought to where the first b0 was measured.

As in Andersson and Sotiropoulos, NeuroImage 2016: a volume is compared with what the other volumes predict for it, not
with a b0 of other contrast. Parameters are found by Gauss-Newton steps on the squared difference, rigid motion and
displacement along the phase-encode axis together; coarse first, then fine. Every shell is tied to the b0 by mutual
information, because its volumes only know where they are relative to each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.diffusion import GradientTable
from tractome.datatypes.grid import Grid
from tractome.stages.preprocess.anchor import shell_to_b0
from tractome.stages.preprocess.motion import (
    Frame,
    Motion,
    after,
    dot,
    measured_at,
    moved,
    rigid,
    rotated_directions,
    still,
)
from tractome.stages.preprocess.outliers import Outliers, find_outliers, refilled
from tractome.stages.preprocess.prediction import Prediction, fit_prediction, predict
from tractome.stages.preprocess.volumes import in_threads

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]

LEVELS = ((3.0, 4.0, 2), (1.5, 3.0, 3))
"""Smoothing (standard deviation, mm), spacing of the points that are compared (mm), and rounds, coarse to fine."""
N_STEPS = 5
_SETTLED_MM = 0.005
LEAST_FOR_PREDICTION = 6
"""Weighted volumes with fewer siblings are only moved with the b0."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where each volume was measured.

    Parameters
    ----------
    motions : tuple of Motion
        One per volume; the first b0 did not move.
    volumes : (v, x, y, z) float32
        As they were measured, outlying slices replaced.
    gradients : GradientTable
        With directions as the reference head saw them.
    outliers : Outliers
        Slices that lost their signal.
    prediction : Prediction or None
        None where there are too few weighted volumes.
    anchors : dict of str to (4, 4) float64
        Per shell, from b0 space to where its volumes agreed to be.
    residual : (rounds,) float64
        Root mean square of volumes minus predictions over the mean signal, before each round and after the last.
    """

    motions: tuple[Motion, ...]
    volumes: NDArray[np.float32]
    gradients: GradientTable
    outliers: Outliers
    prediction: Prediction | None
    anchors: dict[str, Floats]
    residual: Floats


@dataclass(frozen=True, eq=False)
class Lattice:
    """Points at which volumes are compared: a box of a coarser grid.

    Parameters
    ----------
    voxels : (n, 3) int64
        Of the scan.
    points_mm : (n, 3) float64
        World.
    shape : tuple of 3 int
        n points in C order.
    to_world : (3, 3) float64
        Steps of the lattice -> mm along the world's axes.
    inside : (n,) bool
        Which lie in the brain.
    """

    voxels: NDArray[np.int64]
    points_mm: Floats
    shape: tuple[int, int, int]
    to_world: Floats
    inside: NDArray[np.bool_]


def align(
    signal: NDArray[np.float32],
    gradients: GradientTable,
    mask: NDArray[np.bool_],
    frame: Frame,
    n_terms: int,
    outlier_cutoff: float,
    progress: Progress | None = None,
) -> Alignment:
    """Find the motion of each volume.

    Parameters
    ----------
    signal : (x, y, z, v) float32
    gradients : GradientTable
    mask : (x, y, z) bool
        Brain, as the first b0 shows it.
    frame : Frame
    n_terms : int
        Of the eddy-current displacement, see `EDDY_TERMS`.
    outlier_cutoff : float
        Slices that are so many standard deviations too dark are outliers; 0 to look for none.
    progress : callable or None
    """
    volumes = np.moveaxis(signal, 3, 0)
    weighted = np.flatnonzero(~gradients.is_b0)
    motions = [still(0) if b0 else still(n_terms) for b0 in gradients.is_b0]
    total = sum(rounds for _, _, rounds in LEVELS) + 1
    outliers = Outliers.none(gradients.n_volumes, signal.shape[frame.slice_axis])
    prediction: Prediction | None = None
    residuals: list[float] = []
    done = 0
    predictable = len(weighted) >= LEAST_FOR_PREDICTION
    _align_b0s(volumes, gradients, mask, frame, motions)
    _follow_b0s(gradients, motions, frame)
    for smoothing_mm, spacing_mm, n_rounds in LEVELS:
        smooth = smoothed(volumes, frame.grid, smoothing_mm)
        lattice = lattice_of(mask, frame.grid, spacing_mm)
        for number in range(n_rounds if predictable else 0):
            # Once motion is known roughly, and once more when it is known well.
            if outlier_cutoff and prediction is not None and number < 2:
                smooth, volumes, outliers = _without_outliers(
                    signal, gradients, motions, frame, prediction, mask, outlier_cutoff, smoothing_mm
                )
            now = _turned(gradients, motions)
            aligned = _sampled(smooth, weighted, motions, frame, lattice)
            prediction = fit_prediction(aligned[:, lattice.inside].T, now.select(weighted))
            residuals.append(_residual(aligned, prediction, lattice))
            found = _step_all(smooth, weighted, aligned, prediction, motions, frame, lattice)
            for volume, motion in zip(weighted, found, strict=True):
                motions[volume] = motion
            _remove_common_eddy(gradients, motions)
            done += 1
            if progress is not None:
                progress(done, total)
    anchors = _anchor(volumes, gradients, mask, frame, motions) if predictable else {}
    if predictable:
        aligned = _sampled(smooth, weighted, motions, frame, lattice)
        assert prediction is not None
        residuals.append(_residual(aligned, prediction, lattice))
    if progress is not None:
        progress(total, total)
    turned = _turned(gradients, motions)
    return Alignment(tuple(motions), volumes, turned, outliers, prediction, anchors, np.array(residuals))


def _turned(gradients: GradientTable, motions: list[Motion]) -> GradientTable:
    return replace(gradients, bvecs=rotated_directions(gradients.bvecs, motions))


def smoothed(volumes: NDArray[np.float32], grid: Grid, sigma_mm: float) -> NDArray[np.float32]:
    """Volumes (v, x, y, z) after a Gaussian of so many mm."""
    from scipy.ndimage import gaussian_filter

    sigma = sigma_mm / grid.voxel_sizes_mm
    return np.stack(list(in_threads(lambda volume: gaussian_filter(volume, sigma, mode="nearest"), volumes)))


def lattice_of(mask: NDArray[np.bool_], grid: Grid, spacing_mm: float) -> Lattice:
    """Lattice over a mask with a little room around it, every voxel where they are as large as the spacing."""
    stride = np.maximum(1, np.floor(spacing_mm / grid.voxel_sizes_mm + 0.5)).astype(int)
    inside = np.argwhere(mask)
    low, high = np.maximum(inside.min(axis=0) - 2 * stride, 0), inside.max(axis=0) + 2 * stride + 1
    box = tuple(slice(int(a), int(min(b, n)), int(s)) for a, b, n, s in zip(low, high, mask.shape, stride, strict=True))
    places = np.stack(np.meshgrid(*(np.arange(mask.shape[a])[box[a]] for a in range(3)), indexing="ij"), axis=-1)
    shape = (int(places.shape[0]), int(places.shape[1]), int(places.shape[2]))
    to_world = grid.affine[:3, :3] * stride
    voxels = places.reshape(-1, 3)
    return Lattice(voxels, grid.to_world(voxels), shape, to_world, mask[box].reshape(-1))


def _sampled_one(volume: NDArray[np.float32], motion: Motion, frame: Frame, points_mm: Floats) -> NDArray[np.float32]:
    from scipy.ndimage import map_coordinates

    where, stretch = measured_at(motion, frame, points_mm)
    found = map_coordinates(volume, where, order=1, mode="nearest")
    return np.asarray(found * stretch, dtype=np.float32)


def _sampled(
    smooth: NDArray[np.float32],
    wanted: NDArray[np.intp],
    motions: list[Motion],
    frame: Frame,
    lattice: Lattice,
) -> NDArray[np.float32]:
    def one(volume: int) -> NDArray[np.float32]:
        return _sampled_one(smooth[volume], motions[volume], frame, lattice.points_mm)

    return np.stack(list(in_threads(one, wanted)))


def _residual(aligned: NDArray[np.float32], prediction: Prediction, lattice: Lattice) -> float:
    square, mean = 0.0, 0.0
    for volume in range(len(aligned)):
        there = aligned[volume][lattice.inside]
        square += float(np.mean((there - predict(prediction.weights, aligned, volume)[lattice.inside]) ** 2))
        mean += float(np.mean(there))
    return float(np.sqrt(square / len(aligned)) / max(mean / len(aligned), 1e-12))


def _step_all(
    smooth: NDArray[np.float32],
    weighted: NDArray[np.intp],
    aligned: NDArray[np.float32],
    prediction: Prediction,
    motions: list[Motion],
    frame: Frame,
    lattice: Lattice,
) -> list[Motion]:
    def one(number: int) -> Motion:
        target = predict(prediction.weights, aligned, number)
        volume = int(weighted[number])
        return fit_motion(smooth[volume], target, motions[volume], frame, lattice)

    return list(in_threads(one, range(len(weighted))))


def fit_motion(
    volume: NDArray[np.float32], target: NDArray[np.float32], start: Motion, frame: Frame, lattice: Lattice
) -> Motion:
    """Move a volume to a target by Gauss-Newton steps; brightness is free.

    Parameters
    ----------
    volume : (x, y, z) float32
    target : (n,) float32
        What the volume should look like at the points of the lattice.
    start : Motion
    frame : Frame
    lattice : Lattice
    """
    inside = lattice.inside
    points = lattice.points_mm[inside]
    slope = _world_slope(target, lattice)
    centre = points.mean(axis=0)
    arm = points - centre
    turning = np.cross(arm, slope)
    n_terms = len(start.eddy_mm)
    along = dot(slope, frame.phase_mm)
    wanted = target[inside].astype(np.float64)
    motion = start
    for _ in range(N_STEPS):
        found = _sampled_one(volume, motion, frame, points).astype(np.float64)
        here = moved(motion.matrix, points)
        eddy = frame.basis(here, n_terms) * along + frame.slopes(here, n_terms) * wanted
        columns = np.concatenate([slope.T, turning.T, eddy, wanted[None]])
        normal = np.einsum("in,jn->ij", columns, columns)
        difference = wanted - found
        right = np.einsum("in,n->i", columns, difference)
        scale = np.sqrt(np.maximum(np.diag(normal), 1e-30))
        damped = normal / np.outer(scale, scale) + 1e-6 * np.eye(len(scale))
        step = np.linalg.solve(damped, right / scale) / scale
        # W(x + d) ~ target: the step moves the reference point, before the motion that is known already.
        first = rigid(step[3:6], step[:3], centre)
        motion = Motion(motion.matrix @ first, motion.eddy_mm + step[6 : 6 + n_terms])
        largest = np.abs(step[:3]).max() + 70.0 * np.abs(step[3:6]).max() + np.abs(step[6 : 6 + n_terms]).sum()
        if largest < _SETTLED_MM:
            break
    return motion


def _world_slope(values: NDArray[np.float32], lattice: Lattice) -> Floats:
    """Gradient of values on the lattice at the points inside, (n, 3), per mm along the world's axes."""
    steps = np.gradient(values.reshape(lattice.shape).astype(np.float64))
    per_step = np.stack([each.reshape(-1)[lattice.inside] for each in steps], axis=1)
    return np.asarray(np.einsum("na,aw->nw", per_step, np.linalg.inv(lattice.to_world)))


def _align_b0s(
    volumes: NDArray[np.float32],
    gradients: GradientTable,
    mask: NDArray[np.bool_],
    frame: Frame,
    motions: list[Motion],
) -> None:
    """Bring each b0 to the first, then to the mean of all but itself and the first place."""
    b0s = np.flatnonzero(gradients.is_b0)
    if len(b0s) < 2:
        return
    target: NDArray[np.float32] | None = None
    for smoothing_mm, spacing_mm, _ in LEVELS:
        smooth = smoothed(volumes[b0s], frame.grid, smoothing_mm)
        lattice = lattice_of(mask, frame.grid, spacing_mm)
        target = _sampled_one(smooth[0], motions[b0s[0]], frame, lattice.points_mm)
        for position, volume in enumerate(b0s[1:], start=1):
            motions[volume] = fit_motion(smooth[position], target, motions[volume], frame, lattice)


def _follow_b0s(gradients: GradientTable, motions: list[Motion], frame: Frame) -> None:
    """Start weighted volumes where the b0s before and after them were, in proportion to their distance."""
    from scipy.spatial.transform import Rotation, Slerp

    b0s = np.flatnonzero(gradients.is_b0)
    if len(b0s) < 2:
        return
    centre = frame.centre
    turns = Rotation.from_matrix(np.stack([motions[v].rotation for v in b0s]))
    shifts = np.stack([moved(motions[v].matrix, centre[None])[0] - centre for v in b0s])
    between = Slerp(b0s.astype(float), turns)
    for volume in np.flatnonzero(~gradients.is_b0):
        at = float(np.clip(volume, b0s[0], b0s[-1]))
        shift = np.array([np.interp(at, b0s, shifts[:, axis]) for axis in range(3)])
        matrix = rigid(between(at).as_rotvec(), shift, centre)
        motions[volume] = replace(motions[volume], matrix=matrix)


def _remove_common_eddy(gradients: GradientTable, motions: list[Motion]) -> None:
    """Take out of each shell the displacement that does not go with the direction.

    Volumes that are only compared with each other cannot tell a displacement that all of them share; eddy currents
    turn round with the gradient, so what is left at no gradient is not theirs.
    """
    for shell in gradients.shells:
        volumes = np.array(shell.volumes)
        if len(volumes) < 8 or not len(motions[volumes[0]].eddy_mm):
            continue
        eddy = np.stack([motions[v].eddy_mm for v in volumes])
        design = np.concatenate([gradients.bvecs[volumes], np.ones((len(volumes), 1))], axis=1)
        common = np.linalg.lstsq(design, eddy, rcond=None)[0][3]
        for volume in volumes:
            motions[volume] = replace(motions[volume], eddy_mm=motions[volume].eddy_mm - common)


def _without_outliers(
    signal: NDArray[np.float32],
    gradients: GradientTable,
    motions: list[Motion],
    frame: Frame,
    prediction: Prediction,
    mask: NDArray[np.bool_],
    cutoff: float,
    smoothing_mm: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32], Outliers]:
    """Volumes, smoothed and not, with outlying slices as the other volumes predict them."""
    outliers, predicted = find_outliers(signal, gradients, motions, frame, prediction, mask, cutoff)
    volumes = refilled(signal, outliers, predicted, frame.slice_axis)
    return smoothed(volumes, frame.grid, smoothing_mm), volumes, outliers


def _anchor(
    volumes: NDArray[np.float32],
    gradients: GradientTable,
    mask: NDArray[np.bool_],
    frame: Frame,
    motions: list[Motion],
) -> dict[str, Floats]:
    """Tie each shell to the b0, changing the motions of its volumes."""
    lattice = lattice_of(mask, frame.grid, 0.0)
    points = lattice.points_mm
    anchors = {}
    b0 = np.mean([_sampled_one(volumes[v], motions[v], frame, points) for v in np.flatnonzero(gradients.is_b0)], axis=0)
    for shell in gradients.shells:
        mean = np.mean([_sampled_one(volumes[v], motions[v], frame, points) for v in shell.volumes], axis=0)
        inside = lattice.inside.reshape(lattice.shape)
        box = Grid(lattice.shape, _box_affine(lattice))
        first = shell_to_b0(b0.reshape(lattice.shape), mean.reshape(lattice.shape), inside, box)
        anchors[f"{shell.b_s_per_mm2:.0f}"] = first
        for volume in shell.volumes:
            motions[volume] = after(motions[volume], first)
    return anchors


def _box_affine(lattice: Lattice) -> Floats:
    affine = np.eye(4)
    affine[:3, :3] = lattice.to_world
    affine[:3, 3] = lattice.points_mm[0]
    return affine
