"""The thread that sends: in order, and whatever is queued at once as one list.

It owns one connection. It never waits for a list to fill, but where there is nothing but RUNNING
to be said (``outbox``): what has gathered while the last list was on its way is the next list. When
the broker goes away, the list that failed is sent again on a new connection until it is taken;
peers expect to hear a thing twice. What gathers meanwhile is bounded (``outbox``).

A message that is never taken must not keep the others waiting: a list in which there is one is sent
one by one, a batch (``load``) by halves, and the one that is refused alone, again and again, is
dropped, and whoever sent it is told (``on_drop``): the broker may take less than a body may hold.
After a list that was not taken in time the next is half as long, and after one that was, twice:
over a slow line, too, something arrives.

A publish ends by a deadline, whatever the broker does (``deadlines``), so that this thread always
comes round. RabbitMQ may say that it has no room: then the list waits on its connection, for a
broker that has none keeps what was sent to it, and would find it there a second time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from bus.wire import deadlines
from bus.wire.backoff import Backoff
from bus.wire.broker import MOST_AT_ONCE, Broker
from bus.wire.confirms import NotTaken
from bus.wire.guard import Guard
from bus.wire.load import Load
from bus.wire.outbox import Outbox
from bus.wire.outgoing import Undeliverable
from bus.wire.urls import BrokerUrl
from bus.wire.watch import WATCH
from protocol import batch
from protocol.parcel import Parcel

logger = logging.getLogger("taskline.bus.wire.publisher")

FLUSH_TIMEOUT = 5.0  # seconds in which what is queued should leave when we stop
MOST_REFUSALS = 3  # of one message, sent alone, each on a connection of its own


class Publisher:
    """``start`` begins, ``stop`` returns when what was queued has left; twice is fine."""

    def __init__(
        self,
        url: BrokerUrl,
        *,
        name: str,
        guard: Guard | None = None,
        on_drop: Callable[[Parcel, str], None] | None = None,
    ) -> None:
        """``on_drop``: called on this thread with what can never be sent, and why: which broker.

        It puts into a mailbox.
        """
        self._broker = Broker(url, on_wait=self._on_wait, guard=guard)
        self._on_drop = on_drop
        #: How many messages were dropped because they can never be sent. May be read by any thread.
        self.dropped = 0
        self._outbox = Outbox()
        self._has_told_of_full = False
        self._stopping = threading.Event()
        self._is_away = False
        self._away_since = 0.0
        self._most = MOST_AT_ONCE  # messages in the next list
        self._most_bytes = batch.MOST_BYTES  # in a batch
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def is_away(self) -> bool:
        """Whether the broker is: the last try to reach it failed, or it takes nothing. Any thread.

        Known a moment (``deadlines``) after it went.
        """
        return self._is_away

    @property
    def dropped_full(self) -> int:
        """How many messages gave way because too many waited for a broker. Any thread."""
        return self._outbox.dropped

    def start(self) -> None:
        """Begin. The connection is made with the first list."""
        if self._thread.ident is None:
            self._thread.start()

    def send(self, parcels: Iterable[Parcel]) -> None:
        """Queue these, in order. Any thread; never blocks."""
        gone = self._outbox.put(parcels)
        if gone and not self._has_told_of_full:
            self._has_told_of_full = True  # once for each outage
            logger.warning(
                "%d messages wait for %s, as many as are kept: %d that will be said again gave "
                "way, beats first, and so will more",
                len(self._outbox),
                self._broker.url.shown,
                gone,
            )

    def flush(self, timeout: float = FLUSH_TIMEOUT) -> bool:
        """Wait until the broker has taken what is queued now; False if it has not in time."""
        gone = threading.Event()
        self._outbox.put([gone])
        return gone.wait(timeout)

    def stop(self, timeout: float = FLUSH_TIMEOUT) -> None:
        """Send what is queued, then end; what is unsent after ``timeout`` seconds is dropped.

        Returns a moment after that at the latest, whatever the broker does.
        """
        if self._thread.ident is None or not self._thread.is_alive():
            return
        if not self.flush(timeout):
            logger.warning(
                "stopping with messages unsent: %s did not take them in %.0f s",
                self._broker.url.shown,
                timeout,
            )
        self._stopping.set()
        self._outbox.put([threading.Event()])  # wakes the thread
        self._thread.join(deadlines.CLOSING / 2)
        if self._thread.is_alive():
            self._broker.abort()  # out of whatever it waits for
            self._thread.join(deadlines.CLOSING * 2)

    # the thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        backoff = Backoff()
        while not self._stopping.is_set():
            WATCH.look()
            items = self._outbox.take(deadlines.KEEP_ALIVE, MOST_AT_ONCE)
            parcels = [item for item in items if isinstance(item, Parcel)]
            if parcels and not self._send(parcels, backoff):
                break  # stopped: who waits for the rest is not told that it has left
            for item in items:
                if isinstance(item, threading.Event):
                    item.set()
            if not items:
                self._keep_alive()
        self._broker.close()

    def _send(self, parcels: list[Parcel], backoff: Backoff) -> bool:
        """Send these, but what is refused for good; False if it was stopped before."""
        waiting = Load(parcels, self._most_bytes)
        one_by_one = False
        refusals = 0
        while waiting and not self._stopping.is_set():
            now = waiting.first(1 if one_by_one else self._most)
            try:
                if not self._broker.is_open:
                    self._broker.open()
                self._broker.publish(now)
            except Undeliverable as refusal:
                if refusal.parcel is not None:  # nothing was sent
                    if not waiting.split(refusal.parcel):
                        self._drop(waiting.drop(refusal.parcel), refusal)
                    continue
                self._broker.close()
                if one_by_one and waiting.split():
                    self._most_bytes = min(self._most_bytes, len(now[0].body) // 2)
                    continue
                refusals = refusals + 1 if one_by_one else 0
                one_by_one = True
                if refusals == MOST_REFUSALS:
                    self._drop(waiting.drop(), refusal)
                    refusals = 0
                elif refusals:
                    self._wait(len(now), refusal, backoff)
            except Exception as error:  # whatever it was, the list has not been taken
                waiting.taken(error.taken if isinstance(error, NotTaken) else 0)  # not all of it
                self._broker.close()
                if len(now) == 1 and waiting:
                    waiting.split()
                self._most = max(1, len(now) // 2)
                self._wait(len(now), error, backoff)
            else:
                backoff.reset()
                self._note_back()
                refusals = 0
                self._most = min(MOST_AT_ONCE, 2 * self._most)
                waiting.taken(len(now))
        return not waiting

    def _wait(self, count: int, error: Exception, backoff: Backoff) -> None:
        wait = backoff.next()
        self._note_away(
            "sending %d messages to %s failed (%s: %s); trying until it is taken, next in %.1f s",
            count,
            self._broker.url.shown,
            type(error).__name__,
            error,
            wait,
        )
        self._stopping.wait(wait)

    def _on_wait(self, is_blocked: bool) -> None:
        """Called in the midst of a publish that takes long."""
        if is_blocked and not self._is_away:
            self._note_away(
                "%s says that it takes no messages: it is short of memory or disk; waiting for it",
                self._broker.url.shown,
            )

    def _keep_alive(self) -> None:
        """Nothing is to be sent: see that the line lives, or comes back."""
        try:
            if self._is_away and not self._broker.is_open:
                self._broker.open()
            self._broker.keep_alive()
        except Exception as error:
            self._broker.close()
            self._note_away(
                "the line to %s was lost while nothing was to be sent (%s: %s); trying until there "
                "is one",
                self._broker.url.shown,
                type(error).__name__,
                error,
            )
        else:
            self._note_back()

    # what is told ---------------------------------------------------------------------------------

    def _note_away(self, words: str, *arguments: object) -> None:
        # One line for each time it goes away.
        level = logging.DEBUG if self._is_away else logging.WARNING
        if not self._is_away:
            self._is_away, self._away_since = True, time.monotonic()
        logger.log(level, words, *arguments)

    def _note_back(self) -> None:
        if self._is_away:
            self._is_away = self._has_told_of_full = False
            logger.info(
                "sending to %s again, after %.1f s",
                self._broker.url.shown,
                time.monotonic() - self._away_since,
            )

    def _drop(self, parcel: Parcel, refusal: Undeliverable) -> None:
        self.dropped += 1
        logger.error(
            "dropped a message that can never be sent: %s %s to %s, %d bytes: %s",
            parcel.envelope.kind,
            parcel.envelope.correlation_id,
            parcel.address.routing_key or parcel.address.exchange,
            len(parcel.body),
            refusal,
        )
        if self._on_drop is not None:
            self._on_drop(parcel, f"{self._broker.url.shown} refuses it: {refusal}")
