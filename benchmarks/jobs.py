"""One job of tractome as a process of its own, so that time and memory are measured as for any other program.

    python benchmarks/jobs.py tensors SUBJECT OUT
    python benchmarks/jobs.py csd SUBJECT OUT
    python benchmarks/jobs.py track FOD SUBJECT OUT --select 2000

Each reads files, computes and writes files, with the options that make it the same work as the peer's.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tractome.options import FitOptions, ReadOptions, TrackOptions


def _read(subject: Path):
    from tractome.io.subjects import read_diffusion

    names = ("dwi.nii.gz", "dwi.bval", "dwi.bvec", "mask.nii.gz")
    dwi, bval, bvec, mask = (subject / name for name in names)
    return read_diffusion(dwi, bval, bvec, mask, ReadOptions(), None).image


def tensors(subject: Path, out: Path) -> None:
    """Weighted least squares on every volume (as dwi2tensor does), FA and MD."""
    from tractome.io.images import write_scalar_map
    from tractome.stages.fit import fit_tensors, tensor_maps

    maps = tensor_maps(fit_tensors(_read(subject), FitOptions(tensor_max_b_s_per_mm2=1e6)))
    for name in ("fa", "md"):
        write_scalar_map(out / f"{name}.nii.gz", maps[name], {})


def csd(subject: Path, out: Path) -> None:
    """Response and CSD of the highest shell; the tensors that the response needs are part of it."""
    from tractome.io.images import write_orientation_field
    from tractome.stages.fit import estimate_response, fit_fods, fit_tensors

    options = FitOptions(model="csd", lmax=8)
    image = _read(subject)
    response = estimate_response(image, fit_tensors(image, options), options)
    write_orientation_field(out / "wmfod.nii.gz", fit_fods(image, response, options, None), {})


def track(fod: Path, subject: Path, out: Path, select: int) -> None:
    """Anatomically constrained probabilistic tracking of a given FOD image, into a .tck file."""
    from tractome.io.images import read_orientation_field, read_tissue
    from tractome.io.tractograms import TractogramWriter
    from tractome.stages.track import track as track_blocks

    field = read_orientation_field(fod, subject / "mask.nii.gz")
    tissue = read_tissue(subject / "5tt.nii.gz")
    options = TrackOptions(n_streamlines=select)
    with TractogramWriter(out / "tracks.tck", field.grid) as writer:
        for block in track_blocks(field, options, tissue=tissue, fa=None, seed_mask=None, progress=None):
            writer.write(block)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=("tensors", "csd", "track"))
    parser.add_argument("paths", type=Path, nargs="+")
    parser.add_argument("--select", type=int, default=2000)
    given = parser.parse_args()
    if given.job == "track":
        track(*given.paths, given.select)
    else:
        {"tensors": tensors, "csd": csd}[given.job](*given.paths)


if __name__ == "__main__":
    main()
