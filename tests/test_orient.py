"""Orient: of all flips and orders of axes of the directions the right one is found, or nothing is claimed."""

import numpy as np
import pytest
from scans import AFFINES, fsl_vectors, sphere, tensor_signal, write_text

from tractome.datatypes.diffusion import DiffusionImage
from tractome.datatypes.grid import Grid
from tractome.datatypes.orientation import OrientationVerdict, transform_words
from tractome.errors import GradientError
from tractome.io.gradients import read_gradients
from tractome.io.subjects import read_diffusion
from tractome.options import ReadOptions
from tractome.stages.mask import make_brain_mask
from tractome.stages.orient import find_gradient_orientation, judge_orientation, signed_permutations

SHAPE = (36, 34, 30)
TRANSFORMS = signed_permutations()
BVALS = np.array([0.0, 0.0] + [1000.0] * 12)
WORLD = np.concatenate([np.zeros((2, 3)), sphere(12)])
SCANS = ("philips_dwi_t1", "siemens_42vol", "siemens_3mm", "phantom_2mm")


def tubes(grid, n_tubes=60, seed=4):
    """Straight bundles of 4 mm radius in all directions, the later ones over the earlier: mask and world directions."""
    random = np.random.default_rng(seed)
    world = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    low, high = world.reshape(-1, 3).min(axis=0), world.reshape(-1, 3).max(axis=0)
    field = np.zeros((*grid.shape, 3))
    for _ in range(n_tubes):
        axis = random.normal(size=3)
        axis /= np.linalg.norm(axis)
        away = world - random.uniform(low, high)
        away -= (away @ axis)[..., None] * axis
        field[np.linalg.norm(away, axis=-1) < 4.0] = axis
    mask = field.any(axis=-1)
    return mask, field[mask]


def grid_of(storage):
    return Grid(SHAPE, AFFINES[storage])


@pytest.fixture(scope="module")
def oblique():
    grid = grid_of("oblique")
    return grid, *tubes(grid)


def noisy_signal(directions):
    """Of tensors along the directions, at a signal-to-noise ratio of 20."""
    alike = (directions @ WORLD.T) ** 2
    signal = 1000.0 * np.exp(-BVALS * (0.3e-3 + 1.4e-3 * alike))
    assert np.allclose(signal[0], tensor_signal(BVALS, WORLD, directions[0]))
    noise = np.random.default_rng(0).normal(scale=50.0, size=(2, *signal.shape))
    return np.hypot(signal + noise[0], noise[1]).astype(np.float32)


def test_transforms_are_all_that_differ():
    """24 orthogonal matrices of 0 and +-1, no two the same or opposite, the identity first."""
    assert np.array_equal(TRANSFORMS[0], np.eye(3))
    flat = TRANSFORMS.reshape(24, 9).astype(int)
    alike = np.abs(flat @ flat.T)
    assert np.array_equal(alike == 3, np.eye(24, dtype=bool))
    assert all(np.array_equal(t @ t.T, np.eye(3)) for t in TRANSFORMS.astype(int))


@pytest.mark.parametrize("wrong", TRANSFORMS, ids=[transform_words(t) for t in TRANSFORMS])
def test_each_wrong_table_is_put_right(oblique, wrong, tmp_path):
    """An oblique scan with voxels of three sizes: the file's axes are changed, and the change is found and undone."""
    grid, mask, directions = oblique
    right = fsl_vectors(WORLD, grid.affine)
    bval = write_text(tmp_path / "dwi.bval", BVALS)
    bvec = write_text(tmp_path / "dwi.bvec", (right @ wrong.T).T)
    gradients = read_gradients(bval, bvec, grid, None, ReadOptions()).gradients
    verdict = find_gradient_orientation(DiffusionImage(noisy_signal(directions), gradients, mask, grid))
    assert verdict.verdict == ("as_given" if (wrong == np.eye(3)).all() else "other")
    assert abs(int(np.trace(verdict.transform @ wrong))) == 3
    assert verdict.margin > 3 and np.isinf(verdict.margins[verdict.best])
    assert verdict.fix in verdict.summary or verdict.verdict == "as_given"


@pytest.mark.parametrize("storage", ["LAS", "LPI", "coronal", "oblique-LAS"])
def test_right_tables_are_left_alone_in_any_storage_order(storage):
    grid = grid_of(storage)
    mask, directions = tubes(grid)
    fa = np.full(len(directions), 0.7)
    for axes in ("image", "world"):
        verdict = judge_orientation(fa, directions, mask, grid, axes)
        assert verdict.verdict == "as_given" and verdict.fix == "nothing"
        assert (verdict.scores[1:] < verdict.scores[0]).all()


