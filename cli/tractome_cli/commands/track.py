"""`tractome track`: streamlines."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from tractome.errors import OptionError
from tractome.options import TissueOptions, TrackOptions
from tractome_cli.params import (
    Chosen,
    ExcludeMasks,
    FaFile,
    FittedSubject,
    FodFile,
    FodMaskFile,
    FodOutFolder,
    FodSubjectLabel,
    Force,
    IncludeMasks,
    SeedMaskFile,
    SeedPointsFile,
    TissueFile,
    TrackingMaskFile,
    UntilAtlas,
    Whole,
    command,
)
from tractome_cli.tables import convergence

if TYPE_CHECKING:
    from tractome.pipeline import Ledger
    from tractome_cli.console import Terminal

EXAMPLE = "tractome track results/sub-01 --tissue 5tt.nii.gz --streamlines 20000"


@command(TissueOptions, TrackOptions)
def track(
    chosen: Chosen,
    folder: FittedSubject = None,
    tissue: TissueFile = None,
    seed_mask: SeedMaskFile = None,
    seed_points: SeedPointsFile = None,
    include: IncludeMasks = None,
    exclude: ExcludeMasks = None,
    tracking_mask: TrackingMaskFile = None,
    tractogram: Whole = None,
    atlas: UntilAtlas = None,
    fod: FodFile = None,
    mask: FodMaskFile = None,
    fa: FaFile = None,
    out: FodOutFolder = None,
    subject: FodSubjectLabel = None,
    force: Force = False,
) -> None:
    """Track streamlines through the orientations that `tractome fit` made, or through FODs of another program."""
    from tractome.pipeline import (
        GivenOrientations,
        TrackingFiles,
        Until,
        adopt_orientations,
        earlier_files,
        require_tracking_inputs,
        track_subject,
        use_threads,
        with_tissue,
    )

    terminal, options = chosen.terminal, chosen[TrackOptions]
    files = TrackingFiles(tissue, seed_mask, seed_points, tuple(include or ()), tuple(exclude or ()), tracking_mask)
    require_tracking_inputs(options, files, tractogram)
    if atlas is not None and options.until_cv is None:
        message = "--atlas says whose edges --until-cv looks at, and that was not given. Give both or none."
        raise OptionError(message)
    use_threads(options.n_threads, terminal)
    with _opened(folder, fod, mask, fa, out, subject, terminal, force=force) as ledger:
        until = Until.of(ledger, options, atlas)
        if fod is not None:
            adopt_orientations(ledger, GivenOrientations(fod, mask, fa))
        files, _ = with_tissue(ledger, files, chosen[TissueOptions], earlier_files(ledger), n_threads=options.n_threads)
        record = track_subject(ledger, options, files, whole=tractogram, until=until)
    facts = record.facts
    reached = [f"; {convergence(facts)}, see {ledger.subject.convergence.name}"] if "until_cv" in facts else []
    terminal.summary(
        ledger.subject.root,
        f"{facts['n_accepted']:,} streamlines accepted of {facts['n_seeds']:,} seeds; "
        f"mean length {facts['mean_length_mm']:.0f} mm{''.join(reached)}",
    )


def _opened(
    folder: Path | None,
    fod: Path | None,
    mask: Path | None,
    fa: Path | None,
    out: Path | None,
    subject: str | None,
    terminal: Terminal,
    *,
    force: bool,
) -> AbstractContextManager[Ledger]:
    """The folder of a fitted subject, or a new one for FODs of another program."""
    from tractome.pipeline import new_subject, old_subject

    if folder is not None and fod is None:
        for value, flag in ((mask, "--mask"), (fa, "--fa"), (out, "--out"), (subject, "--subject")):
            if value is not None:
                message = f"{flag} belongs to --fod, and a fitted folder is given. Give one of the two."
                raise OptionError(message)
        return old_subject(folder, terminal, force=force)
    if folder is not None or fod is None or out is None:
        message = "Give the folder of a fitted subject, or an FOD image with --fod and a folder for results with --out."
        raise OptionError(message)
    return new_subject(out, fod, subject, terminal, force=force)
