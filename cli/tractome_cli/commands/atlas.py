"""`tractome atlas`: which atlases there are, and new ones."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from tractome.errors import AtlasError, OptionError
from tractome_cli.console import show, show_json, show_table
from tractome_cli.params import AsJson, Chosen, command

app = typer.Typer(
    help="List, show, add, fetch and check atlases.", epilog="Example: tractome atlas list", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of an atlas.", show_default=False)]
Labels = Annotated[Path, typer.Argument(metavar="LABELS", help="Label image, 3-D NIfTI.", show_default=False)]
Regions = Annotated[Path, typer.Argument(metavar="REGIONS", help="Region table, TSV or CSV.", show_default=False)]


def _stated(flag: str, what: str) -> object:
    return typer.Option(flag, help=what, show_default=False)


@app.command("list", epilog="Example: tractome atlas list")
@command()
def list_(chosen: Chosen, as_json: AsJson = False) -> None:
    """List the atlases that can be used."""
    from tractome.io.atlases import list_atlases

    atlases = list_atlases()
    if as_json:
        show_json({each.name: each.as_dict() for each in atlases})
        return
    rows = [(each.name, str(each.n_regions), each.space, each.title) for each in atlases]
    show_table("Atlases", rows, ("name", "regions", "space", "title"))


@app.command("show", epilog="Example: tractome atlas show desikan-killiany-83")
@command()
def show_(name: Name, chosen: Chosen, as_json: AsJson = False) -> None:
    """Show where an atlas comes from, what to cite, and its regions."""
    from tractome.io.atlases import read_atlas_regions

    info, regions = read_atlas_regions(name)
    if as_json:
        show_json({**info.as_dict(), "regions": list(regions.names)})
        return
    facts = [(key.replace("_", " "), str(value)) for key, value in info.as_dict().items() if value]
    show_table(name, facts)
    columns = zip(regions.labels, regions.names, regions.hemispheres, regions.structures, regions.networks, strict=True)
    rows = [tuple(str(cell) for cell in row) for row in columns]
    show_table("Regions", rows, ("label", "name", "hemisphere", "structure", "network"))


@app.command(
    "add",
    epilog="Example: tractome atlas add my-atlas labels.nii.gz regions.tsv --space MNI152NLin6Asym "
    "--citation 'Me et al. 2025'",
)
@command()
def add(
    name: Name,
    labels: Labels,
    regions: Regions,
    chosen: Chosen,
    title: Annotated[str | None, _stated("--title", "Title.")] = None,
    space: Annotated[str | None, _stated("--space", "Standard space, such as MNI152NLin6Asym.")] = None,
    source: Annotated[str | None, _stated("--source", "Where it comes from.")] = None,
    citation: Annotated[str | None, _stated("--citation", "What to cite.")] = None,
    licence: Annotated[str | None, _stated("--licence", "Its licence.")] = None,
) -> None:
    """Add an atlas of your own: checked, copied to your atlas folder, from then on known by name."""
    from tractome.io.atlases import add_atlas, atlas_folder

    given = {"title": title, "space": space, "source": source, "citation": citation, "licence": licence}
    info = add_atlas(name, labels, regions, description={key: value for key, value in given.items() if value})
    chosen.terminal.summary(atlas_folder() / info.name, f"{info.n_regions} regions; use it with --atlas {info.name}")


@app.command("fetch", epilog="Example: tractome atlas fetch aal --set version=3v2 --name aal3")
@command()
def fetch(
    fetcher: Annotated[str, typer.Argument(metavar="ATLAS", help="nilearn's name of it.", show_default=False)],
    chosen: Chosen,
    settings: Annotated[list[str] | None, _stated("--set", "KEY=VALUE for nilearn; may be repeated.")] = None,
    name: Annotated[str | None, _stated("--name", "Name here; by default made of the others.")] = None,
) -> None:
    """Download an atlas with nilearn, once, and add it to your own.

    What nilearn has: aal, destrieux_2009, harvard_oxford, juelich, pauli_2017, schaefer_2018, talairach, yeo_2011 and
    more; those with one region per voxel can be used.
    """
    from tractome.io.atlases import atlas_folder
    from tractome.io.fetched import fetch_atlas

    info, note = fetch_atlas(fetcher, dict(map(_setting, settings or ())), name)
    if note:
        chosen.terminal.note(note)
    chosen.terminal.summary(atlas_folder() / info.name, f"{info.n_regions} regions; use it with --atlas {info.name}")


def _setting(text: str) -> tuple[str, str | int | float]:
    key, sign, value = text.partition("=")
    if not (key and sign and value):
        message = f"--set {text} is not understood; give KEY=VALUE, such as version=3v2."
        raise OptionError(message)
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return key, kind(value)
    return key, value


@app.command("check", epilog="Example: tractome atlas check labels.nii.gz regions.tsv")
@command()
def check(labels: Labels, regions: Regions, chosen: Chosen) -> None:
    """Check that a label image and a region table fit each other."""
    from tractome.io.atlases import check_atlas
    from tractome.io.images import read_labels
    from tractome.io.regions import read_region_table

    volume, grid = read_labels(labels)
    table = read_region_table(regions)
    faults = check_atlas(volume, grid, table)
    if faults:
        message = f"{labels} and {regions} do not fit each other: " + " ".join(faults)
        raise AtlasError(message)
    show(f"{labels}: {table.n_regions} regions, {grid.describe()}; volume and table fit each other.")
