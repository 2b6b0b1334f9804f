"""`tractome preprocess`: a raw scan made fit for fitting."""

from pathlib import Path
from typing import Annotated

import typer

from tractome.options import PreprocessOptions, ReadOptions
from tractome_cli.console import show_json
from tractome_cli.params import (
    AsJson,
    BvalFile,
    BvecFile,
    Chosen,
    DwiFile,
    Force,
    MaskFile,
    OutFolder,
    ReversedFiles,
    SubjectLabel,
    Threads,
    command,
)

EXAMPLE = "tractome preprocess --dwi dwi.nii.gz --t1 T1w.nii.gz --out results --subject 01"

HeadFile = Annotated[
    Path | None,
    typer.Option("--t1", help="T1-weighted image: shows the distortion where no reversed b0 does.", show_default=False),
]


@command(ReadOptions, PreprocessOptions)
def preprocess(
    dwi: DwiFile,
    out: OutFolder,
    chosen: Chosen,
    bval: BvalFile = None,
    bvec: BvecFile = None,
    mask: MaskFile = None,
    t1: HeadFile = None,
    reversed_b0: ReversedFiles = None,
    subject: SubjectLabel = None,
    threads: Threads = 0,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Correct a raw scan: noise, ringing, motion and eddy currents, distortion, uneven brightness."""
    from tractome.pipeline import PreprocessFiles, find_scan, new_subject, preprocess_subject, preprocess_summary
    from tractome.pipeline import use_threads as use

    terminal = chosen.terminal
    use(threads, terminal)
    files = PreprocessFiles(t1, tuple(reversed_b0 or ()))
    with new_subject(out, dwi, subject, terminal, force=force) as ledger:
        scan = find_scan(dwi, bval, bvec, mask)
        preprocess_subject(ledger, scan, chosen[ReadOptions], chosen[PreprocessOptions], files)
    facts = ledger.finished("preprocess").facts
    if as_json:
        show_json(facts)
        return
    terminal.summary(ledger.subject.root, preprocess_summary(facts))
