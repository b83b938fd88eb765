"""What waits to be sent: in order, and bounded when the broker does not take it.

At the bound what peers say again by themselves gives way, a tenth of the bound at a time: first the
beats (NOTIFY and HELD), the oldest first, then whatever else is native, the oldest first. Native
requests, results, receipts and cancels are all repeated end to end until they are answered
(docs/native-dialect.md, section 3), so what is dropped here comes again later. What is meant for
taskflow's peers is said once, and is never dropped: there only memory is the bound, and the credit
that the other side of it gives.

RUNNING, to our own peers, waits for a moment: most tasks are over before it has passed, and then
both go as one. Whatever else is put ends that wait.

Any thread puts; one thread takes.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Final

from protocol.envelope import HELD, NOTIFY
from protocol.messages import RUNNING_BODY
from protocol.parcel import Parcel

MOST_MESSAGES: Final = 100_000
MOST_BYTES: Final = 256 * 1024 * 1024
MOST_BYTES_AT_ONCE: Final = 4 * 1024 * 1024  # in one list, if it is not a single message
_BESIDE_BODY: Final = 500  # bytes that a message takes here beside its body, about
_BEATS: Final = frozenset({NOTIFY, HELD})
#: Seconds that RUNNING waits for its end; it is told for people to see, and nothing else waits.
LINGER: Final = 0.01

#: A message, or somebody who waits until all before it has left.
Item = Parcel | threading.Event


class Outbox:
    """Messages on their way to one thread."""

    def __init__(self, most: int = MOST_MESSAGES, most_bytes: int = MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        #: How many messages gave way at the bound. May be read by any thread.
        self.dropped = 0
        # Guards all below. Re-entrant: a signal handler may put in the middle of a put.
        self._changed = threading.Condition(threading.RLock())
        self._items: deque[Item] = deque()
        self._bytes = 0
        # Whether something is there that does not wait for company.
        self._is_urgent = False
        # How many there must be before giving way is tried again: it walks over all of them.
        self._next_messages, self._next_bytes = most + 1, most_bytes + 1

    def __len__(self) -> int:
        return len(self._items)

    def put(self, items: Iterable[Item]) -> int:
        """Add these, in order; how many messages had to give way. Any thread; never blocks long."""
        items = list(items)
        with self._changed:
            self._items.extend(items)
            self._is_urgent = self._is_urgent or not all(map(_lingers, items))
            self._bytes += sum(map(_size, items))
            is_full = len(self._items) >= self._next_messages or self._bytes >= self._next_bytes
            gone = self._give_way() if is_full else 0
            self._changed.notify()
        return gone

    def take(self, timeout: float, most: int) -> list[Item]:
        """All that is there, at most ``most``, waiting up to ``timeout`` seconds for the first.

        And up to ``LINGER`` more if all of it may wait for company.
        """
        with self._changed:
            if not self._items:
                self._changed.wait(timeout)
            if self._items and not self._is_urgent:
                self._linger()
            taken: list[Item] = []
            size = 0
            while self._items and len(taken) < most:
                size += _size(self._items[0])
                if taken and size > MOST_BYTES_AT_ONCE:
                    break
                item = self._items.popleft()
                self._bytes -= _size(item)
                taken.append(item)
            self._is_urgent = bool(self._items)  # what is left has waited for this
            self._look_again_later()
            return taken

    def _linger(self) -> None:
        """Until something urgent is there, or the moment has passed."""
        until = time.monotonic() + LINGER
        while not self._is_urgent and (left := until - time.monotonic()) > 0:
            self._changed.wait(left)

    def _give_way(self) -> int:
        """Make room for a tenth of the bound, as far as there is what may go; how many went."""
        too_many = len(self._items) - self._most * 9 // 10
        too_much = self._bytes - self._most_bytes * 9 // 10
        gone = 0
        for may_go in (_is_beat, _is_native):
            if too_many <= 0 and too_much <= 0:
                break
            kept: deque[Item] = deque()
            for item in self._items:
                if (too_many > 0 or too_much > 0) and may_go(item):
                    size = _size(item)
                    too_many, too_much = too_many - 1, too_much - size
                    self._bytes -= size
                    gone += 1
                else:
                    kept.append(item)
            self._items = kept
        self.dropped += gone
        self._next_messages = self._next_bytes = 1 << 62
        self._look_again_later()
        return gone

    def _look_again_later(self) -> None:
        """When a tenth more has come: if nothing more may give way, that costs little."""
        messages, size = len(self._items) + self._most // 10, self._bytes + self._most_bytes // 10
        self._next_messages = min(self._next_messages, max(self._most, messages) + 1)
        self._next_bytes = min(self._next_bytes, max(self._most_bytes, size) + 1)


def _size(item: Item) -> int:
    return _BESIDE_BODY + len(item.body) if isinstance(item, Parcel) else 0


def _lingers(item: Item) -> bool:
    return isinstance(item, Parcel) and item.body == RUNNING_BODY and _is_native(item)


def _is_native(item: Item) -> bool:
    return isinstance(item, Parcel) and item.envelope.header is not None


def _is_beat(item: Item) -> bool:
    return isinstance(item, Parcel) and item.envelope.kind in _BEATS and _is_native(item)
