"""`tractome phantom`: a synthetic subject with known wiring."""

from pathlib import Path
from typing import Annotated

import typer

from tractome.options import PhantomOptions
from tractome_cli.params import Chosen, Force, command

EXAMPLE = "tractome phantom phantom --voxel-size 2.5 --shells 1000,2000 --directions 30,30"

Out = Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write the subject to.", show_default=False)]


@command(PhantomOptions)
def phantom(out: Out, chosen: Chosen, force: Force = False) -> None:
    """Make a synthetic subject with known wiring, and its truth."""
    from tractome.phantom import make_phantom, write_phantom
    from tractome.pipeline import require_free_folder

    require_free_folder(out, "phantom.json", force=force)
    made = make_phantom(chosen[PhantomOptions])
    write_phantom(out, made)
    chosen.terminal.summary(out, f"{made.grid.describe()}, {made.gradients.describe()}")
