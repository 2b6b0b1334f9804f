"""Anatomy, wiring and signal put together on a grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.diffusion import DiffusionImage, GradientTable
from tractome.datatypes.fields import ScalarMap
from tractome.datatypes.grid import Grid
from tractome.datatypes.parcellation import Parcellation, RegionTable
from tractome.datatypes.tissue import TissueMap
from tractome.datatypes.tractogram import StopReason, Tractogram
from tractome.errors import OptionError
from tractome.options import PhantomOptions
from tractome.phantom import signal as signals
from tractome.phantom.geometry import Anatomy, brain_centre_mm, head_extent_mm, keyed_rng, make_anatomy
from tractome.phantom.wiring import Wiring, make_wiring

Progress = Callable[[int, int], None]

_OBLIQUE_DEG = (11.0, -7.0, 16.0)
_T1_CONTRAST = np.array([600.0, 680.0, 900.0, 200.0, 450.0])
_T1_NOISE = 12.0
_BLOCK = 200_000


@dataclass(frozen=True, eq=False)
class Phantom:
    """One synthetic subject and the truth about it.

    Parameters
    ----------
    options : PhantomOptions
    image : DiffusionImage
        With noise; gradients in world axes.
    clean_signal : (n_voxels, v) float32
        The same without noise.
    parcellation : Parcellation
        Regions 1..N on the anatomy grid.
    tissue : TissueMap
        Five tissues on the anatomy grid.
    t1 : (x, y, z) float32
        T1-like contrast, 0 outside the head, on `t1_grid`.
    t1_grid : Grid
    true_fa, true_md : ScalarMap
        Of the noise-free field.
    true_count : (N, N) float64
        Fibres per pair of regions, symmetric, diagonal 0.
    true_mean_fa, true_mean_md : (N, N) float64
        Mean over the fibres of an edge of the mean along each; NaN where there is no fibre.
    u_fibre_edges : (n, 2) int64
        Pairs of rows that U-fibres join.
    wiring : Wiring
        Every bundle and fibre.
    anatomy : Anatomy
        The shapes as functions of world points.
    """

    options: PhantomOptions
    image: DiffusionImage
    clean_signal: NDArray[np.float32]
    parcellation: Parcellation
    tissue: TissueMap
    t1: NDArray[np.float32]
    t1_grid: Grid
    true_fa: ScalarMap
    true_md: ScalarMap
    true_count: NDArray[np.float64]
    true_mean_fa: NDArray[np.float64]
    true_mean_md: NDArray[np.float64]
    u_fibre_edges: NDArray[np.int64]
    wiring: Wiring
    anatomy: Anatomy

    @property
    def regions(self) -> RegionTable:
        """The regions: row i of every truth matrix."""
        return self.parcellation.regions

    @property
    def grid(self) -> Grid:
        """Grid of the scan."""
        return self.image.grid

    @property
    def gradients(self) -> GradientTable:
        """Gradients of the scan, world axes."""
        return self.image.gradients

    def fibres(self) -> Tractogram:
        """The true fibres as streamlines, RAS+ mm."""
        n_fibres, n_points = self.wiring.fibres.shape[:2]
        return Tractogram(
            self.wiring.fibres.reshape(-1, 3),
            np.arange(n_fibres + 1) * n_points,
            np.arange(n_fibres),
            np.full((n_fibres, 2), StopReason.NONE, dtype=np.int8),
        )


def phantom_grid(options: PhantomOptions) -> Grid:
    """Grid of the scan that `make_phantom` would make: for reading a gradient table in image axes."""
    return _stored(_plain_grid(options, _voxel_sizes(options)), options.storage)


def make_phantom(
    options: PhantomOptions, gradients: GradientTable | None = None, progress: Progress | None = None
) -> Phantom:
    """Make a whole synthetic subject.

    Anatomy, regions and wiring depend on the random seed and the counts only: not on voxel size, storage or gradients.

    Parameters
    ----------
    options : PhantomOptions
    gradients : GradientTable or None
        World axes; None for the shells of the options.
    progress : callable or None
        Called with (steps done, steps in all).

    Raises
    ------
    OptionError
        The options contradict each other, or ask for more bundles than there are pairs of regions.
    """
    _check(options)
    n_steps = 6

    def report(done: int) -> None:
        if progress is not None:
            progress(done, n_steps)

    gradients = signals.make_gradients(options) if gradients is None else gradients
    anatomy = make_anatomy(options)
    report(1)
    wiring = make_wiring(anatomy, options)
    report(2)
    # Everything is computed on the unflipped grid and turned at the end: the noise of a voxel does not depend on
    # the order in which voxels are stored.
    plain = _plain_grid(options, _voxel_sizes(options))
    tissue, mask = _tissue_volume(anatomy, plain)
    populations = signals.bin_fibres(wiring, mask, plain, options)
    report(3)
    clean = signals.clean_signal(populations, tissue[mask], gradients)
    noisy = signals.add_noise(clean, options)
    report(4)
    fa, md = signals.true_tensors(clean, gradients)
    image, true_clean, true_fa, true_md = _turned(options.storage, plain, mask, gradients, noisy, clean, fa, md)
    per_fibre = [signals.mean_along_fibres(wiring, part.volume(), part.grid) for part in (true_fa, true_md)]
    report(5)
    count = _edge_sums(wiring, np.ones(wiring.n_fibres), anatomy.regions.n_regions)
    with np.errstate(invalid="ignore"):
        mean_fa, mean_md = (_edge_sums(wiring, part, len(count)) / count for part in per_fibre)
    parcellation, tissue_map = _anatomy_images(anatomy, options, tissue, plain)
    t1_grid = _plain_grid(options, np.full(3, options.t1_voxel_size_mm), rotate=False)
    phantom = Phantom(
        options=options,
        image=image,
        clean_signal=true_clean,
        parcellation=parcellation,
        tissue=tissue_map,
        t1=_t1(anatomy, t1_grid, options),
        t1_grid=t1_grid,
        true_fa=true_fa,
        true_md=true_md,
        true_count=count,
        true_mean_fa=mean_fa,
        true_mean_md=mean_md,
        u_fibre_edges=wiring.ends[wiring.is_u],
        wiring=wiring,
        anatomy=anatomy,
    )
    report(6)
    return phantom


def _check(options: PhantomOptions) -> None:
    for name in ("n_cortical", "n_deep"):
        if getattr(options, name) % 2:
            message = f"{name} = {getattr(options, name)} must be even: half of the regions lie in each hemisphere."
            raise OptionError(message)
    if len(options.shells) != len(options.directions):
        message = (
            f"{len(options.shells)} shells but {len(options.directions)} numbers of directions; give one number of "
            "directions per shell."
        )
        raise OptionError(message)


def _voxel_sizes(options: PhantomOptions) -> NDArray[np.float64]:
    in_plane = options.voxel_size_mm
    return np.array([in_plane, in_plane, options.slice_thickness_mm or in_plane])


def _plain_grid(options: PhantomOptions, voxel_sizes_mm: NDArray[np.float64], rotate: bool = True) -> Grid:
    """Grid around the head with rising axes: straight, or turned for oblique storage."""
    rotation = np.eye(3)
    if rotate and options.storage == "oblique":
        for axis, angle in enumerate(np.deg2rad(_OBLIQUE_DEG)):
            turn = np.eye(3)
            i, j = (axis + 1) % 3, (axis + 2) % 3
            turn[[i, j, i, j], [i, j, j, i]] = np.cos(angle), np.cos(angle), -np.sin(angle), np.sin(angle)
            rotation = rotation @ turn
    extent = head_extent_mm() + 2.0
    # Half the box of the turned ellipsoid.
    half = np.sqrt(((rotation * extent[:, None]) ** 2).sum(axis=0))
    shape = 2 * np.ceil(half / voxel_sizes_mm - 0.5).astype(int) + 1
    affine = np.eye(4)
    affine[:3, :3] = rotation * voxel_sizes_mm
    affine[:3, 3] = brain_centre_mm() - affine[:3, :3] @ ((shape - 1) / 2)
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def _orientation(storage: str) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """For each stored axis: which world axis it follows, and whether it runs backwards."""
    if storage == "oblique":
        return (0, 1, 2), (False, False, False)
    return tuple("LPI".find(c) if c in "LPI" else "RAS".find(c) for c in storage), tuple(c in "LPI" for c in storage)


def _stored(plain: Grid, storage: str) -> Grid:
    """The same voxels with the axes in storage order."""
    axes, backwards = _orientation(storage)
    shape = tuple(plain.shape[axis] for axis in axes)
    turn = np.zeros((4, 4))
    turn[3, 3] = 1.0
    for stored, (axis, back) in enumerate(zip(axes, backwards, strict=True)):
        turn[axis, stored] = -1.0 if back else 1.0
        turn[axis, 3] = shape[stored] - 1 if back else 0.0
    return Grid((shape[0], shape[1], shape[2]), plain.affine @ turn)


def _turn(volume: NDArray[Any], storage: str) -> NDArray[Any]:
    """A volume (x, y, z, ...) brought from the plain grid to storage order."""
    axes, backwards = _orientation(storage)
    turned = np.transpose(volume, (*axes, *range(3, volume.ndim)))
    result: NDArray[Any] = np.flip(turned, tuple(axis for axis, back in enumerate(backwards) if back))
    return result


def _turned(
    storage: str,
    plain: Grid,
    mask: NDArray[np.bool_],
    gradients: GradientTable,
    noisy: NDArray[np.float32],
    clean: NDArray[np.float32],
    fa: NDArray[np.float32],
    md: NDArray[np.float32],
) -> tuple[DiffusionImage, NDArray[np.float32], ScalarMap, ScalarMap]:
    """The packed arrays in storage order."""
    grid = _stored(plain, storage)
    if grid.is_same(plain):
        return (
            DiffusionImage(noisy, gradients, mask, grid),
            clean,
            ScalarMap("fa", "unitless", fa, mask, grid),
            ScalarMap("md", "mm2/s", md, mask, grid),
        )
    place = np.full(mask.shape, -1, dtype=np.int64)
    place[mask] = np.arange(np.count_nonzero(mask))
    stored_place = _turn(place, storage)
    stored_mask = stored_place >= 0
    order = stored_place[stored_mask]
    image = DiffusionImage(noisy[order], gradients, stored_mask, grid)
    maps = (
        ScalarMap("fa", "unitless", fa[order], stored_mask, grid),
        ScalarMap("md", "mm2/s", md[order], stored_mask, grid),
    )
    return image, clean[order], *maps


def _world_points(grid: Grid, start: int, stop: int) -> NDArray[np.float64]:
    """World coordinates of the voxels `start` to `stop` in C order, (n, 3), RAS+ mm."""
    return grid.to_world(np.stack(np.unravel_index(np.arange(start, stop), grid.shape), axis=1))


def _tissue_volume(anatomy: Anatomy, grid: Grid) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    n_voxels = int(np.prod(grid.shape))
    fractions = np.zeros((n_voxels, 5), dtype=np.float32)
    mask = np.zeros(n_voxels, dtype=bool)
    width = grid.voxel_volume_mm3 ** (1 / 3)
    for start in range(0, n_voxels, _BLOCK):
        stop = min(start + _BLOCK, n_voxels)
        fractions[start:stop], mask[start:stop] = anatomy.tissue(_world_points(grid, start, stop), width)
    return fractions.reshape(*grid.shape, 5), mask.reshape(grid.shape)


def _anatomy_images(
    anatomy: Anatomy, options: PhantomOptions, tissue: NDArray[np.float32], plain: Grid
) -> tuple[Parcellation, TissueMap]:
    """Labels and tissue map, on the scan's grid or on a straight one of their own."""
    if options.anatomy_voxel_size_mm is not None:
        grid = _plain_grid(options, np.full(3, options.anatomy_voxel_size_mm), rotate=False)
        tissue = _tissue_volume(anatomy, grid)[0]
    else:
        grid = _stored(plain, options.storage)
        tissue = _turn(tissue, options.storage)
    n_voxels = int(np.prod(grid.shape))
    labels = np.zeros(n_voxels, dtype=np.int64)
    for start in range(0, n_voxels, _BLOCK):
        stop = min(start + _BLOCK, n_voxels)
        labels[start:stop] = anatomy.labels(_world_points(grid, start, stop))
    parcellation = Parcellation.from_labels(labels.reshape(grid.shape), grid, anatomy.regions)
    return parcellation, TissueMap(tissue, grid)


