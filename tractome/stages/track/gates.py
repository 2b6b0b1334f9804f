"""Masks that streamlines have to pass, to avoid, or to stay in."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.fields import OrientationField
from tractome.datatypes.grid import Grid
from tractome.datatypes.seeds import Mask
from tractome.datatypes.tissue import TissueMap
from tractome.datatypes.tractogram import RejectReason
from tractome.errors import SpaceError


@dataclass(frozen=True)
class Gates:
    """Masks on any grids of the same space.

    Parameters
    ----------
    include : tuple of Mask
        A streamline that does not visit all of them is rejected.
    exclude : tuple of Mask
        So is one that visits any of these.
    within : Mask or None
        Leaving it ends a streamline, as leaving the brain does.
    """

    include: tuple[Mask, ...] = ()
    exclude: tuple[Mask, ...] = ()
    within: Mask | None = None

    def keep_inside(
        self, field: OrientationField, tissue: TissueMap | None
    ) -> tuple[OrientationField, TissueMap | None]:
        """The field and the tissue map without what is outside `within`: there a streamline leaves the mask.

        With a tissue map that alone says where streamlines end, so the field stays whole.

        Raises
        ------
        SpaceError
            Nothing is left.
        """
        if self.within is None:
            return field, tissue
        if tissue is not None:
            inside = self.within.on(tissue.grid)
            if not (tissue.fractions[inside, 2] > 0.5).any():
                raise SpaceError(_nothing_left(self.within, "white matter of the tissue map"))
            return field, replace(tissue, fractions=tissue.fractions * inside[..., None])
        inside = self.within.on(field.grid) & field.mask
        if not inside.any():
            raise SpaceError(_nothing_left(self.within, "brain mask"))
        return replace(field, coefficients=field.coefficients[inside[field.mask]], mask=inside), None

    def apply(
        self, points: NDArray[np.float32], n_points: NDArray[np.int32], verdicts: NDArray[np.int8], grid: Grid
    ) -> None:
        """Reject streamlines of a block, in place; `points` are in voxel coordinates of `grid`."""
        for masks, wanted, reason in (
            (self.exclude, False, RejectReason.ENTERED_EXCLUDE),
            (self.include, True, RejectReason.MISSED_INCLUDE),
        ):
            for mask in masks:
                rejected = (n_points > 0) & (_visits(mask, points, n_points, grid) != wanted)
                n_points[rejected] = 0
                verdicts[rejected, 0] = reason


def _visits(mask: Mask, points: NDArray[np.float32], n_points: NDArray[np.int32], grid: Grid) -> NDArray[np.bool_]:
    from tractome.kernels.mapping import visits

    to_mask = np.ascontiguousarray((mask.grid.inverse @ grid.affine)[:3])
    visited: NDArray[np.bool_] = visits(points, n_points, to_mask, mask.inside)
    return visited


def _nothing_left(mask: Mask, what: str) -> str:
    return (
        f"The tracking mask {mask.name} ({mask.grid.describe()}) holds nothing of the {what}. "
        "Check that it is in the space of the scan."
    )
