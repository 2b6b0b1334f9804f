"""Streamline weights in files: as MRtrix3's text, in a store that may spill to the disk, and in a subject's folder."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from runs import OPTIONS, Heard, contents, do

from tractome.datatypes.weights import StreamlineWeights
from tractome.errors import OptionError, OutputError, TableError
from tractome.io.contributions import ContributionStore
from tractome.io.matrices import read_connectome
from tractome.io.tractograms import read_streamline_table
from tractome.io.weight_figures import draw_weights
from tractome.io.weights import read_weights, write_weights
from tractome.options import ConnectOptions, TrackOptions, WeighOptions
from tractome.pipeline import (
    TrackingFiles,
    WeighFiles,
    connect_subject,
    old_subject,
    track_subject,
    weigh_subject,
    weigh_tractogram,
)


def test_weights_come_back_as_they_were(tmp_path):
    weights = np.random.default_rng(0).lognormal(0, 2, 1000).astype(np.float32)
    write_weights(tmp_path / "w.txt", weights)
    assert (read_weights(tmp_path / "w.txt", 1000).astype(np.float32) == weights).all()
    write_weights(tmp_path / "none.txt", weights[:0])
    assert len(read_weights(tmp_path / "none.txt")) == 0


@pytest.mark.parametrize(
    "text", ["# command: x, 1 2\n1 0.5 2e-1\n", "1\n0.5\n0.2\n", "1,0.5,0.2", "1 0.5\r\n0.2 # end"]
)
def test_every_way_of_writing_a_list_is_read(tmp_path, text):
    (tmp_path / "w.csv").write_text(text)
    assert read_weights(tmp_path / "w.csv").tolist() == [1, 0.5, 0.2]


@pytest.mark.parametrize(
    ("text", "said"),
    [("1 nan 2", "Weight 2"), ("1 -1 2", "Weight 2"), ("1 two 3", "no list"), ("1 2", "2 weights, and there are 3")],
)
def test_what_is_no_list_of_weights_is_refused(tmp_path, text, said):
    (tmp_path / "w.txt").write_text(text)
    with pytest.raises(TableError, match=said):
        read_weights(tmp_path / "w.txt", 3)


def test_weights_that_are_no_numbers_are_not_written(tmp_path):
    for wrong in (np.nan, np.inf, -1.0):
        with pytest.raises(TableError, match="Weight 2"):
            write_weights(tmp_path / "w.txt", np.array([1.0, wrong]))
    with pytest.raises(TableError, match="cannot be read"):
        read_weights(tmp_path / "w.txt")


def test_a_store_gives_back_what_it_took_wherever_it_lies(tmp_path, monkeypatch):
    monkeypatch.setattr("tractome.io.contributions.ENTRIES_PER_BLOCK", 100)
    rng = np.random.default_rng(1)
    blocks = []
    for _ in range(30):
        counts = rng.integers(0, 9, rng.integers(1, 12))
        blocks.append((rng.integers(0, 2**32, counts.sum(), dtype=np.uint32), counts))
    for max_bytes, on_disk in ((1 << 20, False), (600, True), (0, True)):
        with ContributionStore(tmp_path / "room", max_bytes) as store:
            for entries, counts in blocks:
                store.add(entries, counts)
            for _ in range(2):
                found = [(first, starts.copy(), entries.copy()) for first, starts, entries in store.blocks()]
                assert np.concatenate([each[2] for each in found]).tobytes() == b"".join(
                    entries.tobytes() for entries, _ in blocks
                )
                all_counts = np.concatenate([counts for _, counts in blocks])
                for first, starts, entries in found:
                    assert np.diff(starts).tolist() == all_counts[first : first + len(starts) - 1].tolist()
                    assert starts[-1] == len(entries)
            assert store.is_on_disk == on_disk and len(found) > 3
        assert not on_disk or list((tmp_path / "room").iterdir()) == []


def test_a_store_that_cannot_spill_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("tractome.io.contributions.ENTRIES_PER_BLOCK", 4)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="max-memory"), ContributionStore(tmp_path / "file", 0) as store:
        store.add(np.zeros(8, np.uint32), np.array([8]))


@pytest.fixture(scope="module")
def kept(done, phantom, tmp_path_factory):
    """The finished run, tracked again so that whole streamlines are kept, and weighed."""
    out = Path(shutil.copytree(done, tmp_path_factory.mktemp("kept") / "out"))
    with old_subject(out, Heard()) as ledger:
        files = TrackingFiles(tissue=phantom / "5tt.nii.gz")
        track_subject(ledger, TrackOptions(n_streamlines=300), files, whole="tck")
        weigh_subject(ledger, WeighOptions())
    return out / "sub-01"


def test_connect_adds_up_weights(kept, tmp_path):
    subject = Path(shutil.copytree(kept, tmp_path / "sub-01"))
    heard = Heard()
    with old_subject(subject, heard) as ledger:
        record = weigh_subject(ledger, WeighOptions(max_memory_mb=0))
        assert heard.done == []  # memory never changes the result
        connect_subject(ledger, ConnectOptions())
        connectome = read_connectome(next((subject / "connectivity").glob("*_connectome.npz")))
    weights = read_weights(subject / "tractogram" / "sub-01_weights.txt", 300)
    mu = json.loads((subject / "tractogram" / "sub-01_weights.json").read_text())["Mu"]
    assert mu == record.facts["mu_per_mm"]
    assert np.ptp(weights) > 0.1
    count, weight = connectome.matrices["count"], connectome.matrices["weight"]
    assert np.array_equal(count > 0, weight > 0)
    whole = np.triu(weight).sum()
    assert 0.2 * mu * weights.sum() < whole <= mu * weights.sum() * (1 + 1e-9)
    table = read_streamline_table(subject / "tractogram" / "sub-01_streamlines.trx")
    single = np.argwhere(np.triu(count) == 1)
    assert len(single) > 0
    for first, second in single:
        row = np.flatnonzero(np.isclose(mu * weights, weight[first, second], rtol=1e-6))
        assert np.isclose(table.length_mm[row], connectome.matrices["length"][first, second], rtol=1e-5).any()


def test_a_run_weighs_what_it_tracked(done, phantom, tmp_path):
    out = Path(shutil.copytree(done, tmp_path / "out"))
    options = dataclasses.replace(OPTIONS, weigh=WeighOptions())
    heard, records = do(phantom, out, options)
    assert heard.done == ["weigh", "connect", "export"]
    assert list(records)[-3:] == ["weigh", "connect", "export"]
    assert 1 <= records["weigh"].facts["n_effective"] <= 300
    picture = out / "sub-01" / "figures" / "sub-01_weights.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    connectome = read_connectome(next((out / "sub-01" / "connectivity").glob("*_connectome.npz")))
    assert connectome.matrices["weight"].sum() > 0
    before = contents(out)
    assert do(phantom, out, options)[0].done == [] and contents(out) == before
    # Weights that are there stay in force when the run is not asked to weigh.
    assert do(phantom, out)[0].done == [] and contents(out) == before
    # A picture that is gone is made again, with weights of the same bytes, so that nothing after it is redone.
    picture.unlink()
    heard, _ = do(phantom, out, options)
    assert heard.done == ["weigh"] and contents(out) == before


def test_a_picture_of_weights_shows_what_there_is(tmp_path):
    rng = np.random.default_rng(0)
    facts = {"n_effective": 70.0}
    densities, weights = rng.gamma(2.0, 0.2, (500, 3)), rng.lognormal(0.0, 1.0, 100)
    for name in ("a", "b"):
        draw_weights(tmp_path / f"{name}.png", StreamlineWeights(weights, 0.1, (), facts, densities))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    draw_weights(tmp_path / "none.png", StreamlineWeights(np.zeros(2), 0.1, (), facts))
    assert (tmp_path / "none.png").read_bytes() != (tmp_path / "a.png").read_bytes()
    with pytest.raises(TableError, match="densities"):
        StreamlineWeights(np.ones(2), 0.1, (), facts, np.zeros((4, 2)))


def test_weights_of_other_streamlines_are_not_used(kept, phantom, tmp_path):
    subject = Path(shutil.copytree(kept, tmp_path / "sub-01"))
    heard = Heard()
    with old_subject(subject, heard) as ledger:
        files = TrackingFiles(tissue=phantom / "5tt.nii.gz")
        track_subject(ledger, TrackOptions(n_streamlines=200, random_seed=1), files)
        connect_subject(ledger, ConnectOptions())
        assert any("not those that were weighed" in note for note in heard.notes)
        assert "weight" not in read_connectome(next((subject / "connectivity").glob("*_connectome.npz"))).matrices
        with pytest.raises(TableError, match="--tractogram trx"):
            weigh_subject(ledger, WeighOptions())
        other = kept / "tractogram" / "sub-01_desc-whole_streamlines.tck"
        with pytest.raises(TableError, match="300 streamlines that are not the 200"):
            weigh_subject(ledger, WeighOptions(), WeighFiles(tractogram=other))


def test_streamlines_tracked_again_get_the_same_weights(kept, tmp_path):
    subject = Path(shutil.copytree(kept, tmp_path / "sub-01"))
    weights = (subject / "tractogram" / "sub-01_weights.txt").read_bytes()
    (subject / "tractogram" / "sub-01_desc-whole_streamlines.tck").unlink()
    with old_subject(subject, Heard(), force=True) as ledger:
        with pytest.raises(TableError, match="--retrace"):
            weigh_subject(ledger, WeighOptions())
        weigh_subject(ledger, WeighOptions(), retrace=True)
    assert (subject / "tractogram" / "sub-01_weights.txt").read_bytes() == weights


def program(*words):
    command = [sys.executable, "-m", "tractome_cli.app", "weigh", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_program_weighs_any_tractogram(kept, phantom, tmp_path):
    fod = next((kept / "dwi").glob("*wmfod_dwimap.nii.gz"))
    given = ["--fod", fod, "--tractogram", kept / "tractogram" / "sub-01_desc-whole_streamlines.tck"]
    given += ["--mask", phantom / "mask.nii.gz", "--tissue", phantom / "5tt.nii.gz", "--out", tmp_path / "w.txt"]
    answer = program(*given)
    assert answer.returncode == 0, answer.stderr
    assert "300 streamlines weighed, mu 0." in answer.stdout
    text = (tmp_path / "w.txt").read_bytes()
    assert text == (kept / "tractogram" / "sub-01_weights.txt").read_bytes()
    again = program(*given)
    assert again.returncode == 2 and "--force" in again.stderr
    assert (tmp_path / "w.txt").read_bytes() == text


def test_bad_input_leaves_no_file(kept, phantom, tmp_path):
    fod = next((kept / "dwi").glob("*wmfod_dwimap.nii.gz"))
    tractogram = kept / "tractogram" / "sub-01_desc-whole_streamlines.tck"
    out = tmp_path / "w.txt"
    files = WeighFiles(tractogram, tissue=phantom / "5tt.nii.gz")
    for wrong, said in (
        (WeighFiles(tissue=phantom / "5tt.nii.gz"), "needs a tractogram"),
        (WeighFiles(tmp_path / "none.tck"), "There is no"),
        (WeighFiles(tractogram, phantom / "5tt.nii.gz", phantom / "mask.nii.gz"), "Give one of them"),
    ):
        with pytest.raises(OptionError, match=said):
            weigh_tractogram(fod, wrong, out, WeighOptions(), Heard())
    with pytest.raises(OptionError, match=r"\.json"):
        weigh_tractogram(fod, files, tmp_path / "w.json", WeighOptions(), Heard())
    with pytest.raises(OptionError, match=r"\.png"):
        weigh_tractogram(fod, files, tmp_path / "w.png", WeighOptions(), Heard())
    answer = program("--fod", fod, "--tractogram", tractogram)
    assert answer.returncode == 2 and "--out" in answer.stderr
    assert contents(tmp_path) == {}
