"""One job of connect as a process of its own, so that time and memory are measured as for any other program.

    python benchmarks/connect_jobs.py whole TRACKS --labels LABELS [--labels ...] --map fa=FA.nii ... --out DIR
    python benchmarks/connect_jobs.py table TABLE.trx --labels LABELS [--labels ...] --out DIR

``whole`` reads a tractogram and samples the maps along it; ``table`` reads the table of ends and values that tracking
keeps. Both write every matrix of every label image as .csv, as MRtrix3 does, and their last line is a JSON object of
facts.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

STARTED = time.perf_counter()


def _tables(given: argparse.Namespace) -> Iterator[object]:
    from tractome.io.read_ahead import read_ahead
    from tractome.io.tractograms import read_streamline_tables, read_tractogram

    if given.job == "table":
        yield from read_ahead(read_streamline_tables(given.streamlines))
        return
    from tractome.datatypes.prepared_maps import prepare_maps
    from tractome.pipeline.maps import parse_map, read_map
    from tractome.stages.connect import summarise

    maps = prepare_maps([read_map(parse_map(words)) for words in given.map])
    for block in read_ahead(read_tractogram(given.streamlines, None)):
        yield summarise(block, maps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=["whole", "table"])
    parser.add_argument("streamlines", type=Path)
    parser.add_argument("--labels", type=Path, action="append", default=[])
    parser.add_argument("--map", action="append", default=[])
    parser.add_argument("--assignment", default="radial")
    parser.add_argument("--no-errors", action="store_true", help="no standard errors and p-values: MRtrix3 has none")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()

    from tractome_cli.startup import spare_collector

    spare_collector()  # as the command line does
    import numpy as np

    from tractome.datatypes.parcellation import Parcellation
    from tractome.io.images import read_labels
    from tractome.options import ConnectOptions
    from tractome.stages.connect import ConnectomeBuilder
    from tractome.stages.parcellate import regions_from_labels

    given.out.mkdir(parents=True, exist_ok=True)
    options = ConnectOptions(assignment=given.assignment, errors=not given.no_errors)
    builders = []
    for path in given.labels:
        labels, grid = read_labels(path)
        parcellation = Parcellation.from_labels(labels, grid, regions_from_labels(labels, grid))
        builders.append(ConnectomeBuilder(parcellation, options))
    n_streamlines = 0
    for table in _tables(given):
        n_streamlines += table.n_streamlines
        for builder in builders:
            builder.add(table)
    for number, builder in enumerate(builders):
        for name, matrix in builder.build().matrices.items():
            np.savetxt(given.out / f"{number}_{name}.csv", np.nan_to_num(matrix), delimiter=",", fmt="%.9g")
    print(json.dumps({"n_streamlines": n_streamlines, "seconds": {"all": time.perf_counter() - STARTED}}))


if __name__ == "__main__":
    main()
