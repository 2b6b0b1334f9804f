"""Anatomical rules where they bite: deep grey across the way, ventricles across plausible false paths, a lesion.

Every rule is checked on the points of the streamlines, against an independent reading of the tissue map, for every
method and every source of seeds: the number of streamlines that break it is zero.
"""

from __future__ import annotations

from functools import cache

import naive
import numpy as np
import pytest
import tracking_fields as fields
from test_track_seeds import segment_fixels
from tracking_fields import CORTEX, CSF, DEEP, LESION, WHITE

from tractome.datatypes.seeds import SeedPoints
from tractome.datatypes.tissue import TissueMap
from tractome.datatypes.tractogram import RejectReason, StopReason
from tractome.options import DIRECTION_METHODS, SEED_SOURCES, TrackOptions
from tractome.stages.track import track

STEP_MM, MIN_MM, MAX_MM = 0.5, 12.0, 70.0
TOUCH_MM = 0.01


def smoothed(kind, finer=1):
    """Fractions with the partial volume that a scan's voxels would have."""
    fractions = (kind[..., None] == np.arange(5)).astype(float)
    for axis in range(3):
        fractions = (fractions + np.roll(fractions, 1, axis) + np.roll(fractions, -1, axis)) / 3
    return fractions.astype(np.float32)


@cache
def head():
    """A head of 64 x 48 x 40 mm: fibres from side to side that bend, with everything in their way.

    A cortex all round, sulci (CSF, then cortex on both banks) that cut into the white matter, two deep grey regions, a
    ventricle in the middle of the fibres' way and a lesion that weakens the fibres but does not end them. The tissue
    map is finer than the orientation field, and on a grid of its own.
    """
    grid = fields.grid_of((32, 24, 20), 2.0, (-31, -23, -19))
    own = fields.grid_of((58, 44, 36), 1.2, (-34, -26, -21))
    places = own.to_world(np.moveaxis(np.indices(own.shape), 0, -1))
    x, y, z = np.moveaxis(places, -1, 0)
    from_rim = 1 - np.sqrt((x / 30) ** 2 + (y / 22) ** 2 + (z / 18) ** 2)
    kind = np.full(own.shape, WHITE)
    for at in (-8, 9):  # sulci from the front, with their two banks
        kind[(np.abs(x - at) < 4) & (y > 8)] = CORTEX
        kind[(np.abs(x - at) < 1.5) & (y > 10)] = CSF
    kind[(x + 13) ** 2 + (y + 4) ** 2 + z**2 < 25] = DEEP
    kind[(x - 13) ** 2 + (y + 5) ** 2 + (z - 2) ** 2 < 30] = DEEP
    kind[(x / 4) ** 2 + ((y + 2) / 7) ** 2 + (z / 5) ** 2 < 1] = CSF
    kind[(x + 2) ** 2 + (y - 3) ** 2 + (z - 9) ** 2 < 16] = LESION
    kind[(from_rim < 0.14) & (kind == WHITE)] = CORTEX
    kind[from_rim < 0.04] = CSF
    kind[from_rim < 0] = -1
    tissue = TissueMap(smoothed(kind), own)

    centres = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    axes = fields.smooth_axes(np.random.default_rng(4), grid, bend=0.5)
    inside = ((centres / (31, 23, 19)) ** 2).sum(axis=-1) < 1
    strength = np.where(((centres - (-2, 3, 9)) ** 2).sum(axis=-1) < 16, 0.35, 0.8)[inside]
    return fields.field_of(axes, grid, inside, strength[:, None]), tissue


@cache
def tracked(method, source):
    field, tissue = head()
    rng = np.random.default_rng(1)
    options = TrackOptions(
        method=method, seed_source=source, n_seeds=1500, min_length_mm=MIN_MM, max_length_mm=MAX_MM,
        step_size_mm=STEP_MM, max_angle_deg=20.0, seeds_per_axis=1, seeds_per_point=5,
    )  # fmt: skip
    points = SeedPoints(rng.uniform((-26, -18, -14), (26, 18, 14), (300, 3)), np.zeros((300, 3)))
    return fields.all_of(
        track(
            field, options, tissue=tissue, seed_points=points if source == "points" else None,
            fixels=segment_fixels(field) if source == "dynamic" else None,
        )
    )  # fmt: skip


def tissue_at(points):
    """Cortical grey, deep grey, white (with lesions) and CSF at points in mm, (n, 4)."""
    _, tissue = head()
    found = np.array([naive.interpolate(tissue.fractions, point) for point in tissue.grid.to_voxel(points)])
    return np.column_stack([found[:, :2], found[:, 2] + found[:, 4], found[:, 3]])


def some(method, source, n=120):
    """Accepted streamlines (evenly picked), and why their ends stopped."""
    streamlines, stops, *_ = tracked(method, source)
    assert len(streamlines) > 60, "too few to test a rule on"
    picked = np.unique(np.linspace(0, len(streamlines) - 1, n).astype(int))
    return [streamlines[i] for i in picked], stops[picked]


