"""Scans spoilt on purpose, with the truth about every fault: motion, eddy currents, distortion, dropout, noise."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from tractome.datatypes.diffusion import GradientTable
from tractome.datatypes.grid import Grid
from tractome.options import PhantomOptions
from tractome.stages.preprocess.motion import Frame, Motion, measured_at, rigid, rotated_directions, undone


@dataclass(frozen=True, eq=False)
class Spoilt:
    """A scan and what was done to it."""

    signal: NDArray[np.float32]
    clean: NDArray[np.float32]
    """Without any fault, in the directions of the gradient table."""
    gradients: GradientTable
    mask: NDArray[np.bool_]
    grid: Grid
    frame: Frame
    motions: list[Motion]
    displacement_mm: NDArray[np.float64]


def make_head(**changed):
    """A phantom without noise, with room around the head."""
    from tractome.phantom import make_phantom

    options = {
        "voxel_size_mm": 4.0,
        "t1_voxel_size_mm": 4.0,
        "n_cortical": 8,
        "n_deep": 2,
        "n_bundles": 30,
        "n_u_fibres": 4,
        "shells": (1000.0,),
        "directions": (16,),
        "n_b0": 1,
        "snr": 0.0,
        "field_of_view_mm": (172.0, 204.0, 168.0),
        "storage": "LAS",
        **changed,
    }
    return make_phantom(PhantomOptions(**options))


def random_motions(phantom, frame, shift_mm=2.0, turn_deg=2.0, eddy_mm=1.5, seed=3, reference=0):
    """Motion of each volume; eddy currents go with the gradient. The reference volume stays."""
    rng = np.random.default_rng(seed)
    gradients, centre = phantom.gradients, frame.centre
    coupling = rng.normal(size=(3, 3)) * eddy_mm / 1.7
    motions = []
    for volume in range(gradients.n_volumes):
        turn, shift = np.radians(turn_deg) * rng.uniform(-1, 1, 3), shift_mm * rng.uniform(-1, 1, 3)
        if volume == reference:
            turn, shift = np.zeros(3), np.zeros(3)
        eddy = np.zeros(9)
        if not gradients.is_b0[volume]:
            eddy[:3] = coupling @ gradients.bvecs[volume]
        motions.append(Motion(rigid(turn, shift, centre), eddy))
    return motions


def smooth_field(grid, peak_mm, seed=5):
    """A displacement as smooth as that near the sinuses, mm, (x, y, z)."""
    points = grid.to_world(np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1))
    centre = grid.to_world((np.array(grid.shape) - 1) / 2)
    field = np.zeros(grid.shape)
    for place, width, sign in (
        ((0.0, 55.0, -20.0), 22.0, 1.0),
        ((45.0, 0.0, -25.0), 18.0, -0.7),
        ((-45.0, 0, -25), 18.0, -0.7),
    ):
        distance = np.linalg.norm(points - centre - np.array(place), axis=-1)
        field += sign * np.exp(-0.5 * (distance / width) ** 2)
    return field * peak_mm


def displaced(volume, field_mm, grid, axis, order=3):
    """A volume as distortion shows it: what is at x appears at x + d(x) along an axis, signal piled up or thinned."""
    step = field_mm / grid.voxel_sizes_mm[axis]
    places = np.stack(np.meshgrid(*map(np.arange, volume.shape), indexing="ij")).astype(np.float64)
    source = places.copy()
    for _ in range(20):
        source[axis] = places[axis] - map_coordinates(step, source, order=1, mode="nearest")
    stretch = 1.0 + map_coordinates(np.gradient(step, axis=axis), source, order=1, mode="nearest")
    return np.maximum(map_coordinates(volume, source, order=order, mode="constant") / stretch, 0)


def spoil(phantom, motions=None, field_mm=None, snr=0.0, frame=None, seed=1):
    """Measure a phantom's head with all its faults."""
    from tractome.datatypes.fields import unpack
    from tractome.phantom.signal import S0, clean_signal

    grid, mask, table = phantom.grid, phantom.mask, phantom.gradients
    frame = Frame(grid, 1, 2) if frame is None else frame
    clean = unpack(phantom.clean_signal, mask)
    seen = clean
    if motions is not None:
        turned = replace(table, bvecs=rotated_directions(table.bvecs, motions))
        seen = unpack(clean_signal(phantom.compartments, turned)[phantom.order], mask)
    places = grid.to_world(np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)).reshape(-1, 3)
    signal = np.empty_like(seen)
    for volume in range(table.n_volumes):
        found = seen[..., volume]
        if field_mm is not None:
            found = displaced(found, field_mm, grid, frame.phase_axis)
        if motions is not None:
            source = undone(motions[volume], frame, places)
            _, stretch = measured_at(motions[volume], frame, source)
            found = map_coordinates(found, grid.to_voxel(source).T, order=3, mode="constant") / stretch
        signal[..., volume] = np.maximum(found.reshape(grid.shape), 0)
    if snr:
        rng = np.random.default_rng(seed)
        sigma = S0[2] / snr
        real = signal + sigma * rng.standard_normal(signal.shape, dtype=np.float32)
        signal = np.hypot(real, sigma * rng.standard_normal(signal.shape, dtype=np.float32)).astype(np.float32)
    field = np.zeros(grid.shape) if field_mm is None else field_mm
    return Spoilt(signal, clean, table, mask, grid, frame, motions or [], field)


def motion_errors_mm(found, true, mask, frame, volumes):
    """Mean distance in the brain between where a volume is thought to be and where it is, per volume."""
    points = frame.grid.to_world(np.argwhere(mask)[::7])
    errors = []
    for volume in volumes:
        a, _ = measured_at(found[volume], frame, points)
        b, _ = measured_at(true[volume], frame, points)
        errors.append(float(np.linalg.norm((a - b).T * frame.grid.voxel_sizes_mm, axis=1).mean()))
    return np.array(errors)
