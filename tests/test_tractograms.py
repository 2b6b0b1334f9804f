"""Streamlines go to files and come back; other programs read the same points."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tractome.datatypes.grid import Grid
from tractome.datatypes.tractogram import StreamlineTable, Tractogram
from tractome.errors import OutputError, TableError
from tractome.io.tractograms import (
    TRACTOGRAM_WRITERS,
    TractogramWriter,
    read_streamline_table,
    read_tractogram,
    write_streamline_table,
)

SUFFIXES = tuple(TRACTOGRAM_WRITERS)


def _oblique() -> Grid:
    angle = np.deg2rad(20)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-2.0, 2.0, 2.5])
    affine[:3, 3] = (91.3, -120.7, -60.1)
    return Grid((96, 110, 70), affine)


GRIDS = {
    "RAS": Grid((80, 90, 70), np.diag([2.0, 2, 2, 1])),
    "LPS": Grid((80, 90, 70), np.array([[-2.0, 0, 0, 90], [0, -2, 0, 100], [0, 0, 2, -60], [0, 0, 0, 1]])),
    "permuted": Grid((50, 60, 70), np.array([[0, 0, 2.0, -60], [-2, 0, 0, 70], [0, 1.5, 0, -30], [0, 0, 0, 1]])),
    "oblique": _oblique(),
}


def _tractogram(n_streamlines: int, seed: int = 0, longest: int = 60) -> Tractogram:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest, n_streamlines)
    points = rng.uniform(-80, 80, (int(lengths.sum()), 3)).astype(np.float32)
    return Tractogram(
        points,
        np.concatenate([[0], np.cumsum(lengths)]),
        np.sort(rng.choice(10**7, n_streamlines, replace=False)),
        rng.integers(0, 8, (n_streamlines, 2)),
    )


def _part(whole: Tractogram, first: int, last: int) -> Tractogram:
    offsets = whole.offsets[first : last + 1]
    return Tractogram(
        whole.points[offsets[0] : offsets[-1]],
        offsets - offsets[0],
        whole.seed_index[first:last],
        whole.stop_reasons[first:last],
    )


def _write(path: Path, whole: Tractogram, grid: Grid, block_size: int = 7) -> str:
    with TractogramWriter(path, grid) as writer:
        for first in range(0, whole.n_streamlines, block_size):
            writer.write(_part(whole, first, min(first + block_size, whole.n_streamlines)))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _joined(path: Path, block_size: int) -> Tractogram:
    blocks = list(read_tractogram(path, block_size))
    assert all(block.n_streamlines == block_size for block in blocks[:-1])
    lengths = np.concatenate([np.diff(block.offsets) for block in blocks])
    return Tractogram(
        np.concatenate([block.points for block in blocks]),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate([block.seed_index for block in blocks]),
        np.concatenate([block.stop_reasons for block in blocks]),
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", GRIDS)
def test_what_is_written_is_read_back(tmp_path: Path, suffix: str, name: str) -> None:
    whole = _tractogram(103)
    path = tmp_path / f"s{suffix}"
    _write(path, whole, GRIDS[name])
    for block_size in (1, 10, 1000):
        back = _joined(path, block_size)
        np.testing.assert_array_equal(back.offsets, whole.offsets)
        np.testing.assert_allclose(back.points, whole.points, atol=1e-3 if suffix == ".trk" else 0)
    if suffix == ".trx":
        np.testing.assert_array_equal(back.seed_index, whole.seed_index)
        np.testing.assert_array_equal(back.stop_reasons, whole.stop_reasons)
    else:
        assert (back.seed_index == -1).all()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_bytes_do_not_depend_on_blocks_or_time(tmp_path: Path, suffix: str) -> None:
    whole = _tractogram(50)
    hashes = {_write(tmp_path / f"{n}{suffix}", whole, GRIDS["oblique"], n) for n in (1, 7, 50)}
    assert len(hashes) == 1
    assert _write(tmp_path / f"other{suffix}", _tractogram(50, seed=1), GRIDS["oblique"]) not in hashes


@pytest.mark.parametrize("suffix", [".tck", ".trk"])
@pytest.mark.parametrize("name", GRIDS)
def test_nibabel_reads_the_same_points(tmp_path: Path, suffix: str, name: str) -> None:
    import nibabel as nib

    whole = _tractogram(40)
    path = tmp_path / f"s{suffix}"
    _write(path, whole, GRIDS[name])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        file = nib.streamlines.load(path)
    assert len(file.streamlines) == 40 == int(file.header["nb_streamlines"])
    for index, streamline in enumerate(file.streamlines):
        np.testing.assert_allclose(streamline, whole.streamline(index), atol=1e-3)
    if suffix == ".trk":
        np.testing.assert_allclose(file.header["voxel_to_rasmm"], GRIDS[name].affine, atol=1e-4)
        np.testing.assert_array_equal(file.header["dimensions"], GRIDS[name].shape)


@pytest.mark.parametrize("suffix", [".tck", ".trk"])
@pytest.mark.parametrize("name", GRIDS)
def test_files_of_nibabel_are_read(tmp_path: Path, suffix: str, name: str) -> None:
    import nibabel as nib
    from nibabel.streamlines import Field

    grid, whole = GRIDS[name], _tractogram(40)
    streamlines = [whole.streamline(index) for index in range(40)]
    header = {
        Field.VOXEL_TO_RASMM: grid.affine,
        Field.VOXEL_SIZES: grid.voxel_sizes_mm,
        Field.DIMENSIONS: grid.shape,
        Field.VOXEL_ORDER: grid.axis_codes,
    }
    tractogram = nib.streamlines.Tractogram(streamlines, affine_to_rasmm=np.eye(4))
    nib.streamlines.save(tractogram, str(tmp_path / f"s{suffix}"), header=header if suffix == ".trk" else None)
    back = _joined(tmp_path / f"s{suffix}", 9)
    np.testing.assert_array_equal(back.offsets, whole.offsets)
    np.testing.assert_allclose(back.points, whole.points, atol=1e-3)


def test_trx_python_reads_and_writes_the_same(tmp_path: Path) -> None:
    from trx.trx_file_memmap import load, save

    whole = _tractogram(40)
    _write(tmp_path / "s.trx", whole, GRIDS["oblique"])
    file = load(str(tmp_path / "s.trx"))
    np.testing.assert_array_equal(file.streamlines._data, whole.points)
    np.testing.assert_array_equal(file.streamlines._offsets, whole.offsets[:-1])
    np.testing.assert_array_equal(file.data_per_streamline["seed_index"].ravel(), whole.seed_index)
    np.testing.assert_allclose(file.header["VOXEL_TO_RASMM"], GRIDS["oblique"].affine, atol=1e-4)
    np.testing.assert_array_equal(file.header["DIMENSIONS"], GRIDS["oblique"].shape)
    save(file, str(tmp_path / "again.trx"))
    file.close()
    back = _joined(tmp_path / "again.trx", 9)
    np.testing.assert_array_equal(back.points, whole.points)
    np.testing.assert_array_equal(back.stop_reasons, whole.stop_reasons)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_empty_tractogram(tmp_path: Path, suffix: str) -> None:
    import nibabel as nib
    from trx.trx_file_memmap import load

    path = tmp_path / f"s{suffix}"
    with TractogramWriter(path, GRIDS["RAS"]):
        pass
    assert list(read_tractogram(path)) == []
    if suffix == ".trx":
        assert load(str(path)).header["NB_STREAMLINES"] == 0
    else:
        assert len(nib.streamlines.load(path).streamlines) == 0


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_points_that_are_not_finite_are_refused(tmp_path: Path, suffix: str) -> None:
    points = np.zeros((3, 3), np.float32)
    points[1, 2] = np.nan
    block = Tractogram(points, np.array([0, 3]), np.zeros(1, np.int64), np.zeros((1, 2), np.int8))
    with (
        pytest.raises(TableError, match="not finite"),
        TractogramWriter(tmp_path / f"s{suffix}", GRIDS["RAS"]) as writer,
    ):
        writer.write(block)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_interrupted_writing_leaves_the_old_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"s{suffix}"
    before = _write(path, _tractogram(5), GRIDS["RAS"])
    with pytest.raises(KeyboardInterrupt), TractogramWriter(path, GRIDS["RAS"]) as writer:
        writer.write(_tractogram(20, seed=3))
        raise KeyboardInterrupt
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_truncated_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"s{suffix}"
    _write(path, _tractogram(30), GRIDS["RAS"])
    whole = path.read_bytes()
    for n_bytes in (len(whole) - 3, len(whole) // 2, 300, 10, 0):
        path.write_bytes(whole[:n_bytes])
        with pytest.raises(TableError, match=path.name):
            list(read_tractogram(path))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_missing_and_foreign_files(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(TableError, match="cannot be read"):
        list(read_tractogram(tmp_path / f"none{suffix}"))
    (tmp_path / f"text{suffix}").write_text("no streamlines here\n" * 200)
    with pytest.raises(TableError, match=f"no whole {suffix}|no whole TRX"):
        list(read_tractogram(tmp_path / f"text{suffix}"))


def test_unknown_suffix(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"\.trx, \.tck, \.trk"):
        TractogramWriter(tmp_path / "s.vtk", GRIDS["RAS"])
    with pytest.raises(TableError, match=r"\.vtk"):
        list(read_tractogram(tmp_path / "s.vtk"))


def test_trk_without_an_affine_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.trk"
    _write(path, _tractogram(3), GRIDS["RAS"])
    raw = bytearray(path.read_bytes())
    raw[440 : 440 + 64] = bytes(64)  # vox_to_ras
    path.write_bytes(raw)
    with pytest.raises(TableError, match="no whole"):
        list(read_tractogram(path))


def test_empty_streamlines_of_a_file_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "s.tck"
    whole = _tractogram(4)
    _write(path, whole, GRIDS["RAS"])
    raw = path.read_bytes()
    path.write_bytes(raw[:-12] + np.full(3, np.nan, "<f4").tobytes() + raw[-12:])
    back = _joined(path, 10)
    np.testing.assert_array_equal(back.points, whole.points)
    assert "1 streamlines have no point" in caplog.text


def test_write_and_read_in_little_memory(tmp_path: Path) -> None:
    """Twenty blocks of 1.4 MB: no more than a few of them at once, beside buffers of fixed size."""
    block = _tractogram(4_000)
    for suffix in SUFFIXES:
        path = tmp_path / f"s{suffix}"
        tracemalloc.start()
        with TractogramWriter(path, GRIDS["RAS"]) as writer:
            for _ in range(20):
                writer.write(block)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 6 * block.points.nbytes, suffix
        if suffix == ".trk":
            continue  # nibabel reads it streamline by streamline: slow, and known not to hold more
        tracemalloc.start()
        n_points = sum(len(part.points) for part in read_tractogram(path, 4_000))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert n_points == 20 * len(block.points)
        assert peak < 8 * block.points.nbytes + 8e6, suffix


def _table(n: int, weights: bool) -> StreamlineTable:
    rng = np.random.default_rng(2)
    means = {"fa": rng.random(n).astype(np.float32), "md": rng.random(n).astype(np.float32) * 1e-3}
    if n:
        means["md"][0] = np.nan
    return StreamlineTable(
        ends_mm=rng.uniform(-80, 80, (n, 2, 3)),
        length_mm=rng.uniform(10, 200, n),
        means=means,
        seed_index=np.arange(n) * 3,
        units={"fa": "unitless", "md": "mm2/s"},
        weights=rng.random(n) if weights else None,
    )


@pytest.mark.parametrize("n", [0, 1, 1000])
@pytest.mark.parametrize("weights", [False, True])
def test_streamline_table_round_trip(tmp_path: Path, n: int, weights: bool) -> None:
    table = _table(n, weights)
    write_streamline_table(tmp_path / "t.trx", table, GRIDS["oblique"])
    back = read_streamline_table(tmp_path / "t.trx")
    np.testing.assert_array_equal(back.ends_mm, table.ends_mm)
    np.testing.assert_array_equal(back.length_mm, table.length_mm)
    np.testing.assert_array_equal(back.seed_index, table.seed_index)
    assert list(back.means) == ["fa", "md"] and back.units == table.units
    for name in table.means:
        np.testing.assert_array_equal(back.means[name], table.means[name])
    if weights:
        np.testing.assert_array_equal(back.weights, table.weights)
    else:
        assert back.weights is None
    write_streamline_table(tmp_path / "again.trx", back, GRIDS["oblique"])
    assert (tmp_path / "again.trx").read_bytes() == (tmp_path / "t.trx").read_bytes()


def test_trx_python_reads_a_streamline_table(tmp_path: Path) -> None:
    from trx.trx_file_memmap import load

    table = _table(25, True)
    write_streamline_table(tmp_path / "t.trx", table, GRIDS["oblique"])
    file = load(str(tmp_path / "t.trx"))
    assert len(file.streamlines) == 25
    np.testing.assert_array_equal(np.stack(list(file.streamlines)), table.ends_mm)
    np.testing.assert_array_equal(file.data_per_streamline["length_mm"].ravel(), table.length_mm)
    np.testing.assert_array_equal(file.data_per_streamline["mean_fa"].ravel(), table.means["fa"])
    file.close()


def test_a_tractogram_is_no_streamline_table(tmp_path: Path) -> None:
    _write(tmp_path / "s.trx", _tractogram(3), GRIDS["RAS"])
    with pytest.raises(TableError, match="whole streamlines"):
        read_streamline_table(tmp_path / "s.trx")
    with pytest.raises(TableError, match="cannot be read"):
        read_streamline_table(tmp_path / "none.trx")


def test_map_names_must_fit_file_names(tmp_path: Path) -> None:
    table = _table(2, False)
    odd = StreamlineTable(table.ends_mm, table.length_mm, {"a/b": table.length_mm}, table.seed_index, {})
    with pytest.raises(TableError, match="a/b"):
        write_streamline_table(tmp_path / "t.trx", odd, GRIDS["RAS"])


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "s.tck").mkdir()
    with pytest.raises(OutputError, match=r"s\.tck cannot be written"):
        _write(tmp_path / "s.tck", _tractogram(2), GRIDS["RAS"])
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        _write(tmp_path / "file" / "s.trx", _tractogram(2), GRIDS["RAS"])


def test_golden_mrtrix_tractogram(shared_data: Path) -> None:
    import nibabel as nib

    path = shared_data / "assembly_golden" / "wm2gm.tck"
    expected = nib.streamlines.load(path).streamlines
    back = _joined(path, 100)
    assert back.n_streamlines == len(expected) == 1345
    np.testing.assert_array_equal(back.points, expected.get_data())


def test_trx_of_other_programs(tmp_path: Path) -> None:
    """Compressed, half precision, 32-bit offsets, nothing per streamline, and not ours to write to."""
    whole = _tractogram(40)
    with zipfile.ZipFile(tmp_path / "s.trx", "w", zipfile.ZIP_DEFLATED) as archive:
        header = {
            "DIMENSIONS": [10, 10, 10],
            "VOXEL_TO_RASMM": np.eye(4).tolist(),
            "NB_STREAMLINES": 40,
            "NB_VERTICES": len(whole.points),
        }
        archive.writestr("header.json", json.dumps(header))
        archive.writestr("positions.3.float16", whole.points.astype("<f2").tobytes())
        archive.writestr("offsets.uint32", whole.offsets.astype("<u4").tobytes())
        archive.writestr("dpv/fa.float32", np.zeros(len(whole.points), "<f4").tobytes())
    (tmp_path / "s.trx").chmod(0o400)
    back = _joined(tmp_path / "s.trx", 9)
    np.testing.assert_array_equal(back.points, whole.points.astype(np.float16))
    np.testing.assert_array_equal(back.offsets, whole.offsets)
    assert (back.seed_index == -1).all()


def test_dipy_loads_a_tractogram(tmp_path: Path) -> None:
    from dipy.io.streamline import load_tractogram

    rng = np.random.default_rng(0)
    points = GRIDS["oblique"].to_world(rng.uniform(5, 60, (30, 3))).astype(np.float32)
    whole = Tractogram(points, np.array([0, 10, 30]), np.arange(2), np.zeros((2, 2)))
    for suffix in (".trx", ".trk"):
        _write(tmp_path / f"s{suffix}", whole, GRIDS["oblique"])
        loaded = load_tractogram(str(tmp_path / f"s{suffix}"), "same")
        np.testing.assert_allclose(loaded.streamlines.get_data(), points, atol=1e-3)
