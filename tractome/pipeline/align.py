"""Labels drawn on a T1 brought to the scan: only their header is moved, by the rigid step from b0 to T1."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tractome.datatypes.grid import Grid
from tractome.errors import ImageError, OptionError
from tractome.io.images import read_labels, read_mask, read_volume, write_volume
from tractome.options import ParcellateOptions
from tractome.pipeline.adopt import GIVEN
from tractome.pipeline.ledger import Facts, Ledger, Made, Step
from tractome.provenance import StageRecord


def align_labels(
    ledger: Ledger, options: ParcellateOptions, t1: Path | None, images: Mapping[str, Path]
) -> tuple[StageRecord, dict[str, Path]]:
    """Write label images of a T1 with the header that puts them into the world of the scan, unless that is done.

    Parameters
    ----------
    ledger : Ledger
        Of a subject that was fitted.
    options : ParcellateOptions
        Says how well b0 and T1 must agree.
    t1 : Path or None
        The T1 that the labels were drawn on.
    images : mapping of str to Path
        Label images by what they are; the name becomes part of a file's.

    Returns
    -------
    record : StageRecord
    aligned : dict of str to Path
        The images in the world of the scan.

    Raises
    ------
    OptionError
        There is no T1, or no b0 to register to it.
    RegistrationError
        b0 and T1 do not show one head.
    """
    subject = ledger.subject
    if t1 is None or ledger.finished("fit").facts["model"] == GIVEN:
        lacks = "T1" if t1 is None else "b0 image"
        message = (
            f"The labels lie in the space of a T1, and there is no {lacks}: give it, or labels in the scan's space."
        )
        raise OptionError(message)
    aligned = {role: subject.aligned_labels(role) for role in images}
    step = Step(
        name="align",
        options={"min_t1_detail": options.min_t1_detail},
        inputs={"t1": t1, "mean_b0": subject.mean_b0, "mask": subject.mask, **images},
        may_write=(f"dwi/{subject.name}_space-dwi_desc-*_dseg.*",),
        work=lambda made: _align(ledger, options, t1, images, aligned, made),
    )
    return ledger.do(step), aligned


def _align(
    ledger: Ledger,
    options: ParcellateOptions,
    t1: Path,
    images: Mapping[str, Path],
    aligned: Mapping[str, Path],
    made: Made,
) -> Facts:
    from tractome.stages.register.quality import require_one_head
    from tractome.stages.register.rigid import b0_to_t1

    subject = ledger.subject
    volume, t1_grid = read_volume(t1)
    b0, grid = read_volume(subject.mean_b0)
    mask, _ = read_mask(subject.mask)
    volume = np.nan_to_num(volume, nan=0.0, posinf=0.0, neginf=0.0)
    if volume.min() == volume.max():
        message = f"{t1} holds one value only; the labels cannot be brought to the scan through it. Check the file."
        raise ImageError(message)
    found = b0_to_t1(np.nan_to_num(b0), mask, grid, volume, t1_grid, options.min_t1_detail)
    require_one_head(found, options.min_t1_detail)
    to_dwi = np.asarray(np.linalg.inv(found.matrix), dtype=np.float64)
    facts: Facts = {
        "method": "b0 to T1, greedy, rigid (NMI); labels moved by their header",
        "dwi_to_t1_mutual_information": found.information,
        "dwi_to_t1_detail": found.detail,
        "dwi_to_t1_shift_mm": found.shift_mm,
        "t1_to_dwi": to_dwi.tolist(),
    }
    for role, path in images.items():
        labels, own = read_labels(path)
        write_volume(made(aligned[role], sidecar=True), labels, Grid(own.shape, to_dwi @ own.affine), facts)
    return facts
