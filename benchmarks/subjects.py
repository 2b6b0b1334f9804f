"""The subjects that benchmarks run on: the shared yardstick where it is present, and phantoms of other wiring."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CACHE = Path(__file__).parent / ".cache"
PROGRAM = Path(sys.executable).parent / "tractome"

PHANTOMS = {
    "two-shells": ["--seed", "11"],
    "b1000-30dir": ["--seed", "23", "--shells", "1000", "--directions", "30", "--b0", "4"],
}
"""Arguments of `tractome phantom`; the wiring follows from the random seed."""


def shared_data() -> Path:
    given = os.environ.get("TRACTOME_SHARED_DATA")
    return Path(given) if given else ROOT.parent / "shared" / "data"


def phantom(name: str) -> Path:
    """Folder of a phantom, made when its arguments or the code of phantoms changed."""
    digest = hashlib.sha256(json.dumps(PHANTOMS[name]).encode())
    for path in [*sorted((ROOT / "tractome").glob("phantom*/**/*.py")), ROOT / "tractome" / "options.py"]:
        digest.update(path.read_bytes())
    folder = CACHE / "phantoms" / f"{name}-{digest.hexdigest()[:12]}"
    if not folder.exists():
        work = folder.with_name(folder.name + ".making")
        shutil.rmtree(work, ignore_errors=True)
        work.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([PROGRAM, "phantom", work, *PHANTOMS[name]], check=True)
        os.replace(work, folder)
    return folder


def subjects(names: list[str]) -> dict[str, Path]:
    """Folder of each named subject that can be had: phantom_2mm and the keys of `PHANTOMS`."""
    found = {}
    for name in names:
        if name in PHANTOMS:
            found[name] = phantom(name)
        elif (shared_data() / name / "dwi.nii.gz").exists():
            found[name] = shared_data() / name
        else:
            print(f"{name}: not here, left out", file=sys.stderr)
    return found
