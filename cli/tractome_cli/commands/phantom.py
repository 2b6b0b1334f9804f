"""`tractome phantom`: a synthetic subject with known wiring."""

from pathlib import Path
from typing import Annotated

import typer

from tractome.errors import OptionError
from tractome.options import PhantomOptions, ReadOptions
from tractome_cli.params import Chosen, Force, command

EXAMPLE = "tractome phantom phantom --voxel-size 2.5 --shells 1000,2000 --directions 30,30"

BvalTable = Annotated[
    Path | None,
    typer.Option("--bval", help="b-values to scan with, instead of shells; or an MRtrix3 table.", show_default=False),
]
BvecTable = Annotated[
    Path | None,
    typer.Option("--bvec", help="Directions of --bval, in the image axes of the phantom (FSL).", show_default=False),
]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write the subject to.", show_default=False)]


@command(PhantomOptions)
def phantom(out: Out, chosen: Chosen, bval: BvalTable = None, bvec: BvecTable = None, force: Force = False) -> None:
    """Make a synthetic subject with known wiring, and its truth."""
    from tractome.io.gradients import read_gradients
    from tractome.phantom import make_phantom, phantom_grid, write_phantom
    from tractome.pipeline import require_free_folder

    require_free_folder(out, "phantom.json", force=force)
    options, gradients = chosen[PhantomOptions], None
    if bvec is not None and bval is None:
        message = "--bvec is given without --bval. Directions need their b-values: give both files."
        raise OptionError(message)
    if bval is not None:
        gradients = read_gradients(bval, bvec, phantom_grid(options), None, ReadOptions()).gradients
    made = make_phantom(options, gradients)
    write_phantom(out, made)
    chosen.terminal.summary(out, f"{made.grid.describe()}, {made.gradients.describe()}")
