"""One job of DIPY as a process of its own; the same files in, files out, facts as the last line.

    python benchmarks/dipy_jobs.py tensors --dwi DWI --bval BVAL --bvec BVEC --mask MASK --out DIR
    python benchmarks/dipy_jobs.py csd ... --response wm.txt
    python benchmarks/dipy_jobs.py track --fod FOD --fa FA --points SEEDS.npy --out DIR [--step ...] [--angle ...]

DIPY is used as its documentation does, on two threads where it has a way to: CSD by voxel blocks through joblib,
tracking through ``nbr_threads``. Gradients stay in the axes of the image, as DIPY reads them; the grids used here have
axes along the world's, so that directions of MRtrix3's FODs are directions in DIPY too.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

STARTED = time.perf_counter()
N_THREADS = 2


def _scan(given: argparse.Namespace) -> tuple[Any, np.ndarray, np.ndarray, Any]:
    import nibabel
    from dipy.core.gradients import gradient_table
    from dipy.io.gradients import read_bvals_bvecs

    image = nibabel.load(given.dwi)
    bvals, bvecs = read_bvals_bvecs(str(given.bval), str(given.bvec))
    mask = np.asarray(nibabel.load(given.mask).dataobj) > 0.5
    return image, mask, np.asarray(image.dataobj), gradient_table(bvals, bvecs=bvecs)


def _save(values: np.ndarray, image: Any, path: Path) -> None:
    import nibabel

    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), image.affine), path)


def tensors(given: argparse.Namespace) -> dict[str, Any]:
    """Weighted least squares, all volumes, FA and MD."""
    from dipy.reconst.dti import TensorModel

    image, mask, signal, gradients = _scan(given)
    found = TensorModel(gradients, fit_method="WLS").fit(signal, mask=mask)
    _save(np.nan_to_num(found.fa), image, given.out / "fa.nii")
    _save(np.nan_to_num(found.md), image, given.out / "md.nii")
    return {"n_voxels": int(mask.sum())}


def csd(given: argparse.Namespace) -> dict[str, Any]:
    """Constrained spherical deconvolution of the highest shell, MRtrix3's response."""
    from dipy.core.gradients import gradient_table
    from dipy.reconst.csdeconv import AxSymShResponse, ConstrainedSphericalDeconvModel

    from tractome.io.responses import read_response

    image, mask, signal, gradients = _scan(given)
    highest = gradients.bvals > gradients.bvals.max() - 100
    kept = highest | gradients.b0s_mask
    single = gradient_table(gradients.bvals[kept], bvecs=gradients.bvecs[kept])
    response = AxSymShResponse(
        float(signal[mask][:, gradients.b0s_mask].mean()), read_response(given.response).zonal[0]
    )
    model = ConstrainedSphericalDeconvModel(single, response, sh_order_max=8)
    found = model.fit(np.ascontiguousarray(signal[..., kept]), mask=mask, engine="joblib", n_jobs=N_THREADS)
    coefficients = np.zeros((*mask.shape, 45), np.float32)
    coefficients[mask] = [fit.shm_coeff for fit in found.fit_array[mask]]
    _save(coefficients, image, given.out / "fod.nii")
    return {"n_voxels": int(mask.sum())}


def track(given: argparse.Namespace) -> dict[str, Any]:
    """`probabilistic_tracking` from given points, stopped by FA, over a field of 724 directions in memory."""
    import nibabel
    from dipy.data import get_sphere
    from dipy.io.stateful_tractogram import Space, StatefulTractogram
    from dipy.io.streamline import save_tck
    from dipy.tracking.stopping_criterion import ThresholdStoppingCriterion
    from dipy.tracking.tracker import probabilistic_tracking

    from tractome.kernels.harmonics import sh_basis

    image = nibabel.load(given.fod)
    sphere = get_sphere(name="repulsion724")
    # In double precision at once: DIPY would make a second copy.
    amplitudes = np.asarray(image.dataobj, dtype=np.float64) @ sh_basis(sphere.vertices, 8).T
    # DIPY's threshold is a share of the largest amplitude of each position; the cutoff of the others is absolute.
    amplitudes[amplitudes < given.cutoff] = 0
    fa = nibabel.load(given.fa)
    stop = ThresholdStoppingCriterion(np.asarray(fa.dataobj, dtype=np.float64), given.fa_threshold)
    seeds = np.load(given.points)
    begun = time.perf_counter()
    found = probabilistic_tracking(
        seeds, stop, image.affine, sf=amplitudes, sphere=sphere, step_size=given.step,
        max_angle=given.angle, min_len=int(given.minlength), max_len=int(given.maxlength), pmf_threshold=0.0,
        nbr_threads=N_THREADS, random_seed=0, return_all=True,
    )  # fmt: skip
    streamlines = list(found)
    seconds = time.perf_counter() - begun
    save_tck(StatefulTractogram(streamlines, fa, Space.RASMM), str(given.out / "tracks.tck"), bbox_valid_check=False)
    n_points = int(sum(len(streamline) for streamline in streamlines))
    return {
        "n_seeds": len(seeds),
        "n_accepted": len(streamlines),
        "n_points": n_points,
        "seconds": {"track": seconds},
    }


JOBS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {"tensors": tensors, "csd": csd, "track": track}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=JOBS)
    for name in ("dwi", "bval", "bvec", "mask", "fod", "fa", "points", "response", "out"):
        parser.add_argument(f"--{name}", type=Path)
    for name in ("step", "angle", "cutoff", "fa-threshold", "minlength", "maxlength"):
        parser.add_argument(f"--{name}", type=float)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    print(json.dumps({**JOBS[given.job](given), "inside_s": time.perf_counter() - STARTED}))


if __name__ == "__main__":
    main()
