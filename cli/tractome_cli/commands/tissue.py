"""`tractome tissue`: where grey matter, white matter and CSF are."""

from tractome.options import TissueOptions
from tractome_cli.params import Chosen, Force, LabelsFile, RegionsFile, SubjectPath, T1File, Threads, command

EXAMPLE = "tractome tissue results/sub-01 --t1 T1w.nii.gz"


@command(TissueOptions)
def tissue(
    folder: SubjectPath,
    chosen: Chosen,
    t1: T1File = None,
    labels: LabelsFile = None,
    regions: RegionsFile = None,
    threads: Threads = 0,
    force: Force = False,
) -> None:
    """Make a map of five tissue types, for tracking, from the best there is.

    Without --t1 and --labels those of earlier stages are taken.
    """
    from tractome.pipeline import TissueFiles, earlier_files, old_subject, tissue_subject

    terminal = chosen.terminal
    with old_subject(folder, terminal, force=force) as ledger:
        given = t1 is not None or labels is not None or regions is not None
        files = TissueFiles(t1, None, labels, regions) if given else earlier_files(ledger)
        record = tissue_subject(ledger, chosen[TissueOptions], files, n_threads=threads)
    if record is None:
        terminal.summary(ledger.subject.root, "no tissue map was made")
        return
    volumes = ", ".join(f"{name.replace('_', ' ')} {ml:,.0f} ml" for name, ml in record.facts["volumes_ml"].items())
    terminal.summary(ledger.subject.root, f"tissue from {record.facts['source']}: {volumes}")
