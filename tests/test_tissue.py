"""Tissue maps from labels: every label has its tissue, on the labels' own grid or by shares on another."""

from __future__ import annotations

import heads
import numpy as np
import pytest
from heads import CORTEX, CSF, DEEP, LABEL_OF, WHITE

from tractome.datatypes.grid import Grid
from tractome.datatypes.parcellation import Parcellation
from tractome.errors import ImageError
from tractome.options import TissueOptions
from tractome.stages.tissue import (
    freesurfer_tissues,
    is_freesurfer,
    regions_shares,
    tissue_from_freesurfer,
)

PATHOLOGICAL = 4


def labelled():
    kinds, _, grid = heads.head()
    labels = np.zeros(kinds.shape, np.int64)
    for tissue, label in LABEL_OF.items():
        labels[kinds == tissue] = label
    return labels, grid


@pytest.mark.parametrize(
    ("tissue", "labels"),
    [
        (CORTEX, (3, 42, 8, 47, 1001, 2035, 1000, 11101, 12175, 17, 18, 53, 54)),
        (DEEP, (10, 11, 12, 13, 26, 49, 50, 51, 52, 58)),
        (WHITE, (2, 41, 7, 46, 16, 28, 60, 85, 251, 255, 3001, 4035, 13101, 14175, 5001, 5002, 77)),
        (CSF, (4, 43, 5, 44, 14, 15, 24, 31, 63, 72)),
        (PATHOLOGICAL, (25, 57)),
    ],
)
def test_each_label_has_the_tissue_of_its_structure(tissue, labels):
    known = freesurfer_tissues()
    assert {label: known.get(label) for label in labels} == dict.fromkeys(labels, tissue)


def test_every_label_of_the_bundled_tables_has_its_tissue():
    """Regions that the atlas calls cortex are cortex, deep ones deep grey (hippocampus and amygdala as asked)."""
    from tractome.io.atlases import list_atlases, read_atlas_regions

    known = freesurfer_tissues(TissueOptions(hippocampus="subcortical"))
    tables = [info.name for info in list_atlases() if info.name.startswith("freesurfer")]
    assert tables
    for name in tables:
        regions = read_atlas_regions(name)[1]
        tissue_of = {"cortex": CORTEX, "subcortex": DEEP, "cerebellum": CORTEX, "brainstem": WHITE}
        for label, structure, region in zip(regions.labels, regions.structures, regions.names, strict=True):
            assert known[int(label)] == tissue_of[structure], f"{name}: {region}"


def test_the_choices_change_what_they_name_and_nothing_else():
    plain = freesurfer_tissues()
    limbic = freesurfer_tissues(TissueOptions(hippocampus="subcortical"))
    dark = freesurfer_tissues(TissueOptions(hypointensities="pathological"))
    assert {label for label in plain if plain[label] != limbic[label]} == {17, 18, 53, 54}
    assert {limbic[label] for label in (17, 18, 53, 54)} == {DEEP}
    assert {label for label in plain if plain[label] != dark[label]} == {77, 78, 79}
    assert dark[77] == PATHOLOGICAL


def test_the_map_says_of_each_place_what_the_label_there_says():
    labels, grid = labelled()
    labels[2, 2, 2] = 9999
    tissue, unknown = tissue_from_freesurfer(labels, grid)
    assert unknown == (9999,)
    known = freesurfer_tissues()
    voxels = np.argwhere(labels > 0)[::97]
    there = np.rint(tissue.grid.to_voxel(grid.to_world(voxels))).astype(int)
    for voxel, place in zip(voxels, there, strict=True):
        label = int(labels[tuple(voxel)])
        expected = np.eye(5)[known[label]] if label in known else np.zeros(5)
        assert (tissue.fractions[tuple(place)] == expected).all()
    volumes = tissue.fractions.sum(axis=(0, 1, 2))
    assert volumes.sum() == (labels > 0).sum() - 1, "nothing is cut off"


