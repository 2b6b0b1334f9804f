"""Register on real scans: the atlas lands on the right gyri with a T1 and without, and a T1 that lies is refused."""

import dataclasses

import numpy as np
import pytest

from tractome.datatypes.grid import Grid
from tractome.datatypes.parcellation import Parcellation
from tractome.errors import RegistrationError
from tractome.io.atlases import read_atlas, read_template
from tractome.io.images import read_volume
from tractome.io.subjects import read_diffusion
from tractome.options import FitOptions, ParcellateOptions, ReadOptions
from tractome.stages.fit import fit_tensors, tensor_maps
from tractome.stages.mask import make_brain_mask
from tractome.stages.register import register_fa, register_t1, warp_labels

pytestmark = pytest.mark.real

OPTIONS = ParcellateOptions()


@dataclasses.dataclass
class Scan:
    b0: np.ndarray
    fa: np.ndarray
    mask: np.ndarray
    grid: Grid


def read_scan(folder):
    image = read_diffusion(
        folder / "dwi.nii.gz", folder / "dwi.bval", folder / "dwi.bvec", make_brain_mask, ReadOptions()
    ).image
    fa = tensor_maps(fit_tensors(image, FitOptions()))["fa"]
    volumes = []
    for values in (image.mean_b0, fa.values):
        volume = np.zeros(image.grid.shape, dtype=np.float32)
        volume[image.mask] = np.nan_to_num(values)
        volumes.append(volume)
    return Scan(*volumes, image.mask, image.grid)


@pytest.fixture(scope="module")
def philips(shared_data):
    return read_scan(shared_data / "philips_dwi_t1")


@pytest.fixture(scope="module")
def philips_t1(shared_data):
    return read_volume(shared_data / "philips_dwi_t1" / "T1w.nii.gz")


@pytest.fixture(scope="module")
def template():
    return read_template()


@pytest.fixture(scope="module")
def through_t1(philips, philips_t1, template):
    return register_t1(*philips_t1, philips.b0, philips.grid, philips.mask, template, OPTIONS)


def parcellation_of(registration, name="desikan-killiany-83"):
    atlas = read_atlas(name)
    labels, grid = warp_labels(registration, atlas.labels, atlas.grid)
    return Parcellation.from_labels(labels, grid, atlas.regions)


def require_anatomy(parcellation):
    """What must hold in any upright head: sides, front before back, the brainstem below."""
    centre = dict(zip(parcellation.regions.names, parcellation.centroids_mm, strict=True))
    for name in centre:
        if name.endswith("-left"):
            assert centre[name][0] < centre[name.replace("-left", "-right")][0], name
    for side in ("left", "right"):
        assert centre[f"frontalpole-{side}"][1] > centre[f"precentral-{side}"][1] > centre[f"cuneus-{side}"][1]
        assert centre[f"paracentral-{side}"][2] > centre[f"insula-{side}"][2] > centre[f"entorhinal-{side}"][2]
    assert centre["brainstem"][2] < centre["thalamus-left"][2]


def test_t1_path_on_a_real_scan(philips, philips_t1, through_t1):
    quality = through_t1.quality
    assert quality.correlation > 0.65 and quality.white_matter_dice > 0.7
    assert quality.folded_fraction == 0
    assert 1.2e6 < quality.brain_volume_mm3 < 1.8e6
    assert quality.dwi_to_t1_mutual_information > 0.2
    assert quality.dwi_to_t1_detail > 0.45 and quality.dwi_to_t1_coverage > 0.97
    parcellation = parcellation_of(through_t1)
    assert parcellation.missing == () and parcellation.unknown_labels == ()
    require_anatomy(parcellation)
    centre = dict(zip(parcellation.regions.names, parcellation.centroids_mm, strict=True))
    assert centre["precentral-left"][0] < 0 < centre["precentral-right"][0]
    # Deep grey is no white matter and no fluid, in the T1 and in the FA map: labels lie where the tissue is.
    t1, t1_grid = philips_t1
    rows = parcellation.rows
    names = parcellation.regions.names

    def mean_t1(*wanted):
        inside = np.isin(rows, [names.index(name) for name in wanted])
        return float(np.median(t1[inside]))

    white = float(np.percentile(t1[rows >= 0], 95))
    assert 0.5 * white < mean_t1("putamen-left", "putamen-right") < 0.97 * white
    assert t1_grid.shape == rows.shape
    cortex = np.array(parcellation.regions.structures) == "cortex"
    deep = np.array(parcellation.regions.structures) == "subcortex"
    for kind, limit in ((cortex, 0.25), (deep, 0.4)):
        world = parcellation.grid.to_world(np.argwhere(np.isin(rows, np.flatnonzero(kind))))[::7]
        voxels = np.rint(philips.grid.to_voxel(world)).astype(int)
        voxels = voxels[((voxels >= 0) & (voxels < philips.grid.shape)).all(axis=1)]
        assert philips.fa[tuple(voxels.T)].mean() < limit


