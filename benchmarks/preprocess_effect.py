"""A raw scan to matrices with and without preprocessing: what it changes.

    python benchmarks/preprocess_effect.py SCAN_FOLDER OUT [streamlines]

SCAN_FOLDER holds dwi.nii.gz with its gradients and T1w.nii.gz. Prints, for both ways, the share of the length of all
streamlines that lies in white matter (of the tissue map from the T1), the correlation of the strengths of left and
right regions, and the time.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np


def main() -> None:
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    n_streamlines = sys.argv[3] if len(sys.argv) > 3 else "50000"
    for way in ("no", "yes"):
        subject = one_way(folder, out / f"preprocess-{way}", way, n_streamlines)
        record = json.loads((subject / "provenance.json").read_text())["stages"]
        connect = next(stage for name, stage in record.items() if name.startswith("connect"))
        seconds = sum(stage["seconds"] for stage in record.values())
        print(
            f"preprocess {way:3}: white-matter share {white_matter_share(subject):.3f}, left/right r "
            f"{connect['facts']['homologous_strength_correlation']:.3f}, "
            f"mean FA where high {record['fit']['facts']['mean_fa_where_high']:.3f}, "
            f"unassigned {connect['facts']['unassigned_share']:.3f}, {seconds:.0f} s",
            flush=True,
        )


def one_way(folder: Path, out: Path, preprocess: str, n_streamlines: str) -> Path:
    files = ["--dwi", folder / "dwi.nii.gz", "--t1", folder / "T1w.nii.gz", "--out", out, "--subject", "01"]
    rest = ["--preprocess", preprocess, "--streamlines", n_streamlines, "--tractogram", "tck", "-q"]
    command = [sys.executable, "-m", "tractome_cli.app", "run", *map(str, files), *rest]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return out / "sub-01"


def white_matter_share(subject: Path) -> float:
    """Share of the points of all streamlines (their steps are equal) in voxels that are mostly white matter."""
    import nibabel as nib

    lines = nib.streamlines.load(next(subject.glob("tractogram/*_streamlines.tck"))).streamlines
    tissue = nib.load(next(subject.glob("**/*5tt*.nii.gz"), None) or next(subject.glob("**/*probseg.nii.gz")))
    white = np.asarray(tissue.dataobj[..., 2])
    voxels = np.rint(nib.affines.apply_affine(np.linalg.inv(tissue.affine), lines.get_data())).astype(int)
    inside = ((voxels >= 0) & (voxels < white.shape)).all(axis=1)
    return float((white[tuple(voxels[inside].T)] > 0.5).sum() / len(voxels))


if __name__ == "__main__":
    main()
