"""An atlas comes to the subject through one registration, however many atlases there are."""

import dataclasses

import numpy as np
import pytest
from runs import OPTIONS, Heard, contents, do, files_of, words

from tractome.errors import RegistrationError
from tractome.io.atlases import add_atlas
from tractome.io.images import read_labels
from tractome.io.matrices import read_connectome
from tractome.options import ParcellateOptions
from tractome.pipeline import LabelSource, earlier_t1, old_subject, parcellate_subject
from tractome.stages.register import Registration, RegistrationQuality


@pytest.fixture
def atlases(phantom, tmp_path, monkeypatch):
    """Two atlases whose template is the phantom itself."""
    monkeypatch.setenv("TRACTOME_ATLAS_DIR", str(tmp_path / "atlases"))
    # The phantom's own table tells template centroids that are not those of this subject; they are not what is tested.
    table = tmp_path / "table.tsv"
    rows = [line.split("\t")[:3] for line in (phantom / "regions.tsv").read_text().splitlines()]
    table.write_text("\n".join("\t".join(row) for row in rows) + "\n")
    for name in ("first", "second"):
        add_atlas(name, phantom / "labels.nii.gz", table, description={"space": "phantom"})


@pytest.fixture
def registered(monkeypatch):
    """A registration that moves nothing, in place of the real one; how often it was done, and through what."""
    times = []

    def through(what, grid, mask):
        times.append(what)
        quality = RegistrationQuality(0.9, 0.9, 0.9, 1.1, 0.0, 1.0, 1.5e6)
        still = np.zeros((*grid.shape, 3), np.float32)
        return Registration(np.eye(4), still, grid, grid, np.eye(4), mask, quality, "phantom")

    def through_t1(t1, t1_grid, b0, grid, mask, *rest):
        return through("T1", grid, mask)

    def through_fa(fa, grid, mask, *rest):
        return through("FA", grid, mask)

    monkeypatch.setattr("tractome.pipeline.register.register_t1", through_t1)
    monkeypatch.setattr("tractome.pipeline.register.register_fa", through_fa)
    return times


def _options(atlas):
    return dataclasses.replace(OPTIONS, parcellate=ParcellateOptions(atlas=atlas))


def test_another_atlas_is_applied_without_registering_or_tracking_again(phantom, copy, atlases, registered):
    heard, records = do(phantom, copy, _options("first"), regions_from=LabelSource())
    assert heard.done == ["register", "parcellate", "connect", "export"]
    assert list(records) == ["fit", "register", "parcellate", "track", "connect", "export"]
    heard, _ = do(phantom, copy, _options("second"), regions_from=LabelSource())
    assert heard.done == ["parcellate", "connect", "export"]
    assert registered == ["FA"]
    heard, _ = do(phantom, copy, _options("first"), regions_from=LabelSource())
    assert heard.done == []


def test_a_registration_that_moves_nothing_gives_the_subjects_own_labels(phantom, copy, atlases, registered):
    do(phantom, copy, _options("first"), regions_from=LabelSource())
    root = copy / "sub-01"
    labels, _ = read_labels(root / "dwi/sub-01_seg-first_dseg.nii.gz")
    np.testing.assert_array_equal(labels, read_labels(phantom / "labels.nii.gz")[0])
    own, through = (
        read_connectome(root / f"connectivity/sub-01_seg-{name}_connectome.npz") for name in ("labels", "first")
    )
    np.testing.assert_array_equal(own.matrices["count"], through.matrices["count"])


def test_the_quality_is_recorded(phantom, copy, atlases, registered):
    _, records = do(phantom, copy, _options("first"), regions_from=LabelSource())
    assert records["register"].facts["quality"]["correlation"] == 0.9
    assert "correlation 0.90" in records["parcellate"].facts["registration"]["summary"]


def test_a_later_atlas_comes_through_the_t1_of_the_first(phantom, copy, atlases, registered):
    source = LabelSource(t1=phantom / "T1w.nii.gz")
    do(phantom, copy, _options("first"), regions_from=source)
    heard = Heard()
    with old_subject(copy, heard) as ledger:
        assert earlier_t1(ledger) == source.t1.resolve()
        parcellate_subject(ledger, ParcellateOptions(atlas="second"), LabelSource(t1=earlier_t1(ledger)))
    assert registered == ["T1"]
    assert heard.done == ["parcellate"]


def test_a_bad_registration_stops_the_run_and_leaves_no_matrix(phantom, copy, atlases, monkeypatch):
    def bad(*_):
        message = "The registration failed."
        raise RegistrationError(message)

    monkeypatch.setattr("tractome.pipeline.register.register_fa", bad)
    before = contents(copy)
    with pytest.raises(RegistrationError):
        do(phantom, copy, _options("first"), regions_from=LabelSource())
    assert contents(copy) == before


def test_the_t1_is_not_needed_for_labels(phantom, copy, registered):
    files = files_of(phantom)
    heard, _ = do(phantom, copy, regions_from=dataclasses.replace(files.regions_from, t1=phantom / "T1w.nii.gz"))
    assert heard.done == []
    assert registered == []


def test_several_atlases_in_one_run_cost_one_registration_and_one_tracking(phantom, copy, atlases, registered):
    heard, records = do(
        phantom, copy, _options("first"), regions_from=LabelSource(), further={"second": LabelSource()}, force=True
    )
    assert sorted(heard.done) == sorted(
        ["fit", "register", "parcellate", "parcellate", "track", "connect", "export", "connect", "export"]
    )
    assert registered == ["FA"]
    names = ("first", "second")
    one, other = (read_connectome(copy / f"sub-01/connectivity/sub-01_seg-{name}_connectome.npz") for name in names)
    assert np.array_equal(one.matrices["count"], other.matrices["count"])
    assert (one.regions.atlas, other.regions.atlas) == names
    assert {"parcellate", "connect", "parcellate/second", "connect/second", "export/second"} <= set(records)


def test_the_command_takes_atlases_with_commas_between(phantom, copy, atlases, registered):
    from typer.testing import CliRunner

    from tractome_cli.app import app

    done = CliRunner().invoke(app, words(phantom, copy, "--atlas", "labels,second")[3:])
    assert done.exit_code == 0, done.output
    assert "also second" in done.output
    assert (copy / "sub-01/connectivity/sub-01_seg-second_stat-count_relmat.tsv").is_file()
    wrong = CliRunner().invoke(app, words(phantom, copy, "--atlas", "labels,sceond")[3:])
    assert wrong.exit_code == 2
