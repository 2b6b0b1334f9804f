"""The brain mask: is it one, and does it lie on the brain?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.stages.check.foreground import dark_limit, foreground
from tractome.stages.check.inspection import Inspection
from tractome.stages.check.overlap import thinned

_MIN_GAIN = 0.05
"""By how much the correlation of mask and b0 must rise for a shift or a flip to count as better."""


def check_mask_shape(inspection: Inspection, values: NDArray[np.float32], grid: Grid, dwi_grid: Grid | None) -> None:
    """Check a mask by itself.

    Parameters
    ----------
    inspection : Inspection
    values : (x, y, z) float32
        As in the file.
    grid : Grid
    dwi_grid : Grid or None
        Of the scan, where it could be read.
    """
    from scipy import ndimage

    if dwi_grid is not None and not grid.is_same(dwi_grid):
        message = (
            f"The mask is on another grid ({grid.describe()}) than the scan ({dwi_grid.describe()}). Resample it to "
            "the grid of the scan with nearest neighbours, or leave it out to have one made."
        )
        inspection.find("mask-grid", message)
    mask = values > 0.5
    if not mask.any():
        message = (
            "The mask is empty: no value is above 0.5. 1 inside the brain is needed; leave it out to have one made."
        )
        inspection.find("mask-empty", message)
        return
    n_values = len(np.unique(values))
    if n_values > 2:
        message = (
            f"The mask holds {n_values} distinct values; 0 and 1 are needed. Values above 0.5 count as inside: is it "
            "the mask, and not the brain or a probability?"
        )
        inspection.find("mask-not-binary", message, n_values=n_values)
    if inspection.is_beyond("mask.grid_share", mask.mean()):
        message = (
            f"The mask covers {mask.mean():.0%} of the grid, background too. A mask of the brain is needed; leave it "
            "out to have one made."
        )
        inspection.find("mask-full", message, share=float(mask.mean()))
        return
    pieces, n_pieces = ndimage.label(mask, np.ones((3, 3, 3)))
    largest = float(np.bincount(pieces.ravel())[1:].max() / mask.sum())
    if inspection.is_beyond("mask.largest_piece", largest):
        message = (
            f"The mask is in {n_pieces} pieces; the largest holds {largest:.0%} of it. One brain is needed; look at "
            "the mask, and keep the piece that is the brain."
        )
        inspection.find("mask-pieces", message, n_pieces=n_pieces, largest=largest)
    holes = float((ndimage.binary_fill_holes(mask) & ~mask).sum() / mask.sum())
    if inspection.is_beyond("mask.holes", holes):
        message = (
            f"The mask has closed holes of {holes:.0%} of its volume. Streamlines would end at them; fill them, or "
            "leave the mask out to have one made."
        )
        inspection.find("mask-holes", message, share=holes)


def check_mask_place(inspection: Inspection, mask: NDArray[np.bool_], b0: NDArray[np.float32], grid: Grid) -> None:
    """Check that a mask lies where the signal is.

    Parameters
    ----------
    inspection : Inspection
    mask : (x, y, z) bool
        On the grid of the scan, not empty.
    b0 : (x, y, z) float32
        Mean b0, finite.
    grid : Grid
    """
    head = foreground(b0)
    if not head.any():
        return
    bright = b0 > dark_limit(b0)
    dark_share, covered = float(1 - bright[mask].mean()), float(mask[head].mean())
    is_dark = inspection.is_beyond("mask.dark_share", dark_share)
    is_missed = inspection.is_beyond("mask.head_share", covered)
    if dark_share > 0.5 and covered < 0.5 and mask.mean() > 0.5:
        message = (
            f"The mask holds the background: {dark_share:.0%} of it is dark, and {1 - covered:.0%} of the head is "
            "outside. 1 inside the brain is needed; exchange 0 and 1."
        )
        inspection.find("mask-inverted", message, dark_share=dark_share, head_share=covered)
        return
    capped, coarse = thinned(np.minimum(b0, np.median(b0[head])), grid)
    how, shift_mm = _better_place(thinned(mask, grid)[0], capped, coarse)
    if inspection.is_beyond("mask.shift_mm", shift_mm):
        message = (
            f"The mask lies beside the brain: it fits the b0 best when {how}. A mask of this very scan is needed, "
            "stored in the same order; make it again, or leave it out to have one made."
        )
        inspection.find("mask-shifted", message, shift_mm=shift_mm, how=how, dark_share=dark_share)
    elif is_dark:
        message = (
            f"{dark_share:.0%} of the mask is as dark as background. Look at it over the b0: it is too large, or of "
            "another scan; leave it out to have one made."
        )
        inspection.find("mask-on-background", message, dark_share=dark_share)
    elif is_missed:
        message = (
            f"Only {covered:.0%} of the bright voxels of the b0 are in the mask. Look at it over the b0: is a part of "
            "the brain missing? Leave it out to have one made."
        )
        inspection.find("mask-misses-brain", message, head_share=covered)


def _better_place(mask: NDArray[np.bool_], b0: NDArray[np.float32], grid: Grid) -> tuple[str, float]:
    """The shift (mm) or flip at which the mask correlates best with the b0, in words, and how far that is.

    A flip that is better than any shift counts with the distance that it moves the average voxel of the mask.
    """
    spectrum = np.fft.rfftn(b0 - b0.mean())
    best, how, shift_mm, here = -np.inf, "", 0.0, 0.0
    spread = np.array([float(np.ptp(np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {k}))))) for k in range(3)])
    for flipped in ((), (0,), (1,), (2,)):
        moved = np.flip(mask, flipped).astype(np.float32)
        moved -= moved.mean()
        scale = float(np.sqrt((moved**2).sum() * ((b0 - b0.mean()) ** 2).sum()))
        surface = np.fft.irfftn(spectrum * np.conj(np.fft.rfftn(moved)), mask.shape, axes=(0, 1, 2)) / max(scale, 1e-30)
        if not flipped:
            here = float(surface[0, 0, 0])
            place = np.unravel_index(int(np.argmax(surface)), surface.shape)
            steps = np.array([s if s <= n / 2 else s - n for s, n in zip(place, mask.shape, strict=True)], dtype=float)
            best = float(surface.max())
            shift = grid.rotation @ (steps * grid.voxel_sizes_mm)
            how = "shifted by " + ", ".join(f"{mm:.0f}" for mm in shift) + " mm (x, y, z)"
            shift_mm = float(np.linalg.norm(shift))
        elif float(surface[0, 0, 0]) > best + _MIN_GAIN:
            best, how = float(surface[0, 0, 0]), f"flipped along voxel axis {'ijk'[flipped[0]]}"
            shift_mm = float(spread[flipped[0]] * grid.voxel_sizes_mm[flipped[0]] / 3)
    return (how, shift_mm) if best > here + _MIN_GAIN else ("left where it is", 0.0)
