"""Register: a known transform is found again, in any storage order, and what cannot be registered is refused."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from tractome.datatypes.grid import Grid
from tractome.datatypes.template import Template
from tractome.errors import ImageError, RegistrationError
from tractome.options import ParcellateOptions
from tractome.stages.register import RegistrationQuality, register_fa, register_t1, space_mismatch, warp_labels
from tractome.stages.register.greedy import run_greedy
from tractome.stages.register.quality import jacobian, mutual_information, require_quality
from tractome.stages.register.sampling import pull, resample, transformed, working_grid

OPTIONS = ParcellateOptions()


def smooth_noise(shape, seed, sigma):
    values = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    return values / values.std()


def make_template(seed=5):
    """A small egg-shaped brain of 60 x 76 x 52 mm, folded, with a left-right difference, and eight labels
    in its white matter."""
    shape = (44, 52, 40)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -(np.array(shape) - 1.0)
    grid = Grid(shape, affine)
    world = np.moveaxis(grid.to_world(np.moveaxis(np.indices(shape), 0, -1)), -1, 0)
    x, y, z = world
    radius = np.sqrt((x / (30 - 0.1 * y)) ** 2 + (y / 38) ** 2 + (z / 26) ** 2)
    brain = radius < 1
    white = brain & (radius + 0.12 * smooth_noise(shape, seed, 1.6) < 0.75)
    fluid = np.sqrt(((x - 3) / 6) ** 2 + ((y + 4) / 12) ** 2 + ((z - 3) / 5) ** 2) < 1
    white &= ~fluid
    grey = brain & ~white & ~fluid
    soft = [ndimage.gaussian_filter(part.astype(np.float32), 0.6) * brain for part in (grey, white, brain)]
    t1 = (0.55 * soft[0] + 1.0 * soft[1] + 0.15 * soft[2]).astype(np.float32) * brain
    labels = np.where(white | fluid, 1 + (x > 0) + 2 * (y > 0) + 4 * (z > 0), 0).astype(np.int64)
    return Template(t1, soft[0], soft[1], grid, "MNI152-egg"), labels


@pytest.fixture(scope="module")
def egg():
    return make_template()


def subject_transform():
    """Template world -> subject world: turned by 10 degrees, shrunk by a tenth, moved."""
    c, s = np.cos(0.17), np.sin(0.17)
    matrix = np.array([[1.0, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1.0]])
    matrix[:3, :3] *= 0.9
    matrix[:3, 3] = (4.0, -6.0, 8.0)
    return matrix


def bump(world):
    """A smooth warp of up to 3 mm, a displacement for each position."""
    phase = world / 18.0
    return 3.0 * np.stack([np.sin(phase[..., 1]), np.cos(phase[..., 2]), np.sin(phase[..., 0])], axis=-1)


def in_subject(volume, grid, target, order):
    """What a volume of the template is in the subject, on a grid in the subject's world."""
    world = target.to_world(np.moveaxis(np.indices(target.shape), 0, -1))
    back = transformed(np.linalg.inv(subject_transform()), world + bump(world))
    return ndimage.map_coordinates(volume, np.moveaxis(grid.to_voxel(back), -1, 0), order=order)


def subject_grid(spacing, turn=None, pad=14.0):
    """A grid around the subject's brain, in any storage order."""
    turn = np.eye(3) if turn is None else turn
    half = np.array([34.0, 42.0, 34.0]) + pad
    shape = tuple(int(n) for n in np.ceil(2 * (np.abs(turn.T) @ half) / spacing).astype(int))
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing
    centre = np.array([4.0, -6.0, 8.0])
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def moved(grid, shift):
    affine = grid.affine.copy()
    affine[:3, 3] += shift
    return Grid(grid.shape, affine)


DWI_SHIFT = np.array([1.5, -2.0, 2.5])
"""Where the T1's world lies in the DWI's, in the tests with a T1."""


