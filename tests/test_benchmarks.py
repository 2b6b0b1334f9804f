"""The machinery of benchmarks/: turns, rates, memory, inputs and tables. No peer program is needed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
pytestmark = pytest.mark.skipif(not BENCHMARKS.exists(), reason="only in a checkout")


@pytest.fixture(autouse=True)
def _import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for path in BENCHMARKS.glob("*.py"):
        sys.modules.pop(path.stem, None)


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_memory_and_time_are_the_programs_own_not_the_benchmarks(tmp_path: Path) -> None:
    from measure import run_measured

    held = np.ones(300 * 2**20 // 8)  # touched: part of this process, whose children begin with its peak
    found = run_measured(_python("import time; time.sleep(0.3)"), tmp_path / "log")
    assert held.nbytes > 250 * 2**20 and found.peak_mib < 100
    assert 0.3 <= found.wall_s < 10
    big = run_measured(_python("x = bytearray(150 * 2**20)"), tmp_path / "log")
    assert big.peak_mib > 150


def test_a_failing_program_stops_with_its_last_words(tmp_path: Path) -> None:
    from measure import run_measured

    with pytest.raises(SystemExit, match="the last words"):
        run_measured(_python("import sys; print('the last words'); sys.exit(3)"), tmp_path / "log")


def test_sides_run_in_turns_and_ratios_are_of_rates(tmp_path: Path) -> None:
    from measure import Side, contest

    order = tmp_path / "order"
    kernels = tmp_path / "kernels"

    def side(program: str, seconds: float, work: float) -> Side:
        code = (
            f"import os, time; open({str(order)!r}, 'a').write({program!r}[0]); time.sleep({seconds}); "
            f"open({str(kernels)!r}, 'a').write(os.environ['TRACTOME_CACHE_DIR'] + chr(10))"
        )
        return Side(program, "", [_python(code)], work, compiles=program == "ours")

    lines = contest("turns", [side("ours", 0.1, 300), side("theirs", 0.3, 100)], 3, tmp_path)
    assert order.read_text() == "o" + "ot" * 3  # the one that compiles is not counted
    assert len(lines[0]["walls_s"]) == 3
    assert lines[0]["ratio"] == pytest.approx(
        (300 / np.median(lines[0]["walls_s"])) / (100 / np.median(lines[1]["walls_s"]))
    )
    assert lines[0]["ratio"] > 3 and lines[1]["ratio"] == 1
    assert "compile_s" in lines[0] and "compile_s" not in lines[1]
    # A side keeps its kernel cache, and no two sides share one.
    places = kernels.read_text().split()
    assert len(set(places)) == 2 and places[0] == places[1] != places[2] == places[4]


def test_a_thinned_mask_has_the_number_asked_for_spread_over_the_mask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import inputs
    import nibabel

    monkeypatch.setattr(inputs, "CACHE", tmp_path / "cache")
    inside = np.zeros((20, 20, 20), np.uint8)
    inside[3:17, 2:18, 4:16] = 1
    nibabel.save(nibabel.Nifti1Image(inside, np.eye(4)), tmp_path / "mask.nii.gz")
    found = inputs.thinned_mask(tmp_path / "mask.nii.gz", 500)
    kept = np.asarray(nibabel.load(found).dataobj)
    assert inputs.count_voxels(found) == 500
    assert (inside[kept > 0] == 1).all()
    per_slice = kept.sum(axis=(1, 2))[3:17]
    assert per_slice.max() - per_slice.min() <= 2
    assert inputs.thinned_mask(tmp_path / "mask.nii.gz", 500) == found


def test_a_tck_file_is_described_as_it_is(tmp_path: Path) -> None:
    from tracks import describe, seeds_tried

    from tractome.datatypes.grid import Grid
    from tractome.datatypes.tractogram import Tractogram
    from tractome.io.tractograms import TractogramWriter

    points = np.array([[0, 0, 0], [3, 0, 0], [3, 4, 0], [50, 50, 50], [50, 50, 51]], np.float32)
    block = Tractogram(points, np.array([0, 3, 5]), np.arange(2), np.zeros((2, 2), np.int8))
    with TractogramWriter(tmp_path / "a.tck", Grid((5, 5, 5), np.eye(4))) as writer:
        writer.write(block)
    assert describe(tmp_path / "a.tck") == {"n_streamlines": 2, "n_points": 5, "mean_length_mm": 4.0}
    (tmp_path / "b.tck").write_bytes(b"mrtrix tracks\ncount: 5\ntotal_count: 12\nfile: . 60\nEND\n")
    assert seeds_tried(tmp_path / "b.tck") == 12


def _report() -> dict:
    line = {
        "what": "x",
        "work": 1.0,
        "wall_s": 2.0,
        "walls_s": [2.0, 1.9, 2.1],
        "cpu_s": 2.0,
        "peak_mib": 10.0,
        "rate": 0.5,
    }
    lines = [
        {**line, "program": "tractome", "ratio": 4.0, "compile_s": 3.0, "rate": 2000.0},
        {**line, "program": "MRtrix3", "ratio": 1.0, "rate": 500.0},
    ]
    machine = dict.fromkeys(
        ("processor", "cores", "memory", "python", "mrtrix3", "tractome", "dipy", "numpy", "numba"), "1"
    )
    record = {"title": "CSD", "unit": "voxels", "lines": lines, "note": "on a phantom"}
    return {"csd": {"when": "today", "machine": machine, "repeats": 3, "quick": False, "records": [record]}}


def test_tables_take_their_places_and_leave_the_text_alone(tmp_path: Path) -> None:
    import table

    document = tmp_path / "page.md"
    document.write_text("before\n<!-- table csd -->\nold\n<!-- end csd -->\nafter\n")
    report = _report()
    tables = {name: table.section(name, result) for name, result in report.items()}
    assert table.put(document, {**tables, "msmt": "nowhere"}) == ["csd"]
    text = document.read_text()
    assert text.startswith("before\n<!-- table csd -->\n| job |") and text.endswith("<!-- end csd -->\nafter\n")
    assert "**4.0**" in text and "old" not in text and "Median of 3. today" in text
    # Once more is the same.
    table.put(document, tables)
    assert document.read_text() == text


def test_the_documents_have_a_place_for_every_comparison() -> None:
    import bench
    import table

    page = table.DOCUMENT.read_text()
    for name in bench.COMPARISONS:
        assert page.count(f"<!-- table {name} -->\n") == page.count(f"\n<!-- end {name} -->") == 1
    readme = table.README.read_text()
    for name in ("accuracy", "speed"):
        assert readme.count(f"<!-- table {name} -->\n") == readme.count(f"\n<!-- end {name} -->") == 1


def test_what_is_demanded_is_compared_with_each_variant() -> None:
    from rows_accuracy import SCORES, shortfalls

    high, low = dict.fromkeys(SCORES, 0.6), dict.fromkeys(SCORES, 0.4)
    ours = dict.fromkeys(SCORES, 0.5)
    assert shortfalls(ours, {"a": low, "b": low}) == {"best": "nothing", "any": "nothing"}
    # The best variant is that of the highest AP; another one may be higher in r.
    theirs = {"a": {**low, "ap": 0.5}, "b": {**low, "r": 0.6}}
    assert shortfalls(ours, theirs) == {"best": "nothing", "any": "r"}
    assert shortfalls(ours, {"a": high})["any"] == "AP, r, U >= 1"


def test_angular_correlation_is_of_shape_alone() -> None:
    from agreement import angular_correlation

    rng = np.random.default_rng(0)
    series = rng.normal(size=(5, 15))
    scaled = 3 * series
    scaled[:, 0] += 7  # the mean is no shape
    assert angular_correlation(series, scaled) == pytest.approx(1)
    assert angular_correlation(series, -series) == pytest.approx(-1)
    orthogonal = np.zeros((2, 15))
    orthogonal[0, 1] = orthogonal[1, 2] = 1
    assert angular_correlation(orthogonal[:1], orthogonal[1:]) == pytest.approx(0)
    assert np.isnan(angular_correlation(np.zeros((1, 15)), series[:1])).all()


def test_the_area_under_the_roc_counts_ties_half() -> None:
    from rows_chance import roc, roc_area

    is_true = np.array([True, True, False, False, False, True])
    assert roc_area(np.array([3.0, 4, 0, 1, 2, 5]), is_true) == 1
    assert roc_area(-np.array([3.0, 4, 0, 1, 2, 5]), is_true) == 0
    assert roc_area(np.zeros(6), is_true) == 0.5
    values = np.array([1.0, 0, 0, 1, 2, 2])
    pairs = [(t > f) + 0.5 * (t == f) for t in values[is_true] for f in values[~is_true]]
    assert roc_area(values, is_true) == pytest.approx(np.mean(pairs))
    # Its curve has that area too, and goes from corner to corner.
    rates = np.linspace(0, 1, 100_001)
    assert np.trapezoid(roc(values, is_true, rates), rates) == pytest.approx(np.mean(pairs), abs=1e-4)
    assert roc(np.zeros(6), is_true, np.array([0, 0.25, 1])) == pytest.approx([0, 0.25, 1])


def test_p_values_are_scored_by_what_they_promise() -> None:
    from rows_chance import scores

    truth = np.zeros((30, 30))
    truth[0, 1:11] = truth[1:11, 0] = 5
    count = np.ones_like(truth) + truth
    p = np.where(truth > 0, 1e-5, 0.5)
    p[0, 29] = p[29, 0] = 0.03
    p[1, 29] = p[29, 1] = np.nan
    count[1, 29] = count[29, 1] = 0
    found = scores({"count": count, "invnodevol": count, "pvalue": p}, truth)
    n_false = 30 * 29 // 2 - 10
    assert found["pvalue"]["auc"] == 1 and found["true"]["0.01"] == 1
    assert found["false"] == {"0.05": pytest.approx(1 / n_false), "0.01": 0, "0.001": 0}
    assert found["corrected"] == {"n": 10, "true": 1.0}
