"""Slow twins of the mapping kernels: voxels that a streamline crosses, fixels it runs along, masks it visits."""

from __future__ import annotations

from itertools import groupby, pairwise

import numpy as np


def crossings(start, stop):
    """Voxels that a segment (voxel coordinates) crosses, in order, and the share of it in each."""
    start, stop = np.asarray(start, float), np.asarray(stop, float)
    cuts = [0.0, 1.0]
    for a, b in zip(start, stop, strict=True):
        faces = np.arange(np.floor(min(a, b)) - 1, np.ceil(max(a, b)) + 1) + 0.5
        if a != b:
            cuts += [share for share in (faces - a) / (b - a) if 0 < share < 1]
    cuts = sorted(cuts)
    for low, high in pairwise(cuts):
        middle = start + 0.5 * (low + high) * (stop - start)
        yield tuple(np.floor(middle + 0.5).astype(int)), high - low


def fixels_along(points, fixels):
    """(fixel, mm) for each run of a streamline through a voxel that has fixels."""
    grid, rows = fixels.grid, np.full(fixels.grid.shape, -1)
    rows[fixels.mask] = np.arange(fixels.mask.sum())
    pieces = []
    for start, stop in zip(points[:-1].astype(float), points[1:].astype(float), strict=True):
        for voxel, share in crossings(grid.to_voxel(start), grid.to_voxel(stop)):
            pieces.append((voxel, share * (stop - start), share * np.linalg.norm(stop - start)))
    found = []
    for voxel, run in groupby(pieces, key=lambda piece: piece[0]):
        run = list(run)
        length, chord = sum(piece[2] for piece in run), sum(piece[1] for piece in run)
        inside = (np.array(voxel) >= 0).all() and (np.array(voxel) < grid.shape).all()
        row = rows[voxel] if inside else -1
        if row < 0 or length == 0:
            continue
        first, last = fixels.offsets[row : row + 2]
        if last > first:
            found.append((int(first + np.argmax(np.abs(fixels.directions[first:last] @ chord))), length))
    return found


def visits(points, grid, mask):
    """Whether any of the points (voxel coordinates of `grid`) lies in a voxel of the mask."""
    for point in points:
        voxel = np.floor(mask.grid.to_voxel(grid.to_world(point)) + 0.5).astype(int)
        if (voxel >= 0).all() and (voxel < mask.grid.shape).all() and mask.inside[tuple(voxel)]:
            return True
    return False
