"""Print the last result of `make bench` as the Markdown tables of docs/benchmarks.md.

python benchmarks/table.py
"""

from __future__ import annotations

import json
from pathlib import Path

from bench import SCORES


def main() -> None:
    report = json.loads((Path(__file__).parent / "out" / "bench.json").read_text())
    if report["speed"]:
        print("| job | tractome | MRtrix3 | ratio | peak memory, MiB |\n| --- | --- | --- | --- | --- |")
    for line in report["speed"]:
        (ours, theirs), (peak, peer_peak) = line["wall_s"], line["peak_mib"]
        print(
            f"| {line['name']} | {ours:.2f} s | {theirs:.2f} s | {line['ratio']:.2f} | {peak:.0f} / {peer_peak:.0f} |"
        )
    if report["accuracy"]:
        print(f"\n| subject | program | {' | '.join(SCORES.values())} |\n| --- | ---{' | ---' * len(SCORES)} |")
    for subject in report["accuracy"]:
        for program, scores in {**subject["peer"], "tractome": subject["tractome"]}.items():
            cells = [f"{scores[key]:.0f}" if key == "n_false" else f"{scores[key]:.3f}" for key in SCORES]
            print(f"| {subject['subject']} | {program} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
