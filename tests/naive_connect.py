"""Slow twins of the kernels of connect: sampling, lengths, assignment, sums per edge."""

from __future__ import annotations

import itertools

import numpy as np


def nearest_row(rows, point_mm, affine, radius_mm):
    """Nearest labelled voxel centre within the radius, over all voxels; ties to the smallest world x, y, z."""
    voxels = np.argwhere(rows >= 0)
    if len(voxels) == 0 or not np.isfinite(point_mm).all():
        return -1
    centres = voxels @ affine[:3, :3].T + affine[:3, 3]
    distances = np.sqrt(((centres - point_mm) ** 2).sum(axis=1))
    order = np.lexsort((*np.round(centres, 4).T[::-1], np.round(distances, 5)))
    best = order[0]
    return int(rows[tuple(voxels[best])]) if distances[best] <= radius_mm + 1e-6 else -1


def end_voxel_row(rows, point_vox):
    voxel = np.floor(np.asarray(point_vox) + 0.5).astype(int)
    if (voxel < 0).any() or (voxel >= rows.shape).any():
        return -1
    return int(rows[tuple(voxel)])


def sample(volume, point_vox):
    """Trilinear over the corners that exist and are defined; NaN where the nearest voxel has no value."""
    point = np.asarray(point_vox, dtype=float)
    nearest = np.floor(point + 0.5).astype(int)
    if (nearest < 0).any() or (nearest >= volume.shape).any() or np.isnan(volume[tuple(nearest)]):
        return np.nan
    low = np.floor(point).astype(int)
    total = weight = 0.0
    for corner in np.ndindex(2, 2, 2):
        voxel = low + corner
        w = np.prod(np.where(np.array(corner) == 1, point - low, 1 - (point - low)))
        if w == 0 or (voxel < 0).any() or (voxel >= volume.shape).any() or np.isnan(volume[tuple(voxel)]):
            continue
        total += w * float(volume[tuple(voxel)])
        weight += w
    return total / weight


def length(points):
    return float(np.sqrt((np.diff(np.asarray(points, dtype=float), axis=0) ** 2).sum(axis=1)).sum())


def streamline_mean(volume, points_mm, points_vox):
    """Integral of the map over the streamline by the trapezoidal rule, over its length; undefined points left out."""
    points_mm = np.asarray(points_mm, dtype=float)
    segments = np.sqrt((np.diff(points_mm, axis=0) ** 2).sum(axis=1))
    shares = np.zeros(len(points_mm))
    shares[:-1] += segments / 2
    shares[1:] += segments / 2
    if shares.sum() == 0:
        shares[:] = 1
    values = np.array([sample(volume, point) for point in points_vox])
    defined = np.isfinite(values) & (shares > 0)
    return float((values * shares)[defined].sum() / shares[defined].sum()) if defined.any() else np.nan


def edges(ends, values, n_regions):
    """Counts, means per value (NaN where none), and unassigned streamlines, by a dict of lists."""
    counts = np.zeros((n_regions, n_regions))
    held = [{} for _ in values]
    n_unassigned = 0
    for n, (a, b) in enumerate(ends):
        if a < 0 or b < 0:
            n_unassigned += 1
            continue
        for i, j in {(a, b), (b, a)}:
            counts[i, j] += 1
            for m, column in enumerate(values):
                if np.isfinite(column[n]):
                    held[m].setdefault((i, j), []).append(float(column[n]))
    means = np.full((len(values), n_regions, n_regions), np.nan)
    for m, lists in enumerate(held):
        for edge, found in lists.items():
            means[m][edge] = np.mean(found)
    return counts, means, n_unassigned


def edge_statistic(ends, values, n_regions, statistic, weights=None):
    """A statistic of a value over the streamlines of each edge; NaN (0 for a sum) where there is none."""
    found = np.full((n_regions, n_regions), 0.0 if statistic == "sum" else np.nan)
    weights = np.ones(len(values)) if weights is None else weights
    for i in range(n_regions):
        for j in range(n_regions):
            on_edge = ((ends == (i, j)).all(axis=1) | (ends == (j, i)).all(axis=1)) & np.isfinite(values)
            held, weight = np.asarray(values, float)[on_edge], weights[on_edge]
            if len(held) == 0:
                continue
            if statistic == "mean":
                found[i, j] = (held * weight).sum() / weight.sum()
            elif statistic == "sum":
                found[i, j] = (held * weight).sum()
            else:
                found[i, j] = getattr(np, statistic)(held)
    return found


def edge_pooled(ends, sums, n_regions, weights=None):
    """Mean over the voxels crossed by the streamlines of each edge, from the sum and the number of each streamline."""
    weights = np.ones(len(sums)) if weights is None else weights
    total = edge_statistic(ends, sums[:, 0], n_regions, "sum", weights)
    number = edge_statistic(ends, sums[:, 1], n_regions, "sum", weights)
    with np.errstate(invalid="ignore"):
        return np.where(number > 0, total / number, np.nan)


def crossed(volume, points_vox):
    """Sum over the distinct defined voxels on a streamline, and their number, by cutting it where faces are."""
    found = set()
    for start, end in itertools.pairwise(points_vox):
        cuts = [0.0, 1.0]
        for axis in range(3):
            low, high = sorted((start[axis], end[axis]))
            faces = np.arange(np.ceil(low - 0.5), np.floor(high - 0.5) + 1) + 0.5
            if high > low:
                cuts.extend((faces - start[axis]) / (end[axis] - start[axis]))
        cuts = np.sort(np.clip(cuts, 0, 1))
        for middle in (cuts[:-1] + cuts[1:]) / 2:
            found.add(tuple(np.floor(start + middle * (end - start) + 0.5).astype(int)))
    found.add(tuple(np.floor(points_vox[0] + 0.5).astype(int)))
    inside = [voxel for voxel in found if min(voxel) >= 0 and (np.array(voxel) < volume.shape).all()]
    values = np.array([volume[voxel] for voxel in inside], float)
    return values[np.isfinite(values)].sum(), np.isfinite(values).sum()


def forward_row(rows, point_mm, direction, affine, radius_mm):
    """The voxel that holds a point, or the nearest labelled centre in the cone ahead of it."""
    own = end_voxel_row(rows, np.linalg.inv(affine)[:3] @ [*point_mm, 1.0])
    if own >= 0:
        return own
    voxels = np.argwhere(rows >= 0)
    away = voxels @ affine[:3, :3].T + affine[:3, 3] - np.asarray(point_mm, float)
    distances = np.sqrt((away**2).sum(axis=1))
    ahead = away @ np.asarray(direction, float)
    chosen = (distances <= radius_mm) & (ahead > 0) & (ahead >= np.cos(np.pi / 4) * distances)
    if not chosen.any():
        return -1
    return int(rows[tuple(voxels[chosen][np.argmin(distances[chosen])])])
