"""Folders laid out as data sets are, with empty images, for the tests of layouts."""

import shlex

import nibabel as nib
import numpy as np

from tractome.io.layouts import find_subject_in

BVALS = np.repeat([0.0, 1000.0], [1, 7])
_half = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1], [1, -1, 0]], dtype=float)
BVECS = np.vstack([np.zeros(3), _half / np.linalg.norm(_half, axis=1, keepdims=True)])


def image(path, *, volumes=8, shape=(4, 5, 3), zoom=2.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = (*shape, volumes) if volumes > 1 else shape
    nib.save(nib.Nifti1Image(np.zeros(sizes, np.int16), np.diag([-zoom, zoom, zoom, 1.0])), path)
    return path


def gradients(stem, *, n=8, bval=".bval", bvec=".bvec"):
    stem.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(stem.with_name(stem.name + bval), BVALS[:n][None], fmt="%g")
    np.savetxt(stem.with_name(stem.name + bvec), BVECS[:n].T, fmt="%.6f")


def scan(stem, **kind):
    gradients(stem)
    return image(stem.with_name(stem.name + ".nii.gz"), **kind)


def names(found):
    """Every file that was found, by role, as its name."""
    roles = ("dwi", "bval", "bvec", "mask", "grad_dev", "t1", "labels", "regions", "tissue", "sidecar")
    values = {role: getattr(found, role) for role in roles}
    return {role: path.name for role, path in values.items() if path is not None}


def commands(error):
    """The commands that an error proposes, as words."""
    return [shlex.split(line) for line in str(error.value).splitlines()[1:]]


def follow(words):
    """Find what a proposed command finds."""
    assert words[:2] == ["tractome", "run"]
    flags = dict(zip(words[3::2], words[4::2], strict=True))
    return find_subject_in(words[2], **{flag.removeprefix("--"): value for flag, value in flags.items()})
