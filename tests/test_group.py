"""group: consensus, means and consistency over subjects; reliability of repeated scans."""

from __future__ import annotations

import dataclasses
import json

import exports
import numpy as np
import pytest
import wirings
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import run_cli

from tractome.errors import OptionError, TableError
from tractome.io.matrices import read_connectome, write_connectome
from tractome.options import GroupOptions
from tractome.stages.group import group, intraclass_correlation, reliability


def naive_icc(table):
    """ICC(2,1) of one edge, from the two-way table of variance, in loops."""
    n, k = len(table), len(table[0])
    grand = sum(map(sum, table)) / (n * k)
    rows = [sum(row) / k for row in table]
    columns = [sum(table[i][j] for i in range(n)) / n for j in range(k)]
    bms = k * sum((r - grand) ** 2 for r in rows) / (n - 1)
    jms = n * sum((c - grand) ** 2 for c in columns) / (k - 1)
    ems = sum((table[i][j] - rows[i] - columns[j] + grand) ** 2 for i in range(n) for j in range(k))
    ems /= (n - 1) * (k - 1)
    return (bms - ems) / (bms + (k - 1) * ems + k * (jms - ems) / n)


def test_icc_is_that_of_shrout_and_fleiss():
    """Table 2 of their paper: six targets, four judges; ICC(2,1) = 0.29."""
    table = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    assert intraclass_correlation(np.array([table], float))[0] == pytest.approx(0.2898, abs=1e-4)


@given(st.integers(0, 2**32 - 1), st.integers(3, 6), st.integers(2, 4))
@settings(max_examples=30, deadline=None)
def test_icc_of_many_edges_is_the_slow_one_of_each(seed, n_subjects, n_scans):
    values = np.random.default_rng(seed).normal(size=(5, n_subjects, n_scans)) + 3
    np.testing.assert_allclose(
        intraclass_correlation(values), [naive_icc(table) for table in values.tolist()], rtol=1e-9, atol=1e-12
    )


def test_the_mean_is_over_the_edges_that_enough_subjects_have():
    cohort = exports.cohort(4)
    counts = np.stack([each.matrices["count"] for each in cohort])
    made = group(cohort, GroupOptions(consensus_share=0.75))
    share = (counts > 0).mean(axis=0)
    np.testing.assert_array_equal(made.matrices["count"], np.where(share >= 0.75, counts.mean(axis=0), 0))
    np.testing.assert_array_equal(made.matrices["prevalence"], np.where(share >= 0.75, share, 0))
    i, j = np.argwhere(np.triu(share >= 0.75, 1))[0]
    values = [each.matrices["fa"][i, j] for each in cohort]
    assert made.matrices["fa"][i, j] == pytest.approx(np.nanmean(values))
    assert made.matrices["cv"][i, j] == pytest.approx(counts[:, i, j].std(ddof=1) / counts[:, i, j].mean())
    assert np.isnan(made.matrices["fa"][share < 0.75]).all()
    assert made.metadata["n_subjects"] == "4" and "mean over the subjects" in made.measures["fa"].definition


def test_a_subject_that_lacks_a_region_says_nothing_of_its_edges():
    one, other, third = exports.cohort(3)
    gone = np.arange(6) == 1
    cut = gone[:, None] | gone[None]
    lacking = dataclasses.replace(
        third,
        volumes_mm3=np.where(gone, 0.0, third.volumes_mm3),
        centroids_mm=np.where(gone[:, None], np.nan, third.centroids_mm),
        matrices={
            name: np.where(cut, np.nan if third.measures[name].is_mean else 0.0, matrix)
            for name, matrix in third.matrices.items()
        },
    )
    made = group([one, other, lacking], GroupOptions(consensus_share=0.0))
    two, three = (group(some, GroupOptions(consensus_share=0.0)) for some in ([one, other], [one, other, third]))
    for name, matrix in made.matrices.items():
        np.testing.assert_allclose(matrix[cut], two.matrices[name][cut], rtol=1e-12, err_msg=name)
        np.testing.assert_allclose(matrix[~cut], three.matrices[name][~cut], rtol=1e-12, err_msg=name)
    np.testing.assert_allclose(made.volumes_mm3[1], two.volumes_mm3[1])
    assert made.metadata["missing_regions"] == f"{one.regions.names[1]} (in 2 of 3); missing (in 0 of 3)"


