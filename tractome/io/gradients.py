"""Gradient tables: every convention turned into world axes at the border, and back.

FSL's ``bvecs`` are in image axes, with x negated when the affine has a positive determinant (FSL's frame is
radiological); see the FSL wiki on FDT, and Jeurissen et al., Medical Image Analysis 2014, on what a wrong table does.
MRtrix3's ``.b`` tables are in world axes already.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.diffusion import GradientTable, count_directions
from tractome.datatypes.grid import Grid
from tractome.errors import GradientError
from tractome.io.atomic import replacing
from tractome.options import ReadOptions

MIN_DIRECTIONS = 6
"""A tensor has six unknowns."""

_SILENT_NORM_ERROR = 0.01
"""Directions off by less are rounding; beyond it, the length is taken to scale the b-value."""

_ZERO_NORM = 1e-2
"""Directions shorter than this are absent."""

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class GradientsRead:
    """A gradient table as read.

    Parameters
    ----------
    gradients : GradientTable
        Of the kept volumes, world axes.
    kept : (k,) intp
        Volumes of the image to keep, rising.
    notices : tuple of str
        What was changed or left out, one sentence each.
    """

    gradients: GradientTable
    kept: NDArray[np.intp]
    notices: tuple[str, ...]


def read_gradients(
    bval_path: PathLike, bvec_path: PathLike | None, grid: Grid, n_volumes: int | None, options: ReadOptions
) -> GradientsRead:
    """Read b-values and directions, check them, and bring the directions to world axes.

    Parameters
    ----------
    bval_path : path
        b-values in s/mm2, any layout; or an MRtrix3 table of four columns when `bvec_path` is None.
    bvec_path : path or None
        Directions as FSL and BIDS keep them, three rows or three columns.
    grid : Grid
        Of the diffusion image: tells what its axes are.
    n_volumes : int or None
        Of the diffusion image; None where there is no image yet.
    options : ReadOptions

    Raises
    ------
    GradientError
        The files cannot be read, do not fit each other or the image, or cannot determine a tensor.
    """
    if bvec_path is None:
        bvals, vectors = _read_mrtrix(Path(bval_path))
        what = Path(bval_path).name
    else:
        bvals = _read_bvals(Path(bval_path))
        vectors = _read_bvecs(Path(bvec_path), bvals, Path(bval_path).name) @ _fsl_to_world(grid).T
        what = Path(bvec_path).name
    _require_bvals(bvals, Path(bval_path).name)
    if n_volumes is not None and len(bvals) != n_volumes:
        message = (
            f"{Path(bval_path).name} has {len(bvals)} values but the image has {n_volumes} volumes. Each volume needs "
            "one b-value and one direction; check that the files come from the same scan."
        )
        raise GradientError(message)
    _require_b0(bvals, options.b0_threshold_s_per_mm2)
    bvals, vectors, kept, notices = _normalise(bvals, vectors, what, options.b0_threshold_s_per_mm2)
    gradients = GradientTable(bvals[kept], vectors[kept], options.b0_threshold_s_per_mm2)
    require_enough(gradients)
    return GradientsRead(gradients, kept, notices)


def write_gradients(bval_path: PathLike, bvec_path: PathLike, gradients: GradientTable, grid: Grid) -> None:
    """Write a table as FSL and BIDS keep it: b-values in one row, directions in three, image axes of `grid`."""
    vectors = gradients.bvecs @ _fsl_to_world(grid)
    for path, rows in ((bval_path, gradients.bvals[None]), (bvec_path, vectors.T)):
        # The sum of 0.0 is there to write -0 as 0.
        text = "".join(" ".join(f"{value + 0.0:.10g}" for value in np.round(row, 10)) + "\n" for row in rows)
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="ascii")


def write_gradient_table(path: PathLike, gradients: GradientTable) -> None:
    """Write a table as MRtrix3 keeps it: x y z b in each row, world axes."""
    rows = np.column_stack([gradients.bvecs, gradients.bvals])
    text = "".join(" ".join(f"{value + 0.0:.10g}" for value in np.round(row, 10)) + "\n" for row in rows)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="ascii")


def _fsl_to_world(grid: Grid) -> NDArray[np.float64]:
    """Matrix (3, 3), orthonormal, that brings a direction of FSL's frame to world axes."""
    flip = np.diag([-1.0 if grid.determinant > 0 else 1.0, 1.0, 1.0])
    matrix: NDArray[np.float64] = grid.rotation @ flip
    return matrix


