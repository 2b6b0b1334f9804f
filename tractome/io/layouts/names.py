"""File names made of entities, ``sub-01_ses-a_run-2_dwi.nii.gz``, as BIDS has them (Gorgolewski et al. 2016)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tractome.errors import LayoutError

IMAGE_SUFFIXES = (".nii.gz", ".nii")


def stem(path: Path) -> str:
    """Name of an image without .nii or .nii.gz."""
    return path.name.removesuffix(".gz").removesuffix(".nii")


def entities(path: Path) -> dict[str, str]:
    """``sub-01_run-2_dwi.nii.gz`` -> ``{"sub": "01", "run": "2"}``."""
    parts = re.split(r"\.(?:nii|json|bval|bvec|b|tsv|txt|h5|mgz)\b", path.name)[0].split("_")
    return {key: value for key, dash, value in (part.partition("-") for part in parts) if dash}


def suffix_of(path: Path) -> str:
    """``sub-01_run-2_dwi.nii.gz`` -> ``"dwi"``."""
    return path.name.split(".")[0].rpartition("_")[2]


def label(text: str | None, prefix: str) -> str | None:
    """A label as users give it, with or without its prefix."""
    return text.removeprefix(prefix) if text is not None else None


def is_image(path: Path) -> bool:
    """Whether a file is called like a NIfTI image, and is none of the hidden files that some systems leave."""
    return path.name.endswith(IMAGE_SUFFIXES) and not path.name.startswith(".")


def images(folder: Path, pattern: str) -> list[Path]:
    """Images of a folder whose name without ``.nii.gz`` matches a glob pattern, by name; none where it is no folder."""
    return sorted(path for ending in IMAGE_SUFFIXES for path in folder.glob(pattern + ending) if is_image(path))


def first(paths: Iterable[Path]) -> Path | None:
    """The first that is a file, or None."""
    return next((path for path in paths if path.is_file()), None)


def read_sidecars(paths: Iterable[Path]) -> dict[str, Any]:
    """Content of JSON files, what comes later over what comes first.

    Raises
    ------
    LayoutError
        A file is no JSON object.
    """
    merged: dict[str, Any] = {}
    for path in paths:
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError) as error:
            message = f"{path} cannot be read as JSON ({error}). Mend it or move it away."
            raise LayoutError(message) from error
        if not isinstance(content, Mapping):
            message = f"{path} holds a {type(content).__name__}; a JSON object is needed. Mend it or move it away."
            raise LayoutError(message)
        merged |= content
    return merged
