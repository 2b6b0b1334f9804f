"""Which model a gradient table can carry, and which volumes it needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.diffusion import GradientTable, Shell
from tractome.datatypes.response import ModelChoice
from tractome.errors import GradientError
from tractome.options import FitOptions

MAX_FOD_B_S_PER_MM2 = 3500.0
MIN_CSD_DIRECTIONS = 8
"""Fewer distinct directions than this on every shell, and `auto` takes directions from the tensor's bootstrap.

On phantoms of known wiring (b = 1000, 8 to 30 directions, signal-to-noise ratio 10 to 25), constrained deconvolution
found more true edges than the bootstrap each time: average precision 0.63 against 0.51 at 16 directions.
"""
MIN_TENSOR_DIRECTIONS = 12


def n_distinct_directions(bvecs: NDArray[np.float64], min_angle_deg: float = 2.0) -> int:
    """How many axes a set of unit directions holds: repeats and opposite directions count once."""
    limit = np.cos(np.radians(min_angle_deg))
    kept: list[NDArray[np.float64]] = []
    for direction in bvecs:
        if not kept or np.abs(np.array(kept) @ direction).max() < limit:
            kept.append(direction)
    return len(kept)


def default_lmax(n_directions: int) -> int:
    """Highest SH order for a number of distinct directions: 8 from 20 on, 6 from 8 on, else 4.

    The non-negativity constraint supplies what the measurements lack, so 45 coefficients need no 45 directions
    (super-resolved CSD, Tournier et al. 2007); where noise is high, fewer directions do better with 28.
    """
    return 8 if n_directions >= 20 else 6 if n_directions >= 8 else 4


def choose_model(gradients: GradientTable, options: FitOptions) -> ModelChoice:
    """Decide where tracking takes its directions from.

    Parameters
    ----------
    gradients : GradientTable
    options : FitOptions

    Returns
    -------
    ModelChoice
        With the reason, in a sentence.

    Raises
    ------
    GradientError
        The wanted model does not fit the gradient table.
    """
    shells = [shell for shell in gradients.shells if shell.b_s_per_mm2 <= MAX_FOD_B_S_PER_MM2]
    if not shells:
        message = (
            f"No shell up to b = {MAX_FOD_B_S_PER_MM2:.0f} s/mm2: the scan has {gradients.describe()}. "
            "Fitting needs weighted volumes on at least one shell; check the bval file."
        )
        raise GradientError(message)
    counts = {shell: n_distinct_directions(gradients.bvecs[list(shell.volumes)]) for shell in shells}
    if options.model == "msmt":
        return _multi_shell_choice(gradients, shells, counts, options)
    if options.model == "tensor":
        return _tensor_choice(shells, counts, options, "asked for")
    shell = _fod_shell(shells, counts, options)
    n_directions = counts[shell]
    if options.model == "auto" and n_directions < MIN_CSD_DIRECTIONS and options.fod_shell_s_per_mm2 is None:
        reason = (
            f"no shell has {MIN_CSD_DIRECTIONS} distinct directions, too few for an FOD: "
            "directions come from the tensor's residual bootstrap"
        )
        return _tensor_choice(shells, counts, options, reason)
    lmax = options.lmax or default_lmax(n_directions)
    reason = f"{n_directions} distinct directions at b = {shell.b_s_per_mm2:.0f}"
    if options.model != "auto":
        reason = f"asked for; {reason}"
    elif n_directions >= 20:
        reason += f" carry an FOD of lmax {lmax}"
    else:
        reason += f" are few: constrained deconvolution at lmax {lmax} finds more true connections than the tensor"
    return ModelChoice("csd", (shell.b_s_per_mm2,), lmax - lmax % 2, reason)


def _fod_shell(shells: list[Shell], counts: dict[Shell, int], options: FitOptions) -> Shell:
    """The shell for single-shell CSD: the one asked for, or the highest with enough directions."""
    wanted = options.fod_shell_s_per_mm2
    if wanted is not None:
        nearest = min(shells, key=lambda shell: abs(shell.b_s_per_mm2 - wanted))
        if abs(nearest.b_s_per_mm2 - wanted) > 100:
            available = ", ".join(f"{shell.b_s_per_mm2:.0f}" for shell in shells)
            message = f"There is no shell at b = {wanted:.0f} s/mm2; choose one of: {available}."
            raise GradientError(message)
        return nearest
    most = max(counts.values())
    enough = [shell for shell in shells if counts[shell] >= min(20, most)]
    return enough[-1]


def _multi_shell_choice(
    gradients: GradientTable, shells: list[Shell], counts: dict[Shell, int], options: FitOptions
) -> ModelChoice:
    if not gradients.is_b0.any() or len(shells) < 1 or max(counts.values()) < 6:
        message = (
            f"Multi-tissue deconvolution needs b0 volumes and a shell of at least 6 directions; the scan has "
            f"{gradients.describe()}. Use model = csd or tensor."
        )
        raise GradientError(message)
    used = [shell for shell in shells if counts[shell] >= 6]
    lmax = options.lmax or default_lmax(sum(counts[shell] for shell in used))
    tissues = "white matter, grey matter and CSF" if len(used) > 1 else "white matter and CSF"
    reason = f"asked for; {len(used)} shells and b0 tell {tissues} apart"
    return ModelChoice("msmt", tuple(shell.b_s_per_mm2 for shell in used), lmax - lmax % 2, reason)


def _tensor_choice(shells: list[Shell], counts: dict[Shell, int], options: FitOptions, reason: str) -> ModelChoice:
    if max(counts.values()) < 6 and sum(counts.values()) < 6:
        message = (
            f"The scan has {sum(counts.values())} distinct directions; a tensor needs at least 6. "
            "Check the bvec file, or use a scan with more directions."
        )
        raise GradientError(message)
    lmax = options.lmax or 8
    return ModelChoice("tensor", tuple(shell.b_s_per_mm2 for shell in shells), lmax - lmax % 2, reason)


def tensor_volumes(gradients: GradientTable, options: FitOptions) -> NDArray[np.int64]:
    """Volumes of the tensor fit: b0 and the shells up to ``tensor_max_b_s_per_mm2``, or more where those are too few.

    Shells above the limit are added, lowest first, until there are `MIN_TENSOR_DIRECTIONS` distinct directions; all are
    taken with ``tensor_all_volumes``.
    """
    chosen = [int(volume) for volume in np.flatnonzero(gradients.is_b0)]
    directions: list[int] = []
    for shell in gradients.shells:
        is_low = options.tensor_all_volumes or shell.b_s_per_mm2 <= options.tensor_max_b_s_per_mm2
        if is_low or n_distinct_directions(gradients.bvecs[directions]) < MIN_TENSOR_DIRECTIONS:
            directions += shell.volumes
    return np.array(sorted(chosen + directions), dtype=np.int64)


def shell_volumes(gradients: GradientTable, b_s_per_mm2: float) -> NDArray[np.intp]:
    """Volumes of the shell nearest to a b-value, (k,) intp."""
    shell = min(gradients.shells, key=lambda candidate: abs(candidate.b_s_per_mm2 - b_s_per_mm2))
    return np.array(shell.volumes, dtype=np.intp)
