"""Tracking until it is enough, from files to files: equal to a plain run, recorded, and done again when it must be."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from runs import OPTIONS, Heard, do, files_of
from test_cli import run_cli

from tractome.errors import OptionError, TableError, TrackingError
from tractome.io.images import read_labels, write_volume
from tractome.io.matrices import read_connectome
from tractome.io.tractograms import read_streamline_table
from tractome.options import ConnectOptions
from tractome.pipeline import Until, connect_subject, old_subject, track_subject

UNTIL = dataclasses.replace(OPTIONS.track, n_streamlines=None, until_cv=0.15)
TABLE, CURVE, PICTURE = (
    f"sub-01/{name}"
    for name in (
        "tractogram/sub-01_streamlines.trx",
        "tractogram/sub-01_convergence.tsv",
        "figures/sub-01_convergence.png",
    )
)


def again(copy, phantom, options=UNTIL, **words):
    heard = Heard()
    with old_subject(copy, heard) as ledger:
        until = Until.of(ledger, options, **words)
        return heard, track_subject(ledger, options, files_of(phantom).tracking, until=until)


def test_it_is_a_plain_run_of_the_number_it_stopped_at(phantom, copy):
    _, record = again(copy, phantom)
    facts, table = record.facts, (copy / TABLE).read_bytes()
    n = facts["n_accepted"]
    assert n > 1000 and facts["cv_met"] and 0.1 < facts["cv_reached"] <= 0.15
    assert facts["until_atlas"] == "labels" and record.options["until_cv"] == 0.15
    rows = [line.split("\t") for line in (copy / CURVE).read_text().splitlines()]
    assert [int(rows[-1][1]), int(rows[-1][0])] == [n, facts["n_looks"]] == [n, len(rows) - 1]
    assert all(float(row[3]) > 0.15 >= float(rows[-1][3]) for row in rows[1:-1])
    assert (copy / PICTURE).exists()
    # The error that was reached is that of the matrix that is made.
    with old_subject(copy, Heard()) as ledger:
        connect_subject(ledger, ConnectOptions())
        matrices = read_connectome(ledger.subject.connectome("labels")).matrices
    upper = np.triu_indices(len(matrices["count"]), 1)
    order = np.argsort(matrices["count"][upper])[::-1][: facts["n_edges_looked_at"]]
    cv = matrices["countse"][upper][order] / matrices["count"][upper][order]
    assert facts["cv_reached"] == pytest.approx(cv.max())
    # Blocks and threads change nothing; nor does a number in place of the target, but for the curve.
    _, other = again(copy, phantom, dataclasses.replace(UNTIL, block_size=61, n_threads=1, until_cv=0.15))
    assert other == record, "done before"
    (copy / CURVE).unlink()
    _, other = again(copy, phantom, dataclasses.replace(UNTIL, block_size=61, n_threads=1))
    assert (other.outputs, other.facts) == (record.outputs, facts)
    _, plain = again(copy, phantom, dataclasses.replace(OPTIONS.track, n_streamlines=n))
    assert (copy / TABLE).read_bytes() == table
    assert plain.facts == {name: facts[name] for name in plain.facts}
    assert not (copy / CURVE).exists() and not (copy / PICTURE).exists(), "a curve of other streamlines may not stay"
    assert not {"until", "until_cv", "max_streamlines"} & plain.options.keys() and "until_labels" not in plain.inputs


def test_what_is_looked_at_is_part_of_the_record(phantom, copy):
    heard, first = again(copy, phantom)
    assert heard.done == ["track"]
    heard, _ = again(copy, phantom, connect=ConnectOptions(statistics=("median",), pooled=True))
    assert heard.done == [], "counts do not depend on these"
    heard, record = again(copy, phantom, connect=ConnectOptions(radius_mm=6.0))
    assert heard.done == ["track"] and record.options["until"]["radius_mm"] == 6.0
    heard, record = again(copy, phantom, connect=ConnectOptions(assignment="forward"))
    assert heard.done == ["track"] and record.facts["cv_met"]
    labels = copy / "sub-01/dwi/sub-01_seg-labels_dseg.nii.gz"
    values, grid = read_labels(labels)
    write_volume(labels, np.where(values == values.max(), 0, values).astype(np.int32), grid)
    heard, record = again(copy, phantom)
    assert heard.done == ["track"] and record.inputs["until_labels"] != first.inputs["until_labels"]


def test_streamlines_can_be_had_again_even_when_labels_changed(phantom, copy):
    _, record = again(copy, phantom, dataclasses.replace(UNTIL, until_cv=0.25))
    table = read_streamline_table(copy / TABLE)
    assert table.n_streamlines == record.facts["n_accepted"]
    labels = copy / "sub-01/dwi/sub-01_seg-labels_dseg.nii.gz"
    values, grid = read_labels(labels)
    write_volume(labels, np.roll(values, 1, axis=2), grid)
    with old_subject(copy, Heard()) as ledger:
        connect_subject(ledger, ConnectOptions(assignment="forward"), retrace=True)
        assert read_connectome(ledger.subject.connectome("labels")).n_streamlines == table.n_streamlines


def test_a_target_that_is_not_met_is_said(phantom, copy):
    heard, record = again(copy, phantom, dataclasses.replace(UNTIL, max_streamlines=700))
    assert record.facts["n_accepted"] == 700 and not record.facts["cv_met"]
    assert "--until-cv 0.15 was not met" in heard.notes[-1] and "--max-streamlines" in heard.notes[-1]
    assert len((copy / CURVE).read_text().splitlines()) == 2


class Watched(Heard):
    """Remembers how far it was said to be."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def progress(self, what, unit=""):
        return lambda done, total: self.steps.append((done, total))


