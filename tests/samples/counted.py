"""Tasks that count how often they are run, for tests with a pool of threads."""

from __future__ import annotations

from collections import Counter

from worker import task

#: By what they were called with.
RUNS: Counter[str] = Counter()


def count(name: str) -> str:
    """Count, and return what came."""
    RUNS[name] += 1
    return name


@task(delivery="at_most_once")
def count_once(name: str) -> str:
    """The same, never started twice."""
    return count(name)
