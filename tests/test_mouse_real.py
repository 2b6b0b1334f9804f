"""Real mouse connectomes of another program: read, put into a data set, and their strain told from the graphs."""

from __future__ import annotations

import csv
import tarfile

import numpy as np
import pytest

from tractome.datatypes.parcellation import RegionTable
from tractome.io.importers import read_given
from tractome.options import DatasetOptions, ImportOptions
from tractome.stages.export import to_graphs
from tractome.stages.import_matrices import import_matrices

pytestmark = pytest.mark.real
N_NODES = 332


@pytest.fixture(scope="module")
def mice(shared_data, tmp_path_factory):
    """Connectomes and strain of every mouse, in the order of the participants."""
    source, folder = shared_data / "mouse_connectomes", tmp_path_factory.mktemp("mice")
    with tarfile.open(source / "edgelists.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    with (source / "participants.csv").open(newline="") as file:
        strain = {row["participant_id"]: row["genotype"] for row in csv.DictReader(file)}
    regions = RegionTable.from_names([f"node-{k}" for k in range(N_NODES)], "mouse")
    options = ImportOptions(given_measure="count", node_numbers="rows-from-0")
    files = [next(folder.glob(f"edgelists/{name}_*")) for name in strain]
    return [import_matrices(read_given(path, options), regions, options) for path in files], list(strain.values())


def test_the_corpus_callosum_is_missing_where_it_is_known_to_be(mice):
    """BTBR mice have none: fewer of their streamlines join the hemispheres than of any other mouse."""
    share = {}
    for each, strain in zip(*mice, strict=True):
        count = each.matrices["count"]
        share.setdefault(strain, []).append(count[:166, 166:].sum() / np.triu(count, 1).sum())
    others = [value for strain, values in share.items() if strain != "BTBR" for value in values]
    assert max(share["BTBR"]) < min(others) - 0.05


def test_the_strain_is_told_from_the_graphs(mice):
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.svm import SVC

    connectomes, strains = mice
    subjects = [f"m{k}" for k in range(len(strains))]
    options = DatasetOptions(edge_density=0.1, edge_transform="log", node_features=("strength",))
    graphs = to_graphs(connectomes, subjects, strains, options)
    edges = np.zeros((len(subjects), N_NODES, N_NODES))
    for k, graph in enumerate(graphs.graphs):
        edges[k][tuple(graph.edge_index)] = graph.edge_attr[:, 0]
        assert graph.n_edges <= 0.1 * N_NODES * (N_NODES - 1)
    products = edges.reshape(len(subjects), -1) @ edges.reshape(len(subjects), -1).T
    folds, model = StratifiedKFold(8, shuffle=True, random_state=0), SVC(kernel="precomputed")
    rng = np.random.default_rng(0)
    accuracy = cross_val_score(model, products, graphs.y, cv=folds).mean()
    shuffled = [cross_val_score(model, products, rng.permutation(graphs.y), cv=folds).mean() for _ in range(20)]
    assert accuracy > 0.9
    assert np.mean(shuffled) < 0.4, "shuffled labels cannot be told"
