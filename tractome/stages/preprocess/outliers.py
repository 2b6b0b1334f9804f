"""Slices that lost their signal because the head moved while they were measured, found and filled in.

As in Andersson et al., NeuroImage 2016 (outlier replacement): the mean over a slice of the measured minus the predicted
signal, in standard deviations of that mean over the slices and volumes of a shell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.diffusion import GradientTable
from tractome.stages.preprocess.motion import Frame, Motion, measured_at, undone
from tractome.stages.preprocess.prediction import Prediction, predict
from tractome.stages.preprocess.volumes import in_threads

LEAST_VOXELS = 100
"""Slices with fewer voxels in the brain are not judged."""
LEAST_LOSS = 0.1
"""Share of the predicted signal that an outlying slice has lost."""


@dataclass(frozen=True, eq=False)
class Outliers:
    """Slices that are too dark.

    Parameters
    ----------
    is_outlier : (v, n_slices) bool
    deviation : (v, n_slices) float64
        Mean difference to the prediction, in standard deviations; NaN where not judged.
    """

    is_outlier: NDArray[np.bool_]
    deviation: NDArray[np.float64]

    @classmethod
    def none(cls, n_volumes: int, n_slices: int) -> Outliers:
        """Nothing looked for."""
        return cls(np.zeros((n_volumes, n_slices), dtype=bool), np.full((n_volumes, n_slices), np.nan))

    @property
    def n_outliers(self) -> int:
        """Number of slices, over all volumes."""
        return int(np.count_nonzero(self.is_outlier))


def find_outliers(
    signal: NDArray[np.float32],
    gradients: GradientTable,
    motions: list[Motion],
    frame: Frame,
    prediction: Prediction,
    mask: NDArray[np.bool_],
    cutoff: float,
) -> tuple[Outliers, dict[int, NDArray[np.float32]]]:
    """Find slices that are too dark, and what the others predict for them.

    A slice must be darker by `cutoff` standard deviations and by `LEAST_LOSS` of what is predicted: the first alone
    would also find slices that are only predicted badly.

    Parameters
    ----------
    signal : (x, y, z, v) float32
    gradients : GradientTable
    motions : list of Motion
    frame : Frame
    prediction : Prediction
        For the weighted volumes.
    mask : (x, y, z) bool
    cutoff : float
        In standard deviations.

    Returns
    -------
    outliers : Outliers
    predicted : dict of int to (x, y, z) float32
        Each volume with outliers, as predicted, where it was measured; NaN outside the brain.
    """
    from scipy.ndimage import map_coordinates

    weighted = np.flatnonzero(~gradients.is_b0)
    points = frame.grid.to_world(np.argwhere(mask))
    n_slices = signal.shape[frame.slice_axis]

    def sample(volume: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        where, stretch = measured_at(motions[volume], frame, points)
        found = map_coordinates(signal[..., volume], where, order=1, mode="nearest") * stretch
        slices = np.clip(np.rint(where[frame.slice_axis]), 0, n_slices - 1).astype(np.int64)
        return found.astype(np.float32), slices

    sampled = list(in_threads(sample, weighted.tolist()))
    aligned = np.stack([values for values, _ in sampled])
    difference = np.full((gradients.n_volumes, n_slices), np.nan)
    lost = np.zeros((gradients.n_volumes, n_slices))
    for number, (volume, (values, slices)) in enumerate(zip(weighted, sampled, strict=True)):
        expected = predict(prediction.weights, aligned, number)
        rest = values - expected
        counts = np.bincount(slices, minlength=n_slices)
        sums = np.bincount(slices, rest, minlength=n_slices)
        judged = counts >= LEAST_VOXELS
        difference[volume, judged] = sums[judged] / counts[judged]
        whole = np.bincount(slices, expected, minlength=n_slices)
        lost[volume, judged] = -sums[judged] / np.maximum(whole[judged], 1e-12)
    deviation = _standardised(difference, gradients)
    is_dark = (np.nan_to_num(deviation, nan=0.0) < -cutoff) & (lost > LEAST_LOSS)
    outliers = Outliers(is_dark, deviation)
    predicted = {}
    for number, volume in enumerate(weighted):
        if outliers.is_outlier[volume].any():
            reference = np.full(frame.grid.shape, np.nan, dtype=np.float32)
            reference[mask] = predict(prediction.weights, aligned, number)
            wanted = np.flatnonzero(outliers.is_outlier[volume])
            predicted[int(volume)] = _where_measured(reference, motions[volume], frame, wanted)
    return outliers, predicted


def _standardised(difference: NDArray[np.float64], gradients: GradientTable) -> NDArray[np.float64]:
    """Differences in standard deviations of their shell, or of their place in it where that varies more.

    From the quartiles, which a few lost slices do not move. Slices at the base of the brain vary with the heartbeat.
    """
    deviation = np.full_like(difference, np.nan)
    for shell in gradients.shells:
        rows = np.array(shell.volumes)
        part = difference[rows]
        known = part[np.isfinite(part)]
        if len(known) < 20:
            continue
        low, middle, high = np.percentile(known, (25, 50, 75))
        judged = np.isfinite(part).all(axis=0)
        own = np.zeros(part.shape[1])
        if len(rows) >= 8:
            own[judged] = np.subtract(*np.percentile(part[:, judged], (75, 25), axis=0))
        deviation[rows] = (part - middle) / np.maximum(np.maximum(high - low, own) / 1.349, 1e-12)
    return deviation


def _where_measured(
    reference: NDArray[np.float32], motion: Motion, frame: Frame, slices: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Some slices of a reference volume as they were measured, NaN elsewhere and where the reference has nothing."""
    from scipy.ndimage import map_coordinates

    places = [np.arange(n) for n in reference.shape]
    places[frame.slice_axis] = slices
    voxels = np.stack(np.meshgrid(*places, indexing="ij"), axis=-1).reshape(-1, 3)
    source = undone(motion, frame, frame.grid.to_world(voxels))
    back = frame.grid.to_voxel(source).T
    _, stretch = measured_at(motion, frame, source)
    known = np.isfinite(reference).astype(np.float32)
    share = map_coordinates(known, back, order=1, mode="constant")
    values = map_coordinates(np.nan_to_num(reference), back, order=1, mode="constant")
    result = np.full(reference.shape, np.nan, dtype=np.float32)
    result[tuple(voxels.T)] = np.where(share > 0.5, values / np.maximum(share, 0.5) / stretch, np.nan)
    return result


def refilled(
    signal: NDArray[np.float32], outliers: Outliers, predicted: dict[int, NDArray[np.float32]], slice_axis: int
) -> NDArray[np.float32]:
    """Volumes (v, x, y, z) with the outlying slices as predicted; what has no prediction stays as it was measured."""
    volumes = np.moveaxis(signal, 3, 0).copy()
    for volume, expected in predicted.items():
        for number in np.flatnonzero(outliers.is_outlier[volume]):
            place = (slice(None),) * slice_axis + (number,)
            there = np.isfinite(expected[place])
            volumes[volume][place][there] = expected[place][there]
    return volumes
