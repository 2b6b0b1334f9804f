"""A subject of the HCP's size, stage by stage: time, peak memory, and how well the known wiring is found.

    python benchmarks/hcp.py                              # 145 x 174 x 145 voxels of 1.25 mm, 288 volumes
    python benchmarks/hcp.py --voxel-size 2.5             # the same subject, coarse: to see that it runs
    python benchmarks/hcp.py --streamlines 10000000       # the large run, of end points; 0 leaves it out
    python benchmarks/hcp.py --compressed                 # the scan as .nii.gz: its reading is then in the figures
    python benchmarks/hcp.py --write                      # put the last result into docs/benchmarks.md; runs nothing

The subject is made once by ``tractome phantom --preset hcp`` and kept in benchmarks/.cache. Then, each as a whole
process that starts Python, reads files and writes files:

- ``tractome fit``, with the gradients' deviations;
- ``tractome run`` of one million accepted streamlines with anatomical constraints to all matrices, which finds the fit
  done: both lines together are the one command that goes from the scan to the matrices;
- ``tractome track`` of the large number, end points kept, and ``tractome connect`` on them.

Kernels are compiled before, in a run on a coarse subject that is not counted. What is printed goes to
benchmarks/out/hcp.json too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

import machine
import truth
from measure import Measured, run_measured
from subjects import CACHE, PROGRAM, ROOT
from table import DOCUMENT

from tractome.options import PhantomOptions
from tractome.phantom import phantom_files, preset_options

OUT = Path(__file__).parent / "out"
SEED = 41
MEMORY_LIMITS_MIB = {"fit": 3 * 1024, "track": 4 * 1024}
"""What fitting, and a run of ten million streamlines, may take."""

Line = dict[str, Any]


def subject(options: PhantomOptions) -> tuple[Path, Measured | None]:
    """Folder of the subject, and what it cost if it had to be made."""
    digest = hashlib.sha256(repr(options).encode())
    for path in sorted((ROOT / "tractome" / "phantom").glob("*.py")):
        digest.update(path.read_bytes())
    folder = CACHE / "hcp" / digest.hexdigest()[:12]
    if (folder / "phantom.json").exists():
        return folder, None
    # One subject takes gigabytes: those of older code make room.
    for old in (CACHE / "hcp").glob("*"):
        shutil.rmtree(old)
    command: list[str | Path] = [PROGRAM, "phantom", folder, "--preset", "hcp", "--seed", str(SEED), "--force"]
    command += ["--voxel-size", f"{options.voxel_size_mm:g}"]
    if options.uncompressed:
        command.append("--uncompressed")
    return folder, run_measured(command, OUT / "hcp-phantom.log")


def scan_words(folder: Path, options: PhantomOptions) -> list[str | Path]:
    """Options that name the scan of a subject."""
    files = phantom_files(folder, options)
    return ["--dwi", files["dwi"], "--mask", files["mask"], "--grad-dev", files["grad_dev"]]


def anatomy_words(folder: Path, options: PhantomOptions) -> list[str | Path]:
    """Options that name labels and tissues of a subject."""
    files = phantom_files(folder, options)
    return ["--labels", files["labels"], "--atlas", "freesurfer-dk-84", "--tissue", files["tissue"]]


def stages(folder: Path, options: PhantomOptions, n_large: int, n_first: int) -> list[Line]:
    """Every command with its time and peak memory, in order; memory of earlier ones is not in later ones."""
    place = OUT / "hcp-run"
    shutil.rmtree(place, ignore_errors=True)
    scan, anatomy = scan_words(folder, options), anatomy_words(folder, options)
    root = place / "sub-hcp"
    where: list[str | Path] = ["--out", place, "--subject", "hcp"]
    lines = [_line("fit", [PROGRAM, "fit", *scan, *where], root)]
    lines[-1]["facts"] = _facts(root, "fit", ("model", "n_voxels", "lmax"))
    first: list[str | Path] = ["--streamlines", str(n_first), "--formats", "npz,tsv"]
    lines.append(_line(f"run: {n_first:,} to all matrices", [PROGRAM, "run", *scan, *anatomy, *where, *first], root))
    lines[-1]["scores"] = _scores(root, folder)
    lines[-1]["facts"] = _facts(root, "track", ("n_accepted", "n_seeds", "mean_length_mm", "n_points"))
    if n_large:
        tissue = anatomy[-2:]
        large: list[str | Path] = [*tissue, "--streamlines", str(n_large)]
        lines.append(_line(f"track: {n_large:,}, end points", [PROGRAM, "track", root, *large], root))
        lines.append(_line("connect them", [PROGRAM, "connect", root], root))
        lines.append(_line("export them", [PROGRAM, "export", root, "--formats", "npz,tsv"], root))
        lines[-1]["scores"] = _scores(root, folder)
    return lines


def _line(name: str, command: list[str | Path], root: Path) -> Line:
    log, before = OUT / "hcp.log", _records(root)
    log.unlink(missing_ok=True)
    spent = run_measured(command, log)
    done = {stage: record for stage, record in _records(root).items() if record != before.get(stage)}
    # A stage starts the count of its peak anew, for its record: what the system then says is that of the last stage.
    peak = max([spent.peak_mib, *(record["peak_memory_mb"] * 1e6 / 2**20 for record in done.values())])
    limit = max(MEMORY_LIMITS_MIB["fit" if stage == "fit" else "track"] for stage in done) if done else 0
    line = {
        "job": name,
        "wall_s": spent.wall_s,
        "cpu_s": spent.cpu_s,
        "peak_mib": peak,
        "limit_mib": limit,
        "stages": {
            stage: {key: record[key] for key in ("seconds", "peak_memory_mb")} for stage, record in done.items()
        },
    }
    over = "" if peak <= limit else f"   OVER {limit:,} MiB"
    print(f"{name:<40} {spent.wall_s:9.1f} s {spent.cpu_s:9.1f} s {peak:8,.0f} MiB{over}", flush=True)
    return line


def _records(root: Path) -> dict[str, dict[str, Any]]:
    path = root / "provenance.json"
    stages: dict[str, dict[str, Any]] = json.loads(path.read_text())["stages"] if path.exists() else {}
    return stages


def _facts(root: Path, stage: str, names: tuple[str, ...]) -> dict[str, Any]:
    found = _records(root)[stage]["facts"]
    return {name: found[name] for name in names if name in found}


def _scores(root: Path, folder: Path) -> dict[str, float]:
    """Average precision and correlation with the truth; both matrices are in the rows of the atlas."""
    matrix = truth.read_matrix(next((root / "connectivity").glob("*_stat-count_relmat.tsv")))
    known = folder / "truth_count.tsv"
    names = known.read_text().splitlines()[0].split("\t")[1:]
    edges = truth.read_edges(folder / "u_fibre_edges.tsv", names)
    scores = truth.score(matrix, truth.read_matrix(known), edges)
    shown = {name: scores[name] for name in ("ap", "r", "r_log", "u_recall_top_k", "total")}
    print("  " + "  ".join(f"{name} {value:,.3f}" for name, value in shown.items()), flush=True)
    return scores


def _warm_up() -> None:
    """Compile every kernel that the stages use, on a coarse subject of the same kind."""
    options = preset_options("hcp", voxel_size_mm=6.0, anatomy_voxel_size_mm=2.5, t1_voxel_size_mm=2.5, random_seed=1)
    folder = OUT / "hcp-warm"
    shutil.rmtree(folder, ignore_errors=True)
    sizes = ["--voxel-size", "6", "--anatomy-voxel-size", "2.5", "--t1-voxel-size", "2.5", "--seed", "1"]
    run_measured([PROGRAM, "phantom", folder / "in", "--preset", "hcp", *sizes], OUT / "hcp-warm.log")
    words = [*scan_words(folder / "in", options), *anatomy_words(folder / "in", options)]
    where = ["--out", folder / "out", "--streamlines", "500", "--formats", "npz,tsv"]
    run_measured([PROGRAM, "run", *words, *where], OUT / "hcp-warm.log")
    shutil.rmtree(folder)


def markdown(result: dict[str, Any]) -> str:
    """The result as a table for docs/benchmarks.md."""
    rows = ["| job | whole process | processor | peak memory, MiB | AP / r |", "| --- | --- | --- | --- | --- |"]
    for line in result["lines"]:
        scores = line.get("scores")
        found = f"{scores['ap']:.3f} / {scores['r']:.3f}" if scores else "-"
        rows.append(
            f"| {line['job']} | {line['wall_s']:.0f} s | {line['cpu_s']:.0f} s | {line['peak_mib']:,.0f} | {found} |"
        )
    return "\n".join([*rows, "", f"{result['when']}, {machine.sentence(result['machine'])}."])


def write_document() -> None:
    """Put the last result between the marks ``table hcp`` of docs/benchmarks.md."""
    result = json.loads((OUT / "hcp.json").read_text())
    text = DOCUMENT.read_text()
    marks = re.compile(r"(<!-- table hcp -->\n).*?(\n<!-- end hcp -->)", re.DOTALL)
    DOCUMENT.write_text(marks.sub(lambda found: f"{found[1]}{markdown(result)}{found[2]}", text))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voxel-size", type=float, default=1.25)
    parser.add_argument("--streamlines", type=int, default=10_000_000, help="of the large run; 0: none")
    parser.add_argument("--first", type=int, default=1_000_000, help="streamlines of the run to all matrices")
    parser.add_argument("--compressed", action="store_true", help="the scan as .nii.gz")
    parser.add_argument("--write", action="store_true", help="the last result into docs/benchmarks.md, and no more")
    given = parser.parse_args()
    if given.write:
        write_document()
        return
    OUT.mkdir(parents=True, exist_ok=True)
    options = preset_options("hcp", voxel_size_mm=given.voxel_size, random_seed=SEED, uncompressed=not given.compressed)
    folder, made = subject(options)
    lines: list[Line] = []
    print(f"{'':<40} {'whole':>11} {'processor':>11} {'peak':>12}")
    if made is not None:
        lines.append({"job": "phantom", "wall_s": made.wall_s, "cpu_s": made.cpu_s, "peak_mib": made.peak_mib})
        print(f"{'phantom':<40} {made.wall_s:9.1f} s {made.cpu_s:9.1f} s {made.peak_mib:8,.0f} MiB", flush=True)
    _warm_up()
    lines += stages(folder, options, given.streamlines, given.first)
    result = {
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "machine": machine.describe(),
        "load_before": os.getloadavg()[2],
        "voxel_size_mm": given.voxel_size,
        "compressed": given.compressed,
        "lines": lines,
    }
    (OUT / "hcp.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"\n{markdown(result)}")


if __name__ == "__main__":
    main()
