"""Streamline weights beside MRtrix3's: one file format, one mu, and a cost that is no higher."""

from __future__ import annotations

import subprocess
from pathlib import Path

import naive
import numpy as np
import pytest

from tractome.io.images import read_orientation_field, read_tissue, write_volume
from tractome.io.tractograms import read_tractogram
from tractome.io.weights import read_weights
from tractome.options import TrackOptions, WeighOptions
from tractome.pipeline import LogListener, TrackingFiles, WeighFiles, old_subject, track_subject, weigh_tractogram
from tractome.stages.fit.fixels import segment_fixels
from tractome.stages.weigh import processing_mask

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def scene(done, phantom, tmp_path_factory, mrtrix):
    """FODs, processing mask and streamlines for both programs, and the weights of tcksift2."""
    room = tmp_path_factory.mktemp("peer")
    subprocess.run(["cp", "-r", done, room / "out"], check=True)
    with old_subject(room / "out", LogListener()) as ledger:
        files = TrackingFiles(tissue=phantom / "5tt.nii.gz")
        track_subject(ledger, TrackOptions(n_streamlines=400, seed_source="white-matter"), files, whole="tck")
    fod = next((room / "out").rglob("*wmfod_dwimap.nii.gz"))
    field = read_orientation_field(fod, phantom / "mask.nii.gz")
    shares = processing_mask(read_tissue(phantom / "5tt.nii.gz"), field.mask, field.grid)
    write_volume(room / "shares.nii", shares, field.grid, {})
    tracks = next((room / "out").rglob("*whole_streamlines.tck"))
    words = ["tcksift2", tracks, fod, room / "theirs.txt", "-proc_mask", room / "shares.nii", "-quiet"]
    subprocess.run([*words, "-out_mu", room / "mu.txt"], check=True)
    return room, fod, tracks, shares, field


def run(command: list[str | Path]) -> None:
    subprocess.run(command, check=True)


def test_cost_is_no_higher_than_that_of_tcksift2__mrtrix3_comparison(scene):
    room, fod, tracks, shares, field = scene
    options = WeighOptions(tikhonov=0.0, noise_density=0.0, min_coverage=0.1)
    files = WeighFiles(tracks, processing_mask=room / "shares.nii")
    found = weigh_tractogram(fod, files, room / "ours.txt", options, LogListener())
    ours, theirs = found.weights.astype(float), read_weights(room / "theirs.txt", 400)
    assert found.mu_per_mm == pytest.approx(float((room / "mu.txt").read_text().split()[0].strip("#")), rel=0.02)
    fixels = segment_fixels(field)
    streamlines = [block.streamline(i) for block in read_tractogram(tracks) for i in range(block.n_streamlines)]
    along, share = naive.contributions(streamlines, fixels, shares)
    costs = [
        naive.weighting_cost(w, along, fixels.afd.astype(float), share, min_coverage=0.1)
        for w in (np.ones(400), theirs, ours)
    ]
    print("cost before, tcksift2, tractome:", *(f"{cost.total:.2f}" for cost in costs))
    print(f"r of the weights {np.corrcoef(ours, theirs)[0, 1]:.3f}")
    assert costs[2].total <= costs[1].total < costs[0].total
    assert costs[2].all <= costs[1].all * 1.02
    assert np.corrcoef(np.log(ours), np.log(theirs))[0, 1] > 0.7


def test_weights_are_read_by_tck2connectome__mrtrix3_comparison(scene, phantom):
    room, _, tracks, _, _ = scene
    if not (room / "ours.txt").exists():
        pytest.skip("the weights were not made")
    words = ["tck2connectome", tracks, phantom / "labels.nii.gz", room / "m.csv", "-quiet", "-force"]
    run([*words, "-tck_weights_in", room / "ours.txt", "-out_assignments", room / "a.txt", "-symmetric"])
    matrix = np.loadtxt(room / "m.csv", delimiter=",")
    ends = np.loadtxt(room / "a.txt", comments="#").astype(int)
    assigned = (ends > 0).all(axis=1)
    assert np.triu(matrix).sum() == pytest.approx(read_weights(room / "ours.txt")[assigned].sum(), rel=1e-5)
