"""What is guarded: the ways that a task takes for most users, each with what one costs on it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from benchmarks.calls import joined, living
from benchmarks.calls.counter import Calls

#: ``{side: calls}``, of ``submitter`` and ``worker``.
Sides = dict[str, Calls]

#: By name: what is counted, and how often it is tried before what has grown counts as grown. What
#: depends on which messages happen to travel together may be unlucky once, or twice.
PATHS: Final[dict[str, tuple[Callable[[], Sides], int]]] = {
    "joined, 1 at once": (partial(joined.count, 1, 50), 1),
    "joined, 100 at once": (partial(joined.count, 100, 3), 1),
    "memory, threads, 1 at once": (partial(living.count, "threads", 1, 40), 3),
    "memory, threads, 100 at once": (partial(living.count, "threads", 100, 100), 3),
    "memory, processes, 1 at once": (partial(living.count, "processes", 1, 40), 3),
    "memory, processes, 100 at once": (partial(living.count, "processes", 100, 100), 3),
}
