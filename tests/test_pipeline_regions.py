"""A subject that lacks regions: the rows of the atlas stay, the missing ones are named, every export follows."""

import csv

import networkx as nx
import numpy as np
import pytest

from tests.runs import do
from tractome.io.images import read_labels, write_volume
from tractome.io.matrices import read_connectome
from tractome.io.regions import read_region_table
from tractome.pipeline import LabelSource
from tractome_cli.tables import run_rows

DELETED = (1, 4, 6)
"""Rows of the regions that the subject lacks."""


@pytest.fixture
def lesioned(phantom, copy):
    """A run on the labels of which three regions are gone; the folder, the records, and the names of the three."""
    labels, grid = read_labels(phantom / "labels.nii.gz")
    regions = read_region_table(phantom / "regions.tsv")
    labels = labels.copy()
    labels[np.isin(labels, regions.labels[list(DELETED)])] = 0
    write_volume(copy.parent / "lesioned.nii.gz", labels, grid)
    source = LabelSource(labels=copy.parent / "lesioned.nii.gz", regions=phantom / "regions.tsv")
    heard, records = do(phantom, copy, regions_from=source)
    assert heard.done == ["parcellate", "connect", "export"]
    return copy, records, [regions.names[row] for row in DELETED], regions


def test_matrices_keep_their_rows_and_the_report_names_the_missing(lesioned):
    out, records, names, regions = lesioned
    connectome = read_connectome(out / "sub-01/connectivity/sub-01_seg-labels_connectome.npz")
    assert connectome.regions.names == regions.names
    gone = list(DELETED)
    assert (connectome.matrices["count"][gone] == 0).all()
    assert connectome.matrices["count"].sum() > 0
    assert np.isnan(connectome.matrices["fa"][gone]).all()
    assert (connectome.volumes_mm3[gone] == 0).all() and np.isnan(connectome.centroids_mm[gone]).all()
    assert records["parcellate"].facts["missing"] == names
    summary = {"facts": {stage: record.facts for stage, record in records.items()}}
    shown = dict(run_rows(summary))["atlas"]
    assert all(name in shown for name in names)


def test_every_export_keeps_the_nodes(lesioned):
    out, _, names, regions = lesioned
    stem = out / "sub-01/connectivity/sub-01_seg-labels_stat-count_relmat"
    with stem.with_suffix(".tsv").open(newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    assert rows[0][1:] == [row[0] for row in rows[1:]] == list(regions.names)
    graph = nx.read_graphml(out / "sub-01/graph/sub-01_seg-labels_graph.graphml")
    assert graph.number_of_nodes() == regions.n_regions
    assert set(names) <= {graph.nodes[node].get("name", node) for node in graph if graph.degree(node) == 0}
