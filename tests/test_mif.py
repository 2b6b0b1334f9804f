"""Images in MRtrix3's own format."""

from __future__ import annotations

import gzip
import itertools
import subprocess

import numpy as np
import pytest

from tractome.errors import ImageError, SpaceError
from tractome.io.images import read_mask, read_orientation_field, read_volume
from tractome.io.mif import open_mif

AFFINE = np.array([[1.5, 0.2, 0, -20], [-0.15, 2, 0.1, 3], [0, 0.1, 3, 8], [0, 0, 0, 1]])


def write_mif(path, array, layout, datatype="Float32LE", dtype="<f4", extra="", transform=True):
    """The values of `array`, stored along the axes in the order and direction of `layout`."""
    sizes = np.linalg.norm(AFFINE[:3, :3], axis=0)
    unit = AFFINE[:3].copy()
    unit[:, :3] /= sizes
    header = f"mrtrix image\ndim: {','.join(map(str, array.shape))}\nvox: {','.join(f'{s:.17g}' for s in sizes)},1\n"
    header += f"layout: {layout}\ndatatype: {datatype}\n{extra}"
    if transform:
        header += "".join(f"transform: {','.join(f'{v:.17g}' for v in row)}\n" for row in unit)
    offset = len(header) + 30
    header = (header + f"file: . {offset}\nEND\n").ljust(offset, "\0")
    signs = [-1 if part[0] == "-" else 1 for part in layout.split(",")]
    ranks = [int(part[1:]) for part in layout.split(",")]
    flipped = array[tuple(slice(None, None, sign) for sign in signs)]
    stored = flipped.transpose(np.argsort([-rank for rank in ranks])).ravel()
    raw = np.packbits(stored.astype(np.uint8)).tobytes() if datatype == "Bit" else stored.astype(dtype).tobytes()
    content = header.encode() + raw
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


