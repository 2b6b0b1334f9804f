"""Flow through the graph: communicability, and spread from regions by walks and by diffusion."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.analysis import Curve
from tractome.stages.analyze.network import Matrix, Vector

N_TIMES = 41


def communicability(weights: Matrix) -> Matrix:
    """Walks of all lengths between two regions, long ones counting less (Crofts and Higham 2009).

    The exponential of the weights divided by the root of the product of both strengths.
    """
    scaled, vectors, values = _eigen(weights)
    found: Matrix = np.einsum("ik,k,jk->ij", vectors, np.exp(values), vectors)
    found[~scaled] = 0.0
    found[:, ~scaled] = 0.0
    np.fill_diagonal(found, np.where(scaled, np.diag(found), 1.0))
    return found


def walk_steps(weights: Matrix, source: int) -> Vector:
    """Mean number of steps of a random walk from one region until it first reaches each other, infinite if never.

    Solved for each target: the expected steps to it from all others (Kemeny and Snell 1960).
    """
    strength = weights.sum(axis=1)
    reached = _component(weights, source)
    steps = np.full(len(weights), np.inf)
    steps[source] = 0.0
    if strength[source] == 0:
        return steps
    inside = np.flatnonzero(reached)
    laplacian = np.diag(strength[inside]) - weights[np.ix_(inside, inside)]
    inverse = _pseudo_inverse(laplacian)
    own, at = strength[inside], int(np.flatnonzero(inside == source)[0])
    total = own.sum()
    # Hitting time by the pseudo-inverse of the Laplacian (Fouss et al. 2007).
    spread = np.einsum("jk,k->j", inverse, own)
    found = (spread[at] - spread) - total * inverse[at] + total * np.diag(inverse)
    steps[inside] = np.where(np.arange(len(inside)) == at, 0.0, found)
    return steps


def diffusion(weights: Matrix, sources: NDArray[np.intp], time: float) -> tuple[Vector, Matrix]:
    """Amounts in each region as what starts in some of them diffuses along the edges (Raj et al. 2012).

    dx/dt = -L x with the Laplacian divided by the roots of both strengths; the amounts sqrt(strength) x shared among
    the sources at first. Their sum stays what it was.

    Returns
    -------
    times : (N_TIMES,) float64
        In units of 1 / the rate.
    amounts : (N_TIMES, n) float64
        Each row adds up to 1.
    """
    has_edges, vectors, values = _eigen(weights)
    root = np.sqrt(np.where(has_edges, weights.sum(axis=1), 1.0))
    start = np.zeros(len(weights))
    start[sources] = 1.0 / len(sources)
    times = np.linspace(0.0, time, N_TIMES)
    parts = np.einsum("ik,i->k", vectors, start / root)
    amounts = np.einsum("ik,tk,k->ti", vectors, np.exp(-np.outer(times, 1.0 - values)), parts) * root
    # A region without edges keeps what it has.
    amounts[:, ~has_edges] = start[~has_edges]
    return times, np.maximum(amounts, 0.0)


def spread_curve(times: Vector, amounts: Matrix, names: tuple[str, ...]) -> Curve:
    """Amount in each region over time."""
    return Curve("time in units of 1 / rate", times, {name: amounts[:, row] for row, name in enumerate(names)})


def _eigen(weights: Matrix) -> tuple[NDArray[np.bool_], Matrix, Vector]:
    """Of the weights over the roots of both strengths; on one thread, so that bytes do not depend on their number."""
    from threadpoolctl import threadpool_limits

    strength = weights.sum(axis=1)
    has_edges = strength > 0
    root = np.sqrt(np.where(has_edges, strength, 1.0))
    with threadpool_limits(1):
        values, vectors = np.linalg.eigh(weights / np.multiply.outer(root, root))
    return has_edges, vectors, values


def _pseudo_inverse(matrix: Matrix) -> Matrix:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        inverse = np.linalg.pinv(matrix, hermitian=True)
    return np.asarray(inverse, np.float64)


def _component(weights: Matrix, source: int) -> NDArray[np.bool_]:
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    label = connected_components(csr_array(weights), directed=False)[1]
    found: NDArray[np.bool_] = label == label[source]
    return found
