"""`tractome atlas`: which atlases there are, and new ones."""

from typing import Annotated

import typer

from tractome_cli.console import show_json, show_table
from tractome_cli.params import AsJson, Chosen, command

app = typer.Typer(help="List, show, add and check atlases.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of an atlas.", show_default=False)]


@app.command("list", epilog="Example: tractome atlas list")
@command()
def list_(chosen: Chosen, as_json: AsJson = False) -> None:
    """List the atlases that can be used."""
    from tractome.io.atlases import list_atlases

    atlases = list_atlases()
    if as_json:
        show_json({each.name: {"n_regions": each.n_regions, "space": each.space} for each in atlases})
        return
    rows = [(each.name, str(each.n_regions), each.space, each.title) for each in atlases]
    show_table("Atlases", rows, ("name", "regions", "space", "title"))
