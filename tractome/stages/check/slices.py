"""Slices that are missing or went dark while one volume was taken."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.stages.check.inspection import Inspection, some
from tractome.stages.check.sampled import SampledScan

_MIN_VOXELS = 30
"""Sampled voxels of a slice, for its mean to count."""
_MIN_SHARE = 0.15
"""Of the voxels of the largest slice, for a drop to count."""
_MIN_GROUP = 5


def check_slices(inspection: Inspection, scan: SampledScan, axis: int) -> None:
    """Check every slice of every volume.

    Parameters
    ----------
    inspection : Inspection
    scan : SampledScan
    axis : int
        Voxel axis along which slices follow each other.
    """
    n_slices = scan.grid.shape[axis]
    number = scan.voxels[:, axis]
    counts = np.bincount(number, minlength=n_slices)
    filled = np.flatnonzero(counts >= _MIN_VOXELS)
    if len(filled) == 0:
        return
    order = np.argsort(number, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts[counts > 0])[:-1]])
    sums = np.zeros((n_slices, scan.signal.shape[1]))
    sums[counts > 0] = np.add.reduceat(scan.signal[order], starts, axis=0)
    means = sums[filled] / counts[filled, None]
    # Zero where other volumes have signal: a mask may reach beyond the field of view.
    empty = (means == 0) & (scan.levels > 0) & (np.median(means, axis=1, keepdims=True) > 0)
    if empty.any():
        _find(inspection, scan, "zero-slices", filled, empty, "hold only zeros inside the brain")
    # The outermost slices hold few voxels of the brain, which a slight motion exchanges.
    drops = np.where(empty, 0.0, slice_drops(means, filled, scan.groups))
    drops[counts[filled] < _MIN_SHARE * counts.max()] = 0.0
    dark = inspection.beyond("signal.slice_drop", drops)
    if dark.any():
        _find(inspection, scan, "dropped-slices", filled, dark, "are much darker than their neighbours")


def slice_drops(
    means: NDArray[np.float64], filled: NDArray[np.intp], groups: tuple[NDArray[np.intp], ...]
) -> NDArray[np.float64]:
    """How much darker each slice is than its neighbours of the same volume make believe, (s, v) log ratio.

    Parameters
    ----------
    means : (s, v) float64
        Mean signal of each slice in each volume.
    filled : (s,) intp
        Number of each slice, rising.
    groups : tuple of (k,) intp
        Volumes that should look alike.
    """
    logs = np.log(np.maximum(means, 1e-3 * max(float(np.median(means)), 1e-12)))
    drops = np.zeros_like(logs)
    for group in groups:
        if len(group) < _MIN_GROUP:
            continue
        # Against the shell's median, a slice's own brightness is gone; against the volume's, that of the volume.
        relative = logs[:, group] - np.median(logs[:, group], axis=1, keepdims=True)
        relative -= np.median(relative, axis=0, keepdims=True)
        for place in range(len(filled)):
            near = [each for each in range(place - 2, place + 3) if 0 <= each < len(filled) and each != place]
            near = [each for each in near if abs(int(filled[each]) - int(filled[place])) <= 2]
            around = np.median(relative[near], axis=0) if near else np.zeros(len(group))
            drops[place, group] = around - relative[place]
    return drops


def _find(
    inspection: Inspection,
    scan: SampledScan,
    name: str,
    filled: NDArray[np.intp],
    chosen: NDArray[np.bool_],
    what: str,
) -> None:
    places, volumes = np.nonzero(chosen)
    pairs = sorted(
        (int(scan.numbers[volume]), int(filled[place]) + 1) for place, volume in zip(places, volumes, strict=True)
    )
    listed = [f"{slice_} of volume {volume}" for volume, slice_ in pairs]
    n_volumes = len({volume for volume, _ in pairs})
    message = (
        f"{len(pairs)} slices in {n_volumes} volumes {what} (slice {some(listed)}). Look at them; fit with "
        "--tensor-method robust, repair them with eddy-current correction, or take the volumes out."
    )
    inspection.find(name, message, slices=[list(pair) for pair in pairs[:100]], n_slices=len(pairs))
