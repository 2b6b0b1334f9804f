"""`tractome export`: files for other tools."""

from tractome.options import ExportOptions
from tractome_cli.params import Atlas, Chosen, Force, SubjectPath, command

EXAMPLE = "tractome export results/sub-01 --formats tsv,mat,graphml"


@command(ExportOptions)
def export(folder: SubjectPath, chosen: Chosen, atlas: Atlas = None, force: Force = False) -> None:
    """Write the matrices and the graph as other tools read them."""
    from tractome.pipeline import export_subject, old_subject

    terminal = chosen.terminal
    with old_subject(folder, terminal, force=force) as ledger:
        record = export_subject(ledger, chosen[ExportOptions], atlas=atlas)
    terminal.summary(ledger.subject.root, f"{len(record.outputs)} files: {', '.join(record.facts['formats'])}")
