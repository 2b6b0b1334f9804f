"""The check that comes before a run, remembered like any other step."""

from __future__ import annotations

from tractome.datatypes.findings import CheckReport
from tractome.options import ReadOptions
from tractome.pipeline.check import CheckedFiles, require_known_findings, require_sound
from tractome.pipeline.ledger import Facts, Ledger, Made, Step
from tractome.provenance import StageRecord, option_values


def check_subject(ledger: Ledger, files: CheckedFiles, read: ReadOptions, accept: tuple[str, ...] = ()) -> StageRecord:
    """Check a subject's files, unless they were found sound before; what looks wrong is noted.

    Parameters
    ----------
    ledger : Ledger
    files : CheckedFiles
    read : ReadOptions
    accept : tuple of str
        Names of findings that the user takes responsibility for.

    Raises
    ------
    TractomeError
        Something cannot be right.
    """
    require_known_findings(accept)
    step = Step(
        name="check",
        options={**option_values(read), "accept": sorted(set(accept)), "atlas": files.atlas},
        inputs=files.by_role(),
        may_write=(),
        work=lambda made: _check(ledger, files, read, accept, made),
    )
    return ledger.do(step)


def _check(ledger: Ledger, files: CheckedFiles, read: ReadOptions, accept: tuple[str, ...], _: Made) -> Facts:
    report = require_sound(files, read, accept, ledger.listener.progress("checking", "volumes"))
    for finding in report.of("warn"):
        ledger.listener.note(f"[{finding.name}] {finding.message}")
    return _facts(report)


def _facts(report: CheckReport) -> Facts:
    return {
        "verdict": report.verdict,
        "findings": [finding.as_dict() for finding in report.findings],
        "accepted": list(report.accepted),
        **report.facts,
    }
