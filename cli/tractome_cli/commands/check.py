"""`tractome check`: everything that can be known of a subject's files before computing."""

from typing import Annotated

import typer

from tractome.options import ReadOptions
from tractome_cli.console import show, show_json, show_table
from tractome_cli.params import (
    AsJson,
    BvalFile,
    BvecFile,
    Chosen,
    GradDevFile,
    LabelsFile,
    MaskFile,
    RegionsFile,
    T1File,
    TissueFile,
    command,
)
from tractome_cli.path_params import (
    Accepted,
    FoundSubjectLabel,
    RunPath,
    ScanFile,
    ScanName,
    SessionLabel,
)
from tractome_cli.tables import finding_rows

EXAMPLE = "tractome check my_subject"

Quick = Annotated[
    bool,
    typer.Option("--quick", help="Leave out what needs every volume: dropped slices, motion, gradient orientation."),
]
LabelAtlas = Annotated[
    str | None,
    typer.Option("--atlas", help="Which of the subject's own labels, or whose table names them.", show_default=False),
]


@command(ReadOptions)
def check(
    chosen: Chosen,
    path: RunPath = None,
    dwi: ScanFile = None,
    bval: BvalFile = None,
    bvec: BvecFile = None,
    mask: MaskFile = None,
    grad_dev: GradDevFile = None,
    t1: T1File = None,
    labels: LabelsFile = None,
    regions: RegionsFile = None,
    tissue: TissueFile = None,
    atlas: LabelAtlas = None,
    subject: FoundSubjectLabel = None,
    session: SessionLabel = None,
    scan: ScanName = None,
    accept: Accepted = None,
    quick: Quick = False,
    as_json: AsJson = False,
) -> None:
    """Look for what is wrong with a subject's files; 0 for nothing, 1 for warnings, 2 for what cannot be right."""
    from tractome.pipeline import GivenFiles, check_files, files_to_check

    given = GivenFiles(
        dwi=dwi,
        bval=bval,
        bvec=bvec,
        mask=mask,
        grad_dev=grad_dev,
        t1=t1,
        labels=labels,
        regions=regions,
        tissue=tissue,
    )
    files = files_to_check(path, given, atlas=atlas, subject=subject, session=session, scan=scan)
    progress = chosen.terminal.progress("reading", "volumes")
    report = check_files(files, chosen[ReadOptions], tuple(accept or ()), quick=quick, progress=progress)
    chosen.terminal.close()
    if as_json:
        listed = {role: str(each) for role, each in files.by_role().items()}
        show_json({"files": listed, **report.as_dict()})
    else:
        show_table("Files", [(role, str(each)) for role, each in files.by_role().items()])
        if report.facts:
            show_table("Facts", list(report.facts.items()))
        if report.findings:
            show_table("Findings", finding_rows(report), ("", "name", "what to do"))
        show(f"{files.scan.dwi}: {report.verdict}")
    if report.exit_code:
        raise typer.Exit(report.exit_code)
