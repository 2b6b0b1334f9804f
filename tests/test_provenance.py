"""What decides whether a stage is done: laws of the key and of the record."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tractome.options import ConnectOptions, FitOptions, ReadOptions, TrackOptions
from tractome.provenance import MemoryWatch, StageRecord, machine, option_values, stage_key


def _key(**changed):
    given = {"stage": "track", "options": {"radius_mm": 4.0}, "inputs": {"fod": "aa"}, "code": "c"} | changed
    return stage_key(**given)


def test_key_is_the_same_for_the_same_work():
    assert _key() == _key()
    assert len(_key()) == 64


def test_key_changes_with_anything_that_matters():
    others = [
        _key(stage="connect"),
        _key(options={"radius_mm": 4.5}),
        _key(options={"radius_mm": 4.0, "more": None}),
        _key(inputs={"fod": "ab"}),
        _key(inputs={"mask": "aa"}),
        _key(code="d"),
    ]
    assert len({_key(), *others}) == 1 + len(others)


def test_key_does_not_depend_on_order():
    forward = _key(options={"a": 1, "b": 2}, inputs={"x": "1", "y": "2"})
    assert forward == _key(options={"b": 2, "a": 1}, inputs={"y": "2", "x": "1"})


def test_threads_and_block_size_are_no_part_of_the_key():
    few, many = TrackOptions(n_threads=1, block_size=10), TrackOptions(n_threads=8, block_size=5000)
    assert option_values(few) == option_values(many)
    assert option_values(few) != option_values(TrackOptions(random_seed=1))


def test_option_values_merge_and_are_plain():
    values = option_values(ReadOptions(), FitOptions(), ConnectOptions())
    assert values["b0_threshold_s_per_mm2"] == 50.0
    assert values["radius_mm"] == 4.0
    assert json.loads(json.dumps(values)) == values


def test_record_comes_back_from_json():
    record = StageRecord(key="k", status="done", options={"a": 1}, inputs={"x": "1"}, outputs={"f": "2"}, seconds=1.5)
    values = json.loads(json.dumps(record.as_dict()))
    assert StageRecord.from_dict(values) == record
    assert StageRecord.from_dict(values | {"field_of_a_later_version": 1}) == record


def test_machine_names_what_a_result_may_depend_on():
    described = machine()
    assert described["packages"]["numpy"] != "not installed"
    assert described["n_cores"] >= 1


def test_the_watch_sees_a_large_array():
    block = bytearray(200_000_000)
    block[::4096] = b"x" * len(block[::4096])
    seen = MemoryWatch().peak_mb()
    del block
    assert seen > 200


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux can measure anew")
def test_the_watch_does_not_see_what_was_before():
    block = bytearray(300_000_000)
    block[::4096] = b"x" * len(block[::4096])
    before = MemoryWatch().peak_mb()
    del block
    assert MemoryWatch().peak_mb() < before - 250


def test_the_watch_sees_a_child():
    watch = MemoryWatch()
    size = int(watch.peak_mb() * 1e6) + 400_000_000
    code = f"b = bytearray({size}); b[::4096] = b'x' * len(b[::4096])"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert watch.peak_mb() > size / 1e6
