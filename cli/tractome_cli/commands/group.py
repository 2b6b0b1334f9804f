"""`tractome group`: one connectome of many subjects."""

from pathlib import Path
from typing import Annotated

import typer

from tractome.options import GroupOptions
from tractome_cli.params import Chosen, Force, OutFolder, command

EXAMPLE = "tractome group results --consensus-share 0.6 --out group"

Sources = Annotated[
    list[Path],
    typer.Argument(
        metavar="FOLDER...", help="Folders of results, folders of subjects, or connectome .npz.", show_default=False
    ),
]
AtlasName = Annotated[
    str | None, typer.Option("--atlas", help="Which parcellation, where subjects have several.", show_default=False)
]


@command(GroupOptions)
def group(sources: Sources, out: OutFolder, chosen: Chosen, atlas: AtlasName = None, force: Force = False) -> None:
    """Average the matrices of many subjects over the edges that they share."""
    from tractome.pipeline import make_group

    about = make_group(sources, out, chosen[GroupOptions], atlas=atlas, force=force)
    settings = about["Settings"]
    chosen.terminal.summary(
        out / about["File"],
        f"mean of {settings['n_subjects']} subjects, density {float(settings['density']):.3f}: "
        f"{', '.join(about['Measures'])}",
    )
