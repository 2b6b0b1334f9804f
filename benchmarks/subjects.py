"""The subjects that benchmarks run on: the shared yardstick where it is present, and phantoms of other wiring."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

from tractome.options import PhantomOptions

ROOT = Path(__file__).parents[1]
CACHE = Path(__file__).parent / ".cache"
PROGRAM = Path(sys.executable).parent / "tractome"

PHANTOMS = {
    "two-shells": PhantomOptions(random_seed=11),
    "hcp-like": PhantomOptions(
        random_seed=37, voxel_size_mm=2.5, shells=(1000.0, 2000.0, 3000.0), directions=(90, 90, 90), n_b0=18
    ),
    "b1000-30dir": PhantomOptions(random_seed=23, shells=(1000.0,), directions=(30,), n_b0=4),
    "oblique-2x2x3": PhantomOptions(
        random_seed=53, storage="oblique", slice_thickness_mm=3.0, shells=(1000.0, 2500.0), directions=(30, 45)
    ),
}
"""The wiring follows from the random seed."""

UNSEEN = {
    "seed-101": PhantomOptions(random_seed=101),
    "clinical-164": PhantomOptions(
        random_seed=102, voxel_size_mm=2.5, shells=(1000.0,), directions=(30,), n_b0=2, storage="LAS",
        n_cortical=150, n_bundles=250, n_u_fibres=120,
    ),
    "dense-103": PhantomOptions(random_seed=103, n_bundles=300, n_u_fibres=30),
}  # fmt: skip
"""Of other wiring still, to judge what was chosen on those."""


def shared_data() -> Path:
    given = os.environ.get("TRACTOME_SHARED_DATA")
    return Path(given) if given else ROOT.parent / "shared" / "data"


def phantom(name: str) -> Path:
    """Folder of a phantom, made again when its options or the code of phantoms changed."""
    from tractome.phantom import make_phantom, write_phantom

    options = {**PHANTOMS, **UNSEEN}[name]
    digest = hashlib.sha256(repr(options).encode())
    for path in sorted((ROOT / "tractome" / "phantom").glob("*.py")):
        digest.update(path.read_bytes())
    folder = CACHE / "phantoms" / f"{name}-{digest.hexdigest()[:12]}"
    if not folder.exists():
        work = folder.with_name(folder.name + ".making")
        shutil.rmtree(work, ignore_errors=True)
        work.parent.mkdir(parents=True, exist_ok=True)
        write_phantom(work, make_phantom(options))
        os.replace(work, folder)
    return folder


def subjects(names: list[str]) -> dict[str, Path]:
    """Folder of each named subject that can be had: phantom_2mm and the keys of `PHANTOMS` and `UNSEEN`."""
    found = {}
    for name in names:
        if name in PHANTOMS or name in UNSEEN:
            found[name] = phantom(name)
        elif (shared_data() / name / "dwi.nii.gz").exists():
            found[name] = shared_data() / name
        else:
            print(f"{name}: not here, left out", file=sys.stderr)
    return found
