"""Files that both programs read in a comparison, made once and kept in benchmarks/.cache by hash.

Speed is measured on uncompressed files, so that neither program's time is that of a decompressor.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from subjects import CACHE, subjects

SMALL_MASK_VOXELS = 20_000
HCP_SHAPE = (145, 174, 145)
HCP_VOXEL_MM = 1.25


@dataclass(frozen=True)
class Scan:
    """A diffusion scan as files: one folder for every kind of fit."""

    dwi: Path
    bval: Path
    bvec: Path
    mask: Path
    n_voxels: int
    n_volumes: int

    def gradients(self) -> list[str]:
        """The gradient table as MRtrix3 takes it."""
        return ["-fslgrad", str(self.bvec), str(self.bval)]


def made_once(name: str, key: str, make: Callable[[Path], None]) -> Path:
    """Folder ``name-HASH`` of the cache; `make` fills it where it is not there, and it appears only when whole."""
    folder = CACHE / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    if not folder.exists():
        work = folder.with_name(folder.name + ".making")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        make(work)
        os.replace(work, folder)
    return folder


def _stamp(path: Path) -> str:
    """What identifies a file: its place where that has a hash in it already, else its content."""
    if path.parent.parent == CACHE:
        return f"{path.parent.name}/{path.name}"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def uncompressed(path: Path, name: str) -> Path:
    """An image as .nii."""
    import nibabel

    def make(folder: Path) -> None:
        nibabel.save(nibabel.load(path), folder / f"{name}.nii")

    return made_once(f"plain-{name}", _stamp(path), make) / f"{name}.nii"


def thinned_mask(mask: Path, n_voxels: int) -> Path:
    """Every k-th voxel of a mask, about `n_voxels` of them exactly counted: all tissues in their own shares."""
    import nibabel

    def make(folder: Path) -> None:
        image = nibabel.load(mask)
        inside = np.asarray(image.dataobj) > 0.5
        rows = np.flatnonzero(inside)
        kept = rows[np.linspace(0, len(rows) - 1, min(n_voxels, len(rows))).astype(int)]
        thinned = np.zeros(inside.size, np.uint8)
        thinned[kept] = 1
        nibabel.save(nibabel.Nifti1Image(thinned.reshape(inside.shape), image.affine), folder / "mask.nii")

    return made_once(f"mask-{n_voxels}", _stamp(mask), make) / "mask.nii"


def count_voxels(mask: Path) -> int:
    """Voxels inside a mask."""
    import nibabel

    return int(np.count_nonzero(np.asarray(nibabel.load(mask).dataobj) > 0.5))


def scan(subject: Path, max_voxels: int | None = None) -> Scan:
    """The scan of a subject folder, uncompressed, on its whole mask or a thinned one."""
    bval, bvec = subject / "dwi.bval", subject / "dwi.bvec"
    mask = uncompressed(subject / "mask.nii.gz", "mask")
    if max_voxels is not None:
        mask = thinned_mask(mask, max_voxels)
    dwi = uncompressed(subject / "dwi.nii.gz", "dwi")
    return Scan(dwi, bval, bvec, mask, count_voxels(mask), len(bval.read_text().split()))


def with_mask(given: Scan, mask: Path) -> Scan:
    """The same scan on another mask."""
    return Scan(given.dwi, given.bval, given.bvec, mask, count_voxels(mask), given.n_volumes)


def first_volumes(given: Scan, n_volumes: int) -> Scan:
    """The same scan with fewer volumes, taken evenly, so that every shell keeps its share."""
    import nibabel

    chosen = np.linspace(0, given.n_volumes - 1, n_volumes).astype(int)

    def make(folder: Path) -> None:
        source = nibabel.load(given.dwi)
        chosen_image = nibabel.Nifti1Image(np.asarray(source.dataobj)[..., chosen], source.affine)
        nibabel.save(chosen_image, folder / "dwi.nii")
        np.savetxt(folder / "dwi.bval", np.loadtxt(given.bval)[None, chosen], fmt="%g")
        np.savetxt(folder / "dwi.bvec", np.loadtxt(given.bvec)[:, chosen], fmt="%.8f")

    folder = made_once(f"volumes-{n_volumes}", _stamp(given.dwi), make)
    files = (folder / name for name in ("dwi.nii", "dwi.bval", "dwi.bvec"))
    return Scan(*files, given.mask, given.n_voxels, n_volumes)


def hcp_size(n_volumes: int | None = None) -> Scan:
    """A scan of the HCP's size: 145 x 174 x 145 voxels of 1.25 mm, 288 volumes, float32, 4.2 GB, uncompressed.

    Made from the ``hcp-like`` phantom of 2.5 mm: every voxel stands for eight, each with noise of its own. Fits take
    one voxel at a time, so speed and memory are those of a scan of that size.
    """
    source = subjects(["hcp-like"])["hcp-like"]

    def make(folder: Path) -> None:
        _write_hcp_size(source, folder, n_volumes)

    folder = made_once("hcp-size", f"{_stamp(source / 'dwi.nii.gz')} {n_volumes}", make)
    dwi, mask = folder / "dwi.nii", folder / "mask.nii"
    bval = folder / "dwi.bval"
    return Scan(dwi, bval, folder / "dwi.bvec", mask, count_voxels(mask), len(bval.read_text().split()))


def _write_hcp_size(source: Path, folder: Path, n_volumes: int | None) -> None:
    import nibabel

    image = nibabel.load(source / "dwi.nii.gz")
    small = np.asarray(image.dataobj, dtype=np.float32)[..., :n_volumes]
    small_mask = np.asarray(nibabel.load(source / "mask.nii.gz").dataobj) > 0.5
    affine = np.diag([HCP_VOXEL_MM, HCP_VOXEL_MM, HCP_VOXEL_MM, 1.0])
    affine[:3, 3] = image.affine[:3, 3]

    def enlarge(volume: np.ndarray) -> np.ndarray:
        doubled = volume.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
        # In the middle of the HCP's box, cut where the head is larger.
        large = np.zeros(HCP_SHAPE, volume.dtype)
        cuts = [max(0, (have - want) // 2) for have, want in zip(doubled.shape, HCP_SHAPE, strict=True)]
        pads = [max(0, (want - have) // 2) for have, want in zip(doubled.shape, HCP_SHAPE, strict=True)]
        sizes = [min(have, want) for have, want in zip(doubled.shape, HCP_SHAPE, strict=True)]
        into = tuple(slice(pad, pad + size) for pad, size in zip(pads, sizes, strict=True))
        large[into] = doubled[tuple(slice(cut, cut + size) for cut, size in zip(cuts, sizes, strict=True))]
        return large

    mask = enlarge(small_mask.astype(np.uint8))
    nibabel.save(nibabel.Nifti1Image(mask, affine), folder / "mask.nii")
    header = nibabel.Nifti1Image(np.zeros((1, 1, 1, 1), np.float32), affine).header
    header.set_data_shape((*HCP_SHAPE, small.shape[3]))
    rng = np.random.default_rng(0)
    with (folder / "dwi.nii").open("wb") as stream:
        header["vox_offset"] = 352
        header["magic"] = b"n+1"
        stream.write(header.binaryblock + bytes(4))
        for index in range(small.shape[3]):
            volume = enlarge(small[..., index])
            volume *= mask * (1 + 0.03 * rng.standard_normal(HCP_SHAPE, np.float32))
            stream.write(volume.tobytes(order="F"))
    for name in ("bval", "bvec"):
        rows = np.atleast_2d(np.loadtxt(source / f"dwi.{name}"))[:, :n_volumes]
        np.savetxt(folder / f"dwi.{name}", rows, fmt="%.8g")
