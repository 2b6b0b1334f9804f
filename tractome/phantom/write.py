"""The folder of a synthetic subject."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tractome.phantom.layouts import DESCRIPTIONS, SIDECAR, phantom_files
from tractome.phantom.subject import Phantom

_TRUTH = {
    "count": ("fibres", "Number of true fibres whose two ends lie in the two regions."),
    "fa": (
        "unitless",
        "Mean over the true fibres of an edge of the segment-length-weighted mean of the noise-free FA along each.",
    ),
    "md": (
        "mm2/s",
        "Mean over the true fibres of an edge of the segment-length-weighted mean of the noise-free MD along each.",
    ),
}


def write_phantom(path: str | os.PathLike[str], phantom: Phantom) -> None:
    """Write a phantom's folder; each scan volume by volume as it is made.

    In one folder, scan: ``dwi.nii.gz dwi.bval dwi.bvec mask.nii.gz T1w.nii.gz``; anatomy: ``labels.nii.gz regions.tsv
    5tt.nii.gz``; truth: ``truth_count.tsv truth_fa.tsv truth_md.tsv u_fibre_edges.tsv``; and ``phantom.json``, written
    last, with the options and what was made. `tractome.phantom.layouts` has the other names of images. Equal phantoms
    give equal bytes.

    Parameters
    ----------
    path : path
        Folder; made where it does not exist, its files of these names replaced.
    phantom : Phantom

    Raises
    ------
    OutputError
        The folder or a file cannot be written.
    """
    from tractome.io.atomic import write_json

    folder, grid = Path(path), phantom.grid
    files = phantom_files(folder, phantom.options)
    if "description" in files:
        write_json(files["description"], DESCRIPTIONS[phantom.options.layout])
    if "sidecar" in files:
        write_json(files["sidecar"], SIDECAR)
    for session in range(phantom.options.n_sessions):
        _write_session(phantom, phantom_files(folder, phantom.options, session), session)
    _write_anatomy(phantom, files)
    _write_tables(folder, phantom)
    facts = {
        "options": dataclasses.asdict(phantom.options),
        "gradients": phantom.gradients.describe(),
        "grid": grid.describe(),
        "n_voxels": phantom.n_voxels,
        "n_regions": phantom.regions.n_regions,
        "n_edges": int(np.count_nonzero(np.triu(phantom.true_count))),
        "n_u_fibre_edges": len(phantom.u_fibre_edges),
        "n_fibres": phantom.wiring.n_fibres,
    }
    write_json(folder / "phantom.json", facts)


def _write_session(phantom: Phantom, files: dict[str, Path], session: int) -> None:
    """The scan of one session, and what was taken with it."""
    from tractome.io.gradients import write_gradient_table, write_gradients
    from tractome.io.images import write_volume

    grid, structural = phantom.grid, phantom.structural
    _write_scan(files["dwi"], phantom, session)
    write_gradients(files["bval"], files["bvec"], phantom.gradients, grid)
    if "table" in files:
        write_gradient_table(files["table"], phantom.gradients)
    if "mask" in files:
        write_volume(files["mask"], phantom.mask, grid)
    if "grad_dev" in files:
        _write_grad_dev(files["grad_dev"], phantom)
    for role in ("t1", "t1_brain"):
        if role in files:
            write_volume(files[role], _whole(structural.t1), structural.t1_grid)


def _write_anatomy(phantom: Phantom, files: dict[str, Path]) -> None:
    """Labels and tissues."""
    from tractome.io.images import write_volume
    from tractome.io.regions import write_region_table

    structural = phantom.structural
    if "t1_mask" in files:
        write_volume(files["t1_mask"], structural.t1 != 0, structural.t1_grid)
    labels = structural.labels
    # FreeSurfer writes int32; numbers from 1 to N fit int16.
    dtype = np.int16 if phantom.options.label_numbers == "rising" else np.int32
    write_volume(files["labels"], labels.astype(dtype), phantom.parcellation.grid)
    write_volume(files["tissue"], phantom.tissue.fractions, phantom.tissue.grid)
    if "regions" in files:
        write_region_table(files["regions"], phantom.regions)


def _write_scan(path: Path, phantom: Phantom, session: int) -> None:
    from tractome.datatypes.fields import unpack
    from tractome.io.nifti import write_nifti

    dtype = np.dtype(phantom.options.value_type)
    # HCP's float32 is what comes out of a resampling; int16 is what a scanner stores.
    values = (volume if dtype.kind == "f" else _whole(volume) for volume in phantom.scan_volumes(session))
    volumes = (unpack(volume, phantom.mask) for volume in values)
    write_nifti(path, volumes, phantom.gradients.n_volumes, dtype, phantom.grid)


def _write_grad_dev(path: Path, phantom: Phantom) -> None:
    """The nine numbers of L per voxel, column after column, as the HCP writes them; outside the mask too."""
    from tractome.io.images import write_volume

    grid = phantom.grid
    volumes = np.empty((*grid.shape, 9), dtype=np.float32)
    for first in range(grid.shape[0]):
        places = np.stack(np.meshgrid([first], *map(np.arange, grid.shape[1:]), indexing="ij"), axis=-1)
        deviation = phantom.grad_dev(grid.to_world(places.reshape(-1, 3)))
        volumes[first] = deviation.transpose(0, 2, 1).reshape(*grid.shape[1:], 9)
    write_volume(path, volumes, grid)


def _whole(values: NDArray[np.float32]) -> NDArray[np.int16]:
    """Scanner units as whole numbers, as scanners store them."""
    return np.rint(np.clip(values, 0, 32767)).astype(np.int16)


def _write_tables(folder: Path, phantom: Phantom) -> None:
    from tractome.io.atomic import replacing
    from tractome.io.matrix_text import write_matrix_tsv
    from tractome.io.regions import write_region_table

    regions = phantom.regions
    write_region_table(folder / "regions.tsv", regions, phantom.parcellation)
    for measure, matrix in (
        ("count", phantom.true_count),
        ("fa", phantom.true_mean_fa),
        ("md", phantom.true_mean_md),
    ):
        unit, definition = _TRUTH[measure]
        sidecar = {"Measure": measure, "Unit": unit, "Definition": definition, "IsMean": measure != "count"}
        write_matrix_tsv(folder / f"truth_{measure}.tsv", matrix, regions, sidecar)
    names = regions.names
    pairs = [f"{names[a]}\t{names[b]}\n" for a, b in sorted(phantom.u_fibre_edges.tolist())]
    with replacing(folder / "u_fibre_edges.tsv") as temporary:
        temporary.write_text("first\tsecond\n" + "".join(pairs), encoding="utf-8")
