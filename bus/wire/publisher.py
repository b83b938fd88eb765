"""The thread that sends: in order, and whatever is queued at once as one list.

It owns one connection. It never waits for a list to fill: what has gathered while the last list was
on its way is the next list. When the broker goes away, the list that failed is sent again on a new
connection until it is taken; peers expect to hear a thing twice.

A message that is never taken must not keep the others waiting: a list in which there is one is sent
one by one, and the one that is refused alone, again and again, is dropped.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable

from bus.wire.backoff import Backoff
from bus.wire.broker import MOST_AT_ONCE, Broker
from bus.wire.mailbox import Mailbox
from bus.wire.outgoing import Undeliverable
from bus.wire.urls import BrokerUrl
from protocol.parcel import Parcel

logger = logging.getLogger("taskline.bus.wire.publisher")

FLUSH_TIMEOUT = 5.0  # seconds in which what is queued should leave when we stop
IDLE = 5.0  # seconds between two looks at an idle connection's heartbeats
MOST_REFUSALS = 3  # of one message, sent alone, each on a connection of its own


class Publisher:
    """``start`` begins, ``stop`` returns when what was queued has left; twice is fine."""

    def __init__(self, url: BrokerUrl, *, name: str) -> None:
        self._broker = Broker(url)
        #: How many messages were dropped because they can never be sent. May be read by any thread.
        self.dropped = 0
        self._outbox: Mailbox[Parcel | threading.Event] = Mailbox()
        self._stopping = threading.Event()
        #: Whether the last try failed; this thread's own.
        self._is_away = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin. The connection is made with the first list."""
        if self._thread.ident is None:
            self._thread.start()

    def send(self, parcels: Iterable[Parcel]) -> None:
        """Queue these, in order. Any thread; never blocks."""
        self._outbox.put_all(parcels)

    def flush(self, timeout: float = FLUSH_TIMEOUT) -> bool:
        """Wait until the broker has taken what is queued now; False if it has not in time."""
        gone = threading.Event()
        self._outbox.put(gone)
        return gone.wait(timeout)

    def stop(self, timeout: float = FLUSH_TIMEOUT) -> None:
        """Send what is queued, then end; what is unsent after ``timeout`` seconds is dropped."""
        if self._thread.ident is None or not self._thread.is_alive():
            return
        if not self.flush(timeout):
            logger.warning(
                "stopping with messages unsent: %s did not take them in %.0f s",
                self._broker.url.shown,
                timeout,
            )
        self._stopping.set()
        self._outbox.put(threading.Event())  # wakes the thread
        self._thread.join(timeout)

    def _run(self) -> None:
        backoff = Backoff()
        while not self._stopping.is_set():
            items = self._outbox.take(IDLE, most=MOST_AT_ONCE)
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
        waiting = deque(parcels)
        one_by_one = False
        refusals = 0
        while waiting and not self._stopping.is_set():
            now = [waiting[0]] if one_by_one else list(waiting)
            try:
                if not self._broker.is_open:
                    self._broker.open()
                self._broker.publish(now)
            except Undeliverable as refusal:
                if refusal.parcel is not None:  # nothing was sent
                    self._drop(refusal.parcel, refusal)
                    waiting.remove(refusal.parcel)
                    continue
                self._broker.close()
                refusals = refusals + 1 if one_by_one else 0
                one_by_one = True
                if refusals == MOST_REFUSALS:
                    self._drop(waiting.popleft(), refusal)
                    refusals = 0
                elif refusals:
                    self._wait(len(now), refusal, backoff)
            except Exception as error:  # whatever it was, the list has not been taken
                self._broker.close()
                self._wait(len(now), error, backoff)
            else:
                backoff.reset()
                self._is_away = False
                refusals = 0
                for _ in now:
                    waiting.popleft()
        return not waiting

    def _wait(self, count: int, error: Exception, backoff: Backoff) -> None:
        wait = backoff.next()
        # One line for each time it goes away.
        level = logging.DEBUG if self._is_away else logging.WARNING
        self._is_away = True
        logger.log(
            level,
            "sending %d messages to %s failed (%s: %s); trying until it is taken, next in %.1f s",
            count,
            self._broker.url.shown,
            type(error).__name__,
            error,
            wait,
        )
        self._stopping.wait(wait)

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

    def _keep_alive(self) -> None:
        try:
            self._broker.keep_alive()
        except Exception as error:
            logger.debug("idle connection lost: %s: %s", type(error).__name__, error)
            self._broker.close()