EVERY = [(method, source) for method in DIRECTION_METHODS for source in SEED_SOURCES]


@pytest.mark.parametrize(("method", "source"), EVERY)
def test_every_end_is_in_grey_matter_or_leaves_the_brain(method, source):
    streamlines, stops = some(method, source)
    allowed = {StopReason.ENTERED_CORTEX, StopReason.ENTERED_DEEP_GREY, StopReason.LEFT_MASK, StopReason.LEFT_IMAGE}
    assert set(stops.ravel().tolist()) <= allowed
    for points, reasons in zip(streamlines, stops, strict=True):
        for end, inner, reason in zip(points[[0, -1]], points[[1, -2]], reasons, strict=True):
            cortex, deep, white, csf = tissue_at(end[None])[0]
            if reason == StopReason.ENTERED_CORTEX:
                assert cortex + deep > max(white, csf) - 1e-3 and cortex >= deep - 1e-3
            elif reason == StopReason.ENTERED_DEEP_GREY:
                assert cortex + deep > max(white, csf) - 1e-3 and deep >= cortex - 1e-3
            else:
                assert cortex + deep + white + csf < 0.5 + 1e-3
            assert csf <= max(cortex + deep, white) + 1e-3, "no end is in CSF"
            # The point before the last is still in white matter: it stopped at once.
            before = tissue_at(inner[None])[0]
            assert before[2] >= before[0] + before[1] - 1e-3


@pytest.mark.parametrize(("method", "source"), EVERY)
def test_nothing_passes_through_grey_matter_or_csf(method, source):
    streamlines, _ = some(method, source)
    for points in streamlines:
        cortex, deep, white, csf = tissue_at(points[1:-1]).T
        assert (cortex + deep <= white + 1e-3).all(), "no way through cortex or deep grey"
        assert (csf < np.maximum(cortex + deep, white) + 1e-3).all(), "no way through CSF"


@pytest.mark.parametrize(("method", "source"), EVERY)
def test_an_end_in_cortex_is_at_the_interface(method, source):
    streamlines, stops = some(method, source)
    n = 0
    for points, reasons in zip(streamlines, stops, strict=True):
        for end, inner, reason in zip(points[[0, -1]], points[[1, -2]], reasons, strict=True):
            if reason != StopReason.ENTERED_CORTEX:
                continue
            n += 1
            way = end.astype(float) - inner
            length = np.linalg.norm(way)
            assert length <= STEP_MM + 1e-4
            back = end - way / max(length, 1e-9) * min(length, STEP_MM / 64 + TOUCH_MM)
            cortex, deep, white, csf = tissue_at(back[None])[0]
            assert white >= max(cortex + deep, csf) - 0.02, "a hair before the end it is white matter"
    assert n > 50


@pytest.mark.parametrize(("method", "source"), EVERY)
def test_lengths_are_within_the_limits(method, source):
    streamlines, _, _, n_seeds, rejected = tracked(method, source)
    lengths = np.array([np.linalg.norm(np.diff(points.astype(float), axis=0), axis=1).sum() for points in streamlines])
    assert lengths.min() > MIN_MM - 1e-3 and lengths.max() < MAX_MM + 1e-3
    assert n_seeds == len(streamlines) + sum(rejected.values())


@pytest.mark.parametrize("method", DIRECTION_METHODS)
def test_the_rules_bite(method):
    """Without the tissue map the same seeds give streamlines that break every rule."""
    field, _ = head()
    options = TrackOptions(method=method, n_seeds=400, seed_source="white-matter", max_length_mm=200.0,
                           step_size_mm=STEP_MM, max_angle_deg=20.0)  # fmt: skip
    streamlines, *_ = fields.all_of(track(field, options))
    through = np.zeros(4, int)
    for points in streamlines[:80]:
        found = tissue_at(points[2:-2])
        through += (found > 0.5).any(axis=0)
    assert (through > 5).all(), f"cortex, deep grey, white, CSF: {through}"
    rejected = tracked(method, "white-matter")[4]
    for reason in (RejectReason.ENDS_IN_CSF, RejectReason.TOO_SHORT):
        assert rejected[reason] > 5
    stops = tracked(method, "white-matter")[1]
    assert (stops == StopReason.ENTERED_DEEP_GREY).sum() > 20 and (stops == StopReason.ENTERED_CORTEX).sum() > 200


@pytest.mark.parametrize("method", DIRECTION_METHODS)
def test_streamlines_run_through_a_lesion(method):
    streamlines, *_ = tracked(method, "white-matter")
    lesion = np.array([-2.0, 3, 9])
    crossing = [points for points in streamlines if (np.linalg.norm(points - lesion, axis=1) < 2.5).any()]
    assert len(crossing) > 5
    for points in crossing:
        assert (np.linalg.norm(points[[0, -1]] - lesion, axis=1) > 3).all(), "no end is in the lesion"