def require_enough(gradients: GradientTable) -> None:
    """Raise GradientError unless there is a b0 and the weighted directions determine a tensor."""
    _require_b0(gradients.bvals, gradients.b0_threshold_s_per_mm2)
    directions = gradients.bvecs[~gradients.is_b0]
    n_distinct = count_directions(directions)
    if n_distinct < MIN_DIRECTIONS:
        message = (
            f"The scan has {n_distinct} distinct directions ({gradients.describe()}). A tensor needs at least "
            f"{MIN_DIRECTIONS}; check that the bvec file is complete, or use a scan with more directions."
        )
        raise GradientError(message)
    x, y, z = directions.T
    design = np.stack([x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z], axis=1)
    singular = np.linalg.svd(design, compute_uv=False)
    if singular[-1] < 1e-3 * singular[0]:
        message = (
            f"The {n_distinct} distinct directions do not determine a tensor: they lie in one plane or on one cone. "
            "Directions spread over the sphere are needed; check the bvec file."
        )
        raise GradientError(message)


def _require_b0(bvals: NDArray[np.float64], threshold: float) -> None:
    if not len(bvals) or bvals.min() > threshold:
        lowest = float(bvals.min()) if len(bvals) else 0.0
        message = (
            f"No volume has a b-value up to {threshold:g} s/mm2; the lowest is {lowest:g}. At least one b0 volume is "
            f"needed. If the volumes of the lowest shell are your b0, raise the b0 threshold to {lowest:g}."
        )
        raise GradientError(message)


def _normalise(
    bvals: NDArray[np.float64], vectors: NDArray[np.float64], what: str, threshold: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp], tuple[str, ...]]:
    """Make directions unit; drop weighted volumes without one; let other lengths scale b by their square."""
    notices: list[str] = []
    bvals, vectors = bvals.copy(), vectors.copy()
    vectors[~np.isfinite(vectors).all(axis=1)] = 0.0  # a b0 row of some converters; a weighted one is then dropped
    norms = np.linalg.norm(vectors, axis=1)
    absent = norms < _ZERO_NORM
    vectors[absent] = 0.0
    vectors[~absent] /= norms[~absent, None]
    dropped = absent & (bvals > threshold)
    if dropped.any():
        notices.append(
            f"{_count(dropped)} of {what} with b > {threshold:g} has no direction (a trace or mean volume of the "
            "scanner?): left out."
        )
    scaled = ~absent & (bvals > threshold) & (np.abs(norms - 1) > _SILENT_NORM_ERROR)
    if scaled.any():
        low, high = norms[scaled].min(), norms[scaled].max()
        bvals[scaled] *= norms[scaled] ** 2
        notices.append(
            f"{_count(scaled)} of {what} has a direction of length {low:.3g} to {high:.3g} instead of 1: b-values "
            f"scaled by its square, now {bvals[scaled].min():.4g} to {bvals[scaled].max():.4g} s/mm2."
        )
    return bvals, vectors, np.flatnonzero(~dropped), tuple(notices)


def _count(chosen: NDArray[np.bool_]) -> str:
    volumes = np.flatnonzero(chosen)
    listed = ", ".join(str(volume + 1) for volume in volumes[:5]) + (", ..." if len(volumes) > 5 else "")
    return f"{len(volumes)} volume{'s' if len(volumes) > 1 else ''} ({listed})"


