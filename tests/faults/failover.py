"""How long it took until somebody else got what a killed worker had: read from the journal.

The executor's journal says what was sent to whom, and when. Workers without a name of their own are
called ``host-pid``, and so a killed process is known by its number.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from bus.news import Damage, read
from bus.wire.testing.processes.killer import Killed
from protocol.events import Dispatched
from protocol.history import Entry


def failovers(journal: Path, killed: Iterable[Killed]) -> list[float]:
    """Seconds from the end of a worker to the next dispatch of each request that it had.

    From the dispatch, for what was sent to it when it was dead already.
    """
    entries = (entry for entry in read(journal) if not isinstance(entry, Damage))
    return of_entries(entries, killed, time.time() - time.monotonic())


def of_entries(entries: Iterable[Entry], killed: Iterable[Killed], to_wall: float) -> list[float]:
    """The same; ``to_wall`` is what is to be added to the monotonic clock."""
    ends = {str(k.worker): k.moment + to_wall for k in killed if k.pid == k.worker}
    attempts: dict[str, list[tuple[float, str]]] = {}
    for entry in entries:
        if isinstance(entry.event, Dispatched):
            worker = entry.event.worker.rpartition("-")[2]
            attempts.setdefault(entry.event.uuid, []).append((entry.stamp, worker))
    found = []
    for of_one in attempts.values():
        for (sent, worker), (sent_again, _) in pairwise(of_one):
            end = ends.get(worker)
            if end is not None and end <= sent_again:
                found.append(sent_again - max(sent, end))
    return found
