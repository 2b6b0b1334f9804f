"""The header of one image: does it agree with itself, and are its voxels those of a scan of a person?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.datatypes.header import HeaderFacts
from tractome.stages.check.inspection import Inspection


def check_header(inspection: Inspection, about: str, name: str, grid: Grid, header: HeaderFacts) -> None:
    """Check one image's header.

    Parameters
    ----------
    inspection : Inspection
    about : str
        Role of the image: ``"dwi"``, ``"mask"``, ...
    name : str
        Of the file, for messages.
    grid : Grid
        As `open_nifti` takes it: the sform where it is coded.
    header : HeaderFacts
    """
    inspection.facts[f"{about} grid"] = grid.describe()
    _check_forms(inspection, about, name, header)
    _check_sizes(inspection, about, name, grid, header)


def _check_forms(inspection: Inspection, about: str, name: str, header: HeaderFacts) -> None:
    if header.sform is None or header.qform is None:
        return
    apart_mm = _largest_disagreement(header)
    size = float(np.linalg.norm(header.sform[:3, :3], axis=0).mean())
    beyond = inspection.is_beyond("header.disagreement_vox", apart_mm / size)
    if np.linalg.det(header.sform[:3, :3]) * np.linalg.det(header.qform[:3, :3]) < 0:
        message = (
            f"{name}: sform and qform disagree about left and right. One of them is wrong, and programs differ in "
            "which one they take (here the sform); convert the scan again, or copy the right one over the other."
        )
        inspection.find("header-flips", message, about=about, apart_mm=apart_mm)
    elif beyond:
        message = (
            f"{name}: sform and qform put the voxels up to {apart_mm:.1f} mm apart. Programs differ in which one they "
            "take (here the sform); set both to the right one, for example with fslorient or nibabel."
        )
        inspection.find("header-disagrees", message, about=about, apart_mm=apart_mm)


def _largest_disagreement(header: HeaderFacts) -> float:
    """Largest distance (mm) between the two places of a corner of the image."""
    assert header.sform is not None and header.qform is not None
    ends: NDArray[np.float64] = np.array([(i, j, k, 1) for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=float)
    ends[:, :3] *= np.array(header.shape) - 1
    return float(np.linalg.norm((ends @ (header.sform - header.qform).T)[:, :3], axis=1).max())


def _check_sizes(inspection: Inspection, about: str, name: str, grid: Grid, header: HeaderFacts) -> None:
    sizes = grid.voxel_sizes_mm
    listed = " x ".join(f"{size:.3g}" for size in sizes)
    error = float(np.abs(header.zooms_mm / sizes - 1).max())
    if inspection.is_beyond("header.size_error", error) and header.qform is None:
        stated = " x ".join(f"{zoom:.3g}" for zoom in header.zooms_mm)
        message = (
            f"{name}: the header states voxels of {stated} mm, its sform {listed} mm. Programs differ in which one "
            "they take (here the sform); set the header right, for example with nibabel."
        )
        inspection.find("header-voxel-size", message, about=about, error=error)
    axes = grid.affine[:3, :3] / sizes
    shear = float(np.abs((axes.T @ axes)[np.triu_indices(3, 1)]).max())
    if inspection.is_beyond("header.shear", shear):
        message = (
            f"{name}: the voxel axes are not at right angles (cosine {shear:.2f}). Directions given in image axes have "
            "no exact meaning then; resample the image to a grid with right angles, or give the original."
        )
        inspection.find("sheared-affine", message, about=about, cosine=shear)
    small = inspection.is_beyond("header.smallest_voxel_mm", float(sizes.min()))
    if inspection.is_beyond("header.largest_voxel_mm", float(sizes.max())) or small:
        message = (
            f"{name}: voxels of {listed} mm are not those of a scan of a person. Is the header in metres or "
            "micrometres, or was the voxel size lost? Every length and volume would be wrong; set it right."
        )
        inspection.find("odd-voxel-size", message, about=about, sizes_mm=[float(size) for size in sizes])
    elif about == "dwi" and inspection.is_beyond("dwi.anisotropy", float(sizes.max() / sizes.min())):
        message = (
            f"{name}: voxels of {listed} mm are much longer one way. Streamlines across that way are unreliable; "
            "say so with the results, or acquire more even voxels."
        )
        inspection.find("anisotropic-voxels", message, sizes_mm=[float(size) for size in sizes])
