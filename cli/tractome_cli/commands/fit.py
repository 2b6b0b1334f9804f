"""`tractome fit`: tensors and fibre orientation distributions."""

from tractome.options import FitOptions, ReadOptions
from tractome_cli.params import (
    BvalFile,
    BvecFile,
    Chosen,
    DwiFile,
    Force,
    GradDevFile,
    MaskFile,
    OutFolder,
    ResponseFiles,
    SubjectLabel,
    Threads,
    command,
    paths,
)

EXAMPLE = "tractome fit --dwi dwi.nii.gz --bval dwi.bval --bvec dwi.bvec --out results --subject 01"


@command(ReadOptions, FitOptions)
def fit(
    dwi: DwiFile,
    out: OutFolder,
    chosen: Chosen,
    bval: BvalFile = None,
    bvec: BvecFile = None,
    mask: MaskFile = None,
    grad_dev: GradDevFile = None,
    response: ResponseFiles = None,
    subject: SubjectLabel = None,
    threads: Threads = 0,
    force: Force = False,
) -> None:
    """Fit tensors and fibre orientation distributions to a scan: the first stage."""
    from tractome.pipeline import find_scan, fit_subject, new_subject, use_threads

    terminal = chosen.terminal
    use_threads(threads, terminal)
    with new_subject(out, dwi, subject, terminal, force=force) as ledger:
        scan = find_scan(dwi, bval, bvec, mask, paths(response), grad_dev)
        record = fit_subject(ledger, scan, chosen[ReadOptions], chosen[FitOptions])
    facts = record.facts
    terminal.summary(
        ledger.subject.root,
        f"{facts['n_voxels']:,} voxels, {facts['brain_volume_ml']:.0f} ml; {facts['gradients']}; "
        f"directions from {facts['model']} ({facts['model_reason']})",
    )
