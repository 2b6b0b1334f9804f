"""The folder of a synthetic subject."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
    """Write a phantom's folder.

    Scan: ``dwi.nii.gz dwi.bval dwi.bvec mask.nii.gz T1w.nii.gz``; anatomy: ``labels.nii.gz regions.tsv 5tt.nii.gz``;
    truth: ``truth_count.tsv truth_fa.tsv truth_md.tsv u_fibre_edges.tsv``; and ``phantom.json``, written last, with the
    options and what was made. Equal phantoms give equal bytes.

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
    from tractome.io.gradients import write_gradients
    from tractome.io.images import write_packed, write_volume

    folder = Path(path)
    image, grid = phantom.image, phantom.image.grid
    write_packed(folder / "dwi.nii.gz", _whole(image.signal), image.mask, grid)
    write_gradients(folder / "dwi.bval", folder / "dwi.bvec", image.gradients, grid)
    write_volume(folder / "mask.nii.gz", image.mask, grid)
    write_volume(folder / "T1w.nii.gz", _whole(phantom.t1), phantom.t1_grid)
    rows = phantom.parcellation.rows
    values = np.where(rows >= 0, phantom.regions.labels[rows], 0).astype(np.int16)
    write_volume(folder / "labels.nii.gz", values, phantom.parcellation.grid)
    write_volume(folder / "5tt.nii.gz", phantom.tissue.fractions, phantom.tissue.grid)
    _write_tables(folder, phantom)
    facts = {
        "options": dataclasses.asdict(phantom.options),
        "gradients": image.gradients.describe(),
        "grid": grid.describe(),
        "n_voxels": image.n_voxels,
        "n_regions": phantom.regions.n_regions,
        "n_edges": int(np.count_nonzero(np.triu(phantom.true_count))),
        "n_u_fibre_edges": len(phantom.u_fibre_edges),
        "n_fibres": phantom.wiring.n_fibres,
    }
    write_json(folder / "phantom.json", facts)


def _whole(values: NDArray[np.float32]) -> NDArray[np.int16]:
    """Scanner units as whole numbers, as scanners store them."""
    whole = np.empty(values.shape, dtype=np.int16)
    for last in range(values.shape[-1]):
        # One volume at a time: a large scan is not held in memory once more as floats.
        whole[..., last] = np.rint(np.clip(values[..., last], 0, 32767))
    return whole


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
