"""Tissue maps from a T1 and from a scan alone: on a head whose tissues are known."""

from __future__ import annotations

import dataclasses
from functools import cache

import heads
import numpy as np
import pytest
from heads import CORTEX, CSF, DEEP, WHITE, dice

from tractome.datatypes.grid import Grid
from tractome.datatypes.parcellation import Parcellation, RegionTable
from tractome.datatypes.tissue import TissueMap
from tractome.errors import ImageError
from tractome.options import TissueOptions
from tractome.stages.tissue import DiffusionMaps, Expected, expected_from_regions, tissue_from_dwi, tissue_from_t1


@cache
def from_t1(bias=0.3, with_template=True):
    _, fractions, grid = heads.head()
    expected = heads.template() if with_template else Expected(grid, deep=fractions[..., DEEP])
    return tissue_from_t1(heads.t1_image(bias=bias), fractions.any(axis=3), expected)


@cache
def from_dwi():
    return tissue_from_dwi(heads.diffusion_maps(), heads.template())


def agreement(tissue: TissueMap):
    _, truth, _ = heads.head()
    return [dice(tissue.fractions[..., each], truth[..., each]) for each in range(4)]


@pytest.mark.parametrize("made", [from_t1, from_dwi])
def test_what_is_found_is_a_tissue_map_on_the_images_grid(made):
    _, truth, grid = heads.head()
    tissue = made()
    assert tissue.grid.is_same(grid)
    total = tissue.fractions.sum(axis=3)
    inside = truth.any(axis=3)
    np.testing.assert_allclose(total[inside], 1, atol=1e-5)
    assert (total[~inside] == 0).all()


@pytest.mark.parametrize("bias", [0.0, 0.3, 0.6])
def test_a_t1_gives_the_tissues_whatever_its_bias_field(bias):
    found = agreement(from_t1(bias))
    assert found[CORTEX] > 0.93 and found[WHITE] > 0.95 and found[CSF] > 0.85 and found[DEEP] > 0.97, found


def test_a_t1_gives_the_tissues_without_a_template():
    found = agreement(from_t1(0.0, with_template=False))
    assert found[CORTEX] > 0.9 and found[WHITE] > 0.93 and found[CSF] > 0.8 and found[DEEP] > 0.97, found


def test_a_scan_alone_gives_the_tissues():
    found = agreement(from_dwi())
    assert found[CORTEX] > 0.8 and found[WHITE] > 0.88 and found[CSF] > 0.75 and found[DEEP] > 0.85, found


def test_partial_volumes_of_a_t1_are_nearer_to_the_truth_than_whole_voxels():
    _, truth, _ = heads.head()
    shares = from_t1().fractions[..., (CORTEX, WHITE, CSF)]
    exact = truth[..., (CORTEX, WHITE, CSF)]
    whole = np.eye(3)[shares.argmax(axis=3)]
    edge = (exact.max(axis=3) < 0.9) & truth.any(axis=3) & (truth[..., DEEP] == 0)
    assert np.abs(shares - exact)[edge].mean() < 0.8 * np.abs(whole - exact)[edge].mean()


def test_deep_grey_matter_is_where_the_regions_are_though_it_is_as_bright_as_white_matter():
    _, truth, _ = heads.head()
    inside = truth[..., DEEP] > 0.9
    for tissue in (from_t1(), from_dwi()):
        assert (tissue.fractions[inside][:, DEEP] > 0.85).mean() > 0.9
    without = tissue_from_t1(
        heads.t1_image(), truth.any(axis=3), dataclasses.replace(heads.template(), deep=None)
    ).fractions
    assert without[..., DEEP].sum() == 0 and (without[inside][:, WHITE] > 0.5).mean() > 0.5


def test_the_brainstem_is_white_matter():
    _, truth, _ = heads.head()
    stem = (truth[..., CORTEX] > 0.5).astype(np.float32)
    stem[:, :, 12:] = 0
    found = tissue_from_t1(heads.t1_image(), truth.any(axis=3), dataclasses.replace(heads.template(), stem=stem))
    assert (found.fractions[stem > 0][:, CORTEX] == 0).all()
    assert found.fractions[stem > 0][:, WHITE].mean() > 0.9


@pytest.mark.parametrize("factor", [0.01, 1000.0])
def test_units_do_not_matter(factor):
    _, truth, _ = heads.head()
    scaled = tissue_from_t1(heads.t1_image() * np.float32(factor), truth.any(axis=3), heads.template())
    np.testing.assert_allclose(scaled.fractions, from_t1().fractions, atol=1e-3)
    maps = heads.diffusion_maps()
    brighter = tissue_from_dwi(dataclasses.replace(maps, b0=maps.b0 * np.float32(factor)), heads.template())
    np.testing.assert_allclose(brighter.fractions, from_dwi().fractions, atol=1e-3)


@pytest.mark.parametrize("kind", ["t1", "dwi"])
def test_order_and_direction_of_the_axes_do_not_matter(kind):
    _, truth, grid = heads.head()

    def turned(volume):
        return np.ascontiguousarray(np.flip(np.swapaxes(volume, 0, 2), 1))

    affine = grid.affine[:, [2, 1, 0, 3]].copy()
    affine[:3, 3] += affine[:3, 1] * (grid.shape[1] - 1)
    affine[:3, 1] *= -1
    other = Grid(grid.shape[::-1], affine)
    plain = heads.template()
    expected = Expected(other, turned(plain.grey), turned(plain.white), turned(plain.deep))
    if kind == "t1":
        found, same = tissue_from_t1(turned(heads.t1_image()), turned(truth.any(axis=3)), expected), from_t1()
    else:
        maps = heads.diffusion_maps()
        parts = {name: turned(getattr(maps, name)) for name in ("fa", "md", "b0", "mask")}
        found, same = tissue_from_dwi(DiffusionMaps(**parts), expected), from_dwi()
    # The mixture learns from every so-manieth voxel, of which others are taken in another order.
    assert dice(found.fractions, np.stack([turned(same.fractions[..., t]) for t in range(5)], -1)) > 0.995


