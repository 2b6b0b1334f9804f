"""From the files of a subject to a tissue map: what each source reads, and how it is put before the stage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.datatypes.parcellation import Parcellation
from tractome.datatypes.tissue import TissueMap
from tractome.errors import ImageError
from tractome.io.atlases import read_atlas, read_template
from tractome.io.images import read_labels, read_mask, read_volume
from tractome.io.regions import read_region_table
from tractome.options import TissueOptions
from tractome.pipeline.ledger import Facts, Ledger
from tractome.pipeline.parcellate import DEFAULT_ATLAS
from tractome.pipeline.register import read_registration
from tractome.stages.parcellate import regions_from_labels
from tractome.stages.register import Registration, warp_labels, warp_map

if TYPE_CHECKING:
    from tractome.stages.tissue import Expected


@dataclass(frozen=True)
class TissueFiles:
    """What a subject brings besides its scan that a tissue map may be made from.

    Parameters
    ----------
    t1 : Path or None
        T1-weighted image in the space of the scan.
    freesurfer : Path or None
        Label image with FreeSurfer's numbers, in the space of the scan.
    labels, regions : Path or None
        The subject's own labels, of any numbers, and their table: they say where deep grey matter is when the table
        tells structures apart. Labels that are FreeSurfer's stand in for `freesurfer`.
    """

    t1: Path | None = None
    freesurfer: Path | None = None
    labels: Path | None = None
    regions: Path | None = None


def is_registered(ledger: Ledger) -> bool:
    """Whether a template was registered to this subject."""
    record = ledger.records().get("register")
    return record is not None and record.status == "done"


def freesurfer_labels(files: TissueFiles) -> Path | None:
    """FreeSurfer's labels, if there are any; labels given by name as FreeSurfer's are not doubted here."""
    from tractome.stages.tissue import is_freesurfer

    if files.freesurfer is not None or files.labels is None:
        return files.freesurfer
    return files.labels if is_freesurfer(read_labels(files.labels)[0]) else None


def map_from_freesurfer(ledger: Ledger, options: TissueOptions, path: Path) -> tuple[TissueMap, Facts]:
    """The map of FreeSurfer's labels, and what explains it."""
    from tractome.stages.tissue import tissue_from_freesurfer

    labels, grid = read_labels(path)
    tissue, unknown = tissue_from_freesurfer(labels, grid, options)
    if unknown:
        shown = ", ".join(map(str, unknown[:8]))
        ledger.listener.note(f"Labels of no known tissue count as outside the brain: {shown}.")
    return tissue, {"Method": "tissue of each label", "Sources": [path.name], "UnknownLabels": list(unknown)}


def map_from_t1(ledger: Ledger, options: TissueOptions, files: TissueFiles) -> tuple[TissueMap, Facts]:
    """The map of a registered T1, and what explains it."""
    from tractome.stages.tissue import box_around, tissue_from_t1

    assert files.t1 is not None
    t1, own = read_volume(files.t1)
    registration, facts = read_registration(ledger.subject)
    template = read_template()
    where = registration.warp_grid.to_world(np.argwhere(registration.brain))
    box, cut = box_around(where, own)
    grid = Grid(cut.shape, registration.to_dwi @ cut.affine)
    brain = warp_map(registration, (template.t1 > 0).astype(np.float32), template.grid, grid) > 0.5
    expected = _expected(replace(registration, label_grid=cut), grid, files, options)
    tissue = tissue_from_t1(t1[box], brain, expected)
    method = "mixture of Gaussians with a bias field, Markov random field, partial volumes"
    return tissue, {"Method": method, "Sources": [files.t1.name], "Registration": facts["summary"]}


def map_from_dwi(ledger: Ledger, options: TissueOptions, files: TissueFiles) -> tuple[TissueMap, Facts]:
    """The map of the scan alone, and what explains it."""
    from tractome.stages.tissue import DiffusionMaps, Expected, expected_from_regions, tissue_from_dwi

    subject = ledger.subject
    mask, grid = read_mask(subject.mask)
    fa, md, b0 = (
        read_volume(path)[0] for path in (subject.tensor_map("fa"), subject.tensor_map("md"), subject.mean_b0)
    )
    if is_registered(ledger):
        registration, facts = read_registration(subject)
        expected, explained = _expected(registration, grid, files, options), facts["summary"]
    else:
        labelled = own_regions(files)
        expected = expected_from_regions(labelled, grid, mask, options) if labelled is not None else Expected(grid)
        if options.tissue_source == "auto" and not expected.has_template:
            # Without anything that says where cortex is, FA takes crossings for grey matter.
            message = "nothing says where cortex is. A T1 would, or labels of all grey matter; or --tissue-source dwi."
            raise ImageError(message)
        explained = "none; " + ("by the subject's own labels" if expected.has_template else "no labels of grey matter")
    maps = DiffusionMaps(fa, md, b0, mask, _multi_tissue(ledger, mask))
    what = "MD, FA, b0" + (" and shares by multi-tissue deconvolution" if maps.shares is not None else "")
    return tissue_from_dwi(maps, expected), {"Method": f"mixtures of Gaussians over {what}", "Registration": explained}


def _expected(registration: Registration, grid: Grid, files: TissueFiles, options: TissueOptions) -> Expected:
    """What the template and the regions say beforehand, on a grid in the world of the scan."""
    from tractome.stages.tissue import Expected, regions_shares

    template = read_template()
    regions = own_regions(files)
    if regions is None or "subcortex" not in regions.regions.structures:
        atlas = read_atlas(DEFAULT_ATLAS)
        regions = Parcellation.from_labels(*warp_labels(registration, atlas.labels, atlas.grid), atlas.regions)
    deep, stem = regions_shares(regions, grid, options)
    grey, white = (warp_map(registration, each, template.grid, grid) for each in (template.grey, template.white))
    return Expected(grid, grey, white, deep, stem)


def own_regions(files: TissueFiles) -> Parcellation | None:
    """The subject's own regions, if it brings any."""
    if files.labels is None:
        return None
    labels, grid = read_labels(files.labels)
    table = read_region_table(files.regions) if files.regions is not None else regions_from_labels(labels, grid)
    return Parcellation.from_labels(labels, grid, table)


def multi_tissue_files(ledger: Ledger) -> dict[str, Path]:
    """Images of grey matter and CSF by multi-tissue deconvolution, with that of white matter; or none."""
    subject = ledger.subject
    paths = {name: subject.orientations("msmt", name) for name in ("csf", "gm", "afd")}
    is_msmt = ledger.finished("fit").facts["model"] == "msmt"
    return paths if is_msmt and all(path.is_file() for path in paths.values()) else {}


def _multi_tissue(ledger: Ledger, mask: NDArray[np.bool_]) -> NDArray[np.float32] | None:
    """Shares (x, y, z, 3) of CSF, grey and white matter by multi-tissue deconvolution, if there was one."""
    paths = multi_tissue_files(ledger)
    if not paths:
        return None
    shares = np.stack([read_volume(paths[name])[0] for name in ("csf", "gm", "afd")], axis=-1)
    shares[..., 2] /= np.float32(np.sqrt(4 * np.pi))  # the integral of an FOD, and the companions' l = 0 coefficient
    shares[~mask] = 0
    return shares
