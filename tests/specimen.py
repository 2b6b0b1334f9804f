"""A small subject held in memory, to be written whole or spoiled first."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from tractome.options import PhantomOptions
from tractome.phantom import Phantom, make_phantom

OPTIONS = PhantomOptions(
    voxel_size_mm=4.0,
    t1_voxel_size_mm=3.0,
    n_cortical=24,
    n_deep=6,
    n_bundles=36,
    n_u_fibres=14,
    shells=(1000.0,),
    directions=(24,),
    n_b0=3,
    random_seed=7,
)


@dataclass
class Image:
    """Values and header of one image, as they will be written."""

    values: np.ndarray
    affine: np.ndarray
    name: str
    edit: Callable[[Any], None] | None = None
    """Changes the header just before it is written."""

    def write(self, folder: Path) -> Path:
        values = self.values.astype(np.uint8) if self.values.dtype == bool else self.values
        image = nib.Nifti1Image(values, self.affine)
        image.set_qform(self.affine, 1)
        image.set_sform(self.affine, 1)
        if self.edit is not None:
            self.edit(image.header)
        path = folder / self.name
        # nibabel rewrites an affine that it holds: the header must be the edited one.
        nib.Nifti1Image(values, None, image.header).to_filename(path)
        return path


@dataclass
class Specimen:
    """Every file of a subject; None for one that it has not."""

    images: dict[str, Image]
    bvals: np.ndarray
    bvecs: np.ndarray
    """(v, 3), FSL's frame."""
    regions: list[str]
    texts: dict[str, str] = field(default_factory=dict)
    """Content of gradient files in place of what the arrays say."""
    after: list[Callable[[dict[str, Path]], None]] = field(default_factory=list)
    """Done to the paths once all is written."""

    def __getitem__(self, role: str) -> Image:
        return self.images[role]

    def write(self, folder: Path) -> dict[str, Path]:
        """Write everything; the paths by role."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = {role: image.write(folder) for role, image in self.images.items()}
        texts = {
            "bval": " ".join(f"{b:.10g}" for b in self.bvals) + "\n",
            "bvec": "".join(" ".join(f"{x:.10g}" for x in row) + "\n" for row in self.bvecs.T),
            "regions": "\n".join(self.regions) + "\n",
            **self.texts,
        }
        for role, name in (("bval", "dwi.bval"), ("bvec", "dwi.bvec"), ("regions", "regions.tsv")):
            if texts[role]:
                paths[role] = folder / name
                paths[role].write_text(texts[role])
        for step in self.after:
            step(paths)
        return paths

    def without(self, *roles: str) -> Specimen:
        for role in roles:
            self.images.pop(role, None)
            if role == "regions":
                self.texts["regions"] = ""
        return self


@cache
def _made() -> Specimen:
    return _specimen_of(make_phantom(OPTIONS))


def _specimen_of(phantom: Phantom) -> Specimen:
    structural, grid = phantom.structural, phantom.grid
    dwi = np.zeros((*grid.shape, phantom.gradients.n_volumes), dtype=np.int16)
    for index, volume in enumerate(phantom.scan_volumes()):
        dwi[phantom.mask, index] = np.rint(volume)
    # FSL's frame of a grid with a positive determinant: x negated.
    flip = np.diag([-1.0 if grid.determinant > 0 else 1.0, 1, 1])
    regions = phantom.regions
    centroids = np.nan_to_num(regions.centroids_mm)
    lines = ["label\tname\themisphere\tstructure\tx_mm\ty_mm\tz_mm"]
    for row in range(regions.n_regions):
        place = "\t".join(f"{mm:.1f}" for mm in centroids[row])
        lines.append(
            f"{regions.labels[row]}\t{regions.names[row]}\t{regions.hemispheres[row]}\t{regions.structures[row]}\t{place}"
        )
    images = {
        "dwi": Image(dwi, grid.affine, "dwi.nii"),
        "mask": Image(phantom.mask, grid.affine, "mask.nii"),
        "t1": Image(np.rint(structural.t1).astype(np.int16), structural.t1_grid.affine, "T1w.nii"),
        "labels": Image(structural.labels.astype(np.int16), phantom.parcellation.grid.affine, "labels.nii"),
        "tissue": Image(phantom.tissue.fractions, phantom.tissue.grid.affine, "5tt.nii"),
    }
    # The b0 first, so that a fault knows where they are.
    order = np.argsort(phantom.gradients.bvals > 0, kind="stable")
    images["dwi"].values = np.ascontiguousarray(dwi[..., order])
    bvecs = (phantom.gradients.bvecs @ grid.rotation @ flip)[order]
    return Specimen(images, phantom.gradients.bvals[order], bvecs, lines)


def specimen() -> Specimen:
    """A good subject, the caller's own to change."""
    return copy.deepcopy(_made())


