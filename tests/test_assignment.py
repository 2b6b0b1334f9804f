"""Streamline ends to regions: against the slow twin, by its definition, and MRtrix3."""

from __future__ import annotations

import subprocess

import naive
import numpy as np
import pytest
import wirings

from tractome.datatypes.grid import Grid
from tractome.datatypes.parcellation import Parcellation
from tractome.datatypes.tractogram import StreamlineTable
from tractome.options import ASSIGNMENT_METHODS as METHOD_NAMES
from tractome.options import ConnectOptions
from tractome.stages.connect import ASSIGNMENT_METHODS, assign, summarise


def ends_table(ends_mm):
    ends = np.asarray(ends_mm, np.float32).reshape(-1, 2, 3)
    n = len(ends)
    ways = np.broadcast_to(np.float32([1, 0, 0]), ends.shape)
    return StreamlineTable(ends, np.zeros(n), {}, np.arange(n), {}, directions=ways)


def test_options_and_table_name_the_same_methods():
    assert set(METHOD_NAMES) == set(ASSIGNMENT_METHODS)


@pytest.mark.parametrize("radius_mm", [0.0, 1.0, 2.5, 4.0, 9.0])
@pytest.mark.parametrize("seed", range(4))
def test_radial_equals_the_slow_twin(seed, radius_mm):
    rng = np.random.default_rng(seed)
    grid = wirings.random_grid(rng, sheared=seed % 2 == 1)
    parcellation = wirings.parcellation(rng, grid, share=0.05)
    points_vox = rng.uniform(-3, np.array(grid.shape) + 2, (200, 3))
    points_mm = grid.to_world(points_vox).astype(np.float32)
    found = assign(ends_table(points_mm), parcellation, ConnectOptions(radius_mm=radius_mm)).reshape(-1)
    expected = [naive.nearest_row(parcellation.rows, p.astype(float), grid.affine, radius_mm) for p in points_mm]
    np.testing.assert_array_equal(found, expected)
    if radius_mm >= 2.5:
        assert (found >= 0).any() and (found < 0).any()


@pytest.mark.parametrize("seed", range(3))
def test_end_voxel_equals_the_slow_twin(seed):
    rng = np.random.default_rng(seed)
    grid = wirings.random_grid(rng)
    parcellation = wirings.parcellation(rng, grid)
    points_mm = grid.to_world(rng.uniform(-3, np.array(grid.shape) + 2, (200, 3))).astype(np.float32)
    found = assign(ends_table(points_mm), parcellation, ConnectOptions(assignment="end-voxel")).reshape(-1)
    expected = [naive.end_voxel_row(parcellation.rows, p) for p in grid.to_voxel(points_mm)]
    np.testing.assert_array_equal(found, expected)


def two_voxels(affine, labels=(10, 11)):
    """Region of label 10 at voxel (1, 2, 2), of label 11 at (3, 2, 2)."""
    volume = np.zeros((5, 5, 5), np.int64)
    volume[1, 2, 2], volume[3, 2, 2] = labels
    return Parcellation.from_labels(volume, Grid((5, 5, 5), affine), wirings.region_table(2))


def test_distance_is_from_the_point_to_the_voxel_centre_in_mm():
    parcellation = two_voxels(np.diag([2.0, 1.0, 5.0, 1.0]))
    centre = np.array([2.0, 2.0, 10.0])
    for offset, radius_mm, expected in [
        ([0, 0, 3.9], 4.0, 0),
        ([0, 0, 4.1], 4.0, -1),
        ([0, 3.9, 0], 4.0, 0),
        ([0, 4.1, 0], 4.0, -1),
        ([-3.9, 0, 0], 4.0, 0),
        ([0, 0, 2.0], 1.9, -1),  # in the region's own voxel, yet further from its centre than the radius
    ]:
        rows = assign(ends_table([centre + offset, centre]), parcellation, ConnectOptions(radius_mm=radius_mm))
        assert rows.tolist() == [[expected, 0]], offset


@pytest.mark.parametrize("flip", [1, -1])
@pytest.mark.parametrize("labels", [(10, 11), (11, 10)])
def test_ties_go_to_the_smaller_world_x_whatever_the_labels_and_the_storage(flip, labels):
    affine = np.diag([flip * 2.0, 2.0, 2.0, 1.0])
    if flip < 0:
        affine[0, 3] = 8.0
    parcellation = two_voxels(affine, labels)
    middle = np.array([4.0, 4.0, 4.0])
    left = parcellation.grid.to_voxel([2.0, 4.0, 4.0]).astype(int)
    rows = assign(ends_table([middle, middle]), parcellation, ConnectOptions(radius_mm=4))
    assert (rows == parcellation.rows[tuple(left)]).all()


@pytest.mark.parametrize("assignment", METHOD_NAMES)
def test_points_far_away_or_not_numbers_are_unassigned(assignment):
    parcellation = two_voxels(np.eye(4))
    far = [[1e30, 0, 0], [np.nan, 2, 2], [np.inf, 2, 2], [-1e9, 2, 2], [1e4, 1e4, 1e4], [-3, -3, -3]]
    assert (assign(ends_table(far), parcellation, ConnectOptions(assignment=assignment)) == -1).all()


@pytest.mark.real
@pytest.mark.parametrize("radius_mm", [1.0, 2.0, 4.0, 8.0])
def test_radial__mrtrix_comparison(radius_mm, golden, mrtrix, tmp_path):
    command = ["tck2connectome", golden.tracks, golden.nodes, tmp_path / "count.csv", "-quiet", "-out_assignments"]
    command += [tmp_path / "rows.txt", "-assignment_radial_search", radius_mm]
    subprocess.run(list(map(str, command)), check=True)
    theirs = np.loadtxt(tmp_path / "rows.txt", dtype=int) - 1
    ours = assign(summarise(golden.block, []), golden.parcellation, ConnectOptions(radius_mm=radius_mm))
    np.testing.assert_array_equal(ours, theirs)