def test_progress_goes_towards_the_number_that_will_do(phantom, copy):
    heard = Watched()
    with old_subject(copy, heard) as ledger:
        record = track_subject(ledger, dataclasses.replace(UNTIL, max_streamlines=50_000), files_of(phantom).tracking)
    assert heard.steps[-1][0] == record.facts["n_accepted"] and heard.steps[0][1] == 50_000
    assert all(done <= total <= 50_000 for done, total in heard.steps)
    assert heard.steps[-1][1] < 1.5 * record.facts["n_accepted"]


def test_labels_that_no_streamline_reaches_end_it(phantom, copy, monkeypatch):
    from tractome.pipeline import until

    monkeypatch.setattr(until, "HOPELESS", 1000)
    labels = copy / "sub-01/dwi/sub-01_seg-labels_dseg.nii.gz"
    values, grid = read_labels(labels)
    nowhere = np.zeros_like(values)
    nowhere[0, 0, 0] = values.max()
    write_volume(labels, nowhere, grid)
    before = (copy / TABLE).read_bytes()
    with pytest.raises(TrackingError, match="None of 1,000 streamlines joins two regions of labels"):
        again(copy, phantom)
    assert (copy / TABLE).read_bytes() == before and not (copy / CURVE).exists()


def test_a_run_looks_at_its_first_atlas_with_its_own_assignment(phantom, tmp_path):
    options = dataclasses.replace(OPTIONS, track=UNTIL, connect=ConnectOptions(assignment="end-voxel"))
    _, records = do(phantom, tmp_path / "out", options)
    track = records["track"]
    assert track.options["until"] == {"atlas": "labels", "assignment": "end-voxel", "radius_mm": None}
    assert track.facts["cv_met"] and records["connect"].facts["n_streamlines"] == track.facts["n_accepted"]


def test_points_and_missing_parcellations_are_clear_errors(phantom, copy):
    points = dataclasses.replace(files_of(phantom).tracking, seed_points=phantom / "regions.tsv")
    with old_subject(copy, Heard()) as ledger:
        with pytest.raises(OptionError, match="random order"):
            track_subject(ledger, UNTIL, points)
        with pytest.raises(OptionError, match="it has: labels"):
            Until.of(ledger, UNTIL, "another")
        provenance = copy / "sub-01/provenance.json"
        content = json.loads(provenance.read_text())
        del content["stages"]["parcellate/labels"]
        provenance.write_text(json.dumps(content))
        with pytest.raises(TableError, match="tractome parcellate"):
            Until.of(ledger, UNTIL)


def test_the_command(phantom, copy):
    tissue = ("--tissue", phantom / "5tt.nii.gz")
    code, shown, _ = run_cli("track", copy, *tissue, "--until-cv", "0.25", "--atlas", "labels")
    assert code == 0 and "edges of labels (wanted 0.25)" in shown and "sub-01_convergence.tsv" in shown
    before = (copy / CURVE).read_bytes()
    code, _, said = run_cli("track", copy, *tissue, "--atlas", "labels")
    assert code == 2 and "--until-cv" in said
    assert (copy / CURVE).read_bytes() == before