def read_numbers(path: Path) -> list[list[float]]:
    """Rows of numbers, separated by blanks, tabs, commas or semicolons; lines that start with # are comments."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror or error}. Check the path of the gradient file."
        raise GradientError(message) from error
    except UnicodeDecodeError as error:
        message = f"{path} is not a text file. A table of numbers is needed; check the path of the gradient file."
        raise GradientError(message) from error
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        tokens = [] if line.lstrip().startswith("#") else [token for token in re.split(r"[\s,;]+", line) if token]
        try:
            row = [float(token) for token in tokens]
        except ValueError as error:
            message = f"{path.name}, line {number}: {error}. The file must hold numbers only."
            raise GradientError(message) from error
        if row:
            rows.append(row)
    if not rows:
        message = f"{path} is empty. It needs one value, or one direction, per volume."
        raise GradientError(message)
    return rows


def _read_bvals(path: Path) -> NDArray[np.float64]:
    rows = read_numbers(path)
    if len(rows) > 1 and any(len(row) > 1 for row in rows):
        message = (
            f"{path.name} has {len(rows)} rows of up to {max(map(len, rows))} values. One b-value per volume is "
            "needed, in one row or one column; were bval and bvec swapped?"
        )
        raise GradientError(message)
    return np.array([value for row in rows for value in row], dtype=np.float64)


def _require_bvals(bvals: NDArray[np.float64], name: str) -> None:
    wrong = np.flatnonzero(~np.isfinite(bvals) | (bvals < 0))
    if len(wrong):
        message = f"{name}: value {wrong[0] + 1} is {bvals[wrong[0]]:g}. b-values must be 0 or more; check the file."
        raise GradientError(message)
    highest = float(bvals.max())
    if 0 < highest < 10 or highest > 1e6:
        unit = "ms/um2: multiply by 1000" if highest < 10 else "s/m2: divide by 1e6"
        message = f"{name}: the highest b-value is {highest:g}. s/mm2 are needed; is the file in {unit}?"
        raise GradientError(message)


def _read_bvecs(path: Path, bvals: NDArray[np.float64], bval_name: str) -> NDArray[np.float64]:
    """Directions as they stand in the file, (v, 3), whichever way it is turned."""
    rows = read_numbers(path)
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        message = (
            f"{path.name} has rows of {min(lengths)} to {max(lengths)} values. Three rows of one value per volume are "
            "needed (or three columns); check that the file is complete."
        )
        raise GradientError(message)
    table = np.array(rows, dtype=np.float64)
    n_rows, n_columns = table.shape
    if table.shape == (3, 3):
        # Ambiguous: take the way in which the directions are closer to unit length, FSL's when equal.
        weighted = bvals[:3] > 0 if len(bvals) == 3 else np.ones(3, dtype=bool)
        errors = [np.abs(np.linalg.norm(way, axis=1) - 1)[weighted].sum() for way in (table.T, table)]
        vectors = table if errors[1] < errors[0] - 1e-6 else table.T
    else:
        vectors = table.T if n_rows == 3 else table
    if vectors.shape[1] != 3 or len(vectors) != len(bvals):
        message = (
            f"{path.name} has {n_rows} rows × {n_columns} columns but {bval_name} has {len(bvals)} values. Each volume "
            "needs one b-value and one direction; check that both files come from the same scan."
        )
        raise GradientError(message)
    return vectors


def is_mrtrix_table(path: PathLike) -> bool:
    """Whether a file holds b-values and directions together, x y z b in each row, as MRtrix3's ``-grad`` takes them."""
    try:
        rows = read_numbers(Path(path))
    except GradientError:
        return False
    return len(rows) > 1 and all(len(row) == 4 for row in rows)


def _read_mrtrix(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """b-values (v,) and world directions (v, 3) of a table with the columns x y z b."""
    rows = read_numbers(path)
    if any(len(row) != 4 for row in rows):
        message = (
            f"{path.name} has no bvec file beside it and is no MRtrix3 gradient table (x y z b, one row per volume). "
            "Give both the bval and the bvec file, or an MRtrix3 table."
        )
        raise GradientError(message)
    table = np.array(rows, dtype=np.float64)
    return table[:, 3], table[:, :3]
