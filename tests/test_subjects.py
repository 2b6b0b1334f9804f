"""A scan is read into world axes, packed, in one pass and in little memory; bad scans are refused with words."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from scans import AFFINES, SHAPE, principal_axis, sphere, write_nifti, write_scan, write_text

from tractome.datatypes.grid import Grid
from tractome.errors import GradientError, ImageError, SpaceError
from tractome.io import nifti
from tractome.io.subjects import DiffusionRead, read_diffusion
from tractome.options import ReadOptions

AXIS = np.array([1.0, 2.0, -0.5]) / np.linalg.norm([1.0, 2.0, -0.5])
EVERYWHERE = np.ones(SHAPE, np.uint8)


def _read(folder: Path, mask: object = None) -> DiffusionRead:
    if mask is None:
        mask = lambda mean_b0, grid: mean_b0 > 0  # noqa: E731
    files = [folder / name for name in ("dwi.nii.gz", "dwi.bval", "dwi.bvec")]
    return read_diffusion(*files, mask, ReadOptions())


@pytest.mark.parametrize("storage", AFFINES)
def test_storage_order_does_not_turn_the_tensor(tmp_path: Path, storage: str) -> None:
    write_scan(tmp_path, storage)
    image = _read(tmp_path).image
    axis = principal_axis(image.signal[0], image.gradients.bvals, image.gradients.bvecs)
    assert abs(axis @ AXIS) > 1 - 1e-6
    assert image.grid.is_same(Grid(SHAPE, AFFINES[storage]), 1e-3)


@pytest.mark.parametrize("dtype", ["int16", "float32", "float64"])
def test_signal_is_packed_in_c_order_of_the_mask(tmp_path: Path, dtype: str) -> None:
    write_scan(tmp_path)
    rng = np.random.default_rng(0)
    volumes = rng.integers(1, 3000, (*SHAPE, 14)).astype(dtype)
    mask = rng.random(SHAPE) > 0.4
    write_nifti(tmp_path / "dwi.nii.gz", volumes, AFFINES["LAS"])
    write_nifti(tmp_path / "mask.nii.gz", mask.astype(np.uint8), AFFINES["LAS"])
    read = _read(tmp_path, tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(read.image.signal, volumes[mask].astype(np.float32))
    np.testing.assert_array_equal(read.image.mask, mask)
    assert read.notices == ()


def test_mask_is_made_from_the_mean_b0(tmp_path: Path) -> None:
    write_scan(tmp_path)
    volumes = np.random.default_rng(0).uniform(1, 2, (*SHAPE, 14)).astype(np.float32)
    volumes[..., 1] *= 3
    write_nifti(tmp_path / "dwi.nii.gz", volumes, AFFINES["LAS"])
    seen = []

    def make(mean_b0: np.ndarray, grid: Grid) -> np.ndarray:
        seen.append((mean_b0, grid))
        return mean_b0 > 3

    image = _read(tmp_path, make).image
    expected = volumes[..., :2].mean(axis=3)
    np.testing.assert_allclose(seen[0][0], expected, rtol=1e-6)
    assert seen[0][1].is_same(image.grid)
    np.testing.assert_array_equal(image.mask, expected > 3)
    with pytest.raises(ImageError, match="No brain was found"):
        _read(tmp_path, lambda mean_b0, grid: mean_b0 > 1e9)


def test_progress_and_a_single_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_scan(tmp_path)
    write_nifti(tmp_path / "mask.nii.gz", EVERYWHERE, AFFINES["LAS"])
    n_opened, plain_open = [], nifti._open_values
    monkeypatch.setattr(nifti, "_open_values", lambda path: n_opened.append(path) or plain_open(path))
    steps: list[tuple[int, int]] = []
    read_diffusion(*files, tmp_path / "mask.nii.gz", ReadOptions(), lambda done, total: steps.append((done, total)))
    assert steps == [(volume + 1, 14) for volume in range(14)]
    assert n_opened.count(files[0]) == 1


def test_memory_stays_near_the_packed_array(tmp_path: Path) -> None:
    shape, n_volumes = (40, 40, 30), 120
    bvals = np.array([0.0] * 4 + [1000.0] * (n_volumes - 4))
    world = np.concatenate([np.zeros((4, 3)), sphere(n_volumes - 4)])
    write_text(tmp_path / "dwi.bval", bvals)
    write_text(tmp_path / "dwi.bvec", world.T)
    write_nifti(tmp_path / "dwi.nii.gz", np.ones((*shape, n_volumes), np.float32), AFFINES["LAS"])
    mask = np.zeros(shape, np.uint8)
    mask[10:, :, 5:25] = 1
    write_nifti(tmp_path / "mask.nii.gz", mask, AFFINES["LAS"])
    _read(tmp_path, tmp_path / "mask.nii.gz")  # imports do not count
    tracemalloc.start()
    image = _read(tmp_path, tmp_path / "mask.nii.gz").image
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    one_volume = int(np.prod(shape)) * 8
    # One volume is read while the one before is gathered, and sixteen gathered ones wait to be packed.
    assert peak < 1.2 * image.signal.nbytes + 6 * one_volume


# --- bad input ---


def _change(folder: Path, volume: int, values: object, n_volumes: int = 14) -> None:
    import nibabel as nib

    image = nib.load(folder / "dwi.nii.gz")
    data = image.get_fdata(dtype=np.float32)
    data[..., volume] = values
    write_nifti(folder / "dwi.nii.gz", data, image.affine)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_empty_volumes_are_left_out(tmp_path: Path, value: float) -> None:
    write_scan(tmp_path)
    whole = _read(tmp_path).image
    for volume in (1, 5, 13):
        _change(tmp_path, volume, value)
    read = _read(tmp_path)
    kept = [volume for volume in range(14) if volume not in (1, 5, 13)]
    np.testing.assert_array_equal(read.image.signal, whole.signal[:, kept])
    np.testing.assert_array_equal(read.image.gradients.bvecs, whole.gradients.bvecs[kept])
    assert "3 volumes of dwi.nii.gz hold only 0 or NaN (2, 6, 14): left out." in read.notices


def test_empty_b0_is_an_error(tmp_path: Path) -> None:
    write_scan(tmp_path)
    write_nifti(tmp_path / "mask.nii.gz", EVERYWHERE, AFFINES["LAS"])
    for volume in (0, 1):
        _change(tmp_path, volume, 0)
    for mask in (None, tmp_path / "mask.nii.gz"):
        with pytest.raises(ImageError, match="every b0 volume holds only 0 or NaN"):
            _read(tmp_path, mask)


def test_too_few_directions_after_empty_volumes(tmp_path: Path) -> None:
    write_scan(tmp_path)
    for volume in range(4, 12):
        _change(tmp_path, volume, 0)
    with pytest.raises(GradientError, match="4 distinct directions"):
        _read(tmp_path)


def test_values_that_are_not_finite_become_zero(tmp_path: Path) -> None:
    write_scan(tmp_path)
    values = np.full(SHAPE, 5.0)
    values[0, 0, 0], values[1, 2, 3], values[2, 2, 2] = np.nan, np.inf, -np.inf
    _change(tmp_path, 4, values)
    read = _read(tmp_path)
    assert np.isfinite(read.image.signal).all()
    assert np.count_nonzero(read.image.signal[:, 4] == 0) == 3
    assert read.notices == ("3 values of dwi.nii.gz inside the mask are not finite: taken as 0.",)


def test_dropped_directions_drop_their_volumes(tmp_path: Path) -> None:
    bvals = np.array([0.0, 0.0] + [1000.0] * 12)
    world = np.concatenate([np.zeros((3, 3)), sphere(11)])  # volume 3 is a trace volume
    write_scan(tmp_path, bvals=bvals, world=world)
    _change(tmp_path, 2, 77.0)
    read = _read(tmp_path)
    assert read.image.signal.shape[1] == 13 and not (read.image.signal == 77).any()
    assert "no direction" in read.notices[0]


def test_three_dimensions(tmp_path: Path) -> None:
    write_scan(tmp_path)
    write_nifti(tmp_path / "dwi.nii.gz", np.ones(SHAPE, np.float32), AFFINES["LAS"])
    with pytest.raises(ImageError, match=r"is 3-D \(5 x 6 x 4\)"):
        _read(tmp_path)


def test_count_mismatch(tmp_path: Path) -> None:
    write_scan(tmp_path)
    write_nifti(tmp_path / "dwi.nii.gz", np.ones((*SHAPE, 13), np.float32), AFFINES["LAS"])
    with pytest.raises(GradientError, match="14 values but the image has 13 volumes"):
        _read(tmp_path)


def test_truncated_gz(tmp_path: Path) -> None:
    dwi, *_ = write_scan(tmp_path)
    write_nifti(dwi, np.random.default_rng(0).normal(size=(*SHAPE, 14)).astype(np.float32), AFFINES["LAS"])
    write_nifti(tmp_path / "mask.nii.gz", EVERYWHERE, AFFINES["LAS"])
    whole = dwi.read_bytes()
    dwi.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=r"dwi\.nii\.gz is damaged or was not copied completely"):
        _read(tmp_path, tmp_path / "mask.nii.gz")


def test_mask_on_another_grid(tmp_path: Path) -> None:
    write_scan(tmp_path)
    write_nifti(tmp_path / "mask.nii.gz", EVERYWHERE, AFFINES["RAS"])
    with pytest.raises(SpaceError, match=r"mask\.nii\.gz is on another grid"):
        _read(tmp_path, tmp_path / "mask.nii.gz")
    write_nifti(tmp_path / "mask.nii.gz", EVERYWHERE[1:], AFFINES["LAS"])
    with pytest.raises(SpaceError, match="another grid"):
        _read(tmp_path, tmp_path / "mask.nii.gz")


def test_empty_mask(tmp_path: Path) -> None:
    write_scan(tmp_path)
    write_nifti(tmp_path / "mask.nii.gz", EVERYWHERE * 0, AFFINES["LAS"])
    with pytest.raises(ImageError, match="is empty"):
        _read(tmp_path, tmp_path / "mask.nii.gz")


# --- uncompressed files: pieces of volumes, read in any order ---


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<f4", ">f8", "u1", "<u4"])
@pytest.mark.parametrize("name", ["dwi.nii", "dwi.nii.gz"])
def test_every_kind_of_value_is_packed_the_same(tmp_path: Path, monkeypatch, dtype: str, name: str) -> None:
    import nibabel as nib

    from tractome.io import packing

    monkeypatch.setattr(packing, "VALUES_PER_PIECE", 17)
    monkeypatch.setattr(packing, "VOLUMES_AT_A_TIME", 3)
    monkeypatch.setattr(packing, "VOXELS_PER_PIECE", 7)
    files = write_scan(tmp_path)
    rng = np.random.default_rng(0)
    volumes = rng.integers(1, 200, (*SHAPE, 14)).astype(dtype)
    mask = rng.random(SHAPE) > 0.5
    write_nifti(tmp_path / "mask.nii.gz", mask.astype(np.uint8), AFFINES["LAS"])
    image = nib.Nifti1Image(volumes, AFFINES["LAS"], nib.Nifti1Header(endianness=">" if dtype[0] == ">" else "<"))
    image.header.set_data_dtype(dtype)
    image.header.set_slope_inter(2.0, -1.0)
    nib.save(image, tmp_path / name)
    stored = nib.load(tmp_path / name).get_fdata()
    steps: list[int] = []
    read = read_diffusion(
        tmp_path / name, *files[1:], tmp_path / "mask.nii.gz", ReadOptions(), lambda done, _: steps.append(done)
    )
    np.testing.assert_array_equal(read.image.signal, stored[mask].astype(np.float32))
    assert steps == list(range(1, 15))


def test_uncompressed_scan_with_a_made_mask_is_the_compressed_one(tmp_path: Path) -> None:
    dwi, *rest = write_scan(tmp_path)
    plain = tmp_path / "plain.nii"
    plain.write_bytes(gzip.decompress(dwi.read_bytes()))
    make = lambda mean_b0, grid: mean_b0 > np.median(mean_b0) - 1  # noqa: E731
    one, other = (read_diffusion(path, *rest, make, ReadOptions()).image for path in (dwi, plain))
    np.testing.assert_array_equal(one.signal, other.signal)
    np.testing.assert_array_equal(one.mask, other.mask)


@pytest.mark.parametrize("with_mask", [True, False])
def test_truncated_uncompressed(tmp_path: Path, with_mask: bool) -> None:
    dwi, *rest = write_scan(tmp_path)
    write_nifti(tmp_path / "mask.nii.gz", EVERYWHERE, AFFINES["LAS"])
    plain = tmp_path / "plain.nii"
    whole = gzip.decompress(dwi.read_bytes())
    plain.write_bytes(whole[: 352 + (len(whole) - 352) // 20])
    mask = tmp_path / "mask.nii.gz" if with_mask else lambda mean_b0, grid: mean_b0 > 0
    with pytest.raises(ImageError, match=r"plain\.nii is damaged .* it ends in volume 1 of 14"):
        read_diffusion(plain, *rest, mask, ReadOptions())


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9, 1.0])
def test_damaged_gz_is_refused_wherever_the_damage_is(tmp_path: Path, place: float) -> None:
    dwi, *_ = write_scan(tmp_path)
    values = np.random.default_rng(0).normal(size=(*SHAPE, 14)).astype(np.float32)
    write_nifti(dwi, values, AFFINES["LAS"])
    write_nifti(tmp_path / "mask.nii.gz", EVERYWHERE, AFFINES["LAS"])
    damaged = bytearray(dwi.read_bytes())
    where = int(len(damaged) * place) - 5
    damaged[where] ^= 0x55
    dwi.write_bytes(bytes(damaged))
    with pytest.raises(ImageError, match=r"dwi\.nii\.gz is damaged or was not copied completely"):
        _read(tmp_path, tmp_path / "mask.nii.gz")


# --- real scans ---

REAL = {
    "siemens_3mm": (21, "1 at b = 0, 20 at b = 2000"),
    "philips_dwi_t1": (17, "1 at b = 0, 16 at b = 1000"),
    "siemens_42vol": (42, "2 at b = 0, 40 at b = 1000"),
    "phantom_2mm": (70, "6 at b = 0, 32 at b = 1000, 32 at b = 2000"),
    "multishell_slices": (103, "13 at b = 0, 30 at b = 1000, 60 at b = 2000"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "siemens_3mm" else pytest.mark.real) for name in REAL]
)
def test_real_scans_read_as_nibabel_does(shared_data: Path, name: str) -> None:
    import nibabel as nib

    folder = shared_data / name
    volumes = nib.load(folder / "dwi.nii.gz").get_fdata(dtype=np.float32)
    read = _read(folder, lambda mean_b0, grid: mean_b0 > np.percentile(mean_b0, 60))
    image = read.image
    assert read.notices == ()
    assert image.gradients.n_volumes == REAL[name][0] and image.gradients.describe() == REAL[name][1]
    np.testing.assert_allclose(image.signal, volumes[image.mask], rtol=1e-6)
