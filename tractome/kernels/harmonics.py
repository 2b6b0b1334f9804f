"""Real, even spherical harmonics in MRtrix3's order and sign, and directions to evaluate them on.

The index of (l, m) is ``l (l + 1) / 2 + m`` for even l and -l <= m <= l. With N the orthonormal factor and P the
associated Legendre function *with* the Condon-Shortley phase (-1)^m, theta from +z and phi from +x towards +y::

    m < 0:  sqrt(2) N P_l^|m|(cos theta) sin(|m| phi)
    m = 0:          N P_l^0  (cos theta)
    m > 0:  sqrt(2) N P_l^m  (cos theta) cos(m phi)

Checked against MRtrix3's ``sh2amp`` (tests/test_harmonics.py).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def n_coefficients(lmax: int) -> int:
    """Number of coefficients of an even basis up to order `lmax`."""
    return (lmax + 1) * (lmax + 2) // 2


def orders(lmax: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Order l and phase m of each coefficient, two arrays (n_coeffs,)."""
    pairs = [(order, m) for order in range(0, lmax + 1, 2) for m in range(-order, order + 1)]
    table = np.array(pairs, dtype=np.intp)
    return table[:, 0], table[:, 1]


def _normalised_legendre(cosine: Floats, lmax: int) -> Floats:
    """N_l^m P_l^m(cosine), (lmax + 1, lmax + 1, n), for 0 <= m <= l: the stable recurrence from P_m^m upwards."""
    sine = np.sqrt(np.clip(1.0 - cosine**2, 0.0, None))
    values = np.zeros((lmax + 1, lmax + 1, len(cosine)))
    values[0, 0] = np.sqrt(0.25 / np.pi)
    for m in range(1, lmax + 1):
        values[m, m] = -np.sqrt((2 * m + 1) / (2 * m)) * sine * values[m - 1, m - 1]
    for m in range(lmax):
        values[m + 1, m] = np.sqrt(2 * m + 3) * cosine * values[m, m]
        for order in range(m + 2, lmax + 1):
            a = np.sqrt((4.0 * order**2 - 1) / (order**2 - m**2))
            b = np.sqrt(((order - 1.0) ** 2 - m**2) / (4.0 * (order - 1) ** 2 - 1))
            values[order, m] = a * (cosine * values[order - 1, m] - b * values[order - 2, m])
    return values


def sh_basis(directions: NDArray[np.floating], lmax: int) -> Floats:
    """Evaluate the basis.

    Parameters
    ----------
    directions : (n, 3) float
        Need not be unit; zero vectors give the value along +z.
    lmax : int
        Highest order, even.

    Returns
    -------
    (n, n_coefficients(lmax)) float64
        Amplitude along direction i of a field with coefficients c: ``basis[i] @ c``.
    """
    vectors = np.asarray(directions, dtype=np.float64)
    norms = np.linalg.norm(vectors, axis=1)
    cosine = np.divide(vectors[:, 2], norms, out=np.ones(len(vectors)), where=norms > 0)
    phi = np.arctan2(vectors[:, 1], vectors[:, 0])
    legendre = _normalised_legendre(np.clip(cosine, -1.0, 1.0), lmax)
    basis = np.empty((len(vectors), n_coefficients(lmax)))
    for index, (order, m) in enumerate(zip(*orders(lmax), strict=True)):
        if m == 0:
            basis[:, index] = legendre[order, 0]
        elif m < 0:
            basis[:, index] = np.sqrt(2.0) * legendre[order, -m] * np.sin(-m * phi)
        else:
            basis[:, index] = np.sqrt(2.0) * legendre[order, m] * np.cos(m * phi)
    return basis


def zonal_basis(cosine: NDArray[np.floating], lmax: int) -> Floats:
    """Evaluate the m = 0 harmonics, (n, lmax / 2 + 1) float64, at cosines (n,) of the angle to the axis."""
    legendre = _normalised_legendre(np.clip(np.asarray(cosine, dtype=np.float64), -1.0, 1.0), lmax)
    return np.ascontiguousarray(legendre[0 : lmax + 1 : 2, 0].T)


