"""Which machine and which versions a figure belongs to."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("tractome", "dipy", "numpy", "numba")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _mrtrix() -> str:
    if shutil.which("tckgen") is None:
        return "none"
    said = subprocess.run(["tckgen", "-version"], capture_output=True, text=True, check=False).stdout
    words = said.split()
    return words[2] if len(words) > 2 else "unknown"


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def describe() -> dict[str, str]:
    """Processor, cores, memory, system and versions, as text."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{_memory_gib():.0f} GiB",
        "python": platform.python_version(),
        "mrtrix3": f"{_mrtrix()} (Debian's generic build)",
        **{package: _version(package) for package in PACKAGES},
    }


def sentence(facts: dict[str, str]) -> str:
    """One line for above a table."""
    return (
        f"{facts['processor']}, {facts['cores']} cores, {facts['memory']}; tractome {facts['tractome']}, Python "
        f"{facts['python']}, NumPy {facts['numpy']}, numba {facts['numba']}; MRtrix3 {facts['mrtrix3']}; "
        f"DIPY {facts['dipy']}"
    )
