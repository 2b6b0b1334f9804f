"""Every finding that a check can make: one row each, with its severity. One name, one severity."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of finding.

    Parameters
    ----------
    severity : str
        ``"refuse"``: a result from such files cannot be right. ``"warn"``: look at it.
    about : str
        Which file it is about; "" where it may be any image.
    meaning : str
        One line for the documentation.
    """

    severity: str
    about: str
    meaning: str


def _refuse(about: str, meaning: str) -> Kind:
    return Kind("refuse", about, meaning)


def _warn(about: str, meaning: str) -> Kind:
    return Kind("warn", about, meaning)


FILES = {
    "missing-file": _refuse("", "A file that was named is not there."),
    "unreadable-image": _refuse("", "No NIfTI image, or of values or dimensions that cannot be used."),
    "truncated-image": _refuse("", "The file ends before its header says, or its compression is damaged."),
    "no-space": _refuse("", "The header does not say where the voxels are, or says it with an affine that is none."),
    "wrong-dimensions": _refuse("", "3-D where 4-D is needed, or the reverse."),
    "header-flips": _refuse("", "sform and qform disagree about left and right."),
    "header-disagrees": _warn("", "sform and qform put the voxels in different places."),
    "header-voxel-size": _warn("", "The voxel size in the header is not that of its affine."),
    "sheared-affine": _warn("", "The voxel axes are not at right angles."),
    "odd-voxel-size": _warn("", "Voxels no human scan has: another unit, or another object."),
    "anisotropic-voxels": _warn("dwi", "Voxels much longer along one axis."),
}

GRADIENTS = {
    "gradients-unreadable": _refuse("gradients", "The files of b-values or directions hold no table of numbers."),
    "bval-bvec-swapped": _refuse("gradients", "The two files were given in each other's place."),
    "bvec-shape": _refuse("gradients", "The directions are neither three rows nor three columns."),
    "gradient-count": _refuse("gradients", "Numbers of volumes, b-values and directions differ."),
    "bvals-invalid": _refuse("gradients", "A b-value is negative or no number."),
    "bvals-units": _refuse("gradients", "b-values in ms/um2 or s/m2; s/mm2 are needed."),
    "no-b0": _refuse("gradients", "No volume counts as b0."),
    "no-weighted": _refuse("gradients", "Every volume counts as b0."),
    "directions-absent": _refuse("gradients", "Many weighted volumes have no direction."),
    "volumes-without-direction": _warn("gradients", "A few weighted volumes have no direction: they are left out."),
    "bvecs-not-unit": _refuse("gradients", "Directions longer than 1, or all of one other length."),
    "bvecs-scale-b": _warn("gradients", "Directions shorter than 1: taken to scale the b-values."),
    "too-few-directions": _refuse("gradients", "Fewer distinct directions than a tensor has unknowns."),
    "few-directions": _warn("gradients", "Fewer than 12 distinct directions."),
    "directions-degenerate": _refuse("gradients", "The directions lie in one plane or on one cone."),
    "directions-uneven": _warn("gradients", "The directions leave a large part of the sphere out."),
    "bvals-scattered": _warn("gradients", "b-values that fall into no shells."),
    "stray-bvals": _warn("gradients", "One or two volumes with a b-value of their own."),
    "few-b0": _warn("gradients", "One b0 for more than 64 weighted volumes."),
    "gradients-unusable": _refuse("gradients", "The table is refused for another reason, which the message says."),
    "gradient-orientation": _refuse("gradients", "The directions fit the fibres only when flipped or exchanged."),
}

MASK = {
    "mask-grid": _refuse("mask", "The mask is on another grid than the scan."),
    "mask-empty": _refuse("mask", "No voxel is inside."),
    "mask-full": _refuse("mask", "(Nearly) every voxel of the grid is inside, background too."),
    "mask-inverted": _refuse("mask", "The mask holds the background and leaves out the brain."),
    "mask-shifted": _refuse("mask", "The mask lies beside the brain: it fits when shifted or flipped."),
    "mask-on-background": _warn("mask", "Much of the mask is as dark as background."),
    "mask-misses-brain": _warn("mask", "Much of the head is outside the mask."),
    "mask-pieces": _warn("mask", "The mask is in several large pieces."),
    "mask-holes": _warn("mask", "The mask has large closed holes."),
    "mask-not-binary": _warn("mask", "The mask holds more than two values."),
}

