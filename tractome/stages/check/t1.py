"""The T1-weighted image: has it contrast, and does it lie where the scan is, the right way round?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.stages.check.foreground import foreground
from tractome.stages.check.inspection import Inspection
from tractome.stages.check.overlap import box, looked_up, some_points

_N_BINS = 32
_SHIFTS_MM = (16.0, 32.0)
_PLANES_MM = range(-20, 21, 4)


def check_t1(
    inspection: Inspection,
    t1: NDArray[np.float32],
    grid: Grid,
    b0: NDArray[np.float32] | None,
    dwi_grid: Grid | None,
) -> None:
    """Check a T1-weighted image against the scan.

    Parameters
    ----------
    inspection : Inspection
    t1 : (x, y, z) float32
    grid : Grid
    b0 : (x, y, z) float32 or None
        Mean b0, finite; None where the scan could not be read.
    dwi_grid : Grid or None
    """
    if not np.isfinite(t1).any() or np.nanmax(t1) <= max(0.0, float(np.nanmin(t1))):
        message = "The T1 is empty or constant. An image with contrast is needed; check that the right file was given."
        inspection.find("t1-no-contrast", message)
        return
    thickest = float(grid.voxel_sizes_mm.max())
    if inspection.is_beyond("t1.slice_mm", thickest):
        message = (
            f"The slices of the T1 are {thickest:.1f} mm thick. An atlas is brought through them with that error at "
            "best; give a T1 of about 1 mm, or leave it out to go through FA."
        )
        inspection.find("t1-thick-slices", message, slice_mm=thickest)
    if b0 is None or dwi_grid is None:
        return
    head = foreground(b0)
    if head.any():
        _check_place(inspection, np.nan_to_num(t1), grid, b0, head, dwi_grid)


def _check_place(
    inspection: Inspection,
    t1: NDArray[np.float32],
    grid: Grid,
    b0: NDArray[np.float32],
    head: NDArray[np.bool_],
    dwi_grid: Grid,
) -> None:
    points = some_points(head, dwi_grid)
    on_grid, _ = looked_up(points, grid)
    share = float(on_grid.mean())
    is_elsewhere = inspection.is_beyond("t1.overlap", share)
    is_partial = inspection.is_beyond("t1.scan_share", share)
    if is_elsewhere:
        corners = grid.to_world(np.array([[0.0, 0, 0], np.array(grid.shape) - 1.0]))
        message = (
            f"{share:.0%} of the head in the scan lies inside the T1. Scan: {box(points)}; T1: {box(corners)} (RAS+). "
            "A T1 of this subject in the scanner's space is needed; set its origin right, or register it to the scan."
        )
        inspection.find("t1-elsewhere", message, share=share)
        return
    if is_partial:
        message = (
            f"Only {share:.0%} of the head in the scan lies inside the T1. The atlas cannot be right outside of it; "
            "give a T1 that covers the brain."
        )
        inspection.find("t1-covers-part", message, share=share)
        return
    _check_agreement(inspection, t1, grid, b0, head, dwi_grid)


def _check_agreement(
    inspection: Inspection,
    t1: NDArray[np.float32],
    grid: Grid,
    b0: NDArray[np.float32],
    head: NDArray[np.bool_],
    dwi_grid: Grid,
) -> None:
    """Compare the mutual information of both images as they lie with that when the T1 is moved or mirrored."""
    # The whole box round the head: its outline says as much as what is inside.
    spans = [np.flatnonzero(head.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    near = np.zeros_like(head)
    near[tuple(slice(span[0], span[-1] + 1) for span in spans)] = True
    points = some_points(near, dwi_grid)
    _, voxels = looked_up(points, dwi_grid)
    values = b0[voxels]
    here = mutual_information(values, t1, grid, points)
    best, moved = -np.inf, ""
    for axis, shift in ((axis, sign * shift) for axis in range(3) for shift in _SHIFTS_MM for sign in (-1, 1)):
        step = np.zeros(3)
        step[axis] = shift
        found = mutual_information(values, t1, grid, points + step)
        if found > best:
            best, moved = found, f"{-shift:+.0f} mm along {'xyz'[axis]}"
    if inspection.is_beyond("t1.shift_gain", best - here):
        message = (
            f"T1 and scan fit each other much better when the T1 is moved by {moved} (mutual information {best:.2f} "
            f"against {here:.2f} bits). Were they taken in one session? Register the T1 to the scan, or set its origin."
        )
        inspection.find("t1-shifted", message, moved=moved, gain_bits=best - here)
        return
    gain = _mirror_gain(values[::3], t1, grid, points[::3])
    if inspection.is_beyond("t1.mirror_gain", gain):
        message = (
            f"T1 and scan fit each other better when the T1 is mirrored left to right (by {gain:.3f} bits of mutual "
            "information). One of them has left and right exchanged; convert both again from the originals."
        )
        inspection.find("t1-mirrored", message, gain_bits=gain)


def _mirror_gain(
    values: NDArray[np.float32], t1: NDArray[np.float32], grid: Grid, points: NDArray[np.float64]
) -> float:
    """By how many bits a mirror image of the T1 fits better, each at its best place from left to right.

    Both ways in which sides are exchanged are undone: voxels stored in the other order, and a header with the other
    sign. They differ when the head lies obliquely.
    """
    axis = int(np.argmax(np.abs(grid.rotation[0])))
    voxels = grid.to_voxel(points)
    voxels[:, axis] = grid.shape[axis] - 1 - voxels[:, axis]
    ways = (points, grid.to_world(voxels), points * [-1, 1, 1])
    as_given, *mirrored = (
        max(mutual_information(values, t1, grid, way + np.array([shift, 0, 0])) for shift in _PLANES_MM) for way in ways
    )
    return max(mirrored) - as_given


def mutual_information(
    values: NDArray[np.float32], t1: NDArray[np.float32], grid: Grid, points_mm: NDArray[np.float64]
) -> float:
    """Mutual information, in bits, of values and what another image has at their places.

    Parameters
    ----------
    values : (n,) float32
    t1 : (x, y, z) float32
        0 where a point is off its grid.
    grid : Grid
        Of `t1`.
    points_mm : (n, 3) float64
    """
    on_grid, voxels = looked_up(points_mm, grid)
    others = np.zeros(len(values), dtype=np.float32)
    others[on_grid] = t1[voxels]
    pairs = np.bincount(_binned(values) * _N_BINS + _binned(others), minlength=_N_BINS**2)
    joint = pairs.reshape(_N_BINS, _N_BINS) / len(values)
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log2(joint[there] / independent[there])).sum())


def _binned(values: NDArray[np.float32]) -> NDArray[np.intp]:
    """Place of each value between 0 and what one in a hundred exceeds, (n,) in 0 .. 31."""
    high = max(float(np.percentile(values, 99)), 1e-12)
    binned: NDArray[np.intp] = np.clip(values / high * _N_BINS, 0, _N_BINS - 1).astype(np.intp)
    return binned
