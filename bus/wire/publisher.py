"""The thread that sends: in order, and whatever is queued at once as one list.

It owns one connection. It never waits for a list to fill: what has gathered while the last list was
on its way is the next list. When the broker goes away, the list that failed is sent again on a new
connection until it is taken; peers expect to hear a thing twice.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable

from bus.wire.backoff import Backoff
from bus.wire.broker import MOST_AT_ONCE, Broker
from bus.wire.mailbox import Mailbox
from bus.wire.urls import BrokerUrl
from protocol.parcel import Parcel

logger = logging.getLogger("taskline.bus.wire.publisher")

FLUSH_TIMEOUT = 5.0  # seconds in which what is queued should leave when we stop
IDLE = 5.0  # seconds between two looks at an idle connection's heartbeats


class Publisher:
    """``start`` begins, ``stop`` returns when what was queued has left; twice is fine."""

    def __init__(self, url: BrokerUrl, *, name: str) -> None:
        self._broker = Broker(url)
        self._outbox: Mailbox[Parcel | threading.Event] = Mailbox()
        self._stopping = threading.Event()
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
            if parcels:
                self._send(parcels, backoff)
            for item in items:
                if isinstance(item, threading.Event):
                    item.set()
            if not items:
                self._keep_alive()
        self._broker.close()

    def _send(self, parcels: list[Parcel], backoff: Backoff) -> None:
        while not self._stopping.is_set():
            try:
                if not self._broker.is_open:
                    self._broker.open()
                self._broker.publish(parcels)
            except Exception as error:  # whatever it was, the list has not been taken
                wait = backoff.next()
                logger.warning(
                    "sending %d messages to %s failed (%s: %s); again in %.1f s",
                    len(parcels),
                    self._broker.url.shown,
                    type(error).__name__,
                    error,
                    wait,
                )
                self._broker.close()
                self._stopping.wait(wait)
            else:
                backoff.reset()
                return

    def _keep_alive(self) -> None:
        try:
            self._broker.keep_alive()
        except Exception as error:
            logger.debug("idle connection lost: %s: %s", type(error).__name__, error)
            self._broker.close()
