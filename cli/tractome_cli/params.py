"""Options of the command line: each is described once, here or in `tractome.options`.

A command names the options dataclasses it needs; every field becomes an option with the default, unit and range that
the dataclass states. So a default cannot differ between the library and the command line.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import re
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from tractome.errors import OptionError
from tractome_cli.console import Terminal, answering

T = TypeVar("T")

UNIT_SUFFIXES = ("_s_per_mm2", "_mm", "_deg")
FLAGS = {"random_seed": "--seed", "set_formats": "--formats", "given_measure": "--measure", "statistics": "--stat"}
"""Options whose flag is not simply their name without ``n_`` and without the unit."""

PANELS = {
    "ReadOptions": "Reading",
    "PreprocessOptions": "Preprocess",
    "FitOptions": "Fit",
    "TissueOptions": "Tissue",
    "TrackOptions": "Track",
    "ParcellateOptions": "Parcellate",
    "ConnectOptions": "Connect",
    "WeighOptions": "Weigh",
    "ImportOptions": "Import",
    "ExportOptions": "Export",
    "DatasetOptions": "Dataset",
    "GroupOptions": "Group",
    "CompareOptions": "Compare",
    "AnalyzeOptions": "Analyze",
    "PhantomOptions": "Phantom",
}

DwiFile = Annotated[Path, typer.Option("--dwi", help="Diffusion scan, 4-D NIfTI.", show_default=False)]
BvalFile = Annotated[
    Path | None, typer.Option("--bval", help="b-values; by default beside the scan.", show_default=False)
]
BvecFile = Annotated[
    Path | None, typer.Option("--bvec", help="Directions; by default beside the scan.", show_default=False)
]
MaskFile = Annotated[
    Path | None, typer.Option("--mask", help="Brain mask; by default made from the scan.", show_default=False)
]
ResponseFiles = Annotated[
    str | None,
    typer.Option(
        "--response",
        metavar="WM[,GM][,CSF]",
        help="Response files (MRtrix3's text) to use in place of estimated ones: one for csd; white matter and CSF, or "
        "white matter, grey matter and CSF, for msmt.",
        show_default=False,
    ),
]
GradDevFile = Annotated[
    Path | None,
    typer.Option(
        "--grad-dev",
        help="Gradient nonlinearity, nine volumes as the HCP's grad_dev.nii.gz: tensors obey it.",
        show_default=False,
    ),
]
ReversedFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--reversed-b0",
        help="b0 image with reversed phase encoding; of several the first that its JSON does not call otherwise.",
        show_default=False,
    ),
]
PreprocessFirst = Annotated[
    str,
    typer.Option(
        "--preprocess",
        metavar="auto|yes|no",
        help="Correct the scan before it is fitted: auto does so with what the data set calls raw.",
    ),
]
T1File = Annotated[
    Path | None,
    typer.Option("--t1", help="T1-weighted image, to bring the atlas to the subject.", show_default=False),
]
LabelsFile = Annotated[
    Path | None,
    typer.Option("--labels", help="Label image in the subject's space, on any grid.", show_default=False),
]
RegionsFile = Annotated[
    Path | None,
    typer.Option(
        "--regions", help="Region table (TSV) of the label image; by default named by number.", show_default=False
    ),
]
TissueFile = Annotated[
    Path | None,
    typer.Option(
        "--tissue",
        help="Five-tissue-type image, in place of one made from what there is: streamlines end in grey matter only.",
        show_default=False,
    ),
]
SeedMaskFile = Annotated[
    Path | None,
    typer.Option("--seed-mask", help="Start streamlines in this mask (grid of the scan) only.", show_default=False),
]
SeedPointsFile = Annotated[
    Path | None,
    typer.Option(
        "--seed-points",
        help="Start streamlines in these points: .npy or text, rows of x y z in RAS+ mm, and perhaps a direction.",
        show_default=False,
    ),
]
IncludeMasks = Annotated[
    list[Path] | None,
    typer.Option(
        "--include",
        help="Mask (any grid) that streamlines must visit; may be given more than once, and then all must be.",
        show_default=False,
    ),
]
ExcludeMasks = Annotated[
    list[Path] | None,
    typer.Option(
        "--exclude",
        help="Mask (any grid) that no streamline may visit; may be given more than once.",
        show_default=False,
    ),
]
TrackingMaskFile = Annotated[
    Path | None,
    typer.Option("--tracking-mask", help="Mask (any grid): a streamline ends where it leaves it.", show_default=False),
]
OutFolder = Annotated[Path, typer.Option("--out", help="Folder for all results.", show_default=False)]
SubjectLabel = Annotated[
    str | None,
    typer.Option("--subject", help="Label; by default from sub-LABEL in the scan's path, or 01.", show_default=False),
]
SubjectPath = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="Folder of a subject, such as out/sub-01.", show_default=False)
]
FittedSubject = Annotated[
    Path | None,
    typer.Argument(
        metavar="FOLDER",
        help="Folder of a subject that was fitted, such as out/sub-01; or give --fod and --out.",
        show_default=False,
    ),
]
FodFile = Annotated[
    Path | None,
    typer.Option(
        "--fod",
        help="Follow these FODs of another program: SH image in MRtrix3's basis (.nii, .nii.gz, .mif, .mif.gz).",
        show_default=False,
    ),
]
FodMaskFile = Annotated[
    Path | None,
    typer.Option("--mask", help="With --fod: brain mask; by default where there are FODs.", show_default=False),
]
FaFile = Annotated[
    Path | None,
    typer.Option(
        "--fa", help="With --fod: FA map, to sample and, without a tissue map, to stop by.", show_default=False
    ),
]
FodOutFolder = Annotated[
    Path | None, typer.Option("--out", help="With --fod: folder for all results.", show_default=False)
]
FodSubjectLabel = Annotated[
    str | None,
    typer.Option("--subject", help="With --fod: label; by default from sub-LABEL in its path, or 01."),
]
Force = Annotated[bool, typer.Option("--force", help="Do it again, over what is there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
JsonFile = Annotated[
    Path | None, typer.Option("--save", help="Also write the result to this JSON file.", show_default=False)
]
Threads = Annotated[int, typer.Option("--threads", min=0, help="Threads; 0 for all. Never changes the result.")]
Whole = Annotated[
    str | None,
    typer.Option("--tractogram", help="Also keep whole streamlines, as trx, tck or trk.", show_default=False),
]
Weigh = Annotated[
    bool,
    typer.Option("--weigh/--no-weigh", help="Also weigh streamlines, as `tractome weigh` does by default."),
]
Atlas = Annotated[
    str | None,
    typer.Option(
        "--atlas", help="Which parcellation of the subject; may be left out when there is one.", show_default=False
    ),
]
UntilAtlas = Annotated[
    str | None,
    typer.Option(
        "--atlas",
        help="With --until-cv: the parcellation whose edges are looked at; may be left out when there is one.",
        show_default=False,
    ),
]


class Chosen:
    """The options objects that a command was given."""

    def __init__(self, made: Sequence[object], terminal: Terminal) -> None:
        self._made = {type(each): each for each in made}
        self.terminal = terminal

    def __getitem__(self, kind: type[T]) -> T:
        return typing.cast(T, self._made[kind])


def paths(listed: str | None) -> tuple[Path, ...]:
    """``"a.txt,b.txt"`` -> two paths."""
    return tuple(Path(part.strip()) for part in (listed or "").split(",") if part.strip())


def flag(name: str) -> str:
    """``step_size_mm`` -> ``--step-size``."""
    if name in FLAGS:
        return FLAGS[name]
    for suffix in UNIT_SUFFIXES:
        name = name.removesuffix(suffix)
    return "--" + name.removeprefix("n_").replace("_", "-")


def command(*kinds: type, go_on: str = "") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the fields of options dataclasses as options, and the handling of errors.

    The command's last parameter must be ``chosen: Chosen``; the options take its place.
    """

    def decorate(body: Callable[..., None]) -> Callable[..., None]:
        hints = typing.get_type_hints(body, include_extras=True)
        own = [
            parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
            for name, parameter in inspect.signature(body).parameters.items()
            if name != "chosen"
        ]
        fields = [(kind, field) for kind in kinds for field in dataclasses.fields(kind)]
        generated = [_parameter(kind, field) for kind, field in fields]
        common = _common()

        @functools.wraps(body)
        def run(**values: Any) -> None:
            verbose, quiet, debug = (values.pop(each.name) for each in common)
            terminal = Terminal(-1 if quiet else verbose)
            what_next = go_on or "Run the same command again."
            with answering(terminal, debug=debug, go_on=what_next), _flags_for_names(kinds):
                made = [_build(kind, values) for kind in kinds]
                body(**{name: values[name] for name in hints if name in values}, chosen=Chosen(made, terminal))

        parameters = [*own, *generated, *common]
        names = [parameter.name for parameter in parameters]
        if len(set(names)) != len(names):
            message = f"Two options of one command share a name: {sorted(names)}"
            raise RuntimeError(message)
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": None}
        del run.__wrapped__
        return run

    return decorate


