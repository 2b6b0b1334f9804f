"""The tracking methods beside MRtrix3 on a field with a crossing: the same spread, the same share that crosses it."""

from __future__ import annotations

import subprocess

import nibabel as nib
import numpy as np
import pytest
import tracking_fields as fields
from test_tracking import Run

from tractome.datatypes.fields import OrientationField
from tractome.io.images import write_orientation_field, write_volume

pytestmark = pytest.mark.real

N = 3000
NEAR_MM, FAR_MM = -26.0, 24.0


@pytest.fixture(scope="module")
def crossing():
    """A fibre along x, crossed in the middle by a weaker one; seeds on one side of that."""
    grid = fields.grid_of((30, 20, 12), 2.0, (-30, -20, -12))
    coefficients = np.broadcast_to(fields.lobe((1, 0.1, 0)), (*grid.shape, 45)).copy()
    coefficients[11:19] += 0.7 * fields.lobe((0.5, 0.87, 0.1))
    field = OrientationField(coefficients.reshape(-1, 45).astype(np.float32), np.ones(grid.shape, bool), grid)
    seeds = np.zeros(grid.shape, bool)
    seeds[5:7, 7:9, 5:7] = True
    return field, seeds


def place(streamline, x_mm):
    """Where a streamline that runs towards +x crosses a plane, and the number of points before; None if it does not."""
    before = np.flatnonzero((streamline[:-1, 0] < x_mm) & (streamline[1:, 0] >= x_mm))
    if not len(before):
        return None
    first, second = streamline[before[0] : before[0] + 2]
    return first + (x_mm - first[0]) / (second[0] - first[0]) * (second - first), before[0] + 1


class Spread:
    """Of the streamlines that cross both planes: their share, places (mean and spread in y and z), and lengths."""

    def __init__(self, streamlines):
        near, far, lengths = [], [], []
        for points in streamlines:
            forward = points if points[0, 0] < points[-1, 0] else points[::-1]
            start, end = place(forward, NEAR_MM), place(forward, FAR_MM)
            if start and end:
                near.append(start[0][1:])
                far.append(end[0][1:])
                whole = np.vstack([start[0], forward[start[1] : end[1]], end[0]])
                lengths.append(np.linalg.norm(np.diff(whole, axis=0), axis=1).sum())
        self.share, self.length_mm = len(far) / len(streamlines), np.mean(lengths)
        self.places_mm = np.mean(near, axis=0), np.mean(far, axis=0)
        self.spreads_mm = np.stack([np.std(near, axis=0), np.std(far, axis=0)])


def peer(folder, crossing, algorithm, step_mm, angle_deg):
    field, seeds = crossing
    write_orientation_field(folder / "fod.nii.gz", field)
    write_volume(folder / "seeds.nii.gz", seeds.astype(np.float32), field.grid)
    words = ["tckgen", "-quiet", "-nthreads", "2", "-algorithm", algorithm, "-seed_image", folder / "seeds.nii.gz",
             "-select", N, "-step", step_mm, "-angle", angle_deg, "-cutoff", 0.1, "-minlength", 0, "-maxlength", 250,
             folder / "fod.nii.gz", folder / "peer.tck"]  # fmt: skip
    subprocess.run([str(word) for word in words], check=True, timeout=300)
    return Spread(list(nib.streamlines.load(folder / "peer.tck").streamlines))


def ours(crossing, method, step_mm, angle_deg):
    field, seeds = crossing
    run = Run(field, seed_mask=seeds, method=method, step_size_mm=step_mm, max_angle_deg=angle_deg)
    return Spread(run.accepted(N)[0])


@pytest.mark.parametrize("step_mm", [0.5, 1.0])
def test_first_order__mrtrix_ifod1_comparison(step_mm, crossing, mrtrix, tmp_path):
    one, other = ours(crossing, "probabilistic", step_mm, 30), peer(tmp_path, crossing, "iFOD1", step_mm, 30)
    assert abs(one.share - other.share) < 0.03
    assert one.length_mm == pytest.approx(other.length_mm, rel=0.01)
    np.testing.assert_allclose(one.places_mm, other.places_mm, atol=0.6)
    np.testing.assert_allclose(one.spreads_mm, other.spreads_mm, rtol=0.12)


@pytest.mark.parametrize("angle_deg", [30, 45])
def test_second_order__mrtrix_ifod2_comparison(angle_deg, crossing, mrtrix, tmp_path):
    one, other = ours(crossing, "second-order", 1.0, angle_deg), peer(tmp_path, crossing, "iFOD2", 1.0, angle_deg)
    assert abs(one.share - other.share) < 0.06
    assert one.length_mm == pytest.approx(other.length_mm, rel=0.025)
    np.testing.assert_allclose(one.places_mm, other.places_mm, atol=0.8)
    # iFOD2 gives the ends of an arc half the weight of what lies between them, which leaves it a little more freedom.
    np.testing.assert_allclose(one.spreads_mm, other.spreads_mm, rtol=0.2)
    assert (one.spreads_mm < 1.03 * other.spreads_mm).all()
