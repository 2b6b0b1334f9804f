"""The connectomes of many subjects: where they are, and that they belong together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tractome.datatypes.connectome import Connectome
from tractome.errors import OptionError, OutputError, TableError


@dataclass(frozen=True, eq=False)
class Cohort:
    """Connectomes of many subjects, of the same regions.

    Parameters
    ----------
    subjects : tuple of str
        Labels, without ``sub-``; distinct.
    paths : tuple of Path
    connectomes : tuple of Connectome
    """

    subjects: tuple[str, ...]
    paths: tuple[Path, ...]
    connectomes: tuple[Connectome, ...]


def find_cohort(sources: Sequence[Path], atlas: str | None) -> dict[str, Path]:
    """Connectome files by subject's label.

    Parameters
    ----------
    sources : sequence of Path
        Folders of results that hold ``sub-*``, folders of subjects, or ``.npz`` files.
    atlas : str or None
        Which one, where subjects have several.

    Raises
    ------
    OutputError, OptionError
        Nothing there; several connectomes of a subject; a subject twice.
    """
    found: dict[str, Path] = {}
    for source in sources:
        if source.is_dir():
            files = sorted(source.rglob(f"*_seg-{atlas or '*'}_connectome.npz"))
        else:
            files = [source]
        if not files or not files[0].is_file():
            what = f" of {atlas}" if atlas else ""
            message = f"{source} holds no connectome{what}. Make them with `tractome connect` or `tractome import`."
            raise OutputError(message)
        for path in files:
            label = re.findall(r"sub-([A-Za-z0-9+]+)", str(path))
            subject = label[-1] if label else path.stem
            if subject in found:
                message = (
                    f"There are two connectomes of {subject}: {found[subject]} and {path}. "
                    f"{_way_out(found[subject], path)}"
                )
                raise OptionError(message)
            found[subject] = path
    return found


def _way_out(one: Path, other: Path) -> str:
    """What to do about two connectomes of one subject."""
    if one.resolve() == other.resolve():
        return "Name it once."
    if one.name != other.name and one.parent == other.parent:
        return "Choose with --atlas."
    return "Name the files of one scan of each subject."


def read_cohort(found: dict[str, Path]) -> Cohort:
    """Read connectomes and check that their regions are the same.

    Raises
    ------
    TableError
        Other regions, another order or other measures in one of them.
    """
    from tractome.io.matrices import read_connectome

    connectomes = tuple(read_connectome(path) for path in found.values())
    first = connectomes[0]
    for subject, each in zip(found, connectomes, strict=True):
        if each.regions.names != first.regions.names:
            here, there = set(each.regions.names), set(first.regions.names)
            which = ", ".join(sorted(here ^ there)[:3]) or "the same in another order"
            message = (
                f"The regions of {subject} are not those of {next(iter(found))} ({which}). Subjects are put together "
                "only with the same region table; give it to each of them."
            )
            raise TableError(message)
    return Cohort(tuple(found), tuple(found.values()), connectomes)
