"""The five-tissue-type image: fractions, in the right order, of this brain?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.datatypes.tissue import TISSUES
from tractome.stages.check.inspection import Inspection
from tractome.stages.check.overlap import box, looked_up, some_points
from tractome.stages.check.sampled import SampledScan

_CORTEX, _DEEP, _WHITE, _CSF = range(4)
_MIN_VOXELS = 100
_PURE = 0.7


def check_tissue_values(inspection: Inspection, fractions: NDArray[np.float32]) -> bool:
    """Check that the image holds five fractions; whether it can be used.

    Parameters
    ----------
    inspection : Inspection
    fractions : (x, y, z, n) float32
        As in the file.
    """
    if fractions.shape[3] != len(TISSUES):
        message = (
            f"The tissue map has {fractions.shape[3]} volumes; five are needed: {', '.join(TISSUES)}. MRtrix3's 5ttgen "
            "makes one, or leave it out."
        )
        inspection.find("tissue-volumes", message, n_volumes=fractions.shape[3])
        return False
    # Volume by volume: of fine voxels, five volumes are a lot.
    total = fractions[..., 0].copy()
    for tissue in range(1, fractions.shape[3]):
        total += fractions[..., tissue]
    finite = bool(np.isfinite(total).all())
    low, high, most = (float(np.nan_to_num(part)) for part in (fractions.min(), fractions.max(), total.max()))
    if not finite or low < -1e-3 or high > 1.001 or most > 1.01:
        message = (
            f"The tissue map holds values from {low:.3g} to {high:.3g}, with sums up to {most:.3g}"
            f"{'' if finite else ', and some that are not finite'}. Fractions from 0 to 1 that sum to at most 1 are "
            "needed; is it a five-tissue-type image?"
        )
        inspection.find("tissue-range", message, lowest=low, highest=high, largest_sum=most)
        return False
    return True


def check_tissue_place(
    inspection: Inspection,
    fractions: NDArray[np.float32],
    grid: Grid,
    brain: NDArray[np.bool_],
    dwi_grid: Grid,
    scan: SampledScan | None,
) -> None:
    """Check where the tissues are, and that each is what its place in the order says.

    Parameters
    ----------
    inspection : Inspection
    fractions : (x, y, z, 5) float32
    grid : Grid
    brain : (x, y, z) bool
        Brain in the scan.
    dwi_grid : Grid
    scan : SampledScan or None
        None where the signal could not be used; then the order is told by places alone.
    """
    total = fractions.sum(axis=3)
    points = some_points(total > 0.5, grid)
    on_grid, voxels = looked_up(points, dwi_grid)
    inside = float(brain[voxels].mean()) if on_grid.any() else 0.0
    if inspection.is_beyond("tissue.inside", inside):
        message = (
            f"The tissues do not lie in the brain of the scan: {inside:.0%} of them do. Tissues: {box(points)}; brain: "
            f"{box(some_points(brain, dwi_grid))} (RAS+). Give the tissue map of this subject, in the space of the "
            "scan."
        )
        inspection.find("tissue-elsewhere", message, inside=inside)
        return
    on_grid, voxels = looked_up(some_points(brain, dwi_grid), grid)
    incomplete = float((total[voxels] < 0.5).mean()) if on_grid.any() else 0.0
    if inspection.is_beyond("tissue.incomplete", incomplete):
        message = (
            f"In {incomplete:.0%} of the brain the fractions sum to less than one half. Streamlines end there as "
            "outside of the brain; are all five volumes complete, and in the space of the scan?"
        )
        inspection.find("tissue-incomplete", message, share=incomplete)
    reason = _wrong_order(fractions, grid, scan)
    if reason:
        message = (
            f"The five tissues are in another order: {reason}. Needed, in this order: {', '.join(TISSUES)} (MRtrix3's "
            "5tt); exchange the volumes."
        )
        inspection.find("tissue-order", message, reason=reason)


def _wrong_order(fractions: NDArray[np.float32], grid: Grid, scan: SampledScan | None) -> str:
    """What does not fit, in words; "" where all does."""
    sizes = np.array([float((fractions[..., tissue] > _PURE).sum()) for tissue in range(5)])
    if sizes[_WHITE] < _MIN_VOXELS and sizes.max() >= _MIN_VOXELS:
        return "the third volume, white matter, is (nearly) empty"
    if min(sizes[_CORTEX], sizes[_DEEP]) >= _MIN_VOXELS:
        middle = some_points(fractions.sum(axis=3) > 0.5, grid).mean(axis=0)
        far = [_distance(fractions[..., tissue] > _PURE, grid, middle) for tissue in (_CORTEX, _DEEP)]
        if far[0] < far[1]:
            return f"cortex lies nearer to the middle ({far[0]:.0f} mm) than deep grey matter ({far[1]:.0f} mm)"
    return _wrong_diffusion(fractions, grid, scan) if scan is not None else ""


def _distance(inside: NDArray[np.bool_], grid: Grid, middle: NDArray[np.float64]) -> float:
    return float(np.median(np.linalg.norm(some_points(inside, grid) - middle, axis=1)))


def _wrong_diffusion(fractions: NDArray[np.float32], grid: Grid, scan: SampledScan) -> str:
    """CSF diffuses fastest of all; white matter depends more on direction than grey matter does."""
    shells = [shell for shell in scan.gradients.shells if shell.b_s_per_mm2 >= 300 and shell.n_volumes >= 6]
    if not shells:
        return ""
    signal = scan.signal[:, list(shells[0].volumes)]
    mean = signal.mean(axis=1)
    usable = (mean > 0) & (scan.b0 > 0)
    fall = np.log(np.maximum(scan.b0, 1e-9) / np.maximum(mean, 1e-9))
    variation = signal.std(axis=1) / np.maximum(mean, 1e-9)
    on_grid, voxels = looked_up(scan.grid.to_world(scan.voxels), grid)
    usable &= on_grid
    there = np.zeros((len(mean), 5), dtype=np.float32)
    there[on_grid] = fractions[voxels]
    inside = [usable & (there[:, tissue] > _PURE) for tissue in range(5)]
    enough = [int(each.sum()) >= _MIN_VOXELS for each in inside]
    if enough[_CSF]:
        falls = {t: float(np.median(fall[inside[t]])) for t in (_CORTEX, _DEEP, _WHITE) if enough[t]}
        fastest = max(falls, key=lambda tissue: falls[tissue], default=_CSF)
        csf = float(np.median(fall[inside[_CSF]]))
        if fastest in falls and falls[fastest] > csf:
            return f"water diffuses faster in the volume of {_name(fastest)} than in that of CSF"
    if enough[_WHITE] and enough[_CORTEX]:
        white, grey = (float(np.median(variation[inside[tissue]])) for tissue in (_WHITE, _CORTEX))
        if white < grey:
            return "the signal depends less on direction in the volume of white matter than in that of cortex"
    return ""


def _name(tissue: int) -> str:
    return TISSUES[tissue].replace("_", " ")
