"""Tracking from files: seeds of every kind, masks, what is recorded of them, and a table that is streamed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from runs import OPTIONS, contents, files_of
from test_cli import run_cli
from wirings import scalar_map, tractogram

from tractome.datatypes.grid import Grid
from tractome.errors import ImageError, OptionError, TableError
from tractome.io.images import read_mask, write_volume
from tractome.io.tractograms import StreamlineTableWriter, read_streamline_table, write_streamline_table
from tractome.options import SEED_SOURCES, TrackOptions
from tractome.pipeline import LogListener, TrackingFiles, old_subject, track_subject
from tractome.stages.connect import concatenate, summarise


@pytest.fixture(scope="module")
def halves(phantom, tmp_path_factory):
    """Masks of the left and the right half of the brain, twice as fine as the scan, by name."""
    _, grid = read_mask(phantom / "mask.nii.gz")
    fine = Grid(tuple(2 * n for n in grid.shape), grid.affine @ np.diag([0.5, 0.5, 0.5, 1.0]))
    x = fine.to_world(np.moveaxis(np.indices(fine.shape), 0, -1))[..., 0]
    folder = tmp_path_factory.mktemp("halves")
    for name, inside in (("left", x < 0), ("right", x > 0)):
        write_volume(folder / f"{name}.nii.gz", inside.astype(np.uint8), fine)
    return {name: folder / f"{name}.nii.gz" for name in ("left", "right")}


def again(copy, files, **options):
    with old_subject(copy, LogListener()) as ledger:
        return track_subject(ledger, dataclasses.replace(OPTIONS.track, **options), files)


def table_of(copy):
    return read_streamline_table(copy / "sub-01/tractogram/sub-01_streamlines.trx")


@pytest.mark.parametrize("source", sorted(set(SEED_SOURCES) - {"points"}))
def test_every_seed_source_is_tracked_and_recorded(phantom, copy, source):
    finite = source == "grid"
    record = again(
        copy, files_of(phantom).tracking, seed_source=source, seeds_per_axis=1, n_streamlines=None if finite else 250
    )
    facts = record.facts
    assert facts["seed_source"] == source == record.options["seed_source"]
    assert facts["n_seeds"] == facts["n_accepted"] + sum(facts["rejected"].values())
    assert facts["n_accepted"] == table_of(copy).n_streamlines > 20
    assert finite or facts["n_accepted"] == 250


def test_given_points_are_tracked_and_recorded(phantom, copy, tmp_path):
    mask, grid = read_mask(phantom / "mask.nii.gz")
    places = grid.to_world(np.argwhere(mask)[::40])
    np.savetxt(tmp_path / "points.csv", places, delimiter=",", header="x,y,z", comments="")
    files = dataclasses.replace(files_of(phantom).tracking, seed_points=tmp_path / "points.csv")
    record = again(copy, files, n_streamlines=None, seeds_per_point=9)
    assert record.facts["seed_source"] == "points" and record.facts["n_seeds"] == 9 * len(places)
    assert record.input_paths["seed_points"] == str(tmp_path / "points.csv")


def test_masks_are_kept_and_recorded(phantom, copy, halves):
    files = dataclasses.replace(files_of(phantom).tracking, include=(halves["left"],), exclude=(halves["right"],))
    record = again(copy, files, n_streamlines=100)
    assert (table_of(copy).ends_mm[..., 0] < 0.1).all()
    assert record.facts["rejected"]["entered_exclude"] > 10
    assert {"include_1", "exclude_1"} <= record.inputs.keys()
    both = dataclasses.replace(files, include=(halves["left"], halves["right"]), exclude=())
    record = again(copy, both, n_streamlines=10)
    assert record.facts["rejected"]["missed_include"] > 10 and "entered_exclude" not in record.facts["rejected"]
    # The rows hold the ends only: they are on either side, or both on one after a way through the other.
    assert (np.sign(table_of(copy).ends_mm[..., 0]).prod(axis=1) < 0).mean() > 0.5
    within = dataclasses.replace(files, include=(), exclude=(), within=halves["left"])
    record = again(copy, within, n_streamlines=100)
    assert record.facts["stopped"]["left_mask"] > 0 and "tracking_mask" in record.inputs
    assert (table_of(copy).ends_mm[..., 0] < 3.0).all()


def test_bytes_do_not_depend_on_blocks(phantom, copy):
    with old_subject(copy, LogListener(), force=True) as ledger:
        record = track_subject(
            ledger, dataclasses.replace(OPTIONS.track, block_size=31, n_threads=1), files_of(phantom).tracking
        )
        other = track_subject(ledger, OPTIONS.track, files_of(phantom).tracking)
    assert record.outputs == other.outputs and record.facts == other.facts


def test_the_command_takes_masks_and_grid_seeds(phantom, copy, halves):
    code, _, said = run_cli(
        "track", copy, "--tissue", phantom / "5tt.nii.gz", "--seed-source", "grid", "--seeds-per-axis", "1",
        "--include", halves["left"], "--include", halves["right"], "--exclude", halves["left"],
    )  # fmt: skip
    assert code == 2 and "0 streamlines were accepted" in said and "entered exclude" in said
    before = contents(copy)
    code, _, said = run_cli("track", copy, "--include", copy / "nowhere.nii.gz")
    assert code == 2 and "--include" in said
    assert contents(copy) == before


BAD = {
    "points without a file": (OptionError, "--seed-points", {"seed_source": "points"}, {}),
    "a missing mask": (ImageError, "given with --exclude", {}, {"exclude": ("nowhere.nii.gz",)}),
    "a missing tracking mask": (ImageError, "given with --tracking-mask", {}, {"within": "nowhere.nii.gz"}),
    "points and mask": (OptionError, "Give one of them", {}, {"seed_points": "mask", "seed_mask": "mask"}),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_a_clear_error(phantom, copy, tmp_path, case):
    error, words, options, given = BAD[case]
    place = {"mask": phantom / "mask.nii.gz", "nowhere.nii.gz": tmp_path / "nowhere.nii.gz"}
    files = TrackingFiles(**{
        name: tuple(place[each] for each in value) if isinstance(value, tuple) else place[value]
        for name, value in given.items()
    })  # fmt: skip
    with pytest.raises(error, match=words):
        again(copy, files, **options)


# --- the table, written as it comes -----------------------------------------------------------------------------------


def test_a_streamed_table_has_the_bytes_of_a_whole_one(tmp_path):
    rng = np.random.default_rng(0)
    grid = Grid((9, 8, 7), np.diag([2.0, 2, 2, 1]))
    maps = [scalar_map(rng, grid), scalar_map(rng, grid, "md", "mm2/s")]
    tables = [summarise(tractogram(rng, grid, n), maps) for n in (5, 1, 30)]
    write_streamline_table(tmp_path / "whole.trx", concatenate(tables), grid)
    with StreamlineTableWriter(tmp_path / "streamed.trx", grid, tables[0].units) as writer:
        for table in tables:
            writer.write(table)
    assert (tmp_path / "streamed.trx").read_bytes() == (tmp_path / "whole.trx").read_bytes()
    with (
        pytest.raises(TableError, match="same maps"),
        StreamlineTableWriter(tmp_path / "odd.trx", grid, {"fa": "unitless"}) as writer,
    ):
        writer.write(tables[0])
    assert not (tmp_path / "odd.trx").exists()


def test_a_table_s_memory_is_its_columns(tmp_path):
    """What is held per streamline is what the class says: ends go straight to the file."""
    import tracemalloc

    grid = Grid((9, 8, 7), np.diag([2.0, 2, 2, 1]))
    rng = np.random.default_rng(0)
    table = summarise(tractogram(rng, grid, 2000), [scalar_map(rng, grid)])
    with StreamlineTableWriter(tmp_path / "table.trx", grid, table.units) as writer:
        tracemalloc.start()
        for _ in range(100):
            writer.write(table)
        held, _ = tracemalloc.get_traced_memory()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    per_streamline = 12 + 4 + 4  # number and length, one map, the number of points
    assert held < 1.1 * per_streamline * 200_000
    assert peak < held + 2_000_000, "nothing is joined at the end"
    assert TrackOptions().n_streamlines is None
