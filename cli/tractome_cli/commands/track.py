"""`tractome track`: streamlines."""

from tractome.options import TrackOptions
from tractome_cli.params import Chosen, Force, SeedMaskFile, SubjectPath, TissueFile, Whole, command

EXAMPLE = "tractome track results/sub-01 --tissue 5tt.nii.gz --streamlines 20000"


@command(TrackOptions)
def track(
    folder: SubjectPath,
    chosen: Chosen,
    tissue: TissueFile = None,
    seed_mask: SeedMaskFile = None,
    tractogram: Whole = None,
    force: Force = False,
) -> None:
    """Track streamlines through the orientations that `tractome fit` made."""
    from tractome.pipeline import old_subject, track_subject, use_threads

    terminal, options = chosen.terminal, chosen[TrackOptions]
    use_threads(options.n_threads, terminal)
    with old_subject(folder, terminal, force=force) as ledger:
        record = track_subject(ledger, options, tissue=tissue, seed_mask=seed_mask, whole=tractogram)
    facts = record.facts
    terminal.summary(
        ledger.subject.root,
        f"{facts['n_accepted']:,} streamlines accepted of {facts['n_seeds']:,} seeds; "
        f"mean length {facts['mean_length_mm']:.0f} mm",
    )
