"""`tractome connect`: matrices."""

from tractome.options import ConnectOptions
from tractome_cli.params import Atlas, Chosen, Force, SubjectPath, command

EXAMPLE = "tractome connect results/sub-01 --atlas desikan-killiany-83 --radius 4"


@command(ConnectOptions)
def connect(folder: SubjectPath, chosen: Chosen, atlas: Atlas = None, force: Force = False) -> None:
    """Make region-by-region matrices from streamlines and a parcellation."""
    from tractome.pipeline import connect_subject, old_subject

    terminal = chosen.terminal
    with old_subject(folder, terminal, force=force) as ledger:
        record = connect_subject(ledger, chosen[ConnectOptions], atlas=atlas)
    facts = record.facts
    terminal.summary(
        ledger.subject.root,
        f"{facts['n_edges']:,} edges among {facts['n_regions']} regions, density {facts['density']:.3f}, "
        f"{facts['unassigned_share']:.1%} of the streamlines unassigned",
    )
