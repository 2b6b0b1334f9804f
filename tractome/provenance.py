"""What made a result: version, options, hashes of the inputs, machine, time, memory.

Nothing here opens a data file: hashes come in, records go out. A record has two halves. The *key* half says what the
result depends on and is the same for the same work; the *circumstances* half (times, host, memory) is not, and never
enters a key.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from tractome import __version__

IRRELEVANT_OPTIONS = frozenset({"n_threads", "block_size", "max_memory_mb"})
"""Options that never change a result, and so are left out of every key."""

PACKAGES = (
    "numpy",
    "scipy",
    "numba",
    "dipy",
    "nibabel",
    "nilearn",
    "picsl-greedy",
    "SimpleITK",
    "trx-python",
    "matplotlib",
)


def option_values(*options: object) -> dict[str, Any]:
    """Merge options dataclasses into one flat dict of plain values, without those that never change a result."""
    values: dict[str, Any] = {}
    for each in options:
        for item in dataclasses.fields(each):  # type: ignore[arg-type]
            value = getattr(each, item.name)
            if item.name not in IRRELEVANT_OPTIONS:
                values[item.name] = list(value) if isinstance(value, tuple) else value
    return values


def stage_key(stage: str, options: Mapping[str, Any], inputs: Mapping[str, str], code: str = "") -> str:
    """Hash of all that the result of a stage depends on.

    Parameters
    ----------
    stage : str
        Name of the stage.
    options : mapping of str to plain value
        As `option_values` gives them.
    inputs : mapping of str to str
        SHA-256 of each input file, by its role. Results of earlier stages are inputs like any other, so a stage whose
        inputs come out the same again is not done again.
    code : str
        Hash of the code that does the work.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    described = {
        "stage": stage,
        "options": dict(options),
        "inputs": dict(inputs),
        "version": __version__,
        "code": code,
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class StageRecord:
    """What is remembered of one stage of one subject.

    Parameters
    ----------
    key : str
        As `stage_key` gives it.
    status : str
        ``"running"`` from before the first output is written until the last one is, then ``"done"``.
    options : dict
        Every option that can change the result.
    inputs, outputs : dict of str to str
        SHA-256 by role (inputs) and by path relative to the subject's folder (outputs; empty while running).
    input_paths : dict of str to str
        Where the inputs were found. Not part of the key: a moved file is the same file.
    may_write : list of str
        Paths that belong to the stage, whatever it will make of them: how files left by a killed run are known as ours.
    facts : dict
        Numbers and choices worth showing: the same for the same key. While running, those of the time before.
    seconds, peak_memory_mb : float
        Wall time, and the highest resident memory while the stage ran.
    circumstances : dict
        Machine and package versions.
    """

    key: str
    status: str
    options: dict[str, Any]
    inputs: dict[str, str]
    input_paths: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    may_write: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    peak_memory_mb: float = 0.0
    circumstances: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """All of it as a dict, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StageRecord:
        """Read back what `as_dict` gave; unknown keys of a later version are ignored."""
        known = {item.name for item in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


def machine() -> dict[str, Any]:
    """Describe the machine, Python and the packages that a result may depend on."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "processor": platform.machine(),
        "n_cores": os.cpu_count() or 1,
        "python": platform.python_version(),
        "packages": versions,
        "tractome": __version__,
    }


class MemoryWatch:
    """Measures the peak memory of a piece of work: of this process, or of a child that ended during it.

    Where the system cannot measure anew (anywhere but Linux), the peak is that of the whole process.
    """

    def __init__(self) -> None:
        self._children_before = _children_peak_mb()
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return

    def peak_mb(self) -> float:
        """Highest resident memory since the watch began, MB (10^6 bytes)."""
        children = _children_peak_mb()
        return max(_own_peak_mb(), children if children > self._children_before else 0.0)


def _own_peak_mb() -> float:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    return _peak_mb("self")


def _children_peak_mb() -> float:
    return _peak_mb("children")


def _peak_mb(whose: str) -> float:
    try:
        import resource
    except ImportError:  # not on this system
        return 0.0
    who = resource.RUSAGE_SELF if whose == "self" else resource.RUSAGE_CHILDREN
    peak = resource.getrusage(who).ru_maxrss
    # macOS counts bytes, other systems kibibytes.
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
