"""Cells and rows of Markdown tables."""

from __future__ import annotations


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A table of Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def number(value: float | None, digits: int = 3) -> str:
    """A figure, or a dash where there is none."""
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def rate(value: float) -> str:
    """Pieces per second: whole ones where there are many."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2f}"
