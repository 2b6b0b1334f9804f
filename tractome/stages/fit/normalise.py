"""Multi-tissue intensity normalisation: one smooth field, so that the tissues add up to the same everywhere."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.fields import OrientationField, ScalarMap
from tractome.errors import ImageError

REFERENCE = 1 / np.sqrt(4 * np.pi)
"""What the l = 0 coefficients of the tissues add up to afterwards: 0.28209, a share of 1 in all."""
ORDER = 3
"""Of the polynomial that the logarithm of the field is: 20 coefficients."""
N_ROUNDS, MAX_BALANCE_ROUNDS = 15, 7
FIRST_RANGE, OUTLIER_RANGE = 3.0, 1.5
"""Voxels further than so many interquartile ranges outside the quartiles are left out, first and later."""
MAX_VOXELS = 100_000
"""Voxels that the field is estimated from, evenly spread; it is evaluated everywhere."""

FAR_FROM_BALANCE = 3.0
"""Balance factors this many times above or below 1 are worth a warning: their tissue hardly occurs."""
_LEAST_TOTAL = 1e-9

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Normalised:
    """What normalisation gives.

    Parameters
    ----------
    field : OrientationField
        FODs and companions, divided by `scale`.
    scale : ScalarMap
        The field that they were divided by, unitless, 1 where nothing had to change.
    balance : dict of str to float
        Factor per tissue with which the tissues add up best; their geometric mean is 1. Used to find the field, not
        applied: applied, they would change the meaning of apparent fibre density.
    share_used : float
        Share of the voxels that were no outliers.
    """

    field: OrientationField
    scale: ScalarMap
    balance: dict[str, float]
    share_used: float


def normalise_tissues(field: OrientationField) -> Normalised:
    """Divide FODs and companions by a smooth field, in the manner of MRtrix3's ``mtnormalise``.

    The logarithm of the field is a polynomial of third order in world coordinates, fitted to the logarithm of the
    tissues' balanced sum; factors that balance the tissues and the voxels that count are found in turn (Raffelt et al.
    2017, ISMRM 3541; Dhollander et al. 2021, ISMRM 2472).

    Parameters
    ----------
    field : OrientationField
        Of two or three tissues.

    Raises
    ------
    ImageError
        There is one tissue only, too few voxels hold any, or the tissues cannot be balanced.
    """
    if not field.tissues:
        message = "Intensity normalisation needs the FODs of two or three tissues. Fit with model = msmt."
        raise ImageError(message)
    names = ["wm", *field.tissues]
    shares = np.stack([field.coefficients[:, 0], *field.tissues.values()], axis=1).astype(np.float64)
    usable = np.flatnonzero(np.isfinite(shares).all(axis=1) & (shares.sum(axis=1) > 0))
    chosen = usable[:: max(1, -(-len(usable) // MAX_VOXELS))]
    if len(chosen) < 10 * _n_terms():
        message = (
            f"Only {len(chosen)} voxels hold tissue; intensity normalisation needs {10 * _n_terms()}. Check the mask."
        )
        raise ImageError(message)
    places = _unit_places(field)
    basis, sample = _polynomials(places[chosen]), shares[chosen]
    weights, balance, used = _solve(basis, sample, names)
    if np.abs(np.log(balance)).max() > np.log(FAR_FROM_BALANCE):
        found = ", ".join(f"{name} {factor:.2f}" for name, factor in zip(names, balance, strict=True))
        logger.warning(
            "Intensity normalisation: the balance factors (%s) are far from 1; a tissue that hardly occurs in the mask "
            "leaves them, and the scale of the FODs, uncertain.",
            found,
        )
    scale = np.empty(len(shares))
    for first in range(0, len(shares), 65536):
        block = slice(first, first + 65536)
        scale[block] = np.exp(np.einsum("vt,t->v", _polynomials(places[block]), weights))
    divided = {name: (values / scale).astype(np.float32) for name, values in field.tissues.items()}
    coefficients = (field.coefficients / scale[:, None].astype(np.float32)).astype(np.float32)
    return Normalised(
        replace(field, coefficients=coefficients, tissues=divided),
        ScalarMap("normalisation", "unitless", scale.astype(np.float32), field.mask, field.grid),
        dict(zip(names, balance.tolist(), strict=True)),
        float(used.mean()),
    )


def _solve(basis: Floats, shares: Floats, names: list[str]) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Weights of the polynomials, a factor per tissue, and which voxels counted in the end."""
    weights, balance = np.zeros(basis.shape[1]), np.ones(shares.shape[1])
    log_scale = np.zeros(len(shares))
    used = _within(np.log(_total(shares, balance)), FIRST_RANGE)
    for _ in range(N_ROUNDS):
        for _ in range(MAX_BALANCE_ROUNDS):
            balance = _balance(shares[used] / np.exp(log_scale[used])[:, None], names)
            before, used = used, _within(np.log(_total(shares, balance)) - log_scale, OUTLIER_RANGE)
            if (before == used).all():
                break
        target = np.log(_total(shares[used], balance) / REFERENCE)
        weights = _least_squares(basis[used], target)
        log_scale = np.einsum("vt,t->v", basis, weights)
    return weights, balance, used


def _total(shares: Floats, balance: Floats) -> Floats:
    # Never below nothing: a white-matter share a little below 0 would have no logarithm.
    return np.asarray(np.maximum(np.einsum("vt,t->v", shares, balance), _LEAST_TOTAL))


def _balance(shares: Floats, names: list[str]) -> Floats:
    """Factors with which the shares add up to the reference best, geometric mean 1."""
    factors = _least_squares(shares, np.full(len(shares), REFERENCE))
    if not (factors > 0).all():
        found = ", ".join(f"{name} {factor:.3g}" for name, factor in zip(names, factors, strict=True))
        message = (
            f"The tissues cannot be balanced (factors {found}; they must be above 0): some tissue hardly occurs in the "
            "mask, or the mask is far too large. Give a tighter --mask, or fit without normalisation."
        )
        raise ImageError(message)
    return np.asarray(factors / np.exp(np.log(factors).mean()))


def _least_squares(matrix: Floats, target: Floats) -> Floats:
    """By normal equations, summed by einsum in one fixed order: threaded BLAS may change the last digits."""
    gram, right = np.einsum("vi,vj->ij", matrix, matrix), np.einsum("vi,v->i", matrix, target)
    return np.asarray(np.linalg.lstsq(gram, right, rcond=None)[0])


def _within(values: Floats, reach: float) -> NDArray[np.bool_]:
    """Which values are no outliers by Tukey's fences."""
    low, high = np.quantile(values, (0.25, 0.75))
    return np.asarray((values >= low - reach * (high - low)) & (values <= high + reach * (high - low)))


def _unit_places(field: OrientationField) -> Floats:
    """World coordinates of the voxels, shifted and scaled to between -1 and 1: the fit is then well conditioned."""
    places = field.grid.to_world(np.argwhere(field.mask))
    low, high = places.min(axis=0), places.max(axis=0)
    return np.asarray((2 * places - low - high) / np.maximum(high - low, 1e-6).max())


def _n_terms() -> int:
    return (ORDER + 1) * (ORDER + 2) * (ORDER + 3) // 6


def _polynomials(places: Floats) -> Floats:
    """All products of powers up to `ORDER` in all, (n, 20)."""
    x, y, z = places.T
    powers = [(i, j, k) for i in range(ORDER + 1) for j in range(ORDER + 1 - i) for k in range(ORDER + 1 - i - j)]
    return np.stack([x**i * y**j * z**k for i, j, k in powers], axis=1)
