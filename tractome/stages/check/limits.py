"""The limits of a check, in one table: learned on scans known to be good, with room left.

``docs/check.md`` lists beside each limit the worst value of the good scans; its script prints the list.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """One number that decides.

    Parameters
    ----------
    value : float
    unit : str
    is_highest : bool
        True where larger values are wrong, False where smaller ones are.
    meaning : str
        What is measured.
    """

    value: float
    unit: str
    is_highest: bool
    meaning: str

    def is_beyond(self, value: float) -> bool:
        """Whether a value is wrong; NaN is not."""
        return value > self.value if self.is_highest else value < self.value


def _at_most(value: float, unit: str, meaning: str) -> Limit:
    return Limit(value, unit, True, meaning)


def _at_least(value: float, unit: str, meaning: str) -> Limit:
    return Limit(value, unit, False, meaning)


LIMITS: dict[str, Limit] = {
    "header.disagreement_vox": _at_most(0.5, "voxels", "how far sform and qform put a corner apart"),
    "header.size_error": _at_most(0.02, "share", "voxel size of the header against that of the affine"),
    "header.shear": _at_most(0.02, "cosine", "largest cosine between two voxel axes"),
    "header.smallest_voxel_mm": _at_least(0.3, "mm", "shortest side of a voxel"),
    "header.largest_voxel_mm": _at_most(8.0, "mm", "longest side of a voxel"),
    "dwi.anisotropy": _at_most(2.5, "ratio", "longest side of a voxel over the shortest"),
    "gradients.condition": _at_most(3.0, "ratio", "condition number of the tensor's design matrix"),
    "gradients.gap": _at_most(1.9, "ratio", "largest hole in a shell over that of an even spread"),
    "gradients.shell_width": _at_most(100.0, "s/mm2", "widest shell"),
    "gradients.volumes_per_b0": _at_most(64.0, "volumes", "weighted volumes per b0"),
    "gradients.absent_share": _at_most(0.1, "share", "weighted volumes without a direction"),
    "mask.grid_share": _at_most(0.95, "share", "part of the grid that is in the mask"),
    "mask.dark_share": _at_most(0.1, "share", "part of the mask that is as dark as background"),
    "mask.shift_mm": _at_most(6.0, "mm", "shift at which the mask fits the b0 best"),
    "mask.head_share": _at_least(0.4, "share", "part of the bright voxels that is in the mask"),
    "mask.largest_piece": _at_least(0.9, "share", "part of the mask in its largest piece"),
    "mask.holes": _at_most(0.03, "share", "closed holes over the mask"),
    "signal.not_finite": _at_most(0.0, "share", "values that are NaN or infinite"),
    "signal.much_not_finite": _at_most(0.05, "share", "values that are NaN or infinite"),
    "signal.negative": _at_most(0.01, "share", "values below 0"),
    "signal.clipped": _at_most(0.002, "share", "values at the highest one that occurs"),
    "signal.levels": _at_least(50.0, "values", "distinct values in the first b0 of the brain"),
    "signal.empty_share": _at_most(0.1, "share", "volumes that hold nothing"),
    "signal.slice_drop": _at_most(0.25, "log ratio", "deepest drop of a slice against its neighbours"),
    "signal.oddness": _at_most(0.3, "r", "correlation lost against the other volumes of the shell"),
    "signal.level": _at_most(0.3, "log ratio", "level of a volume against its shell"),
    "signal.shift_mm": _at_most(2.5, "mm", "shift of a volume against its shell"),
    "signal.b0_contrast": _at_least(0.1, "log ratio", "median level of the b0 over that of the weighted volumes"),
    "signal.fastest_adc": _at_most(3.3e-3, "mm2/s", "median fall of the signal per b"),
    "signal.slowest_adc": _at_least(0.15e-3, "mm2/s", "median fall of the signal per b"),
    "signal.explained": _at_least(1.1, "ratio", "residual with shuffled directions over that with the given ones"),
    "signal.snr": _at_least(5.0, "ratio", "b0 signal over noise"),
    "t1.scan_share": _at_least(0.5, "share", "part of the scan's brain inside the T1"),
    "t1.overlap": _at_least(0.05, "share", "part of the scan's brain inside the T1"),
    "t1.slice_mm": _at_most(3.5, "mm", "longest side of a voxel of the T1"),
    "t1.shift_gain": _at_most(0.02, "bits", "mutual information gained by a shift of 16 mm or more"),
    "t1.mirror_gain": _at_most(0.025, "bits", "mutual information gained by a mirror image"),
    "labels.coherence": _at_least(0.35, "share", "labelled voxels whose neighbours have the same label"),
    "labels.inside": _at_least(0.65, "share", "labels in the field of view that are in the brain mask"),
    "labels.mostly_inside": _at_least(0.85, "share", "labels in the field of view that are in the brain mask"),
    "labels.in_view": _at_least(0.85, "share", "labels inside the field of view of the scan"),
    "labels.in_grey": _at_least(0.6, "share", "cortical and deep labels on grey matter of the tissue map"),
    "labels.scattered": _at_most(0.3, "share", "regions whose largest piece is less than half"),
    "regions.missing_share": _at_most(0.5, "share", "regions of the table that the labels lack"),
    "regions.centroid_error_mm": _at_most(15.0, "mm", "median distance of regions from the table's centroids"),
    "regions.wrong_side": _at_most(0.0, "share", "regions on the other side than the table says"),
    "tissue.inside": _at_least(0.5, "share", "tissue in the field of view that is in the brain mask"),
    "tissue.incomplete": _at_most(0.2, "share", "brain voxels whose fractions sum to less than 0.5"),
}
"""By name: family and what is measured."""
