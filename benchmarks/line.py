"""What came of a play, in a line for the terminal."""

from __future__ import annotations

from benchmarks.result import Result
from benchmarks.statistics import rounded


def line(result: Result) -> str:
    """One play."""
    where = f"{result.round} {result.cell.name:52}"
    if result.skipped:
        return f"{where} not played: {result.skipped}"
    if result.problem:
        return f"{where} FAILED: {result.problem}"
    figures = (f"{name} {rounded(value)}" for name, value in result.figures.items())
    return f"{where} {'  '.join(figures)}"