SIGNAL = {
    "no-signal": _refuse("dwi", "Every b0 volume is empty or constant."),
    "not-finite": _warn("dwi", "NaN or infinity inside the brain."),
    "mostly-not-finite": _refuse("dwi", "NaN or infinity in much of the brain."),
    "negative-signal": _warn("dwi", "Negative values inside the brain."),
    "clipped-signal": _warn("dwi", "Many values stand at the top of what the file can store."),
    "coarse-signal": _warn("dwi", "Few distinct values: rounded to very few steps."),
    "empty-volumes": _warn("dwi", "Volumes of zeros: they are left out."),
    "mostly-empty": _refuse("dwi", "More than a tenth of the volumes hold nothing."),
    "duplicate-volumes": _warn("dwi", "Volumes that are equal voxel for voxel."),
    "zero-slices": _warn("dwi", "Slices of zeros inside the brain in some volumes."),
    "dropped-slices": _warn("dwi", "Slices much darker than their neighbours in the same volume."),
    "odd-volumes": _warn("dwi", "Volumes that look unlike the others of their shell."),
    "volume-intensity": _warn("dwi", "Volumes much brighter or darker than the others of their shell."),
    "motion": _warn("dwi", "Volumes lie millimetres apart: not aligned."),
    "bvals-order": _refuse("gradients", "Volumes called b0 are not the brightest: order or table is another scan's."),
    "bvals-too-low": _refuse("gradients", "The signal falls faster than free water: b-values are too low."),
    "bvals-too-high": _warn("gradients", "The signal hardly falls: b-values too high, or no living tissue."),
    "bvecs-order": _refuse("gradients", "The directions explain the signal no better than shuffled ones."),
    "noisy": _warn("dwi", "The signal of the b0 is less than five times the noise."),
}

T1 = {
    "t1-no-contrast": _refuse("t1", "The T1 is empty or constant."),
    "t1-elsewhere": _refuse("t1", "The T1 does not lie where the scan is."),
    "t1-covers-part": _warn("t1", "Much of the brain in the scan is outside the T1."),
    "t1-shifted": _warn("t1", "The T1 fits the scan much better when moved."),
    "t1-mirrored": _refuse("t1", "The T1 fits the scan much better with left and right exchanged."),
    "t1-thick-slices": _warn("t1", "Slices thicker than an atlas can be brought through."),
}

LABELS = {
    "labels-not-whole": _refuse("labels", "Values that are no whole numbers: interpolated."),
    "labels-negative": _refuse("labels", "Negative labels."),
    "labels-empty": _refuse("labels", "No voxel is labelled."),
    "labels-one-region": _refuse("labels", "One label only: a mask, not regions."),
    "labels-no-regions": _refuse("labels", "Values change from voxel to voxel: an intensity image."),
    "labels-elsewhere": _refuse("labels", "The labels do not lie in the brain of the scan."),
    "labels-partly-outside": _warn("labels", "Much of the labels is outside the brain mask."),
    "scan-covers-part": _warn("labels", "Much of the labels is outside the field of view of the scan."),
    "labels-mirrored": _refuse("labels", "Left regions lie on the right."),
    "labels-of-another-subject": _warn("labels", "Cortex and deep grey labels do not follow this subject's tissue."),
    "labels-in-pieces": _warn("labels", "Many regions are scattered."),
}

REGIONS = {
    "regions-unreadable": _refuse("regions", "The table of regions cannot be read."),
    "regions-without-labels": _refuse("regions", "A table of regions, but no labels that it names."),
    "table-of-another-atlas": _refuse("regions", "More than half of the table's regions are not in the labels."),
    "table-shifted": _refuse("regions", "Labels and table fit when the table's numbers are shifted."),
    "table-order": _refuse("regions", "Names and places do not belong together."),
    "regions-missing": _warn("regions", "Regions of the table that the labels lack."),
    "labels-not-in-table": _warn("regions", "Labels that the table does not name: left out."),
    "hemispheres-disagree": _warn("regions", "Some regions lie on the other side than the table says."),
}

TISSUE = {
    "tissue-volumes": _refuse("tissue", "Not five volumes."),
    "tissue-range": _refuse("tissue", "Values that are no fractions, or sum to more than 1."),
    "tissue-order": _refuse("tissue", "The five volumes are in another order."),
    "tissue-elsewhere": _refuse("tissue", "The tissues do not lie in the brain of the scan."),
    "tissue-incomplete": _warn("tissue", "The fractions sum to much less than 1 in much of the brain."),
}

GRAD_DEV = {
    "grad-dev-unusable": _refuse("grad_dev", "The image of gradient nonlinearity does not fit the scan."),
}

CATALOGUE: dict[str, Kind] = {
    **FILES,
    **GRADIENTS,
    **SIGNAL,
    **MASK,
    **T1,
    **LABELS,
    **REGIONS,
    **TISSUE,
    **GRAD_DEV,
}
"""By name."""
