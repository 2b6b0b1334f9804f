"""Every convention of gradient tables comes out in world axes; what cannot be used is refused with words."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scans import AFFINES, SHAPE, fsl_vectors, sphere, write_nifti, write_text

from tractome.datatypes.diffusion import GradientTable
from tractome.datatypes.grid import Grid
from tractome.errors import GradientError
from tractome.io.gradients import GradientsRead, count_directions, read_gradients, write_gradients
from tractome.options import ReadOptions

LAS = Grid(SHAPE, AFFINES["LAS"])
BVALS = np.array([0.0] + [1000.0] * 12)
WORLD = np.concatenate([np.zeros((1, 3)), sphere(12)])


def _read(folder: Path, n_volumes: int | None = None, grid: Grid = LAS, threshold: float = 50.0) -> GradientsRead:
    n_volumes = len((folder / "dwi.bval").read_text().split()) if n_volumes is None else n_volumes
    options = ReadOptions(b0_threshold_s_per_mm2=threshold)
    return read_gradients(folder / "dwi.bval", folder / "dwi.bvec", grid, n_volumes, options)


def _write(folder: Path, bvals: np.ndarray = BVALS, world: np.ndarray = WORLD, grid: Grid = LAS) -> Path:
    write_text(folder / "dwi.bval", bvals)
    write_text(folder / "dwi.bvec", fsl_vectors(world, grid.affine).T)
    return folder


@pytest.mark.parametrize("storage", AFFINES)
def test_fsl_directions_come_to_world_axes(tmp_path: Path, storage: str) -> None:
    grid = Grid(SHAPE, AFFINES[storage])
    table = _read(_write(tmp_path, grid=grid), grid=grid)
    np.testing.assert_allclose(table.gradients.bvecs, WORLD, atol=1e-8)
    np.testing.assert_array_equal(table.gradients.bvals, BVALS)
    assert table.notices == () and table.kept.tolist() == list(range(13))


@pytest.mark.parametrize("storage", AFFINES)
def test_written_tables_are_read_back(tmp_path: Path, storage: str) -> None:
    grid = Grid(SHAPE, AFFINES[storage])
    table = GradientTable(BVALS, WORLD)
    write_gradients(tmp_path / "dwi.bval", tmp_path / "dwi.bvec", table, grid)
    np.testing.assert_allclose(np.loadtxt(tmp_path / "dwi.bvec").T, fsl_vectors(WORLD, grid.affine), atol=1e-9)
    np.testing.assert_allclose(_read(tmp_path, grid=grid).gradients.bvecs, WORLD, atol=1e-9)
    assert "-0 " not in (tmp_path / "dwi.bvec").read_text()


@pytest.mark.real
@pytest.mark.parametrize("storage", AFFINES)
def test_world_axes__mrtrix_comparison(tmp_path: Path, storage: str) -> None:
    if shutil.which("mrinfo") is None:
        pytest.skip("MRtrix3 is not installed")
    grid = Grid(SHAPE, AFFINES[storage])
    _write(tmp_path, grid=grid)
    write_nifti(tmp_path / "dwi.nii.gz", np.zeros((*SHAPE, 13), np.int16), grid.affine)
    files = [str(tmp_path / name) for name in ("dwi.nii.gz", "dwi.bvec", "dwi.bval", "dwi.b")]
    command = ["mrinfo", "-quiet", files[0], "-fslgrad", files[1], files[2], "-export_grad_mrtrix", files[3]]
    subprocess.run(command, check=True, capture_output=True)
    ours = _read(tmp_path, grid=grid).gradients
    theirs = read_gradients(tmp_path / "dwi.b", None, grid, 13, ReadOptions()).gradients
    np.testing.assert_allclose(ours.bvecs, theirs.bvecs, atol=1e-5)


LAYOUTS = {
    "rows": lambda bvals, vectors: (" ".join(map(str, bvals)), _lines(vectors.T, " ")),
    "columns": lambda bvals, vectors: ("\n".join(map(str, bvals)) + "\n", _lines(vectors, " ")),
    "commas": lambda bvals, vectors: (",".join(map(str, bvals)), _lines(vectors.T, ", ")),
    "tabs": lambda bvals, vectors: ("\t".join(map(str, bvals)), _lines(vectors, "\t")),
    "trailing blanks": lambda bvals, vectors: (" ".join(map(str, bvals)) + "  \n\n", _lines(vectors.T, "  ", "  \n")),
    "windows": lambda bvals, vectors: (" ".join(map(str, bvals)) + "\r\n", _lines(vectors.T, " ", "\r\n")),
    "byte order mark": lambda bvals, vectors: ("\ufeff" + " ".join(map(str, bvals)), "\ufeff" + _lines(vectors.T, " ")),
    "comment": lambda bvals, vectors: ("# b\n" + " ".join(map(str, bvals)), "# g\n" + _lines(vectors.T, " ")),
}


def _lines(rows: np.ndarray, separator: str, end: str = "\n") -> str:
    return "".join(separator.join(f"{value:.10g}" for value in row) + end for row in rows)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(tmp_path: Path, layout: str) -> None:
    bval, bvec = LAYOUTS[layout](BVALS, fsl_vectors(WORLD, LAS.affine))
    (tmp_path / "dwi.bval").write_text(bval, encoding="utf-8", newline="")
    (tmp_path / "dwi.bvec").write_text(bvec, encoding="utf-8", newline="")
    np.testing.assert_allclose(_read(tmp_path, 13).gradients.bvecs, WORLD, atol=1e-8)


def test_mrtrix_table_is_in_world_axes_already(tmp_path: Path) -> None:
    rows = np.column_stack([WORLD, BVALS])
    path = tmp_path / "dwi.b"
    path.write_text("# command_history: dwi\n" + _lines(rows, " "))
    table = read_gradients(path, None, Grid(SHAPE, AFFINES["oblique"]), 13, ReadOptions())
    np.testing.assert_allclose(table.gradients.bvecs, WORLD, atol=1e-8)
    write_text(tmp_path / "dwi.bval", BVALS)
    with pytest.raises(GradientError, match="Give both"):
        read_gradients(tmp_path / "dwi.bval", None, LAS, 13, ReadOptions())


def test_nan_direction_of_a_b0(tmp_path: Path) -> None:
    world = WORLD.copy()
    world[0] = np.nan
    table = _read(_write(tmp_path, world=world))
    assert table.gradients.bvecs[0].tolist() == [0, 0, 0] and table.notices == ()


def test_count_mismatches(tmp_path: Path) -> None:
    _write(tmp_path)
    with pytest.raises(
        GradientError, match=r"dwi\.bval has 13 values but the image has 14 volumes\. Each volume needs"
    ):
        _read(tmp_path, 14)
    write_text(tmp_path / "dwi.bvec", WORLD[:12].T)
    with pytest.raises(GradientError, match=r"dwi\.bvec has 3 rows × 12 columns but dwi\.bval has 13 values"):
        _read(tmp_path)
    write_text(tmp_path / "dwi.bvec", np.ones((4, 13)))
    with pytest.raises(GradientError, match="4 rows × 13 columns"):
        _read(tmp_path)


def test_three_by_three_is_taken_by_unit_length(tmp_path: Path) -> None:
    bvals = np.array([0.0, 1000, 1000])
    directions = np.array([[0, 0, 0], [1, 0, 0], [0.6, 0.8, 0]])
    for rows in (directions, directions.T):
        write_text(tmp_path / "dwi.bval", bvals)
        write_text(tmp_path / "dwi.bvec", rows)
        with pytest.raises(GradientError, match="2 distinct directions"):  # neither swapped nor scaled
            _read(tmp_path)


def test_zero_direction_with_weighting_is_dropped(tmp_path: Path) -> None:
    world = WORLD.copy()
    world[[3, 7]] = [[0, 0, 0], [np.nan] * 3]
    table = _read(_write(tmp_path, world=world))
    assert table.kept.tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10, 11, 12]
    np.testing.assert_allclose(table.gradients.bvecs, WORLD[table.kept], atol=1e-8)
    assert len(table.notices) == 1 and "2 volumes (4, 8) of dwi.bvec" in table.notices[0]


def test_long_directions_scale_b_by_their_square(tmp_path: Path) -> None:
    world = WORLD.copy()
    world[5] *= np.sqrt(2)
    world[6] *= 1.005
    table = _read(_write(tmp_path, world=world))
    np.testing.assert_allclose(table.gradients.bvecs, WORLD, atol=1e-8)
    expected = BVALS.copy()
    expected[5] = 2000
    np.testing.assert_allclose(table.gradients.bvals, expected, rtol=1e-7)
    assert len(table.notices) == 1 and "1 volume (6)" in table.notices[0] and "1.41" in table.notices[0]


def test_b0_threshold(tmp_path: Path) -> None:
    bvals = np.where(BVALS == 0, 60.0, BVALS)
    _write(tmp_path, bvals)
    with pytest.raises(GradientError, match="the lowest is 60"):
        _read(tmp_path)
    assert _read(tmp_path, threshold=60).gradients.is_b0.tolist() == [True] + [False] * 12


@pytest.mark.parametrize(
    ("bvals", "words"),
    [
        (BVALS / 1000, "ms/um2"),
        (BVALS * 1e6, "s/m2"),
        (np.where(BVALS == 0, -1.0, BVALS), "value 1 is -1"),
        (np.where(BVALS == 0, np.nan, BVALS), "value 1 is nan"),
        (BVALS * 0, "0 distinct directions"),
    ],
)
def test_b_values_out_of_range(tmp_path: Path, bvals: np.ndarray, words: str) -> None:
    with pytest.raises(GradientError, match=words):
        _read(_write(tmp_path, bvals))


def test_too_few_directions(tmp_path: Path) -> None:
    world = WORLD.copy()
    world[6:] = np.where(np.arange(7) % 2, 1, -1)[:, None] * world[1]  # repeats and opposites
    with pytest.raises(GradientError, match=r"5 distinct directions .* at least 6"):
        _read(_write(tmp_path, world=world))


def test_directions_in_a_plane(tmp_path: Path) -> None:
    angles = np.arange(12) / 12 * np.pi
    world = np.concatenate([np.zeros((1, 3)), np.stack([np.cos(angles), np.sin(angles), 0 * angles], 1)])
    with pytest.raises(GradientError, match="one plane"):
        _read(_write(tmp_path, world=world))


def test_opposite_directions_count_once() -> None:
    directions = sphere(10)
    assert count_directions(np.concatenate([directions, -directions, directions + 1e-4])) == 10


def test_files_that_are_none(tmp_path: Path) -> None:
    _write(tmp_path)
    with pytest.raises(GradientError, match="cannot be read"):
        read_gradients(tmp_path / "none.bval", tmp_path / "dwi.bvec", LAS, 13, ReadOptions())
    (tmp_path / "dwi.bvec").write_text("0 1 2\n0 x 2\n")
    with pytest.raises(GradientError, match=r"dwi\.bvec, line 2: .*'x'"):
        _read(tmp_path)
    (tmp_path / "dwi.bvec").write_text("0 1 2\n0 1\n")
    with pytest.raises(GradientError, match="rows of 2 to 3 values"):
        _read(tmp_path)
    (tmp_path / "dwi.bvec").write_text("\n")
    with pytest.raises(GradientError, match="is empty"):
        _read(tmp_path)
    (tmp_path / "dwi.bvec").write_bytes(b"\xff\xfe\x00\x01" * 9)
    with pytest.raises(GradientError, match="not a text file"):
        _read(tmp_path)


def test_swapped_files(tmp_path: Path) -> None:
    _write(tmp_path)
    with pytest.raises(GradientError, match="swapped"):
        read_gradients(tmp_path / "dwi.bvec", tmp_path / "dwi.bval", LAS, 13, ReadOptions())


def test_hcp_table(shared_data: Path) -> None:
    folder = shared_data / "hcp_gradients"
    table = read_gradients(folder / "bvals", folder / "bvecs", LAS, 288, ReadOptions())
    assert table.gradients.describe() == "18 at b = 0, 90 at b = 1000, 90 at b = 2000, 90 at b = 3000"
    assert table.notices == ()
