"""Maps sampled along streamlines: against the slow twin, analytic cases, MRtrix3."""

from __future__ import annotations

import subprocess

import naive
import numpy as np
import pytest
import wirings

from tractome.datatypes.fields import ScalarMap
from tractome.datatypes.grid import Grid
from tractome.datatypes.prepared_maps import prepare_maps
from tractome.errors import TableError
from tractome.stages.connect import concatenate, summarise

CUBE = Grid((6, 5, 4), np.diag([2.0, 2.0, 2.0, 1.0]))


def ramp(grid=CUBE, name="fa"):
    """Value = voxel x + 10: linear, so trilinear sampling is exact."""
    values = np.broadcast_to(np.arange(grid.shape[0])[:, None, None] + 10.0, grid.shape)
    return ScalarMap(name, "unitless", values.reshape(-1), np.ones(grid.shape, bool), grid)


@pytest.mark.parametrize("seed", range(8))
def test_equals_the_slow_twin(seed):
    rng = np.random.default_rng(seed)
    grid = wirings.random_grid(rng, sheared=seed % 2 == 1)
    maps = [wirings.scalar_map(rng, grid, "fa"), wirings.scalar_map(rng, grid, "md", share=0.5)]
    streamlines = wirings.tractogram(rng, grid)
    table = summarise(streamlines, maps)
    for index in range(streamlines.n_streamlines):
        points = streamlines.streamline(index)
        assert table.length_mm[index] == pytest.approx(naive.length(points), rel=1e-6, abs=1e-6)
        np.testing.assert_array_equal(table.ends_mm[index], points[[0, -1]])
        for map_ in maps:
            expected = naive.streamline_mean(map_.volume(np.nan), points, grid.to_voxel(points))
            np.testing.assert_allclose(table.means[map_.name][index], expected, rtol=2e-6)
    assert any(np.isnan(table.means["md"])), "the case of a streamline that never meets the map must occur"


@pytest.mark.parametrize("n_maps", [1, 2, 3])
def test_long_streamlines_and_any_number_of_maps_equal_the_slow_twin(n_maps):
    # Longer than what is worked out in one go, by a little and by much; up to the last voxel of the image.
    rng = np.random.default_rng(n_maps)
    grid = wirings.random_grid(rng)
    maps = [wirings.scalar_map(rng, grid, name, share=0.9) for name in ("fa", "md", "ad")[:n_maps]]
    ways = [np.cumsum(rng.normal(0, 0.2, (n, 3)), axis=0) + np.array(grid.shape) / 2 for n in (64, 65, 66, 130, 300)]
    ways.append(np.linspace(np.zeros(3), np.array(grid.shape) - 1.0, 128))
    streamlines = wirings.block([grid.to_world(way) for way in ways])
    table = summarise(streamlines, maps)
    for index in range(len(ways)):
        points = streamlines.streamline(index)
        assert table.length_mm[index] == pytest.approx(naive.length(points), rel=1e-6)
        for map_ in maps:
            expected = naive.streamline_mean(map_.volume(np.nan), points, grid.to_voxel(points))
            np.testing.assert_allclose(table.means[map_.name][index], expected, rtol=2e-6)


def test_mean_is_the_integral_over_the_length():
    # 2 mm at the mean of 10 and 11, then 4 mm at that of 11 and 13: not the mean over points (11.33).
    table = summarise(wirings.block([np.array([[0, 2, 2], [2, 2, 2], [6, 2, 2]], float)]), [ramp()])
    assert table.means["fa"][0] == pytest.approx((2 * 10.5 + 4 * 12) / 6)
    assert table.length_mm[0] == pytest.approx(6)


def test_one_point_has_no_length_and_the_value_there():
    table = summarise(wirings.block([np.array([[3.0, 2, 2]]), np.array([[3.0, 2, 2], [3.0, 2, 2]])]), [ramp()])
    np.testing.assert_array_equal(table.length_mm, [0, 0])
    np.testing.assert_allclose(table.means["fa"], [11.5, 11.5])


