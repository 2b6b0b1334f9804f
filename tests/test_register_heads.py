"""Register: b0 and T1 of one head are told from those of two, and a mirrored T1 is called by its name."""

import numpy as np
import pytest
from scipy import ndimage
from test_register import make_subject, make_template, smooth_noise, subject_grid

from tractome.datatypes.grid import Grid
from tractome.errors import RegistrationError
from tractome.options import ParcellateOptions
from tractome.stages.register import register_t1
from tractome.stages.register.quality import RigidStep, detail, require_one_head
from tractome.stages.register.rigid import b0_to_t1

ENOUGH = 0.4
"""Eggs of two tissues have sharper outlines than brains, which two of them share: the limit for brains is too low."""
STRICT = ParcellateOptions(min_t1_detail=ENOUGH)


@pytest.fixture(scope="module")
def head():
    """T1 and its grid, b0, DWI grid, mask: one synthetic head."""
    t1_grid = subject_grid(2.0)
    template = make_template()
    t1, b0, grid, mask = make_subject(template, t1_grid)
    return template[0], t1, t1_grid, b0, grid, mask


def mirrored(grid):
    """Header with left and right exchanged about its centre."""
    affine = grid.affine.copy()
    affine[0] *= -1
    affine[0, 3] += 2 * grid.to_world((np.array(grid.shape) - 1) / 2)[0]
    return Grid(grid.shape, affine)


def test_one_head_agrees_in_detail(head):
    _, t1, t1_grid, b0, grid, mask = head
    found = b0_to_t1(b0, mask, grid, t1, t1_grid, ENOUGH)
    assert found.detail > ENOUGH
    # There was no reason to look at the mirror image.
    assert np.isnan(found.mirrored_detail)
    assert found.coverage > 0.95
    require_one_head(found, ENOUGH)


def test_a_mirrored_t1_is_called_mirrored(head):
    """The template is symmetric and could not show it; the b0 does."""
    template, t1, t1_grid, b0, grid, mask = head
    with pytest.raises(RegistrationError, match="Left and right are exchanged in the T1 or in the scan"):
        register_t1(t1, mirrored(t1_grid), b0, grid, mask, template, STRICT, 2)


def test_a_t1_of_another_head_is_refused(head):
    """Same size, outline and ventricles, other folds."""
    _, _, t1_grid, b0, grid, mask = head
    other, _, _, _ = make_subject(make_template(seed=23), t1_grid)
    found = b0_to_t1(b0, mask, grid, other, t1_grid, ENOUGH)
    assert found.detail < ENOUGH / 1.5 and found.mirrored_detail < ENOUGH / 1.5
    with pytest.raises(RegistrationError, match=r"in the large but not in the folds \(detail .*two different people"):
        require_one_head(found, ENOUGH)
    # Whoever knows better may lower the limit.
    require_one_head(found, 0.0)


def test_a_head_turned_by_30_degrees_is_found(head):
    """About the axis that the headers' start does not find: turned starts are tried before giving up."""
    _, t1, t1_grid, b0, grid, mask = head
    turned = t1_grid.affine.copy()
    c, s = np.cos(np.radians(-33)), np.sin(np.radians(-33))
    turned[:3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ turned[:3]
    found = b0_to_t1(b0, mask, grid, t1, Grid(t1_grid.shape, turned), ENOUGH)
    assert found.detail > ENOUGH and np.isnan(found.mirrored_detail)


def step(**changed):
    """A rigid step that went well, but for what is changed."""
    well = {"matrix": np.eye(4), "information": 0.2, "detail": 0.6, "mirrored_detail": float("nan")}
    return RigidStep(**{**well, "coverage": 1.0, "shift_mm": 3.0, **changed})


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"information": 0.05}, "mutual information 0.050 in the brain"),
        ({"detail": 0.1}, r"detail 0.10, at least 0.40"),
        ({"detail": 0.1, "mirrored_detail": 0.5}, r"agrees in detail \(0.50\) with the mirror image"),
        ({"coverage": 0.6}, "The T1 shows only 60% of the brain"),
    ],
)
def test_each_fault_of_the_rigid_step_is_an_error_of_its_own(changed, says):
    require_one_head(step(), ENOUGH)
    with pytest.raises(RegistrationError, match=says):
        require_one_head(step(**changed), ENOUGH)


def images():
    shape = (40, 44, 36)
    inside = np.linalg.norm((np.moveaxis(np.indices(shape), 0, -1) - 19.5) / (19, 21, 17), axis=-1) < 1
    return smooth_noise(shape, 1, 1.2), smooth_noise(shape, 2, 1.2), inside


def test_detail_is_high_for_one_image_and_none_for_two():
    one, other, inside = images()
    assert detail(one, one, inside) > 0.8
    assert detail(one, other, inside) == pytest.approx(0.0, abs=0.02)


def test_detail_does_not_know_contrast_scale_or_large_structures():
    one, other, inside = images()
    whole = detail(one, one, inside)
    assert detail(one, -3.0 * one + 7.0, inside) == pytest.approx(whole, abs=1e-6)
    large = smooth_noise(one.shape, 3, 9.0)
    # What two heads share in the large is no detail.
    assert detail(one + 4 * large, other + 4 * large, inside) < 0.15
    assert detail(one, one + 0.5 * other, inside) < whole


def test_detail_falls_with_distance_and_is_unknown_for_too_little():
    one, _, inside = images()
    steps = [detail(one, ndimage.shift(one, (step, 0, 0), order=1, mode="nearest"), inside) for step in (0, 1, 2, 3)]
    assert steps == sorted(steps, reverse=True)
    small = np.zeros_like(inside)
    small[10:20, 10:20, 10:20] = True
    assert np.isnan(detail(one, one, small))
    require_one_head(step(detail=float("nan")), ENOUGH)
