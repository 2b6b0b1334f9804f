"""Tightly-knit clusters: many partitions by modularity, their consensus, and the part of each region in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tractome.stages.analyze.network import Matrix, Vector

_N_CONSENSUS = 50
_WEAKEST_AGREEMENT = 0.5
_MOST_ROUNDS = 20


@dataclass(frozen=True, eq=False)
class Communities:
    """Communities of a graph.

    Parameters
    ----------
    label : (n,) int
        From 1, the largest community first.
    modularity : float
        Of the consensus, at the resolution asked for.
    agreement : (n, n) float64
        Share of the partitions that put two regions together.
    participation : (n,) float64
        1 minus the sum over communities of the squared share of a region's strength that goes there.
    within_z : (n,) float64
        Strength within the own community, as a z-score among its regions.
    """

    label: NDArray[np.int64]
    modularity: float
    agreement: Matrix
    participation: Vector
    within_z: Vector


def find_communities(weights: Matrix, resolution: float, n_partitions: int, random_seed: int) -> Communities:
    """Consensus (Lancichinetti and Fortunato 2012) of partitions by Louvain's method (Blondel et al. 2008), by bctpy.

    Participation and within-community z-score after Guimera and Amaral 2005.
    """
    import bct

    seeds = _seeds(random_seed)
    agreement = _agreement(_partitions(weights, resolution, n_partitions, seeds))
    label = _by_size(_consensus(agreement, seeds))
    with np.errstate(invalid="ignore"):  # regions of a community all alike, or without edges: bctpy then gives 0
        within_z = np.asarray(bct.module_degree_zscore(weights, label), np.float64)
        participation = np.asarray(bct.participation_coef(weights, label), np.float64)
    return Communities(label, modularity(weights, label, resolution), agreement, participation, within_z)


def _seeds(random_seed: int) -> Iterator[int]:
    generator = np.random.default_rng(random_seed)
    while True:
        yield int(generator.integers(2**31 - 1))


def _partitions(weights: Matrix, resolution: float, number: int, seeds: Iterator[int]) -> NDArray[np.int64]:
    """One partition a row."""
    import bct

    found = [bct.community_louvain(weights, gamma=resolution, seed=next(seeds))[0] for _ in range(number)]
    return np.array(found, np.int64)


def _agreement(partitions: NDArray[np.int64]) -> Matrix:
    """Share of the partitions that put two regions together. (bctpy 0.6's own fails with NumPy 2.4.)"""
    together = np.zeros((partitions.shape[1],) * 2)
    for label in partitions:
        together += label[:, None] == label[None]
    agreement: Matrix = together / len(partitions)
    return agreement


def _consensus(agreement: Matrix, seeds: Iterator[int]) -> NDArray[np.int64]:
    """Partition the agreement itself, weak agreement left out, until all partitions are one."""
    for _ in range(_MOST_ROUNDS):
        strong = np.where(agreement >= _WEAKEST_AGREEMENT, agreement, 0.0)
        np.fill_diagonal(strong, 0.0)
        if not strong.any():
            return np.arange(1, len(agreement) + 1)
        partitions = _partitions(strong, 1.0, _N_CONSENSUS, seeds)
        agreement = _agreement(partitions)
        if ((agreement == 0) | (agreement == 1)).all():
            break
    found: NDArray[np.int64] = partitions[0]
    return found


def modularity(weights: Matrix, label: NDArray[np.int64], resolution: float) -> float:
    """Weight within communities beyond what strengths alone would give (Newman 2004, Reichardt and Bornholdt 2006)."""
    strength = weights.sum(axis=1)
    total = strength.sum()
    together = label[:, None] == label[None]
    beyond = weights - resolution * np.multiply.outer(strength, strength) / total
    return float(beyond[together].sum() / total)


def _by_size(label: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number communities from 1 by size; of equal ones the one with the first region comes first."""
    found, first, inverse, counts = np.unique(label.ravel(), return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -counts))
    number = np.empty(len(found), np.int64)
    number[order] = np.arange(1, len(found) + 1)
    return number[inverse.ravel()]
