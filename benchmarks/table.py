"""The results of bench.py as the Markdown tables of docs/benchmarks.md.

    python benchmarks/table.py              # print every table that there is a result for
    python benchmarks/table.py --write      # put them into docs/benchmarks.md and README.md, and draw the curves

In a document each table lies between ``<!-- table NAME -->`` and ``<!-- end NAME -->``; the text around them stays as
it is.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
import summary
from cells import number, rate, table
from rows_accuracy import DEMANDED, SCORES
from rows_chance import FALLING, LEVELS, RANKED

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "docs" / "benchmarks.md"
README = HERE.parent / "README.md"
PICTURE = HERE.parent / "docs" / "img" / "cost.png"

Record = dict[str, Any]


def _speed(records: list[Record]) -> str:
    rows = []
    for record in records:
        for index, line in enumerate(record["lines"]):
            is_last = index == len(record["lines"]) - 1
            compiled = f"{line['compile_s']:.1f} s" if "compile_s" in line else "-"
            rows.append(
                [
                    record["title"] if index == 0 else "",
                    f"{line['program']}: {line['what']}",
                    f"{rate(line['rate'])} {record['unit']}/s",
                    f"{line['wall_s']:.2f} s",
                    "-" if len(record["lines"]) == 1 else "1" if is_last else f"**{line['ratio']:.1f}**",
                    f"{line['peak_mib']:,.0f}",
                    compiled,
                ]
            )
    heads = ["job", "program", "rate", "whole process", "ratio of rates", "peak memory, MiB", "first run adds"]
    return table(heads, rows)


def _quality(records: list[Record]) -> str:
    rows = []
    for record in records:
        for index, line in enumerate(record["lines"]):
            if "acceptance" not in line:
                continue
            equal = f"{number(line['ap_equal'])} / {number(line['r_equal'])}" if "ap_equal" in line else "-"
            rows.append(
                [
                    record["title"] if index == 0 else "",
                    f"{line['program']}: {line['what']}",
                    f"{line['n_streamlines']:,}",
                    number(line["acceptance"]),
                    f"{line['mean_length_mm']:.1f}",
                    f"{line['points_per_s']:,.0f}",
                    f"{number(line['ap'])} / {number(line['r'])}",
                    equal,
                ]
            )
    if not rows:
        return ""
    heads = ["the timed run", "program", "streamlines", "accepted of tried", "mean length, mm", "points/s", "AP / r"]
    return table([*heads, "AP / r at the peer's number"], rows)


def _notes(records: list[Record]) -> str:
    notes = dict.fromkeys(record["note"] for record in records if record.get("note"))
    return "\n".join(f"- {note}." for note in notes)


def _accuracy(records: list[Record]) -> str:
    rows, verdicts = [], []
    for record in records:
        lines = {f"MRtrix3 {name}": scores for name, scores in record["peer"].items()}
        best = max(lines, key=lambda name: lines[name]["ap"])
        for program, scores in {**lines, "**tractome**": record["tractome"]}.items():
            cells = [f"{scores[key]:.0f}" if key == "n_false" else number(scores.get(key)) for key in SCORES]
            rows.append([record["subject"], f"{program} (best)" if program == best else program, *cells])
        verdicts.append(
            f"- {record['subject']}: below MRtrix3's best in {record['below']['best']}; in AP, r, U >= 1 below any of "
            f"the four in {record['below']['any']}."
        )
    scored = table(["subject", "program", *SCORES.values()], rows)
    return f"{scored}\n\n{chr(10).join(verdicts)}"


def _seeds(records: list[Record]) -> str:
    rows = []
    for record in records:
        for index, line in enumerate(record["lines"]):
            spread = [f"{number(line[key]['mean'])} ± {number(line[key]['sd'])}" for key in DEMANDED]
            rows.append(
                [f"{record['subject']}, {record['n_seeds']} seeds" if index == 0 else "", line["program"], *spread]
            )
    return table(["subject", "program", *(SCORES[key] for key in DEMANDED)], rows)


def _curves(records: list[Record]) -> str:
    rows = []
    for record in records:
        for point in record["points"]:
            per = 1e6 * point["wall_s"] / point["size"]
            rows.append(
                [
                    record["unit"],
                    f"{point['size']:,.0f}",
                    f"{point['wall_s']:.2f} s",
                    f"{point['cpu_s']:.2f} s",
                    f"{per:,.0f}" if record["curve"] in ("voxels", "streamlines") else "-",
                    f"{point['peak_mib']:,.0f}",
                ]
            )
    heads = ["what grows", "size", "whole process", "processor", "microseconds per piece", "peak memory, MiB"]
    said = [table(heads, rows), ""]
    for record in records:
        if record["curve"] == "threads":
            said.append(
                f"Two threads against one, {record['n_streamlines']:,} streamlines: **{record['speed_up']:.2f}** times "
                f"as fast in tracking, {record['speed_up_whole_process']:.2f} times in the whole process."
            )
        if record["curve"] == "streamlines" and len(record["points"]) > 1:
            said.append(f"{_growth(record)}")
    return "\n".join(said)


def _growth(record: Record) -> str:
    """How cost grows from the last size but one to the last: 10 for ten times as many is linear."""
    before, last = record["points"][-2:]
    times, cost = last["size"] / before["size"], last["wall_s"] / before["wall_s"]
    return (
        f"From {before['size']:,} to {last['size']:,} streamlines, {times:g} times as many: {cost:.1f} times the time."
    )


def _weights(records: list[Record]) -> str:
    rows = []
    for record in records:
        scores = record["scores"]
        cells = [f"{number(scores[kind]['r'])} / {number(scores[kind]['ap'])}" for kind in scores]
        rows.append([record["subject"], record["seeds"], f"{record['n_streamlines']:,}", *cells])
    heads = ["subject", "seeds", "streamlines", *(f"{kind}, r / AP" for kind in records[0]["scores"])]
    return table(heads, rows)


def _errors(records: list[Record]) -> str:
    rows = []
    for record in records:
        for index, line in enumerate(record["lines"]):
            rows.append(
                [
                    record["title"] if index == 0 else "",
                    line["measure"],
                    f"{line['n_edges']:,}",
                    f"{number(line['median_ratio'])} ({number(line['ratio_5'], 2)} to {number(line['ratio_95'], 2)})",
                    f"{100 * line['median_deviation']:.1f} %",
                    f"{100 * line['median_deviation_single']:.1f} %",
                ]
            )
    heads = ["runs", "measure", "edges", "spread / predicted: median (5 to 95 %)", "median deviation"]
    return table([*heads, "from one run's errors"], rows)


def _chance(records: list[Record]) -> str:
    rows = []
    for record in records:
        for index, line in enumerate(record["lines"]):
            corrected = line["corrected"]
            kept = f"{corrected['n']}, {percent(corrected['true'])} true" if corrected["n"] else "none"
            rows.append(
                [
                    f"{record['subject']} ({record['n_true']} of {record['n_pairs']:,})" if index == 0 else "",
                    f"{line['n_streamlines']:,}",
                    *(f"{number(line[name]['auc'])} / {number(line[name]['ap'], 2)}" for name in RANKED),
                    *(
                        " / ".join(percent(line[kind][str(level)]) for level in LEVELS[:2])
                        for kind in ("false", "true")
                    ),
                    kept,
                    f"{number(line[FALLING]['auc'])} / {number(line[FALLING]['ap'], 2)}",
                    *(percent(line[FALLING][kind][str(LEVELS[0])]) for kind in ("false", "true")),
                ]
            )
    heads = ["phantom (true of all pairs)", "streamlines", *(f"{name}, AUC / AP" for name in RANKED)]
    heads += ["unconnected pairs of p <= 0.05 / 0.01", "true edges of p <= 0.05 / 0.01", "kept at FDR 0.05"]
    heads += ["with a fall by distance: AUC / AP", "unconnected of p <= 0.05", "true of p <= 0.05"]
    return table(heads, rows)


def percent(share: float) -> str:
    """A share in percent."""
    return f"{100 * share:.1f} %"


_UNTIMED: dict[str, Callable[[list[Record]], str]] = {
    "accuracy": _accuracy,
    "accuracy-seeds": _seeds,
    "chance": _chance,
    "curves": _curves,
    "errors": _errors,
    "weigh-truth": _weights,
}
"""Comparisons of something else than speed."""


def render(name: str, records: list[Record]) -> str:
    """The Markdown of one comparison's records."""
    if name in _UNTIMED:
        return _UNTIMED[name](records)
    parts = [_speed(records), _quality(records), _notes(records)]
    return "\n\n".join(part for part in parts if part)


