"""Slow twin of the segmentation of FODs into lobes: flooding in order of amplitude, as the paper describes it."""

from __future__ import annotations

import naive_fit
import numpy as np

from tractome.kernels.directions import geodesic_sphere


def lobes(coefficients, lmax, min_peak, frequency=12):
    """One voxel: rows (integral, highest sampled amplitude, its direction), highest first, and the lobe per direction.

    Every direction is its own cell of the sphere; directions come in falling order of amplitude, and each joins the
    lobe of its highest neighbour among those that came before, or starts one.
    """
    whole = geodesic_sphere(frequency)
    directions = whole[: len(whole) // 2]
    basis = naive_fit.sh_basis(directions, lmax)
    amplitude = basis @ coefficients
    angles = np.degrees(np.arccos(np.clip(np.abs(directions @ directions.T), 0, 1)))
    lobe_of = np.full(len(directions), -1)
    tops = []
    for i in np.argsort(-amplitude, kind="stable"):
        if amplitude[i] <= 0:
            break
        beside = np.flatnonzero((angles[i] < 90 / frequency) & (lobe_of >= 0))
        if len(beside):
            lobe_of[i] = lobe_of[beside[np.argmax(amplitude[beside])]]
        else:
            lobe_of[i] = len(tops)
            tops.append(i)
    # Nearly equal areas, such that the integral of every harmonic is right.
    area = np.full(len(directions), 4 * np.pi / len(directions))
    whole_integral = np.sqrt(4 * np.pi) * (np.arange(basis.shape[1]) == 0)
    area += np.linalg.lstsq(basis.T, whole_integral - basis.T @ area, rcond=None)[0]
    rows = [((area * amplitude)[lobe_of == k].sum(), amplitude[top], *directions[top]) for k, top in enumerate(tops)]
    kept = [k for k, row in enumerate(rows) if row[1] >= min_peak]
    table = np.full(len(directions), 255)
    for rank, k in enumerate(kept):
        table[lobe_of == k] = rank
    return np.array([rows[k] for k in kept]).reshape(-1, 5), table
