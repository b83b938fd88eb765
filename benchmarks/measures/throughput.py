"""Tasks per second, and what each costs, while a fixed number is open."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final

from benchmarks.measures.cost import per_thousand

if TYPE_CHECKING:
    from benchmarks.play import Batch, Play

#: Parts in which the open requests are submitted and gathered.
_PARTS: Final = 10


def measure(play: Play) -> dict[str, float]:
    """``per_second``, and CPU seconds per thousand tasks."""
    play.start_workers()
    play.connect()
    play.wait_ready()
    part = max(1, play.cell.outstanding // _PARTS)
    open_: deque[Batch] = deque(play.submit(part) for _ in range(play.cell.outstanding // part))

    def run(seconds: float) -> tuple[int, float]:
        began = time.perf_counter()
        done = 0
        while time.perf_counter() - began < seconds:
            play.gather(open_.popleft())
            done += part
            open_.append(play.submit(part))
        return done, time.perf_counter() - began

    run(play.size.warm_up)
    meter = play.meter()
    before = meter.cpu()
    done, seconds = run(play.size.seconds)
    spent = meter.cpu().since(before)
    while open_:
        play.gather(open_.popleft())
    return {"per_second": done / seconds, "tasks": done, **per_thousand(spent, done)}
