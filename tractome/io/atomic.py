"""Files that are either whole or absent: written under a temporary name, then moved into place."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from tractome.errors import OutputError

TEMPORARY_PREFIX = ".tmp-"
"""How the name of a file begins while it is being written; only a killed process leaves one behind."""


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`; move it onto `path` when the block ends well.

    The temporary name ends like `path`, so writers that look at suffixes see the right ones. Missing folders are
    made. Whatever ends the block otherwise (Ctrl-C included) removes the temporary file and leaves `path` as it was.

    Parameters
    ----------
    path : path
        Where the file shall be in the end; replaced if it exists.

    Yields
    ------
    Path
        Where to write.

    Raises
    ------
    OutputError
        The folder is not writable, the disk is full, or something that is not a file stands in the way.
    """
    target = Path(path)
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        _remove(temporary)
        message = (
            f"{target} cannot be written: {error.strerror or error}. An existing, writable folder with free space is "
            "needed; check permissions and space, or choose another output folder."
        )
        raise OutputError(message) from error
    except BaseException:
        _remove(temporary)
        raise


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def remove_leftovers(folder: str | os.PathLike[str]) -> int:
    """Remove, at any depth, what a killed process left half-written.

    Call it only for a folder that no other running process writes to.

    Returns
    -------
    int
        Number of files removed.
    """
    found = [path for path in Path(folder).rglob(f"{TEMPORARY_PREFIX}*") if path.is_file()]
    for path in found:
        _remove(path)
    return len(found)


def remove_empty_folders(folder: str | os.PathLike[str]) -> None:
    """Remove folders in which nothing is, at any depth, and the folder itself when nothing stays in it."""
    for path, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):  # something is in it
            os.rmdir(path)


def write_json(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Write a JSON file with sorted keys: equal content gives equal bytes.

    NumPy numbers and arrays, paths and tuples become plain JSON; NaN and infinities, which JSON lacks, become null.
    """
    text = json.dumps(plain(content), sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def plain(value: Any) -> Any:
    """Plain JSON values: numpy and paths converted, NaN and infinities as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, bool, int)):
        return value
    return str(value)
