"""Anatomy, wiring and signal put together on a grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

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
from tractome.phantom.freesurfer import require_freesurfer_regions
from tractome.phantom.geometry import Anatomy, make_anatomy
from tractome.phantom.gradients import gradient_nonlinearity, make_gradients
from tractome.phantom.grids import plain_grid, storage_grid, to_storage, voxel_sizes
from tractome.phantom.structural import StructuralImages, make_structural_images, tissue_volume
from tractome.phantom.wiring import Wiring, make_wiring

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Phantom:
    """One synthetic subject and the truth about it.

    The scan itself is not held: `scan_volumes` makes it volume by volume, and `image` and `clean_signal` make all of it
    when they are first asked for.

    Parameters
    ----------
    options : PhantomOptions
    gradients : GradientTable
        Of the scan, world axes.
    grid : Grid
        Of the scan.
    mask : (x, y, z) bool
        Inside of the head, on the grid of the scan.
    compartments : Compartments
        What gives the signal, in the order of the plain grid.
    order : (n_voxels,) int64
        Place of each voxel of the mask in the order of the plain grid.
    structural : StructuralImages
        Labels, tissues and T1-like contrast.
    true_fa, true_md : ScalarMap
        Of the noise-free field, as linear gradients would measure it.
    true_count : (N, N) float64
        Fibres per pair of regions, symmetric, diagonal 0.
    true_mean_fa, true_mean_md : (N, N) float64
        Mean over the fibres of an edge of the mean along each; NaN where there is no fibre.
    u_fibre_edges : (n, 2) int64
        Pairs of rows that U-fibres join.
    wiring : Wiring
        Every bundle and fibre; its ends are rows of the anatomy's own table.
    anatomy : Anatomy
        The shapes as functions of world points.
    """

    options: PhantomOptions
    gradients: GradientTable
    grid: Grid
    mask: NDArray[np.bool_]
    compartments: signals.Compartments
    order: NDArray[np.int64]
    structural: StructuralImages
    true_fa: ScalarMap
    true_md: ScalarMap
    true_count: NDArray[np.float64]
    true_mean_fa: NDArray[np.float64]
    true_mean_md: NDArray[np.float64]
    u_fibre_edges: NDArray[np.int64]
    wiring: Wiring
    anatomy: Anatomy

    @property
    def parcellation(self) -> Parcellation:
        """Regions on the anatomy grid."""
        return self.structural.parcellation

    @property
    def tissue(self) -> TissueMap:
        """Five tissues on the anatomy grid."""
        return self.structural.tissue

    @property
    def regions(self) -> RegionTable:
        """The regions: row i of every truth matrix."""
        return self.parcellation.regions

    @property
    def n_voxels(self) -> int:
        """Number of voxels inside the mask."""
        return len(self.order)

    def scan_volumes(self, session: int = 0) -> Iterator[NDArray[np.float32]]:
        """Yield each volume of the scan of a session with its noise, packed by the mask, (n_voxels,) float32."""
        for volume in signals.scanned_volumes(self.compartments, self.gradients, self.options, session):
            yield volume[self.order]

    @cached_property
    def image(self) -> DiffusionImage:
        """The whole scan with noise; gradients in world axes."""
        signal = np.empty((self.n_voxels, self.gradients.n_volumes), dtype=np.float32)
        for column, volume in enumerate(self.scan_volumes()):
            signal[:, column] = volume
        deviation = None
        if self.options.gradient_nonlinearity:
            deviation = self.grad_dev(self.grid.to_world(np.argwhere(self.mask)))
        return DiffusionImage(signal, self.gradients, self.mask, self.grid, deviation)

    @cached_property
    def clean_signal(self) -> NDArray[np.float32]:
        """The same without noise, (n_voxels, v) float32."""
        return signals.clean_signal(self.compartments, self.gradients)[self.order]

    def grad_dev(self, places_mm: NDArray[np.float64]) -> NDArray[np.float32]:
        """Relative error of the gradients at world points (n, 3), (n, 3, 3) float32, in the frame of FSL's bvecs."""
        in_world = gradient_nonlinearity(places_mm, self.options.gradient_nonlinearity)
        # FSL's frame is the image axes, with x negated when the affine's determinant is positive.
        to_world = self.grid.rotation @ np.diag([-1.0 if self.grid.determinant > 0 else 1.0, 1.0, 1.0])
        turned: NDArray[np.float32] = np.einsum("ji,njk,kl->nil", to_world, in_world, to_world).astype(np.float32)
        return turned

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
    _check(options)
    return storage_grid(plain_grid(options, voxel_sizes(options)), options.storage)


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

    gradients = make_gradients(options) if gradients is None else gradients
    anatomy = make_anatomy(options)
    report(1)
    wiring = make_wiring(anatomy, options)
    report(2)
    # Signal is computed on the unflipped grid and turned at the end: the noise of a voxel does not depend on the order
    # in which voxels are stored.
    plain = plain_grid(options, voxel_sizes(options))
    tissue, mask = tissue_volume(anatomy, plain)
    populations = signals.bin_fibres(wiring, mask, plain, options)
    compartments = signals.make_compartments(populations, tissue[mask])
    report(3)
    grid, stored_mask, order = _stored_order(mask, plain, options.storage)
    fa, md = (part[order] for part in signals.true_tensors(compartments, gradients))
    true_fa = ScalarMap("fa", "unitless", fa, stored_mask, grid)
    true_md = ScalarMap("md", "mm2/s", md, stored_mask, grid)
    if options.gradient_nonlinearity:
        places = plain.to_world(np.argwhere(mask))
        compartments = signals.distorted(compartments, gradient_nonlinearity(places, options.gradient_nonlinearity))
    report(4)
    structural = make_structural_images(anatomy, options, tissue, plain)
    report(5)
    count, mean_fa, mean_md = _edge_truth(wiring, structural, true_fa, true_md)
    phantom = Phantom(
        options=options,
        gradients=gradients,
        grid=grid,
        mask=stored_mask,
        compartments=compartments,
        order=order,
        structural=structural,
        true_fa=true_fa,
        true_md=true_md,
        true_count=count,
        true_mean_fa=mean_fa,
        true_mean_md=mean_md,
        u_fibre_edges=structural.row_of[wiring.ends[wiring.is_u]],
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
    if options.b_jitter_s_per_mm2 is not None and len(options.b_jitter_s_per_mm2) != len(options.shells):
        message = (
            f"b_jitter_s_per_mm2 has {len(options.b_jitter_s_per_mm2)} values for {len(options.shells)} shells; give "
            "one per shell."
        )
        raise OptionError(message)
    if options.field_of_view_mm is not None and len(options.field_of_view_mm) != 3:
        message = f"field_of_view_mm has {len(options.field_of_view_mm)} values; give three sizes: x, y and z."
        raise OptionError(message)
    if options.n_sessions > 1 and options.layout not in ("qsiprep", "bids"):
        message = f"n_sessions = {options.n_sessions} needs layout = qsiprep or bids; {options.layout} has one scan."
        raise OptionError(message)
    if options.label_numbers == "freesurfer":
        require_freesurfer_regions(options)


def _stored_order(
    mask: NDArray[np.bool_], plain: Grid, storage: str
) -> tuple[Grid, NDArray[np.bool_], NDArray[np.int64]]:
    """Grid and mask in storage order, and where each voxel of that mask stands in the plain one."""
    place = np.full(mask.shape, -1, dtype=np.int64)
    place[mask] = np.arange(np.count_nonzero(mask))
    stored_place = to_storage(place, storage)
    stored_mask = np.ascontiguousarray(stored_place >= 0)
    return storage_grid(plain, storage), stored_mask, stored_place[stored_mask]


def _edge_truth(
    wiring: Wiring, structural: StructuralImages, fa: ScalarMap, md: ScalarMap
) -> tuple[NDArray[np.float64], ...]:
    """Fibres, mean FA and mean MD per pair of rows of the region table, (N, N) each."""
    ends, n_regions = structural.row_of[wiring.ends], structural.parcellation.regions.n_regions
    count = _edge_sums(wiring, ends, np.ones(wiring.n_fibres), n_regions)
    per_fibre = [signals.mean_along_fibres(wiring, part.volume(), part.grid) for part in (fa, md)]
    with np.errstate(invalid="ignore"):
        mean_fa, mean_md = (_edge_sums(wiring, ends, part, n_regions) / count for part in per_fibre)
    return count, mean_fa, mean_md


def _edge_sums(
    wiring: Wiring, ends: NDArray[np.int64], values: NDArray[np.float64], n_regions: int
) -> NDArray[np.float64]:
    """Sum of a value per fibre over each pair of regions, (N, N) symmetric."""
    sums = np.zeros((n_regions, n_regions))
    per_bundle = np.bincount(wiring.bundle, values, minlength=len(ends))
    np.add.at(sums, (ends[:, 0], ends[:, 1]), per_bundle)
    np.add.at(sums, (ends[:, 1], ends[:, 0]), per_bundle)
    return sums
