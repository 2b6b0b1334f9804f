"""compare: what agreement means, by cases with known answers and against scikit-learn and SciPy."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import wirings
from hypothesis import given, settings
from hypothesis import strategies as st

from tractome.datatypes.connectome import Connectome
from tractome.datatypes.measures import MEASURES
from tractome.datatypes.parcellation import RegionTable
from tractome.errors import OptionError, TableError
from tractome.io.matrices import read_connectome
from tractome.options import CompareOptions
from tractome.stages.compare import average_precision, compare, edge_recall

SEEDS = st.integers(0, 2**32 - 1)


def of_matrix(matrix, names=None, name="count", regions=None):
    matrix = np.asarray(matrix, float)
    n = len(matrix)
    regions = regions or RegionTable.from_names(names or [f"r{i}" for i in range(n)], "atlas")
    total = int(np.nansum(np.triu(matrix)))
    return Connectome(regions, np.zeros((n, 3)), np.ones(n), {name: matrix}, {name: MEASURES[name]}, total, 0)


def random_counts(rng, n=12, share=0.5):
    upper = np.triu(rng.poisson(5, (n, n)) * (rng.random((n, n)) < share), 1).astype(float)
    return upper + upper.T


def test_with_itself_agrees_in_everything():
    made = wirings.connectome()
    found = compare(made, made, CompareOptions())
    assert [found.pearson, found.spearman, found.log_pearson] == pytest.approx([1, 1, 1])
    assert found.average_precision == 1
    assert found.n_edges == found.n_reference_edges == found.n_common_edges > 0
    assert all(error.mean_absolute == error.mean_relative == error.bias == 0 for error in found.errors.values())
    assert set(found.errors) == set(made.plain_measures)
    json.dumps(found.as_dict())


def test_a_region_without_voxels_in_one_brain_is_left_out():
    whole, lacking = wirings.connectome(), wirings.connectome()
    gone = whole.regions.names[1]
    volumes = lacking.volumes_mm3.copy()
    volumes[1] = 0
    matrices = {name: matrix.copy() for name, matrix in lacking.matrices.items()}
    for name, matrix in matrices.items():
        matrix[1] = matrix[:, 1] = np.nan if lacking.measures[name].is_mean else 0
    found = compare(whole, dataclasses.replace(lacking, volumes_mm3=volumes, matrices=matrices), CompareOptions())
    assert gone in found.left_out and found.pearson == pytest.approx(1)
    assert found.n_regions == whole.n_regions - len(found.left_out) and found.n_edges == found.n_common_edges


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_correlations_and_precision_are_those_of_scipy_and_sklearn(seed):
    from scipy.stats import pearsonr, spearmanr
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(seed)
    a, b = random_counts(rng), random_counts(rng)
    found = compare(of_matrix(a), of_matrix(b), CompareOptions())
    upper = np.triu_indices(12, 1)
    x, y = a[upper], b[upper]
    assert found.pearson == pytest.approx(pearsonr(x, y).statistic)
    assert found.spearman == pytest.approx(spearmanr(x, y).statistic)
    assert found.log_pearson == pytest.approx(pearsonr(np.log1p(x), np.log1p(y)).statistic)
    assert found.average_precision == pytest.approx(average_precision_score(y > 0, x))


def test_average_precision_by_hand():
    # Ranked 5 (true), 3 (false), 1 (two, one of them true, taken together), 0 (true): 1/3 (1/1 + 2/4 + 3/5).
    scores = np.array([1.0, 5, 0, 3, 1])
    truth = np.array([True, True, True, False, False])
    assert average_precision(scores, truth) == pytest.approx((1 + 2 / 4 + 3 / 5) / 3)
    assert math.isnan(average_precision(scores, np.zeros(5, bool)))
    # With all scores equal it is the share of true edges, whatever the order.
    assert average_precision(np.ones(5), truth) == pytest.approx(3 / 5)


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_the_order_of_the_rows_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    a, b = random_counts(rng), random_counts(rng)
    names = [f"r{i}" for i in range(12)]
    order = rng.permutation(12)
    straight = compare(of_matrix(a, names), of_matrix(b, names), CompareOptions())
    shuffled = of_matrix(b[np.ix_(order, order)], [names[i] for i in order])
    turned = compare(of_matrix(a, names), shuffled, CompareOptions())
    for name in ("pearson", "spearman", "log_pearson", "average_precision", "n_edges", "n_common_edges"):
        assert getattr(turned, name) == pytest.approx(getattr(straight, name), nan_ok=True)
    one, two = turned.errors["count"], straight.errors["count"]
    assert dataclasses.astuple(one)[1:] == pytest.approx(dataclasses.astuple(two)[1:], nan_ok=True)


def test_self_connections_do_not_count():
    rng = np.random.default_rng(0)
    a = random_counts(rng)
    with_diagonal = a + np.diag(rng.poisson(100, 12))
    assert compare(of_matrix(with_diagonal), of_matrix(a), CompareOptions()).pearson == pytest.approx(1)


def test_regions_that_only_one_has_are_left_out_and_named():
    rng = np.random.default_rng(1)
    a = random_counts(rng, 5)
    names = list("abcde")
    small = of_matrix(a[:4, :4], names[:4])
    found = compare(of_matrix(a, names), small, CompareOptions())
    assert found.n_regions == 4 and found.left_out == ("e",) and found.pearson == pytest.approx(1)


def test_a_matrix_without_names_takes_the_other_ones():
    rng = np.random.default_rng(2)
    a = random_counts(rng, 6)
    bare = of_matrix(a, regions=RegionTable.numbered(6))
    assert compare(of_matrix(a), bare, CompareOptions()).pearson == pytest.approx(1)
    with pytest.raises(TableError, match="same rows"):
        compare(of_matrix(random_counts(rng, 5)), bare, CompareOptions())


def test_errors_are_over_edges_that_both_have():
    a, b = np.full((4, 4), np.nan), np.full((4, 4), np.nan)
    for (i, j), one, two in [((0, 1), 0.5, 0.4), ((0, 2), 0.3, 0.4), ((1, 2), 0.9, np.nan), ((2, 3), np.nan, 0.2)]:
        a[i, j] = a[j, i] = one
        b[i, j] = b[j, i] = two
    error = compare(of_matrix(a, name="fa"), of_matrix(b, name="fa"), CompareOptions(measure="fa")).errors["fa"]
    assert error.n_edges == 2
    assert error.mean_absolute == pytest.approx(0.1)
    assert error.mean_relative == pytest.approx(0.25)
    assert error.bias == pytest.approx(0)


def test_nothing_to_correlate_is_nan_not_a_warning():
    zeros = of_matrix(np.zeros((4, 4)))
    found = compare(zeros, zeros, CompareOptions())
    assert math.isnan(found.pearson) and math.isnan(found.average_precision) and found.errors["count"].n_edges == 0


def test_regions_found_in_an_image_are_compared_only_with_the_same():
    a = np.ones((4, 4))
    found = dataclasses.replace(RegionTable.from_names(list("abcd"), "image"), from_image=True)
    with pytest.raises(TableError, match="only one of the two"):
        compare(of_matrix(a, regions=found), of_matrix(a, list("abce")), CompareOptions())
    assert compare(of_matrix(a, regions=found), of_matrix(a, list("dbca")), CompareOptions()).n_regions == 4


def test_too_few_common_regions():
    with pytest.raises(TableError, match="regions in common"):
        compare(of_matrix(np.ones((4, 4)), list("abcd")), of_matrix(np.ones((4, 4)), list("cdef")), CompareOptions())


def test_an_unknown_measure_suggests_the_nearest():
    made = of_matrix(np.ones((4, 4)))
    with pytest.raises(OptionError, match="Did you mean 'count'"):
        compare(made, made, CompareOptions(measure="counts"))


def test_edge_recall():
    made = of_matrix([[0, 3, 0], [3, 0, 1], [0, 1, 0]], list("abc"))
    assert edge_recall(made, [("b", "a"), ("a", "c"), ("c", "b"), ("a", "b")]) == 0.75
    found = compare(made, made, CompareOptions(), edges=[("b", "a"), ("a", "c")])
    assert (found.n_listed_edges, found.listed_recall) == (2, 0.5)
    assert math.isnan(edge_recall(made, []))
    with pytest.raises(TableError, match="not in the connectome"):
        edge_recall(made, [("a", "x")])


@pytest.mark.parametrize(
    ("file", "precision", "r"), [("mrtrix_ifod2_count.csv", 0.487, 0.592), ("mrtrix_ifod2_sift2.csv", 0.505, 0.579)]
)
def test_figures_that_others_found_for_the_phantom(file, precision, r, shared_data):
    """DATA.md of the shared data states what MRtrix3's matrices reach against the truth, to three digits."""
    one, truth = (read_connectome(shared_data / "phantom_2mm" / name) for name in (file, "truth.csv"))
    found = compare(one, truth, CompareOptions())
    assert found.average_precision == pytest.approx(precision, abs=6e-4)
    assert found.pearson == pytest.approx(r, abs=6e-4)
