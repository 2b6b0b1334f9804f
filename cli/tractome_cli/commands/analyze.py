"""`tractome analyze`: what the graph says."""

from pathlib import Path
from typing import Annotated

import typer

from tractome.options import AnalyzeOptions
from tractome_cli.console import show_json, show_table
from tractome_cli.params import AsJson, Atlas, Chosen, command
from tractome_cli.tables import number

EXAMPLE = "tractome analyze results/sub-01 --spread-from precentral-left"

Source = Annotated[
    Path, typer.Argument(metavar="PATH", help="A subject's folder, .npz, labelled .tsv or .csv.", show_default=False)
]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="Folder to write to; by default analysis in the subject's.", show_default=False),
]


@command(AnalyzeOptions)
def analyze(path: Source, chosen: Chosen, atlas: Atlas = None, out: Out = None, as_json: AsJson = False) -> None:
    """Find hubs, communities, rich club, long-range connections and flow in a connectome."""
    from tractome.pipeline.analyze import analyze_path

    analysis, made = analyze_path(path, chosen[AnalyzeOptions], out, atlas=atlas)
    if as_json:
        show_json({"numbers": analysis.numbers, "communities": analysis.communities, "settings": analysis.settings})
        return
    show_table(
        f"{path}, {analysis.settings['measure']}",
        [(name.replace("_", " "), _shown(name, value)) for name, value in analysis.numbers.items()],
    )
    strength = analysis.per_region["strength"]
    hubs = [row for row in strength.argsort()[::-1] if strength[row] > 0][:10]
    shown = ("strength", "degree", "betweenness", "participation", "community")
    rows = [
        (analysis.regions.names[row], *(_shown(name, analysis.per_region[name][row]) for name in shown)) for row in hubs
    ]
    show_table("Strongest regions", rows, ("region", *shown))
    chosen.terminal.summary(made[0].parent, f"{len(made)} files: tables, {made[0].name}, pictures")


def _shown(name: str, value: float) -> str:
    return number(value, 0 if name.startswith("n_") or name in ("degree", "community") else 3)
