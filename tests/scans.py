"""Small scans for tests: one known tensor per voxel, stored in any order of axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SHAPE = (5, 6, 4)


def _affines() -> dict[str, NDArray[np.float64]]:
    def affine(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        whole = np.eye(4)
        whole[:3, :3] = matrix
        whole[:3, 3] = -matrix @ (np.array(SHAPE) - 1) / 2 + (3.0, -11.0, 7.0)
        return whole

    c, s = np.cos(0.4), np.sin(0.4)
    about_x = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    c, s = np.cos(-0.3), np.sin(-0.3)
    about_z = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    sizes = np.diag([2.0, 2.2, 2.5])
    flip = np.diag([-1.0, 1, 1])
    return {
        "RAS": affine(sizes),
        "LAS": affine(flip @ sizes),
        "LPS": affine(np.diag([-1.0, -1, 1]) @ sizes),
        "LPI": affine(-sizes),
        "oblique": affine(about_z @ about_x @ sizes),
        "oblique-LAS": affine(about_z @ about_x @ flip @ sizes),
        "sagittal": affine(np.array([[0.0, 0, -1], [1, 0, 0], [0, 1, 0]]) @ sizes),
        "coronal": affine(np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]]) @ sizes),
    }


AFFINES = _affines()


def sphere(n: int) -> NDArray[np.float64]:
    """Directions spread over the sphere (a Fibonacci lattice), (n, 3)."""
    z = (np.arange(n) + 0.5) / n * 2 - 1
    phi = np.arange(n) * np.pi * (3 - np.sqrt(5))
    return np.stack([np.sqrt(1 - z * z) * np.cos(phi), np.sqrt(1 - z * z) * np.sin(phi), z], axis=1)


def fsl_vectors(world: NDArray[np.float64], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """World directions as FSL stores them, written out from FSL's own words.

    Components along the voxel axes i, j, k; then the first one changes sign when the affine's determinant is positive.
    """
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    vectors = np.array([[float(direction @ axes[:, axis]) for axis in range(3)] for direction in world])
    if np.linalg.det(affine) > 0:
        vectors[:, 0] *= -1
    return vectors


def tensor_signal(
    bvals: NDArray[np.float64], world: NDArray[np.float64], axis: NDArray[np.float64], s0: float = 1000.0
) -> NDArray[np.float64]:
    """Signal of an axially symmetric tensor along `axis`, (v,): 1.7e-3 along it and 0.3e-3 mm2/s across."""
    return s0 * np.exp(-bvals * (0.3e-3 + 1.4e-3 * (world @ axis) ** 2))


def principal_axis(
    signal: NDArray[np.float64], bvals: NDArray[np.float64], bvecs: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Direction of fastest diffusion by ordinary least squares, (3,): the simplest fit there is."""
    x, y, z = bvecs.T
    design = np.stack([x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z], axis=1) * -bvals[:, None]
    solution = np.linalg.lstsq(np.column_stack([design, np.ones(len(bvals))]), np.log(signal), rcond=None)[0]
    xx, yy, zz, xy, xz, yz = solution[:6]
    return np.linalg.eigh(np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]))[1][:, 2]


def write_text(path: Path, rows: NDArray[np.float64], separator: str = " ") -> Path:
    path.write_text("".join(separator.join(f"{value:.10g}" for value in row) + "\n" for row in np.atleast_2d(rows)))
    return path


def write_nifti(
    path: Path,
    array: NDArray[np.generic],
    affine: NDArray[np.float64] | None,
    slope: float | None = None,
    inter: float = 0.0,
    codes: tuple[int, int] = (1, 1),
) -> Path:
    """Write with nibabel, so that our writer is not its own witness; codes are (sform, qform)."""
    import nibabel as nib

    image = nib.Nifti1Image(array, affine)
    image.header.set_sform(affine, code=codes[0])
    image.header.set_qform(affine, code=codes[1])
    image.set_sform(affine, code=codes[0])
    image.set_qform(affine, code=codes[1])
    if slope is not None:
        image.header.set_slope_inter(slope, inter)
    nib.save(image, path)
    return path


def write_scan(
    folder: Path,
    storage: str = "LAS",
    bvals: NDArray[np.float64] | None = None,
    world: NDArray[np.float64] | None = None,
    axis: tuple[float, float, float] = (1.0, 2.0, -0.5),
    dtype: str = "float32",
) -> tuple[Path, Path, Path]:
    """Write dwi.nii.gz, dwi.bval and dwi.bvec with one tensor everywhere along `axis` (world)."""
    if bvals is None:
        bvals = np.array([0.0, 0.0] + [1000.0] * 12)
    if world is None:
        world = np.concatenate([np.zeros((int((bvals == 0).sum()), 3)), sphere(int((bvals > 0).sum()))])
    direction = np.array(axis) / np.linalg.norm(axis)
    volumes = np.broadcast_to(tensor_signal(bvals, world, direction), (*SHAPE, len(bvals))).astype(dtype)
    folder.mkdir(parents=True, exist_ok=True)
    write_nifti(folder / "dwi.nii.gz", volumes, AFFINES[storage])
    write_text(folder / "dwi.bval", bvals)
    write_text(folder / "dwi.bvec", fsl_vectors(world, AFFINES[storage]).T)
    return folder / "dwi.nii.gz", folder / "dwi.bval", folder / "dwi.bvec"
