"""The few numbers that many measurements come to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` (0 to 1) of all are not above. No empty list."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True)
class Spread:
    """What several rounds came to."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The middle, the smallest and the largest. No empty list."""
        return cls(median(values), min(values), max(values), len(values))


def ratios(ours: dict[int, float], theirs: dict[int, float]) -> Spread | None:
    """Ours over theirs, of each round that has both ``{round: figure}``; None if none has.

    Of pairs, not of medians: the two were taken within a minute of each other, and what a busy
    machine does to both cancels out.
    """
    both = [ours[number] / theirs[number] for number in ours if theirs.get(number)]
    return Spread.of(both) if both else None


def rounded(value: float) -> str:
    """To three figures, thousands apart: ``12,300``, ``1.24``, ``0.0351``."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    places = 2 - math.floor(math.log10(abs(value)))
    value = round(value, places)
    return f"{value:,.{max(places, 0)}f}"