@pytest.mark.parametrize("size_mm", [1.3, 2.5, 3.7])
def test_shares_on_another_grid_keep_the_volume_and_the_place_of_each_tissue(size_mm):
    labels, grid = labelled()
    turned = Grid(grid.shape, np.diag([-1.0, 1, -1, 1]) @ grid.affine)
    own, _ = tissue_from_freesurfer(labels, turned)
    shared, _ = tissue_from_freesurfer(labels, turned, TissueOptions(tissue_voxel_size_mm=size_mm))
    np.testing.assert_allclose(shared.grid.voxel_sizes_mm, size_mm)
    for each in range(4):
        ml = [m.fractions[..., each].sum(dtype=float) * m.grid.voxel_volume_mm3 for m in (own, shared)]
        assert ml[1] == pytest.approx(ml[0], rel=1e-4)
        centres = [
            (m.grid.to_world(np.argwhere(np.ones(m.grid.shape))) * m.fractions[..., each].reshape(-1, 1)).sum(axis=0)
            / m.fractions[..., each].sum()
            for m in (own, shared)
        ]
        np.testing.assert_allclose(centres[0], centres[1], atol=0.1)


def test_shares_on_a_grid_twice_as_coarse_are_means_of_eight():
    kinds = np.random.default_rng(0).choice([2, 1024], (8, 8, 8), p=[0.8, 0.2])
    kinds[:, :, :4] = 2
    grid = Grid((8, 8, 8), np.diag([1.0, 1, 1, 1]))
    tissue, _ = tissue_from_freesurfer(kinds, grid, TissueOptions(tissue_voxel_size_mm=2.0))
    expected = (kinds == 2).reshape(4, 2, 4, 2, 4, 2).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(tissue.fractions[..., WHITE], expected, atol=1e-6)
    np.testing.assert_allclose(tissue.grid.to_world((0, 0, 0)), (0.5, 0.5, 0.5))


def test_freesurfer_is_told_from_other_labels():
    labels, _ = labelled()
    assert is_freesurfer(labels)
    for n in range(2, 120):
        assert not is_freesurfer(np.arange(1, n).reshape(1, 1, -1)), "labels 1 to N are not FreeSurfer's"
    assert not is_freesurfer(np.where(labels == 2, 0, labels)), "no white matter"
    assert not is_freesurfer(np.where(labels == 1024, 0, labels)), "no cortex"
    assert not is_freesurfer(np.zeros((3, 3, 3), int))
    assert not is_freesurfer(np.array([2, 3, 100000]).reshape(1, 1, 3))


@pytest.mark.parametrize(
    ("removed", "lacks"), [((1024,), "no cortex"), ((2,), "no white matter"), ((1024, 2, 4, 10), "no cortex")]
)
def test_labels_without_cortex_or_white_matter_are_refused(removed, lacks):
    labels, grid = labelled()
    with pytest.raises(ImageError, match=lacks):
        tissue_from_freesurfer(np.where(np.isin(labels, removed), 0, labels), grid)


def test_regions_fill_the_voxels_they_fill():
    """A cube of 6 mm on voxels of 2 mm, half a voxel off: its share of every voxel is the overlap."""
    from tractome.datatypes.parcellation import RegionTable

    labels = np.zeros((20, 20, 20), int)
    labels[4:10, 4:10, 4:10] = 1
    labels[12, 12, 12], labels[14:16, 4:6, 4:6] = 2, 3
    fine = Grid(labels.shape, np.eye(4))
    names = ("thalamus-left", "hippocampus-left", "brainstem")
    table = RegionTable(
        np.array([1, 2, 3]), names, ("L", "L", "B"), ("subcortex", "subcortex", "brainstem"), ("",) * 3,
        np.full((3, 3), np.nan), "test",
    )  # fmt: skip
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = 1.5
    target = Grid((8, 8, 8), affine)
    parcellation = Parcellation.from_labels(labels, fine, table)
    deep, stem = regions_shares(parcellation, target, TissueOptions())
    assert deep.sum() * 8 == pytest.approx(216) and stem.sum() * 8 == pytest.approx(8)
    assert deep[2, 2, 2] == 1 and deep[1, 2, 2] == pytest.approx(0.5)
    both, _ = regions_shares(parcellation, target, TissueOptions(hippocampus="subcortical"))
    assert both.sum() * 8 == pytest.approx(217)
    far = Grid((4, 4, 4), np.diag([2.0, 2, 2, 1]) + np.eye(4, k=3) * 500)
    assert regions_shares(parcellation, far, TissueOptions())[0].sum() == 0