def section(name: str, result: Record) -> str:
    """A table with the machine, the versions and the date it belongs to."""
    quick = " **Tiny sizes: these figures mean nothing.**" if result["quick"] else ""
    repeats = "" if name in _UNTIMED else f"Median of {len(result['records'][0]['lines'][0]['walls_s'])}. "
    head = f"{repeats}{result['when']}, {machine.sentence(result['machine'])}.{quick}"
    return f"{render(name, result['records'])}\n\n{head}"


def put(path: Path, tables: dict[str, str]) -> list[str]:
    """Put tables between their marks in a document; the names of those that have a place there."""
    text, placed = path.read_text(), []
    for name, body in tables.items():
        marks = re.compile(rf"(<!-- table {name} -->\n).*?(\n<!-- end {name} -->)", re.DOTALL)
        text, n_places = marks.subn(lambda found, body=body: f"{found[1]}{body}{found[2]}", text)
        if n_places:
            placed.append(name)
    path.write_text(text)
    return placed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md and README.md")
    parser.add_argument("--report", type=Path, default=HERE / "out" / "bench.json")
    given = parser.parse_args()
    if not given.report.exists():
        sys.exit(f"There is no {given.report}. Run benchmarks/bench.py first.")
    report = json.loads(given.report.read_text())
    if not given.write:
        for name, result in report.items():
            print(f"## {name}\n\n{section(name, result)}\n")
        return
    if any(result["quick"] for result in report.values()):
        sys.exit("A quick report is not for the document. Run benchmarks/bench.py without --quick.")
    if "curves" in report:
        from plots import draw_curves

        draw_curves(report["curves"]["records"], PICTURE)
    if "chance" in report:
        from plots import draw_chance

        draw_chance(report["chance"]["records"], PICTURE.with_name("chance.png"))
    written = put(DOCUMENT, {name: section(name, result) for name, result in report.items()})
    written += put(README, summary.tables(report))
    print(f"written: {', '.join(written)}")


if __name__ == "__main__":
    main()