def _t1(anatomy: Anatomy, grid: Grid, options: PhantomOptions) -> NDArray[np.float32]:
    """T1-like contrast with a smooth bias and noise, 0 outside the head."""
    fractions, mask = _tissue_volume(anatomy, grid)
    image = np.zeros(grid.shape, dtype=np.float32)
    places = grid.to_world(np.argwhere(mask)) - brain_centre_mm()
    bias = 1.0 + 0.06 * np.sin(places[:, 0] / 60.0) * np.cos(places[:, 2] / 70.0) + 0.0006 * places[:, 1]
    rng = keyed_rng(options.random_seed, 32)
    image[mask] = (fractions[mask] @ _T1_CONTRAST) * bias + rng.normal(0.0, _T1_NOISE, len(places))
    return image


def _edge_sums(wiring: Wiring, values: NDArray[np.float64], n_regions: int) -> NDArray[np.float64]:
    """Sum of a value per fibre over each pair of regions, (N, N) symmetric."""
    sums = np.zeros((n_regions, n_regions))
    per_bundle = np.bincount(wiring.bundle, values, minlength=len(wiring.ends))
    np.add.at(sums, (wiring.ends[:, 0], wiring.ends[:, 1]), per_bundle)
    np.add.at(sums, (wiring.ends[:, 1], wiring.ends[:, 0]), per_bundle)
    return sums
