"""Gradient nonlinearity from a file to the tensors: frame, order of the nine numbers, bad files, the command."""

import json

import numpy as np
import pytest
from fibres import table
from typer.testing import CliRunner

from tractome.datatypes.diffusion import DiffusionImage
from tractome.datatypes.grid import Grid
from tractome.errors import ImageError, SpaceError
from tractome.io.grad_dev import read_grad_dev
from tractome.io.images import read_volume, write_volume
from tractome.io.subjects import read_diffusion
from tractome.kernels import harmonics
from tractome.options import FitOptions, ReadOptions
from tractome.phantom import make_phantom, phantom_files, preset_options, write_phantom
from tractome.stages.fit import bootstrap_orientations, fit_tensors, tensor_maps
from tractome_cli.app import app

CHANGES = {
    "voxel_size_mm": 5.0,
    "anatomy_voxel_size_mm": 5.0,
    "t1_voxel_size_mm": 8.0,
    "n_bundles": 20,
    "n_u_fibres": 4,
    "median_fibres": 40,
    "shells": (1000.0,),
    "directions": (20,),
    "n_b0": 2,
    "b_jitter_s_per_mm2": None,
    "value_type": "float32",
    "snr": 0.0,
}
GRID = Grid((4, 3, 2), np.diag([-2.0, 2.0, 2.0, 1.0]))
MASK = np.ones(GRID.shape, dtype=bool)


@pytest.fixture(scope="module", params=["LAS", "RAS"])
def subject(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    made = make_phantom(preset_options("hcp", **CHANGES, storage=request.param))
    write_phantom(folder, made)
    return made, phantom_files(folder, made.options)


def scan_of(files):
    return [files[role] for role in ("dwi", "bval", "bvec", "mask")]


def test_a_scan_read_with_its_deviations_has_the_true_fa(subject):
    made, files = subject
    known = read_diffusion(*scan_of(files), ReadOptions(), grad_dev=files["grad_dev"]).image
    assert known.gradient_nonlinearity is not None
    np.testing.assert_allclose(known.gradient_nonlinearity, made.image.gradient_nonlinearity, atol=1e-7)
    blind = read_diffusion(*scan_of(files), ReadOptions()).image
    assert blind.gradient_nonlinearity is None
    rest = made.compartments.rest[made.order]
    pure = (rest.max(axis=1) > 0.9999 * rest.sum(axis=1)) & ~np.isin(made.order, made.compartments.voxel)
    error = {
        name: np.abs(tensor_maps(fit_tensors(image, FitOptions()))["fa"].values - made.true_fa.values)[pure].max()
        for name, image in (("known", known), ("blind", blind))
    }
    assert error["known"] < 1e-3
    assert error["blind"] > 0.03


def test_the_bootstrap_obeys_the_deviations():
    """A strong shear turns the direction that blind tensors see by several degrees; without noise all draws agree."""
    gradients, axis = table((30,), (1000.0,), n_b0=3), np.array([0.0, 1.0, 1.0]) / np.sqrt(2)
    grid = Grid((1, 1, 1), np.diag([-2.0, 2.0, 2.0, 1.0]))
    deviation = np.array([[0, 0, 0], [0, 0, 0], [0, 0.2, 0]], np.float32)
    played = gradients.bvecs @ (np.eye(3) + np.diag([-1, 1, 1]) @ deviation @ np.diag([-1, 1, 1])).T
    signal = 1000 * np.exp(-gradients.bvals * (0.25e-3 * (played**2).sum(axis=1) + 1.45e-3 * (played @ axis) ** 2))
    found = []
    for known in (deviation[None], None):
        scan = DiffusionImage(signal[None].astype(np.float32), gradients, np.ones((1, 1, 1), bool), grid, known)
        field = bootstrap_orientations(scan, FitOptions(n_bootstrap_draws=10))
        amplitudes = harmonics.sh_basis(np.stack([axis, [0, 0, 1.0]]), field.lmax) @ field.coefficients[0]
        found.append(amplitudes[0])
    assert found[0] > 0.999
    assert found[1] < 0.98


def test_the_nine_volumes_are_the_columns_of_the_matrix(tmp_path):
    numbers = np.arange(9, dtype=np.float32) / 100 * np.ones((*GRID.shape, 1), np.float32)
    write_volume(tmp_path / "grad_dev.nii.gz", numbers, GRID)
    deviation, notices = read_grad_dev(tmp_path / "grad_dev.nii.gz", MASK, GRID)
    np.testing.assert_allclose(deviation[5], np.array([[0, 3, 6], [1, 4, 7], [2, 5, 8]]) / 100, atol=1e-7)
    assert notices == ()


def test_values_that_are_not_finite_are_taken_as_none_and_said(tmp_path):
    numbers = np.full((*GRID.shape, 9), 0.01, np.float32)
    numbers[1, 1, 1, 4] = np.nan
    write_volume(tmp_path / "grad_dev.nii.gz", numbers, GRID)
    deviation, notices = read_grad_dev(tmp_path / "grad_dev.nii.gz", MASK, GRID)
    assert np.count_nonzero(deviation == 0) == 1
    assert "1 voxels" in notices[0]


@pytest.mark.parametrize(
    ("numbers", "grid", "error", "says"),
    [
        (np.zeros((*GRID.shape, 6), np.float32), GRID, ImageError, "needs 9"),
        (np.zeros(GRID.shape, np.float32), GRID, ImageError, "needs 9"),
        (np.full((*GRID.shape, 9), 3.0, np.float32), GRID, ImageError, "in percent"),
        (np.zeros((*GRID.shape, 9), np.float32), Grid(GRID.shape, np.diag([2.0, 2, 2, 1])), SpaceError, "another grid"),
    ],
)
def test_a_wrong_file_is_refused(numbers, grid, error, says, tmp_path):
    write_volume(tmp_path / "grad_dev.nii.gz", numbers, grid)
    with pytest.raises(error, match=says):
        read_grad_dev(tmp_path / "grad_dev.nii.gz", MASK, GRID)


def test_the_command_obeys_it_and_fits_again_when_it_changes(subject, tmp_path):
    made, files = subject
    words = ["fit", "--dwi", files["dwi"], "--mask", files["mask"], "--model", "tensor", "--bootstrap-draws", "10"]
    words += ["--out", tmp_path, "--subject", "a"]

    def mean_md(*more):
        result = CliRunner().invoke(app, [str(word) for word in (*words, *more)])
        assert result.exit_code == 0, result.output
        maps = next((tmp_path / "sub-a" / "dwi").glob("*param-md_dwimap.nii.gz"))
        return read_volume(maps)[0][made.mask]

    blind, known = mean_md("--no-gradient-nonlinearity"), mean_md("--grad-dev", files["grad_dev"])
    assert np.abs(known - blind).max() > 1e-5
    # The HCP's file lies beside its scan and is found there.
    np.testing.assert_array_equal(mean_md(), known)
    facts = json.loads((tmp_path / "sub-a" / "provenance.json").read_text())["stages"]["fit"]
    assert facts["facts"]["gradient_nonlinearity"] is True
    assert any("grad_dev.nii.gz: the tensors" in notice for notice in facts["facts"]["notices"])
    missing = CliRunner().invoke(app, [str(word) for word in (*words, "--grad-dev", tmp_path / "none.nii.gz")])
    assert missing.exit_code == 2
    assert "--grad-dev" in missing.output
