"""The `tractome` program: its commands, and nothing else.

Command modules import only options and errors; the library is imported when a command runs.
"""

from __future__ import annotations

from typing import Annotated

import typer

import tractome
from tractome_cli.commands import (
    analyze,
    atlas,
    check,
    compare,
    connect,
    dataset,
    export,
    fit,
    group,
    import_,
    parcellate,
    phantom,
    preprocess,
    run,
    tissue,
    track,
    weigh,
)
from tractome_cli.startup import spare_collector

app = typer.Typer(
    name="tractome",
    help="From one diffusion MRI scan to named brain graphs.",
    epilog="Example: tractome run --dwi dwi.nii.gz --t1 T1w.nii.gz --out results",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tractome {tractome.__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    pass


for module in (
    run,
    check,
    preprocess,
    fit,
    parcellate,
    tissue,
    track,
    weigh,
    connect,
    import_,
    export,
    dataset,
    group,
    compare,
    analyze,
    phantom,
):
    name = module.__name__.rpartition(".")[2]
    # `import` is a word of Python: its module and function end in an underscore.
    app.command(name.rstrip("_"), epilog=f"Example: {module.EXAMPLE}")(getattr(module, name))
app.add_typer(atlas.app, name="atlas")


def main() -> None:
    """Entry point of the `tractome` program."""
    spare_collector()
    app()


if __name__ == "__main__":
    main()
