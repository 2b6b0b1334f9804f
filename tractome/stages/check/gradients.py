"""b-values and directions as they stand in the files: what can be known without the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.diffusion import GradientTable, count_directions
from tractome.stages.check.inspection import Inspection, counted_from_one, some

MIN_DIRECTIONS, USUAL_DIRECTIONS = 6, 12
_LOWEST_TOP, _HIGHEST_TOP = 10.0, 1e5
"""A highest b-value outside of these is of another unit: ms/um2 below, s/m2 above."""
_ZERO_NORM, _UNIT_ERROR, _LONGEST = 1e-2, 0.01, 1.05
_STRAY_VOLUMES, _SHELL_VOLUMES = 2, 6


def check_gradients(
    inspection: Inspection,
    bvals: NDArray[np.float64],
    vectors: NDArray[np.float64],
    n_volumes: int | None,
    b0_threshold_s_per_mm2: float,
) -> None:
    """Check a gradient table by itself.

    Parameters
    ----------
    inspection : Inspection
    bvals : (v,) float64
        As in the file, s/mm2 if it is right.
    vectors : (v, 3) float64
        As in the file, in any frame: nothing here depends on it.
    n_volumes : int or None
        Of the image, where it could be read.
    b0_threshold_s_per_mm2 : float
    """
    _check_counts(inspection, bvals, vectors, n_volumes)
    _check_bvals(inspection, bvals, b0_threshold_s_per_mm2)
    refused = ("gradient-count", "bvals-invalid", "bvals-units", "no-b0", "no-weighted")
    if inspection.has(*refused):
        return
    weighted = bvals > b0_threshold_s_per_mm2
    has_direction = _check_lengths(inspection, bvals, vectors, weighted)
    if inspection.has("directions-absent"):
        return
    directions = vectors[has_direction]
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    _check_coverage(inspection, directions, bvals[has_direction])
    _check_shells(inspection, bvals, b0_threshold_s_per_mm2)


def _check_counts(
    inspection: Inspection, bvals: NDArray[np.float64], vectors: NDArray[np.float64], n_volumes: int | None
) -> None:
    counts = {"b-values": len(bvals), "directions": len(vectors)} | ({"volumes": n_volumes} if n_volumes else {})
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{count} {what}" for what, count in counts.items())
        message = (
            f"There are {said}. Each volume needs one b-value and one direction; give the files of this very scan "
            "(volumes may have been cut off or taken out)."
        )
        inspection.find("gradient-count", message, counts=counts)


def _check_bvals(inspection: Inspection, bvals: NDArray[np.float64], threshold: float) -> None:
    wrong = ~np.isfinite(bvals) | (bvals < 0)
    if wrong.any():
        numbers = counted_from_one(wrong)
        message = f"b-value {some(numbers)} is negative or no number. All must be 0 or more; mend the file."
        inspection.find("bvals-invalid", message, volumes=numbers)
        return
    top, low = float(bvals.max()), float(bvals.min())
    if 0 < top < _LOWEST_TOP or top > _HIGHEST_TOP:
        unit = "ms/um2: multiply by 1000" if top < _LOWEST_TOP else "s/m2: divide by 1e6"
        message = f"The highest b-value is {top:g}. s/mm2 are needed; the file is probably in {unit}."
        inspection.find("bvals-units", message, highest=top)
    elif low > threshold:
        message = (
            f"No b-value is up to {threshold:g} s/mm2; the lowest is {low:g}. At least one b0 volume is needed. If the "
            f"volumes of the lowest shell are the b0, raise --b0-threshold to {low:g}."
        )
        inspection.find("no-b0", message, lowest=low)
    elif top <= threshold:
        message = f"No b-value is above {threshold:g} s/mm2. Weighted volumes are needed; check the b-values."
        inspection.find("no-weighted", message, highest=top)


def _check_lengths(
    inspection: Inspection, bvals: NDArray[np.float64], vectors: NDArray[np.float64], weighted: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which weighted volumes have a direction; what is wrong with the lengths."""
    norms = np.linalg.norm(np.nan_to_num(vectors, posinf=0.0, neginf=0.0), axis=1)
    there: NDArray[np.bool_] = weighted & (norms >= _ZERO_NORM)
    absent = weighted & ~there
    if absent.any():
        numbers = counted_from_one(absent)
        share = len(numbers) / np.count_nonzero(weighted)
        name = "directions-absent" if inspection.is_beyond("gradients.absent_share", share) else None
        what = "is the bvec file complete?" if name else "a trace or mean volume of the scanner? It is left out."
        message = (
            f"{len(numbers)} of {np.count_nonzero(weighted)} weighted volumes ({some(numbers)}) have no direction. "
            f"Each needs one; {what}"
        )
        inspection.find(name or "volumes-without-direction", message, volumes=numbers)
    lengths = norms[there]
    off = np.abs(lengths - 1) > _UNIT_ERROR
    if off.any():
        low, high = float(lengths.min()), float(lengths.max())
        all_alike = bool(off.all()) and high - low < _UNIT_ERROR * high
        wrong = high > _LONGEST or all_alike
        what = (
            "Unit directions are needed: divide each by its length, or give the file the scanner's converter wrote."
            if wrong
            else f"The b-values are scaled by their squares (now from {(bvals[there] * lengths**2).min():.4g} s/mm2), "
            "as some scanners mean it; if they are rounding errors, divide each by its length."
        )
        message = f"{int(off.sum())} directions have lengths from {low:.3g} to {high:.3g} in place of 1. {what}"
        inspection.find("bvecs-not-unit" if wrong else "bvecs-scale-b", message, shortest=low, longest=high)
    return there


