"""`tractome run`: the whole way, from a scan to matrices and a graph."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tractome.options import (
    ConnectOptions,
    ExportOptions,
    FitOptions,
    ParcellateOptions,
    PreprocessOptions,
    ReadOptions,
    TissueOptions,
    TrackOptions,
    WeighOptions,
)
from tractome_cli.console import show_json, show_table
from tractome_cli.params import (
    AsJson,
    BvalFile,
    BvecFile,
    Chosen,
    ExcludeMasks,
    Force,
    GradDevFile,
    IncludeMasks,
    LabelsFile,
    MaskFile,
    PreprocessFirst,
    RegionsFile,
    ResponseFiles,
    ReversedFiles,
    SeedMaskFile,
    SeedPointsFile,
    T1File,
    TissueFile,
    TrackingMaskFile,
    Weigh,
    Whole,
    command,
    paths,
)
from tractome_cli.path_params import (
    Accepted,
    CheckFirst,
    DryRun,
    FoundSubjectLabel,
    ResultsFolder,
    RunPath,
    ScanFile,
    ScanName,
    SessionLabel,
)
from tractome_cli.tables import file_rows, run_rows, source_rows, stage_rows

if TYPE_CHECKING:
    from tractome.pipeline import RunOptions

EXAMPLE = "tractome run my_subject --out results"


@command(
    ReadOptions,
    PreprocessOptions,
    FitOptions,
    ParcellateOptions,
    TissueOptions,
    TrackOptions,
    ConnectOptions,
    ExportOptions,
    go_on="Run the same command again to go on: the stages that were done are kept.",
)
def run(
    chosen: Chosen,
    path: RunPath = None,
    dwi: ScanFile = None,
    out: ResultsFolder = Path("tractome-results"),
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
    subject: FoundSubjectLabel = None,
    session: SessionLabel = None,
    scan: ScanName = None,
    tractogram: Whole = None,
    weigh: Weigh = False,
    preprocess: PreprocessFirst = "auto",
    reversed_b0: ReversedFiles = None,
    check: CheckFirst = True,
    accept: Accepted = None,
    dry_run: DryRun = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Do all stages for one subject; what is already done is not done again."""
    from tractome.pipeline import GivenFiles, SubjectFiles, gather_sources, new_subject, run_subject
    from tractome.pipeline import summarise_run as summarise

    terminal = chosen.terminal
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
        responses=paths(response),
    )
    atlas, others = _atlases(chosen[ParcellateOptions].atlas)
    sources = gather_sources(path, given, atlas=atlas, subject=subject, session=session, scan=scan)
    if dry_run and as_json:
        show_json(sources.as_dict())
        return
    for line in sources.describe():
        terminal.say(line)
    if dry_run:
        show_table("Files", source_rows(sources.as_dict()))
        return
    weighed = WeighOptions(n_threads=chosen[TrackOptions].n_threads) if weigh else None
    more = {"weigh": weighed, "whole": tractogram, "check": check, "accept": tuple(accept or ())}
    options = _options(chosen, sources.atlas, **more)
    masks = (seed_mask, seed_points, tuple(include or ()), tuple(exclude or ()), tracking_mask)
    freesurfer = sources.found.freesurfer_labels if sources.found is not None else None
    raw, why = sources.to_preprocess(preprocess, tuple(reversed_b0 or ()))
    if why:
        terminal.note(why)
    files = SubjectFiles(
        sources.scan,
        sources.regions_from,
        # A source asked for by name comes before a map that was only found.
        sources.tissue if chosen[TissueOptions].tissue_source == "auto" else tissue,
        *masks,
        freesurfer=freesurfer,
        labels_follow_t1=sources.labels_follow_t1,
        raw=raw,
        further={name: sources.regions_of(name) for name in others},
    )
    place = {"session": sources.session, "scan": sources.scan_name}
    with new_subject(out, sources.scan.dwi, sources.label, terminal, **place, force=force) as ledger:
        summary = summarise(ledger.subject, run_subject(ledger, files, options))
    if as_json:
        show_json(summary)
        return
    show_table(summary["subject"], run_rows(summary))
    show_table("Stages", stage_rows(summary), ("stage", "time", "peak memory", "files"))
    show_table(f"Files in {summary['folder']}", file_rows(summary))


def _atlases(given: str | None) -> tuple[str | None, list[str]]:
    """The parcellation of the summary, and the others: names with commas between them, each once."""
    names = list(dict.fromkeys(name for name in (given or "").split(",") if name))
    return (names[0], names[1:]) if names else (None, [])


def _options(chosen: Chosen, atlas: str | None, **more: Any) -> "RunOptions":
    """What was chosen for every stage, with the parcellation that was found."""
    from tractome.pipeline import RunOptions

    return RunOptions(
        read=chosen[ReadOptions],
        preprocess=chosen[PreprocessOptions],
        fit=chosen[FitOptions],
        parcellate=replace(chosen[ParcellateOptions], atlas=atlas),
        tissue=chosen[TissueOptions],
        track=chosen[TrackOptions],
        connect=chosen[ConnectOptions],
        export=chosen[ExportOptions],
        **more,
    )
