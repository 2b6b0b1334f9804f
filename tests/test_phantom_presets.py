"""Presets of the synthetic subject: the table, HCP files, FreeSurfer's labels, gradients that are not linear."""

import dataclasses
import json

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from tractome.datatypes.diffusion import GradientTable
from tractome.errors import OptionError
from tractome.io.gradients import read_gradients
from tractome.io.images import read_labels, read_mask
from tractome.options import PHANTOM_PRESETS, FitOptions, PhantomOptions, ReadOptions
from tractome.phantom import PRESETS, make_phantom, phantom_files, phantom_grid, preset_options, write_phantom
from tractome.phantom.gradients import gradient_nonlinearity, make_gradients
from tractome.phantom.signal import clean_signal, distorted, scanned_volumes
from tractome_cli.app import app

COARSE = {
    "voxel_size_mm": 5.0,
    "anatomy_voxel_size_mm": 2.5,
    "t1_voxel_size_mm": 2.5,
    "n_bundles": 24,
    "n_u_fibres": 8,
    "median_fibres": 60,
    "random_seed": 5,
}


@pytest.fixture(scope="module")
def hcp():
    return make_phantom(preset_options("hcp", **COARSE))


@pytest.fixture(scope="module")
def hcp_folder(hcp, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hcp")
    write_phantom(folder, hcp)
    return folder


# --- the table --------------------------------------------------------------------------------------------------------


def test_every_preset_has_options_and_what_is_given_overrides_them():
    assert tuple(PRESETS) == PHANTOM_PRESETS
    assert preset_options("standard") == PhantomOptions()
    for name, fields in PRESETS.items():
        options = preset_options(name, snr=11.0)
        assert options.snr == 11.0
        for field, value in fields.items():
            assert getattr(options, field) == value
            assert value != getattr(PhantomOptions(), field), f"{name}: {field} is the default"
    with pytest.raises(OptionError, match="not known"):
        preset_options("hpc")


def test_the_hcp_preset_has_the_sizes_of_the_hcp():
    options = preset_options("hcp")
    grid = phantom_grid(options)
    assert grid.shape == (145, 174, 145)
    np.testing.assert_allclose(grid.voxel_sizes_mm, 1.25)
    assert grid.axis_codes == "LAS"
    assert grid.determinant < 0
    table = make_gradients(options)
    assert table.n_volumes == 288
    assert [shell.n_volumes for shell in table.shells] == [90, 90, 90]
    b0 = np.flatnonzero(table.is_b0)
    np.testing.assert_array_equal(b0, np.arange(18) * 16)
    assert set(table.bvals[b0]) == {5.0}
    for shell, low, high in zip(table.shells, (990, 1985, 2980), (1010, 2015, 3020), strict=True):
        bvals = table.bvals[list(shell.volumes)]
        assert set(bvals) == set(np.arange(low, high + 1, 5.0))
        # Shells are interleaved: no run of more than a few volumes of one.
        assert np.diff(shell.volumes).max() < 20
    np.testing.assert_allclose(np.linalg.norm(table.bvecs, axis=1), 1.0)


def test_a_field_of_view_holds_the_same_voxels():
    # The whole has 37 x 44 x 37 voxels: boxes with numbers that are odd where these are have the same centres.
    part = make_phantom(preset_options("hcp", **COARSE, snr=0.0, field_of_view_mm=(165.0, 200.0, 65.0)))
    whole = make_phantom(preset_options("hcp", **COARSE, snr=0.0))
    assert part.grid.shape == (33, 40, 13)
    place = np.full(whole.grid.shape, -1)
    place[whole.mask] = np.arange(whole.n_voxels)
    world = part.grid.to_world(np.argwhere(part.mask))
    voxels = np.rint(whole.grid.to_voxel(world)).astype(int)
    np.testing.assert_allclose(whole.grid.to_world(voxels), world, atol=1e-9)
    where = place[tuple(voxels.T)]
    assert (where >= 0).all()
    np.testing.assert_allclose(part.clean_signal, whole.clean_signal[where], rtol=1e-4)
    np.testing.assert_array_equal(part.true_count, whole.true_count)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"n_cortical": 66}, "68 cortical"),
        ({"n_deep": 12}, "14 or 16"),
        ({"b_jitter_s_per_mm2": (10.0,)}, "one per shell"),
        ({"field_of_view_mm": (100.0, 100.0)}, "three sizes"),
    ],
)
def test_impossible_options_are_refused(changes, says):
    with pytest.raises(OptionError, match=says):
        make_phantom(preset_options("hcp", **{**COARSE, **changes}))


# --- labels -----------------------------------------------------------------------------------------------------------