def _common() -> list[inspect.Parameter]:
    return [
        _keyword(
            "verbose",
            Annotated[int, typer.Option("-v", "--verbose", count=True, help="Say more; twice for details.")],
            0,
        ),
        _keyword(
            "quiet", Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but results and errors.")], False
        ),
        _keyword(
            "debug", Annotated[bool, typer.Option("-d", "--debug", help="Show the traceback of an error.")], False
        ),
    ]


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _parameter(kind: type, field: dataclasses.Field[Any]) -> inspect.Parameter:
    """One option from one field of a dataclass."""
    hint = typing.get_type_hints(kind)[field.name]
    rule, name = field.metadata, flag(field.name)
    extra: dict[str, Any] = {}
    default: Any = field.default
    if _item_kind(hint) is not None:
        hint = str if default is not None else str | None
        default = ",".join(_plain(value) for value in default) if default is not None else None
        extra["metavar"] = ",".join(rule["choices"][:2]) + ",..." if rule["choices"] else "LIST"
    elif rule["choices"]:
        extra["metavar"] = "|".join(rule["choices"])
    text = rule["help"] + _range(rule)
    if hint is bool:
        return _keyword(
            field.name,
            Annotated[bool, typer.Option(f"{name}/--no-{name[2:]}", help=text, rich_help_panel=PANELS[kind.__name__])],
            default,
        )
    option = typer.Option(
        name, help=text, rich_help_panel=PANELS[kind.__name__], show_default=default is not None, **extra
    )
    return _keyword(field.name, Annotated[hint, option], default)


