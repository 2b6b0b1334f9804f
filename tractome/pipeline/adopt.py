"""FODs that another program made: a subject's folder that begins with them in place of a scan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tractome.datatypes.fields import ScalarMap
from tractome.datatypes.grid import require_same_grid
from tractome.errors import ImageError
from tractome.io.images import read_orientation_field, read_volume, write_scalar_map, write_volume
from tractome.pipeline.layout import TENSOR_MAPS, SubjectFolder
from tractome.pipeline.ledger import Facts, Ledger, Made, Step
from tractome.provenance import StageRecord

GIVEN = "given"
"""Name of the model of FODs that tractome did not fit."""


@dataclass(frozen=True)
class GivenOrientations:
    """FODs of another program, and what comes with them.

    Parameters
    ----------
    fod : Path
        Image of SH coefficients in MRtrix3's basis.
    mask : Path or None
        Brain mask on its grid; None for the voxels that hold an FOD.
    fa : Path or None
        FA map on its grid: to end streamlines where there is no tissue map, and to sample along them.
    """

    fod: Path
    mask: Path | None = None
    fa: Path | None = None

    def require(self) -> None:
        """Raise unless every file is there."""
        for path, flag in ((self.fod, "--fod"), (self.mask, "--mask"), (self.fa, "--fa")):
            if path is not None and not path.is_file():
                message = f"There is no {path}. Check the path given with {flag}."
                raise ImageError(message)


def adopt_orientations(ledger: Ledger, given: GivenOrientations) -> StageRecord:
    """Begin a subject with FODs in place of a scan: what the stage fit would have written, as far as it is known.

    The FODs stay where they are; mask, FA and apparent fibre density are written into the subject's folder.

    Parameters
    ----------
    ledger : Ledger
    given : GivenOrientations
    """
    given.require()
    subject = ledger.subject
    inputs = {"orientations": given.fod, "mask": given.mask, "fa": given.fa}
    step = Step(
        name="fit",
        options={"model": GIVEN},
        inputs={role: path for role, path in inputs.items() if path is not None},
        may_write=(
            f"dwi/{subject.name}_desc-brain_mask.*",
            f"dwi/{subject.name}_model-tensor_param-fa_dwimap.*",
            f"dwi/{subject.name}_model-{GIVEN}_param-afd_dwimap.*",
        ),
        work=lambda made: _adopt(subject, given, made),
    )
    return ledger.do(step)


def _adopt(subject: SubjectFolder, given: GivenOrientations, made: Made) -> Facts:
    field = read_orientation_field(given.fod, given.mask)
    source = {"Sources": [given.fod.name]}
    mask_made = "copied" if given.mask is not None else "voxels that hold an FOD"
    facts = {**source, "Type": "Brain", "Made": mask_made}
    write_volume(made(subject.mask, sidecar=True), field.mask, field.grid, facts)
    afd = ScalarMap("afd", "unitless", np.sqrt(4 * np.pi) * field.coefficients[:, 0], field.mask, field.grid)
    write_scalar_map(made(subject.orientations(GIVEN, "afd"), sidecar=True), afd, source)
    if given.fa is not None:
        volume, grid = read_volume(given.fa)
        require_same_grid(field.grid, grid, str(given.fod), str(given.fa))
        fa = ScalarMap("fa", "unitless", volume[field.mask], field.mask, field.grid)
        write_scalar_map(made(subject.tensor_map("fa"), sidecar=True), fa, {"Sources": [given.fa.name]})
    return {
        "gradients": "none: FODs were given",
        "grid": field.grid.describe(),
        "n_voxels": len(field.coefficients),
        "brain_volume_ml": len(field.coefficients) * field.grid.voxel_volume_mm3 / 1000,
        "mask": "given" if given.mask is not None else mask_made,
        "model": GIVEN,
        "model_reason": f"given: {given.fod.name}",
        "lmax": field.lmax,
        "maps": ["fa"] if given.fa is not None else [],
    }


def orientation_file(ledger: Ledger) -> Path:
    """The FODs to track: what `fit_subject` wrote, or the file that was given in its place.

    Raises
    ------
    ImageError
        The file that was given is not where it was.
    """
    record = ledger.finished("fit")
    given = record.input_paths.get("orientations")
    if given is None:
        return ledger.subject.orientations(str(record.facts["model"]))
    if not Path(given).is_file():
        message = f"The FODs of this subject are no longer at {given}. Say where they are with --fod."
        raise ImageError(message)
    return Path(given)


def map_names(ledger: Ledger) -> tuple[str, ...]:
    """The tensor maps that this subject has, by name."""
    return tuple(ledger.finished("fit").facts.get("maps", TENSOR_MAPS))


def background_file(ledger: Ledger) -> Path:
    """What regions are drawn on: the mean b0, or where FODs were given their apparent fibre density."""
    is_given = ledger.finished("fit").facts["model"] == GIVEN
    return ledger.subject.orientations(GIVEN, "afd") if is_given else ledger.subject.mean_b0
