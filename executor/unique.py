"""A key that this executor alone may submit with for a while, among all on one broker.

Decided here: what a claim that is there already means. One of another executor's stands in the way
until its seconds are over, whatever has become of its request: nobody here can know, and that is
what was asked for. One of our own stands in the way as well, unless its request has left its key to
the next (it was cancelled), or was never submitted: our process was killed between the claim and
the journal's line, or the submission failed. What can be joined has been joined before, by the
``door``. Not decided here: how a name is claimed (``bus.wire.claims``).

On the caller's thread, which waits for the broker; no lock is held meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final, Protocol

from executor.recall import Recall
from executor.request import Order
from protocol.claim import Claim, Found, Wanted, claim_name, read_claim
from protocol.errors import KeyTaken
from protocol.task import MAX_LIMIT

_LONGEST: Final = MAX_LIMIT + 1.0  # seconds; no executor claims a key for longer
_TRIES: Final = 3  # each after a claim of ours that is not needed any more was taken back


class Registrar(Protocol):
    """Who claims names at the broker: ``bus.wire.Claims``. Any thread."""

    def claim(self, wanted: Wanted, /) -> Found:
        """What is under the name now. Raises ``BrokerUnavailable``."""

    def release(self, name: str, value: str, /) -> None:
        """Take a claim back; returns at once."""


class Unique:
    """One for each engine. Any thread."""

    def __init__(
        self,
        executor: str,
        incarnation: int,
        exchange: str,
        recall: Recall,
        registrar: Registrar,
        broker: str,
    ) -> None:
        """``broker``: as it may be shown."""
        self._executor = executor
        self._incarnation = incarnation
        self._exchange = exchange
        self._recall = recall
        self._registrar = registrar
        self._broker = broker

    @contextmanager
    def claimed(self, order: Order, seconds: float) -> Iterator[None]:
        """Inside, the key of this order is claimed, for so many seconds from now.

        Left by an exception, the order was not submitted, and the claim is taken back. Raises
        ``KeyTaken`` if somebody has it, ``BrokerUnavailable`` if the broker does not say so.
        """
        assert order.key is not None
        name = claim_name(self._exchange, order.key)
        mine = Claim(self._executor, self._incarnation, order.uuid, order.task).to_text()
        self._take(order, Wanted(name, mine, seconds))
        try:
            yield
        except BaseException:
            self._registrar.release(name, mine)
            raise

    def _take(self, order: Order, wanted: Wanted) -> None:
        for left in reversed(range(_TRIES)):
            found = self._registrar.claim(wanted)
            if found.value == wanted.value:
                return
            holder = read_claim(found.value)
            if not left or holder is None or not self._is_over(holder):
                raise self._taken(order, wanted.name, holder, found.left)
            self._registrar.release(wanted.name, found.value)

    def _is_over(self, holder: Claim) -> bool:
        """Whether it is a claim of ours that nothing stands behind."""
        if holder.executor != self._executor:
            return False
        has_left = self._recall.has_left(holder.uuid)
        if has_left is None:
            return self._recall.would_know(holder.incarnation)
        return has_left

    def _taken(self, order: Order, name: str, holder: Claim | None, left: float | None) -> KeyTaken:
        refused = f"{order.task} was not submitted with key={order.key!r}:"
        until = None if left is None or left > _LONGEST else time.time() + left
        if holder is None or until is None:
            return KeyTaken(
                f"{refused} on {self._broker}, under {name!r}, is a claim that no executor makes "
                "so; whoever has set it must delete it there",
                key=order.key or "",
                until=until,
            )
        is_ours = holder.executor == self._executor
        whose = "this executor itself" if is_ours else _shown(holder.executor)
        when = datetime.fromtimestamp(until).astimezone()
        return KeyTaken(
            f"{refused} it is claimed on {self._broker} by {whose}, for request "
            f"{_shown(holder.uuid)} ({_shown(holder.task)}), which is the one that counts for "
            f"{left:.1f} s more; from {when:%Y-%m-%d %H:%M:%S} on the key is free",
            key=order.key or "",
            request_uuid=holder.uuid,
            task=holder.task,
            executor=holder.executor,
            until=until,
        )


def _shown(text: str) -> str:
    """A name, as it may stand in a line: anybody who can write to the broker may have set it."""
    return text if text.isprintable() else ascii(text)
