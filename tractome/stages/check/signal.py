"""The signal of a scan: everything that its volumes say about themselves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.stages.check.consistency import check_directions_explain, check_fall
from tractome.stages.check.inspection import Inspection, counted_from_one, some
from tractome.stages.check.sampled import SampledScan
from tractome.stages.check.slices import check_slices
from tractome.stages.check.volumes import check_levels, check_likeness, check_values


def check_filled(
    inspection: Inspection, filled: NDArray[np.bool_], is_b0: NDArray[np.bool_], not_finite: float
) -> bool:
    """Check that the volumes hold numbers; whether there is anything left to look at.

    Parameters
    ----------
    inspection : Inspection
    filled : (v,) bool
        Which volumes hold anything in the brain.
    is_b0 : (v,) bool
    not_finite : float
        Share of the values that are NaN or infinite.
    """
    if inspection.is_beyond("signal.much_not_finite", not_finite):
        message = (
            f"{not_finite:.0%} of the values in the brain are NaN or infinite. A step before this one failed; make the "
            "scan again."
        )
        inspection.find("mostly-not-finite", message, share=not_finite)
        return False
    elif inspection.is_beyond("signal.not_finite", not_finite):
        message = (
            f"{not_finite:.2%} of the values in the brain are NaN or infinite. They are taken as 0; was the scan "
            "resampled or divided by something?"
        )
        inspection.find("not-finite", message, share=not_finite)
    if not (filled & is_b0).any():
        message = (
            "Every b0 volume holds only 0 or NaN in the brain. At least one with signal is needed; check the image."
        )
        inspection.find("no-signal", message)
        return False
    empty = counted_from_one(~filled)
    if inspection.is_beyond("signal.empty_share", len(empty) / len(filled)):
        message = (
            f"{len(empty)} of {len(filled)} volumes ({some(empty)}) hold only zeros. The scan was not converted or "
            "copied completely; make the file again."
        )
        inspection.find("mostly-empty", message, volumes=empty)
    elif empty:
        message = (
            f"Volume {some(empty)} holds only zeros. It is left out; check that the scan was converted completely."
        )
        inspection.find("empty-volumes", message, volumes=empty)
    return True


def check_signal(inspection: Inspection, scan: SampledScan, slice_axis: int) -> None:
    """Check what the volumes hold, against each other and against b-values and directions.

    Parameters
    ----------
    inspection : Inspection
    scan : SampledScan
        Of the volumes that hold anything.
    slice_axis : int
        Voxel axis along which slices follow each other.
    """
    check_values(inspection, scan)
    if inspection.has("negative-signal"):
        return
    check_levels(inspection, scan)
    check_slices(inspection, scan, slice_axis)
    if inspection.has("bvals-order"):
        return
    odd = check_likeness(inspection, scan)
    check_fall(inspection, scan)
    check_directions_explain(inspection, scan, odd)
