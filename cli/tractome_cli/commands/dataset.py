"""`tractome dataset`: graphs of many subjects in one file, with labels."""

from pathlib import Path
from typing import Annotated

import typer

from tractome.errors import OptionError
from tractome.options import DatasetOptions
from tractome_cli.params import Chosen, Force, OutFolder, command

EXAMPLE = "tractome dataset results --participants participants.tsv --target group --formats pyg --out graphs"

Sources = Annotated[
    list[Path],
    typer.Argument(
        metavar="FOLDER...", help="Folders of results, folders of subjects, or connectome .npz.", show_default=False
    ),
]
Participants = Annotated[
    Path | None,
    typer.Option("--participants", help="Table with participant_id and what is to be learned.", show_default=False),
]
Column = Annotated[
    str | None, typer.Option("--target", help="Column of the participants' table to learn.", show_default=False)
]
AtlasName = Annotated[
    str | None, typer.Option("--atlas", help="Which parcellation, where subjects have several.", show_default=False)
]


@command(DatasetOptions)
def dataset(
    sources: Sources,
    out: OutFolder,
    chosen: Chosen,
    participants: Participants = None,
    target: Column = None,
    atlas: AtlasName = None,
    force: Force = False,
) -> None:
    """Write the graphs of many subjects to one file per format, each with its label."""
    from tractome.pipeline import Target, make_dataset

    if (participants is None) != (target is None):
        message = "--participants and --target go together: the table, and the column of it to learn."
        raise OptionError(message)
    learned = Target(participants, target) if participants is not None and target is not None else None
    about = make_dataset(sources, out, chosen[DatasetOptions], target=learned, atlas=atlas, force=force)
    classes = ", ".join(f"{name} {n}" for name, n in about["NumberOfGraphsPerClass"].items()) or "no classes"
    edges = about["NumberOfEdges"]
    size = f"{about['NumberOfNodes']} nodes and {min(edges):,} to {max(edges):,} edges"
    chosen.terminal.summary(out, f"{len(edges)} graphs of {size}; {classes}")
