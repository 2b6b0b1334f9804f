"""Options of commands that find a subject's files by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RunPath = Annotated[
    Path | None,
    typer.Argument(
        metavar="PATH",
        help="Data set, folder of a subject or session, or scan: HCP, QSIPrep, BIDS or plain files. What it holds is "
        "found and used; the options below override it.",
        show_default=False,
    ),
]
ScanFile = Annotated[
    Path | None,
    typer.Option("--dwi", help="Diffusion scan, 4-D NIfTI, in place of PATH or of its scan.", show_default=False),
]
FoundSubjectLabel = Annotated[
    str | None,
    typer.Option(
        "--subject",
        help="Which subject of PATH. With --dwi only: label of the results; by default from sub-LABEL in the scan's "
        "path, or 01.",
        show_default=False,
    ),
]
SessionLabel = Annotated[
    str | None, typer.Option("--session", help="Which session of the subject.", show_default=False)
]
ScanName = Annotated[
    str | None,
    typer.Option("--scan", help="Which scan of the session, such as run-2 or acq-multi.", show_default=False),
]
Accepted = Annotated[
    list[str] | None,
    typer.Option("--accept", metavar="NAME", help="Finding to take responsibility for; may be given more than once."),
]
CheckFirst = Annotated[
    bool, typer.Option("--check/--no-check", help="Check the files first, and refuse what cannot be right.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what was found and what it is used for; do nothing.")]
ResultsFolder = Annotated[Path, typer.Option("--out", help="Folder for all results.")]
