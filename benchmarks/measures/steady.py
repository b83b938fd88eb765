"""What is kept open, for a while: for each part of it that has ended, as much is submitted."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final

from benchmarks.measures.cost import per_thousand

if TYPE_CHECKING:
    from benchmarks.play import Batch, Play

#: At least so many parts are open, and no part is larger than this: a slow peer takes a second for
#: a hundred.
_PARTS: Final = 10
_LARGEST: Final = 100


def part_of(outstanding: int) -> int:
    """How many are submitted, and gathered, at once."""
    return min(_LARGEST, max(1, outstanding // _PARTS))


def steady(play: Play, batches: deque[Batch]) -> dict[str, float]:
    """``per_second``, CPU seconds per thousand tasks, and the microseconds of our own threads.

    ``batches``: what is open, each of ``part_of`` of it; what is open at the end, afterwards.
    """
    part = part_of(play.cell.outstanding)

    def run(seconds: float) -> tuple[int, float]:
        began = time.perf_counter()
        done = 0
        while not done or time.perf_counter() - began < seconds:
            play.gather(batches.popleft())
            done += part
            batches.append(play.submit(part))
        return done, time.perf_counter() - began

    run(play.size.rewarming if play.is_warm else play.size.warm_up)
    play.is_warm = True
    meter = play.meter()
    before, threads_before = meter.cpu(), meter.threads()
    done, seconds = run(play.size.seconds)
    spent, threads = meter.cpu().since(before), meter.threads()
    figures = {"per_second": done / seconds, "tasks": done, **per_thousand(spent, done)}
    for name, cpu in threads.items():
        figures[f"us_{name}"] = (cpu - threads_before.get(name, 0.0)) * 1e6 / done
    return figures
