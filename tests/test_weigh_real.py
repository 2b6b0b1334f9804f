"""Streamline weights against a known wiring whose bundles are of very unequal cross-section."""

from __future__ import annotations

import numpy as np
import pytest

from tractome.io.matrices import read_connectome
from tractome.options import FitOptions, PhantomOptions, TrackOptions, WeighOptions
from tractome.phantom import make_phantom, write_phantom
from tractome.pipeline import LabelSource, LogListener, RunOptions, SubjectFiles, find_scan, new_subject, run_subject

pytestmark = pytest.mark.real

SCENE = PhantomOptions(
    voxel_size_mm=2.5,
    t1_voxel_size_mm=2.5,
    n_bundles=40,
    n_u_fibres=12,
    median_fibres=400,
    shells=(3000.0,),
    directions=(60,),
    n_b0=4,
    random_seed=9,
)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Folder of the phantom, and its true counts."""
    folder = tmp_path_factory.mktemp("unequal")
    phantom = make_phantom(SCENE)
    write_phantom(folder, phantom)
    return folder, phantom.true_count


@pytest.mark.parametrize("seed_source", ["balanced", "white-matter"])
def test_weights_are_closer_to_the_truth_than_counts(scene, tmp_path, seed_source):
    folder, truth = scene
    source = LabelSource(labels=folder / "labels.nii.gz", regions=folder / "regions.tsv")
    files = SubjectFiles(find_scan(folder / "dwi.nii.gz", mask=folder / "mask.nii.gz"), source, folder / "5tt.nii.gz")
    upper, found = np.triu_indices(len(truth), 1), {}
    for name, weigh in (("weight", WeighOptions()), ("plain", WeighOptions(noise_density=0.0, min_coverage=0.1))):
        options = RunOptions(
            fit=FitOptions(model="csd"),
            track=TrackOptions(n_streamlines=20_000, seed_source=seed_source),
            weigh=weigh,
        )
        with new_subject(tmp_path, files.scan.dwi, None, LogListener()) as ledger:
            run_subject(ledger, files, options)
            path = next((ledger.subject.root / "connectivity").glob("*_connectome.npz"))
        matrices = read_connectome(path).matrices
        found |= {"count": matrices["count"], name: matrices["weight"]}
    r = {name: np.corrcoef(matrix[upper], truth[upper])[0, 1] for name, matrix in found.items()}
    false = {name: matrix[upper][truth[upper] == 0].sum() / matrix[upper].sum() for name, matrix in found.items()}
    print(seed_source, "r", {name: round(float(value), 3) for name, value in r.items()}, "false", false)
    assert r["weight"] > r["count"]
    assert r["weight"] > r["plain"]
    assert false["weight"] < false["count"] < false["plain"]