def test_a_change_is_told_in_the_axes_of_the_file():
    """y and z of an MRtrix table exchanged, in a scan stored sagittally: told in world axes, not in the image's."""
    grid = grid_of("sagittal")
    mask, directions = tubes(grid)
    fa = np.full(len(directions), 0.7)
    exchanged = directions[:, [0, 2, 1]]
    assert judge_orientation(fa, exchanged, mask, grid, "world").fix == "swap y and z"
    frame = grid.rotation @ np.diag([-1.0 if grid.determinant > 0 else 1.0, 1, 1])
    in_file = directions @ frame
    given = in_file[:, [1, 0, 2]] @ frame.T
    assert judge_orientation(fa, given, mask, grid, "image").fix == "swap x and y"


def test_mirrored_heads_look_right():
    """What directions cannot tell: image and directions mirrored together."""
    grid = grid_of("LAS")
    mask, directions = tubes(grid)
    mirrored = directions.reshape(-1, 3) * (-1, 1, 1)
    field = np.zeros((*grid.shape, 3))
    field[mask] = mirrored
    flipped_mask, flipped = mask[::-1], field[::-1]
    fa = np.full(len(directions), 0.7)
    verdict = judge_orientation(fa, flipped[flipped_mask], flipped_mask, grid)
    assert verdict.verdict == "as_given"


@pytest.mark.parametrize("case", ["noise", "one direction", "two slices", "nothing"])
def test_nothing_is_claimed_where_nothing_can_be_known(oblique, case):
    grid, mask, directions = oblique
    fa = np.full(len(directions), 0.7)
    if case == "noise":
        directions = np.random.default_rng(1).normal(size=directions.shape)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    elif case == "one direction":
        directions = np.broadcast_to([0.6, 0.0, 0.8], directions.shape)
    elif case == "two slices":
        kept = np.isin(np.argwhere(mask)[:, 2], (14, 15))
        directions, fa = directions[kept], fa[kept]
        mask = mask & np.isin(np.arange(SHAPE[2]), (14, 15))
    else:
        fa = np.zeros(len(fa))
    verdict = judge_orientation(fa, directions, mask, grid)
    assert verdict.verdict == "cannot_tell"
    assert "tell" in verdict.summary or "cannot be told" in verdict.summary
    assert "nan" not in verdict.summary and "inf" not in verdict.summary


def test_same_verdict_for_opposite_directions(oblique):
    grid, mask, directions = oblique
    fa = np.full(len(directions), 0.7)
    signs = np.random.default_rng(2).choice([-1.0, 1.0], size=(len(directions), 1))
    one, other = (judge_orientation(fa, d, mask, grid) for d in (directions, directions * signs))
    assert one.scores.tobytes() == other.scores.tobytes()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (np.eye(3), "nothing"),
        (-np.eye(3), "nothing"),
        (np.diag([1, -1, 1]), "negate y"),
        (np.diag([-1, 1, -1]), "negate y"),
        ([[0, 0, 1], [0, 1, 0], [1, 0, 0]], "swap x and z"),
        ([[0, -1, 0], [-1, 0, 0], [0, 0, 1]], "swap x and y, then negate z"),
        ([[0, 1, 0], [0, 0, 1], [1, 0, 0]], "take y, z, x as x, y, z"),
    ],
)
def test_words(rows, words):
    assert transform_words(np.array(rows, dtype=np.int8)) == words


def test_verdicts_are_checked():
    with pytest.raises(GradientError, match="one of as_given, other, cannot_tell"):
        OrientationVerdict("yes", "image", TRANSFORMS, np.zeros(24), np.zeros(24), 0, 0)


def real_scan(folder):
    mask = folder / "mask.nii.gz"
    return read_diffusion(
        folder / "dwi.nii.gz",
        folder / "dwi.bval",
        folder / "dwi.bvec",
        mask if mask.is_file() else make_brain_mask,
        ReadOptions(),
    ).image


@pytest.mark.real
@pytest.mark.parametrize("name", SCANS)
def test_real_scans_in_all_24_cases(shared_data, name, tmp_path):
    """Each file's directions changed in each way: a new fit, and the change is undone."""
    image = real_scan(shared_data / name)
    right = np.loadtxt(shared_data / name / "dwi.bvec")
    for wrong in TRANSFORMS:
        bvec = write_text(tmp_path / "dwi.bvec", wrong @ right)
        gradients = read_gradients(shared_data / name / "dwi.bval", bvec, image.grid, None, ReadOptions()).gradients
        verdict = find_gradient_orientation(DiffusionImage(image.signal, gradients, image.mask, image.grid))
        assert verdict.verdict == ("as_given" if (wrong == np.eye(3)).all() else "other")
        assert abs(int(np.trace(verdict.transform @ wrong))) == 3
        assert verdict.margin > 5


@pytest.mark.real
def test_two_slices_cannot_tell(shared_data):
    verdict = find_gradient_orientation(real_scan(shared_data / "multishell_slices"))
    assert verdict.verdict == "cannot_tell" and 0 < verdict.margin < 3
    assert f"{verdict.margin:.1f}" in verdict.summary
