"""Gathering where a handle is a ``concurrent.futures.Future``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any


def results(futures: Sequence[Future[Any]], timeout: float) -> list[Any]:
    """Their results, in order. Raises ``TimeoutError``, and what a task raised."""
    until = time.monotonic() + timeout
    found = []
    for number, future in enumerate(futures):
        try:
            found.append(future.result(max(0.0, until - time.monotonic())))
        except FutureTimeout:
            raise TimeoutError(f"{len(futures) - number} of {len(futures)} are open") from None
    return found
