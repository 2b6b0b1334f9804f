"""What is already done is not done again; what was half done is done again; what is not ours is not touched."""

from __future__ import annotations

import fnmatch
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import tractome
from tractome.errors import OutputError, TableError, TractomeError
from tractome.io.atomic import write_json
from tractome.io.hashing import sha256_file, sha256_files
from tractome.pipeline.layout import SubjectFolder
from tractome.pipeline.listener import Listener, LogListener
from tractome.provenance import MemoryWatch, StageRecord, machine, stage_key

Facts = dict[str, Any]


class Made:
    """Collects the paths that a stage writes, in order.

    Parameters
    ----------
    inputs : mapping of str to str
        SHA-256 of each input of the stage, by role: for what the stage writes about where its numbers come from.
    """

    def __init__(self, inputs: Mapping[str, str]) -> None:
        self.inputs = dict(inputs)
        self.paths: list[Path] = []

    def __call__(self, path: Path, *, sidecar: bool = False) -> Path:
        """Note that `path` is about to be written (and the JSON file beside it), and return it."""
        self.paths.append(path)
        if sidecar:
            name = path.name.removesuffix(".gz")
            self.paths.append(path.with_name(name.rpartition(".")[0] + ".json"))
        return path


@dataclass(frozen=True)
class Step:
    """One piece of work on one subject.

    Parameters
    ----------
    name : str
        Stage, and after a slash what it is done for where that can differ: ``"track"``, ``"connect/schaefer-100"``.
    options : dict
        Options that can change the result, as `tractome.provenance.option_values` gives them.
    inputs : dict of str to Path
        Files read, by role.
    may_write : tuple of str
        Glob patterns relative to the subject's folder: every file that the step may ever write.
    work : callable
        Does it; notes each file in the `Made` it is given and returns what is worth showing.
    """

    name: str
    options: Mapping[str, Any]
    inputs: Mapping[str, Path]
    may_write: tuple[str, ...]
    work: Callable[[Made], Facts]

    @property
    def stage(self) -> str:
        """The stage alone, such as ``"connect"``."""
        return self.name.partition("/")[0]


