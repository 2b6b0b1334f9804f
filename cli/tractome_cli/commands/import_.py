"""`tractome import`: matrices that another program made."""

from pathlib import Path
from typing import Annotated

import typer

from tractome.options import ImportOptions
from tractome_cli.params import Chosen, Force, OutFolder, command

EXAMPLE = "tractome import sub-01_count.csv sub-01_fa.csv --regions lut.txt --out results"

Matrices = Annotated[
    list[Path],
    typer.Argument(
        metavar="MATRIX...",
        help="Matrix or list of edges (.csv .tsv .txt .edgelist .mat .h5 .npz .graphml .gexf .json), one or more per "
        "subject; sub-LABEL in its name says whose it is.",
        show_default=False,
    ),
]
Regions = Annotated[
    Path | None,
    typer.Option("--regions", help="Region table: which rows there are, and their names.", show_default=False),
]
Values = Annotated[
    str | None,
    typer.Option(
        "--region-values",
        help="Table with a line per region (name or label, then columns of numbers such as volume_mm3, fa) to become "
        "node features; {subject} in its path stands for the label.",
        show_default=False,
    ),
]
Label = Annotated[
    str | None, typer.Option("--subject", help="Label of the subject all files belong to.", show_default=False)
]
AtlasName = Annotated[
    str | None,
    typer.Option("--atlas", help="What to call the regions; by default as the table's file.", show_default=False),
]


@command(ImportOptions)
def import_(
    matrices: Matrices,
    out: OutFolder,
    chosen: Chosen,
    regions: Regions = None,
    region_values: Values = None,
    subject: Label = None,
    atlas: AtlasName = None,
    force: Force = False,
) -> None:
    """Bring in matrices that another program made, so that every later command works on them."""
    from tractome.pipeline import files_by_subject, import_subject, new_subject

    terminal = chosen.terminal
    found = files_by_subject(matrices, subject, regions, region_values)
    for files in found.values():
        files.require(atlas)  # of all of them, before a folder is made for the first
    for label, files in found.items():
        with new_subject(out, files.matrices[0], label, terminal, force=force) as ledger:
            facts = import_subject(ledger, files, chosen[ImportOptions], atlas=atlas).facts
        measures = ", ".join(facts["measures"])
        terminal.summary(
            ledger.subject.root, f"{measures}: {facts['n_edges']:,} edges among {facts['n_regions']} regions"
        )
