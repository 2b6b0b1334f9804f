"""NIfTI files as streams of volumes: one pass, one volume in memory, header checked.

nibabel reads and makes the headers. The voxel values are read here, because indexing a compressed nibabel image starts
decompressing at the beginning of the file for every volume.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from isal import igzip, isal_zlib
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.errors import DamagedError, ImageError, SpaceError
from tractome.io.atomic import replacing

COMPRESSION_LEVEL = 1
"""Of isal's gzip: measured on maps, ten times as fast as zlib's level 1 and as small as its level 6."""
_DAMAGED_GZIP = cast(tuple[type[Exception], ...], (EOFError, gzip.BadGzipFile, isal_zlib.error))

_HEADER_BYTES = 352
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, eq=False)
class NiftiFile:
    """What the header of a NIfTI file says.

    Parameters
    ----------
    path : Path
        The file that was asked for.
    grid : Grid
    n_volumes : int
        1 for a 3-D image.
    n_dimensions : int
        3 or 4: dimensions of length 1 at the end do not count.
    dtype : dtype
        As stored, before scaling.
    offset : int
        Byte at which the values start.
    slope, inter : float
        Value = stored x slope + inter.
    values_path : Path
        The file with the values (another one for .hdr/.img pairs).
    notices : tuple of str
        What a reader should be told.
    """

    path: Path
    grid: Grid
    n_volumes: int
    n_dimensions: int
    dtype: np.dtype[Any]
    offset: int
    slope: float
    inter: float
    values_path: Path
    notices: tuple[str, ...] = ()

    def stored_volumes(self) -> Iterator[NDArray[Any]]:
        """Yield each volume's stored values, unscaled, (x * y * z,) with x running fastest; one pass over the file.

        Raises
        ------
        ImageError
            The file ends too early or is damaged.
        """
        n_values = int(np.prod(self.grid.shape))
        n_bytes = n_values * self.dtype.itemsize
        try:
            with _open_values(self.values_path) as stream:
                if len(_read_exactly(stream, self.offset)) < self.offset:
                    raise _damaged(self.values_path, "it ends inside the header")
                for volume in range(self.n_volumes):
                    raw = _read_exactly(stream, n_bytes)
                    if len(raw) < n_bytes:
                        raise _damaged(
                            self.values_path, f"it ends in volume {volume + 1} of {self.n_volumes} that its header says"
                        )
                    if volume == self.n_volumes - 1:
                        stream.read(1)  # makes gzip compare its checksum
                    yield np.frombuffer(raw, dtype=self.dtype)
        except _DAMAGED_GZIP as error:
            raise _damaged(self.values_path, str(error)) from error
        except OSError as error:
            raise _unreadable(self.values_path, error) from error

    def some_stored_volumes(self, volumes: Sequence[int]) -> Iterator[NDArray[Any]]:
        """As `stored_volumes`, only those named, rising; nothing after the last is read, nor between if it can be."""
        if self.is_compressed:
            wanted, last = set(volumes), max(volumes)
            for index, stored in enumerate(self.stored_volumes()):
                if index in wanted:
                    yield stored
                if index == last:
                    break
        else:
            for volume in volumes:
                yield from stored_pieces(self, volume, [(0, int(np.prod(self.grid.shape)))])

    @property
    def is_compressed(self) -> bool:
        """Whether the values can only be read from the beginning on; told by the first bytes, not by the name."""
        try:
            with open(self.values_path, "rb") as stream:
                return stream.read(2) == _GZIP_MAGIC
        except OSError as error:
            raise _unreadable(self.values_path, error) from error

    def require_whole(self) -> None:
        """Raise ImageError when an uncompressed file is shorter than its header says."""
        n_bytes = int(np.prod(self.grid.shape)) * self.dtype.itemsize
        n_there = (self.values_path.stat().st_size - self.offset) // n_bytes
        if n_there < self.n_volumes:
            raise _damaged(
                self.values_path, f"it ends in volume {n_there + 1} of {self.n_volumes} that its header says"
            )

    def scaled(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Stored values as float32, with the header's slope and intercept applied in double precision."""
        # A signalling NaN or a double beyond float32 is no news here: whoever uses the values looks for what is finite.
        with np.errstate(invalid="ignore", over="ignore"):
            if self.slope == 1 and self.inter == 0:
                return stored.astype(np.float32)
            return cast(NDArray[np.float32], (stored * np.float64(self.slope) + self.inter).astype(np.float32))

    def volumes(self) -> Iterator[NDArray[np.float32]]:
        """Yield each volume, (x, y, z) float32, scaled; one pass over the file."""
        for stored in self.stored_volumes():
            yield self.scaled(stored).reshape(self.grid.shape, order="F")


