"""What can be measured, a module each. A measure starts the workers itself: some do so late."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.measures import backlog, latency, start, throughput

if TYPE_CHECKING:
    from benchmarks.play import Play


@dataclass(frozen=True, slots=True)
class Measure:
    """One way of measuring."""

    #: Plays, and returns the figures by their names.
    measure: Callable[[Play], dict[str, float]]
    #: What is done, in a sentence for the page.
    words: str


MEASURES: Final = {
    "throughput": Measure(
        throughput.measure,
        "A fixed number of requests is kept open: for each part of them that has ended, as much is "
        "submitted. Counted is what ended after the warming up.",
    ),
    "backlog": Measure(
        backlog.measure,
        "The same with many open. They are submitted while no worker is there: what the resident "
        "memory of the submitter and of the broker grows by is noted. Then the worker comes.",
    ),
    "latency": Measure(
        latency.measure,
        "One call at a time, nothing else open: from before the submit until the result is there.",
    ),
    "start": Measure(
        start.measure,
        "From the moment the worker's process is started until the first result is there; the "
        "submitter begins to import its library at the same moment.",
    ),
}
