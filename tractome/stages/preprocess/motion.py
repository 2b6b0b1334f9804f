"""Where each volume was measured: a rigid motion of the head and a displacement along the phase-encode axis."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid

EDDY_TERMS = {"none": 0, "linear": 3, "quadratic": 9}
_UNIT_MM = 100.0
_PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Motion:
    """Where one volume was measured.

    A point x of the reference head (world, RAS+ mm) was at R x + t, and eddy currents showed it further along the
    phase-encode axis.

    Parameters
    ----------
    matrix : (4, 4) float64
        Reference world -> world while the volume was measured, rigid.
    eddy_mm : (n_terms,) float64
        Displacement per term of `eddy_basis`, mm at 100 mm from the centre of the grid.
    """

    matrix: Floats
    eddy_mm: Floats

    @property
    def rotation(self) -> Floats:
        """Rotation part, (3, 3)."""
        return self.matrix[:3, :3]

    @property
    def rotation_deg(self) -> float:
        """Angle of the rotation, degrees."""
        return float(np.degrees(np.arccos(np.clip((np.trace(self.rotation) - 1) / 2, -1.0, 1.0))))


def still(n_terms: int) -> Motion:
    """No motion at all."""
    return Motion(np.eye(4), np.zeros(n_terms))


def rigid(turn_rad: Floats, shift_mm: Floats, centre: Floats) -> Floats:
    """Rotation by a rotation vector about `centre`, then a shift, as (4, 4)."""
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(turn_rad).as_matrix()
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + shift_mm
    return matrix


@dataclass(frozen=True, eq=False)
class Frame:
    """What displacement fields of a scan are written in.

    Parameters
    ----------
    grid : Grid
    phase_axis : int
        Voxel axis along which echo-planar images are displaced.
    slice_axis : int
        Voxel axis across the slices.
    """

    grid: Grid
    phase_axis: int = 1
    slice_axis: int = 2

    @property
    def centre(self) -> Floats:
        """World position of the centre of the grid, mm."""
        return self.grid.to_world((np.array(self.grid.shape) - 1) / 2)

    @property
    def phase_mm(self) -> Floats:
        """Unit vector along the phase-encode axis, world."""
        return np.asarray(self.grid.rotation[:, self.phase_axis])

    def basis(self, points_mm: Floats, n_terms: int) -> Floats:
        """Terms of the displacement along the phase-encode axis at scanner positions (n, 3): (n_terms, n), unitless."""
        from_centre = (points_mm - self.centre) / _UNIT_MM
        place = np.stack([dot(from_centre, self.grid.rotation[:, axis]) for axis in range(3)])
        terms = [*place, *(place[i] * place[j] for i, j in _PAIRS)]
        return np.stack(terms[:n_terms]) if n_terms else np.zeros((0, len(points_mm)))

    def slopes(self, points_mm: Floats, n_terms: int) -> Floats:
        """Derivative of `basis` along the phase-encode axis, (n_terms, n), 1 / mm."""
        from_centre = (points_mm - self.centre) / _UNIT_MM
        place = np.stack([dot(from_centre, self.grid.rotation[:, axis]) for axis in range(3)])
        along = self.phase_axis
        ones, zeros = np.ones(len(points_mm)), np.zeros(len(points_mm))
        unit = [ones if axis == along else zeros for axis in range(3)]
        terms = [*unit, *(unit[i] * place[j] + unit[j] * place[i] for i, j in _PAIRS)]
        return np.stack(terms[:n_terms]) / _UNIT_MM if n_terms else np.zeros((0, len(points_mm)))


def dot(points: Floats, axis: Floats) -> Floats:
    """Components along an axis; not by BLAS, whose rounding may depend on how many points there are."""
    return np.asarray(points[:, 0] * axis[0] + points[:, 1] * axis[1] + points[:, 2] * axis[2])


def moved(matrix: Floats, points_mm: Floats) -> Floats:
    """Apply a (4, 4) matrix to points (n, 3)."""
    return np.stack([dot(points_mm, matrix[row, :3]) + matrix[row, 3] for row in range(3)], axis=1)


def measured_at(motion: Motion, frame: Frame, points_mm: Floats) -> tuple[Floats, Floats]:
    """Where points of the reference head appear in a volume, and how much the volume is stretched there.

    Parameters
    ----------
    motion : Motion
    frame : Frame
    points_mm : (n, 3) float64
        Reference world.

    Returns
    -------
    points_vox : (3, n) float64
        In voxels of the volume.
    stretch : (n,) float64
        Factor that turns the signal found there into that of an undisplaced volume.
    """
    there = moved(motion.matrix, points_mm)
    stretch = np.ones(len(points_mm))
    n_terms = len(motion.eddy_mm)
    if n_terms and motion.eddy_mm.any():
        displaced = _weighted(motion.eddy_mm, frame.basis(there, n_terms))
        stretch = 1.0 + _weighted(motion.eddy_mm, frame.slopes(there, n_terms))
        there = there + displaced[:, None] * frame.phase_mm
    return np.ascontiguousarray(moved(frame.grid.inverse, there).T), stretch


def _weighted(weights: Floats, rows: Floats) -> Floats:
    total = np.zeros(rows.shape[1])
    for weight, row in zip(weights, rows, strict=True):
        total += weight * row
    return total


def undone(motion: Motion, frame: Frame, points_mm: Floats) -> Floats:
    """Reference position, world mm, of what a volume shows at `points_mm`: `measured_at` backwards."""
    there: Floats = points_mm
    n_terms = len(motion.eddy_mm)
    if n_terms and motion.eddy_mm.any():
        for _ in range(3):
            displaced = _weighted(motion.eddy_mm, frame.basis(there, n_terms))
            there = np.asarray(points_mm - displaced[:, None] * frame.phase_mm, dtype=np.float64)
    back: Floats = np.asarray(np.linalg.inv(motion.matrix), dtype=np.float64)
    return moved(back, there)


def after(motion: Motion, first: Floats) -> Motion:
    """The motion of a reference that is itself moved by `first`, (4, 4)."""
    return replace(motion, matrix=motion.matrix @ first)


def rotated_directions(bvecs: Floats, motions: list[Motion]) -> Floats:
    """Directions as the reference head saw them: a head turned by R saw the gradient g as R^T g.

    Parameters
    ----------
    bvecs : (v, 3) float64
        World axes.
    motions : list of Motion
    """
    return np.stack([motion.rotation.T @ g for motion, g in zip(motions, bvecs, strict=True)])


def framewise_mm(motions: list[Motion], centre: Floats, radius_mm: float = 50.0) -> Floats:
    """Displacement from each volume to the next, (v - 1,) mm: shifts and arcs on a sphere added (Power et al. 2012)."""
    from scipy.spatial.transform import Rotation

    parameters = []
    for motion in motions:
        turn = Rotation.from_matrix(motion.rotation).as_rotvec() * radius_mm
        shift = motion.rotation @ centre + motion.matrix[:3, 3] - centre
        parameters.append(np.concatenate([turn, shift]))
    return np.asarray(np.abs(np.diff(parameters, axis=0)).sum(axis=1))