def zonal_derivative(angle: NDArray[np.floating], lmax: int) -> Floats:
    """Derivative of the m = 0 harmonics by the angle (rad) to the axis, (n, lmax / 2 + 1) float64."""
    theta = np.asarray(angle, dtype=np.float64)
    legendre = _normalised_legendre(np.cos(theta), max(lmax, 1))
    result = np.zeros((len(theta), lmax // 2 + 1))
    for order in range(2, lmax + 1, 2):
        # d/dtheta P_l^0 = P_l^1 (Condon-Shortley phase included); the N factors differ by sqrt(l (l + 1)).
        result[:, order // 2] = np.sqrt(order * (order + 1.0)) * legendre[order, 1]
    return result


def delta_zonal(lmax: int) -> Floats:
    """Zonal coefficients of a unit delta along the axis, (lmax / 2 + 1,) float64."""
    return np.sqrt((2.0 * np.arange(0, lmax + 1, 2) + 1.0) / (4.0 * np.pi))


def convolution_factors(response: NDArray[np.floating], lmax: int) -> Floats:
    """Factor per SH coefficient that turns an FOD into the signal of one shell.

    Parameters
    ----------
    response : (k,) float
        Zonal SH coefficients (l = 0, 2, ...) of the signal of a single fibre along the axis; missing orders are 0.
    lmax : int

    Returns
    -------
    (n_coefficients(lmax),) float64
    """
    zonal = np.zeros(lmax // 2 + 1)
    n_known = min(len(zonal), len(response))
    zonal[:n_known] = np.asarray(response, dtype=np.float64)[:n_known]
    order, _ = orders(lmax)
    return (zonal / delta_zonal(lmax))[order // 2]


@lru_cache(maxsize=8)
def spread_directions(n_directions: int) -> Floats:
    """Unit directions spread evenly over the half sphere, each standing for both its ends.

    A Fibonacci spiral, evened out by a few rounds of electrostatic repulsion with antipodal symmetry. The same bytes
    on every call; read-only.

    Returns
    -------
    (n_directions, 3) float64
    """
    index = np.arange(n_directions)
    z = (index + 0.5) / n_directions
    phi = index * np.pi * (3.0 - np.sqrt(5.0))
    radius = np.sqrt(1.0 - z**2)
    points = np.stack([radius * np.cos(phi), radius * np.sin(phi), z], axis=1)
    step = 0.3 / n_directions**1.5
    for _ in range(60):
        # Squared distance from a point to another is 2 - 2 cos, and to its opposite end 2 + 2 cos.
        cosine = np.einsum("ik,jk->ij", points, points)
        near, far = 2.0 - 2.0 * cosine, 2.0 + 2.0 * cosine
        np.fill_diagonal(near, np.inf)
        np.fill_diagonal(far, 4.0)
        near, far = 1.0 / (near * np.sqrt(near)), 1.0 / (far * np.sqrt(far))
        force = points * (near + far).sum(axis=1)[:, None] - np.einsum("ij,jk->ik", near - far, points)
        points = points + step * force
        points /= np.linalg.norm(points, axis=1)[:, None]
    points.flags.writeable = False
    return points


MIRRORS = np.array([[1.0, 1.0, 1.0], [-1.0, 1.0, 1.0], [1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]])
MIRRORS.flags.writeable = False
"""Signs of x, y, z that carry an octant to the four of the half sphere."""


@lru_cache(maxsize=8)
def mirrored_directions(n_octant: int) -> Floats:
    """Unit directions spread over the half sphere, each with its mirror images in the planes x = 0 and y = 0.

    Nearly as even as `spread_directions`: the repulsion acts on one octant and its images. The mirrors make sums over
    the directions four times as cheap. The same bytes on every call; read-only.

    Returns
    -------
    (4 n_octant, 3) float64
        The octant, then its images in the order of `MIRRORS`.
    """
    index = np.arange(n_octant)
    z = (index + 0.5) / n_octant
    phi = 0.5 * np.pi * np.modf((index + 0.5) * 0.5 * (np.sqrt(5.0) - 1.0))[0]
    radius = np.sqrt(1.0 - z**2)
    points = np.stack([radius * np.cos(phi), radius * np.sin(phi), z], axis=1)
    step = 0.6 / (4 * n_octant) ** 1.5
    for _ in range(60):
        force = np.zeros_like(points)
        for side in (1.0, -1.0):
            for mirror in side * MIRRORS:
                images = points * mirror
                squared = 2.0 - 2.0 * np.einsum("ik,jk->ij", points, images)
                if (mirror > 0).all():
                    np.fill_diagonal(squared, np.inf)
                weight = 1.0 / (squared * np.sqrt(squared))
                force += points * weight.sum(axis=1)[:, None] - np.einsum("ij,jk->ik", weight, images)
        points = np.abs(points + step * force)
        points /= np.linalg.norm(points, axis=1)[:, None]
    directions: Floats = (MIRRORS[:, None] * points).reshape(-1, 3)
    directions.flags.writeable = False
    return directions


def mirror_classes(lmax: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Coefficients by what the mirrors in the planes x = 0 and y = 0 do to their harmonic.

    Returns
    -------
    order : (n_coefficients(lmax),) int64
        First those that neither changes, then those that change sign by the mirror in x, in y, and by either.
    first : (5,) int64
        Where each class begins in `order`, and its length.
    """
    _, m = orders(lmax)
    # cos(m phi) is even in y, sin(m phi) odd; x -> -x is phi -> pi - phi.
    is_odd = np.abs(m) % 2 == 1
    kind = np.where(m >= 0, np.where(is_odd, 1, 0), np.where(is_odd, 2, 3))
    order = np.argsort(kind, kind="stable")
    return order.astype(np.int64), np.searchsorted(kind[order], np.arange(5)).astype(np.int64)