LAYOUTS = [
    ",".join(s + str(r) for s, r in zip(signs, ranks, strict=True))
    for ranks in [(0, 1, 2, 3), (1, 2, 3, 0), (2, 0, 3, 1)]
    for signs in itertools.islice(itertools.product("+-", repeat=4), 0, 16, 5)
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("ending", ["mif", "mif.gz"])
def test_any_order_of_axes_gives_the_same_image(tmp_path, layout, ending):
    array = np.random.default_rng(0).normal(size=(4, 3, 5, 6)).astype(np.float32)
    file = open_mif(write_mif(tmp_path / f"image.{ending}", array, layout))
    assert (file.n_dimensions, file.n_volumes, file.grid.shape) == (4, 6, (4, 3, 5))
    np.testing.assert_allclose(file.grid.affine, AFFINE, atol=1e-12)
    np.testing.assert_array_equal(np.stack(list(file.volumes()), axis=3), array)
    flat = [each.reshape(4, 3, 5, order="F") for each in file.stored_volumes()]
    np.testing.assert_array_equal(np.stack(flat, axis=3), array)


@pytest.mark.parametrize(
    ("datatype", "dtype"), [("Int16BE", ">i2"), ("UInt8", "u1"), ("Float64LE", "<f8"), ("UInt32LE", "<u4")]
)
def test_types_and_scaling(tmp_path, datatype, dtype):
    array = np.random.default_rng(1).integers(0, 100, size=(4, 3, 5))
    path = write_mif(tmp_path / "image.mif", array, "+0,-1,+2", datatype, dtype, extra="scaling: 10,0.5\n")
    volume, grid = read_volume(path)
    np.testing.assert_array_equal(volume, 10 + 0.5 * array)
    np.testing.assert_allclose(grid.affine, AFFINE, atol=1e-12)


def test_bits_are_a_mask(tmp_path):
    inside = np.random.default_rng(2).uniform(size=(7, 3, 5)) > 0.6
    mask, _ = read_mask(write_mif(tmp_path / "mask.mif", inside, "-0,-1,+2", "Bit"))
    np.testing.assert_array_equal(mask, inside)


def test_a_header_with_a_data_file(tmp_path):
    array = np.random.default_rng(3).normal(size=(4, 3, 5)).astype(np.float32)
    whole = write_mif(tmp_path / "image.mif", array, "+0,+1,+2").read_bytes()
    header = whole.split(b"file:")[0]
    (tmp_path / "image.mih").write_bytes(header + b"file: image.dat\n")
    (tmp_path / "image.dat").write_bytes(array.tobytes(order="F"))
    np.testing.assert_array_equal(read_volume(tmp_path / "image.mih")[0], array)


def test_fods_are_read_with_and_without_a_mask(tmp_path):
    array = np.zeros((4, 3, 5, 15), np.float32)
    array[1:3] = np.random.default_rng(4).normal(size=(2, 3, 5, 15))
    path = write_mif(tmp_path / "fod.mif", array, "+1,+2,+3,+0")
    field = read_orientation_field(path)
    assert field.lmax == 4 and field.mask.sum() == 30
    np.testing.assert_array_equal(field.coefficients, array[1:3].reshape(-1, 15))
    inside = np.zeros((4, 3, 5), bool)
    inside[1] = True
    mask = write_mif(tmp_path / "mask.mif", inside, "+0,+1,+2", "Bit")
    np.testing.assert_array_equal(read_orientation_field(path, mask).coefficients, array[1].reshape(-1, 15))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda b: b[:-40], "of the 60 values"),
        (lambda b: b"", "is no image of MRtrix3"),
        (lambda b: b.replace(b"mrtrix image", b"other"), "is no image of MRtrix3"),
        (lambda b: b.replace(b"\nEND\n", b"\nFIN\n"), "is no image of MRtrix3"),
        (lambda b: b.replace(b"Float32LE", b"CFloat32LE"), "holds values of type CFloat32LE"),
        (lambda b: b.replace(b"layout: +0,+1,+2", b"layout: +0,+1,+1"), "the layout"),
        (lambda b: b.replace(b"dim: 4,3,5", b"dim: 4,x,5"), "'dim:'"),
        (lambda b: b.replace(b"vox:", b"box:"), "no line 'vox:'"),
    ],
)
def test_damage_is_explained(tmp_path, spoil, complaint):
    path = write_mif(tmp_path / "image.mif", np.ones((4, 3, 5)), "+0,+1,+2")
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ImageError, match=complaint):
        read_volume(path)


def test_missing_files_damaged_gzip_and_images_without_a_place(tmp_path):
    with pytest.raises(ImageError, match="cannot be read: No such file"):
        read_volume(tmp_path / "none.mif")
    path = write_mif(tmp_path / "image.mif.gz", np.ones((4, 3, 5)), "+0,+1,+2")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ImageError, match="damaged"):
        read_volume(path)
    nowhere = write_mif(tmp_path / "nowhere.mif", np.ones((4, 3, 5)), "+0,+1,+2", transform=False)
    with pytest.raises(SpaceError, match="does not say where its voxels are"):
        read_volume(nowhere)


@pytest.mark.real
@pytest.mark.parametrize("strides", ["1,2,3,4", "-1,2,-3,4", "2,3,4,1", "-3,1,2,4"])
def test_mif__mrtrix_comparison(tmp_path, mrtrix, strides):
    import nibabel

    array = np.random.default_rng(5).normal(size=(6, 5, 4, 6)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(array, AFFINE), tmp_path / "image.nii")
    for name in ("image.mif", "image.mif.gz"):
        words = ["mrconvert", "-quiet", "image.nii", "-strides", strides, name]
        subprocess.run(words, cwd=tmp_path, check=True)
        ours, theirs = open_mif(tmp_path / name), open_mif(tmp_path / name)
        # MRtrix3 may list the axes in another order; a world position is what must not move.
        world = theirs.grid.to_world(np.argwhere(np.ones(theirs.grid.shape)))
        voxel = np.rint(np.linalg.inv(AFFINE) @ np.c_[world, np.ones(len(world))].T).astype(int)[:3]
        for index, volume in enumerate(ours.volumes()):
            np.testing.assert_array_equal(volume.ravel(), array[(*voxel, index)])
