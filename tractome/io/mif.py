"""MRtrix3's own image format: a text header, then values in any order of the axes.

See "Images and other data" in the MRtrix3 documentation. The transform belongs to the axes as the header lists them;
`layout` says in which order, and in which direction, they run in the file.
"""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.errors import DamagedError, ImageError, SpaceError

SUFFIXES = (".mif", ".mif.gz", ".mih")
_MAGIC = b"mrtrix image"
_KINDS = {"int": "i", "uint": "u", "float": "f"}


def is_mif(path: str | os.PathLike[str]) -> bool:
    """Whether a path is named like an image of MRtrix3."""
    return str(path).endswith(SUFFIXES)


@dataclass(frozen=True, eq=False)
class MifFile:
    """An image of MRtrix3, opened; it is read like a `NiftiFile`.

    Parameters
    ----------
    path : Path
    grid : Grid
    n_volumes : int
        1 for a 3-D image.
    n_dimensions : int
        3 or 4.
    stored : (v, x, y, z)
        Values as stored, before scaling, in the order of the grid's axes.
    slope, inter : float
        Value = stored x slope + inter.
    notices : tuple of str
        What a reader should be told; nothing.
    """

    path: Path
    grid: Grid
    n_volumes: int
    n_dimensions: int
    stored: NDArray[Any]
    slope: float
    inter: float
    notices: tuple[str, ...] = ()

    def stored_volumes(self) -> Iterator[NDArray[Any]]:
        """Yield each volume's stored values, unscaled, (x * y * z,) with x running fastest."""
        for volume in self.stored:
            yield volume.ravel(order="F")

    def scaled(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Stored values as float32, with the header's scale and offset applied in double precision."""
        with np.errstate(invalid="ignore", over="ignore"):
            if self.slope == 1 and self.inter == 0:
                return stored.astype(np.float32)
            return cast(NDArray[np.float32], (stored * np.float64(self.slope) + self.inter).astype(np.float32))

    def volumes(self) -> Iterator[NDArray[np.float32]]:
        """Yield each volume, (x, y, z) float32, scaled."""
        for volume in self.stored:
            yield self.scaled(volume)


def open_mif(path: str | os.PathLike[str]) -> MifFile:
    """Read an image of MRtrix3: ``.mif``, ``.mif.gz``, or a ``.mih`` header with its data file.

    Raises
    ------
    ImageError
        The file is missing, damaged, of complex values, or has other than three or four dimensions.
    SpaceError
        The header does not say where the voxels are.
    """
    path = Path(path)
    try:
        content = _content(path)
        header, offset, values_name = _header(path, content)
        raw = content if values_name == "." else _content(path.with_name(values_name))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(path, str(error)) from error
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror or error}. An image of MRtrix3 is needed; check the path."
        raise ImageError(message) from error
    shape, affine = _space(path, header)
    stored = _ordered(path, header, shape, np.asarray(raw)[offset:])
    scaling = _numbers(path, header, "scaling", 2) if "scaling" in header else [0.0, 1.0]
    return MifFile(
        path=path,
        grid=Grid(cast(tuple[int, int, int], shape[:3]), affine),
        n_volumes=shape[3] if len(shape) == 4 else 1,
        n_dimensions=len(shape),
        stored=stored,
        slope=scaling[1],
        inter=scaling[0],
    )


def _content(path: Path) -> NDArray[np.uint8]:
    """The bytes of a file; mapped, not read, unless they are compressed."""
    if path.name.endswith(".gz"):
        with gzip.open(path, "rb") as stream:
            return np.frombuffer(stream.read(), np.uint8)
    if path.stat().st_size == 0:
        return np.zeros(0, np.uint8)
    return np.memmap(path, np.uint8, "r")