def open_nifti(path: str | os.PathLike[str]) -> NiftiFile:
    """Read and check the header of a NIfTI-1 or NIfTI-2 file.

    Raises
    ------
    ImageError
        The file is missing, not NIfTI, damaged, of complex or colour values, or has more than four dimensions.
    SpaceError
        The header does not say where the voxels are.
    """
    import nibabel as nib

    path = Path(path)
    if not path.is_file():
        state = "is not a file" if path.exists() else "does not exist"
        message = f"{path} {state}. A NIfTI image (.nii or .nii.gz) is needed; check the path."
        raise ImageError(message)
    try:
        image = nib.load(path)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:  # nibabel decompresses with zlib
        raise _damaged(path, str(error)) from error
    except PermissionError as error:
        raise _unreadable(path, error) from error
    except Exception as error:  # nibabel raises many kinds for files that are not what their name says
        message = f"{path} cannot be read as an image ({error}). A NIfTI image (.nii or .nii.gz) is needed."
        raise ImageError(message) from error
    if not isinstance(image, (nib.Nifti1Image, nib.Nifti2Image, nib.Nifti1Pair)):
        message = f"{path} is not NIfTI ({type(image).__name__}). Convert it to .nii.gz, for example with mrconvert."
        raise ImageError(message)
    shape = _shape(path, image.shape)
    proxy = image.dataobj
    if proxy.dtype.kind not in "iuf":
        message = (
            f"{path} holds {'complex' if proxy.dtype.kind == 'c' else 'colour or structured'} values ({proxy.dtype}). "
            "One real number per voxel is needed; convert complex data to magnitude, colour maps to scalars."
        )
        raise ImageError(message)
    affine, notices = _affine(path, image.header)
    return NiftiFile(
        path=path,
        grid=Grid(cast(tuple[int, int, int], shape[:3]), affine),
        n_volumes=shape[3] if len(shape) == 4 else 1,
        n_dimensions=len(shape),
        dtype=proxy.dtype,
        offset=int(proxy.offset),
        slope=float(proxy.slope),
        inter=float(proxy.inter),
        values_path=Path(image.file_map["image"].filename),
        notices=notices,
    )


