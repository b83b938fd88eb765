"""Publisher confirms of one AMQP channel, counted instead of waited for one by one.

The broker numbers what a channel publishes 1, 2, 3 … and confirms numbers, or all up to one
(RabbitMQ, "Publisher Confirms"). One wait per list is ten times as fast as one per message. What is
published as mandatory and reaches no queue comes back before it is confirmed.

Decided here: when a list has been taken, and how long that may take. Called by ``broker``, on the
thread of its connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from bus.wire import deadlines
from protocol.errors import BrokerError

_STEP = 0.5  # seconds of a wait; then heartbeats are seen to


class NotTaken(BrokerError):
    """A list of which the broker did not confirm all."""

    def __init__(self, message: str, taken: int) -> None:
        super().__init__(message)
        #: How many, from its beginning, it did confirm.
        self.taken = taken


class Confirms:
    """What a channel has published and the broker has confirmed."""

    def __init__(self, channel: Any) -> None:
        #: Published on this channel so far.
        self.sent = 0
        self._open_below = 1  # every number below is confirmed
        self._confirmed: set[int] = set()
        self._refused = 0
        self._returned: set[tuple[str, str]] = set()
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)

    def wait(
        self, connection: Any, already: int, on_wait: Callable[[bool], None]
    ) -> set[tuple[str, str]]:
        """Until all is confirmed that was sent; (exchange, routing key) of what no queue got.

        ``already``: what ``sent`` was before the list. ``on_wait`` is called with each step of a
        wait, with whether the broker has said that it takes nothing. Raises ``NotTaken`` if a part
        is refused, or if no confirm comes for a while: a longer one while the broker says that it
        has no room. Raises what ``connection`` does when its heartbeats stop.
        """
        before = self._open_below
        now = time.monotonic()
        deadline = now + deadlines.CONFIRM_TIMEOUT
        at_last = now + deadlines.BLOCKED_TIMEOUT
        while self._open_below <= self.sent and not self._refused:
            try:
                connection.drain_events(timeout=_STEP)
            except TimeoutError:
                pass
            connection.heartbeat_check()
            is_blocked = connection.transport.is_blocked
            on_wait(is_blocked)
            now = time.monotonic()
            limit = at_last if is_blocked else deadline
            if self._open_below > before or is_blocked:
                deadline = now + deadlines.CONFIRM_TIMEOUT
            if self._open_below > before:
                before = self._open_below
            elif now >= limit:
                why = "says it is" if is_blocked else "may be"
                raise NotTaken(
                    f"publishing: {self.sent - self._open_below + 1} messages were not confirmed; "
                    f"the broker {why} out of memory or disk",
                    self._taken_after(already),
                )
        if self._refused:
            raise NotTaken(
                f"publishing: the broker refused {self._refused} messages",
                self._taken_after(already),
            )
        returned, self._returned = self._returned, set()
        return returned

    def _taken_after(self, already: int) -> int:
        """How many from the list's beginning; none if one that found no queue is among them."""
        return 0 if self._returned else max(0, self._open_below - 1 - already)

    def _on_ack(self, delivery_tag: int, multiple: bool) -> None:
        if multiple:
            self._open_below = max(self._open_below, delivery_tag + 1)
            self._confirmed = {tag for tag in self._confirmed if tag >= self._open_below}
        else:
            self._confirmed.add(delivery_tag)
        while self._open_below in self._confirmed:
            self._confirmed.discard(self._open_below)
            self._open_below += 1

    def _on_nack(self, delivery_tag: int, multiple: bool) -> None:
        self._refused += 1

    def _on_return(self, error: object, exchange: str, routing_key: str, message: object) -> None:
        self._returned.add((exchange, routing_key))
