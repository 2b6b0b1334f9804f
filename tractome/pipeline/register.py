"""The registration behind an atlas, from files to files: done once, used by every atlas of the subject."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.datatypes.parcellation import RegionTable
from tractome.errors import RegistrationError
from tractome.io.atlases import atlas_files, read_atlas, read_template
from tractome.io.images import read_mask, read_volume
from tractome.io.transforms import read_transform, write_transform
from tractome.options import ParcellateOptions
from tractome.pipeline.adopt import GIVEN
from tractome.pipeline.layout import SubjectFolder
from tractome.pipeline.ledger import Facts, Ledger, Made, Step
from tractome.provenance import StageRecord, option_values
from tractome.stages.register import (
    Registration,
    RegistrationQuality,
    register_fa,
    register_t1,
    space_mismatch,
    warp_labels,
)

_GRIDS = ("warp_grid", "label_grid")


def register_subject(ledger: Ledger, options: ParcellateOptions, t1: Path | None, n_threads: int = 0) -> StageRecord:
    """Register the template to a subject through its T1, or its FA, unless that is done.

    Parameters
    ----------
    ledger : Ledger
    options : ParcellateOptions
    t1 : Path or None
        None for the way through FA.
    n_threads : int
        0 for all there are.
    """
    subject = ledger.subject
    ledger.finished("fit")
    inputs = {"mask": subject.mask}
    wanted = subject.mean_b0 if t1 is not None else subject.tensor_map("fa")
    if not wanted.is_file() and ledger.finished("fit").facts["model"] == GIVEN:
        lacks, instead = (
            ("b0 image", "labels in the subject's space") if t1 is not None else ("FA map", "--fa to track")
        )
        message = f"This subject began with FODs and has no {lacks} to register through. Give {instead}."
        raise RegistrationError(message)
    inputs |= {"t1": t1, "mean_b0": subject.mean_b0} if t1 is not None else {"fa": subject.tensor_map("fa")}
    step = Step(
        name="register",
        options={name: value for name, value in option_values(options).items() if name != "atlas"},
        inputs=inputs,
        may_write=(f"transform/{subject.name}_from-dwi_to-template_xfm.*",),
        work=lambda made: _register(ledger, options, t1, n_threads, made),
    )
    return ledger.do(step)


def earlier_t1(ledger: Ledger) -> Path | None:
    """The T1 that this subject was registered through before, if any: another atlas should come the same way."""
    record = ledger.records().get("register")
    path = record.input_paths.get("t1") if record is not None else None
    return Path(path) if path is not None else None


def _register(ledger: Ledger, options: ParcellateOptions, t1: Path | None, n_threads: int, made: Made) -> Facts:
    subject = ledger.subject
    mask, grid = read_mask(subject.mask)
    template = read_template()
    progress = ledger.listener.progress("registration", "steps")
    if t1 is not None:
        head, t1_grid = read_volume(t1)
        b0, _ = read_volume(subject.mean_b0)
        found = register_t1(head, t1_grid, b0, grid, mask, template, options, n_threads, progress)
    else:
        fa, _ = read_volume(subject.tensor_map("fa"))
        found = register_fa(fa, grid, mask, template, options, n_threads, progress)
    through = "T1" if t1 is not None else "FA"
    facts = {
        "method": f"template to {through}, greedy, affine (NMI) and deformable (NCC)",
        "space": found.space,
        "quality": found.quality.as_dict(),
        "summary": f"through {through}: correlation {found.quality.correlation:.2f}, "
        f"white-matter overlap {found.quality.white_matter_dice:.2f}",
    }
    arrays = {
        "matrix": found.matrix,
        "warp_mm": found.warp_mm,
        "to_dwi": found.to_dwi,
        "brain": found.brain,
        **{f"{name}_shape": np.array(getattr(found, name).shape) for name in _GRIDS},
        **{f"{name}_affine": getattr(found, name).affine for name in _GRIDS},
    }
    write_transform(made(subject.transform, sidecar=True), arrays, facts)
    return facts


def read_registration(subject: SubjectFolder) -> tuple[Registration, Mapping[str, Any]]:
    """The registration that `register_subject` wrote, and its facts."""
    arrays, facts = read_transform(subject.transform)
    grids = {
        name: Grid(tuple(int(n) for n in arrays[f"{name}_shape"]), arrays[f"{name}_affine"])  # type: ignore[arg-type]
        for name in _GRIDS
    }
    # A number that a subject has not (no T1, no T1 numbers) is null in JSON.
    numbers = {name: float("nan") if value is None else value for name, value in facts["quality"].items()}
    registration = Registration(
        matrix=arrays["matrix"],
        warp_mm=arrays["warp_mm"],
        to_dwi=arrays["to_dwi"],
        brain=arrays["brain"],
        quality=RegistrationQuality(**numbers),
        space=facts["space"],
        **grids,
    )
    return registration, facts


def registered_inputs(subject: SubjectFolder, atlas: str) -> dict[str, Path]:
    """Files that the regions of an atlas in a subject depend on."""
    return {"transform": subject.transform, **{f"atlas_{role}": path for role, path in atlas_files(atlas).items()}}


def registered_labels(ledger: Ledger, atlas: str) -> tuple[NDArray[np.int64], Grid, RegionTable, Facts]:
    """The labels of an atlas in the subject, its regions, and what explains them."""
    registration, facts = read_registration(ledger.subject)
    known = read_atlas(atlas)
    mismatch = space_mismatch(known.info.space, registration.space)
    if mismatch:
        ledger.listener.note(mismatch)
    labels, grid = warp_labels(registration, known.labels, known.grid)
    explained: Facts = {
        "method": facts["method"],
        "registration": {"summary": facts["summary"], **facts["quality"]},
        "atlas_space": known.info.space,
        "template_space": registration.space,
        "space_mismatch": mismatch,
        "citation": known.info.citation,
    }
    return labels, grid, known.regions, explained
