"""CPU per task, in the three parts of a play."""

from __future__ import annotations

from benchmarks.process import Spent


def per_thousand(spent: Spent, tasks: int) -> dict[str, float]:
    """Seconds of CPU for a thousand tasks; ``cpu`` is submitter and workers together."""
    each = 1000 / tasks
    return {
        "cpu": (spent.submitter + spent.workers) * each,
        "cpu_submitter": spent.submitter * each,
        "cpu_workers": spent.workers * each,
        "cpu_broker": spent.broker * each,
    }
