"""The yardstick itself: benchmarks/truth.py."""

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
    for name in ("truth",):
        sys.modules.pop(name, None)


def _symmetric(rng: np.random.Generator, n: int, share: float) -> np.ndarray:
    upper = np.triu(rng.poisson(50, (n, n)) * (rng.random((n, n)) < share), 1).astype(float)
    return upper + upper.T


def test_the_truth_itself_scores_one() -> None:
    from truth import score

    truth = _symmetric(np.random.default_rng(1), 20, 0.2)
    edges = [(int(i), int(j)) for i, j in np.argwhere(np.triu(truth, 1))[:5]]
    found = score(truth, truth, edges)
    assert found["ap"] == found["u_recall"] == found["u_recall_top_k"] == 1
    assert found["r"] == pytest.approx(1)
    assert found["n_false"] == 0


def test_an_empty_matrix_scores_the_share_of_true_edges() -> None:
    from truth import score

    truth = _symmetric(np.random.default_rng(2), 20, 0.3)
    found = score(np.zeros_like(truth), truth, [(int(i), int(j)) for i, j in np.argwhere(np.triu(truth, 1))])
    assert found["ap"] == pytest.approx((truth > 0).sum() / (20 * 19))
    assert found["u_recall"] == found["u_recall_top_k"] == 0


def test_average_precision__scikit_learn_comparison() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    from truth import score

    rng = np.random.default_rng(3)
    for share in (0.05, 0.3):
        truth = _symmetric(rng, 30, share)
        matrix = _symmetric(rng, 30, 0.5) + np.round(truth / 20)
        upper = np.triu_indices(30, 1)
        expected = metrics.average_precision_score(truth[upper] > 0, matrix[upper])
        assert score(matrix, truth)["ap"] == pytest.approx(expected, abs=1e-12)


def test_scattering_streamlines_everywhere_does_not_find_u_fibres() -> None:
    from truth import score

    truth = _symmetric(np.random.default_rng(4), 30, 0.1)
    edges = [(int(i), int(j)) for i, j in np.argwhere(np.triu(truth, 1))[:10]]
    noise = _symmetric(np.random.default_rng(5), 30, 1.0) + 1
    found = score(noise, truth, edges)
    assert found["u_recall"] == 1
    assert found["u_recall_top_k"] < 0.5


@pytest.mark.real
def test_the_figures_of_the_shared_matrices_come_out_again(shared_data: Path) -> None:
    from truth import read_matrix, score

    folder = shared_data / "phantom_2mm"
    truth = read_matrix(folder / "truth.csv")
    for name, ap, r in (("count", 0.487, 0.592), ("sift2", 0.505, 0.579)):
        found = score(read_matrix(folder / f"mrtrix_ifod2_{name}.csv"), truth)
        assert found["ap"] == pytest.approx(ap, abs=6e-4)
        assert found["r"] == pytest.approx(r, abs=6e-4)
