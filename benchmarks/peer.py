"""MRtrix3's recipes on a subject folder, its best one and its usual ones, kept by hash so that each runs once.

    python benchmarks/peer.py DIR [--variants ifod2-22.5,...|all] [--select 20000] [--lmax 8] [--threads 2]

DIR holds dwi.nii.gz, dwi.bval, dwi.bvec, mask.nii.gz, labels.nii.gz (regions 1..N), 5tt.nii.gz and, to be scored, the
true counts as truth.csv or truth_count.tsv with or without u_fibre_edges.tsv.

The best recipe: ``dwi2response tournier``, ``dwi2fod csd`` on the highest shell with lmax 8, ``tckgen -algorithm iFOD2
-angle 22.5 -act 5tt -cutoff 0.06 -maxlength 250`` seeded in all white matter until 20,000 streamlines are selected,
``tck2connectome -symmetric -zero_diagonal`` (radial search of 4 mm). ``--lmax 0`` leaves lmax to MRtrix3, which takes
it from the number of directions: use it beside lmax 8 for schemes of few directions, and compare with the better one.

What is made lies in benchmarks/.cache (git-ignored):

- ``fod-HASH/wmfod.nii.gz, response.txt, white.nii.gz``: HASH is of the inputs and of the commands;
- ``tracks-HASH/count.csv``: one matrix per variant, HASH of the FOD's hash, labels, tissue map and commands;
- ``tissues-HASH/wm.txt, gm.txt, csf.txt``: the responses of ``dwi2response dhollander``;
- ``steps.json`` in each: wall and processor seconds and peak MiB of every command.

The last lines printed are one JSON object per variant, with its scores and the paths of its FOD and matrix.
Needs MRtrix3 on the PATH (Debian: mrtrix3). It is a yardstick only; tractome never calls it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from measure import run_measured
from truth import read_edges, read_matrix, score, touching_edges

CACHE = Path(__file__).parent / ".cache"
VARIANTS = {
    "ifod2-22.5": ("iFOD2", "22.5"),
    "ifod1-22.5": ("iFOD1", "22.5"),
    "ifod2-45": ("iFOD2", "45"),
    "ifod1-45": ("iFOD1", "45"),
}
BEST = "ifod2-22.5"


def _hash(files: Sequence[Path], commands: Sequence[Sequence[str]]) -> str:
    """Of the content of all input files and of the commands, before paths are put in."""
    digest = hashlib.sha256(json.dumps(commands).encode())
    for path in files:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _cached(
    name: str, commands: Sequence[Sequence[str]], places: Mapping[str, Path], threads: int, seed: int = 1
) -> Path:
    """Run `commands`, ``{out}`` and `places` put in, unless their folder is there; a folder appears only when whole."""
    folder = CACHE / name
    if folder.exists():
        return folder
    CACHE.mkdir(exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=CACHE))
    steps = {}
    try:
        for number, command in enumerate(commands):
            filled = [part.format(out=work, **places) for part in command]
            filled += ["-force", "-nthreads", str(threads)]
            measured = run_measured(filled, work / f"{number}-{command[0]}.log", {"MRTRIX_RNG_SEED": str(seed)})
            steps[command[0]] = asdict(measured)
        (work / "steps.json").write_text(json.dumps(steps, indent=1) + "\n")
        for heavy in work.glob("*.tck"):
            heavy.unlink()
        os.replace(work, folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return folder


def _places(subject: Path) -> dict[str, Path]:
    names = {"dwi": "dwi.nii.gz", "bval": "dwi.bval", "bvec": "dwi.bvec", "mask": "mask.nii.gz"}
    names |= {"labels": "labels.nii.gz", "tissue": "5tt.nii.gz"}
    return {key: subject / name for key, name in names.items()}


def fod(subject: Path, *, lmax: int = 8, threads: int = 2) -> Path:
    """Folder with wmfod.nii.gz, response.txt and white.nii.gz (where 5tt's white matter is above one half)."""
    places = _places(subject)
    gradients = ["-fslgrad", "{bvec}", "{bval}", "-mask", "{mask}"]
    commands = [
        ["mrconvert", "{tissue}", "{out}/white_fraction.nii.gz", "-coord", "3", "2", "-axes", "0,1,2"],
        ["mrthreshold", "{out}/white_fraction.nii.gz", "{out}/white.nii.gz", "-abs", "0.5"],
    ]
    deconvolve = ["dwi2fod", "csd", "{dwi}", "RESPONSE", "{out}/wmfod.nii.gz", *gradients]
    if lmax == 8:
        deconvolve += ["-lmax", "8"]
        response = ["dwi2response", "tournier", "{dwi}", "{out}/response.txt", *gradients, "-scratch", "{out}"]
        commands = [response, deconvolve, *commands]
    else:
        # The response takes most of the time and does not depend on lmax.
        places["base"] = fod(subject, threads=threads)
        deconvolve += ["-lmax", str(lmax)] if lmax else []
        commands = [deconvolve, *commands]
    deconvolve[3] = "{out}/response.txt" if lmax == 8 else "{base}/response.txt"
    inputs = [places[key] for key in ("dwi", "bval", "bvec", "mask", "tissue")]
    return _cached(f"fod-{_hash(inputs, commands)}", commands, places, threads)


def tissue_responses(subject: Path, *, threads: int = 2) -> dict[str, Path]:
    """Response texts of white matter, grey matter and CSF, by tissue."""
    places = _places(subject)
    texts = {name: "{out}/" + f"{name}.txt" for name in ("wm", "gm", "csf")}
    command = ["dwi2response", "dhollander", "{dwi}", *texts.values(), "-fslgrad", "{bvec}", "{bval}"]
    command += ["-mask", "{mask}", "-scratch", "{out}"]
    key = _hash([places[name] for name in ("dwi", "bval", "bvec", "mask")], [command])
    folder = _cached(f"tissues-{key}", [command], places, threads)
    return {name: folder / f"{name}.txt" for name in texts}


def connectome(
    subject: Path, variant: str = BEST, *, select: int = 20_000, lmax: int = 8, threads: int = 2, seed: int = 1
) -> Path:
    """Folder with count.csv of one tracking variant and one random seed."""
    field = fod(subject, lmax=lmax, threads=threads)
    algorithm, angle = VARIANTS[variant]
    places = _places(subject) | {"fod": field}
    track = ["tckgen", "{fod}/wmfod.nii.gz", "{out}/tracks.tck", "-algorithm", algorithm, "-angle", angle]
    track += ["-act", "{tissue}", "-cutoff", "0.06", "-maxlength", "250", "-seed_image", "{fod}/white.nii.gz"]
    track += ["-select", str(select)]
    commands = [
        track,
        ["tck2connectome", "{out}/tracks.tck", "{labels}", "{out}/count.csv", "-symmetric", "-zero_diagonal"],
    ]
    named = [[field.name], *commands, *([[f"seed {seed}"]] if seed != 1 else [])]
    key = _hash([places["labels"], places["tissue"]], named)
    return _cached(f"tracks-{key}", commands, places, threads, seed)


def score_folder(matrix_path: Path, subject: Path) -> dict[str, float]:
    """Score a matrix with the truth that lies in the subject's folder; nothing where there is none."""
    named, plain = subject / "truth_count.tsv", subject / "truth.csv"
    truth_path = named if named.exists() else plain
    if not truth_path.exists():
        return {}
    truth = read_matrix(truth_path)
    listed = subject / "u_fibre_edges.tsv"
    if listed.exists():
        edges = read_edges(listed, named.read_text().splitlines()[0].split("\t")[1:])
    else:
        edges = touching_edges(subject / "labels.nii.gz", truth)
    return score(read_matrix(matrix_path), truth, edges)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subject", type=Path)
    parser.add_argument("--variants", default=BEST, help=f"comma between, or all; of {', '.join(VARIANTS)}")
    parser.add_argument("--select", type=int, default=20_000)
    parser.add_argument("--lmax", type=int, default=8, help="0: MRtrix3's own choice")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    for variant in VARIANTS if given.variants == "all" else given.variants.split(","):
        field = fod(given.subject, lmax=given.lmax, threads=given.threads)
        folder = connectome(given.subject, variant, select=given.select, lmax=given.lmax, threads=given.threads)
        steps = json.loads((field / "steps.json").read_text()) | json.loads((folder / "steps.json").read_text())
        line = {
            "variant": variant,
            "lmax": given.lmax,
            **score_folder(folder / "count.csv", given.subject),
            "fod": str(field / "wmfod.nii.gz"),
            "matrix": str(folder / "count.csv"),
            "wall_s": {name: round(step["wall_s"], 2) for name, step in steps.items()},
        }
        print(json.dumps(line))


if __name__ == "__main__":
    main()
