"""Pictures: the right way round, the same bytes each time, and drawn whatever is missing."""

from dataclasses import replace

import numpy as np
import pytest

from tractome.datatypes.connectome import Connectome, Measure
from tractome.datatypes.grid import Grid
from tractome.datatypes.measures import measure_named
from tractome.datatypes.parcellation import Parcellation, RegionTable
from tractome.io.figures import draw_colour_fa, draw_connectome, draw_labels, draw_matrices, draw_streamlines, to_ras
from tractome.io.outlines import draw_outlines

SHAPE = (6, 7, 8)


def _grid(storage):
    affine = {
        "RAS": np.diag([2.0, 2.5, 3.0, 1.0]),
        "LAS": np.diag([-2.0, 2.5, 3.0, 1.0]),
        "LPS": np.diag([-2.0, -2.5, 3.0, 1.0]),
        "PIR": np.array([[0, 0, 2.0, 0], [-2.5, 0, 0, 0], [0, -3.0, 0, 0], [0, 0, 0, 1]]),
    }[storage]
    return Grid(SHAPE, affine)


def _regions(n=4, centroids=None):
    return RegionTable(
        labels=np.arange(1, n + 1),
        names=tuple(f"r{i}" for i in range(n)),
        hemispheres=("L", "R") * (n // 2),
        structures=("cortex",) * n,
        networks=("",) * n,
        centroids_mm=np.full((n, 3), np.nan) if centroids is None else centroids,
        atlas="test",
    )


def _connectome(n_edges):
    count = np.zeros((4, 4))
    for row, column in [(0, 1), (1, 2), (0, 3)][:n_edges]:
        count[row, column] = count[column, row] = 10.0 * (row + column)
    fa = np.where(count > 0, 0.4, np.nan)
    measures = {"count": Measure("count", "streamlines", "", False), "fa": Measure("fa", "unitless", "", True)}
    centroids = np.array([[-30.0, 0, 0], [30, 0, 0], [-30, 30, 10], [np.nan] * 3])
    volumes = np.array([1.0, 1, 1, 0])
    return Connectome(_regions(), centroids, volumes, {"count": count, "fa": fa}, measures, 100, 3)


@pytest.mark.parametrize("storage", ["RAS", "LAS", "LPS", "PIR"])
def test_to_ras_makes_every_axis_rise_in_the_world(storage):
    grid = _grid(storage)
    voxels = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    turned, sizes = to_ras(grid.to_world(voxels), grid)
    for axis in range(3):
        steps = np.diff(turned[..., axis], axis=axis)
        np.testing.assert_allclose(steps, sizes[axis])
        others = np.delete(np.arange(3), axis)
        assert all(np.allclose(np.diff(turned[..., axis], axis=other), 0) for other in others)


def test_pictures_do_not_depend_on_the_storage_order(tmp_path):
    rng = np.random.default_rng(0)
    colour = rng.random((*SHAPE, 3)).astype(np.float32)
    draw_colour_fa(tmp_path / "a.png", colour, Grid(SHAPE, np.diag([2.0, 2, 2, 1])))
    draw_colour_fa(tmp_path / "b.png", colour[::-1], Grid(SHAPE, np.diag([-2.0, 2, 2, 1])))
    draw_colour_fa(tmp_path / "c.png", colour[::-1], Grid(SHAPE, np.diag([2.0, 2, 2, 1])))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "c.png").read_bytes()


def test_labels_are_looked_up_through_the_world(tmp_path):
    fine = Grid((12, 14, 16), np.diag([1.0, 1.0, 1.0, 1.0]))
    labels = np.zeros(fine.shape, dtype=np.int64)
    labels[:6], labels[6:] = 1, 2
    parcellation = Parcellation.from_labels(labels, fine, _regions())
    background = np.ones(SHAPE, dtype=np.float32)
    draw_labels(tmp_path / "a.png", background, Grid(SHAPE, np.diag([2.0, 2, 2, 1])), parcellation)
    far = np.diag([2.0, 2, 2, 1])
    far[0, 3] = 100.0
    draw_labels(tmp_path / "b.png", background, Grid(SHAPE, far), parcellation)
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def _halves(grid):
    """Two regions, left and right of the middle of the world."""
    world = grid.to_world(np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1))
    labels = np.where(np.abs(world - (-1, 0, 0)).max(axis=-1) < 9, 1 + (world[..., 0] > -1), 0)
    return Parcellation.from_labels(labels.astype(np.int64), grid, _regions(2))


