"""Left is left: a lesion on one side stays there from the files to the matrix, in every storage order."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tractome.options import PHANTOM_STORAGE, ConnectOptions, FitOptions, PhantomOptions, ReadOptions, TrackOptions

N_STREAMLINES = 6000


def _options(storage: str, *, lesion: bool) -> PhantomOptions:
    return PhantomOptions(
        voxel_size_mm=4.0,
        t1_voxel_size_mm=4.0,
        n_cortical=20,
        n_deep=4,
        n_bundles=24,
        n_u_fibres=6,
        shells=(2000.0,),
        directions=(30,),
        n_b0=2,
        storage=storage,
        lesion=lesion,
        random_seed=5,
    )


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    """The matrices of a phantom that went through files, and its truth, by storage order and lesion."""
    from tractome.datatypes.parcellation import Parcellation
    from tractome.io.images import read_labels, read_tissue
    from tractome.io.subjects import read_diffusion
    from tractome.phantom import make_phantom, write_phantom
    from tractome.stages.connect import concatenate, connect, summarise
    from tractome.stages.fit import estimate_response, fit_fods, fit_tensors, tensor_maps
    from tractome.stages.track import track

    @cache
    def through_files(storage: str, lesion: bool):
        phantom = make_phantom(_options(storage, lesion=lesion))
        folder: Path = tmp_path_factory.mktemp(f"{storage}-{lesion}")
        write_phantom(folder, phantom)
        scan = read_diffusion(
            folder / "dwi.nii.gz", folder / "dwi.bval", folder / "dwi.bvec", folder / "mask.nii.gz", ReadOptions()
        ).image
        tensors = fit_tensors(scan, FitOptions())
        maps = tensor_maps(tensors)
        field = fit_fods(scan, estimate_response(scan, tensors, FitOptions()), FitOptions())
        options = TrackOptions(n_streamlines=N_STREAMLINES)
        tissue = read_tissue(folder / "5tt.nii.gz")
        blocks = track(field, options, tissue=tissue, fa=maps["fa"])
        table = concatenate([summarise(block, [maps["fa"], maps["md"]]) for block in blocks])
        labels, grid = read_labels(folder / "labels.nii.gz")
        parcellation = Parcellation.from_labels(labels, grid, phantom.parcellation.regions)
        return connect(table, parcellation, ConnectOptions()), phantom.true_count

    return through_files


def _without_diagonal(matrix):
    copy = np.nan_to_num(np.array(matrix))
    np.fill_diagonal(copy, 0)
    return copy


def _sides(connectome):
    hemispheres = np.array(connectome.regions.hemispheres)
    return hemispheres == "L", hemispheres == "R"


@pytest.mark.parametrize("storage", PHANTOM_STORAGE)
def test_a_left_lesion_lowers_the_left(subject, storage):
    intact, true_intact = subject("RAS", False)
    lesioned, true_lesioned = subject(storage, True)
    left, right = _sides(intact)
    before, after = (_without_diagonal(c.matrices["count"]) for c in (intact, lesioned))
    gone = (true_intact > 0) & (true_lesioned == 0)
    assert true_intact[gone].sum() > 0.1 * true_intact.sum(), "this lesion is too small to test with"
    assert not gone[np.ix_(right, right)].any()
    assert gone[left].any()
    assert after[gone].sum() < 0.35 * before[gone].sum()
    only_right = np.ix_(right, right)
    np.testing.assert_array_equal(true_intact[only_right], true_lesioned[only_right])
    assert np.corrcoef(before[only_right].ravel(), after[only_right].ravel())[0, 1] > 0.93
    # The number of accepted streamlines is fixed: what the left loses goes to the others.
    assert after[only_right].sum() > 0.9 * before[only_right].sum()


@pytest.mark.parametrize("storage", PHANTOM_STORAGE[1:])
def test_every_storage_order_gives_the_same_matrices(subject, storage):
    reference, truth = subject("RAS", True)
    other, other_truth = subject(storage, True)
    np.testing.assert_array_equal(truth, other_truth)
    upper = np.triu_indices(len(truth), 1)
    counts = [c.matrices["count"][upper] for c in (reference, other)]
    assert np.corrcoef(*counts)[0, 1] > 0.97
    # FA of an edge rests on its streamlines: only edges with many are compared closely.
    many = (counts[0] >= 50) & (counts[1] >= 50)
    assert many.sum() >= 10
    # Each storage order has noise of its own: the mean over edges must agree closely, each edge less so.
    for measure, of_all, of_one in (("fa", 0.01, 0.08), ("md", 1e-5, 8e-5)):
        values = [c.matrices[measure][upper][many] for c in (reference, other)]
        assert abs((values[0] - values[1]).mean()) < of_all
        assert np.abs(values[0] - values[1]).max() < of_one
    np.testing.assert_allclose(reference.centroids_mm, other.centroids_mm, atol=4.0)