def test_the_same_images_give_the_same_bytes():
    assert (
        tissue_from_dwi(heads.diffusion_maps(), heads.template()).fractions.tobytes() == from_dwi().fractions.tobytes()
    )
    _, truth, _ = heads.head()
    again = tissue_from_t1(heads.t1_image(), truth.any(axis=3), heads.template())
    assert again.fractions.tobytes() == from_t1().fractions.tobytes()


def test_shares_of_several_shells_help():
    """Noisy maps with the true shares beside them come nearer to the truth than without."""
    _, truth, _ = heads.head()
    noisy = heads.diffusion_maps(noise=3.0)
    shares = truth[..., (CSF, CORTEX, WHITE)].copy()
    shares[..., 1] += truth[..., DEEP]
    alone = tissue_from_dwi(noisy, heads.template())
    helped = tissue_from_dwi(dataclasses.replace(noisy, shares=shares), heads.template())
    assert all(b > a + 0.005 for a, b in zip(agreement(alone)[:3:2], agreement(helped)[:3:2], strict=True))


def regions_of_head(keep=None):
    kinds, _, grid = heads.head()
    rows = np.where(kinds == CORTEX, 1, np.where(kinds == DEEP, 2, 0))
    if keep is not None:
        rows[~keep] = 0
    table = RegionTable(
        np.array([1, 2]), ("cortex-left", "thalamus-left"), ("L", "L"), ("cortex", "subcortex"), ("", ""),
        np.full((2, 3), np.nan), "own",
    )  # fmt: skip
    return Parcellation.from_labels(rows, grid, table), grid


def test_own_regions_stand_in_for_a_template():
    _, truth, _ = heads.head()
    parcellation, grid = regions_of_head()
    mask = truth.any(axis=3)
    expected = expected_from_regions(parcellation, grid, mask, TissueOptions())
    assert expected.has_template
    with_regions = tissue_from_dwi(heads.diffusion_maps(), expected)
    bare = tissue_from_dwi(heads.diffusion_maps(), Expected(grid))
    found = agreement(with_regions)
    assert found[CORTEX] > 0.85 and found[WHITE] > 0.9 and found[CSF] > 0.75
    assert found[CORTEX] > agreement(bare)[CORTEX]


def test_a_few_regions_do_not_stand_for_all_grey_matter():
    _, truth, _ = heads.head()
    keep = np.zeros(truth.shape[:3], bool)
    keep[20:28, 20:28] = True
    parcellation, grid = regions_of_head(keep)
    expected = expected_from_regions(parcellation, grid, truth.any(axis=3), TissueOptions())
    assert not expected.has_template and expected.deep.sum() > 0


def test_what_has_no_tensor_is_outside():
    maps = heads.diffusion_maps()
    fa, md = maps.fa.copy(), maps.md.copy()
    fa[20:24, 20:24, 20:24], md[24:26, 20:24, 20:24] = np.nan, 0
    tissue = tissue_from_dwi(dataclasses.replace(maps, fa=fa, md=md), heads.template())
    assert (tissue.fractions[20:26, 20:24, 20:24] == 0).all()
    assert np.isfinite(tissue.fractions).all()


def test_a_t1_with_nan_is_read_where_it_has_values():
    _, truth, _ = heads.head()
    image = heads.t1_image()
    image[20:24, 20:24, 20:24], image[10, 20, 20] = np.nan, np.inf
    tissue = tissue_from_t1(image, truth.any(axis=3), heads.template())
    assert (tissue.fractions[20:24, 20:24, 20:24] == 0).all()
    assert dice(tissue.fractions[..., WHITE], truth[..., WHITE]) > 0.93


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda image: np.zeros_like(image), "nothing but zeros"),
        (lambda image: np.full_like(image, 5.0), "T1 contrast|divided into tissues"),
        (lambda image: np.where(image > 0, 1e6 / np.maximum(image, 50), 0).astype(np.float32), "contrast|divided"),
    ],
)
def test_an_image_that_is_no_t1_is_refused(spoil, complaint):
    _, truth, _ = heads.head()
    with pytest.raises(ImageError, match=complaint):
        tissue_from_t1(spoil(heads.t1_image()), truth.any(axis=3), heads.template())


def test_a_scan_without_a_brain_is_refused():
    maps = heads.diffusion_maps()
    nothing = dataclasses.replace(maps, fa=np.full_like(maps.fa, np.nan))
    with pytest.raises(ImageError, match="No voxel of the brain mask"):
        tissue_from_dwi(nothing, heads.template())
    flat = dataclasses.replace(maps, fa=np.full_like(maps.fa, 0.3), md=np.full_like(maps.md, 7e-4), mask=maps.mask)
    few = np.zeros_like(maps.mask)
    few[20:23, 20:23, 20:23] = True
    with pytest.raises(ImageError, match="Only 27 voxels"):
        tissue_from_dwi(dataclasses.replace(flat, mask=few), heads.template())
