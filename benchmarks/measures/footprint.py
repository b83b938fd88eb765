"""What a request that waits takes of the memory."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from benchmarks.play import Play

_PART: Final = 1000  # submitted in one call of the client
_WARM_UP: Final = 200  # requests: what is allocated once is not counted


def measure(play: Play) -> dict[str, float]:
    """``submitter_bytes`` and ``broker_bytes``, of each request."""
    play.connect()
    batches = [play.submit(_WARM_UP)]
    meter = play.meter()
    gc.collect()
    before = meter.memory()
    count = play.size.memory_requests
    batches += [play.submit(min(_PART, count - first)) for first in range(0, count, _PART)]
    gc.collect()
    grown = meter.memory().since(before)
    play.start_workers()
    for batch in batches:
        play.gather(batch)
    return {
        "submitter_bytes": grown.submitter / count,
        "broker_bytes": grown.broker / count,
        "requests": count,
    }
