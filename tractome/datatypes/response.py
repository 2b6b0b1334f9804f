"""Which model a scan gets, and the responses that its deconvolution stands on."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes._checks import frozen, require_shape
from tractome.errors import GradientError


@dataclass(frozen=True)
class ModelChoice:
    """Where tracking takes its directions from, and why.

    Parameters
    ----------
    model : str
        ``"csd"``, ``"msmt"`` or ``"tensor"`` (residual bootstrap).
    shells_s_per_mm2 : tuple of float
        b-values of the weighted shells used, rising; one for csd.
    lmax : int
        Highest SH order of the result, even.
    reason : str
        One sentence for the summary.
    """

    model: str
    shells_s_per_mm2: tuple[float, ...]
    lmax: int
    reason: str


@dataclass(frozen=True, eq=False)
class Response:
    """Signal of each tissue alone, as a function of the angle to its axis.

    Parameters
    ----------
    choice : ModelChoice
        The model the responses are for.
    bvals : (n_shells,) float64
        b-value of each row, s/mm2; the first is 0 for several tissues.
    zonal : dict of str to (n_shells, n_orders) float64
        Per tissue (``"wm"``, and for several tissues ``"gm"`` and ``"csf"``) and shell the SH coefficients
        l = 0, 2, ... with m = 0 of its signal about the +z axis, in units of the scan; isotropic tissues have one.
        The numbers are those of an MRtrix3 response file.
    n_voxels : dict of str to int
        Voxels each response was taken from.
    """

    choice: ModelChoice
    bvals: NDArray[np.float64]
    zonal: dict[str, NDArray[np.float64]]
    n_voxels: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        bvals = frozen(self.bvals, np.float64)
        zonal = {name: frozen(values, np.float64) for name, values in self.zonal.items()}
        for name, values in zonal.items():
            require_shape(values, (len(bvals), None), f"The {name} response", GradientError)
            if not np.isfinite(values).all() or (values[:, 0] <= 0).any():
                message = (
                    f"The {name} response has a shell without signal: {values[:, 0]}. "
                    "Check that the mask covers the brain and that the b-values are right."
                )
                raise GradientError(message)
        object.__setattr__(self, "bvals", bvals)
        object.__setattr__(self, "zonal", zonal)


@dataclass(frozen=True, eq=False)
class ResponseTable:
    """The response of one tissue as a file holds it.

    Parameters
    ----------
    zonal : (n_shells, n_orders) float64
        As in `Response.zonal`.
    bvals : (n_shells,) float64 or None
        b-value of each row, s/mm2; None where the file does not say.
    name : str
        Of the file, for messages.
    """

    zonal: NDArray[np.float64]
    bvals: NDArray[np.float64] | None
    name: str

    def __post_init__(self) -> None:
        zonal = frozen(self.zonal, np.float64)
        require_shape(zonal, (None, None), f"The response {self.name}", GradientError)
        if not np.isfinite(zonal).all() or (zonal[:, 0] <= 0).any():
            message = (
                f"The response {self.name} has a shell whose first coefficient is not positive: {zonal[:, 0]}. "
                "The first column is the mean signal of the shell; check the file."
            )
            raise GradientError(message)
        object.__setattr__(self, "zonal", zonal)
        if self.bvals is not None:
            bvals = frozen(self.bvals, np.float64)
            if bvals.shape != (len(zonal),):
                message = (
                    f"The response {self.name} has {len(zonal)} rows, but its line '# Shells:' names {len(bvals)} "
                    "b-values. One row per shell is needed; check the file."
                )
                raise GradientError(message)
            object.__setattr__(self, "bvals", bvals)
