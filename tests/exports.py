"""Exporting for the tests: a connectome to files, as the pipeline does it."""

from __future__ import annotations

import wirings

from tractome.io.export.given import Export, ExportSet
from tractome.io.exporters import export_connectome, export_set
from tractome.options import DatasetOptions, ExportOptions
from tractome.stages.export import edge_measure, prepare, to_graph, to_graphs

PREFIX = "sub-1_seg-test"


def export(folder, connectome, *formats, **choices):
    """Paths written of one connectome."""
    options = ExportOptions(formats=formats, **choices)
    given = Export(
        folder / PREFIX,
        connectome,
        prepare(connectome, options, errors=options.edge_errors),
        to_graph(connectome, options),
        edge_measure(connectome, options),
        {"Version": "0"},
    )
    return export_connectome(given, formats)


def cohort(n_subjects=4):
    return tuple(wirings.connectome(seed) for seed in range(n_subjects))


def as_set(folder, labels=("b", "a", "b", "a"), **choices):
    """A set of small graphs, ready to be written."""
    options = DatasetOptions(**choices)
    connectomes = cohort(len(labels))
    subjects = tuple(f"sub-{i}" for i in range(len(labels)))
    graphs = to_graphs(connectomes, subjects, labels, options)
    prepared = tuple(prepare(each, options) for each in connectomes)
    return ExportSet(folder / "set", graphs, prepared, edge_measure(connectomes[0], options), {"Version": "0"})


def dataset(folder, *formats, **choices):
    """Paths written of a set of graphs, and the set."""
    given = as_set(folder, **choices)
    return export_set(given, formats), given
