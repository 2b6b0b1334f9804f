"""Diffusion tensors: least squares on the logarithm of the signal, outliers, and what follows from a tensor.

The model of one measurement is ``log s = log s0 - b g'Dg``. Weighted least squares gives each measurement the square
of the signal that a first, unweighted fit predicts (Salvador et al. 2005); repeating that with the weighted fit's own
prediction is the iteratively reweighted fit (Veraart et al. 2013).

`fit` is the sweep over all voxels, `robust` the one that leaves outliers out, `vectors` the arithmetic both are made
of, `single` a fit of one voxel with all that the bootstrap needs, `eigen` and `maps` what follows from a tensor.
"""

from tractome.kernels.tensor.design import tensor_design, tensor_moments, tensor_start
from tractome.kernels.tensor.eigen import decompose, eigen
from tractome.kernels.tensor.fit import fit_tensors
from tractome.kernels.tensor.maps import tensor_scalars
from tractome.kernels.tensor.robust import fit_robust
from tractome.kernels.tensor.types import (
    B_SCALE_S_PER_MM2,
    FITTED,
    N_UNKNOWNS,
    NOT_DETERMINED,
    NOT_POSITIVE_DEFINITE,
    REJECTION_REFUSED,
)

__all__ = [
    "B_SCALE_S_PER_MM2",
    "FITTED",
    "NOT_DETERMINED",
    "NOT_POSITIVE_DEFINITE",
    "N_UNKNOWNS",
    "REJECTION_REFUSED",
    "decompose",
    "eigen",
    "fit_robust",
    "fit_tensors",
    "tensor_design",
    "tensor_moments",
    "tensor_scalars",
    "tensor_start",
]
