"""An oblique scan of thick slices: signal, labels, tissues and fibres of the phantom agree in world space."""

import numpy as np
import pytest
from runs import do

from tractome.io.images import read_labels, read_tissue
from tractome.io.matrices import read_connectome
from tractome.io.subjects import read_diffusion
from tractome.options import CompareOptions, ExportOptions, FitOptions, ReadOptions, TrackOptions
from tractome.phantom import make_phantom, phantom_files, preset_options, write_phantom
from tractome.phantom.signal import S0
from tractome.pipeline import RunOptions
from tractome.stages.compare import compare
from tractome.stages.fit import fit_tensors, principal_directions, tensor_maps

CHANGES = {
    "voxel_size_mm": 2.5,
    "slice_thickness_mm": 4.0,
    "t1_voxel_size_mm": 8.0,
    "n_cortical": 20,
    "n_deep": 6,
    "n_bundles": 24,
    "n_u_fibres": 8,
    "median_fibres": 120,
    "shells": (1000.0,),
    "directions": (24,),
    "n_b0": 2,
    "random_seed": 5,
}


@pytest.fixture(scope="module", params=["oblique", "RAS", "LPS"])
def subject(request, tmp_path_factory):
    """A phantom without noise, and its scan read from files."""
    folder = tmp_path_factory.mktemp(request.param)
    made = make_phantom(preset_options("oblique", **CHANGES, storage=request.param, snr=0.0))
    write_phantom(folder, made)
    files = phantom_files(folder, made.options)
    image = read_diffusion(files["dwi"], files["bval"], files["bvec"], files["mask"], ReadOptions()).image
    return made, files, image


def test_the_preset_is_oblique_and_its_slices_are_thick():
    from tractome.phantom import phantom_grid

    grid = phantom_grid(preset_options("oblique"))
    np.testing.assert_allclose(grid.voxel_sizes_mm, (2.0, 2.0, 3.0))
    assert np.count_nonzero(np.abs(grid.affine[:3, :3]) > 1e-3) == 9


def test_signal_tissue_and_labels_agree_at_every_place(subject):
    made, files, image = subject
    world = image.grid.to_world(np.argwhere(image.mask))
    tissue = read_tissue(files["tissue"])
    labels, grid = read_labels(files["labels"])
    assert tissue.grid.is_same(image.grid)
    assert grid.is_same(image.grid)
    fractions = tissue.fractions[image.mask]
    np.testing.assert_allclose(image.mean_b0, fractions @ S0, atol=0.51)
    width = image.grid.voxel_volume_mm3 ** (1 / 3)
    np.testing.assert_allclose(fractions, made.anatomy.tissue(world, width)[0], atol=1e-5)
    np.testing.assert_array_equal(labels[image.mask], made.anatomy.labels(world))
    # A label by itself says which tissue: grey matter, cortical or deep.
    assert (fractions[labels[image.mask] > 20][:, 1] > 0.4).all()
    cortical = (labels[image.mask] > 0) & (labels[image.mask] <= 20)
    # Thick slices: a few voxels whose centre is in cortex are mostly something else.
    assert np.percentile(fractions[cortical][:, :2].sum(axis=1), 1) > 0.3


def test_tensors_point_along_the_true_fibres(subject):
    from scipy.spatial import cKDTree

    made, _, image = subject
    field = fit_tensors(image, FitOptions())
    coherent = tensor_maps(field)["fa"].values > 0.45
    assert np.count_nonzero(coherent) > 100
    world = image.grid.to_world(np.argwhere(image.mask))[coherent]
    fibres = made.wiring.fibres.astype(np.float64)
    steps = np.diff(fibres, axis=1)
    middles = (fibres[:, 1:] + fibres[:, :-1]).reshape(-1, 3) / 2
    tangents = (steps / np.linalg.norm(steps, axis=2, keepdims=True)).reshape(-1, 3)
    distance, nearest = cKDTree(middles).query(world, k=12)
    near = distance[:, -1] < 1.5
    assert np.count_nonzero(near) > 50
    along = tangents[nearest[near]]
    # The main axis of the fibres around the voxel's centre, signs apart.
    axis = np.linalg.eigh(np.einsum("nki,nkj->nij", along, along))[1][:, :, 2]
    cosine = np.abs(np.einsum("ni,ni->n", axis, principal_directions(field)[coherent][near]))
    assert np.degrees(np.arccos(np.clip(np.median(cosine), 0, 1))) < 8
    assert np.mean(cosine > np.cos(np.deg2rad(30))) > 0.9


def average_precision_of_run(options, folder):
    """Average precision of a run's counts against the truth of a phantom."""
    write_phantom(folder / "in", make_phantom(options))
    wanted = RunOptions(
        fit=FitOptions(lmax=6), track=TrackOptions(n_streamlines=8000), export=ExportOptions(formats=("npz",))
    )
    do(folder / "in", folder / "out", wanted)
    found = read_connectome(next((folder / "out").rglob("*_connectome.npz")))
    truth = read_connectome(folder / "in" / "truth_count.tsv")
    return compare(found, truth, CompareOptions()).average_precision


@pytest.mark.real
def test_a_run_finds_the_wiring_as_well_as_in_a_straight_scan(tmp_path):
    shared = {**CHANGES, "voxel_size_mm": 3.0, "directions": (32,), "n_b0": 3, "median_fibres": 200}
    found = {
        storage: average_precision_of_run(preset_options("oblique", **shared, storage=storage), tmp_path / storage)
        for storage in ("oblique", "RAS")
    }
    assert found["oblique"] > 0.5
    assert abs(found["oblique"] - found["RAS"]) < 0.08
