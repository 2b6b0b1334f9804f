"""The folder of a synthetic subject."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tractome.phantom.subject import Phantom


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
        "truth": {
            "count": "Fibres whose two ends lie in the two regions.",
            "fa": "Mean over the fibres of an edge of the length-weighted mean of the noise-free FA along each.",
            "md": "The same for MD, mm2/s.",
        },
    }
    write_json(folder / "phantom.json", facts)


def _whole(values: NDArray[np.float32]) -> NDArray[np.int16]:
    """Scanner units as whole numbers, as scanners store them."""
    return np.rint(np.clip(values, 0, 32767)).astype(np.int16)


def _write_tables(folder: Path, phantom: Phantom) -> None:
    from tractome.io.atomic import replacing

    regions = phantom.regions
    names = regions.names
    lines = ["label\tname\themisphere\tstructure\tnetwork\tx_mm\ty_mm\tz_mm"]
    for row, name in enumerate(names):
        place = "\t".join(f"{value:.3f}" for value in regions.centroids_mm[row])
        lines.append(
            f"{regions.labels[row]}\t{name}\t{regions.hemispheres[row]}\t{regions.structures[row]}"
            f"\t{regions.networks[row]}\t{place}"
        )
    tables = {"regions.tsv": lines}
    for name, matrix in (
        ("count", phantom.true_count),
        ("fa", phantom.true_mean_fa),
        ("md", phantom.true_mean_md),
    ):
        rows = ["\t".join([label, *(f"{v:.8g}" for v in line)]) for label, line in zip(names, matrix, strict=True)]
        tables[f"truth_{name}.tsv"] = ["\t".join(["name", *names]), *rows]
    pairs = [f"{names[a]}\t{names[b]}" for a, b in sorted(phantom.u_fibre_edges.tolist())]
    tables["u_fibre_edges.tsv"] = ["first\tsecond", *pairs]
    for file, content in tables.items():
        with replacing(folder / file) as temporary:
            temporary.write_text("\n".join(content) + "\n", encoding="utf-8")
