"""One job of tractome as a process of its own, so that time and memory are measured as for any other program.

    python benchmarks/jobs.py tensors --dwi DWI --bval BVAL --bvec BVEC --mask MASK --out DIR
    python benchmarks/jobs.py fods ... --model csd --lmax 8 --response wm.txt [--response csf.txt]
    python benchmarks/jobs.py track --fod FOD --mask MASK --out DIR [--tissue 5TT | --fa FA]
        [--seeds MASK | --points SEEDS.npy] [--ends]

``--set NAME=VALUE`` changes one option of the stage from its default. Each job reads files, computes and writes files,
uncompressed, and its last line is a JSON object of facts: seconds of each part, seeds tried, streamlines accepted.
"""

from __future__ import annotations

import argparse
import ast
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STARTED = time.perf_counter()


class Clock:
    """Seconds of each part of a job."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun


def _read(given: argparse.Namespace) -> Any:
    from tractome.io.subjects import read_diffusion
    from tractome.options import ReadOptions

    return read_diffusion(given.dwi, given.bval, given.bvec, given.mask, ReadOptions(), None).image


def tensors(given: argparse.Namespace, clock: Clock) -> dict[str, Any]:
    """Tensors, FA and MD."""
    from tractome.io.images import write_scalar_map
    from tractome.options import FitOptions
    from tractome.stages.fit import fit_tensors, tensor_maps

    with clock.part("read"):
        image = _read(given)
    with clock.part("fit"):
        maps = tensor_maps(fit_tensors(image, FitOptions(**given.options)))
    with clock.part("write"):
        for name in ("fa", "md"):
            write_scalar_map(given.out / f"{name}.nii", maps[name], {})
    return {"n_voxels": image.n_voxels}


def fods(given: argparse.Namespace, clock: Clock) -> dict[str, Any]:
    """FODs of one or several tissues, the responses given as MRtrix3's text."""
    from tractome.io.images import write_orientation_field, write_packed
    from tractome.io.responses import read_response
    from tractome.options import FitOptions
    from tractome.stages.fit import fit_fods, given_response

    options = FitOptions(model=given.model, lmax=given.lmax, **given.options)
    with clock.part("read"):
        image = _read(given)
        response = given_response([read_response(path) for path in given.response], image.gradients, options)
    with clock.part("fit"):
        field = fit_fods(image, response, options, None)
    with clock.part("write"):
        write_orientation_field(given.out / "wmfod.nii", field, {})
        for name, values in field.tissues.items():
            write_packed(given.out / f"{name}.nii", values, field.mask, field.grid)
    return {"n_voxels": image.n_voxels}


class EndsOnly:
    """Keeps both ends and the length of every streamline, as `tractome track` does by default."""

    def __init__(self, path: Path, grid: Any) -> None:
        self.path, self.grid, self.tables = path, grid, []

    def __enter__(self) -> EndsOnly:
        return self

    def write(self, block: Any) -> None:
        from tractome.stages.connect import summarise

        self.tables.append(summarise(block, []))

    def __exit__(self, kind: Any, *_: object) -> None:
        if kind is None:
            from tractome.io.tractograms import write_streamline_table
            from tractome.stages.connect import concatenate

            write_streamline_table(self.path, concatenate(self.tables), self.grid)


def track(given: argparse.Namespace, clock: Clock) -> dict[str, Any]:
    """Tracking of a given FOD image, into a .tck file, or a table of ends."""
    from tractome.io.images import read_mask, read_orientation_field, read_scalar_map, read_tissue
    from tractome.io.tractograms import TractogramWriter
    from tractome.options import TrackOptions
    from tractome.stages.track import track as track_blocks

    more: dict[str, Any] = {}
    with clock.part("read"):
        field = read_orientation_field(given.fod, given.mask)
        more["tissue"] = read_tissue(given.tissue) if given.tissue else None
        more["fa"] = read_scalar_map(given.fa, "fa", "unitless", field.mask) if given.fa else None
        more["seed_mask"] = read_mask(given.seeds)[0] if given.seeds else None
        if given.points:
            import numpy as np

            from tractome.datatypes.seeds import SeedPoints

            points = np.load(given.points)
            more["seed_points"] = SeedPoints(points, np.zeros_like(points))
    if given.ends:
        sink: Any = EndsOnly(given.out / "ends.trx", field.grid)
    else:
        sink = TractogramWriter(given.out / "tracks.tck", field.grid)
    counted = {"n_seeds": 0, "n_accepted": 0, "n_points": 0}
    begun = time.perf_counter()
    with sink as writer:
        for block in track_blocks(field, TrackOptions(**given.options), **more):
            counted["n_seeds"] += block.n_seeds
            counted["n_accepted"] += block.n_streamlines
            counted["n_points"] += len(block.points)
            with clock.part("write"):
                writer.write(block)
    clock.seconds["track"] = time.perf_counter() - begun - clock.seconds["write"]
    return counted


JOBS: dict[str, Callable[[argparse.Namespace, Clock], dict[str, Any]]] = {
    "tensors": tensors,
    "fods": fods,
    "track": track,
}


def _option(words: str) -> tuple[str, Any]:
    name, _, value = words.partition("=")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=JOBS)
    for name in ("dwi", "bval", "bvec", "mask", "fod", "tissue", "fa", "seeds", "points", "out"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--model", default="csd")
    parser.add_argument("--lmax", type=int, default=8)
    parser.add_argument("--response", type=Path, action="append", default=[], help="white, (grey,) CSF")
    parser.add_argument("--ends", action="store_true", help="keep ends only")
    parser.add_argument("--set", dest="options", action="append", default=[], type=_option, help="NAME=VALUE")
    given = parser.parse_args()

    from tractome_cli.startup import spare_collector

    spare_collector()  # as the command line does
    given.options = dict(given.options)
    given.out.mkdir(parents=True, exist_ok=True)
    clock = Clock()
    facts = JOBS[given.job](given, clock)
    print(json.dumps({**facts, "seconds": clock.seconds, "inside_s": time.perf_counter() - STARTED}))


if __name__ == "__main__":
    main()
