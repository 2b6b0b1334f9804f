"""TrackVis .trk files: points in mm from the corner of the first voxel, as nibabel writes and reads them."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.errors import TableError
from tractome.io.trx import unreadable

_COUNT_AT_BYTE = 988
_HEADER_BYTES = 1000
_BYTES_AT_ONCE = 1 << 22


class TrkSink:
    """Writes blocks of streamlines into an open file; call `finish` after the last.

    Per-streamline columns are left out: the format keeps them only as unnamed float32.
    """

    def __init__(self, file: IO[bytes], grid: Grid) -> None:
        from nibabel.streamlines import Field, Tractogram, TrkFile
        from nibabel.streamlines.trk import get_affine_rasmm_to_trackvis

        header = {
            Field.VOXEL_TO_RASMM: grid.affine.astype(np.float32),
            Field.VOXEL_SIZES: grid.voxel_sizes_mm.astype(np.float32),
            Field.DIMENSIONS: np.array(grid.shape, dtype=np.int16),
            Field.VOXEL_ORDER: grid.axis_codes.encode(),
        }
        empty = BytesIO()
        TrkFile(Tractogram(affine_to_rasmm=np.eye(4)), header=header).save(empty)
        empty.seek(0)
        # From the header as stored, so that its rounding does not move the points.
        self._from_world = np.asarray(get_affine_rasmm_to_trackvis(TrkFile.load(empty).header), dtype=np.float64)
        self._file, self._n_streamlines = file, 0
        file.write(empty.getvalue())

    def write(
        self, points: NDArray[np.float32], lengths: NDArray[np.int64], columns: Mapping[str, NDArray[Any]]
    ) -> None:
        """Append streamlines: points (p, 3) in RAS+ mm and points of each (n,)."""
        # Axis by axis: a matrix product this thin is twenty times slower, and its sums depend on the BLAS.
        x, y, z = points.T
        moved = np.stack([x * row[0] + y * row[1] + z * row[2] + row[3] for row in self._from_world[:3]], axis=1)
        words = np.empty(3 * len(points) + len(lengths), dtype="<i4")
        is_point = np.ones(len(words), dtype=np.bool_)
        counts_at = 3 * (np.cumsum(lengths) - lengths) + np.arange(len(lengths))
        is_point[counts_at] = False
        words[counts_at] = lengths
        words[is_point] = np.ascontiguousarray(moved, dtype="<f4").view("<i4").reshape(-1)
        self._file.write(words.tobytes())
        self._n_streamlines += len(lengths)

    def finish(self) -> None:
        """Write the count into the header."""
        self._file.seek(_COUNT_AT_BYTE)
        self._file.write(struct.pack("<i", self._n_streamlines))

    def close(self) -> None:
        """Nothing is held beside the file."""


def read_trk(path: Path) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Yield pieces of a file: points (p, 3) float32, RAS+ mm, and the number of points of each streamline (n,).

    Raises
    ------
    TableError
        The file is missing, damaged, does not say where its voxels are, or holds points that are not finite.
    """
    from nibabel.streamlines import TrkFile
    from nibabel.streamlines.tractogram_file import HeaderWarning
    from nibabel.streamlines.trk import get_affine_trackvis_to_rasmm

    try:
        with warnings.catch_warnings():
            # nibabel warns, and assumes, where the header has no affine or no storage order.
            warnings.simplefilter("error", HeaderWarning)
            header = TrkFile.load(str(path), lazy_load=True).header
        to_world = np.ascontiguousarray(get_affine_trackvis_to_rasmm(header)[:3], dtype=np.float64)
        with open(path, "rb") as file:
            file.seek(_HEADER_BYTES)
            yield from _read_words(path, file, header, to_world)
    except OSError as error:
        raise unreadable(path, error) from error
    except TableError:
        raise
    except Exception as error:  # nibabel and struct raise many kinds for files that are not what their name says
        raise _damaged(path, str(error)) from error


def _read_words(
    path: Path, file: IO[bytes], header: Mapping[str, Any], to_world: NDArray[np.float64]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    from tractome.kernels.splitting import NOT_FINITE, split_counted

    stored = np.dtype("<i4") if header["endianness"] == "<" else np.dtype(">i4")
    n_scalars, n_properties = int(header["nb_scalars_per_point"]), int(header["nb_properties_per_streamline"])
    n_expected, n_found = int(header["nb_streamlines"]), 0
    words = np.empty(0, np.int32)
    while raw := file.read(max(_BYTES_AT_ONCE, words.nbytes)):
        more = np.frombuffer(raw, dtype=stored, count=len(raw) // 4).astype(np.int32)
        words = np.concatenate([words, more])
        points, lengths = np.empty((len(words) // 3 + 1, 3), np.float32), np.empty(len(words), np.int64)
        n_points, n_streamlines, n_words, state = split_counted(
            words, n_scalars, n_properties, to_world, points, lengths
        )
        if state == NOT_FINITE:
            raise _damaged(path, "a point is not finite, or a number of points is negative")
        n_found += n_streamlines
        words = words[n_words:]
        if n_streamlines:
            yield points[:n_points], lengths[:n_streamlines].copy()
    if len(words) or n_found < n_expected:
        raise _damaged(path, f"it has {n_found} streamlines but its header says {n_expected}")


def _damaged(path: Path, why: str) -> TableError:
    message = f"{path} is no whole .trk file: {why}. Copy it again, or write it again with the program that made it."
    return TableError(message)
