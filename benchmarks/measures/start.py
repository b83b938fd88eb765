"""How long it takes from nothing to a first result."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.play import Play


def measure(play: Play) -> dict[str, float]:
    """``first_result_seconds``, and the next call's, for comparison."""
    began = time.perf_counter()
    play.start_workers()
    play.connect()
    play.call()
    first = time.perf_counter() - began
    return {"first_result_seconds": first, "next_ms": 1000 * play.call()}
