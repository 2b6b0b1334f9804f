"""dataset: the graphs of many subjects, with labels, in one file to learn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tractome
from tractome.errors import OptionError
from tractome.options import DatasetOptions
from tractome.pipeline.cohort import find_cohort, read_cohort
from tractome.pipeline.layout import require_free_folder
from tractome.provenance import option_values

MARK = "dataset.json"


@dataclass(frozen=True)
class Target:
    """What is to be learned: a column of a table of participants."""

    table: Path
    column: str


def make_dataset(
    sources: Sequence[Path],
    out: Path,
    options: DatasetOptions,
    *,
    target: Target | None = None,
    atlas: str | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Write the graphs of many subjects in one file per format, and ``dataset.json`` about them.

    Parameters
    ----------
    sources : sequence of Path
        Folders of results, folders of subjects, or connectome files.
    out : Path
        New folder.
    options : DatasetOptions
    target : Target or None
    atlas : str or None
        Which atlas, where subjects have several.
    force : bool
        Over an earlier data set.

    Returns
    -------
    dict
        What ``dataset.json`` holds.
    """
    from tractome.io.atomic import write_json
    from tractome.io.export.given import ExportSet
    from tractome.io.exporters import export_set, require_formats
    from tractome.io.hashing import sha256_file
    from tractome.io.participants import read_participants
    from tractome.stages.export import edge_measure, prepare, to_graphs

    found = find_cohort(sources, atlas)
    labels = read_participants(target.table, target.column, list(found)) if target is not None else None
    if labels is None and "braingb" in options.set_formats:
        message = "The format braingb needs labels: give --participants and --target."
        raise OptionError(message)
    cohort = read_cohort(found)
    graphs = to_graphs(cohort.connectomes, cohort.subjects, labels, options)
    about = {
        "GeneratedBy": f"tractome {tractome.__version__}",
        "Options": option_values(options),
        "Atlas": cohort.connectomes[0].regions.atlas,
        "EdgeMeasure": edge_measure(cohort.connectomes[0], options),
        "Sources": {f"sub-{name}": sha256_file(path) for name, path in found.items()},
        "Target": target.column if target is not None else None,
        "Classes": list(graphs.classes),
        "NumberOfGraphsPerClass": dict(sorted(Counter(labels or ()).items())) if graphs.classes else {},
        "NodeFeatures": list(graphs.graphs[0].node_features),
        "EdgeFeatures": list(graphs.graphs[0].edge_features),
        "NumberOfNodes": graphs.graphs[0].n_nodes,
        "NumberOfEdges": [graph.n_edges // 2 for graph in graphs.graphs],
    }
    prepared = tuple(prepare(each, options) for each in cohort.connectomes)
    prefix = out / (atlas or cohort.connectomes[0].regions.atlas or "graphs").replace("/", "-")
    given = ExportSet(prefix, graphs, prepared, str(about["EdgeMeasure"]), about)
    require_formats(given, options.set_formats)
    require_free_folder(out, MARK, force=force)
    made = export_set(given, options.set_formats)
    about["Files"] = [path.relative_to(out).as_posix() for path in made]
    write_json(out / MARK, about)
    return about
