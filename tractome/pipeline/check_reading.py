"""Reading for a check: what cannot be read is a finding, and the rest is read all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.diffusion import DiffusionImage, GradientTable
from tractome.datatypes.grid import Grid
from tractome.errors import DamagedError, GradientError, ImageError, SpaceError
from tractome.io.gradients import GradientsRead, read_gradients, read_numbers
from tractome.io.headers import read_header_facts
from tractome.io.images import open_image
from tractome.io.mif import MifFile
from tractome.io.nifti import NiftiFile, open_nifti
from tractome.io.packing import pack_volumes
from tractome.options import ReadOptions

if TYPE_CHECKING:
    from tractome.stages.check import Inspection, SampledScan

Progress = Callable[[int, int], None]

_N_B0 = 3
"""b0 volumes that are read ahead of the rest: enough for what a mask and a T1 are compared with."""


@dataclass
class BeingChecked:
    """What is known of a subject while it is being checked.

    Parameters
    ----------
    inspection : Inspection
    paths : dict of str to Path
        The files that are there, by role.
    """

    inspection: Inspection
    paths: dict[str, Path]
    dwi: NiftiFile | None = None
    gradients: GradientsRead | None = None
    b0: NDArray[np.float32] | None = None
    """Mean of the first b0 volumes, (x, y, z); of the first volume where the gradients could not be used."""
    brain: NDArray[np.bool_] | None = None
    image: DiffusionImage | None = None
    """All volumes that hold anything, in the brain."""
    sampled: SampledScan | None = None
    filled: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    """Which of the volumes of the gradient table hold anything."""
    not_finite: float = 0.0
    """Share of the values in the brain."""
    slice_axis: int = 2

    def refuses(self, about: str) -> bool:
        """Whether something that cannot be right was found about one kind of file."""
        return any(each.about == about and each.severity == "refuse" for each in self.inspection.findings)


@contextmanager
def noting(inspection: Inspection, about: str) -> Iterator[None]:
    """Make a finding of what reading an image raises."""
    try:
        yield
    except DamagedError as error:
        inspection.find("truncated-image", str(error), about=about)
    except SpaceError as error:
        inspection.find("no-space", str(error), about=about)
    except ImageError as error:
        inspection.find("unreadable-image", str(error), about=about)


def see_header(inspection: Inspection, about: str, path: Path, n_dimensions: int) -> NiftiFile | MifFile | None:
    """Open an image and check its header; None where it cannot be used."""
    from tractome.stages.check import check_header

    with noting(inspection, about):
        # The scan itself is read as a stream, which only NIfTI is.
        file = open_nifti(path) if about == "dwi" else open_image(path)
        if isinstance(file, NiftiFile):
            check_header(inspection, about, path.name, file.grid, read_header_facts(path))
            if not file.is_compressed:
                file.require_whole()
        if file.n_dimensions != n_dimensions:
            shape = " x ".join(map(str, (*file.grid.shape, file.n_volumes)[: file.n_dimensions]))
            message = (
                f"{path} has {file.n_dimensions} dimensions ({shape}); {about} needs {n_dimensions}. Give the right "
                "file."
            )
            inspection.find("wrong-dimensions", message, about=about, n_dimensions=file.n_dimensions)
            return None
        return file
    return None


def read_whole(
    inspection: Inspection, about: str, path: Path | None, n_dimensions: int = 3
) -> tuple[NDArray[np.float32], Grid] | None:
    """Read an image, (x, y, z) or (x, y, z, n) float32, after a check of its header; None where it cannot be used."""
    file = see_header(inspection, about, path, n_dimensions) if path is not None else None
    if file is None:
        return None
    with noting(inspection, about):
        volumes = list(file.volumes())
        if n_dimensions == 3:
            return np.ascontiguousarray(volumes[0]), file.grid
        # Volume after volume in memory, as they come: of fine voxels, one copy less is a lot.
        return np.moveaxis(np.stack(volumes), 0, -1), file.grid
    return None


def read_gradient_files(
    inspection: Inspection, bval: Path, bvec: Path | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """b-values (v,) and directions (v, 3) as they stand in the files; None where there is no table of numbers."""
    try:
        rows = read_numbers(bval)
        vectors = read_numbers(bvec) if bvec is not None else None
    except GradientError as error:
        inspection.find("gradients-unreadable", str(error))
        return None
    widths = {len(row) for row in rows}
    if vectors is None:
        if widths != {4}:
            message = (
                f"{bval.name} has rows of {min(widths)} to {max(widths)} values; a table of both b-values and "
                "directions has four (x y z b). Give the bvec file with --bvec."
            )
            inspection.find("bvec-shape", message)
            return None
        table = np.array(rows, dtype=np.float64)
        return table[:, 3], table[:, :3]
    lengths = {len(row) for row in vectors}
    if len(rows) > 1 and max(widths) > 1:
        is_swapped = len(vectors) == 1 or lengths == {1}
        message = (
            f"{bval.name} has {len(rows)} rows of up to {max(widths)} values; one b-value per volume is needed. "
            + (
                "It holds the directions, and the bvec file the b-values: exchange the two."
                if is_swapped
                else "Give the right file with --bval."
            )
        )
        inspection.find("bval-bvec-swapped" if is_swapped else "gradients-unreadable", message)
        return None
    if len(lengths) > 1 or 3 not in (len(vectors), *lengths):
        found = f"{len(vectors)} rows of {' or '.join(map(str, sorted(lengths)[:3]))} values"
        message = (
            f"{bvec.name if bvec else ''} has {found}. Three rows of one value per volume, or three columns, are "
            "needed; is the file complete?"
        )
        inspection.find("bvec-shape", message, n_rows=len(vectors))
        return None
    table = np.array(vectors, dtype=np.float64)
    bvals = np.array([value for row in rows for value in row], dtype=np.float64)
    is_rows = len(table) == 3 and not (table.shape[1] == 3 and len(bvals) != 3)
    return bvals, table.T if is_rows else table


def read_world_gradients(subject: BeingChecked, read: ReadOptions) -> None:
    """The table that a fit would use, where nothing speaks against it."""
    assert subject.dwi is not None
    try:
        subject.gradients = read_gradients(
            subject.paths["bval"], subject.paths.get("bvec"), subject.dwi.grid, subject.dwi.n_volumes, read
        )
    except GradientError as error:
        subject.inspection.find("gradients-unusable", str(error))


def read_some_b0(subject: BeingChecked) -> None:
    """Mean of the first b0 volumes, or the first volume where nobody knows which they are."""
    file, table = subject.dwi, subject.gradients
    assert file is not None
    wanted = table.kept[table.gradients.is_b0][:_N_B0].tolist() if table is not None else [0]
    with noting(subject.inspection, "dwi"):
        total = np.zeros(int(np.prod(file.grid.shape)))
        for stored in file.some_stored_volumes(wanted):
            total += np.nan_to_num(file.scaled(stored), nan=0.0, posinf=0.0, neginf=0.0)
        mean = (total / len(wanted)).astype(np.float32)
        subject.b0 = np.ascontiguousarray(mean.reshape(file.grid.shape, order="F"))


def read_scan_signal(subject: BeingChecked, progress: Progress | None) -> None:
    """Read every volume in the brain; where gradients or brain are missing, see at least that the file is whole."""
    file, table, brain = subject.dwi, subject.gradients, subject.brain
    if file is None or subject.inspection.has("truncated-image"):
        return
    with noting(subject.inspection, "dwi"):
        if table is None or brain is None:
            for index, _ in enumerate(file.stored_volumes()):
                if progress is not None:
                    progress(index + 1, file.n_volumes)
            return
        signal, filled, n_replaced = pack_volumes(file, table.kept, brain, progress)
        subject.filled, subject.not_finite = filled, n_replaced / signal.size
        kept = np.flatnonzero(filled)
        chosen: GradientTable = table.gradients
        if len(kept) < len(filled):
            signal, chosen = np.ascontiguousarray(signal[:, kept]), chosen.select(kept)
        subject.image = DiffusionImage(signal, chosen, brain, file.grid)