def _shape(path: Path, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Drop trailing dimensions of length 1; refuse what is then neither 3-D nor 4-D."""
    sizes = [int(n) for n in shape]
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    if len(sizes) == 2:
        sizes.append(1)
    if len(sizes) not in (3, 4) or min(sizes) < 1:
        message = f"{path} has the shape {' x '.join(map(str, shape))}. A 3-D or 4-D image is needed."
        raise ImageError(message)
    return tuple(sizes)


def _affine(path: Path, header: Any) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """The sform if it is coded, else the qform; never a default."""
    sform = header.get_sform(coded=True)[0]
    try:
        qform = header.get_qform(coded=True)[0]
    except Exception as error:  # a quaternion that is none
        if sform is None:
            message = f"{path} has no sform and a qform that is no rotation ({error}). Write a valid sform or qform."
            raise SpaceError(message) from error
        qform = None
    if sform is None and qform is None:
        message = (
            f"{path} does not say where its voxels are: sform_code and qform_code are both 0. Copy the header from the "
            "original image (for example with fslcpgeom or nibabel), or convert the DICOM files again."
        )
        raise SpaceError(message)
    notices: tuple[str, ...] = ()
    if sform is not None and qform is not None:
        extent = np.append(np.maximum(np.array(header.get_data_shape()[:3]) - 1, 1), 1.0)
        apart = float(np.abs((sform - qform) @ np.diag(extent)).sum(axis=1).max())
        if apart > 0.1:
            notices = (f"{path.name}: sform and qform disagree by up to {apart:.3g} mm; the sform is used.",)
    return np.asarray(qform if sform is None else sform, dtype=np.float64), notices


@contextmanager
def _open_values(path: Path) -> Iterator[IO[bytes]]:
    """Open for one pass; whether it is compressed is told by the first bytes, not by the name."""
    with open(path, "rb", buffering=1 << 20) as stream:
        compressed = stream.read(2) == _GZIP_MAGIC
        stream.seek(0)
        yield cast(IO[bytes], igzip.IGzipFile(fileobj=stream, mode="rb")) if compressed else stream


def stored_pieces(file: NiftiFile, volume: int, ranges: Sequence[tuple[int, int]]) -> Iterator[NDArray[Any]]:
    """Yield pieces of a volume of an uncompressed file, unscaled; each is valid until the next is asked for.

    Parameters
    ----------
    file : NiftiFile
    volume : int
    ranges : sequence of (int, int)
        First place and the one after the last of each piece, x running fastest.

    Raises
    ------
    ImageError
        The file ends too early or cannot be read.
    """
    n_before = volume * int(np.prod(file.grid.shape))
    room = np.empty(max(end - begin for begin, end in ranges), dtype=file.dtype)
    try:
        with open(file.values_path, "rb", buffering=0) as stream:
            for begin, end in ranges:
                stream.seek(file.offset + (n_before + begin) * file.dtype.itemsize)
                stored = room[: end - begin]
                view, n_read = stored.data.cast("B"), 0
                while n_read < len(view):
                    got = stream.readinto(view[n_read:])
                    if not got:
                        raise _damaged(file.values_path, f"it ends in volume {volume + 1} of {file.n_volumes}")
                    n_read += got
                yield stored
    except OSError as error:
        raise _unreadable(file.values_path, error) from error


def _read_exactly(stream: IO[bytes], n_bytes: int) -> bytearray:
    """Read `n_bytes`, or fewer only at the end of the stream."""
    raw = bytearray(n_bytes)
    view, filled = memoryview(raw), 0
    while filled < n_bytes:
        got = stream.readinto(view[filled:])  # type: ignore[attr-defined]
        if not got:
            break
        filled += got
    view.release()
    del raw[filled:]
    return raw


def _damaged(path: Path, why: str) -> DamagedError:
    message = (
        f"{path} is damaged or was not copied completely: {why}. Copy it again from where it comes from and compare "
        "the file sizes."
    )
    return DamagedError(message)


def _unreadable(path: Path, error: OSError) -> ImageError:
    return ImageError(f"{path} cannot be read: {error.strerror or error}. Check its permissions and the disk.")


def write_nifti(
    path: str | os.PathLike[str], volumes: Iterable[NDArray[Any]], n_volumes: int | None, dtype: Any, grid: Grid
) -> None:
    """Write volumes one after the other as NIfTI-1; equal values give equal bytes.

    Parameters
    ----------
    path : path ending in .nii or .nii.gz
    volumes : iterable of (x, y, z) arrays
    n_volumes : int or None
        Number of volumes of a 4-D image; None for a 3-D image of the one volume there is.
    dtype : dtype
        How the values are stored, without scaling.
    grid : Grid

    Raises
    ------
    OutputError
        See `replacing`.
    """
    import nibabel as nib

    stored = np.dtype(dtype).newbyteorder("<")
    header = nib.Nifti1Header(endianness="<")
    header.set_data_dtype(stored)
    header.set_data_shape(grid.shape if n_volumes is None else (*grid.shape, n_volumes))
    header.set_qform(grid.affine, code=1)
    header.set_sform(grid.affine, code=1)
    header.set_xyzt_units("mm")
    header["vox_offset"] = _HEADER_BYTES
    header["magic"] = b"n+1"
    header["scl_slope"], header["scl_inter"] = 1.0, 0.0
    preamble = header.binaryblock.ljust(_HEADER_BYTES, b"\0")
    n_written = 0
    with replacing(path) as temporary, open(temporary, "wb") as file:
        target: IO[bytes] = file
        if str(path).endswith(".gz"):
            # No name and no time in the gzip header: they would make equal images differ.
            target = cast(IO[bytes], igzip.IGzipFile("", "wb", COMPRESSION_LEVEL, file, mtime=0))
        target.write(preamble)
        for volume in volumes:
            target.write(np.asarray(volume, dtype=stored).tobytes(order="F"))
            n_written += 1
        if target is not file:
            target.close()
    if n_written != (n_volumes or 1):
        message = f"{n_written} volumes were given for {n_volumes or 1} of the header."
        raise ValueError(message)
