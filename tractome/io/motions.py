"""The motion of a scan as a table, one row per volume."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tractome.io.atomic import replacing


def write_motion_table(path: str | os.PathLike[str], header: Sequence[str], rows: Sequence[Sequence[float]]) -> None:
    """Write tab-separated numbers under their names; -0 is written as 0."""
    lines = ["\t".join(header)]
    lines += ["\t".join(f"{round(value, 5) + 0.0:.6g}" for value in row) for row in rows]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
