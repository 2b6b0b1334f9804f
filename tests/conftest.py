"""What tests share: where the real data lie, when they are there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the shared data sets, beside the checkout or where TRACTOME_SHARED_DATA says; skips without it."""
    given = os.environ.get("TRACTOME_SHARED_DATA")
    folder = Path(given) if given else Path(__file__).parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the shared data are not here; set TRACTOME_SHARED_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """Folder of the synthetic sample subject that comes with the project."""
    folder = Path(__file__).parents[1] / "sample_data"
    if not (folder / "dwi.nii.gz").exists():
        pytest.skip("sample_data is not beside the tests")
    return folder