def _header(path: Path, content: NDArray[np.uint8]) -> tuple[dict[str, list[str]], int, str]:
    """What the header says, by key, the byte at which the values start, and the file that they are in."""
    end = 0
    begin = content[: len(_MAGIC)].tobytes()
    length = 1 << 16
    while begin == _MAGIC and end <= 0 and length < 1 << 28:
        end = content[:length].tobytes().find(b"\nEND\n")
        if length >= len(content):
            break
        length *= 16
    if path.name.endswith(".mih"):
        end = len(content)
    if begin != _MAGIC or end <= 0:
        message = f"{path} is no image of MRtrix3: it does not begin with 'mrtrix image' and a header that ends."
        raise ImageError(message)
    header: dict[str, list[str]] = {}
    for line in content[:end].tobytes().decode("utf-8", errors="replace").splitlines()[1:]:
        key, colon, value = line.partition(":")
        if colon:
            header.setdefault(key.strip().lower(), []).append(value.strip())
    for key in ("dim", "vox", "layout", "datatype", "file"):
        if key not in header:
            raise _damaged(path, f"its header has no line '{key}:'")
    name, _, offset = header["file"][0].rpartition(" ") if " " in header["file"][0] else (header["file"][0], "", "0")
    if not offset.isdigit():
        raise _damaged(path, f"its header names no place for the values: file: {header['file'][0]}")
    return header, int(offset), name.strip()


def _numbers(path: Path, header: dict[str, list[str]], key: str, at_least: int) -> list[float]:
    words = [word for line in header.get(key, []) for word in re.split(r"[,\s]+", line) if word]
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) < at_least:
        raise _damaged(path, f"its header's '{key}:' should be {at_least} numbers or more, and is {header.get(key)}")
    return numbers


def _space(path: Path, header: dict[str, list[str]]) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    shape = [int(n) for n in _numbers(path, header, "dim", 3)]
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    if len(shape) > 4 or min(shape) < 1:
        message = f"{path} has the shape {' x '.join(map(str, shape))}. A 3-D or 4-D image is needed."
        raise ImageError(message)
    if "transform" not in header:
        message = f"{path} does not say where its voxels are: its header has no transform. Write it again with one."
        raise SpaceError(message)
    sizes = _numbers(path, header, "vox", 3)[:3]
    affine = np.eye(4)
    affine[:3] = np.array(_numbers(path, header, "transform", 12)[:12]).reshape(3, 4)
    affine[:3, :3] *= sizes
    return tuple(shape), affine


def _ordered(path: Path, header: dict[str, list[str]], shape: tuple[int, ...], raw: NDArray[np.uint8]) -> NDArray[Any]:
    """The values as (v, x, y, z), along the axes that the header lists."""
    layout = [part.strip() for part in header["layout"][0].split(",")]
    whole = [int(n) for n in _numbers(path, header, "dim", 3)]
    if len(layout) != len(whole) or sorted(part.lstrip("+-") for part in layout) != sorted(map(str, range(len(whole)))):
        raise _damaged(path, f"its header has {len(whole)} sizes and the layout {header['layout'][0]}")
    n_values = int(np.prod(whole))
    kind = header["datatype"][0]
    found = re.fullmatch(r"(u?int|float)(8|16|32|64)(le|be)?", kind.lower())
    if kind.lower() == "bit":
        bits = raw[: (n_values + 7) // 8]
        values: NDArray[Any] = np.unpackbits(bits)[:n_values]
    elif found is None:
        message = f"{path} holds values of type {kind}. One real number per voxel is needed; convert it with mrconvert."
        raise ImageError(message)
    else:
        order = {"le": "<", "be": ">"}.get(found[3] or "", "=")
        dtype = np.dtype(f"{order}{_KINDS[found[1]]}{int(found[2]) // 8}")
        values = raw[: n_values * dtype.itemsize]
        values = values[: len(values) // dtype.itemsize * dtype.itemsize].view(dtype)
    if len(values) < n_values:
        raise _damaged(path, f"it holds {len(values):,} of the {n_values:,} values that its header says")
    rank = [int(part.lstrip("+-")) for part in layout]
    slowest_first = sorted(range(len(whole)), key=lambda axis: -rank[axis])
    values = values.reshape([whole[axis] for axis in slowest_first]).transpose(np.argsort(slowest_first))
    values = values[tuple(slice(None, None, -1 if part.startswith("-") else 1) for part in layout)]
    values = values.reshape(shape) if values.ndim != len(shape) else values
    if len(shape) == 3:
        return values[None]
    # Volumes that are interleaved in the file would be gathered from all over it one by one.
    volumes = np.moveaxis(values, 3, 0)
    return volumes if rank[3] == len(whole) - 1 else np.ascontiguousarray(volumes)


def _damaged(path: Path, why: str) -> DamagedError:
    return DamagedError(f"{path} is damaged or was not copied completely: {why}. Write it again with mrconvert.")