def test_labels_are_those_of_freesurfer_and_truth_is_in_the_rows_of_its_atlas(hcp, hcp_folder):
    from tractome.io.atlases import read_atlas_regions
    from tractome.io.matrices import read_connectome

    regions = read_atlas_regions("freesurfer-dk-84")[1]
    assert hcp.regions.names == regions.names
    assert hcp.parcellation.missing == ()
    labels, grid = read_labels(hcp_folder / "T1w/aparc+aseg.nii.gz")
    assert set(regions.labels) <= set(np.unique(labels))
    surroundings = {0, 2, 41, 4, 43, 24, 251, 252, 253, 254, 255}
    assert set(np.unique(labels)) - set(regions.labels) == surroundings
    for value, is_left in ((2, True), (41, False), (4, True), (43, False), (1024, True), (2024, False), (10, True)):
        x = grid.to_world(np.argwhere(labels == value))[:, 0]
        assert ((x < 0) == is_left).all(), value
    # Every fibre by the label at its ends, against the matrix that was written.
    ends = hcp.wiring.fibres[:, [0, -1]].astype(np.float64).reshape(-1, 3)
    rows = hcp.structural.row_of[hcp.anatomy.labels(ends).reshape(-1, 2) - 1]
    count = np.zeros((84, 84))
    np.add.at(count, (rows[:, 0], rows[:, 1]), 1)
    written = read_connectome(hcp_folder / "truth_count.tsv")
    np.testing.assert_array_equal(written.matrices["count"], count + count.T)
    assert written.regions.names == regions.names
    voxels = np.rint(grid.to_voxel(ends)).astype(int)
    at_ends = labels[tuple(voxels.T)] == regions.labels[rows.reshape(-1)]
    # Voxels of 2.5 mm, a ribbon of 3 mm: most ends, not all, lie in a voxel whose centre has their label.
    assert at_ends.mean() > 0.7


def test_names_are_where_they_belong(hcp):
    centre = dict(zip(hcp.regions.names, hcp.parcellation.centroids_mm, strict=True))
    assert centre["frontalpole-left"][1] > centre["precentral-left"][1] > centre["lateraloccipital-left"][1]
    assert centre["superiorparietal-right"][2] > centre["inferiortemporal-right"][2]
    assert centre["cerebellum-cortex-left"][2] < centre["thalamus-left"][2]


# --- gradients that are not linear ------------------------------------------------------------------------------------


def test_the_signal_is_that_of_a_table_per_voxel(hcp):
    undistorted = make_phantom(preset_options("hcp", **COARSE, gradient_nonlinearity=0.0))
    world = undistorted.grid.to_world(np.argwhere(undistorted.mask))
    deviation = gradient_nonlinearity(world, 0.1)
    assert 0.03 < np.abs(deviation).max() < 0.2
    rng = np.random.default_rng(0)
    table = hcp.gradients
    for voxel in rng.choice(len(world), 12, replace=False):
        applied = table.bvecs @ (np.eye(3) + deviation[voxel].astype(np.float64)).T
        length = np.linalg.norm(applied, axis=1)
        own = GradientTable(table.bvals * length**2, applied / length[:, None])
        expected = clean_signal(undistorted.compartments, own)[undistorted.order[voxel]]
        np.testing.assert_allclose(hcp.clean_signal[voxel], expected, rtol=2e-4)
    assert np.abs(hcp.clean_signal - undistorted.clean_signal).max() > 20


@pytest.mark.parametrize("storage", ["LAS", "RAS", "oblique"])
def test_grad_dev_says_in_fsl_axes_what_the_signal_obeys(storage, tmp_path):
    options = preset_options(
        "hcp", **COARSE, storage=storage, snr=0.0, shells=(1000.0,), directions=(20,), n_b0=2, b_jitter_s_per_mm2=None
    )
    made = make_phantom(options)
    write_phantom(tmp_path, made)
    files = phantom_files(tmp_path, options)
    grid = made.grid
    numbers = np.asarray(nibabel.load(files["grad_dev"]).dataobj)[made.mask]
    # Nine volumes, column after column, in the frame of the bvecs.
    matrix = np.eye(3) + numbers.reshape(-1, 3, 3).transpose(0, 2, 1)
    bvecs = np.loadtxt(files["bvec"]).T
    to_world = grid.rotation @ np.diag([-1.0 if grid.determinant > 0 else 1.0, 1.0, 1.0])
    world = grid.to_world(np.argwhere(made.mask))
    expected = made.gradients.bvecs @ (np.eye(3) + gradient_nonlinearity(world[::97], 0.1)).transpose(0, 2, 1)
    np.testing.assert_allclose((bvecs @ matrix[::97].transpose(0, 2, 1)) @ to_world.T, expected, atol=1e-5)
    assert made.image.gradient_nonlinearity is not None
    np.testing.assert_allclose(made.image.gradient_nonlinearity, matrix - np.eye(3), atol=1e-6)


