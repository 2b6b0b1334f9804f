"""Everything that a NIfTI header says about places, contradictions included."""

from __future__ import annotations

import os
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.header import HeaderFacts


def read_header_facts(path: str | os.PathLike[str]) -> HeaderFacts:
    """Read what a NIfTI header says about places; for a file that `open_nifti` could open.

    Parameters
    ----------
    path : path

    Returns
    -------
    HeaderFacts
    """
    import nibabel as nib

    header = cast(Any, nib.load(path)).header
    sizes = [int(n) for n in header.get_data_shape()[:3]]
    shape = tuple(sizes + [1] * (3 - len(sizes)))
    zooms = np.ones(3)
    zooms[: min(3, len(header.get_zooms()))] = header.get_zooms()[:3]
    try:
        qform = header.get_qform(coded=True)[0]
    except Exception:  # a quaternion that is none; open_nifti takes the sform then
        qform = None
    sform = header.get_sform(coded=True)[0]
    return HeaderFacts(
        shape=cast(tuple[int, int, int], shape),
        sform=_affine(sform),
        qform=_affine(qform),
        zooms_mm=zooms,
        slice_axis=header.get_dim_info()[2],
    )


def _affine(matrix: Any) -> NDArray[np.float64] | None:
    return None if matrix is None else np.asarray(matrix, dtype=np.float64)
