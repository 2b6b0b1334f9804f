"""Slow twin of streamline weighting: the cost of the SIFT2 model, from streamlines and fixels alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from naive_mapping import fixels_along


class WeightingCost(NamedTuple):
    """The parts of the cost of a set of weights."""

    mu: float
    fitted: float
    """Misfit over the fixels that unweighted streamlines reach well enough."""
    all: float
    """Misfit over every fixel."""
    variation: float
    tikhonov: float

    @property
    def total(self):
        """What is lowered."""
        return self.fitted + self.variation + self.tikhonov


def contributions(streamlines, fixels, shares):
    """(fixel, mm) of each streamline, where the fixel's share is above 0."""
    counts = np.diff(fixels.offsets)
    share = np.repeat(shares[fixels.mask], counts)
    return [[(f, mm) for f, mm in fixels_along(points, fixels) if share[f] > 0] for points in streamlines], share


def weighting_cost(weights, found, density, share, *, variation=0.1, tikhonov=0.0, min_coverage=0.03):
    """Cost of weights, one streamline and one fixel after the other.

    `found` holds (fixel, mm) of each streamline; `density` and `share` are one per fixel.
    """
    coefficients = np.log(weights)
    lengths, weighted, summed = (np.zeros(len(density)) for _ in range(3))
    for along, weight, coefficient in zip(found, weights, coefficients, strict=True):
        for fixel, mm in along:
            lengths[fixel] += mm
            weighted[fixel] += mm * weight
            summed[fixel] += mm * coefficient
    mu = (share * density).sum() / (share * lengths).sum()
    fitted = everything = 0.0
    for fixel in range(len(density)):
        term = share[fixel] * (mu * weighted[fixel] - density[fixel]) ** 2
        everything += term
        if lengths[fixel] > 0 and mu * lengths[fixel] >= min_coverage * density[fixel]:
            fitted += term
    scale = (share * density**2).sum() / len(weights)
    spread = square = 0.0
    for along, coefficient in zip(found, coefficients, strict=True):
        counted = sum(share[fixel] * mm for fixel, mm in along)
        if counted > 0:
            around = sum(share[fixel] * mm * (coefficient - summed[fixel] / lengths[fixel]) ** 2 for fixel, mm in along)
            spread += around / counted
            square += coefficient**2
    return WeightingCost(mu, fitted, everything, variation * scale * spread, tikhonov * scale * square)
