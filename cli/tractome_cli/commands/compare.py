"""`tractome compare`: two connectomes, or one and the truth."""

from pathlib import Path
from typing import Annotated

import typer

from tractome.options import CompareOptions
from tractome_cli.console import show_json, show_table
from tractome_cli.params import AsJson, Chosen, JsonFile, command
from tractome_cli.tables import comparison_rows, reliability_rows

EXAMPLE = "tractome compare results/sub-01 truth_count.tsv"

First = Annotated[
    Path,
    typer.Argument(
        metavar="A",
        help="A subject's folder, .npz, .tsv or .csv; or a folder of many.",
        show_default=False,
    ),
]
Second = Annotated[
    Path,
    typer.Argument(metavar="B", help="The same, the truth, or a second scan of each of the many.", show_default=False),
]
Edges = Annotated[
    Path | None,
    typer.Option(
        "--edges", help="List of edges (.tsv of two region names) whose recall is wanted by itself.", show_default=False
    ),
]


@command(CompareOptions)
def compare(
    first: First,
    second: Second,
    chosen: Chosen,
    edges: Edges = None,
    as_json: AsJson = False,
    save: JsonFile = None,
) -> None:
    """Compare two connectomes, region by name; or two scans of each of several subjects."""
    from tractome.io.atomic import write_json
    from tractome.io.matrices import read_connectome
    from tractome.io.matrix_text import read_edges
    from tractome.pipeline import find_connectome, holds_many
    from tractome.stages.compare import compare as compare_connectomes

    if holds_many(first) and holds_many(second):
        _repeated(first, second, chosen[CompareOptions].measure, as_json, save)
        return
    one, other = (read_connectome(find_connectome(path)) for path in (first, second))
    listed = read_edges(edges) if edges else ()
    result = compare_connectomes(one, other, chosen[CompareOptions], listed).as_dict()
    if save is not None:
        write_json(save, result)
    if as_json:
        show_json(result)
    else:
        show_table(f"{first} compared with {second}", comparison_rows(result))


def _repeated(first: Path, second: Path, measure: str, as_json: bool, save: Path | None) -> None:
    from tractome.io.atomic import write_json
    from tractome.pipeline import read_repeated
    from tractome.stages.group import reliability

    one, other = read_repeated(first, second)
    result = reliability(one.connectomes, other.connectomes, measure).as_dict()
    if save is not None:
        write_json(save, result)
    if as_json:
        show_json(result)
    else:
        show_table(f"{first} and {second}, two scans of each subject", reliability_rows(result))
