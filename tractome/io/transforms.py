"""Transforms between a subject and a template, so that any atlas can be brought to the subject later in seconds."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.errors import RegistrationError
from tractome.io.atomic import write_json
from tractome.io.matrices import write_npz

PathLike = str | os.PathLike[str]


def write_transform(path: PathLike, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
    """Write the arrays of a transform to an `.npz`, and what explains them to the JSON file beside it.

    Parameters
    ----------
    path : path ending in .npz
    arrays : mapping of str to array
    facts : mapping
        Spaces, units, quality.
    """
    write_json(Path(path).with_suffix(".json"), facts)
    write_npz(Path(path), arrays)


def read_transform(path: PathLike) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what `write_transform` wrote: the arrays and the facts.

    Raises
    ------
    RegistrationError
        A file is missing or damaged.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        message = f"{path} cannot be read as a transform ({error}). Run `tractome parcellate --force` to make it again."
        raise RegistrationError(message) from error
    return arrays, facts
