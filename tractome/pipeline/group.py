"""group: the connectomes of many subjects made one; two scans of many subjects compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tractome
from tractome.errors import TableError
from tractome.options import GroupOptions
from tractome.pipeline.cohort import Cohort, find_cohort, read_cohort
from tractome.pipeline.layout import require_file_name, require_free_folder
from tractome.provenance import option_values

MARK = "group.json"


def make_group(
    sources: Sequence[Path], out: Path, options: GroupOptions, *, atlas: str | None = None, force: bool = False
) -> dict[str, Any]:
    """Write the group's connectome, its region table, pictures, and ``group.json`` about them; return the last.

    Parameters
    ----------
    sources : sequence of Path
        Folders of results, folders of subjects, or connectome files.
    out : Path
        New folder.
    options : GroupOptions
    atlas : str or None
        Which atlas, where subjects have several.
    force : bool
        Over an earlier group.
    """
    from tractome.io.atomic import write_json
    from tractome.io.figures import draw_matrices
    from tractome.io.hashing import sha256_file
    from tractome.io.matrices import write_connectome
    from tractome.io.regions import write_region_table
    from tractome.stages.group import group

    found = find_cohort(sources, atlas)
    made = group(read_cohort(found).connectomes, options)
    name = require_file_name(atlas or made.regions.atlas or "regions", "The name of the regions")
    require_free_folder(out, MARK, force=force)
    write_connectome(out / f"group_seg-{name}_connectome.npz", made)
    write_region_table(out / f"group_seg-{name}_regions.tsv", made.regions)
    draw_matrices(out / f"group_seg-{name}_matrices.png", made)
    about = {
        "GeneratedBy": f"tractome {tractome.__version__}",
        "Options": option_values(options),
        "Settings": made.metadata,
        "Measures": list(made.matrices),
        "Sources": {f"sub-{subject}": sha256_file(path) for subject, path in found.items()},
        "File": f"group_seg-{name}_connectome.npz",
    }
    write_json(out / MARK, about)
    return about


def read_repeated(first: Path, second: Path, atlas: str | None = None) -> tuple[Cohort, Cohort]:
    """Two folders of results with the scans of the same subjects, in the same order.

    Raises
    ------
    TableError
        They do not hold the same subjects.
    """
    one, other = find_cohort([first], atlas), find_cohort([second], atlas)
    if set(one) != set(other):
        differ = ", ".join(sorted(set(one) ^ set(other))[:5])
        message = f"These subjects are in only one of {first} and {second}: {differ}. Give two scans of each."
        raise TableError(message)
    return read_cohort(one), read_cohort({subject: other[subject] for subject in one})


def holds_many(path: Path) -> bool:
    """Whether a path is a folder of results of several subjects."""
    return path.is_dir() and not (path / "provenance.json").is_file() and len(list(path.glob("sub-*"))) > 1
