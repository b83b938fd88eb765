"""What has ended in an executor without a journal: the latest, by uuid and by key.

Decided here: how much is remembered. At most ``MAX_ENDED`` ends, which together weigh at most
``MAX_WEIGHT``; a large result that no key names is left to whoever holds its future. What is
remembered are the lines a journal would hold, never exceptions, whose tracebacks would keep their
caller's variables alive. With a journal, that is asked instead (``recall``).

Any thread: the keeper puts in, callers look up and submit; a lock guards all of it.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

from executor.future import Future
from executor.outcomes import was_cancelled
from protocol.events import Ended
from protocol.values import Json

MAX_ENDED: Final = 10_000  # requests
MAX_WEIGHT: Final = 64 << 20  # bytes, about, of all results together
MAX_RESULT: Final = 64 << 10  # bytes, about; a larger result is kept only if a key names it


@dataclass(frozen=True, slots=True)
class Remembered:
    """A request that has ended."""

    task: str
    #: The line; None if its result was too large to be kept.
    ended: Ended | None
    future: weakref.ref[Future[Any]]
    key: str | None
    weight: int
    #: When it was submitted and when it ended, in seconds since 1970.
    submitted: float
    stamp: float


class Memory:
    """Bounded; the oldest end is forgotten first, and its key with it."""

    def __init__(self) -> None:
        #: Guards everything below.
        self._lock = threading.Lock()
        self._ended: OrderedDict[str, Remembered] = OrderedDict()
        self._weight = 0
        #: ``{key: (uuid, fingerprint of the call)}``, of requests open or remembered.
        self._keys: dict[str, tuple[str, str]] = {}
        #: ``{uuid: key}`` of those that are open.
        self._open: dict[str, str] = {}

    def submitted(self, uuid: str, key: str, call: str) -> None:
        """This key stands for this request from now on."""
        with self._lock:
            self._keys[key] = (uuid, call)
            self._open[uuid] = key

    def ended(self, ended: Ended, future: Future[Any]) -> None:
        """It is over. One that was cancelled leaves its key to another."""
        with self._lock:
            key = self._open.pop(ended.uuid, None)
            if key is not None and was_cancelled(ended):
                self._free(key, ended.uuid)
                key = None
            weight = weigh(ended.value, MAX_WEIGHT if key is not None else MAX_RESULT)
            kept = key is not None or weight <= MAX_RESULT
            self._ended[ended.uuid] = Remembered(
                future.task,
                ended if kept else None,
                weakref.ref(future),
                key,
                weight if kept else 0,
                future.submitted,
                time.time(),
            )
            self._weight += weight if kept else 0
            while len(self._ended) > MAX_ENDED or (
                self._weight > MAX_WEIGHT and len(self._ended) > 1
            ):
                uuid, oldest = self._ended.popitem(last=False)
                self._weight -= oldest.weight
                if oldest.key is not None:
                    self._free(oldest.key, uuid)

    def find(self, uuid: str) -> Remembered | None:
        """What is remembered of a request that has ended."""
        with self._lock:
            return self._ended.get(uuid)

    def find_key(self, key: str) -> tuple[str, str] | None:
        """The uuid of the request a key stands for, and the fingerprint of its call."""
        with self._lock:
            return self._keys.get(key)

    def _free(self, key: str, uuid: str) -> None:
        if self._keys.get(key, ("", ""))[0] == uuid:
            del self._keys[key]


def weigh(value: Json, limit: int) -> int:
    """About how many bytes it takes in memory; more than ``limit`` once it is known to."""
    total = 0
    todo = [value]
    while todo and total <= limit:
        one = todo.pop()
        if isinstance(one, str):
            total += 50 + len(one)
        elif isinstance(one, dict):
            total += 64
            for name, member in one.items():
                total += 100 + len(name)
                todo.append(member)
        elif isinstance(one, (list, tuple)):
            total += 56 + 8 * len(one)
            if total <= limit:
                todo.extend(one)
        elif isinstance(one, int) and not isinstance(one, bool):
            total += 28 + one.bit_length() // 8
        else:
            total += 24
    return total
