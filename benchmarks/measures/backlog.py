"""What it costs when many wait: memory while no worker is there, then throughput with as many open.

They are submitted before there is a worker. Otherwise many of them would have ended by the time the
last is submitted, and what is measured would be how quickly results are fetched that lie there.
"""

from __future__ import annotations

import gc
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from benchmarks.measures.not_reached import NotReached
from benchmarks.measures.steady import part_of, steady

if TYPE_CHECKING:
    from benchmarks.play import Play

_WARM_UP: Final = 500  # requests: what is allocated once is not counted


def measure(play: Play) -> dict[str, float]:
    """``submitter_bytes`` and ``broker_bytes`` of each request, and as ``steady`` has it."""
    play.connect()
    count, part = play.cell.outstanding, part_of(play.cell.outstanding)
    batches = deque(play.submit(part) for _ in range(min(_WARM_UP, count // 2) // part))
    meter = play.meter()
    gc.collect()
    before = meter.memory()
    first = len(batches)
    began = time.perf_counter()
    while part * len(batches) < count:
        batches.append(play.submit(part))
        if time.perf_counter() - began > play.size.fill:
            raise NotReached(
                f"after {play.size.fill:g} s of submitting {part * len(batches):,} were open"
            )
    seconds = time.perf_counter() - began
    gc.collect()
    grown = meter.memory().since(before)
    submitted = part * (len(batches) - first)
    play.start_workers()
    return {
        **steady(play, batches),
        "submitted_per_second": submitted / seconds,
        "submitter_bytes": grown.submitter / submitted,
        "broker_bytes": grown.broker / submitted,
    }
