"""Can a mouse's strain be told from its connectome? A cross-validated classifier, chance, and shuffled labels.

    python mouse_strains.py mice/mouse-332_dataset.npz            # a linear classifier on the edges
    python mouse_strains.py mice/mouse-332_dataset.pt             # a small graph neural network (needs torch)

Both files are made by `tractome dataset`; see mouse_strains.md.
"""

import sys

import numpy as np
from sklearn.model_selection import RepeatedStratifiedKFold, StratifiedKFold

N_SHUFFLES = 100
FOLDS = StratifiedKFold(8, shuffle=True, random_state=0)  # every fold leaves out one mouse of each strain


def report(name, accuracy, shuffled, n_classes):
    shuffled = np.asarray(shuffled)
    p = (1 + (shuffled >= accuracy).sum()) / (1 + len(shuffled))
    print(f"{name}: accuracy {accuracy:.3f}; chance {1 / n_classes:.3f}; shuffled labels {shuffled.mean():.3f} "
          f"(highest of {len(shuffled)}: {shuffled.max():.3f}, p = {p:.3f})")  # fmt: skip


def linear(path):
    from sklearn.model_selection import cross_val_score
    from sklearn.svm import SVC

    data = np.load(path)
    n_graphs, n_nodes = data["x"].shape[:2]
    weights = np.zeros((n_graphs, n_nodes, n_nodes), np.float32)
    for graph in range(n_graphs):
        edges = slice(data["edge_slices"][graph], data["edge_slices"][graph + 1])
        source, target = data["edge_index"][:, edges]
        weights[graph, source, target] = data["edge_attr"][edges, 0]
    edges = weights[:, *np.triu_indices(n_nodes, 1)]
    edges = edges[:, edges.any(axis=0)]
    y, classes = data["y"], data["classes"]
    print(f"{n_graphs} graphs, {n_nodes} nodes, {edges.shape[1]:,} edges in any; "
          + ", ".join(f"{n} {name}" for name, n in zip(classes, np.bincount(y), strict=True)))  # fmt: skip
    # Nothing is fitted outside the folds: the edges are not scaled, and the products of two mice's edges are of those
    # two mice alone. They are all that a linear support vector machine needs, so all the shuffles take seconds.
    model, products = SVC(kernel="precomputed"), edges @ edges.T
    folds = RepeatedStratifiedKFold(n_splits=8, n_repeats=5, random_state=0)
    accuracy = cross_val_score(model, products, y, cv=folds).mean()
    rng = np.random.default_rng(0)
    shuffled = [cross_val_score(model, products, rng.permutation(y), cv=FOLDS).mean() for _ in range(N_SHUFFLES)]
    report("edges, linear support vectors", accuracy, shuffled, len(classes))


def graph_network(path):
    import torch
    from torch_geometric.data import InMemoryDataset
    from torch_geometric.loader import DataLoader
    from torch_geometric.nn import GraphConv

    torch.set_num_threads(1)  # graphs this small are not worth a second thread
    dataset = InMemoryDataset()
    dataset.load(path)
    graphs = list(dataset)
    n_classes, y = dataset.num_classes, np.array([graph.y.item() for graph in graphs])

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.name = torch.nn.Embedding(graphs[0].num_nodes, 8)  # a region is told from the others
            self.one = GraphConv(dataset.num_node_features + 8, 16, aggr="mean")
            self.two = GraphConv(16, 16, aggr="mean")
            self.out = torch.nn.Linear(16 * graphs[0].num_nodes, n_classes)

        def forward(self, batch):
            names = self.name.weight.repeat(batch.num_graphs, 1)
            x = torch.cat([batch.x, names], dim=1)
            x = torch.relu(self.one(x, batch.edge_index, batch.edge_attr[:, 0]))
            x = torch.relu(self.two(x, batch.edge_index, batch.edge_attr[:, 0]))
            # Regions are the same in every mouse: keeping them apart beats pooling them into one mean.
            x = torch.dropout(x.reshape(batch.num_graphs, -1), 0.5, self.training)
            return self.out(x)

    def scaled(chosen, like):
        """Node features and weights on the scale of the training mice."""
        x = torch.cat([graph.x for graph in like])
        largest = max(graph.edge_attr.max() for graph in like)
        made = []
        for graph in chosen:
            graph = graph.clone()
            graph.x, graph.edge_attr = (graph.x - x.mean(0)) / (x.std(0) + 1e-9), graph.edge_attr / largest
            made.append(graph)
        return made

    def accuracy_of(labels):
        n_right = 0
        for train, test in FOLDS.split(np.zeros(len(labels)), labels):
            torch.manual_seed(0)
            like = [graphs[k] for k in train]
            seen, held = scaled(like, like), scaled([graphs[k] for k in test], like)
            for graph, label in zip(seen, labels[train], strict=True):
                graph.y = torch.tensor([label])
            model = Network()
            optimiser = torch.optim.AdamW(model.parameters(), lr=0.005, weight_decay=0.05)
            batch = next(iter(DataLoader(seen, batch_size=len(seen))))
            for _ in range(25):
                optimiser.zero_grad()
                torch.nn.functional.cross_entropy(model(batch), batch.y).backward()
                optimiser.step()
            model.eval()
            with torch.no_grad():
                said = model(next(iter(DataLoader(held, batch_size=len(held))))).argmax(1).numpy()
            n_right += int((said == labels[test]).sum())
        return n_right / len(labels)

    rng = np.random.default_rng(0)
    n_shuffles = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    shuffled = [accuracy_of(rng.permutation(y)) for _ in range(n_shuffles)]
    report("graph neural network", accuracy_of(y), shuffled, n_classes)


if __name__ == "__main__":
    (graph_network if sys.argv[1].endswith(".pt") else linear)(sys.argv[1])
