"""Does the signal behave as b-values and directions say? Nothing here depends on the frame of the directions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.diffusion import Shell
from tractome.stages.check.inspection import Inspection
from tractome.stages.check.sampled import SampledScan

_LOWEST_B, _HIGHEST_B = 80.0, 3500.0
_MIN_VOXELS = 100
_N_SHUFFLES = 20
_MAX_VOXELS = 20_000


def check_fall(inspection: Inspection, scan: SampledScan) -> None:
    """Check that the signal falls with b as it does in living tissue: an ADC no body has means a wrong b-value."""
    shells = [shell for shell in scan.gradients.shells if shell.b_s_per_mm2 >= _LOWEST_B]
    adcs = {shell.b_s_per_mm2: _adc(scan, shell) for shell in shells}
    adcs = {b: adc for b, adc in adcs.items() if np.isfinite(adc)}
    if not adcs:
        return
    b, adc = max(adcs.items(), key=lambda item: item[1])
    if inspection.is_beyond("signal.fastest_adc", adc):
        message = (
            f"At b = {b:.0f} the signal falls by {adc * 1e3:.1f}e-3 mm2/s, faster than in free water "
            "at body temperature (3e-3). The b-values are too low: were they scaled down (by 10), or are they in other "
            "units?"
        )
        inspection.find("bvals-too-low", message, adc_mm2_per_s=adc, b_s_per_mm2=b)
    elif inspection.is_beyond("signal.slowest_adc", adc) and not inspection.has("bvals-order"):
        message = (
            f"At b = {b:.0f} the signal falls by only {adc * 1e3:.2f}e-3 mm2/s; living brain has 0.4 "
            "to 1.2e-3. The b-values are too high (scaled up by 10?), or this is fixed tissue."
        )
        inspection.find("bvals-too-high", message, adc_mm2_per_s=adc, b_s_per_mm2=b)


def _adc(scan: SampledScan, shell: Shell) -> float:
    """Median over the brain of the fall of the signal per b, mm2/s; NaN where too little is left of it."""
    weighted = np.median(scan.signal[:, list(shell.volumes)], axis=1)
    usable = (scan.b0 > 0) & (weighted > 0)
    if np.count_nonzero(usable) < _MIN_VOXELS:
        return float("nan")
    return float(np.median(np.log(scan.b0[usable] / weighted[usable]))) / shell.b_s_per_mm2


def check_directions_explain(inspection: Inspection, scan: SampledScan, left_out: list[int]) -> None:
    """Check that the directions belong to the volumes: shuffled, they must explain the signal worse.

    A tensor's fit is as good with flipped or exchanged axes (`gradient-orientation` looks at those) and worse with
    another order of volumes, or another scan's table.
    """
    ratios, noise = [], []
    random = np.random.default_rng(0)
    for shell in scan.gradients.shells:
        volumes = np.setdiff1d(shell.volumes, left_out)
        if not _LOWEST_B <= shell.b_s_per_mm2 <= _HIGHEST_B or len(volumes) < 9:
            continue
        signal = scan.signal[:, volumes][:: max(1, len(scan.signal) // _MAX_VOXELS)]
        signal = signal[(signal > 0).all(axis=1)]
        if len(signal) < 50:
            continue
        logs = np.log(signal)
        # Not a matrix product: threads of BLAS cost more than they help on a busy machine, and round differently.
        gram, n_voxels, bvecs = np.einsum("ni,nj->ij", logs, logs), len(logs), scan.gradients.bvecs[volumes]
        given = residual(gram, n_voxels, bvecs)
        shuffled = [residual(gram, n_voxels, random.permutation(bvecs)) for _ in range(_N_SHUFFLES)]
        ratios.append(float(np.mean(shuffled)) / max(given, 1e-12))
        noise.append(float(np.sqrt(given) * np.median(signal)))
    if not ratios:
        return
    snr = float(np.median(scan.b0)) / max(min(noise), 1e-12)
    if inspection.is_beyond("signal.snr", snr):
        message = (
            f"The b0 signal is only {snr:.1f} times the noise. Fits will be biased; denoise the scan (before anything "
            "else is done to it), or use larger voxels."
        )
        inspection.find("noisy", message, snr=snr)
        return
    best = max(ratios)
    if inspection.is_beyond("signal.explained", best):
        message = (
            f"The directions explain the signal no better than shuffled ones (residual {best:.2f} times as high when "
            "shuffled). They are not in the order of the volumes, or another scan's; give the bvec file of this scan."
        )
        inspection.find("bvecs-order", message, ratio=best)


def residual(gram: NDArray[np.float64], n_voxels: int, bvecs: NDArray[np.float64]) -> float:
    """Mean squared residual of the logarithms of one shell's signals after a tensor's fit.

    Parameters
    ----------
    gram : (k, k) float64
        Sums over voxels of the products of the logarithms of two volumes.
    n_voxels : int
    bvecs : (k, 3) float64
        Unit, any frame.
    """
    x, y, z = bvecs.T
    design = np.stack([x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z], axis=1)
    u, singular, _ = np.linalg.svd(design, full_matrices=False)
    basis = u[:, singular > 1e-6 * singular[0]]
    left = float(np.trace(gram) - np.trace(basis.T @ gram @ basis))
    n_free = max(len(bvecs) - int(basis.shape[1]), 1)
    return max(left, 0.0) / (n_voxels * n_free)
