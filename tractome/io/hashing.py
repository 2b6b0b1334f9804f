"""Fingerprints of input files, for provenance and for knowing what is already done."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from tractome.errors import TractomeError


def sha256_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits.

    Raises
    ------
    TractomeError
        The file is missing or cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror or error}. Check the path and its permissions."
        raise TractomeError(message) from error


def sha256_files(paths: Iterable[str | os.PathLike[str]]) -> dict[str, str]:
    """SHA-256 of each file, by its path as given; one hash per distinct path."""
    return {str(Path(path)): sha256_file(path) for path in dict.fromkeys(paths)}
