"""The few figures that README.md shows, of the same results as docs/benchmarks.md."""

from __future__ import annotations

from typing import Any

from cells import number, rate, table

Report = dict[str, dict[str, Any]]

SPEED = ("tensor", "csd", "msmt", "track", "dipy", "connect-whole", "weigh")
FIGURES = ("ap", "r", "u_recall")


def tables(report: Report) -> dict[str, str]:
    """What there is a result for, by name."""
    found = {}
    if "accuracy" in report:
        found["accuracy"] = _accuracy(report["accuracy"]["records"])
    speed = [record for name in SPEED if name in report for record in report[name]["records"]]
    if speed:
        found["speed"] = _speed(speed)
    return found


def _accuracy(records: list[dict[str, Any]]) -> str:
    rows = []
    for record in records:
        name, best = max(record["peer"].items(), key=lambda item: item[1]["ap"])
        ours = record["tractome"]
        for index, (program, scores, other) in enumerate(
            ((f"MRtrix3 {name}", best, ours), ("tractome", ours, best)),
        ):
            cells = [
                f"**{number(scores[key])}**" if scores[key] > other[key] else number(scores[key]) for key in FIGURES
            ]
            rows.append([f"`{record['subject']}`" if index == 0 else "", program, *cells])
    return table(["subject", "", "average precision", "r with true counts", "U-fibre edges found"], rows)


def _speed(records: list[dict[str, Any]]) -> str:
    rows = []
    for record in records:
        *ours, peer = record["lines"]
        for index, line in enumerate(ours):
            rows.append(
                [
                    record["title"] if index == 0 else "",
                    line["what"],
                    f"{rate(line['rate'])} {record['unit']}/s",
                    f"**{line['ratio']:.1f}** times {peer['program']}",
                ]
            )
    return table(["job", "tractome", "rate", ""], rows)
