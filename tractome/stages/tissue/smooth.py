"""From probabilities of voxels to tissue that hangs together: neighbours agree, and edges have partial volumes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_N_ROUNDS = 6
_IMPOSSIBLE = 1e3


def settled(log_likelihood: Floats, inside: NDArray[np.bool_], strength: float) -> NDArray[np.int8]:
    """The likeliest class of each voxel when neighbours of another class cost something.

    A Markov random field, by DIPY's iterated conditional modes (Zhang et al. 2001, doi:10.1109/42.906424).

    Parameters
    ----------
    log_likelihood : (n, n_classes) float64
        Of the voxels inside, with their prior.
    inside : (x, y, z) bool
    strength : float
        Cost of a neighbour (of six) that is of another class.

    Returns
    -------
    (x, y, z) int8
        -1 outside.
    """
    from dipy.segment.mrf import IteratedConditionalModes

    n_classes = log_likelihood.shape[1]
    cost = np.full((*inside.shape, n_classes + 1), _IMPOSSIBLE)
    cost[..., 0] = np.where(inside, _IMPOSSIBLE, 0.0)
    cost[inside, 1:] = -log_likelihood
    modes = IteratedConditionalModes()
    found = modes.initialize_maximum_likelihood(cost)
    for _ in range(_N_ROUNDS):
        before = np.asarray(found)
        found, _ = modes.icm_ising(cost, strength, found)
        if (np.asarray(found) == before).all():
            break
    return (np.asarray(found) - 1).astype(np.int8)


def largest_piece(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest piece of a mask that hangs together by its voxels' faces."""
    from scipy import ndimage

    pieces, n_pieces = ndimage.label(mask)
    if n_pieces < 2:
        return mask
    return np.asarray(pieces == 1 + int(np.argmax(np.bincount(pieces.reshape(-1))[1:])))
