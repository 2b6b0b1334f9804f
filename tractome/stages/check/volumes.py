"""Volumes against each other: empty, equal, too bright, unlike the rest, out of place."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.fields import unpack
from tractome.stages.check.inspection import Inspection, some
from tractome.stages.check.sampled import SampledScan

_MIN_GROUP = 5
"""Volumes of one shell, for their median to say how the shell looks."""
_STRONG_B = 500.0
"""s/mm2: weighting strong enough for a volume to be darker than a b0 without doubt."""
_LIKELIER = 0.02
_MIN_VOXELS = 200
_TINY = 1e-6


def check_values(inspection: Inspection, scan: SampledScan) -> None:
    """Check the range of the values, and that no two volumes are equal."""
    signal, top = scan.signal, float(scan.signal.max())
    negative = float((signal < 0).mean())
    if inspection.is_beyond("signal.negative", negative):
        message = (
            f"{negative:.1%} of the values in the brain are negative. A magnitude scan has none: is it phase or "
            "complex data, or was it resampled with ringing? Give the magnitude images."
        )
        inspection.find("negative-signal", message, share=negative)
    clipped = float((signal >= top).mean())
    if inspection.is_beyond("signal.clipped", clipped):
        message = (
            f"{clipped:.1%} of the values in the brain stand at {top:g}, the top of what the file can store. They were "
            "cut off there, and their diffusion is wrong; convert the scan again with a scale factor."
        )
        inspection.find("clipped-signal", message, share=clipped, top=top)
    n_levels = len(np.unique(signal[:, scan.groups[0][0]]))
    enough = len(signal) > 1000
    if inspection.is_beyond("signal.levels", n_levels if enough else 1000) and n_levels > 1:
        message = (
            f"The first b0 has only {n_levels} distinct values in the brain. The scan was rounded too much (8 bits, "
            "or scaled down before storing); convert it again from the originals."
        )
        inspection.find("coarse-signal", message, n_levels=n_levels)
    pairs = _equal_pairs(scan)
    if pairs:
        listed = "; ".join(f"{a} and {b}" for a, b in pairs[:5])
        message = (
            f"{len(pairs)} pairs of volumes are equal voxel for voxel ({listed}). Two measurements never are: one was "
            "copied in place of another, or twice; take it out, with its b-value and direction."
        )
        inspection.find("duplicate-volumes", message, pairs=[list(pair) for pair in pairs])


def _equal_pairs(scan: SampledScan) -> list[tuple[int, int]]:
    order = np.argsort(scan.levels, kind="stable")
    return [
        (int(scan.numbers[min(a, b)]), int(scan.numbers[max(a, b)]))
        for a, b in pairwise(order)
        if scan.levels[a] == scan.levels[b] and np.array_equal(scan.signal[:, a], scan.signal[:, b])
    ]


def check_levels(inspection: Inspection, scan: SampledScan) -> None:
    """Check that b0 volumes are the bright ones, and that the volumes of a shell are equally bright."""
    log_levels = np.log(np.maximum(scan.levels, _TINY))
    b0, shells = scan.groups[0], scan.groups[1:]
    strong = [group for group in shells if scan.gradients.bvals[group].mean() >= _STRONG_B]
    misplaced: list[int] = []
    if strong:
        contrast = float(np.median(log_levels[b0]) - np.median(log_levels[np.concatenate(strong)]))
        if inspection.is_beyond("signal.b0_contrast", contrast):
            misplaced = scan.volume_names(b0)
    off, apart = np.zeros(len(log_levels), dtype=bool), np.zeros(len(log_levels))
    for group in scan.groups:
        if len(group) >= (3 if group is b0 else _MIN_GROUP):
            apart[group] = np.abs(log_levels[group] - np.median(log_levels[group]))
            off[group] = inspection.beyond("signal.level", apart[group])
    if not misplaced:
        elsewhere = [volume for volume in np.flatnonzero(off) if _belongs_elsewhere(scan, int(volume))]
        misplaced = scan.volume_names(np.array(elsewhere, dtype=np.intp))
    if misplaced:
        message = (
            f"The signal does not follow the b-values: volume {some(misplaced)} looks as if its b-value were another "
            "one. b-values in the order of the volumes are needed; check that the bval file belongs to this scan and "
            "that no volume was added, taken out or moved."
        )
        inspection.find("bvals-order", message, volumes=misplaced)
    elif off.any():
        numbers, factor = scan.volume_names(off), float(np.exp(apart.max()))
        message = (
            f"Volume {some(numbers)} is much brighter or darker than the others of its shell (factor {factor:.1f}). "
            "One scale for all is needed: were series with different scaling put together?"
        )
        inspection.find("volume-intensity", message, volumes=numbers, factor=factor)


def _belongs_elsewhere(scan: SampledScan, volume: int) -> bool:
    """Whether a volume looks more like those of another b-value than like its own."""
    own, others = 0.0, []
    for group in scan.groups:
        rest = group[group != volume]
        if len(rest):
            likeness = _likeness(scan.signal[:, volume], np.median(scan.signal[:, rest], axis=1))
            if volume in group:
                own = likeness
            else:
                others.append(likeness)
    return bool(others) and max(others) > own + _LIKELIER


def _likeness(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Correlation of logarithms: what it says does not depend on scale."""
    bright = (first > 0) & (second > 0)
    if np.count_nonzero(bright) < 10:
        return 0.0
    one, other = np.log(first[bright]), np.log(second[bright])
    return float(np.corrcoef(one, other)[0, 1]) if one.std() > 0 and other.std() > 0 else 0.0


