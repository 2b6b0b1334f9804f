"""Tracking until it is enough: fixed rounds, what is looked at, and the bytes of a plain run of that number."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_retrace import scene_of
from test_track import digest
from wirings import subject

from tractome.datatypes.tractogram import RejectReason
from tractome.errors import OptionError
from tractome.io.convergence import draw_convergence, write_convergence
from tractome.options import SEED_SOURCES, ConnectOptions, TrackOptions
from tractome.stages.connect import CARRIED, EdgeCounts, connect, look_at, round_ends, summarise
from tractome.stages.track import dynamic, track

DRAWN = sorted(set(SEED_SOURCES) - {"grid", "points"})
ENDS = (1, 2, 7, 7 + 41, 100, 101, 150, 10**9)


# --- blocks that end where a round ends -------------------------------------------------------------------------------


def taken(source, n_stop, **options):
    """All blocks up to the one that ends a round of `n_stop` streamlines."""
    field, chosen, more = scene_of(source, **options)
    blocks, n_accepted = [], 0
    for block in track(field, chosen, **more, round_ends=ENDS):
        blocks.append(block)
        n_accepted += block.n_streamlines
        if n_accepted == n_stop:
            return blocks
    return blocks


@pytest.mark.parametrize("n_stop", [1, 48, 150])
@pytest.mark.parametrize("source", DRAWN)
def test_who_stops_at_the_end_of_a_round_has_a_plain_run_of_that_number(source, n_stop, monkeypatch):
    monkeypatch.setattr(dynamic, "FIRST_ROUND", 10**6)  # a dynamic source looks ahead to the number that is wanted
    plain = {"n_streamlines": n_stop, "block_size": 5000}
    field, options, more = scene_of(source, **plain)
    expected = digest(track(field, options, **more))
    for block_size, n_threads in ((37, 1), (5000, 2)):
        blocks = taken(source, n_stop, until_cv=0.1, block_size=block_size, n_threads=n_threads)
        assert digest(blocks) == expected


def test_every_round_ends_with_a_block_and_nothing_is_lost():
    field, options, more = scene_of("balanced", n_seeds=2000)
    whole = list(track(field, options, **more))
    parts = list(track(field, options, **more, round_ends=ENDS))
    totals = np.cumsum([part.n_streamlines for part in parts])
    assert set(ENDS[:-1]) <= set(totals) and totals[-1] > 150
    assert digest(parts) == digest(whole)
    for part in parts:
        assert part.n_seeds == part.n_streamlines + sum(part.rejected.values())
        assert all(isinstance(reason, RejectReason) for reason in part.rejected)


def test_leaving_early_leaves_nothing_behind():
    field, options, more = scene_of("balanced", until_cv=0.1)
    blocks = track(field, options, **more, round_ends=(5, 10))
    assert next(blocks).n_streamlines == 5
    blocks.close()
    with pytest.raises(StopIteration):
        next(blocks)


# --- when to look, and at what ----------------------------------------------------------------------------------------


@given(st.integers(1, 10**7))
def test_rounds_are_fixed_and_a_twentieth_apart(n_most):
    ends = list(round_ends(n_most))
    assert ends[-1] == n_most and ends[0] == min(1000, n_most)
    assert all(a < b <= -(-a * 21 // 20) for a, b in itertools.pairwise(ends))
    assert ends[:-1] == list(round_ends(10**7))[: len(ends) - 1], "whatever the most is"


def naive_look(counts, n, target):
    """Edges one by one."""
    edges = sorted((counts[i, j] for i in range(len(counts)) for j in range(i + 1, len(counts))), reverse=True)
    carrying = []
    while sum(carrying) < CARRIED * sum(edges):
        carrying.append(edges[len(carrying)])
    cv = [np.sqrt(c * (1 - c / n) * n / (n - 1)) / c for c in carrying]
    within = sum(c for c, error in zip(carrying, cv, strict=True) if error <= target)
    return len(carrying), max(cv), np.median(cv), within / sum(carrying)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(2, 8), st.sampled_from([0.05, 0.2]))
def test_a_look_is_its_slow_twin_and_order_of_regions_changes_nothing(seed, n_regions, target):
    rng = np.random.default_rng(seed)
    counts = np.triu(rng.integers(0, 300, (n_regions, n_regions)))
    counts[0, 1] += 1
    n = int(counts.sum()) + 5
    look = look_at(counts, n, target)
    found = (look.n_edges, look.largest_cv, look.median_cv, look.share_within)
    np.testing.assert_allclose(found, naive_look(counts, n, target), rtol=1e-12)
    assert look.is_enough(target) == (look.largest_cv <= target) == (look.share_within == 1)
    order = rng.permutation(n_regions)
    turned = (counts + np.tril(counts.T, -1))[np.ix_(order, order)]
    assert look_at(np.triu(turned), n, target) == look
    more = counts + np.diag(rng.integers(0, 300, n_regions))
    assert look_at(more, n, target) == look, "streamlines within one region do not carry"


def test_looks_by_hand():
    # 90 + 9 + 1: the first alone holds 90 percent.
    counts = np.triu(np.array([[0, 90, 9], [0, 0, 1], [0, 0, 0]]))
    assert (look_at(counts, 200, 0.2).n_edges, look_at(counts, 200, 0.2).share_within) == (1, 1.0)
    assert look_at(counts, 200, 0.2).largest_cv == pytest.approx(np.sqrt(1 / 90 * (1 - 90 / 200) * 200 / 199))
    empty = look_at(np.zeros((3, 3), np.int64), 1000, 0.2)
    assert empty.n_edges == 0 and not empty.is_enough(0.2)
    assert not look_at(np.triu(np.ones((2, 2), np.int64)), 1, 0.2).is_enough(0.2)  # one streamline says nothing


@pytest.mark.parametrize("assignment", ["radial", "end-voxel", "forward"])
def test_edges_are_counted_as_connect_counts_them(assignment):
    parcellation, _, streamlines = subject(5, 300)
    options = ConnectOptions(assignment=assignment, radius_mm=3.0)
    tables = [summarise(streamlines, [], directions=True)] * 2
    counts = EdgeCounts(parcellation, options)
    for table in tables:
        counts.add(table)
    assert counts.n_streamlines == 600 and counts.counts.sum() > 20
    assert counts.needs_directions == (assignment == "forward")
    made = connect(tables, parcellation, options).matrices["count"]
    np.testing.assert_array_equal(counts.counts, np.triu(made))


def simulated_stop(p, target, rng):
    """Number at which draws among edges of probabilities `p` (the last: none) are enough."""
    rows, columns = np.triu_indices(int((1 + np.sqrt(1 + 8 * (len(p) - 1))) / 2), 1)
    counts, drawn, before = np.zeros((rows.max() + 2,) * 2, np.int64), np.zeros(len(p), np.int64), 0
    for n in round_ends(10**7):
        drawn += rng.multinomial(n - before, p)
        counts[rows, columns], before = drawn[:-1], n
        if look_at(counts, n, target).is_enough(target):
            return n
    raise AssertionError


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("target", [0.3, 0.2, 0.1])
def test_draws_stop_where_the_target_is_truly_met(target, seed):
    """Stopping by noisy counts neither stops too early nor too late, whatever edge is the weakest one looked at."""
    rng = np.random.default_rng(seed)
    weights = np.sort(rng.lognormal(0, 2, 190))[::-1]
    p = np.append(0.8 * weights / weights.sum(), 0.2)
    weakest = p[np.searchsorted(np.cumsum(p[:-1]), CARRIED * p[:-1].sum())]
    truly = (1 - weakest) / weakest / target**2
    ratios = np.array([simulated_stop(p, target, rng) / truly for _ in range(12)])
    assert 0.85 < np.median(ratios) < 1.2
    assert np.mean(np.abs(ratios - 1) < 0.25) >= 0.75


# --- options and files ------------------------------------------------------------------------------------------------

BAD = {
    "with a number": ({"n_streamlines": 5}, "--streamlines"),
    "with seeds": ({"n_seeds": 5}, "--seeds"),
    "with a grid": ({"seed_source": "grid"}, "random order"),
    "with points": ({"seed_source": "points"}, "random order"),
    "too large": ({"until_cv": 0.5}, "0.3"),
    "a limit alone": ({"until_cv": None, "max_streamlines": 5}, "--until-cv"),
}


@pytest.mark.parametrize("case", BAD)
def test_contradicting_options_are_a_clear_error(case):
    changed, words = BAD[case]
    with pytest.raises(OptionError, match=words):
        TrackOptions(**{"until_cv": 0.1} | changed)


def test_the_table_and_the_picture(tmp_path):
    looks = [look_at(np.zeros((2, 2), np.int64), 1000, 0.1)]
    looks += [look_at(np.array([[0, n // 20], [0, 0]]), n, 0.1) for n in round_ends(3000)][1:]
    write_convergence(tmp_path / "c.tsv", looks)
    lines = [line.split("\t") for line in (tmp_path / "c.tsv").read_text().splitlines()]
    assert lines[1] == ["1", "1000", "0", "n/a", "n/a", "0"] and len(lines) == len(looks) + 1
    for line, look in zip(lines[2:], looks[1:], strict=True):
        assert dict(zip(lines[0], line, strict=True))["largest_cv"] == f"{look.largest_cv:.6g}"
    for name in ("one.png", "two.png"):
        draw_convergence(tmp_path / name, looks, 0.1, "labels")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    shown = dataclasses.replace(looks[-1], n_streamlines=4000)
    draw_convergence(tmp_path / "two.png", [*looks, shown], 0.1, "labels")
    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "two.png").read_bytes()
