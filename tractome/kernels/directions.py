"""A fixed set of directions on the sphere, and for each the others inside a cone around it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def geodesic_sphere(frequency: int) -> NDArray[np.float64]:
    """Directions spread evenly over the sphere, closed under reversal.

    The faces of an icosahedron are cut into `frequency` squared triangles each, its edges into equal angles. (Equal
    lengths on the flat faces would crowd the directions around the icosahedron's corners by half as much again, and
    directions drawn from them would lean away from the true ones by up to 3 degrees.)

    Parameters
    ----------
    frequency : int > 0
        Gives 10 frequency^2 + 2 directions; neighbours are about 66 / frequency degrees apart.

    Returns
    -------
    (n, 3) float64
        Unit vectors; the second half is the first half reversed, in the same order.
    """
    golden = (1 + 5**0.5) / 2
    corners = np.array([[s, t * golden, 0.0] for s in (-1, 1) for t in (-1, 1)])
    corners = np.concatenate([np.roll(corners, shift, axis=1) for shift in range(3)])
    corners /= np.linalg.norm(corners, axis=1)[:, None]
    is_edge = corners @ corners.T > 0.4
    edge_angle = np.arccos(5**-0.5)
    points = []
    for a in range(12):
        for b in range(a + 1, 12):
            for c in range(b + 1, 12):
                if is_edge[a, b] and is_edge[b, c] and is_edge[a, c]:
                    for i in range(frequency + 1):
                        for j in range(frequency + 1 - i):
                            weights = np.sin(np.array([i, j, frequency - i - j]) * (edge_angle / frequency))
                            points.append(weights @ corners[[a, b, c]])
    unit = np.array(points)
    unit /= np.linalg.norm(unit, axis=1)[:, None]
    # Points on shared edges came once per face. Half of the sphere, then its mirror: z > 0, then y, then x decide.
    _, first = np.unique(np.round(unit, 8) + 0.0, axis=0, return_index=True)
    unit = unit[np.sort(first)]
    sign_key = np.where(np.abs(unit) > 1e-9, np.sign(unit), 0)
    upper = (sign_key[:, 2] > 0) | (
        (sign_key[:, 2] == 0) & ((sign_key[:, 1] > 0) | ((sign_key[:, 1] == 0) & (sign_key[:, 0] > 0)))
    )
    half = unit[upper]
    return np.concatenate([half, -half])


def cones(directions: NDArray[np.float64], max_angle_deg: float) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """For each direction, the directions within an angle of it.

    Parameters
    ----------
    directions : (n, 3) float64
        Unit vectors.
    max_angle_deg : float
        Half-angle of the cone, degrees.

    Returns
    -------
    starts : (n + 1,) int32
        Members of cone i are ``members[starts[i]:starts[i + 1]]``.
    members : (m,) int32
        Indices of directions, rising inside each cone; each cone holds its own axis.
    """
    inside = directions @ directions.T >= np.cos(np.deg2rad(max_angle_deg)) - 1e-9
    members = np.nonzero(inside)[1].astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(inside.sum(axis=1))]).astype(np.int32)
    return starts, members
