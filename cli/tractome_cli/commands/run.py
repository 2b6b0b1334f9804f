"""`tractome run`: the whole way, from a scan to matrices and a graph."""

from tractome.options import ConnectOptions, ExportOptions, FitOptions, ParcellateOptions, ReadOptions, TrackOptions
from tractome_cli.console import show_json, show_table
from tractome_cli.params import (
    AsJson,
    BvalFile,
    BvecFile,
    Chosen,
    DwiFile,
    ExcludeMasks,
    Force,
    GradDevFile,
    IncludeMasks,
    LabelsFile,
    MaskFile,
    OutFolder,
    RegionsFile,
    ResponseFiles,
    SeedMaskFile,
    SeedPointsFile,
    SubjectLabel,
    T1File,
    TissueFile,
    TrackingMaskFile,
    Whole,
    command,
    paths,
)
from tractome_cli.tables import file_rows, run_rows, stage_rows

EXAMPLE = "tractome run --dwi dwi.nii.gz --bval dwi.bval --bvec dwi.bvec --t1 T1w.nii.gz --out results"


@command(
    ReadOptions,
    FitOptions,
    ParcellateOptions,
    TrackOptions,
    ConnectOptions,
    ExportOptions,
    go_on="Run the same command again to go on: the stages that were done are kept.",
)
def run(
    dwi: DwiFile,
    out: OutFolder,
    chosen: Chosen,
    bval: BvalFile = None,
    bvec: BvecFile = None,
    mask: MaskFile = None,
    grad_dev: GradDevFile = None,
    response: ResponseFiles = None,
    t1: T1File = None,
    labels: LabelsFile = None,
    regions: RegionsFile = None,
    tissue: TissueFile = None,
    seed_mask: SeedMaskFile = None,
    seed_points: SeedPointsFile = None,
    include: IncludeMasks = None,
    exclude: ExcludeMasks = None,
    tracking_mask: TrackingMaskFile = None,
    subject: SubjectLabel = None,
    tractogram: Whole = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Do all stages for one subject; what is already done is not done again."""
    from tractome.pipeline import (
        LabelSource,
        RunOptions,
        SubjectFiles,
        find_scan,
        new_subject,
        run_subject,
        summarise_run,
    )

    terminal = chosen.terminal
    scan = find_scan(dwi, bval, bvec, mask, paths(response), grad_dev)
    files = SubjectFiles(
        scan,
        LabelSource(t1, labels, regions),
        tissue,
        seed_mask,
        seed_points,
        tuple(include or ()),
        tuple(exclude or ()),
        tracking_mask,
    )
    options = RunOptions(
        read=chosen[ReadOptions],
        fit=chosen[FitOptions],
        parcellate=chosen[ParcellateOptions],
        track=chosen[TrackOptions],
        connect=chosen[ConnectOptions],
        export=chosen[ExportOptions],
        whole=tractogram,
    )
    with new_subject(out, dwi, subject, terminal, force=force) as ledger:
        done = run_subject(ledger, files, options)
    summary = summarise_run(ledger.subject, done)
    if as_json:
        show_json(summary)
        return
    show_table(summary["subject"], run_rows(summary))
    show_table("Stages", stage_rows(summary), ("stage", "time", "peak memory", "files"))
    show_table(f"Files in {summary['folder']}", file_rows(summary))