def make_subject(egg, t1_grid):
    """T1 (with a skull), b0 and mask; the DWI's world is the T1's moved by DWI_SHIFT."""
    template, _ = egg
    here = subject_grid(2.0)
    t1 = in_subject(template.t1, template.grid, t1_grid, 1)
    inside = in_subject((template.t1 > 0).astype(np.float32), template.grid, t1_grid, 1) > 0.5
    spacing = float(t1_grid.voxel_sizes_mm[0])
    away = ndimage.distance_transform_edt(~inside) * spacing
    t1 += 0.9 * ((away > 4) & (away < 8))
    t1 = (t1 + 0.02 * np.random.default_rng(1).normal(size=t1.shape)).astype(np.float32)
    mask = in_subject((template.t1 > 0).astype(np.float32), template.grid, here, 1) > 0.5
    b0 = 1.4 - in_subject(template.t1, template.grid, here, 1)
    b0 = (b0 * mask + 0.02 * np.random.default_rng(2).normal(size=b0.shape)).astype(np.float32)
    return t1, b0, moved(here, DWI_SHIFT), mask


def true_labels(egg, grid):
    template, labels = egg
    return in_subject(labels, template.grid, grid, 0)


def require_labels_agree(found, truth, least):
    for label in range(1, 9):
        one, other = found == label, truth == label
        assert 2 * (one & other).sum() / (one.sum() + other.sum()) > least, label


STORAGE = {
    "RAS": np.eye(3),
    "LAS": np.diag([-1.0, 1.0, 1.0]),
    "LPS": np.diag([-1.0, -1.0, 1.0]),
    "sagittal": np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]]),
    "oblique": np.array([[np.cos(0.3), -np.sin(0.3), 0], [np.sin(0.3), np.cos(0.3), 0], [0, 0, 1]]),
}


@pytest.mark.parametrize("storage", ["RAS", "LPS", "oblique"])
def test_t1_brings_the_labels_home(egg, storage):
    t1_grid = subject_grid(1.8, STORAGE[storage])
    t1, b0, dwi_grid, mask = make_subject(egg, t1_grid)
    steps = []
    found = register_t1(t1, t1_grid, b0, dwi_grid, mask, egg[0], OPTIONS, 2, lambda *step: steps.append(step))
    labels, grid = warp_labels(found, egg[1], egg[0].grid)
    assert grid.shape == t1_grid.shape
    require_labels_agree(labels, true_labels(egg, t1_grid), 0.93)
    # The labels lie in the world of the DWI, by the rigid step, without having been resampled for it.
    assert np.abs(grid.affine - moved(t1_grid, DWI_SHIFT).affine).max() < 0.8
    assert steps == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    quality = found.quality
    assert quality.correlation > 0.8 and quality.white_matter_dice > 0.8
    assert quality.folded_fraction == 0 and 0 < quality.jacobian_low < 1 < quality.jacobian_high
    assert quality.dwi_to_t1_shift_mm == pytest.approx(np.linalg.norm(DWI_SHIFT), abs=0.8)


def test_a_scan_that_ends_within_the_brain_leaves_the_t1_whole(egg):
    """The lowest third of the brain is not in the scan, but in the T1: its labels come home all the same."""
    t1_grid = subject_grid(1.8)
    t1, b0, dwi_grid, mask = make_subject(egg, t1_grid)
    first = int(np.quantile(np.argwhere(mask)[:, 2], 0.3))
    shorter = dwi_grid.affine.copy()
    shorter[:3, 3] = dwi_grid.to_world([0, 0, first])
    b0, mask = b0[:, :, first:], mask[:, :, first:]
    found = register_t1(t1, t1_grid, b0, Grid(mask.shape, shorter), mask, egg[0], OPTIONS, 2)
    labels, _ = warp_labels(found, egg[1], egg[0].grid)
    require_labels_agree(labels, true_labels(egg, t1_grid), 0.9)


@pytest.mark.parametrize("storage", ["RAS", "LAS", "sagittal"])
def test_fa_brings_the_labels_home_without_a_t1(egg, storage):
    template, _ = egg
    grid = subject_grid(2.0, STORAGE[storage], pad=2.0)
    mask = in_subject((template.t1 > 0).astype(np.float32), template.grid, grid, 1) > 0.5
    fa = 0.1 + 0.5 * in_subject(template.white, template.grid, grid, 1)
    fa = ((fa + 0.05 * smooth_noise(grid.shape, 3, 1.0)) * mask).astype(np.float32)
    found = register_fa(fa, grid, mask, template, OPTIONS, 2)
    labels, label_grid = warp_labels(found, egg[1], template.grid)
    require_labels_agree(labels, true_labels(egg, label_grid), 0.87)
    assert np.allclose(label_grid.voxel_sizes_mm, 1.0)
    assert np.isnan(found.quality.dwi_to_t1_shift_mm)


