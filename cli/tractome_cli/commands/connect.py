"""`tractome connect`: matrices."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tractome.errors import OptionError
from tractome.options import ConnectOptions
from tractome_cli.params import Chosen, Force, command

if TYPE_CHECKING:
    from tractome.pipeline import Ledger, MapFile
    from tractome_cli.console import Terminal

EXAMPLE = "tractome connect results/sub-01 --atlas desikan-killiany-83 --radius 4"

Source = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER|TRACTOGRAM",
        help="Folder of a subject, such as out/sub-01; or a tractogram made elsewhere (.tck, .trk, .trx), with "
        "--labels and --out.",
        show_default=False,
    ),
]
Atlases = Annotated[
    str | None,
    typer.Option(
        "--atlas",
        metavar="NAME,...",
        help="Which parcellations of the subject, or all; may be left out when there is one. With --labels: names for "
        "them.",
        show_default=False,
    ),
]
Maps = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="NAME[UNIT]=FILE",
        help="Another map to average along the streamlines; NaN is where it is not defined. May be given more than "
        "once.",
        show_default=False,
    ),
]
Retrace = Annotated[
    bool,
    typer.Option(
        "--retrace",
        help="Where whole streamlines are needed (a new map, forward ends, pooled means) and none were kept: track the "
        "same ones again.",
    ),
]
Labels = Annotated[
    list[Path] | None,
    typer.Option(
        "--labels",
        help="With a tractogram: label image in its space, on any grid. May be given more than once.",
        show_default=False,
    ),
]
Regions = Annotated[
    list[Path] | None,
    typer.Option(
        "--regions",
        help="Region table (TSV) of each label image, in the same order; by default named by number.",
        show_default=False,
    ),
]
Out = Annotated[
    Path | None, typer.Option("--out", help="With a tractogram: folder for all results.", show_default=False)
]
Label = Annotated[
    str | None,
    typer.Option(
        "--subject", help="With a tractogram: label; by default from sub-LABEL in its path, or 01.", show_default=False
    ),
]


@command(ConnectOptions)
def connect(
    source: Source,
    chosen: Chosen,
    atlas: Atlases = None,
    maps: Maps = None,
    retrace: Retrace = False,
    labels: Labels = None,
    regions: Regions = None,
    out: Out = None,
    subject: Label = None,
    force: Force = False,
) -> None:
    """Make region-by-region matrices from streamlines and parcellations."""
    from tractome.pipeline import choose_atlases, connect_atlases, is_tractogram, parse_map

    terminal, given = chosen.terminal, [parse_map(words) for words in maps or ()]
    is_foreign = is_tractogram(source)
    with _opened(source, out, subject, terminal, is_foreign=is_foreign, labels=labels, force=force) as ledger:
        if is_foreign:
            atlases = _adopt(ledger, source, given, labels or [], regions or [], atlas)
            given = []
        else:
            atlases = choose_atlases(ledger, atlas)
        records = connect_atlases(ledger, chosen[ConnectOptions], atlases, maps=given, retrace=retrace)
    for name, record in records.items():
        facts = record.facts
        where = f"{name}: " if len(records) > 1 else ""
        terminal.summary(
            ledger.subject.root,
            f"{where}{facts['n_edges']:,} edges among {facts['n_regions']} regions, density {facts['density']:.3f}, "
            f"{facts['unassigned_share']:.1%} of the streamlines unassigned{_distances(facts)}",
        )


def _distances(facts: dict[str, object]) -> str:
    return f", half of the ends within {facts['median_end_mm']} mm" if facts.get("median_end_mm") else ""


def _opened(
    source: Path,
    out: Path | None,
    subject: str | None,
    terminal: Terminal,
    *,
    is_foreign: bool,
    labels: Sequence[Path] | None,
    force: bool,
) -> AbstractContextManager[Ledger]:
    """The folder of a subject, or a new one for a tractogram made elsewhere."""
    from tractome.pipeline import new_subject, old_subject

    if not is_foreign:
        for value, flag in ((labels, "--labels"), (out, "--out"), (subject, "--subject")):
            if value is not None:
                message = f"{flag} belongs to a tractogram made elsewhere, and {source} is none. Leave it out."
                raise OptionError(message)
        return old_subject(source, terminal, force=force)
    if not labels or out is None:
        message = f"{source} is a tractogram: give label images with --labels, and a folder for results with --out."
        raise OptionError(message)
    return new_subject(out, source, subject, terminal, force=force)


def _adopt(
    ledger: Ledger,
    tractogram: Path,
    maps: Sequence[MapFile],
    labels: Sequence[Path],
    regions: Sequence[Path],
    names: str | None,
) -> tuple[str, ...]:
    """Bring a tractogram and its label images into a subject's folder; the names of the parcellations."""
    from tractome.pipeline import adopt_labels, adopt_tractogram, name_parcellations

    if regions and len(regions) != len(labels):
        message = (
            f"--regions is given {len(regions)} times and --labels {len(labels)} times. Give one for each, or none."
        )
        raise OptionError(message)
    atlases = name_parcellations(labels, names)
    adopt_tractogram(ledger, tractogram, maps, labels[0])
    for index, name in enumerate(atlases):
        adopt_labels(ledger, labels[index], regions[index] if regions else None, name)
    return atlases