@dataclass
class Ledger:
    """The records of one subject's folder, and the rules of doing a step only when it is needed.

    Parameters
    ----------
    subject : SubjectFolder
    listener : Listener
    force : bool
        Do every step again, over whatever is there.
    """

    subject: SubjectFolder
    listener: Listener = field(default_factory=LogListener)
    force: bool = False
    n_done: int = field(default=0, init=False)
    """Steps that were done by this ledger, and not before."""
    forced: set[str] = field(default_factory=set, init=False)
    """Keys of the steps that it was forced to do again: two atlases need one registration."""

    def records(self) -> dict[str, StageRecord]:
        """What is remembered, by name of the step."""
        return read_records(self.subject)

    def finished(self, name: str) -> StageRecord:
        """The record of a step that must have been done.

        Raises
        ------
        TableError
            It was not, or not to its end.
        """
        record = self.records().get(name)
        stage = name.partition("/")[0]
        if record is None or record.status != "done":
            state = "was not run" if record is None else "was not finished"
            message = (
                f"{name} {state} in {self.subject.root}. "
                f"Run `tractome {stage}` first, or `tractome run` for all stages."
            )
            raise TableError(message)
        return record

    def do(self, step: Step) -> StageRecord:
        """Do a step unless it is done.

        A step is done when its record has the same key and every output is there with the recorded hash.

        Raises
        ------
        OutputError
            A file stands in the way that no record knows.
        """
        inputs = {role: sha256_file(path) for role, path in sorted(step.inputs.items())}
        paths = {role: str(path.resolve()) for role, path in sorted(step.inputs.items())}
        key = stage_key(step.stage, step.options, inputs, code_hash())
        records = self.records()
        old = records.get(step.name)
        is_forced = self.force and key not in self.forced
        if old is not None and not is_forced and self._is_done(old, key):
            self.listener.skips(step.name)
            if any(not Path(path).is_file() for path in old.input_paths.values()):  # the same files, moved
                old = replace(old, input_paths=paths)
                self._save(step.name, old)
            return old
        self._require_no_strangers(step, records)
        started = StageRecord(
            key=key,
            status="running",
            options=dict(step.options),
            inputs=inputs,
            input_paths=paths,
            outputs=old.outputs if old is not None else {},
            may_write=list(step.may_write),
            facts=old.facts if old is not None else {},
        )
        self._save(step.name, started)
        self.listener.begins(step.name)
        memory = MemoryWatch()
        start = time.perf_counter()
        made = Made(inputs)
        try:
            facts = step.work(made)
        except TractomeError:
            self._forget(step, old)
            raise
        outputs = self._outputs(made)
        for relative in self._matching(step.may_write):
            if relative not in outputs:
                # Made by an earlier run of this step with other options, and explained by no record any more.
                (self.subject.root / relative).unlink(missing_ok=True)
        finished = StageRecord(
            key=key,
            status="done",
            options=started.options,
            inputs=inputs,
            input_paths=started.input_paths,
            outputs=outputs,
            may_write=started.may_write,
            facts=facts,
            seconds=round(time.perf_counter() - start, 3),
            peak_memory_mb=round(memory.peak_mb(), 1),
            circumstances=machine(),
        )
        self._save(step.name, finished)
        self.n_done += 1
        if self.force:
            self.forced.add(key)
        self.listener.ends(step.name, finished.seconds)
        return finished

    def _is_done(self, record: StageRecord, key: str) -> bool:
        if record.status != "done" or record.key != key:
            return False
        for relative, expected in record.outputs.items():
            path = self.subject.root / relative
            if not path.is_file():
                return False
            if sha256_file(path) != expected:
                self.listener.note(f"{path} changed since it was written; it is made again.")
                return False
        return True

    def _matching(self, patterns: tuple[str, ...]) -> list[str]:
        root = self.subject.root
        found = {path for pattern in patterns for path in root.glob(pattern) if path.is_file()}
        return sorted(path.relative_to(root).as_posix() for path in found)

    def _require_no_strangers(self, step: Step, records: Mapping[str, StageRecord]) -> None:
        if self.force:
            return
        known = {path for record in records.values() for path in record.outputs}
        # What a killed run left is ours although no hash of it was ever recorded.
        claimed = [pattern for record in records.values() if record.status == "running" for pattern in record.may_write]
        for relative in self._matching(step.may_write):
            if relative not in known and not any(fnmatch.fnmatch(relative, pattern) for pattern in claimed):
                message = (
                    f"{self.subject.root / relative} exists and was not made by tractome here. "
                    "Move it away, give another --out, or pass --force to replace it."
                )
                raise OutputError(message)

    def _forget(self, step: Step, old: StageRecord | None) -> None:
        """A step refused what it was given before it wrote anything: leave its folder as it was found."""
        if old is not None or self._matching(step.may_write):
            return
        records = self.records()
        records.pop(step.name)
        if records:
            self._write(records)
        else:
            self.subject.provenance.unlink()

    def _outputs(self, made: Made) -> dict[str, str]:
        root = self.subject.root
        hashes = sha256_files(made.paths)
        return {path.relative_to(root).as_posix(): hashes[str(path)] for path in made.paths}

    def _save(self, name: str, record: StageRecord) -> None:
        self._write({**self.records(), name: record})

    def _write(self, stages: Mapping[str, StageRecord]) -> None:
        content = {
            "subject": self.subject.name,
            "tractome": tractome.__version__,
            "stages": {each: stages[each].as_dict() for each in stages},
        }
        write_json(self.subject.provenance, content)


def read_records(subject: SubjectFolder) -> dict[str, StageRecord]:
    """Read the records of a subject; none when there is no file.

    Raises
    ------
    OutputError
        ``provenance.json`` is not ours or is damaged.
    """
    path = subject.provenance
    if not path.exists():
        return {}
    try:
        stages = json.loads(path.read_text(encoding="utf-8"))["stages"]
        return {name: StageRecord.from_dict(values) for name, values in stages.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"{path} cannot be read as a record of tractome ({error}). Move it away, or give another --out."
        raise OutputError(message) from error


@cache
def code_hash() -> str:
    """Hash of the code that makes numbers, so that results of other code are made again after an update."""
    package = Path(tractome.__file__).parent
    files = sorted(path for folder in ("kernels", "stages") for path in (package / folder).rglob("*.py"))
    hashes = sha256_files(files)
    lines = (f"{path.relative_to(package).as_posix()} {hashes[str(path)]}" for path in files)
    import hashlib

    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
