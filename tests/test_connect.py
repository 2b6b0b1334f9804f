"""connect: laws of the matrices, the slow twin, and MRtrix3's matrices entry by entry."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from dataclasses import replace

import naive
import numpy as np
import pytest
import wirings
from hypothesis import given, settings
from hypothesis import strategies as st

from tractome.datatypes.grid import Grid
from tractome.datatypes.parcellation import Parcellation, RegionTable
from tractome.errors import OptionError, TableError
from tractome.options import ConnectOptions
from tractome.stages.connect import (
    ASSIGNMENT_METHODS,
    EDGE_MEASURES,
    ConnectomeBuilder,
    assign,
    connect,
    regional_means,
)
from tractome.stages.connect import summarise as summarise_block

ALL_MAPS = ("fa", "md", "ad", "rd")
SEEDS = st.integers(0, 2**32 - 1)
METHODS = st.sampled_from(sorted(ASSIGNMENT_METHODS))
LAWS = settings(max_examples=25, deadline=None)


def summarise(block, maps):
    return summarise_block(block, maps, directions=True, crossed=True)


def with_weights(table, mu=0.5):
    return replace(table, weights=np.random.default_rng(0).exponential(size=table.n_streamlines), mu=mu)


def options(assignment="radial"):
    return ConnectOptions(assignment=assignment, radius_mm=2.0)


@pytest.mark.parametrize("assignment", ASSIGNMENT_METHODS)
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_slow_twin(seed, assignment):
    parcellation, maps, streamlines = wirings.subject(seed, 200, ALL_MAPS)
    table = summarise(streamlines, maps)
    made = connect(table, parcellation, options(assignment))
    values = [table.length_mm, *(table.means[name] for name in ALL_MAPS)]
    counts, means, n_unassigned = naive.edges(assign(table, parcellation, options(assignment)), values, 6)
    np.testing.assert_array_equal(made.matrices["count"], counts)
    for name, expected in zip(("length", *ALL_MAPS), means, strict=True):
        np.testing.assert_allclose(made.matrices[name], expected, rtol=1e-12)
    assert made.n_unassigned == n_unassigned
    assert 0 < n_unassigned < 200


@given(SEEDS, METHODS)
@LAWS
def test_each_streamline_counts_once(seed, assignment):
    parcellation, maps, streamlines = wirings.subject(seed)
    made = connect(summarise(streamlines, maps), parcellation, options(assignment))
    assert np.triu(made.matrices["count"]).sum() + made.n_unassigned == made.n_streamlines == 60


@given(SEEDS, METHODS)
@LAWS
def test_renumbering_labels_only_permutes(seed, assignment):
    parcellation, maps, streamlines = wirings.subject(seed)
    rng = np.random.default_rng(seed)
    n_regions = parcellation.regions.n_regions
    order = rng.permutation(n_regions)
    row_of = np.append(np.argsort(order), -1).astype(np.int32)
    old = parcellation.regions
    table = RegionTable(
        rng.permutation(1000)[:n_regions] + 1,
        *(tuple(getattr(old, c)[i] for i in order) for c in ("names", "hemispheres", "structures", "networks")),
        old.centroids_mm[order],
        old.atlas,
    )
    renumbered = Parcellation(
        row_of[parcellation.rows],
        parcellation.grid,
        table,
        parcellation.centroids_mm[order],
        parcellation.volumes_mm3[order],
    )
    streamline_table = summarise(streamlines, maps)
    before = connect(streamline_table, parcellation, options(assignment))
    after = connect(streamline_table, renumbered, options(assignment))
    for name, matrix in before.matrices.items():
        np.testing.assert_array_equal(after.matrices[name], matrix[np.ix_(order, order)])


@given(SEEDS, METHODS)
@LAWS
def test_reversal_changes_nothing(seed, assignment):
    parcellation, maps, streamlines = wirings.subject(seed)
    turned = wirings.block([streamlines.streamline(i)[::-1] for i in range(streamlines.n_streamlines)])
    before = connect(summarise(streamlines, maps), parcellation, options(assignment))
    after = connect(summarise(turned, maps), parcellation, options(assignment))
    for name, matrix in before.matrices.items():
        np.testing.assert_allclose(after.matrices[name], matrix, rtol=1e-6)


@given(SEEDS, st.lists(st.integers(0, 60), max_size=4))
@LAWS
def test_cutting_into_batches_changes_no_byte(seed, cuts):
    parcellation, maps, streamlines = wirings.subject(seed)
    whole = connect(summarise(streamlines, maps), parcellation, options())
    edges = [0, *sorted(cuts), 60]
    parts = [
        summarise(wirings.block([streamlines.streamline(i) for i in range(a, b)]), maps)
        for a, b in itertools.pairwise(edges)
    ]
    pieces = connect(iter(parts), parcellation, options())
    for name, matrix in whole.matrices.items():
        assert matrix.tobytes() == pieces.matrices[name].tobytes()
    assert (whole.n_streamlines, whole.n_unassigned) == (pieces.n_streamlines, pieces.n_unassigned)
    # And counts of separate connectomes add up.
    alone = [connect(part, parcellation, options()).matrices["count"] for part in parts]
    np.testing.assert_array_equal(sum(alone), whole.matrices["count"])


@pytest.mark.parametrize("name", EDGE_MEASURES)
def test_every_measure_is_symmetric_and_absent_where_no_streamline_runs(name):
    parcellation, maps, streamlines = wirings.subject(3, 150, ALL_MAPS)
    made = connect(with_weights(summarise(streamlines, maps)), parcellation, options())
    matrix, count = made.matrices[name], made.matrices["count"]
    np.testing.assert_array_equal(matrix, matrix.T)
    assert matrix.shape == (6, 6)
    empty = matrix[count == 0]
    assert len(empty) and (np.isnan(empty).all() if made.measures[name].is_mean else (empty == 0).all())
    assert made.measures[name].unit and made.measures[name].definition
    assert np.trace(count) > 0, "self-connections are kept"


@pytest.mark.parametrize("name", EDGE_MEASURES)
def test_doubling_the_streamlines_doubles_sums_and_keeps_means(name):
    parcellation, maps, streamlines = wirings.subject(4, 80, ALL_MAPS)
    table = with_weights(summarise(streamlines, maps))
    once, twice = connect(table, parcellation, options()), connect([table, table], parcellation, options())
    factor = 2.0 if name in ("count", "invnodevol", "density", "weight") else 1.0
    np.testing.assert_allclose(twice.matrices[name], factor * once.matrices[name], rtol=1e-12)


def test_values_on_a_wiring_done_by_hand():
    labels = np.zeros((7, 3, 3), np.int64)
    labels[0], labels[6, 1, 1] = 10, 11
    grid = Grid((7, 3, 3), np.diag([2.0, 2.0, 2.0, 1.0]))
    parcellation = Parcellation.from_labels(labels, grid, wirings.region_table(3))
    lines = [
        np.array([[0, 2, 2], [12, 2, 2]], float),  # 0 - 1, 12 mm
        np.array([[12, 2, 2], [6, 2, 2], [6, 4, 2], [0, 4, 2]], float),  # 1 - 0, 14 mm
        np.array([[0, 0, 0], [0, 4, 0]], float),  # 0 - 0
        np.array([[0, 2, 2], [6, 2, 2]], float),  # ends nowhere
    ]
    made = connect(summarise(wirings.block(lines), []), parcellation, ConnectOptions(assignment="end-voxel"))
    np.testing.assert_array_equal(made.matrices["count"], [[1, 2, 0], [2, 0, 0], [0, 0, 0]])
    assert made.matrices["length"][0, 1] == pytest.approx(13)
    both_mm3 = (9 + 1) * 8.0
    assert made.matrices["invnodevol"][0, 1] == pytest.approx(2 * 2 / both_mm3)
    assert made.matrices["density"][0, 1] == pytest.approx(2 * 2 / both_mm3 / 13)
    assert made.n_unassigned == 1
    assert made.metadata["missing_regions"] == "ctx-rh-<c>"
    assert np.isnan(made.centroids_mm[2]).all() and made.volumes_mm3[2] == 0


def test_moving_the_subject_moves_nothing():
    """A rotation of the world, applied to labels, maps and streamlines, leaves the matrices as they were."""
    parcellation, maps, streamlines = wirings.subject(8, 150)
    rng = np.random.default_rng(1)
    turn = np.eye(4)
    turn[:3, :3], turn[:3, 3] = wirings.rotation(rng), rng.uniform(-20, 20, 3)
    grid = Grid(parcellation.grid.shape, turn @ parcellation.grid.affine)
    moved = wirings.block(
        [streamlines.streamline(i) @ turn[:3, :3].T + turn[:3, 3] for i in range(streamlines.n_streamlines)]
    )
    before = connect(summarise(streamlines, maps), parcellation, options())
    after = connect(
        summarise(moved, [replace(m, grid=grid) for m in maps]), replace(parcellation, grid=grid), options()
    )
    for name, matrix in before.matrices.items():
        # The spread of nearly equal lengths is a difference of float32 points.
        allowed = 1e-4 if before.measures[name].is_error else 0
        np.testing.assert_allclose(after.matrices[name], matrix, rtol=1e-4, atol=allowed)


def test_streamlines_that_missed_the_map_are_left_out_of_its_mean_only():
    parcellation, maps, streamlines = wirings.subject(2)
    table = summarise(streamlines, maps)
    means = {"fa": np.full(60, np.nan, np.float32)}
    made = connect(replace(table, means=means), parcellation, options())
    assert np.isnan(made.matrices["fa"]).all() and made.matrices["count"].sum() > 0


def test_a_map_of_any_name_becomes_a_measure_and_one_of_a_taken_name_is_refused():
    parcellation, _, streamlines = wirings.subject(2)
    rng = np.random.default_rng(0)
    good = wirings.scalar_map(rng, parcellation.grid, "myelin", "ms")
    made = connect(summarise(streamlines, [good]), parcellation, options())
    assert made.measures["myelin"].unit == "ms" and made.measures["myelin"].is_mean
    taken = wirings.scalar_map(rng, parcellation.grid, "count")
    with pytest.raises(OptionError, match="another name"):
        connect(summarise(streamlines, [taken]), parcellation, options())


def test_tables_of_different_maps_do_not_mix():
    parcellation, maps, streamlines = wirings.subject(2)
    with pytest.raises(TableError, match="same maps"):
        connect([summarise(streamlines, maps), summarise(streamlines, [])], parcellation, options())


def test_no_streamlines_give_empty_matrices_of_full_size():
    parcellation, maps, _ = wirings.subject(2)
    for made in (
        connect(summarise(wirings.block([]), maps), parcellation, options()),
        ConnectomeBuilder(parcellation, options()).build(),
    ):
        assert made.matrices["count"].shape == (6, 6) and not made.matrices["count"].any()
        assert np.isnan(made.matrices["length"]).all() and made.n_streamlines == 0


def test_regional_means_sample_the_map_at_each_label_voxel():
    parcellation, maps, _ = wirings.subject(5)
    means = regional_means(parcellation, maps)
    volume = maps[0].volume(np.nan)
    for row in range(5):
        # Labels and maps lie on one grid here, so sampling at a centre is looking it up.
        values = volume[parcellation.rows == row]
        assert means["fa"][row] == pytest.approx(np.nanmean(values), rel=1e-5)
    assert np.isnan(means["fa"][5])


_DIGEST = """
import hashlib, sys
sys.path.insert(0, {tests!r})
import wirings
from tractome.stages.connect import connect, summarise
from tractome.options import ConnectOptions
parcellation, maps, streamlines = wirings.subject(11, 3000)
made = connect(summarise(streamlines, maps), parcellation, ConnectOptions())
print(hashlib.sha256(b"".join(m.tobytes() for m in made.matrices.values())).hexdigest())
"""


def test_any_number_of_threads_gives_the_same_bytes():
    found = set()
    for n_threads in ("1", "2", "8"):
        environment = {**os.environ, "NUMBA_NUM_THREADS": n_threads}
        script = _DIGEST.format(tests=os.path.dirname(__file__))
        done = subprocess.run([sys.executable, "-c", script], env=environment, check=True, capture_output=True)
        found.add(done.stdout)
    assert len(found) == 1


def test_golden_matrices_of_mrtrix(golden):
    made = connect(summarise(golden.block, golden.maps), golden.parcellation, ConnectOptions(assignment="end-voxel"))
    count = np.loadtxt(golden.folder / "count_endvox.csv", delimiter=",")
    length = np.loadtxt(golden.folder / "meanlength_endvox.csv", delimiter=",")
    np.testing.assert_array_equal(made.matrices["count"], count)
    np.testing.assert_allclose(made.matrices["length"][count > 0], length[count > 0], rtol=1e-6)
    assert np.isnan(made.matrices["length"][count == 0]).all()
    assert (made.n_streamlines, made.n_unassigned) == (1345, 7)


@pytest.mark.real
@pytest.mark.parametrize("assignment", ["radial", "end-voxel"])
def test_matrices__mrtrix_comparison(assignment, golden, mrtrix, tmp_path):
    made = connect(summarise(golden.block, golden.maps), golden.parcellation, ConnectOptions(assignment=assignment))
    rule = ["-assignment_end_voxels"] if assignment == "end-voxel" else ["-assignment_radial_search", "4"]

    def theirs(*extra):
        out = tmp_path / "out.csv"
        command = ["tck2connectome", golden.tracks, golden.nodes, out, "-symmetric", "-quiet", "-force", *rule, *extra]
        subprocess.run(list(map(str, command)), check=True)
        return np.loadtxt(out, delimiter=",")

    count = theirs()
    np.testing.assert_array_equal(made.matrices["count"], count)
    run = count > 0
    length = theirs("-scale_length", "-stat_edge", "mean")
    np.testing.assert_allclose(made.matrices["length"][run], length[run], rtol=1e-6)
    # MRtrix3 takes volumes in voxels.
    per_voxel = made.matrices["invnodevol"] * golden.parcellation.grid.voxel_volume_mm3
    np.testing.assert_allclose(per_voxel[run], theirs("-scale_invnodevol")[run], rtol=1e-5)
    for name in ("fa", "md"):
        means = tmp_path / f"{name}.txt"
        image = golden.folder / f"{name}.nii.gz"
        subprocess.run(["tcksample", golden.tracks, image, means, "-stat_tck", "mean", "-quiet"], check=True)
        mean = theirs("-scale_file", means, "-stat_edge", "mean")
        np.testing.assert_allclose(made.matrices[name][run], mean[run], rtol=1e-6)