def test_points_outside_the_map_are_left_out_with_their_length():
    inside = np.array([[2, 2, 2], [4, 2, 2]], float)
    leaving = np.array([[2, 2, 2], [4, 2, 2], [4, 2, -40]], float)
    outside = np.array([[2, 2, -40], [4, 2, -40]], float)
    means = summarise(wirings.block([inside, leaving, outside]), [ramp()]).means["fa"]
    assert means[0] == pytest.approx(11.5)
    # Point 4 mm now also stands for half of the long segment: 1 mm at 11, 22 mm at 12.
    assert means[1] == pytest.approx((1 * 11 + 22 * 12) / 23)
    assert np.isnan(means[2])


def test_value_does_not_fade_towards_the_border_of_the_mask_or_image():
    mask = np.zeros(CUBE.shape, bool)
    mask[2:4] = True
    flat = ScalarMap("fa", "unitless", np.full(int(mask.sum()), 0.5), mask, CUBE)
    edge = np.array([[3.1, 2, 2], [6.9, 2, 2], [6.9, -0.9, -0.9]], float)
    assert summarise(wirings.block([edge]), [flat]).means["fa"][0] == pytest.approx(0.5)


def test_reversal_changes_nothing():
    rng = np.random.default_rng(5)
    grid = wirings.random_grid(rng)
    maps, streamlines = [wirings.scalar_map(rng, grid)], wirings.tractogram(rng, grid)
    turned = wirings.block([streamlines.streamline(i)[::-1] for i in range(streamlines.n_streamlines)])
    one, two = summarise(streamlines, maps), summarise(turned, maps)
    np.testing.assert_allclose(one.means["fa"], two.means["fa"], rtol=1e-6)
    np.testing.assert_allclose(one.length_mm, two.length_mm, rtol=1e-6)
    np.testing.assert_array_equal(one.ends_mm, two.ends_mm[:, ::-1])


def test_blocks_and_preparation_change_no_byte():
    rng = np.random.default_rng(6)
    grid = wirings.random_grid(rng)
    maps = [wirings.scalar_map(rng, grid, "fa"), ramp(grid, "md")]
    whole = wirings.tractogram(rng, grid, 40)
    pieces = [wirings.block([whole.streamline(i) for i in part]) for part in (range(7), range(7, 40))]
    prepared = prepare_maps(maps)
    joined = concatenate([summarise(piece, prepared) for piece in pieces])
    one = summarise(whole, maps)
    for name in ("fa", "md"):
        assert joined.means[name].tobytes() == one.means[name].tobytes()
    assert joined.length_mm.tobytes() == one.length_mm.tobytes()


def test_maps_on_different_grids():
    other = Grid((12, 10, 8), np.diag([1.0, 1.0, 1.0, 1.0]))
    streamlines = wirings.block([np.array([[2, 2, 2], [6, 3, 4]], float)])
    table = summarise(streamlines, [ramp(), ramp(other, "md")])
    np.testing.assert_allclose([table.means["fa"][0], table.means["md"][0]], [12, 14])
    assert list(table.means) == ["fa", "md"]


def test_no_streamlines_give_an_empty_table():
    table = summarise(wirings.block([]), [ramp()])
    assert table.n_streamlines == 0 and table.means["fa"].shape == (0,)


def test_maps_of_one_name_are_refused():
    with pytest.raises(TableError, match="name of its own"):
        prepare_maps([ramp(), ramp()])


def test_tables_of_different_maps_are_not_joined():
    streamlines = wirings.block([np.array([[2, 2, 2], [6, 3, 4]], float)])
    with pytest.raises(TableError, match="same columns"):
        concatenate([summarise(streamlines, [ramp()]), summarise(streamlines, [])])
    with pytest.raises(TableError, match="no streamline table"):
        concatenate([])


@pytest.mark.real
@pytest.mark.parametrize("name", ["fa", "md"])
def test_means__mrtrix_comparison(name, golden, mrtrix, tmp_path):
    out = tmp_path / "means.txt"
    command = ["tcksample", golden.tracks, golden.folder / f"{name}.nii.gz", out, "-stat_tck", "mean", "-quiet"]
    subprocess.run(list(map(str, command)), check=True)
    theirs = np.loadtxt(out)
    ours = summarise(golden.block, golden.maps).means[name]
    assert np.isfinite(theirs).all()
    # MRtrix3 adds in single precision along the streamline: a few 1e-6 at most, far less at the median.
    np.testing.assert_allclose(ours, theirs, rtol=2e-6)
    assert np.median(np.abs(ours / theirs - 1)) < 1e-7