def _range(rule: Any) -> str:
    """The unit and limits of an option, for its help text."""
    low, high, unit = rule["low"], rule["high"], rule["unit"]
    parts = [unit] if unit else []
    if low is not None and high is not None and high < 2**53:
        parts.append(f"{low:g} to {high:g}")
    elif low is not None:
        parts.append(f"at least {low:g}")
    elif high is not None:
        parts.append(f"at most {high:g}")
    return f" ({', '.join(parts)})" if parts else ""


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _build(kind: type, values: dict[str, Any]) -> object:
    """An options object from the values of the command line."""
    hints = typing.get_type_hints(kind)
    chosen: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        value = values[field.name]
        kind_of_item = _item_kind(hints[field.name])
        if kind_of_item is not None and value is not None:
            value = _items(field.name, value, kind_of_item)
        chosen[field.name] = value
    return kind(**chosen)


@contextlib.contextmanager
def _flags_for_names(kinds: Sequence[type]) -> Iterator[None]:
    """Where a complaint begins with the name of an option of the library, let it name the command line's."""
    try:
        yield
    except OptionError as error:
        message = str(error)
        for field in (field for kind in kinds for field in dataclasses.fields(kind)):
            if re.match(rf"{field.name}\b", message):
                raise OptionError(flag(field.name) + message[len(field.name) :]) from error
        raise


def _item_kind(hint: Any) -> type | None:
    """Type of the items of a tuple, also of one that may be None; None for anything else."""
    for each in (hint, *typing.get_args(hint)):
        if typing.get_origin(each) is tuple:
            item: type = typing.get_args(each)[0]
            return item
    return None


def _items(name: str, value: str, kind: type) -> tuple[Any, ...]:
    parts = [part.strip() for part in value.split(",") if part.strip()]
    try:
        return tuple(kind(part) for part in parts)
    except ValueError as error:
        message = f"{flag(name)} takes values with commas between them, such as 1000,2000; got {value!r}."
        raise OptionError(message) from error
