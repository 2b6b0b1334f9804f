"""What a check of a subject's files found, before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SEVERITIES = ("refuse", "warn")
"""What cannot be right, and what should be looked at."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or looks wrong, with a subject's files.

    Parameters
    ----------
    name : str
        Short name, such as ``"mask-shifted"``; one name always has one severity.
    severity : str
        ``"refuse"`` or ``"warn"``.
    about : str
        What it is about: ``"dwi"``, ``"gradients"``, ``"mask"``, ``"t1"``, ``"labels"``, ``"regions"``, ``"tissue"``
        or ``"grad_dev"``.
    message : str
        What we got, what is needed, what to do.
    evidence : mapping of str to number, text, or list of them
        What the finding stands on.
    """

    name: str
    severity: str
    about: str
    message: str
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            message = f"The severity of {self.name} is {self.severity!r}; it must be one of {', '.join(SEVERITIES)}."
            raise ValueError(message)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "severity": self.severity,
            "about": self.about,
            "message": self.message,
            "evidence": dict(self.evidence),
        }


@dataclass(frozen=True)
class CheckReport:
    """Everything that a check found.

    Parameters
    ----------
    findings : tuple of Finding
        What is refused comes first.
    accepted : tuple of str
        Names of findings that the user takes responsibility for.
    facts : mapping of str to str
        What was found in the files, in words: grids, shells.
    measures : mapping of str to float
        Every number that was compared with a limit.
    """

    findings: tuple[Finding, ...]
    accepted: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ordered = sorted(self.findings, key=lambda each: SEVERITIES.index(each.severity))
        object.__setattr__(self, "findings", tuple(ordered))

    def of(self, severity: str) -> tuple[Finding, ...]:
        """Findings of one severity that are not accepted."""
        return tuple(each for each in self.findings if each.severity == severity and each.name not in self.accepted)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all findings, accepted ones too, each once."""
        return tuple(dict.fromkeys(each.name for each in self.findings))

    @property
    def verdict(self) -> str:
        """``"refused"``, ``"warnings"`` or ``"clean"``; what is accepted does not count."""
        return "refused" if self.of("refuse") else "warnings" if self.of("warn") else "clean"

    @property
    def exit_code(self) -> int:
        """0 clean, 1 warnings, 2 refused."""
        return ("clean", "warnings", "refused").index(self.verdict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "verdict": self.verdict,
            "findings": [each.as_dict() for each in self.findings],
            "accepted": list(self.accepted),
            "facts": dict(self.facts),
            "measures": dict(self.measures),
        }