def test_equal_subjects_are_their_own_mean_and_order_does_not_matter():
    one = wirings.connectome()
    made = group([one, one, one], GroupOptions())
    np.testing.assert_allclose(made.matrices["fa"], one.matrices["fa"], rtol=1e-14)
    assert np.nanmax(made.matrices["cv"]) == 0
    cohort = exports.cohort(4)
    a, b = group(cohort, GroupOptions()), group(cohort[::-1], GroupOptions())
    np.testing.assert_allclose(a.matrices["count"], b.matrices["count"], rtol=1e-14)


@pytest.mark.parametrize("density", [0.0, 0.2, 0.4])
def test_density_keeps_the_most_consistent_edges_and_never_more(density):
    cohort = exports.cohort(4)
    everything, made = (group(cohort, GroupOptions(consensus_share=0, group_density=d)) for d in (None, density))
    upper = np.triu_indices(6, 1)
    kept = made.matrices["count"][upper] > 0
    assert kept.sum() <= density * 15 + 1e-9
    left_out = everything.matrices["cv"][upper][(everything.matrices["count"][upper] > 0) & ~kept]
    if kept.any():
        assert made.matrices["cv"][upper][kept].max() < np.nanmin(left_out)


def test_what_cannot_be_a_group_is_refused():
    first = wirings.connectome()
    with pytest.raises(TableError, match="at least two subjects"):
        group([first], GroupOptions())
    with pytest.raises(OptionError, match="'lenght' is not in every subject"):
        group([first, first], GroupOptions(group_measure="lenght"))
    renamed = dataclasses.replace(first.regions, names=("x", *first.regions.names[1:]))
    with pytest.raises(TableError, match="regions of subject 2 are not those of the first"):
        group([first, dataclasses.replace(first, regions=renamed)], GroupOptions())
    with pytest.raises(TableError, match="at least 3"):
        reliability([first] * 2, [first] * 2, "count")


def test_a_scan_repeated_without_noise_is_perfectly_reliable_and_noise_lowers_it():
    cohort = exports.cohort(4)
    same = reliability(cohort, cohort, "count")
    assert same.icc_median == pytest.approx(1) and same.within == pytest.approx(1) and same.identified == 1
    assert same.between < 0.9
    rng = np.random.default_rng(0)

    def noisy(each):
        noise = np.triu(rng.normal(0, 3, (6, 6)))
        count = np.maximum(each.matrices["count"] + noise + np.triu(noise, 1).T, 0)
        return dataclasses.replace(each, matrices={**each.matrices, "count": count})

    assert reliability(cohort, [noisy(each) for each in cohort], "count").icc_median < same.icc_median


def test_group_and_repeated_scans_on_the_command_line(tmp_path):
    for k, each in enumerate(exports.cohort(3)):
        for scan in ("one", "two"):
            write_connectome(tmp_path / scan / f"sub-{k}" / f"sub-{k}_seg-test_connectome.npz", each)
    code, said, complaint = run_cli("group", tmp_path / "one", "--consensus-share", "0.6", "--out", tmp_path / "group")
    assert code == 0 and "mean of 3 subjects" in said, complaint
    made = read_connectome(tmp_path / "group" / "group_seg-test-atlas_connectome.npz")
    assert made.metadata["consensus_share"] == "0.6" and made.regions.names == wirings.NAMES
    assert len(json.loads((tmp_path / "group" / "group.json").read_text())["Sources"]) == 3
    code, said, complaint = run_cli("compare", tmp_path / "one", tmp_path / "two", "--json")
    assert code == 0, complaint
    assert json.loads(said)["icc_median"] == pytest.approx(1) and json.loads(said)["n_subjects"] == 3