def check_likeness(inspection: Inspection, scan: SampledScan) -> list[int]:
    """Check that each volume looks like the others of its shell, and lies where they lie; the odd ones' places."""
    odd: list[int] = []
    places: list[int] = []
    moved: list[int] = []
    for group in scan.groups:
        if len(group) < _MIN_GROUP:
            continue
        median = np.median(scan.signal[:, group], axis=1)
        likeness = np.array([_correlation(scan.signal[:, volume], median) for volume in group])
        is_odd = inspection.beyond("signal.oddness", np.nanmedian(likeness) - np.nan_to_num(likeness))
        odd += scan.volume_names(group[is_odd])
        places += [int(volume) for volume in group[is_odd]]
        shifts = np.linalg.norm(shifts_mm(scan, group), axis=1)
        shifts[is_odd] = 0.0
        moved += scan.volume_names(group[inspection.beyond("signal.shift_mm", shifts)])
    if odd:
        lost = inspection.measures["signal.oddness"]
        message = (
            f"Volume {some(odd)} looks unlike the others of its shell (correlation lower by {lost:.2f}). Look at it: "
            "corrupted volumes should be taken out, with their b-values and directions."
        )
        inspection.find("odd-volumes", message, volumes=odd, correlation_lost=lost)
    if moved:
        furthest = inspection.measures["signal.shift_mm"]
        message = (
            f"Volume {some(moved)} lies up to {furthest:.1f} mm beside the others. Aligned volumes are needed: run "
            "motion and eddy-current correction first."
        )
        inspection.find("motion", message, volumes=moved, shift_mm=furthest)
    return places


def _correlation(signal: NDArray[np.float64], median: NDArray[np.float64]) -> float:
    """Correlation where there is signal: slices of zeros are another finding."""
    there = signal > 0
    return float(np.corrcoef(signal[there], median[there])[0, 1]) if np.count_nonzero(there) >= 10 else 0.0


def shifts_mm(scan: SampledScan, group: NDArray[np.intp]) -> NDArray[np.float64]:
    """Shift of each volume against the mean of its shell, (k, 3) mm along the voxel axes.

    A mean that is moved by d is mean - slope . d, with scale and offset free; one linear step, so shifts of more than
    a voxel or two come out too small.
    """
    mean = unpack(scan.image.signal[:, group].mean(axis=1), scan.image.mask)
    slopes, whole = _slopes(scan, mean)
    if np.count_nonzero(whole) < _MIN_VOXELS:
        return np.zeros((len(group), 3))
    place = tuple(scan.voxels[whole].T)
    model = np.column_stack([-slopes[whole], mean[place], np.ones(np.count_nonzero(whole))])
    # Normal equations of five columns, without BLAS: see `check_directions_explain`.
    gram = np.einsum("ni,nj->ij", model, model)
    right = np.einsum("ni,nk->ik", model, scan.signal[np.ix_(whole, group)])
    found = np.linalg.lstsq(gram, right, rcond=None)[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        shifts = np.nan_to_num(found[:3] / found[3], posinf=0.0, neginf=0.0).T
    return np.asarray(shifts * scan.grid.voxel_sizes_mm, dtype=np.float64)


def _slopes(scan: SampledScan, mean: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Central differences of a volume along each voxel axis at the sampled voxels, and where they lie in the mask."""
    mask, shape = scan.image.mask, scan.grid.shape
    slopes, whole = np.zeros((len(scan.voxels), 3)), np.ones(len(scan.voxels), dtype=bool)
    for axis in range(3):
        if shape[axis] < 3:
            continue
        sides = []
        for step in (-1, 1):
            place = scan.voxels.copy()
            place[:, axis] = np.clip(place[:, axis] + step, 0, shape[axis] - 1)
            index = tuple(place.T)
            whole &= mask[index]
            sides.append(mean[index])
        slopes[:, axis] = (sides[1] - sides[0]) / 2
    return slopes, whole
