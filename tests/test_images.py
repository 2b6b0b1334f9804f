"""Images keep their values and their place; what cannot be used is refused with words."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scans import AFFINES, SHAPE, write_nifti

from tractome.datatypes.fields import OrientationField, ScalarMap
from tractome.datatypes.grid import Grid
from tractome.errors import ImageError, OutputError, SpaceError, TractomeError
from tractome.io.atomic import remove_leftovers, replacing, write_json
from tractome.io.hashing import sha256_file, sha256_files
from tractome.io.images import (
    read_labels,
    read_mask,
    read_orientation_field,
    read_scalar_map,
    read_tissue,
    read_volume,
    sidecar_path,
    write_orientation_field,
    write_packed,
    write_scalar_map,
    write_volume,
)
from tractome.io.nifti import open_nifti

GRID = Grid(SHAPE, AFFINES["oblique"])
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("storage", AFFINES)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_volume_round_trip(tmp_path: Path, storage: str, suffix: str) -> None:
    import nibabel as nib

    grid = Grid(SHAPE, AFFINES[storage])
    values = RNG.normal(size=SHAPE).astype(np.float32)
    path = tmp_path / f"v{suffix}"
    write_volume(path, values, grid)
    back, back_grid = read_volume(path)
    np.testing.assert_array_equal(back, values)
    assert back.flags.c_contiguous and back_grid.is_same(grid, 1e-4)
    seen = nib.load(path)
    np.testing.assert_array_equal(seen.get_fdata(dtype=np.float32), values)
    for affine, code in (seen.header.get_sform(coded=True), seen.header.get_qform(coded=True)):
        assert code == 1
        np.testing.assert_allclose(affine, grid.affine, atol=1e-4)
    assert seen.header.get_xyzt_units()[0] == "mm"


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8", ">i2", ">f4"])
def test_every_stored_type_reads_as_nibabel_does(tmp_path: Path, dtype: str) -> None:
    values = RNG.integers(0, 200, SHAPE).astype(dtype)
    write_nifti(tmp_path / "v.nii.gz", values, GRID.affine)
    np.testing.assert_array_equal(read_volume(tmp_path / "v.nii.gz")[0], values.astype(np.float32))


@pytest.mark.parametrize(("slope", "inter"), [(0.25, 0.0), (20.0776, -3.5), (1.0, 7.0)])
def test_scaled_integers(tmp_path: Path, slope: float, inter: float) -> None:
    import nibabel as nib

    stored = RNG.integers(-3000, 3000, SHAPE).astype(np.int16)
    path = write_nifti(tmp_path / "v.nii.gz", stored, GRID.affine)
    # nibabel divides by a slope when it saves; the header is changed here instead.
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[112:120] = np.array([slope, inter], "<f4").tobytes()
    path.write_bytes(gzip.compress(bytes(raw)))
    expected = nib.load(path).get_fdata()
    np.testing.assert_allclose(read_volume(path)[0], expected, rtol=1e-6)
    assert np.abs(expected - stored).max() > 1


def test_nifti2_and_pairs(tmp_path: Path) -> None:
    import nibabel as nib

    values = RNG.normal(size=SHAPE).astype(np.float32)
    nib.save(nib.Nifti2Image(values, GRID.affine), tmp_path / "two.nii.gz")
    nib.save(nib.Nifti1Pair(values, GRID.affine), tmp_path / "pair.hdr")
    for name in ("two.nii.gz", "pair.hdr", "pair.img"):
        np.testing.assert_array_equal(read_volume(tmp_path / name)[0], values)


def test_equal_images_have_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = RNG.normal(size=(*SHAPE, 3))
    write_volume(tmp_path / "a.nii.gz", values, GRID, {"b": 1, "a": [2.5, np.float32(1)]})
    monkeypatch.setattr(time, "time", lambda: 1.0)
    write_volume(tmp_path / "b.nii.gz", np.asfortranarray(values), GRID, {"a": [2.5, 1.0], "b": np.int64(1)})
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_four_dimensions_and_stored_types(tmp_path: Path) -> None:
    import nibabel as nib

    values = RNG.normal(size=(*SHAPE, 3))
    write_volume(tmp_path / "v.nii.gz", values, GRID)
    np.testing.assert_array_equal(nib.load(tmp_path / "v.nii.gz").get_fdata(), values.astype(np.float32))
    for array, dtype in ((values[..., 0] > 0, np.uint8), (RNG.integers(0, 3000, SHAPE), np.int32)):
        write_volume(tmp_path / "v.nii.gz", array, GRID)
        assert open_nifti(tmp_path / "v.nii.gz").dtype == dtype
        np.testing.assert_array_equal(read_labels(tmp_path / "v.nii.gz")[0], array)
    with pytest.raises(ImageError, match="does not fit"):
        write_volume(tmp_path / "v.nii.gz", values[1:], GRID)


# --- what the header says about space ---


def test_sform_before_qform_before_nothing(tmp_path: Path) -> None:
    import nibabel as nib

    image = nib.Nifti1Image(np.ones(SHAPE, np.float32), None)
    for codes, expected in (((1, 1), "LAS"), ((0, 1), "RAS"), ((1, 0), "LAS"), ((0, 0), None)):
        image.header.set_sform(AFFINES["LAS"], code=codes[0])
        image.header.set_qform(AFFINES["RAS"], code=codes[1])
        raw = image.header.binaryblock.ljust(352, b"\0") + image.get_fdata(dtype=np.float32).tobytes(order="F")
        (tmp_path / "v.nii").write_bytes(raw[:108] + np.float32(352).tobytes() + raw[112:])
        if expected is None:
            with pytest.raises(SpaceError, match="sform_code and qform_code are both 0"):
                open_nifti(tmp_path / "v.nii")
        else:
            file = open_nifti(tmp_path / "v.nii")
            assert file.grid.is_same(Grid(SHAPE, AFFINES[expected]))
            assert bool(file.notices) == (codes == (1, 1))
    assert "disagree" not in "".join(open_nifti(_ones(tmp_path)).notices)


def _ones(folder: Path) -> Path:
    return write_nifti(folder / "ones.nii.gz", np.ones(SHAPE, np.float32), GRID.affine)


# --- bad input ---


def test_missing_folder_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="does not exist"):
        read_volume(tmp_path / "none.nii.gz")
    with pytest.raises(ImageError, match="is not a file"):
        read_volume(tmp_path)
    for name in ("text.nii.gz", "text.nii", "text.txt"):
        (tmp_path / name).write_text("no image " * 100)
        with pytest.raises(ImageError, match=name):
            read_volume(tmp_path / name)
    (tmp_path / "empty.nii.gz").write_bytes(b"")
    with pytest.raises(ImageError, match=r"empty\.nii\.gz"):
        read_volume(tmp_path / "empty.nii.gz")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_truncated_file(tmp_path: Path, suffix: str, share: float) -> None:
    path = write_nifti(tmp_path / f"v{suffix}", RNG.normal(size=SHAPE), GRID.affine)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ImageError, match=r"[Cc]opy it again|cannot be read as an image"):
        read_volume(path)


def test_truncation_by_one_byte_and_damage_are_seen(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "v.nii.gz", RNG.normal(size=SHAPE), GRID.affine)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(ImageError, match="Copy it again"):
        read_volume(path)
    damaged = bytearray(whole)
    damaged[-8] ^= 1  # the checksum
    path.write_bytes(damaged)
    with pytest.raises(ImageError, match="Copy it again"):
        read_volume(path)


def test_complex_and_colour_are_refused(tmp_path: Path) -> None:
    import nibabel as nib

    nib.save(nib.Nifti1Image(np.ones(SHAPE, np.complex64), GRID.affine), tmp_path / "c.nii.gz")
    with pytest.raises(ImageError, match="complex"):
        read_volume(tmp_path / "c.nii.gz")
    colours = np.zeros(SHAPE, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    nib.save(nib.Nifti1Image(colours, GRID.affine), tmp_path / "rgb.nii.gz")
    with pytest.raises(ImageError, match="colour"):
        read_volume(tmp_path / "rgb.nii.gz")


def test_dimensions(tmp_path: Path) -> None:
    write_nifti(tmp_path / "four.nii.gz", np.ones((*SHAPE, 3), np.float32), GRID.affine)
    with pytest.raises(ImageError, match=r"has 4 dimensions \(5 x 6 x 4 x 3\)"):
        read_volume(tmp_path / "four.nii.gz")
    write_nifti(tmp_path / "one.nii.gz", np.ones((*SHAPE, 1), np.float32), GRID.affine)
    assert read_volume(tmp_path / "one.nii.gz")[0].shape == SHAPE
    write_nifti(tmp_path / "five.nii.gz", np.ones((*SHAPE, 2, 3), np.float32), GRID.affine)
    with pytest.raises(ImageError, match="3-D or 4-D"):
        read_volume(tmp_path / "five.nii.gz")


def test_other_image_formats_are_refused(tmp_path: Path) -> None:
    import nibabel as nib

    nib.save(nib.MGHImage(np.ones(SHAPE, np.float32), GRID.affine), tmp_path / "v.mgz")
    with pytest.raises(ImageError, match="not NIfTI"):
        read_volume(tmp_path / "v.mgz")


# --- kinds of images ---


def test_labels(tmp_path: Path) -> None:
    labels = RNG.integers(0, 12_000, SHAPE)
    for dtype in (np.int16, np.int32, np.float32, np.float64):
        write_nifti(tmp_path / "l.nii.gz", labels.astype(dtype), GRID.affine)
        back, grid = read_labels(tmp_path / "l.nii.gz")
        assert back.dtype == np.int64 and grid.is_same(GRID)
        np.testing.assert_array_equal(back, labels)
    floats = labels.astype(np.float32)
    floats[0, 0, 0] = np.nan
    write_nifti(tmp_path / "l.nii.gz", floats, GRID.affine)
    assert read_labels(tmp_path / "l.nii.gz")[0][0, 0, 0] == 0
    floats[1, 1, 1] = 3.5
    write_nifti(tmp_path / "l.nii.gz", floats, GRID.affine)
    with pytest.raises(ImageError, match=r"holds 3\.5, which is no label"):
        read_labels(tmp_path / "l.nii.gz")


def test_mask(tmp_path: Path) -> None:
    mask = RNG.random(SHAPE) > 0.5
    for inside in (1, 255):
        write_nifti(tmp_path / "m.nii.gz", mask.astype(np.uint8) * inside, GRID.affine)
        np.testing.assert_array_equal(read_mask(tmp_path / "m.nii.gz")[0], mask)
    write_nifti(tmp_path / "m.nii.gz", np.zeros(SHAPE, np.uint8), GRID.affine)
    with pytest.raises(ImageError, match="is empty"):
        read_mask(tmp_path / "m.nii.gz")


def test_tissue(tmp_path: Path) -> None:
    fractions = np.zeros((*SHAPE, 5), np.float32)
    fractions[..., 2] = 1
    write_nifti(tmp_path / "t.nii.gz", fractions, GRID.affine)
    np.testing.assert_array_equal(read_tissue(tmp_path / "t.nii.gz").fractions, fractions)
    write_nifti(tmp_path / "t.nii.gz", fractions[..., :4], GRID.affine)
    with pytest.raises(ImageError, match="4 volumes; a five-tissue-type image has 5"):
        read_tissue(tmp_path / "t.nii.gz")


def test_scalar_map(tmp_path: Path) -> None:
    mask = RNG.random(SHAPE) > 0.4
    values = RNG.random(int(mask.sum())).astype(np.float32)
    values[3] = np.nan
    write_scalar_map(tmp_path / "fa.nii.gz", ScalarMap("fa", "unitless", values, mask, GRID), {"Sources": ["dwi"]})
    back = read_scalar_map(tmp_path / "fa.nii.gz", "fa", "unitless", mask)
    np.testing.assert_array_equal(back.values, values)
    facts = json.loads((tmp_path / "fa.json").read_text())
    assert facts == {"Name": "fa", "Units": "unitless", "Sources": ["dwi"]}
    found = read_scalar_map(tmp_path / "fa.nii.gz", "fa", "unitless")
    np.testing.assert_array_equal(found.values, values[np.isfinite(values)])
    with pytest.raises(ImageError, match="mask"):
        read_scalar_map(tmp_path / "fa.nii.gz", "fa", "unitless", mask[1:])
    write_volume(tmp_path / "zero.nii.gz", np.zeros(SHAPE), GRID)
    with pytest.raises(ImageError, match="nothing but 0"):
        read_scalar_map(tmp_path / "zero.nii.gz", "fa", "unitless")


def _field() -> OrientationField:
    mask = RNG.random(SHAPE) > 0.4
    return OrientationField(RNG.normal(size=(int(mask.sum()), 15)), mask, GRID, method="msmt")


def test_orientation_field(tmp_path: Path) -> None:
    field = _field()
    path = tmp_path / "sub-1_model-csd_param-wmfod_dwimap.nii.gz"
    write_orientation_field(path, field, {"Note": "x"})
    write_packed(tmp_path / "mask.nii.gz", np.ones(len(field.coefficients), np.bool_), field.mask, GRID)
    for mask_path in (None, tmp_path / "mask.nii.gz"):
        back = read_orientation_field(path, mask_path)
        np.testing.assert_array_equal(back.coefficients, field.coefficients)
        np.testing.assert_array_equal(back.mask, field.mask)
        assert back.method == "msmt" and back.lmax == 4
    facts = json.loads(sidecar_path(path).read_text())
    assert facts["OrientationEncoding"]["SphericalHarmonicBasis"] == "MRtrix3"
    facts["OrientationEncoding"]["SphericalHarmonicBasis"] = "descoteaux"
    write_json(sidecar_path(path), facts)
    with pytest.raises(ImageError, match="descoteaux"):
        read_orientation_field(path)
    sidecar_path(path).write_text("{")
    with pytest.raises(ImageError, match="JSON"):
        read_orientation_field(path)


def test_orientation_field_that_is_none(tmp_path: Path) -> None:
    field = _field()
    write_packed(tmp_path / "f.nii.gz", field.coefficients[:, :14], field.mask, GRID)
    with pytest.raises(ImageError, match="got 14"):
        read_orientation_field(tmp_path / "f.nii.gz")
    write_packed(tmp_path / "f.nii.gz", field.coefficients, field.mask, GRID)
    other = Grid(SHAPE, AFFINES["RAS"])
    write_volume(tmp_path / "m.nii.gz", field.mask, other)
    with pytest.raises(SpaceError, match="another grid"):
        read_orientation_field(tmp_path / "f.nii.gz", tmp_path / "m.nii.gz")


# --- whole or absent ---


def test_an_interrupted_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "v.txt"
    with replacing(path) as temporary:
        assert temporary.parent == path.parent and temporary.name.endswith("v.txt")
        temporary.write_text("first")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    kept = tmp_path / "a" / "v.nii.gz"
    kept.write_text("")
    (tmp_path / "a" / ".tmp-123-v.nii.gz").write_text("")
    assert remove_leftovers(tmp_path) == 1
    assert list((tmp_path / "a").iterdir()) == [kept]


def test_output_in_a_place_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_volume(tmp_path / "file" / "v.nii.gz", np.ones(SHAPE), GRID)


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder that an ordinary user may not write to; root, who may write anywhere, becomes one meanwhile."""
    if not hasattr(os, "geteuid"):
        pytest.skip("this system has no user ids")
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        os.seteuid(user)
        folder.chmod(0o755)
        folder.rmdir()


def test_output_in_a_folder_without_permission(closed_folder: Path) -> None:
    with pytest.raises(OutputError, match=r"v\.nii\.gz cannot be written: Permission denied"):
        write_volume(closed_folder / "v.nii.gz", np.ones(SHAPE), GRID)
    with pytest.raises(OutputError, match="Permission denied"):
        write_json(closed_folder / "deeper" / "f.json", {})


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_text("before")
    with (
        pytest.raises(OutputError, match=r"v\.txt cannot be written: No space left"),
        replacing(path),
        open("/dev/full", "wb") as full,
    ):
        full.write(b"x" * 100_000)
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


def test_json_is_plain(tmp_path: Path) -> None:
    content = {"path": Path("a"), "array": np.arange(2), "nan": np.nan, 3: (True, None, np.float64("inf"), np.bool_(1))}
    write_json(tmp_path / "f.json", content)
    assert json.loads((tmp_path / "f.json").read_text()) == {
        "path": "a",
        "array": [0, 1],
        "nan": None,
        "3": [True, None, None, True],
    }


def test_hashes(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_file(path) == expected
    assert sha256_files([path, path]) == {str(path): expected}
    with pytest.raises(TractomeError, match="cannot be read"):
        sha256_file(tmp_path / "none")
