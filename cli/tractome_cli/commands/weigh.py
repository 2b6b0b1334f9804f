"""`tractome weigh`: one weight per streamline."""

from pathlib import Path
from typing import Annotated

import typer

from tractome.errors import OptionError
from tractome.options import WeighOptions
from tractome_cli.params import Chosen, FodFile, FodMaskFile, Force, command

EXAMPLE = "tractome weigh results/sub-01"

TrackedSubject = Annotated[
    Path | None,
    typer.Argument(
        metavar="FOLDER",
        help="Folder of a subject that was tracked, such as out/sub-01; or give --fod, --tractogram and --out.",
        show_default=False,
    ),
]
TractogramFile = Annotated[
    Path | None,
    typer.Option(
        "--tractogram",
        help="Whole streamlines (.trx, .tck, .trk); by default those that tracking kept.",
        show_default=False,
    ),
]
WeighTissueFile = Annotated[
    Path | None,
    typer.Option(
        "--tissue",
        help="Five-tissue-type image: voxels count by their white matter squared; by default the one of tracking.",
        show_default=False,
    ),
]
ProcessingMaskFile = Annotated[
    Path | None,
    typer.Option("--processing-mask", help="How much each voxel counts, on the grid of the FODs.", show_default=False),
]
WeightsFile = Annotated[
    Path | None, typer.Option("--out", help="With --fod: text file of the weights.", show_default=False)
]
Retrace = Annotated[
    bool, typer.Option("--retrace", help="Where only the ends of streamlines were kept: track the same ones again.")
]


@command(WeighOptions)
def weigh(
    chosen: Chosen,
    folder: TrackedSubject = None,
    tractogram: TractogramFile = None,
    tissue: WeighTissueFile = None,
    processing_mask: ProcessingMaskFile = None,
    fod: FodFile = None,
    mask: FodMaskFile = None,
    out: WeightsFile = None,
    retrace: Retrace = False,
    force: Force = False,
) -> None:
    """Weigh streamlines, so that they add up to the fibre density: the SIFT2 model."""
    from tractome.pipeline import WeighFiles, old_subject, use_threads, weigh_subject, weigh_tractogram

    terminal, options = chosen.terminal, chosen[WeighOptions]
    files = WeighFiles(tractogram, tissue, processing_mask)
    if (folder is None) == (fod is None) or (fod is None) != (out is None) or (mask is not None and fod is None):
        message = "Give the folder of a tracked subject, or FODs with --fod, --tractogram and --out (and --mask)."
        raise OptionError(message)
    use_threads(options.n_threads, terminal)
    if fod is not None and out is not None:
        _require_free(out, force=force)
        found = weigh_tractogram(fod, files, out, options, terminal, mask=mask)
        place, facts, mu = out, found.facts, found.mu_per_mm
    else:
        assert folder is not None
        with old_subject(folder, terminal, force=force) as ledger:
            record = weigh_subject(ledger, options, files, retrace=retrace)
        place, facts, mu = ledger.subject.weights, record.facts, float(record.facts["mu_per_mm"])
    terminal.summary(
        place,
        f"{facts['n_streamlines']:,} streamlines weighed, mu {mu:.6g} per mm; misfit to the fibre density "
        f"{facts['misfit_before']:.4g} -> {facts['misfit_after']:.4g} in {facts['n_iterations']} iterations; "
        f"effective number of streamlines {facts['n_effective']:,.0f}",
    )


def _require_free(out: Path, *, force: bool) -> None:
    for path in (out, out.with_suffix(".json"), out.with_suffix(".png")):
        if path.exists() and not force:
            message = f"{path} exists. Give another --out, or pass --force to replace it."
            raise OptionError(message)
