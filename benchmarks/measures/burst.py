"""What it costs when many are open at once: all submitted, then all gathered."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from benchmarks.measures.cost import per_thousand

if TYPE_CHECKING:
    from benchmarks.play import Play

_PART: Final = 1000  # submitted, and gathered, in one call of the client


def measure(play: Play) -> dict[str, float]:
    """``per_second``, and CPU seconds per thousand tasks."""
    play.start_workers()
    play.connect()
    play.wait_ready()
    _burst(play, min(play.cell.outstanding, 100))
    meter = play.meter()
    before = meter.cpu()
    began = time.perf_counter()
    done = 0
    while not done or time.perf_counter() - began < play.size.seconds:
        done += _burst(play, play.cell.outstanding)
    seconds = time.perf_counter() - began
    spent = meter.cpu().since(before)
    return {"per_second": done / seconds, "tasks": done, **per_thousand(spent, done)}


def _burst(play: Play, count: int) -> int:
    parts = [min(_PART, count - first) for first in range(0, count, _PART)]
    batches = [play.submit(part) for part in parts]
    for batch in batches:
        play.gather(batch)
    return count