def _check_coverage(inspection: Inspection, directions: NDArray[np.float64], bvals: NDArray[np.float64]) -> None:
    n_distinct = count_directions(directions)
    inspection.facts["distinct directions"] = str(n_distinct)
    if n_distinct < MIN_DIRECTIONS:
        message = (
            f"The scan has {n_distinct} distinct directions. A tensor needs at least {MIN_DIRECTIONS}; is the bvec "
            "file complete?"
        )
        inspection.find("too-few-directions", message, n_distinct=n_distinct)
        return
    if n_distinct < USUAL_DIRECTIONS:
        message = (
            f"The scan has {n_distinct} distinct directions. It works from {MIN_DIRECTIONS} on, but crossing fibres "
            f"cannot be told apart; use {USUAL_DIRECTIONS} or more where there are."
        )
        inspection.find("few-directions", message, n_distinct=n_distinct)
    x, y, z = directions.T
    design = np.stack([x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z], axis=1)
    singular = np.linalg.svd(design, compute_uv=False)
    if singular[-1] < 1e-3 * singular[0]:
        message = (
            f"The {n_distinct} distinct directions lie in one plane or on one cone and determine no tensor. "
            "Directions spread over the sphere are needed; check the bvec file (a row of zeros?)."
        )
        inspection.find("directions-degenerate", message, n_distinct=n_distinct)
        return
    condition = float(singular[0] / singular[-1])
    # Shell by shell: those of several shells together need not be spread evenly.
    shells = [directions[list(shell.volumes)] for shell in GradientTable(bvals, directions, 0.0).shells]
    gap = max((_largest_gap(shell) for shell in shells if len(shell) >= MIN_DIRECTIONS), default=1.0)
    uneven = inspection.is_beyond("gradients.condition", condition)
    if inspection.is_beyond("gradients.gap", gap) or uneven:
        message = (
            f"The directions leave a part of the sphere out: the largest hole is {gap:.1f} times that of an even "
            f"spread, the condition number {condition:.1f}. Was the scan cut short, or the file of another one given? "
            "Errors of the tensor then depend on a fibre's direction."
        )
        inspection.find("directions-uneven", message, gap_ratio=gap, condition=condition)


def _largest_gap(directions: NDArray[np.float64]) -> float:
    """Angle from the emptiest place on the sphere to the nearest axis, over the radius of an even share of it."""
    n_places = 2000
    z = (np.arange(n_places) + 0.5) / n_places
    turn = np.arange(n_places) * np.pi * (3 - np.sqrt(5))
    places = np.stack([np.sqrt(1 - z * z) * np.cos(turn), np.sqrt(1 - z * z) * np.sin(turn), z], axis=1)
    nearest = np.abs(places @ directions.T).max(axis=1).clip(max=1.0)
    return float(np.arccos(nearest.min()) / np.arccos(1 - 1 / count_directions(directions)))


def _check_shells(inspection: Inspection, bvals: NDArray[np.float64], threshold: float) -> None:
    unit = np.zeros((len(bvals), 3))
    unit[:, 0] = 1.0
    table = GradientTable(bvals, unit, threshold)
    sizes = np.array([shell.n_volumes for shell in table.shells])
    widths = [float(np.ptp(bvals[list(shell.volumes)])) for shell in table.shells]
    inspection.facts["shells"] = table.describe()
    n_b0 = int(table.is_b0.sum())
    small = sizes <= _STRAY_VOLUMES
    wide = inspection.is_beyond("gradients.shell_width", max(widths))
    if wide or (len(sizes) > 4 and np.median(sizes) < _SHELL_VOLUMES):
        message = (
            f"The b-values fall into no shells: {len(sizes)} groups, up to {max(widths):.0f} s/mm2 wide "
            f"({table.describe()}). Deconvolution needs shells; round b-values that were meant to be equal."
        )
        inspection.find("bvals-scattered", message, n_groups=len(sizes), widest=max(widths))
    elif small.any() and sizes.max() >= _SHELL_VOLUMES:
        stray = [shell for shell, is_small in zip(table.shells, small, strict=True) if is_small]
        volumes = sorted(volume + 1 for shell in stray for volume in shell.volumes)
        listed = ", ".join(f"{shell.b_s_per_mm2:.0f}" for shell in stray)
        message = (
            f"Only volume {some(volumes)} has b = {listed} s/mm2 ({table.describe()}). A shell needs several "
            "directions; is it a typing error, or a volume of another series?"
        )
        inspection.find("stray-bvals", message, volumes=volumes)
    if inspection.is_beyond("gradients.volumes_per_b0", sizes.sum() / n_b0):
        message = (
            f"There is {n_b0} b0 for {sizes.sum()} weighted volumes. Everything is measured against it: one in "
            "16 to 20 is usual; check that b0 volumes were not taken out."
        )
        inspection.find("few-b0", message, n_b0=n_b0, n_weighted=int(sizes.sum()))