def stored_as(subject: Specimen, axes: tuple[int, int, int], flips: tuple[int, ...]) -> Specimen:
    """The same subject with the voxel axes of every image in another order and direction."""
    turn = np.zeros((3, 3))
    for new, old in enumerate(axes):
        turn[old, new] = -1.0 if new in flips else 1.0
    before = np.linalg.det(subject["dwi"].affine[:3, :3]) > 0
    for image in subject.images.values():
        rest = tuple(range(3, image.values.ndim))
        shape = np.array(image.values.shape[:3])[list(axes)]
        whole = np.eye(4)
        whole[:3, :3] = turn
        # Voxel 0 of a flipped axis is the last one of the old order.
        whole[:3, 3] = turn @ np.where(np.isin(range(3), flips), -(shape - 1), 0)
        image.values = np.ascontiguousarray(np.flip(image.values.transpose(*axes, *rest), flips))
        image.affine = image.affine @ whole
    after = np.linalg.det(subject["dwi"].affine[:3, :3]) > 0
    along_axes = subject.bvecs * [-1 if before else 1, 1, 1]
    subject.bvecs = (along_axes @ turn) * [-1 if after else 1, 1, 1]
    return subject


def turned(subject: Specimen, degrees: tuple[float, float]) -> Specimen:
    """The same subject with its head turned in the scanner: nothing but the affines changes."""
    a, b = np.deg2rad(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    whole = np.eye(4)
    whole[:3, :3] = about_z @ about_x
    whole[:3, 3] = (4.0, -17.0, 9.0)
    for image in subject.images.values():
        image.affine = whole @ image.affine
    return subject


def renamed(subject: Specimen, **names: str) -> Specimen:
    for role, name in names.items():
        subject.images[role] = dataclasses.replace(subject.images[role], name=name)
    return subject


def from_folder(folder: Path, with_mask: bool = False) -> Specimen:
    """A scan on disk as a specimen: b0 first; its own mask, or with `with_mask` one made from the b0."""
    from tractome.datatypes.grid import Grid
    from tractome.stages.mask import make_brain_mask

    def load(name: str, role_name: str) -> Image:
        image = nib.load(folder / name)
        return Image(np.asarray(image.dataobj), image.affine, role_name)

    bvals, bvecs = (np.loadtxt(folder / f"dwi.{kind}", ndmin=2) for kind in ("bval", "bvec"))
    bvals, bvecs = bvals.ravel(), np.nan_to_num(bvecs.T if len(bvecs) == 3 else bvecs)
    order = np.argsort(bvals > 50, kind="stable")
    images = {"dwi": load("dwi.nii.gz", "dwi.nii")}
    dwi = images["dwi"]
    dwi.values = np.ascontiguousarray(dwi.values[..., order])
    if (folder / "mask.nii.gz").exists():
        images["mask"] = load("mask.nii.gz", "mask.nii")
    elif with_mask:
        b0 = dwi.values[..., bvals[order] <= 50].mean(axis=3, dtype=np.float32)
        images["mask"] = Image(make_brain_mask(b0, Grid(b0.shape, dwi.affine)), dwi.affine, "mask.nii")
    for role, name in (("t1", "T1w"), ("labels", "labels"), ("tissue", "5tt")):
        if (folder / f"{name}.nii.gz").exists():
            images[role] = load(f"{name}.nii.gz", f"{name}.nii")
    table = folder / "regions.tsv"
    lines = table.read_text().splitlines() if table.exists() else []
    return Specimen(images, bvals[order], bvecs[order], lines, {} if lines else {"regions": ""})


def hcp_shaped(folder: Path) -> Specimen:
    """A synthetic subject with the gradient table of the Human Connectome Project, in coarse voxels."""
    from tractome.io.gradients import read_gradients
    from tractome.options import ReadOptions
    from tractome.phantom import phantom_grid

    changes = {"voxel_size_mm": 5.0, "anatomy_voxel_size_mm": 4.0, "storage": "LAS", "n_bundles": 60}
    options = dataclasses.replace(OPTIONS, **changes)
    table = read_gradients(folder / "bvals", folder / "bvecs", phantom_grid(options), None, ReadOptions()).gradients
    return _specimen_of(make_phantom(options, table))
