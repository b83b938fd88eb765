"""The workers of an executor, as its user sees them: who they are, and how many there are.

``WorkerInfo`` is made from the ledger's directory on the keeper's thread; the count is the keeper's
to tell, and any thread may wait for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from executor.ledger import Ledger
from protocol.topology import Dialect


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """One worker, as this executor has heard of it."""

    #: Its name; for a taskflow worker the topic, which is all it tells.
    name: str
    #: ``native`` or ``taskflow``.
    dialect: Dialect
    #: The worker process, 16 hex digits; None for taskflow's.
    boot: str | None
    #: ``{topic: (task name, …)}``, sorted.
    topics: Mapping[str, tuple[str, ...]]
    #: Tasks it runs at once; None if it does not tell.
    slots: int | None
    #: Requests this executor has sent it that are not over.
    open: int
    #: Seconds since it was last heard from.
    silent: float
    #: The name of its machine, if it tells that.
    node: str | None = None


class Crowd:
    """How many worker processes are known."""

    def __init__(self) -> None:
        #: Guards the number, and is notified of it.
        self._changed = threading.Condition()
        self._known = 0

    def count(self, workers: int) -> None:
        """So many there are now. The keeper's thread."""
        with self._changed:
            self._known = workers
            self._changed.notify_all()

    def wait_for(self, count: int, timeout: float, demand: Callable[[], None]) -> int:
        """How many there are, once there are so many or ``timeout`` seconds are over. Any thread.

        ``demand`` raises what makes waiting useless; it is called each time something has changed.
        """
        until = time.monotonic() + timeout
        demand()
        with self._changed:
            while self._known < count:
                demand()
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            return self._known


def list_workers(ledger: Ledger, now: float) -> list[WorkerInfo]:
    """All that are known, by name. The keeper's thread."""
    found = [
        WorkerInfo(
            name=peer.name,
            dialect=peer.dialect,
            boot=peer.key if peer.is_native else None,
            topics={topic: tuple(sorted(names)) for topic, names in sorted(peer.topics.items())},
            slots=peer.slots,
            open=len(peer.open),
            silent=max(0.0, now - peer.heard),
            node=peer.node,
        )
        for peer in ledger.directory
    ]
    return sorted(found, key=lambda worker: (worker.name, worker.boot or ""))
