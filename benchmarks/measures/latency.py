"""How long a call takes when nothing else is going on."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Final

from benchmarks.measures.cost import per_thousand
from benchmarks.statistics import percentile

if TYPE_CHECKING:
    from benchmarks.play import Play

_WARM_UP: Final = 5  # calls


def measure(play: Play) -> dict[str, float]:
    """``p50_ms``, ``p99_ms`` and what a lone call costs."""
    play.bring_up()
    for _ in range(_WARM_UP):
        play.call()
    meter = play.meter()
    before = meter.cpu()
    until = time.perf_counter() + play.size.call_seconds
    seconds: list[float] = []
    while len(seconds) < play.size.calls and (not seconds or time.perf_counter() < until):
        seconds.append(play.call())
    spent = meter.cpu().since(before)
    return {
        "p50_ms": 1000 * median(seconds),
        "p99_ms": 1000 * percentile(seconds, 0.99),
        "calls": len(seconds),
        **per_thousand(spent, len(seconds)),
    }
