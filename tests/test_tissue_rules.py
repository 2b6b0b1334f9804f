"""The anatomical rules hold with every kind of tissue map: read off the streamlines, none breaks one."""

from __future__ import annotations

from functools import cache

import heads
import naive
import numpy as np
import pytest
import tracking_fields as fields

from tractome.datatypes.tractogram import StopReason
from tractome.options import TissueOptions, TrackOptions
from tractome.stages.tissue import tissue_from_dwi, tissue_from_freesurfer, tissue_from_t1
from tractome.stages.track import track

KINDS = ("freesurfer", "freesurfer, other grid", "t1", "dwi")
STEP_MM, MIN_MM, MAX_MM = 0.5, 8.0, 90.0
SLACK = 1e-3
AT_AN_EDGE = 0.02
"""An end moved back to the interface lies on it to 1/64 of a step: on a hair's edge where three tissues meet."""


@cache
def tissue_of(kind):
    kinds, truth, grid = heads.head()
    if kind.startswith("freesurfer"):
        labels = np.zeros(kinds.shape, int)
        for tissue, label in heads.LABEL_OF.items():
            labels[kinds == tissue] = label
        size_mm = 1.4 if "other" in kind else None
        return tissue_from_freesurfer(labels, grid, TissueOptions(tissue_voxel_size_mm=size_mm))[0]
    if kind == "t1":
        return tissue_from_t1(heads.t1_image(), truth.any(axis=3), heads.template())
    return tissue_from_dwi(heads.diffusion_maps(), heads.template())


@cache
def tracked(kind):
    _, truth, grid = heads.head()
    field = fields.field_of(fields.smooth_axes(np.random.default_rng(7), grid, bend=0.6), grid, truth.any(axis=3), 0.8)
    options = TrackOptions(
        n_seeds=1500, seed_source="white-matter", step_size_mm=STEP_MM, max_angle_deg=20.0, min_length_mm=MIN_MM,
        max_length_mm=MAX_MM,
    )  # fmt: skip
    streamlines, stops, *_ = fields.all_of(track(field, options, tissue=tissue_of(kind)))
    return streamlines[:250], stops[:250]


def shares_at(kind, points):
    """Cortex, deep grey, white with lesions, CSF at points in mm, (n, 4), by another reading of the map."""
    tissue = tissue_of(kind)
    found = np.array([naive.interpolate(tissue.fractions, point) for point in tissue.grid.to_voxel(points)])
    return np.column_stack([found[:, :2], found[:, 2] + found[:, 4], found[:, 3]])


@pytest.mark.parametrize("kind", KINDS)
def test_not_one_streamline_breaks_a_rule(kind):
    streamlines, stops = tracked(kind)
    assert len(streamlines) > 80
    allowed = {StopReason.ENTERED_CORTEX, StopReason.ENTERED_DEEP_GREY, StopReason.LEFT_MASK, StopReason.LEFT_IMAGE}
    assert set(stops.ravel().tolist()) <= allowed
    n_in_grey, n_at_slivers = 0, 0
    for points, reasons in zip(streamlines, stops, strict=True):
        shares = shares_at(kind, points)
        grey, white, csf = shares[:, :2].sum(axis=1), shares[:, 2], shares[:, 3]
        assert (grey[1:-1] <= white[1:-1] + SLACK).all(), "no way through grey matter"
        assert (csf[1:-1] < np.maximum(grey, white)[1:-1] + SLACK).all(), "no way through CSF"
        for end, reason in zip((0, -1), reasons, strict=True):
            assert csf[end] <= max(grey[end], white[end]) + AT_AN_EDGE, "no end in CSF"
            if reason in (StopReason.ENTERED_CORTEX, StopReason.ENTERED_DEEP_GREY):
                n_in_grey += 1
                if grey[end] < white[end] - AT_AN_EDGE:
                    # Moved back beyond a sliver of CSF, thinner than a step, that lies before the grey matter.
                    assert csf[end] >= white[end] - AT_AN_EDGE, "an end is in grey matter"
                    n_at_slivers += 1
            else:
                assert shares[end].sum() < 0.5 + SLACK
        length_mm = np.linalg.norm(np.diff(points.astype(float), axis=0), axis=1).sum()
        assert MIN_MM - SLACK < length_mm < MAX_MM + SLACK
    assert n_in_grey > len(streamlines), "most ends are in grey matter"
    assert n_at_slivers < 0.01 * n_in_grey


@pytest.mark.parametrize("kind", KINDS[1:])
def test_maps_of_one_head_agree(kind):
    """Where streamlines end does not hang on what the map was made from: the same grey matter, to a voxel."""
    first, second = tissue_of("freesurfer"), tissue_of(kind)
    _, truth, grid = heads.head()
    places = grid.to_world(np.argwhere(truth.max(axis=3) > 0.95)[::7])
    one = np.array([naive.interpolate(first.fractions, p) for p in first.grid.to_voxel(places)])
    two = np.array([naive.interpolate(second.fractions, p) for p in second.grid.to_voxel(places)])
    assert (one.argmax(axis=1) == two.argmax(axis=1)).mean() > 0.9