def test_result_does_not_depend_on_threads_or_chance(egg):
    template, _ = egg
    grid = subject_grid(2.0, pad=2.0)
    mask = in_subject((template.t1 > 0).astype(np.float32), template.grid, grid, 1) > 0.5
    fa = (0.1 + 0.5 * in_subject(template.white, template.grid, grid, 1)).astype(np.float32) * mask
    one, two = (register_fa(fa, grid, mask, template, OPTIONS, n_threads) for n_threads in (1, 2))
    assert one.matrix.tobytes() == two.matrix.tobytes()
    assert one.warp_mm.tobytes() == two.warp_mm.tobytes()


def test_failed_registrations_are_errors(egg):
    t1_grid = subject_grid(2.0)
    t1, b0, dwi_grid, mask = make_subject(egg, t1_grid)
    noise = np.random.default_rng(0).normal(size=t1.shape).astype(np.float32)
    with pytest.raises(RegistrationError, match="b0 to the T1 failed: mutual information"):
        register_t1(noise, t1_grid, b0, dwi_grid, mask, egg[0], OPTIONS, 2)
    nothing = np.where(mask, np.random.default_rng(0).random(mask.shape), 0).astype(np.float32)
    with pytest.raises(RegistrationError, match="The registration of FA to the template failed"):
        register_fa(nothing, dwi_grid, mask, egg[0], OPTIONS, 2)


def test_images_without_contrast_are_refused(egg):
    grid = subject_grid(2.0)
    t1, b0, dwi_grid, mask = make_subject(egg, grid)
    with pytest.raises(ImageError, match="The T1 holds one value"):
        register_t1(np.zeros_like(t1), grid, b0, dwi_grid, mask, egg[0], OPTIONS)
    with pytest.raises(ImageError, match="The FA map holds one value"):
        register_fa(np.full(mask.shape, np.nan, dtype=np.float32), dwi_grid, mask, egg[0], OPTIONS)


def test_greedy_is_silent_and_its_failure_is_ours(egg, capfd):
    template, _ = egg
    pair = {"a": (template.t1, template.grid), "b": (template.white, template.grid)}
    found = run_greedy(["-a -dof 6 -m NMI -n 10 -i a b -o rigid"], pair, ["rigid"])
    assert found["rigid"].shape == (4, 4)
    with pytest.raises(RegistrationError, match="stopped with code"):
        run_greedy(["-no-such-option"], pair, [])
    printed = capfd.readouterr()
    assert printed.out == "" and printed.err == ""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the child through /proc")
