"""A task that is held up, for tests that look at one while it runs: in a pool of threads only."""

from __future__ import annotations

import threading

BEGUN = threading.Event()
OPEN = threading.Event()


def walk_through() -> None:
    """Say that it has begun, and return when it may."""
    BEGUN.set()
    OPEN.wait(60)
