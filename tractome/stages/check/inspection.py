"""What one check has seen so far: numbers compared with limits, and findings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.findings import CheckReport, Finding
from tractome.stages.check.catalogue import CATALOGUE
from tractome.stages.check.limits import LIMITS


class Inspection:
    """Collects the findings of one check, with the numbers behind them."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.measures: dict[str, float] = {}
        self.facts: dict[str, str] = {}

    def find(self, name: str, message: str, *, about: str = "", **evidence: Any) -> None:
        """Note a finding of the catalogue; `message` has what we got, what is needed, what to do."""
        kind = CATALOGUE[name]
        self.findings.append(Finding(name, kind.severity, about or kind.about, message, evidence))

    def has(self, *names: str) -> bool:
        """Whether any of these was found."""
        return any(each.name in names for each in self.findings)

    def is_beyond(self, limit: str, value: float) -> bool:
        """Remember a number (the worst, where it is measured more than once); say whether it is beyond its limit."""
        rule, value = LIMITS[limit], float(value)
        worst = max if rule.is_highest else min
        self.measures[limit] = worst(value, self.measures.get(limit, value))
        return rule.is_beyond(value)

    def beyond(self, limit: str, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """As `is_beyond`, for several numbers: which of them are beyond."""
        rule = LIMITS[limit]
        if values.size:
            self.is_beyond(limit, float(values.max() if rule.is_highest else values.min()))
        chosen: NDArray[np.bool_] = values > rule.value if rule.is_highest else values < rule.value
        return chosen

    def report(self, accepted: tuple[str, ...] = ()) -> CheckReport:
        """Everything so far."""
        return CheckReport(tuple(self.findings), accepted, self.facts, self.measures)


def some(numbers: NDArray[Any] | list[Any], n_shown: int = 5) -> str:
    """``1, 2, 3, 4, 5, ...``."""
    return ", ".join(map(str, list(numbers)[:n_shown])) + (", ..." if len(numbers) > n_shown else "")


def counted_from_one(chosen: NDArray[np.bool_]) -> list[int]:
    """Numbers of the volumes or slices that are True, the first being 1, as viewers and tables count lines."""
    return [int(index) + 1 for index in np.flatnonzero(chosen)]
