"""How the ends of streamlines are given to regions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.parcellation import Parcellation
from tractome.datatypes.tractogram import StreamlineTable
from tractome.errors import TableError
from tractome.options import ConnectOptions

CHUNK = 200_000
"""Streamlines per kernel call: a call then lasts well under half a second."""

Ends = tuple[NDArray[np.int32], NDArray[np.float32]]
"""Row of each end, -1 for none, and its distance from that region's voxel (mm, infinite for none)."""

Assigner = Callable[[NDArray[np.float64], NDArray[np.float32] | None], Ends]
"""From points, (n, 3) float64 in voxel coordinates of the label grid, and the directions in which their streamlines
end, (n, 3) float32 in world axes."""

_FORWARD_CONE_DEG = 45.0
"""How far from the streamline's direction a voxel ahead may lie."""


def _radial(parcellation: Parcellation, options: ConnectOptions) -> Assigner:
    """Nearest labelled voxel centre within `radius_mm`, as MRtrix3's ``-assignment_radial_search``."""
    from tractome.kernels.assignment import assign_radial, search_offsets

    linear = np.ascontiguousarray(parcellation.grid.affine[:3, :3])
    offsets, lengths_mm = search_offsets(linear, options.radius_mm)
    metric = np.ascontiguousarray(linear.T @ linear)
    empty_until = np.zeros(parcellation.rows.shape, np.int32)
    return lambda points_vox, _: assign_radial(
        parcellation.rows, points_vox, metric, offsets, lengths_mm, float(options.radius_mm), empty_until
    )


def _end_voxel(parcellation: Parcellation, options: ConnectOptions) -> Assigner:
    """Region of the voxel that holds the end, as MRtrix3's ``-assignment_end_voxels``."""
    from tractome.kernels.assignment import assign_end_voxel

    def assigner(points_vox: NDArray[np.float64], _: NDArray[np.float32] | None) -> Ends:
        rows = assign_end_voxel(parcellation.rows, points_vox)
        return rows, np.where(rows >= 0, 0.0, np.inf).astype(np.float32)

    return assigner


def _forward(parcellation: Parcellation, options: ConnectOptions) -> Assigner:
    """Voxel that holds the end, or else the nearest labelled one ahead of it, within `radius_mm` and a cone."""
    from tractome.kernels.assignment import assign_forward, search_offsets

    linear = np.ascontiguousarray(parcellation.grid.affine[:3, :3])
    offsets, _ = search_offsets(linear, options.radius_mm)
    min_cosine = float(np.cos(np.radians(_FORWARD_CONE_DEG)))

    def assigner(points_vox: NDArray[np.float64], directions: NDArray[np.float32] | None) -> Ends:
        if directions is None:
            message = (
                "The forward assignment needs the directions in which streamlines end, and this table does not hold "
                "them. Summarise whole streamlines with their directions, or choose another assignment."
            )
            raise TableError(message)
        return assign_forward(
            parcellation.rows, points_vox, directions, linear, offsets, float(options.radius_mm), min_cosine
        )

    return assigner


ASSIGNMENT_METHODS: dict[str, Callable[[Parcellation, ConnectOptions], Assigner]] = {
    "radial": _radial,
    "end-voxel": _end_voxel,
    "forward": _forward,
}
"""One row per way of giving an end to a region."""


def assign(table: StreamlineTable, parcellation: Parcellation, options: ConnectOptions) -> NDArray[np.int32]:
    """Region of each end.

    Returns
    -------
    (n_streamlines, 2) int32
        Row of the region at the first and the last point; -1 where there is none.
    """
    return assign_ends(table, parcellation, ASSIGNMENT_METHODS[options.assignment](parcellation, options))[0]


def assign_ends(table: StreamlineTable, parcellation: Parcellation, assigner: Assigner) -> Ends:
    """Rows and distances of both ends of each streamline, (n_streamlines, 2) each."""
    rows = np.empty((table.n_streamlines, 2), np.int32)
    distances_mm = np.empty((table.n_streamlines, 2), np.float32)
    for start in range(0, table.n_streamlines, CHUNK):
        part = slice(start, start + CHUNK)
        with np.errstate(invalid="ignore"):  # an end at infinity stays without a region
            points_vox = parcellation.grid.to_voxel(table.ends_mm[part].reshape(-1, 3))
        directions = None if table.directions is None else table.directions[part].reshape(-1, 3)
        found, far = assigner(points_vox, directions)
        rows[part], distances_mm[part] = found.reshape(-1, 2), far.reshape(-1, 2)
    return rows, distances_mm
