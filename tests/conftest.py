"""What tests share: where the real data lie, when they are there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from runs import copy, done, phantom  # noqa: F401  (fixtures)

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


@pytest.fixture(scope="session")
def golden(shared_data: Path) -> Any:
    """Real streamlines, labels and maps, with the matrices that MRtrix3 makes of them."""
    import golden_assembly

    return golden_assembly.load(shared_data / "assembly_golden")


@pytest.fixture(scope="session")
def mrtrix() -> None:
    """Skips where MRtrix3 is not installed."""
    if shutil.which("tck2connectome") is None:
        pytest.skip("MRtrix3 is not installed; it is a test oracle only")
