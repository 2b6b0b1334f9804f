"""Parcellate: labels on any grid become rows; what does not fit is said."""

import logging

import numpy as np
import pytest

from tractome.datatypes.grid import Grid
from tractome.datatypes.parcellation import RegionTable
from tractome.errors import AtlasError, SpaceError
from tractome.stages.parcellate import parcellate, regions_from_labels, require_most_regions


def grid_of(shape, spacing, origin, turn=None):
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if turn is None else turn) * spacing
    affine[:3, 3] = origin
    return Grid(shape, affine)


def table(labels, atlas="own"):
    n_regions = len(labels)
    return RegionTable(
        labels=np.array(labels),
        names=tuple(f"name-{label}" for label in labels),
        hemispheres=("B",) * n_regions,
        structures=("",) * n_regions,
        networks=("",) * n_regions,
        centroids_mm=np.full((n_regions, 3), np.nan),
        atlas=atlas,
    )


@pytest.fixture
def dwi():
    """A DWI grid of 2 mm with a brain in it."""
    grid = grid_of((20, 22, 18), 2.0, (-20.0, -22.0, -18.0))
    world = grid.to_world(np.argwhere(np.ones(grid.shape)))
    mask = (np.linalg.norm(world, axis=1) < 15).reshape(grid.shape)
    return mask, grid


def two_balls(grid):
    """Labels 7 (left of the midline) and 30 (right) as balls fixed in the world."""
    world = grid.to_world(np.argwhere(np.ones(grid.shape, dtype=bool)))
    labels = np.zeros(len(world), dtype=np.int64)
    labels[np.linalg.norm(world - (-7, 0, 0), axis=1) < 5] = 7
    labels[np.linalg.norm(world - (7, 2, 1), axis=1) < 5] = 30
    return labels.reshape(grid.shape)


def oblique():
    c, s = np.cos(0.4), np.sin(0.4)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


@pytest.mark.parametrize(
    "grid",
    [
        grid_of((45, 41, 37), 1.0, (-22.0, -20.0, -18.0)),
        grid_of((45, 41, 37), 1.0, (22.0, -20.0, -18.0), np.diag([-1.0, 1.0, 1.0])),
        grid_of((45, 41, 37), 1.0, (22.0, 20.0, -18.0), np.diag([-1.0, -1.0, 1.0])),
        grid_of((60, 60, 40), 1.0, (-15.0, -38.0, -18.0), oblique()),
        grid_of((30, 30, 25), 1.7, (-24.0, -24.0, -20.0)),
    ],
    ids=["RAS", "LAS", "LPS", "oblique", "1.7mm"],
)
def test_centroids_and_volumes_do_not_depend_on_the_grid(dwi, grid):
    result = parcellate(two_balls(grid), grid, table([30, 7]), *dwi)
    assert np.allclose(result.centroids_mm, [(7, 2, 1), (-7, 0, 0)], atol=0.35)
    assert np.allclose(result.volumes_mm3, 4 / 3 * np.pi * 125, rtol=0.1)
    assert result.grid is grid
    assert result.missing == () and result.unknown_labels == ()


def test_rows_follow_the_table_not_the_labels(dwi):
    grid = dwi[1]
    labels = two_balls(grid)
    one, other = (parcellate(labels, grid, table(order), *dwi) for order in ([7, 30], [30, 7]))
    assert np.array_equal(one.rows == 0, other.rows == 1)
    assert np.array_equal(one.rows == 0, labels == 7)
    assert (one.rows[labels == 0] == -1).all()


def test_labels_that_the_table_lacks_are_left_out_and_listed(dwi, caplog):
    grid = dwi[1]
    with caplog.at_level(logging.WARNING):
        result = parcellate(two_balls(grid), grid, table([7]), *dwi)
    assert result.unknown_labels == (30,)
    assert result.regions.n_regions == 1
    assert (result.rows[two_balls(grid) == 30] == -1).all()
    assert "30" in caplog.text


def test_missing_regions_keep_their_row(dwi, caplog):
    grid = dwi[1]
    with caplog.at_level(logging.WARNING):
        result = parcellate(two_balls(grid), grid, table([5, 7, 30, 99]), *dwi)
    assert result.missing == ("name-5", "name-99")
    assert result.regions.n_regions == 4
    assert result.volumes_mm3[[0, 3]].tolist() == [0, 0]
    assert np.isnan(result.centroids_mm[[0, 3]]).all()
    assert (result.rows[two_balls(grid) == 7] == 1).all()
    assert "name-99" in caplog.text


def test_labels_without_a_table_are_named_by_number(dwi):
    grid = dwi[1]
    result = parcellate(two_balls(grid), grid, None, *dwi)
    assert result.regions.names == ("region-0007", "region-0030")
    assert result.regions.from_image
    assert result.missing == ()
    assert regions_from_labels(two_balls(grid), grid).labels.tolist() == [7, 30]


def test_labels_in_another_space_are_refused_with_both_boxes(dwi):
    grid = dwi[1]
    far = Grid(grid.shape, grid.affine + np.array([[0, 0, 0, 500], [0] * 4, [0] * 4, [0] * 4]))
    with pytest.raises(SpaceError, match=r"Labels: x 490 to .*brain mask: x -14 to 14") as caught:
        parcellate(two_balls(grid), far, None, *dwi)
    assert "T1" in str(caught.value)


def test_labels_that_only_brush_the_brain_are_refused(dwi):
    grid = dwi[1]
    labels = two_balls(grid)
    beside = Grid(grid.shape, grid.affine + np.array([[0, 0, 0, 29], [0] * 4, [0] * 4, [0] * 4]))
    with pytest.raises(SpaceError, match="inside the brain mask"):
        parcellate(labels, beside, None, *dwi)


def test_a_scan_of_a_part_of_the_brain_is_accepted_with_a_word(dwi, caplog):
    mask, grid = dwi
    slab = mask.copy()
    slab[:, :, :9] = slab[:, :, 10:] = False
    with caplog.at_level(logging.WARNING):
        result = parcellate(two_balls(grid), grid, None, slab, grid)
    assert result.missing == ()
    assert "% of the labelled voxels" in caplog.text


def test_a_table_for_another_image_is_refused(dwi):
    grid = dwi[1]
    with pytest.raises(AtlasError, match="None of the labels"):
        parcellate(two_balls(grid), grid, table([1, 2]), *dwi)


def test_empty_and_negative_labels_are_refused(dwi):
    mask, grid = dwi
    with pytest.raises(AtlasError, match="empty"):
        parcellate(np.zeros(grid.shape, dtype=np.int64), grid, None, mask, grid)
    with pytest.raises(AtlasError, match="empty"):
        parcellate(np.zeros(grid.shape, dtype=np.int64), grid, table([1]), mask, grid)
    labels = two_balls(grid)
    labels[0, 0, 0] = -2
    with pytest.raises(AtlasError, match="negative"):
        regions_from_labels(labels, grid)


@pytest.mark.parametrize("name", ["desikan-killiany-83", "freesurfer-dk-84"])
def test_an_image_of_another_atlas_is_refused(name):
    from tractome.io.atlases import read_atlas_regions

    regions = read_atlas_regions(name)[1]
    half = (regions.n_regions + 1) // 2
    require_most_regions(regions.labels.reshape(-1, 1, 1), regions)
    require_most_regions(np.append(regions.labels[:half], 0).reshape(-1, 1, 1), regions)
    with pytest.raises(AtlasError, match=rf"holds {half - 1} of .*Leave out --atlas.*--regions"):
        require_most_regions(regions.labels[: half - 1].reshape(-1, 1, 1), regions)
