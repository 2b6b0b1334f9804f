"""The stage parcellate, from files to files: a subject's own labels, or an atlas brought to the subject."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.datatypes.parcellation import Parcellation, RegionTable
from tractome.errors import AtlasError, ImageError, OptionError
from tractome.io.atlases import atlas_files
from tractome.io.images import read_labels, read_mask, read_volume, write_volume
from tractome.options import ParcellateOptions
from tractome.pipeline.adopt import background_file
from tractome.pipeline.layout import require_file_name
from tractome.pipeline.ledger import Facts, Ledger, Made, Step
from tractome.pipeline.register import register_subject, registered_inputs, registered_labels
from tractome.provenance import StageRecord

DEFAULT_ATLAS = "desikan-killiany-83"
OWN_LABELS = "labels"
"""Name of a parcellation that is the subject's own and was given no other."""


@dataclass(frozen=True)
class LabelSource:
    """Where a subject's regions come from.

    Parameters
    ----------
    t1 : Path or None
        T1-weighted image in the space of the scan: the atlas comes through it. None for the way through FA.
    labels : Path or None
        Label image in the space of the scan, on any grid; then nothing is registered.
    regions : Path or None
        Region table of `labels`.
    """

    t1: Path | None = None
    labels: Path | None = None
    regions: Path | None = None


def require_sources(source: LabelSource, options: ParcellateOptions) -> str:
    """Raise unless the files are there, make sense together, and the atlas is known; the name of the parcellation."""
    for path, flag in ((source.t1, "--t1"), (source.labels, "--labels"), (source.regions, "--regions")):
        if path is not None and not path.is_file():
            message = f"There is no {path}. Check the path given with {flag}."
            raise (AtlasError if flag == "--regions" else ImageError)(message)
    if source.regions is not None and source.labels is None:
        message = "--regions names the regions of a label image; give that image with --labels too."
        raise OptionError(message)
    atlas = options.atlas or (OWN_LABELS if source.labels is not None else DEFAULT_ATLAS)
    if source.regions is None and atlas != OWN_LABELS:
        atlas_files(atlas, volume=source.labels is None)
    return require_file_name(atlas, "The name of an atlas")


def parcellate_subject(
    ledger: Ledger, options: ParcellateOptions, source: LabelSource, n_threads: int = 0
) -> StageRecord:
    """Write a subject's label image and region table, unless that is done.

    Parameters
    ----------
    ledger : Ledger
    options : ParcellateOptions
    source : LabelSource
    n_threads : int
        For the registration, 0 for all there are.
    """
    atlas = require_sources(source, options)
    subject = ledger.subject
    background = background_file(ledger)
    inputs = {"mask": subject.mask, "background": background}
    if source.labels is not None:
        inputs["labels"] = source.labels
        if source.regions is not None:
            inputs["regions"] = source.regions
        elif atlas != OWN_LABELS:
            inputs |= atlas_files(atlas, volume=False)
    else:
        register_subject(ledger, options, source.t1, n_threads)
        inputs |= registered_inputs(subject, atlas)
        inputs |= outlined_images(ledger, source.t1)
    prefix = f"{subject.name}_seg-{atlas}"
    step = Step(
        name=f"parcellate/{atlas}",
        options={"atlas": atlas},
        inputs=inputs,
        may_write=(
            f"dwi/{prefix}_dseg.*",
            f"connectivity/{prefix}_regions.tsv",
            f"figures/{prefix}_labels.png",
            f"figures/{prefix}_outlines-*.png",
        ),
        work=lambda made: _parcellate(ledger, atlas, source, made),
    )
    return ledger.do(step)


def _parcellate(ledger: Ledger, atlas: str, source: LabelSource, made: Made) -> Facts:
    from tractome.io.atlases import write_region_table
    from tractome.io.figures import draw_labels
    from tractome.stages.parcellate import parcellate

    subject = ledger.subject
    mask, dwi_grid = read_mask(subject.mask)
    if source.labels is not None:
        labels, grid, regions = own_labels(source.labels, source.regions, atlas)
        facts: dict[str, Any] = {"method": "the subject's own labels"}
    else:
        labels, grid, regions, facts = registered_labels(ledger, atlas)
    parcellation = parcellate(labels, grid, regions, mask, dwi_grid)
    write_volume(made(subject.labels(atlas), sidecar=True), labels, grid, {"Atlas": atlas, **facts})
    write_region_table(made(subject.regions(atlas)), regions, parcellation)
    background, _ = read_volume(background_file(ledger))
    draw_labels(made(subject.figure(f"seg-{atlas}_labels")), background, dwi_grid, parcellation)
    if source.labels is None:
        _draw_outlines(ledger, atlas, source.t1, parcellation, made)
    return {
        "atlas": atlas,
        "n_regions": regions.n_regions,
        "missing": list(parcellation.missing),
        "unknown_labels": list(parcellation.unknown_labels),
        "from_image": regions.from_image,
        **facts,
    }


def outlined_images(ledger: Ledger, t1: Path | None) -> dict[str, Path]:
    """Images over which the outlines of a registered atlas are drawn, by name."""
    fa = ledger.subject.tensor_map("fa")
    return ({"fa": fa} if fa.is_file() else {}) | ({"t1": t1} if t1 is not None else {})


def _draw_outlines(ledger: Ledger, atlas: str, t1: Path | None, parcellation: Parcellation, made: Made) -> None:
    from tractome.io.outlines import draw_outlines

    for name, path in outlined_images(ledger, t1).items():
        volume, grid = read_volume(path)
        # Labels through a T1 lie on the T1's own voxels, moved into the world of the scan: so must the T1.
        grid = parcellation.grid if name == "t1" else grid
        picture = made(ledger.subject.figure(f"seg-{atlas}_outlines-{name}"))
        draw_outlines(picture, volume, grid, parcellation, {"fa": "FA", "t1": "the T1"}[name])


def own_labels(path: Path, table: Path | None, atlas: str) -> tuple[NDArray[np.int64], Grid, RegionTable]:
    """Labels of the subject, with the regions of a table, of a known atlas, or found in the image."""
    from tractome.io.atlases import read_atlas_regions, read_region_table
    from tractome.stages.parcellate import regions_from_labels, require_most_regions

    labels, grid = read_labels(path)
    if table is not None:
        return labels, grid, read_region_table(table, atlas)
    if atlas != OWN_LABELS:
        regions = read_atlas_regions(atlas)[1]
        require_most_regions(labels, regions)
        return labels, grid, regions
    return labels, grid, regions_from_labels(labels, grid)
