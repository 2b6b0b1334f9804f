"""`tractome parcellate`: which region is where in this subject."""

from tractome.options import ParcellateOptions
from tractome_cli.params import Chosen, Force, LabelsFile, RegionsFile, SubjectPath, T1File, Threads, command

EXAMPLE = "tractome parcellate results/sub-01 --t1 T1w.nii.gz --atlas desikan-killiany-83"


@command(ParcellateOptions)
def parcellate(
    folder: SubjectPath,
    chosen: Chosen,
    t1: T1File = None,
    labels: LabelsFile = None,
    regions: RegionsFile = None,
    threads: Threads = 0,
    force: Force = False,
) -> None:
    """Bring an atlas to the subject, or take its own label image.

    Without --t1 and --labels the atlas comes through the T1 of an earlier registration, or else through FA.
    """
    from tractome.pipeline import LabelSource, earlier_t1, old_subject, parcellate_subject

    terminal = chosen.terminal
    with old_subject(folder, terminal, force=force) as ledger:
        t1 = t1 if t1 is not None or labels is not None else earlier_t1(ledger)
        record = parcellate_subject(ledger, chosen[ParcellateOptions], LabelSource(t1, labels, regions), threads)
    facts = record.facts
    terminal.summary(
        ledger.subject.root,
        f"{facts['atlas']}: {facts['n_regions']} regions, {len(facts['missing'])} missing in this subject",
    )