def test_ctrl_c_ends_a_registration_at_once():
    """The signal goes to us alone, as from `kill -INT`: the child that does the work must end too."""
    program = (
        "import numpy as np\n"
        "from tractome.datatypes.grid import Grid\n"
        "from tractome.stages.register.greedy import run_greedy\n"
        "noise = np.random.default_rng(0).normal(size=(90, 90, 90))\n"
        "images = {name: (noise, Grid(noise.shape, np.eye(4))) for name in 'ab'}\n"
        "print('ready', flush=True)\n"
        "run_greedy(['-threads 1 -m NCC 4x4x4 -n 9999x9999 -i a b -o warp'], images, ['warp'])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as ours:
        try:
            assert ours.stdout.readline() == b"ready\n"
            children = Path(f"/proc/{ours.pid}/task/{ours.pid}/children")
            until = time.monotonic() + 60
            while not children.read_text().split() and time.monotonic() < until:
                time.sleep(0.1)
            child = int(children.read_text().split()[0])
            time.sleep(3.0)
            ours.send_signal(signal.SIGINT)
            errors = ours.communicate(timeout=30)[1]
        finally:
            ours.kill()
    assert b"KeyboardInterrupt" in errors
    assert not Path(f"/proc/{child}").exists()


def test_greedy_matrices_and_warps_are_ras(egg):
    """A template moved by a known shift: the matrix and the warp say so with the right signs on every axis."""
    template, _ = egg
    shift = np.array([2.0, -3.0, 4.0])
    away = moved(template.grid, shift)
    command = "-V 0 -threads 1 -seed 1 -a -dof 6 -m NMI -n 50x50 -i fixed moving -o rigid"
    images = {"fixed": (template.t1, template.grid), "moving": (template.t1, away)}
    rigid = run_greedy([command], images, ["rigid"])["rigid"]
    assert np.allclose(rigid[:3, 3], shift, atol=0.2)
    nearby = resample(template.t1, away, template.grid)
    images = {"fixed": (template.t1, template.grid), "moving": (nearby, template.grid)}
    command = "-V 0 -seed 1 -m NCC 2x2x2 -s 2vox 0.7vox -n 60x40 -i fixed moving -o warp"
    warp = run_greedy([command], images, ["warp"])["warp"]
    inside = ndimage.binary_erosion(template.white > 0.5)
    assert np.allclose(np.median(warp[inside], axis=0), shift, atol=0.6)


def test_pull_follows_warp_and_matrix():
    """A volume that holds its own world x, pulled: the values are where the transform says."""
    grid = subject_grid(2.0)
    world = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    matrix = np.eye(4)
    matrix[:3, 3] = (1.0, 0, 0)
    warp_grid = working_grid(np.ones(grid.shape, dtype=bool), grid, 4.0, 4.0)
    warp = np.zeros((*warp_grid.shape, 3), dtype=np.float32)
    warp[..., 0] = 2.0
    target = subject_grid(3.0, STORAGE["LPS"], pad=0.0)
    got = pull(world[..., 0].astype(np.float32), grid, target, matrix, warp, warp_grid, 1)
    expected = target.to_world(np.moveaxis(np.indices(target.shape), 0, -1))[..., 0] + 3.0
    assert np.allclose(got, expected, atol=1e-3)


def test_jacobian_of_a_stretch():
    grid = np.moveaxis(np.indices((8, 8, 8)), 0, -1).astype(np.float32) * 2.0
    assert np.allclose(jacobian(grid * 0.1, 2.0), 1.1**3)
    assert np.allclose(jacobian(grid * 0, 2.0), 1.0)


def test_mutual_information_sees_inverted_contrast():
    image = smooth_noise((20, 20, 20), 4, 2.0)
    everywhere = np.ones(image.shape, dtype=bool)
    same = mutual_information(image, -image, everywhere)
    other = mutual_information(image, np.random.default_rng(8).normal(size=image.shape), everywhere)
    assert same > 1.0
    # Without the correction for the number of voxels this would be 0.14.
    assert abs(other) < 0.05


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"correlation": 0.3}, "correlation 0.30"),
        ({"correlation": -0.9}, "correlation -0.90"),
        ({"white_matter_dice": 0.4}, "white-matter overlap 0.40"),
        ({"scale": 4.0}, "scaled by 4.00"),
        ({"folded_fraction": 0.2}, "folds in 20.0%"),
        ({"jacobian_low": 0.05}, "volumes by 0.05 to 1.60"),
        ({"jacobian_high": 5.0}, "volumes by 0.50 to 5.00"),
    ],
)
def test_each_limit_is_an_error_of_its_own(change, says):
    good = {
        "correlation": 0.8,
        "white_matter_dice": 0.8,
        "jacobian_low": 0.5,
        "jacobian_high": 1.6,
        "folded_fraction": 0.0,
        "scale": 1.3,
        "brain_volume_mm3": 1.4e6,
    }
    require_quality(RegistrationQuality(**good), 0.5, "a to b", "Do this.")
    with pytest.raises(RegistrationError, match=f"a to b failed: .*{says}.*Do this."):
        require_quality(RegistrationQuality(**{**good, **change}), 0.5, "a to b", "Do this.")


def test_space_mismatch_is_said():
    assert space_mismatch("MNI152NLin2009aSym", "MNI152NLin2009aSym") == ""
    assert "MNI152NLin6Asym" in space_mismatch("MNI152NLin6Asym", "MNI152NLin2009aSym")
