"""Kill `tractome run` with SIGKILL at random times and check that it resumes and ends with the same bytes.

    python benchmarks/kill_resume.py [--rounds 20] [--seed 0] [--subject FOLDER]

Without --subject a small phantom is made. A run that nobody disturbs gives the reference. Each round begins in an empty
folder, is killed once or twice at a random time, is started again, and then every result file must have the bytes of
the reference; of provenance.json all but times, memory and machine is compared. One line per round; exit code 1 when
any differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PHANTOM = "--voxel-size 6 --t1-voxel-size 6 --cortical 8 --deep 2 --bundles 8 --u-fibres 2 --directions 12,20 --b0 2"
CIRCUMSTANCES = ("seconds", "peak_memory_mb", "circumstances", "input_paths")


def tractome(*words: object) -> list[str]:
    return [sys.executable, "-m", "tractome_cli.app", *map(str, words)]


def run_words(subject: Path, out: Path) -> list[str]:
    files = {
        "--dwi": "dwi.nii.gz",
        "--mask": "mask.nii.gz",
        "--tissue": "5tt.nii.gz",
        "--labels": "labels.nii.gz",
        "--regions": "regions.tsv",
    }
    words = [str(part) for flag, name in files.items() for part in (flag, subject / name)]
    formats = "npz,tsv,csv,mat,graphml,graph,nilearn"
    return tractome(
        "run", *words, "--out", out, "--streamlines", 1000, "--tractogram", "tck", "--formats", formats, "-q"
    )


def contents(out: Path) -> dict[str, str]:
    """SHA-256 of every file, by path; of provenance.json only what must not differ."""
    found = {}
    for path in sorted(each for each in out.rglob("*") if each.is_file()):
        data = path.read_bytes()
        if path.name == "provenance.json":
            record = json.loads(data)
            for stage in record["stages"].values():
                for name in CIRCUMSTANCES:
                    stage.pop(name)
            data = json.dumps(record, sort_keys=True).encode()
        found[path.relative_to(out).as_posix()] = hashlib.sha256(data).hexdigest()
    return found


def run_and_kill(words: list[str], after_s: float) -> float:
    """Start a run and kill it after some time; the seconds it took where it ended before, else 0."""
    start = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(timeout=after_s)
        return time.perf_counter() - start
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return 0.0


def stages_done(out: Path) -> str:
    """What a killed run left, in words."""
    path = next(out.glob("sub-*/provenance.json"), None)
    stages = json.loads(path.read_text())["stages"] if path is not None else {}
    return ", ".join(f"{name.partition('/')[0]} {record['status']}" for name, record in stages.items()) or "nothing"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--subject", type=Path)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        subject = given.subject or room / "phantom"
        if given.subject is None:
            subprocess.run(tractome("phantom", subject, *PHANTOM.split(), "-q"), check=True, stdout=subprocess.DEVNULL)
        # The first run compiles the kernels, the others load them: that must not show either.
        os.environ["TRACTOME_CACHE_DIR"] = str(room / "kernels")
        subprocess.run(run_words(subject, room / "compiling"), check=True, stdout=subprocess.DEVNULL)
        start = time.perf_counter()
        subprocess.run(run_words(subject, room / "reference"), check=True, stdout=subprocess.DEVNULL)
        whole_s = time.perf_counter() - start
        expected = contents(room / "reference")
        n_bad = int(contents(room / "compiling") != expected)
        verdict = "DIFFERENT" if n_bad else "same bytes"
        print(f"reference: {len(expected)} files, {whole_s:.1f} s; by the run that compiled: {verdict}", flush=True)
        for number in range(1, given.rounds + 1):
            out = room / f"round-{number}"
            words = run_words(subject, out)
            killed: list[str] = []
            wanted = rng.choice((1, 1, 2))
            while len(killed) < wanted:
                after_s = rng.uniform(0.1, whole_s)
                ended_s = run_and_kill(words, after_s)
                if not ended_s:
                    killed.append(f"{after_s:.2f} s ({stages_done(out)})")
                elif killed:
                    break
                else:
                    # The machine was slower when the reference was timed: begin this round again, sooner.
                    whole_s = min(whole_s, ended_s)
                    shutil.rmtree(out)
            left = stages_done(out)
            done = subprocess.run(words, capture_output=True, text=True)
            found = contents(out)
            different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
            is_good = done.returncode == 0 and not different
            n_bad += not is_good
            verdict = "same bytes" if is_good else f"DIFFERENT: {different[:5]} {done.stderr[-500:]}"
            print(f"round {number}: killed at {', '.join(killed)}; left: {left}; {verdict}", flush=True)
        print(f"{n_bad} of {given.rounds + 1} runs ended with other bytes than the reference")
        return int(n_bad > 0)


if __name__ == "__main__":
    sys.exit(main())
