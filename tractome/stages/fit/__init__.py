"""Fit: from the signal to tensors and fibre orientation distributions."""

from tractome.stages.fit.fixels import segment_fixels
from tractome.stages.fit.fods import bootstrap_orientations, fit_fods
from tractome.stages.fit.given import given_response
from tractome.stages.fit.model import choose_model
from tractome.stages.fit.normalise import normalise_tissues
from tractome.stages.fit.responses import estimate_response
from tractome.stages.fit.tensors import fit_tensors, principal_directions, tensor_maps, tensor_notices

__all__ = [
    "bootstrap_orientations",
    "choose_model",
    "estimate_response",
    "fit_fods",
    "fit_tensors",
    "given_response",
    "normalise_tissues",
    "principal_directions",
    "segment_fixels",
    "tensor_maps",
    "tensor_notices",
]