def test_a_tensor_fit_with_the_deviations_finds_the_true_fa():
    from tractome.stages.fit import fit_tensors, tensor_maps

    changes = {**COARSE, "snr": 0.0, "shells": (1000.0,), "directions": (60,), "b_jitter_s_per_mm2": (10.0,)}
    # Storage as the HCP's and straight: see test_grad_dev.py.
    made = make_phantom(preset_options("hcp", **changes, storage="oblique"))
    known, blind = (
        tensor_maps(fit_tensors(image, FitOptions()))["fa"].values - made.true_fa.values
        for image in (made.image, dataclasses.replace(made.image, gradient_nonlinearity=None))
    )
    # Where the signal is that of one tensor the fit is exact; elsewhere it is a mixture, which sees more b as less D.
    has_fibres = np.isin(made.order, made.compartments.voxel)
    rest = made.compartments.rest[made.order]
    pure = (rest.max(axis=1) > 0.9999 * rest.sum(axis=1)) & ~has_fibres
    assert np.count_nonzero(pure) > 1000
    assert np.abs(known[pure]).max() < 1e-5
    assert np.abs(blind[pure]).max() > 0.03
    assert np.median(np.abs(known)) < 1e-3
    assert np.median(np.abs(blind)) > 1e-2


# --- memory and files -------------------------------------------------------------------------------------------------


def test_a_scan_is_made_in_the_memory_of_a_few_volumes(hcp):
    import tracemalloc

    tracemalloc.start()
    n_volumes = sum(1 for _ in scanned_volumes(hcp.compartments, hcp.gradients, hcp.options))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_volumes == 288
    assert peak < 0.4 * hcp.n_voxels * n_volumes * 4


def test_a_scan_made_in_pieces_is_the_whole_scan(hcp):
    for column, volume in zip(range(40), hcp.scan_volumes(), strict=False):
        np.testing.assert_array_equal(volume, hcp.image.signal[:, column])
    quiet = distorted(hcp.compartments, np.zeros((hcp.n_voxels, 3, 3), np.float32))
    np.testing.assert_allclose(quiet.tensor, hcp.compartments.tensor, rtol=1e-5)


def test_the_hcp_files_read_back(hcp, hcp_folder):
    from tractome.io.subjects import read_diffusion

    files = phantom_files(hcp_folder, hcp.options)
    names = {path.relative_to(hcp_folder).as_posix() for path in files.values()}
    assert {"T1w/Diffusion/data.nii.gz", "T1w/Diffusion/bvals", "T1w/Diffusion/nodif_brain_mask.nii.gz"} <= names
    assert all(path.is_file() for path in files.values())
    assert nibabel.load(files["dwi"]).get_data_dtype() == np.float32
    image = read_diffusion(files["dwi"], files["bval"], files["bvec"], files["mask"], ReadOptions()).image
    np.testing.assert_array_equal(image.signal, hcp.image.signal)
    np.testing.assert_allclose(image.gradients.bvecs, hcp.gradients.bvecs, atol=1e-6)
    t1 = nibabel.load(files["t1"])
    assert nibabel.aff2axcodes(t1.affine) == ("L", "A", "S")
    brain, grid = read_mask(files["t1_mask"])
    assert grid.is_same(hcp.structural.t1_grid)
    np.testing.assert_array_equal(brain, hcp.structural.t1 != 0)


def test_the_command_lets_given_options_override_a_preset(tmp_path):
    small = "--voxel-size 6 --t1-voxel-size 6 --bundles 5 --u-fibres 2 --median-fibres 40 --uncompressed"
    arguments = ["phantom", str(tmp_path / "out"), "--preset", "clinical", *small.split(), "--b0", "3"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    options = json.loads((tmp_path / "out" / "phantom.json").read_text())["options"]
    assert options["voxel_size_mm"] == 6.0
    assert options["n_b0"] == 3
    assert options["directions"] == [30]
    assert options["storage"] == "LAS"
    image = nibabel.load(tmp_path / "out" / "dwi.nii")
    assert image.shape[3] == 33
    read = read_gradients(
        tmp_path / "out" / "dwi.bval", tmp_path / "out" / "dwi.bvec", phantom_grid(PhantomOptions()), 33, ReadOptions()
    )
    assert read.gradients.describe() == "3 at b = 0, 30 at b = 1000"
    refused = CliRunner().invoke(app, ["phantom", str(tmp_path / "other"), "--preset", "clinicl"])
    assert refused.exit_code == 2
    assert "clinical" in refused.output
    assert not (tmp_path / "other").exists()
