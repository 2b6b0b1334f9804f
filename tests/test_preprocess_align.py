"""Motion and eddy currents that were planted are found; directions turn with the head."""

from dataclasses import replace

import numpy as np
import pytest
from spoiled import make_head, motion_errors_mm, random_motions, spoil

from tractome.datatypes.diffusion import GradientTable
from tractome.datatypes.grid import Grid
from tractome.kernels._jit import n_threads, set_threads
from tractome.stages.preprocess.align import align
from tractome.stages.preprocess.motion import Frame, Motion, measured_at, rigid, rotated_directions, still, undone
from tractome.stages.preprocess.prediction import covariance, fit_prediction, leave_one_out
from tractome.stages.preprocess.resample import resample_scan

DROPPED = {5: (16, 17), 9: (14,)}


@pytest.fixture(scope="module", params=["LAS", pytest.param("RAS", marks=pytest.mark.real)])
def moved_head(request):
    """A head that moved, with eddy currents, noise and three slices lost; stored in two ways."""
    phantom = make_head(storage=request.param, voxel_size_mm=5.0, directions=(12,))
    frame = Frame(phantom.grid, 1, 2)
    spoilt = spoil(phantom, random_motions(phantom, frame), snr=25.0)
    for volume, slices in DROPPED.items():
        spoilt.signal[:, :, list(slices), volume] *= 0.2
    return spoilt


@pytest.fixture(scope="module")
def found(moved_head):
    return align(moved_head.signal, moved_head.gradients, moved_head.mask, moved_head.frame, 3, 4.0)


def test_motion_is_found(moved_head, found):
    weighted = np.flatnonzero(~moved_head.gradients.is_b0)
    nothing = [still(3)] * moved_head.gradients.n_volumes
    before = motion_errors_mm(nothing, moved_head.motions, moved_head.mask, moved_head.frame, weighted)
    after = motion_errors_mm(found.motions, moved_head.motions, moved_head.mask, moved_head.frame, weighted)
    assert before.mean() > 2.0
    assert after.mean() < 0.25 * before.mean()
    assert found.residual[-1] < found.residual[0]


def test_directions_turn_with_the_head(moved_head, found):
    weighted = np.flatnonzero(~moved_head.gradients.is_b0)
    seen = rotated_directions(moved_head.gradients.bvecs, moved_head.motions)[weighted]

    def off(directions):
        return np.degrees(np.arccos(np.clip((seen * directions[weighted]).sum(axis=1), -1, 1)))

    assert off(found.gradients.bvecs).mean() < 0.4 * off(moved_head.gradients.bvecs).mean()
    # Turned the wrong way they would be twice as far off.
    assert (off(found.gradients.bvecs) < off(moved_head.gradients.bvecs) + 0.3).all()


def test_lost_slices_are_found_and_filled(moved_head, found):
    lost = {(volume, number) for volume, slices in DROPPED.items() for number in slices}
    flagged = set(zip(*map(np.ndarray.tolist, np.nonzero(found.outliers.is_outlier)), strict=True))
    assert lost <= flagged
    # A slice beside a lost one looks dark too where the head is turned.
    others = {each for each in flagged - lost if not any(each[0] == v and abs(each[1] - n) <= 1 for v, n in lost)}
    assert len(others) <= 2
    volume, number = 5, 16
    mask = moved_head.mask[:, :, number]
    filled, lost_signal = found.volumes[volume][:, :, number][mask], moved_head.signal[:, :, number, volume][mask]
    assert filled.mean() == pytest.approx(lost_signal.mean() / 0.2, rel=0.2)


def test_resampled_volumes_are_nearer_to_the_truth(moved_head, found):
    result = resample_scan(found.volumes, found.motions, moved_head.frame)
    weighted = np.flatnonzero(~moved_head.gradients.is_b0)

    def error(signal):
        return np.sqrt(np.mean((signal - moved_head.clean)[moved_head.mask][:, weighted] ** 2))

    assert error(result) < 0.75 * error(moved_head.signal)


def test_threads_do_not_change_a_byte(moved_head):
    gradients = moved_head.gradients.select(np.arange(8))
    signal = np.ascontiguousarray(moved_head.signal[..., :8])
    before, results = n_threads(), []
    try:
        for threads in (1, 2):
            set_threads(threads)
            found = align(signal, gradients, moved_head.mask, moved_head.frame, 3, 4.0)
            results.append(np.concatenate([np.ravel(each) for m in found.motions for each in (m.matrix, m.eddy_mm)]))
    finally:
        set_threads(before)
    assert results[0].tobytes() == results[1].tobytes()


def test_undone_is_measured_at_backwards():
    grid = Grid((40, 44, 36), np.diag([-2.0, 2.0, 2.5, 1.0]))
    frame = Frame(grid, 1, 2)
    motion = Motion(
        rigid(np.radians([3.0, -2.0, 4.0]), np.array([2.0, -3.0, 1.0]), frame.centre), np.linspace(-2, 2, 9)
    )
    points = grid.to_world(np.random.default_rng(0).uniform(5, 30, (200, 3)))
    where, _ = measured_at(motion, frame, points)
    np.testing.assert_allclose(undone(motion, frame, grid.to_world(where.T)), points, atol=1e-3)


def test_stretch_keeps_the_amount_of_signal():
    grid = Grid((10, 60, 10), np.diag([2.0, 2.0, 2.0, 1.0]))
    volume = np.zeros(grid.shape, dtype=np.float32)
    volume[:, 20:40] = 1
    motion = Motion(np.eye(4), np.array([0.0, 5.0, 0.0]))  # 5 % along y
    found = resample_scan(volume[None], [motion], Frame(grid, 1, 2))
    assert found.sum() == pytest.approx(volume.sum(), rel=0.02)
    assert found[:, 25:35].mean() == pytest.approx(1.05, rel=0.005)


def table(n, bvals=None, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(n, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return GradientTable(np.full(n, 1000.0) if bvals is None else bvals, vectors)


def test_leave_one_out_is_leaving_one_out():
    matrix = covariance(table(9), 0.7, 0.1, 1.0)
    weights = leave_one_out(matrix)
    for one in range(9):
        others = np.delete(np.arange(9), one)
        expected = np.linalg.solve(matrix[np.ix_(others, others)], matrix[others, one])
        np.testing.assert_allclose(weights[one, others], expected, rtol=1e-5, atol=1e-7)
    assert (np.diag(weights) == 0).all()


def test_prediction_knows_that_opposite_directions_are_one_and_keeps_the_mean():
    gradients = table(12)
    flipped = replace(gradients, bvecs=-gradients.bvecs)
    np.testing.assert_allclose(covariance(gradients, 0.7, 0.1, 1.0), covariance(flipped, 0.7, 0.1, 1.0))
    # The unknown mean of a shell: what predicts a constant must give that constant.
    np.testing.assert_allclose(leave_one_out(covariance(gradients, 0.7, 0.1, 1.0)).sum(axis=1), 1.0, atol=1e-3)


def test_prediction_is_better_than_the_mean():
    from scans import sphere

    gradients = GradientTable(np.full(20, 1000.0), sphere(20))
    axes = np.random.default_rng(2).normal(size=(300, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    signal = 1000 * np.exp(-1000 * (0.3e-3 + 1.4e-3 * (axes @ gradients.bvecs.T) ** 2))
    found = fit_prediction(signal.astype(np.float32), gradients)
    mean = (signal.sum(axis=1, keepdims=True) - signal) / 19
    assert np.std(signal - signal @ found.weights.T) < 0.3 * np.std(signal - mean)
