"""`tractome phantom`: a synthetic subject with known wiring."""

import dataclasses
import difflib
from pathlib import Path
from typing import Annotated, Any

import typer

from tractome.errors import OptionError
from tractome.options import PHANTOM_PRESETS, PhantomOptions, ReadOptions
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
Preset = Annotated[
    str,
    typer.Option(
        "--preset",
        metavar="|".join(PHANTOM_PRESETS),
        help="A kind of subject: sets the options below; those that are given override it.",
    ),
]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write the subject to.", show_default=False)]


@command(PhantomOptions)
def phantom(
    out: Out,
    chosen: Chosen,
    context: typer.Context,
    preset: Preset = "standard",
    bval: BvalTable = None,
    bvec: BvecTable = None,
    force: Force = False,
) -> None:
    """Make a synthetic subject with known wiring, and its truth."""
    if preset not in PHANTOM_PRESETS:
        close = difflib.get_close_matches(preset, PHANTOM_PRESETS, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        message = f"--preset {preset} is not known; choose one of: {', '.join(PHANTOM_PRESETS)}.{hint}"
        raise OptionError(message)
    if bvec is not None and bval is None:
        message = "--bvec is given without --bval. Directions need their b-values: give both files."
        raise OptionError(message)
    from tractome.io.gradients import read_gradients
    from tractome.phantom import make_phantom, phantom_grid, preset_options, write_phantom
    from tractome.pipeline import require_free_folder

    options, gradients = preset_options(preset, **_given(context, chosen[PhantomOptions])), None
    require_free_folder(out, "phantom.json", force=force)
    if bval is not None:
        gradients = read_gradients(bval, bvec, phantom_grid(options), None, ReadOptions()).gradients
    made = make_phantom(options, gradients)
    write_phantom(out, made)
    chosen.terminal.summary(out, f"{made.grid.describe()}, {made.gradients.describe()}")


def _given(context: typer.Context, options: PhantomOptions) -> dict[str, Any]:
    """The options that stood on the command line: a default must not override a preset."""
    names = [field.name for field in dataclasses.fields(options)]
    sources = {name: context.get_parameter_source(name) for name in names}
    return {name: getattr(options, name) for name, source in sources.items() if source and source.name != "DEFAULT"}
