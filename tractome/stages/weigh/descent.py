"""Descent with limited memory (L-BFGS, Nocedal 1980): many unknowns, few vectors, always the same order of sums.

scipy has the method too, but its sums go through BLAS, whose threads may change the last digits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Remembered = tuple[NDArray[np.float32], NDArray[np.float32], float]
"""Step, change of slope, and their product."""

MEMORY = 5
"""Pairs of steps and changes of slope that are remembered, in single precision."""
_LONGEST_STEP = 4.0
"""Largest change of an unknown at once: exp(4) is a factor of 55."""
_SUFFICIENT = 1e-4
_MOST_HALVINGS = 30


def minimise(
    cost_of: Callable[[Vector, Vector], float],
    start: Vector,
    curvature: float,
    *,
    max_iterations: int,
    tolerance: float,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Vector, list[float]]:
    """Find a minimum.

    Parameters
    ----------
    cost_of : callable
        From a point to the cost there; fills the gradient into its second argument.
    start : (n,) float64
    curvature : float
        Rough second derivative of an unknown, above 0: the scale of the first step.
    max_iterations : int
    tolerance : float
        Two steps in a row that lower the cost by less than this share of the first cost end it.
    progress : callable, optional
        Gets iterations done and `max_iterations`.

    Returns
    -------
    point : (n,) float64
        The lowest found.
    costs : list of float
        At the start and after each iteration.
    """
    point, gradient = start.copy(), np.empty_like(start)
    trial, new_gradient = np.empty_like(start), np.empty_like(start)
    costs = [cost_of(point, gradient)]
    memory: deque[Remembered] = deque(maxlen=MEMORY)
    n_small = 0
    for iteration in range(max_iterations):
        step = _direction(gradient, curvature, memory)
        slope = _dot(step, gradient)
        if not slope < 0.0:  # nowhere to go, or what is remembered misleads
            if not memory:
                break
            memory.clear()
            step = _direction(gradient, curvature, memory)
            slope = _dot(step, gradient)
        found = _search(cost_of, point, step, slope, costs[-1], trial, new_gradient)
        if found is None:
            if not memory:
                break
            memory.clear()
            continue
        # The new point is in `trial`; what was moved becomes part of the memory.
        moved, change = (trial - point).astype(np.float32), (new_gradient - gradient).astype(np.float32)
        bend = _dot(moved, change)
        if bend > 1e-10 * _dot(change, change) / curvature:
            memory.append((moved, change, bend))
        point, trial = trial, point
        gradient, new_gradient = new_gradient, gradient
        costs.append(found)
        if progress is not None:
            progress(iteration + 1, max_iterations)
        n_small = n_small + 1 if costs[-2] - costs[-1] < tolerance * costs[0] else 0
        if n_small == 2:
            break
    return point, costs


def _dot(one: NDArray[Any], other: NDArray[Any]) -> float:
    from tractome.kernels.weighting import dot

    return float(dot(one, other))


def _direction(gradient: Vector, curvature: float, memory: deque[Remembered]) -> Vector:
    """Two loops over what is remembered."""
    step = -gradient
    shares = []
    for moved, change, bend in reversed(memory):
        share = _dot(moved, step) / bend
        step -= share * change
        shares.append(share)
    if memory:
        _, change, bend = memory[-1]
        step *= bend / _dot(change, change)
    else:
        step /= curvature
    for (moved, change, bend), share in zip(memory, reversed(shares), strict=True):
        step += (share - _dot(change, step) / bend) * moved
    return step


def _search(
    cost_of: Callable[[Vector, Vector], float],
    point: Vector,
    step: Vector,
    slope: float,
    cost: float,
    trial: Vector,
    gradient: Vector,
) -> float | None:
    """Halve the step until the cost falls enough; fill `trial` and its gradient, return its cost, None if it never."""
    length = min(1.0, _LONGEST_STEP / max(float(np.abs(step).max()), 1e-300))
    for _ in range(_MOST_HALVINGS):
        np.multiply(step, length, out=trial)
        trial += point
        found = cost_of(trial, gradient)
        if found <= cost + _SUFFICIENT * length * slope:  # never true of NaN
            return found
        length *= 0.5
    return None
