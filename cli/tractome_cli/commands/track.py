"""`tractome track`: streamlines."""

from tractome.options import TrackOptions
from tractome_cli.params import (
    Chosen,
    ExcludeMasks,
    Force,
    IncludeMasks,
    SeedMaskFile,
    SeedPointsFile,
    SubjectPath,
    TissueFile,
    TrackingMaskFile,
    Whole,
    command,
)

EXAMPLE = "tractome track results/sub-01 --tissue 5tt.nii.gz --streamlines 20000"


@command(TrackOptions)
def track(
    folder: SubjectPath,
    chosen: Chosen,
    tissue: TissueFile = None,
    seed_mask: SeedMaskFile = None,
    seed_points: SeedPointsFile = None,
    include: IncludeMasks = None,
    exclude: ExcludeMasks = None,
    tracking_mask: TrackingMaskFile = None,
    tractogram: Whole = None,
    force: Force = False,
) -> None:
    """Track streamlines through the orientations that `tractome fit` made."""
    from tractome.pipeline import TrackingFiles, old_subject, track_subject, use_threads

    terminal, options = chosen.terminal, chosen[TrackOptions]
    files = TrackingFiles(tissue, seed_mask, seed_points, tuple(include or ()), tuple(exclude or ()), tracking_mask)
    use_threads(options.n_threads, terminal)
    with old_subject(folder, terminal, force=force) as ledger:
        record = track_subject(ledger, options, files, whole=tractogram)
    facts = record.facts
    terminal.summary(
        ledger.subject.root,
        f"{facts['n_accepted']:,} streamlines accepted of {facts['n_seeds']:,} seeds; "
        f"mean length {facts['mean_length_mm']:.0f} mm",
    )
