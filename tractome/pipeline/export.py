"""The stage export, from files to files."""

from __future__ import annotations

import dataclasses

from tractome import __version__
from tractome.io.hashing import sha256_file
from tractome.options import EXPORT_FORMATS, ExportOptions
from tractome.pipeline.atlases import choose_atlas
from tractome.pipeline.layout import SubjectFolder
from tractome.pipeline.ledger import Facts, Ledger, Made, Step
from tractome.provenance import StageRecord, option_values


def export_subject(ledger: Ledger, options: ExportOptions, *, atlas: str | None = None) -> StageRecord:
    """Write a connectome in the formats of other tools, unless that is done; formats of earlier exports stay."""
    atlas = choose_atlas(ledger, atlas, "connect")
    ledger.finished(f"connect/{atlas}")
    subject = ledger.subject
    options = dataclasses.replace(options, formats=_all_formats(ledger, options, atlas))
    prefix = f"{subject.name}_seg-{atlas}"
    step = Step(
        name=f"export/{atlas}",
        options=option_values(options),
        inputs={"connectome": subject.connectome(atlas)},
        may_write=(f"connectivity/{prefix}_stat-*_relmat.*", f"graph/{prefix}_*", f"graph/{prefix}_dgl/*"),
        work=lambda made: _export(subject, options, atlas, made),
    )
    return ledger.do(step)


def _all_formats(ledger: Ledger, options: ExportOptions, atlas: str) -> tuple[str, ...]:
    """Formats that were exported before of the same connectome, then those asked for."""
    old = ledger.records().get(f"export/{atlas}")
    # The facts, not the options: a format whose export failed was never there.
    before: list[str] = old.facts.get("formats", []) if old is not None else []
    added = [name for name in before if name not in options.formats and name in EXPORT_FORMATS]
    if old is None or not added:
        # In the order of before, so that the same formats in another order are nothing new.
        return tuple(sorted(options.formats, key=lambda name: before.index(name) if name in before else len(before)))
    if old.inputs.get("connectome") != sha256_file(ledger.subject.connectome(atlas)):
        gone = ", ".join(added)
        ledger.listener.note(f"The connectome changed; what was exported of the one before is removed: {gone}.")
        return options.formats
    settings = option_values(options)
    if any(old.options.get(name) != value for name, value in settings.items() if name != "formats"):
        again = ", ".join(added)
        ledger.listener.note(f"Exported before with other options, and now written again with these: {again}.")
    return (*before, *(name for name in options.formats if name not in before))


IN_CONNECTIVITY = ("npz", "tsv")
"""Formats that stand beside the connectome; the others are files for graph tools."""


def _export(subject: SubjectFolder, options: ExportOptions, atlas: str, made: Made) -> Facts:
    from tractome.io.export.given import Export
    from tractome.io.exporters import export_connectome, require_formats
    from tractome.io.matrices import read_connectome
    from tractome.stages.export import edge_measure, prepare, to_graph

    source = subject.connectome(atlas)
    connectome = read_connectome(source)
    graph, prepared = to_graph(connectome, options), prepare(connectome, options, errors=options.edge_errors)
    weight = edge_measure(connectome, options)
    sidecar = {
        "Sources": [source.name],
        "SourceSHA256": made.inputs["connectome"],
        "GeneratedBy": f"tractome {__version__}",
    }
    prefix = source.name.removesuffix("_connectome.npz")
    require_formats(Export(source, connectome, prepared, graph, weight), options.formats)
    for folder, chosen in (
        # The .npz is what connect wrote: it is there already.
        (source.parent, [name for name in options.formats if name in IN_CONNECTIVITY and name != "npz"]),
        (subject.root / "graph", [name for name in options.formats if name not in IN_CONNECTIVITY]),
    ):
        given = Export(folder / prefix, connectome, prepared, graph, weight, sidecar)
        for path in export_connectome(given, chosen):
            made(path)
    return {
        "formats": list(options.formats),
        "n_nodes": graph.n_nodes,
        "n_edges": graph.n_edges // 2,
        "node_features": list(graph.node_features),
        "edge_features": list(graph.edge_features),
    }
