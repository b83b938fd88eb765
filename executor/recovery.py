"""The beginning of an executor with a journal: everything that was open is taken up again.

Decided here: what stands before the threads start. Each open request gets a future anew, running if
a run of it was ever known, cancelled if its caller was told so; the ledger gets them all at once
(native dialect, section 8). On the thread that makes the executor, and quickly: Python's collector
of garbage is paused meanwhile (``collector_paused``), because it would go through a hundred
thousand new requests again and again, none of which is garbage.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bus.news import Journal
from executor.future import Future
from executor.keeper import Keeper
from executor.turn import Open, Requests

logger = logging.getLogger("taskline.executor.recovery")


def open_journal(path: Path, executor: str) -> Journal:
    """The journal, locked. Raises ``JournalLocked`` and ``JournalError``.

    Workers remember the executor's last incarnation for a day, whatever has become of its journal,
    and serve none before it. So one is never below the clock, in milliseconds: then a journal that
    was put back as it was last week does not make its executor one that nobody serves.
    """
    journal = Journal(path, executor, at_least=int(time.time() * 1000))
    for sentence in journal.damage:
        logger.warning("the journal %s is damaged: %s", journal.path, sentence)
    return journal


def take_up(
    journal: Journal,
    requests: Requests,
    keeper: Keeper,
    make: Callable[[str, str], Future[Any]],
) -> list[str]:
    """Take up what is open in it, before the keeper starts; the uuids, in order of submission."""
    statuses = list(journal.open_requests)
    journal.open_requests.clear()
    taken: list[str] = []
    for status in statuses:
        uuid = status.submitted.uuid
        future = make(uuid, status.submitted.task)
        future.remember(status.stamp, status.steps, status.submitted.repeats)
        if status.is_cancelled:
            future.withdraw()
            requests.unsettled[uuid] = future
            continue
        if status.has_run:
            future.begin()
        requests.open[uuid] = Open(future)
        taken.append(uuid)
    keeper.restore(statuses, time.time())
    if taken:
        logger.info("%d open requests are taken up from %s", len(taken), journal.path)
    return taken


@contextmanager
def collector_paused() -> Iterator[None]:
    """While a journal is opened and taken up; then as it was."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