def test_outlines_lie_where_regions_meet_in_the_world(tmp_path, monkeypatch):
    """Drawn are the pixels at the rims of the two halves, in their colours, on an interpolated background."""
    from tractome.io import outlines

    drawn = []
    monkeypatch.setattr(outlines, "_bare", lambda axes, title: drawn.append((title, axes.images[0].get_array())))
    affine = np.diag([-2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (19, -20, -20)
    grid = Grid((20, 20, 20), affine)
    draw_outlines(tmp_path / "a.png", np.full(grid.shape, 0.5, np.float32), grid, _halves(grid), "grey")
    title, picture = drawn[2]
    assert title.startswith("axial")
    picture = np.asarray(picture).swapaxes(0, 1)
    is_edge = np.ptp(picture, axis=-1) > 0
    colours = np.unique(picture[is_edge].round(6), axis=0)
    assert len(colours) == 2
    first, second = np.flatnonzero(is_edge.any(axis=1)), np.flatnonzero(is_edge.any(axis=0))
    # 18 mm wide and deep, at 1 mm; across the middle four columns of pixels at most carry the border of the two.
    assert len(first) == pytest.approx(18, abs=1) and len(second) == pytest.approx(18, abs=1)
    middle = is_edge[:, second.mean().astype(int)]
    assert 3 <= middle.sum() <= 5


def test_outlines_do_not_depend_on_the_storage_order(tmp_path):
    right, left = (np.diag([sign * 2.0, 2.0, 2.0, 1.0]) for sign in (1, -1))
    right[:3, 3], left[:3, 3] = (-19.3, -20.3, -20.3), (18.7, -20.3, -20.3)
    right, left = Grid((20, 20, 20), right), Grid((20, 20, 20), left)
    background = np.random.default_rng(0).random(right.shape).astype(np.float32)
    draw_outlines(tmp_path / "a.png", background, right, _halves(right), "noise")
    draw_outlines(tmp_path / "b.png", background[::-1], left, _halves(right), "noise")
    draw_outlines(tmp_path / "c.png", background[::-1], left, _halves(left), "noise")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes() == (tmp_path / "c.png").read_bytes()


@pytest.mark.parametrize("n_edges", [0, 1, 3])
def test_connectome_pictures_are_drawn_and_are_the_same_each_time(tmp_path, n_edges):
    for name, draw in (("matrices", draw_matrices), ("glass", draw_connectome)):
        contents = []
        for again in range(2):
            path = tmp_path / f"{name}{again}.png"
            draw(path, _connectome(n_edges))
            contents.append(path.read_bytes())
        assert contents[0] == contents[1]
        assert contents[0].startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("names", "drawn"),
    [
        (("count",), ["count"]),
        (("fa",), ["fa"]),
        (("length", "weight"), ["weight", "length"]),
        (("countse", "md", "fa", "count"), ["count", "fa"]),
        (("countse",), ["countse"]),
    ],
)
def test_pictures_of_matrices_leave_no_empty_half(tmp_path, monkeypatch, names, drawn):
    from matplotlib.axes import Axes
    from matplotlib.image import imread

    found, own = [], Axes.set_title
    monkeypatch.setattr(Axes, "set_title", lambda axes, text, **rest: (found.append(text), own(axes, text, **rest)))
    base = _connectome(3)
    some = base.matrices["count"]
    measures = {name: measure_named(name) for name in names}
    draw_matrices(tmp_path / "a.png", replace(base, matrices=dict.fromkeys(names, some), measures=measures))
    assert [title.split(",")[0] for title in found] == drawn
    pixels = imread(tmp_path / "a.png")[..., :3]
    for half in np.array_split(pixels, len(drawn), axis=1):
        assert np.ptp(half) > 0, "nothing was drawn"
    assert pixels.shape[1] / pixels.shape[0] == pytest.approx(len(drawn))


@pytest.mark.parametrize("is_mean", [False, True])
@pytest.mark.parametrize("values", [(), (0.03, 5.0), (-2.0, 1.0), (0.0, 0.0)])
def test_any_values_of_a_matrix_are_drawn(tmp_path, values, is_mean):
    """Below 1 in the mean of a group, below 0 where a program says so, nothing at all."""
    base = _connectome(0)
    matrix = np.full(base.matrices["count"].shape, np.nan if is_mean else 0.0)
    for row, value in enumerate(values):
        matrix[row, row + 1] = matrix[row + 1, row] = value
    measure = Measure("sc", "unitless", "Given.", is_mean=is_mean)
    draw_matrices(tmp_path / "a.png", replace(base, matrices={"sc": matrix}, measures={"sc": measure}))
    assert (tmp_path / "a.png").stat().st_size > 5000


def test_streamlines_are_drawn(tmp_path):
    lines = [np.array([[0.0, 0, 0], [5, 5, 5]], np.float32), np.array([[1.0, 1, 1]], np.float32)]
    draw_streamlines(tmp_path / "lines.png", lines, np.ones(SHAPE, np.float32), _grid("LAS"))
    draw_streamlines(tmp_path / "none.png", [], np.ones(SHAPE, np.float32), _grid("LAS"))
    assert (tmp_path / "lines.png").read_bytes() != (tmp_path / "none.png").read_bytes()
    assert not list(tmp_path.glob(".tmp*"))
