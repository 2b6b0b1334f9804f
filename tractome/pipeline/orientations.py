"""The second half of the stage fit: responses, the field that tracking follows, and the maps made of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tractome.datatypes.diffusion import DiffusionImage
from tractome.datatypes.fields import OrientationField, ScalarMap, TensorField
from tractome.datatypes.response import ModelChoice, Response
from tractome.errors import OptionError
from tractome.io.images import write_orientation_field, write_packed, write_scalar_map
from tractome.io.responses import read_response, write_response
from tractome.options import FitOptions
from tractome.pipeline.layout import SubjectFolder
from tractome.pipeline.ledger import Ledger, Made


@dataclass(frozen=True)
class ModelPlan:
    """Which model the scan gets, and the responses if they were given."""

    choice: ModelChoice
    response: Response | None = None


def plan_model(image: DiffusionImage, options: FitOptions, responses: tuple[Path, ...]) -> ModelPlan:
    """Decide on the model before anything slow: a response that does not fit the scan is refused here."""
    from tractome.stages.fit import choose_model, given_response

    if responses:
        response = given_response([read_response(path) for path in responses], image.gradients, options)
        plan = ModelPlan(response.choice, response)
    else:
        plan = ModelPlan(choose_model(image.gradients, options))
    if options.normalise and plan.choice.model != "msmt":
        message = (
            f"Intensity normalisation needs the FODs of several tissues; the model is {plan.choice.model} "
            f"({plan.choice.reason}). Add --model msmt, or leave --normalise out."
        )
        raise OptionError(message)
    return plan


def make_orientations(
    image: DiffusionImage, tensors: TensorField, plan: ModelPlan, options: FitOptions, ledger: Ledger, made: Made
) -> OrientationField:
    """Make and write the field that tracking follows, its companions, what it stands on, and the maps made of it."""
    field, response = _orientations(image, tensors, plan, options, ledger)
    explained: dict[str, Any] = {"Reason": plan.choice.reason}
    if response is not None:
        explained |= {
            "Shells": list(response.choice.shells_s_per_mm2),
            "ResponseFunction": {name: zonal.tolist() for name, zonal in response.zonal.items()},
            "ResponseBValues": response.bvals.tolist(),
            "ResponseVoxels": dict(response.n_voxels),
        }
        for tissue, zonal in response.zonal.items():
            write_response(made(ledger.subject.response(plan.choice.model, tissue)), zonal, response.bvals)
    if options.normalise:
        field, normalisation = _normalised(ledger.subject, field, plan.choice.model, made)
        explained["Normalisation"] = normalisation
    _write_field(ledger.subject, field, plan.choice.model, explained, made)
    _write_summaries(ledger, field, plan.choice.model, options, made)
    return field


def _orientations(
    image: DiffusionImage, tensors: TensorField, plan: ModelPlan, options: FitOptions, ledger: Ledger
) -> tuple[OrientationField, Response | None]:
    from tractome.stages.fit import bootstrap_orientations, estimate_response, fit_fods

    if plan.choice.model == "tensor":
        return bootstrap_orientations(image, options, ledger.listener.progress("bootstrap", "voxels")), None
    response = plan.response if plan.response is not None else estimate_response(image, tensors, options)
    return fit_fods(image, response, options, ledger.listener.progress("orientations", "voxels")), response


def _normalised(
    subject: SubjectFolder, field: OrientationField, model: str, made: Made
) -> tuple[OrientationField, dict[str, Any]]:
    """Normalise, and write the field that was divided out."""
    from tractome.stages.fit import normalise_tissues

    found = normalise_tissues(field)
    facts = {"BalanceFactors": found.balance, "ShareOfVoxelsUsed": round(found.share_used, 4)}
    explained = {"Name": "what FODs and companions were divided by", "Method": "multi-tissue intensity normalisation"}
    write_scalar_map(made(subject.orientations(model, "normalisation"), sidecar=True), found.scale, explained | facts)
    return found.field, facts


def _write_field(
    subject: SubjectFolder, field: OrientationField, model: str, explained: dict[str, Any], made: Made
) -> None:
    write_orientation_field(made(subject.orientations(model), sidecar=True), field, explained)
    for tissue, values in field.tissues.items():
        path = made(subject.orientations(model, tissue), sidecar=True)
        write_packed(path, values, field.mask, field.grid, {"Method": field.method, "Tissue": tissue})


def _write_summaries(ledger: Ledger, field: OrientationField, model: str, options: FitOptions, made: Made) -> None:
    """Total apparent fibre density, and the highest peaks where they are asked for."""
    subject = ledger.subject
    if model != "tensor":
        afd = ScalarMap("afd", "unitless", np.sqrt(4 * np.pi) * field.coefficients[:, 0], field.mask, field.grid)
        facts = {"Method": field.method, "Definition": "integral of the FOD over the sphere: sqrt(4 pi) x its l = 0"}
        write_scalar_map(made(subject.orientations(model, "afd"), sidecar=True), afd, facts)
    if options.n_peaks:
        from tractome.stages.fit import segment_fixels

        fixels = segment_fixels(field, progress=ledger.listener.progress("peaks", "voxels"))
        peaks = fixels.peak_vectors(options.n_peaks)
        facts = {"Method": field.method, "Name": "peaks", "Axes": "world, RAS+", "Units": "unitless"}
        facts |= {"Volumes": "x, y, z of the highest peak, then of the next, ...; its amplitude is the length"}
        write_packed(made(subject.peaks(model), sidecar=True), peaks, field.mask, field.grid, facts)
