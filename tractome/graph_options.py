"""The parameters of what goes in and out as matrices and graphs: import, export, dataset."""

from __future__ import annotations

from dataclasses import dataclass

from tractome.option_fields import Checked as _Checked
from tractome.option_fields import option as _option

EXPORT_FORMATS = (
    "npz", "tsv", "csv", "mat", "h5", "edges", "graphml", "gexf", "json", "graph", "pyg", "dgl", "nilearn", "tvb",
)  # fmt: skip
DATASET_FORMATS = ("graph", "pyg", "dgl", "braingb")
EDGE_NORMALISATIONS = ("none", "max", "sum", "strength")
EDGE_TRANSFORMS = ("none", "log", "binary")


@dataclass(frozen=True, kw_only=True)
class GraphOptions(_Checked):
    """Which nodes' and edges' values a graph has, and which edges."""

    node_features: tuple[str, ...] | None = _option(
        None,
        "Columns of x, by name: centroid, volume, strength, degree, hemisphere, profile (a region's row of the edge "
        "measure), or the mean of a map; by default centroid, volume, fa, md, strength, as far as there are.",
    )
    edge_features: tuple[str, ...] | None = _option(
        None, "Columns of edge_attr, by measure; by default count, fa, md, length, as far as there are."
    )
    edge_measure: str | None = _option(
        None,
        "Measure that says which edges there are and how strong; by default count, or the first there is.",
    )
    min_count: float = _option(1.0, "Edges with fewer streamlines are left out.", unit="streamlines", low=0)
    edge_threshold: float | None = _option(
        None, "Edges whose edge measure is nearer to 0 than this are left out, in its own unit.", low=0
    )
    edge_density: float | None = _option(
        None,
        "Keep the strongest edges only, as a share of all pairs of regions; never more than that: edges of equal "
        "strength stay or go together.",
        low=0,
        high=1,
    )
    max_p: float | None = _option(
        None,
        "Edges with a larger p-value are left out: strays could well have given their streamlines. Self-connections "
        "have none, and stay or go by their own option.",
        low=0,
        high=1,
    )
    edge_normalisation: str = _option(
        "none",
        "Divide by: the largest edge (max), the sum of all edges (sum), or the root of the product of the two regions' "
        "strengths (strength). Not for means such as FA, unless one is the edge measure.",
        choices=EDGE_NORMALISATIONS,
    )
    edge_transform: str = _option(
        "none",
        "After that: log(1 + value), or 1 where an edge is (binary). Not for means such as FA, unless one is the edge "
        "measure.",
        choices=EDGE_TRANSFORMS,
    )
    keep_self_connections: bool = _option(False, "Keep the diagonal.")


@dataclass(frozen=True, kw_only=True)
class ExportOptions(GraphOptions):
    """What is written for other tools, and how."""

    formats: tuple[str, ...] = _option(
        ("npz", "tsv", "graph"),
        f"Formats to write, of: {', '.join(EXPORT_FORMATS)}. "
        "graph is a graph in PyTorch Geometric's names that needs only NumPy; pyg needs torch.",
        choices=EXPORT_FORMATS,
    )
    edge_errors: bool = _option(
        False,
        "Also write the matrices that say how sure each edge is, such as countse; npz has them always.",
    )


@dataclass(frozen=True, kw_only=True)
class DatasetOptions(GraphOptions):
    """Many subjects' graphs in one file, each with its label."""

    set_formats: tuple[str, ...] = _option(
        ("graph",),
        f"Formats to write, of: {', '.join(DATASET_FORMATS)}. graph is an .npz that needs only NumPy; pyg needs torch.",
        choices=DATASET_FORMATS,
    )


NODE_NUMBERS = ("auto", "names", "labels", "rows-from-0", "rows-from-1")
ASYMMETRIES = ("refuse", "mean", "max", "min", "sum", "upper", "lower")


@dataclass(frozen=True, kw_only=True)
class ImportOptions(_Checked):
    """A matrix that another program made: what it holds, and what is done where it does not fit."""

    given_measure: str | None = _option(
        None, "What it holds, such as count or fa; may be left out when the file or its name says so."
    )
    unit: str | None = _option(None, "Its unit, where tractome does not know the measure.")
    kind: str = _option(
        "auto",
        "Whether entries add up (sum: 0 is no edge) or are means (mean: 0 and NaN are no value); auto for what is "
        "known of the measure, sum for one that is not known.",
        choices=("auto", "sum", "mean"),
    )
    layout: str = _option(
        "auto",
        "Text with two or three columns: a list of edges unless it is as long as wide; or say which it is.",
        choices=("auto", "matrix", "edges"),
    )
    variable: str | None = _option(
        None, "Of a .mat, .h5 or .npz: the square matrix to read; by default those with a known measure's name."
    )
    node_numbers: str = _option(
        "auto",
        "What nodes in a list of edges are: names, label values of the region table, or rows counted from 0 or 1. auto "
        "takes the only one that is possible, says which, and refuses where several are.",
        choices=NODE_NUMBERS,
    )
    asymmetry: str = _option(
        "refuse",
        "A matrix that is not symmetric: refuse it, or take of each pair the mean, max, min, sum, or the upper or "
        "lower triangle.",
        choices=ASYMMETRIES,
    )
    negative: str = _option(
        "refuse",
        "Negative values: refuse, keep, set to zero, or take their size.",
        choices=("refuse", "keep", "zero", "absolute"),
    )
    missing: str = _option(
        "refuse",
        "NaN in what adds up: refuse, or take it as no edge. In a mean it is always no value.",
        choices=("refuse", "zero"),
    )
    diagonal: str = _option("keep", "Self-connections: keep or drop.", choices=("keep", "drop"))


@dataclass(frozen=True, kw_only=True)
class GroupOptions(_Checked):
    """One connectome of many subjects."""

    group_measure: str | None = _option(
        None, "Measure that says which edges a subject has; by default count, or the first there is."
    )
    consensus_share: float = _option(
        0.5, "Edges that a smaller share of the subjects has are left out; 0 keeps what any has.", low=0, high=1
    )
    group_density: float | None = _option(
        None,
        "Of these the most consistent only (lowest coefficient of variation over subjects), as a share of all pairs.",
        low=0,
        high=1,
    )
