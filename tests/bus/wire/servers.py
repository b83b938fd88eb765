"""What the tests of this package share: who waits for messages, and the smallest message there is.

The servers that come and go under a test's hands, and the networks that fail, are those of
``bus.wire.testing``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from protocol.envelope import NOTIFY, Envelope, Header
from protocol.parcel import Parcel, Received, Refused
from protocol.topology import Address

DEADLINE: Final = 20.0  # seconds for whatever a test waits for


class Collected:
    """What a listener delivers; any thread may wait for it."""

    def __init__(self, reaction: Callable[[], None] | None = None) -> None:
        """``reaction`` is called before anything is kept, on the listener's thread."""
        self._reaction = reaction
        self._changed = threading.Condition()
        self._items: list[Received | Refused] = []
        self._consuming = 0

    def __call__(self, delivered: list[Received | Refused]) -> None:
        """Be a listener's ``deliver``."""
        if self._reaction is not None:
            self._reaction()
        with self._changed:
            self._items += delivered
            self._changed.notify_all()

    def on_consuming(self) -> None:
        """Be a listener's ``on_consuming``."""
        with self._changed:
            self._consuming += 1
            self._changed.notify_all()

    @property
    def times_consuming(self) -> int:
        """How often the listener has begun to consume."""
        return self._consuming

    def wait(self, count: int) -> list[Received | Refused]:
        """The first ``count`` deliveries."""
        with self._changed:
            enough = self._changed.wait_for(lambda: len(self._items) >= count, DEADLINE)
            assert enough, f"only these {len(self._items)} came: {self._items}"
            return list(self._items)

    def wait_until_consuming(self, times: int) -> None:
        """Until the listener has begun to consume that often."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._consuming >= times, DEADLINE)

    def askers(self, count: int) -> list[str | None]:
        """Who asked, in order, when ``count`` questions have come: the reply_to of each."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._asked()) >= count, DEADLINE), (
                f"only these came: {self._items}"
            )
            return self._asked()

    def askers_until(self, last: str) -> list[str | None]:
        """Who asked, in order and once each, when ``last`` has: what is cut off may come twice."""
        with self._changed:
            assert self._changed.wait_for(lambda: last in self._asked(), DEADLINE), (
                f"only these came: {self._items}"
            )
            return list(dict.fromkeys(self._asked()))

    def asked(self) -> list[str | None]:
        """Who has asked so far, in order."""
        with self._changed:
            return self._asked()

    def _asked(self) -> list[str | None]:
        return [item.envelope.reply_to for item in self._items if isinstance(item, Received)]


def question(address: Address, asker: str, header: Header | None = None) -> Parcel:
    """A question from ``asker``: the smallest message there is that can be told from another."""
    return Parcel(address, Envelope(NOTIFY, reply_to=asker, header=header), b"{}")


def until(condition: Callable[[], object], deadline: float = DEADLINE) -> bool:
    """Wait until this is so; False if it is not in time. For what nobody signals."""
    end = time.monotonic() + deadline
    pause = threading.Event()
    while not condition():
        if time.monotonic() > end:
            return False
        pause.wait(0.01)
    return True