def test_fa_path_agrees_with_the_t1_path(philips, through_t1, template):
    found = register_fa(philips.fa, philips.grid, philips.mask, template, OPTIONS)
    assert found.quality.correlation > 0.6
    by_fa, by_t1 = parcellation_of(found), parcellation_of(through_t1)
    require_anatomy(by_fa)
    apart = np.linalg.norm(by_fa.centroids_mm - by_t1.centroids_mm, axis=1)
    assert np.median(apart) < 3.0
    assert np.percentile(apart, 90) < 6.0


def test_fa_path_with_the_top_and_the_bottom_cut(shared_data, template):
    scan = read_scan(shared_data / "siemens_42vol")
    found = register_fa(scan.fa, scan.grid, scan.mask, template, OPTIONS)
    assert found.quality.correlation > 0.6 and found.quality.white_matter_dice > 0.7
    parcellation = parcellation_of(found)
    assert len(parcellation.missing) <= 4
    require_anatomy(parcellation)


def test_a_mirrored_t1_is_told_by_the_b0(philips, philips_t1, template):
    t1, grid = philips_t1
    affine = grid.affine.copy()
    affine[0] *= -1
    affine[0, 3] += 2 * grid.to_world((np.array(grid.shape) - 1) / 2)[0]
    with pytest.raises(RegistrationError, match="Left and right are exchanged"):
        register_t1(t1, Grid(grid.shape, affine), philips.b0, philips.grid, philips.mask, template, OPTIONS)


@pytest.mark.parametrize("name", ["siemens_42vol", "siemens_3mm"])
def test_a_t1_of_another_person_is_refused(shared_data, philips_t1, template, name):
    other = read_scan(shared_data / name)
    with pytest.raises(RegistrationError, match=r"two different people|mutual information"):
        register_t1(*philips_t1, other.b0, other.grid, other.mask, template, OPTIONS)


def test_a_t1_without_its_lower_half_is_refused(philips, philips_t1, template):
    t1, grid = philips_t1
    world = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    middle = philips.grid.to_world(np.argwhere(philips.mask).mean(axis=0))
    half = np.where(world[..., 2] < middle[2], 0, t1).astype(np.float32)
    with pytest.raises(RegistrationError, match="The T1 shows only"):
        register_t1(half, grid, philips.b0, philips.grid, philips.mask, template, OPTIONS)


@pytest.mark.parametrize("columns", [[0, 2, 1], [1, 0, 2]], ids=["nodding", "turning"])
def test_t1_with_a_wrong_header_is_refused(philips, philips_t1, template, columns):
    """Two axes exchanged: a quarter turn and a mirror, as converted files sometimes have it."""
    t1, grid = philips_t1
    centre = grid.to_world((np.array(grid.shape) - 1) / 2)
    affine = np.eye(4)
    affine[:3, :3] = grid.affine[:3, :3][columns]
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.array(grid.shape) - 1) / 2)
    with pytest.raises(RegistrationError, match="failed"):
        register_t1(t1, Grid(grid.shape, affine), philips.b0, philips.grid, philips.mask, template, OPTIONS)
