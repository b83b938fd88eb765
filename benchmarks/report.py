"""What came of plays, in words: a line for the terminal."""

from __future__ import annotations

from benchmarks.result import Result
from benchmarks.statistics import rounded


def line(result: Result) -> str:
    """One play, for the terminal."""
    where = f"{result.round} {result.cell.name:52}"
    if result.skipped:
        return f"{where} not played: {result.skipped}"
    if result.problem:
        return f"{where} FAILED: {result.problem}"
    return f"{where} " + "  ".join(
        f"{name} {rounded(value)}" for name, value in result.figures.items()
    )
