"""The thread that takes: it drains the broker, has the deliveries sorted and hands them over.

It owns one connection. A list of deliveries is acknowledged only after the owner of the state has
been handed what they are; nothing is published from here. When the broker goes away it comes back
with a new connection, as often as it takes, and tells the owner each time it consumes again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from bus.wire.backoff import Backoff
from bus.wire.broker import Broker
from bus.wire.dispatcher import Dispatcher
from bus.wire.urls import BrokerUrl
from protocol.errors import BrokerError, BrokerUnavailable
from protocol.parcel import Received, Refused
from protocol.topology import Queue

logger = logging.getLogger("taskline.bus.wire.listener")

DRAIN = 0.1  # seconds; how long stop() may have to wait for a quiet connection
START_TIMEOUT = 10.0  # seconds in which the first connection must stand
STOP_TIMEOUT = 10.0  # seconds


class Listener:
    """Start returns when it consumes, stop when it has ended; both may be called twice."""

    def __init__(
        self,
        url: BrokerUrl,
        queues: Sequence[Queue],
        dispatcher: Dispatcher,
        deliver: Callable[[list[Received | Refused]], None],
        *,
        on_consuming: Callable[[], None],
        name: str,
        delete_at_end: Sequence[Queue] = (),
    ) -> None:
        """``deliver`` and ``on_consuming`` are called on this thread: they put into a mailbox.

        ``delete_at_end``: queues that nobody will read after a clean stop.
        """
        self._broker = Broker(url)
        self._queues = tuple(queues)
        self._delete_at_end = tuple(delete_at_end)
        self._dispatcher = dispatcher
        self._deliver = deliver
        self._on_consuming = on_consuming
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._first_error: BrokerError | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self, timeout: float = START_TIMEOUT) -> None:
        """Begin; returns when the queues are declared and consumed.

        Raises ``BrokerUnavailable`` with the last error if that does not come about in ``timeout``
        seconds; it has ended then, which takes as long as the try that is under way.
        """
        if self._thread.ident is None:
            self._thread.start()
        if not self._ready.wait(timeout):
            self.stop()
            raise BrokerUnavailable(
                f"not connected after {timeout:g} s: {self._first_error or 'no answer'}"
            ) from self._first_error

    def stop(self, timeout: float = STOP_TIMEOUT) -> None:
        """End; returns when the connection is closed, or after ``timeout`` seconds. Any thread."""
        self._stopping.set()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self) -> None:
        backoff = Backoff()
        is_there = False
        while not self._stopping.is_set():
            try:
                self._broker.open()
                self._broker.consume(self._queues)
                is_there = True
                self._ready.set()
                self._on_consuming()
                self._listen(backoff)
            except Exception as error:  # a virtual transport can raise anything
                if not self._ready.is_set():
                    self._first_error = (
                        error if isinstance(error, BrokerError) else BrokerError(str(error))
                    )
                wait = backoff.next()
                # One line for each time it goes away; while start() waits, its error is the line.
                level = logging.WARNING if is_there else logging.DEBUG
                is_there = False
                logger.log(
                    level,
                    "no connection to %s (%s: %s); trying until there is one, next in %.1f s",
                    self._broker.url.shown,
                    type(error).__name__,
                    error,
                    wait,
                )
                self._broker.close()
                self._stopping.wait(wait)
        self._end()

    def _listen(self, backoff: Backoff) -> None:
        broker, sort, deliver = self._broker, self._dispatcher.sort, self._deliver
        while not self._stopping.is_set():
            deliveries = broker.drain(DRAIN)
            if deliveries:
                deliver(sort(deliveries))
                broker.settle(deliveries)
            backoff.reset()  # only now: what ends each connection at once must not do it often

    def _end(self) -> None:
        try:
            for queue in self._delete_at_end:
                self._broker.delete(queue)
        except Exception as error:
            logger.debug("deleting queues at the end: %s: %s", type(error).__name__, error)
        began = time.monotonic()
        self._broker.close()
        logger.debug("listener ended; closing took %.3f s", time.monotonic() - began)
