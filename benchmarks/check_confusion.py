"""What `tractome check` says of good subjects and of spoiled ones; prints the tables of docs/check.md.

    python benchmarks/check_confusion.py [folder of the shared data]

Each subject of tests/broken*.py has one fault. The limits stand beside the worst value that a
good subject has, so that the room between the two can be seen.
"""

from __future__ import annotations

import importlib
import math
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

REAL = ("philips_dwi_t1", "siemens_42vol", "siemens_3mm", "phantom_2mm", "multishell_slices")


def _good(shared: Path | None):
    """Name and maker of every good subject."""
    from specimen import from_folder, hcp_shaped, specimen
    from test_check import GOOD

    for name, change in GOOD.items():
        yield f"small phantom, {name}", lambda change=change: change(specimen())
    yield "sample_data", lambda: from_folder(ROOT / "sample_data")
    if shared is None:
        return
    for name in REAL:
        yield name, lambda name=name: from_folder(shared / name)
        if not (shared / name / "mask.nii.gz").exists():
            yield f"{name}, with a mask made", lambda name=name: from_folder(shared / name, with_mask=True)
    yield "phantom with the gradients of the HCP", lambda: hcp_shaped(shared / "hcp_gradients")


def main() -> None:
    from broken import BROKEN
    from specimen import specimen
    from test_check import checked

    from tractome.stages.check import CATALOGUE

    importlib.import_module("broken_anatomy")
    shared = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    worst: dict[str, list[tuple[float, str]]] = defaultdict(list)
    alarms: dict[str, int] = defaultdict(int)
    n_good = 0
    print("## Good subjects\n\n| subject | found |\n| --- | --- |")
    for name, make in _good(shared):
        with tempfile.TemporaryDirectory() as folder:
            report = checked(make(), Path(folder))
        n_good += 1
        for limit, value in report.measures.items():
            worst[limit].append((value, name))
        for found in report.names:
            alarms[found] += 1
        print(f"| {name} | {', '.join(report.names) or 'nothing'} |", flush=True)
    named: dict[str, list[tuple[str, tuple[str, ...]]]] = defaultdict(list)
    for name, row in BROKEN.items():
        subject = specimen()
        row.spoil(subject)
        with tempfile.TemporaryDirectory() as folder:
            named[row.expected].append((name, checked(subject, Path(folder)).names))
    print(f"\n## Spoiled subjects\n\n{len(BROKEN)} faults, {n_good} good subjects.\n")
    print("| finding | severity | means | faults tried | named | named with another | false alarms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    more = []
    for name, kind in CATALOGUE.items():
        tried = named[name]
        n_named = sum(name in found for _, found in tried)
        others = [(fault, found) for fault, found in tried if set(found) != {name}]
        more += [(name, fault, found) for fault, found in others]
        cells = (f"`{name}`", kind.severity, kind.meaning, len(tried), n_named, len(others), alarms[name])
        print("| " + " | ".join(map(str, cells)) + " |")
    print("\nWhere more than the fault was named:\n\n| fault | its finding | all that was named |\n| --- | --- | --- |")
    for name, fault, found in more:
        print(f"| {fault.replace('-', ' ')} | `{name}` | {', '.join(found) or 'nothing'} |")
    _print_limits(worst)


def _print_limits(worst: dict[str, list[tuple[float, str]]]) -> None:
    from tractome.stages.check import LIMITS

    print("\n## Limits\n\n| number | what | limit | worst good value | of |\n| --- | --- | --- | --- | --- |")
    for name, limit in LIMITS.items():
        sign = "at most" if limit.is_highest else "at least"
        values = worst.get(name, [])
        value, subject = (max if limit.is_highest else min)(values) if values else (float("nan"), "")
        shown = "n/a" if math.isnan(value) else f"{value:.3g}"
        cells = (f"`{name}`", limit.meaning, f"{sign} {limit.value:g} {limit.unit}", shown, subject)
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
