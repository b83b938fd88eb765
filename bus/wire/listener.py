"""The thread that takes: it drains the broker, has the deliveries sorted and hands them over.

It owns one connection. A list of deliveries is acknowledged only after the owner of the state has
been handed what they are; nothing is published from here. When the broker goes away it comes back
with a new connection, as often as it takes, and tells the owner each time it consumes again. What
it consumes it declares again every few seconds, for somebody may have deleted it.

*Back-pressure.* What has been handed over and is still held by its owner is counted, and when that
is too much, nothing more is taken: it stays at the broker, while the connection is kept alive. An
owner that lets go of nothing for ``PATIENCE`` seconds is handed the next list all the same, and
that is counted (``crowded``): it may be what it waits for.

*A thread that hangs*, in a library, is noticed by whichever thread looks round (``watch``). Its
line is cut, a fresh thread with a fresh connection takes its place, and whatever the old one still
brings is ignored.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
import weakref
from collections.abc import Callable, Sequence

from bus.wire import deadlines
from bus.wire.backoff import Backoff
from bus.wire.broker import Broker, Delivery
from bus.wire.dispatcher import Dispatcher
from bus.wire.unreached import Untrusted
from bus.wire.urls import BrokerUrl
from bus.wire.watch import WATCH, Life
from protocol.errors import BrokerError, BrokerUnavailable
from protocol.parcel import Received, Refused
from protocol.topology import Queue

logger = logging.getLogger("taskline.bus.wire.listener")

DRAIN = 0.1  # seconds; how long stop() may have to wait for a quiet connection
START_TIMEOUT = 10.0  # seconds in which the first connection must stand
STOP_TIMEOUT = 10.0  # seconds

HELD_AT_MOST = 10_000  # deliveries at their owner, beyond which nothing is taken
HELD_BYTES_AT_MOST = 64 * 1024 * 1024  # of their bodies
PATIENCE = 10.0  # seconds to wait for the owner to let go of some
_STEP = 0.02  # seconds between two looks at whether it has


class _HandedOver(list[Received | Refused]):
    """A list of deliveries; unlike a plain one it can be told when nobody holds it any more."""

    __slots__ = ("__weakref__",)


class _Session(Life):
    """One thread that listens, and its connection."""

    def __init__(self, url: BrokerUrl, run: Callable[[_Session], None], name: str) -> None:
        super().__init__()
        #: The thread's own; others may ``abort`` it.
        self.broker = Broker(url)
        self.thread = threading.Thread(target=run, args=(self,), name=name, daemon=True)
        #: Set when it has begun to end.
        self.is_ending = threading.Event()
        #: When it came round last, and the last time that it did not: since when, until when.
        self.turned = time.monotonic()
        self.stood_still = 0.0, 0.0

    def turn(self) -> None:
        """It comes round."""
        self.turns += 1
        now = time.monotonic()
        if now > self.standstill:
            self.stood_still = self.standstill, now
        self.turned = now  # last: whoever sees that sees the other as well

    @property
    def standstill(self) -> float:
        """From when on it stands still unless it comes round."""
        return self.turned + deadlines.STANDSTILL

    def consumes(self) -> None:
        """It does, from now on: what was before, the broker's absence accounts for."""
        self.turn()
        self.stood_still = 0.0, 0.0


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

        ``delete_at_end``: queues that nobody will read after a clean stop; see ``delete_too``.
        """
        self._url = url
        self._queues = tuple(queues)
        self._delete_at_end = tuple(delete_at_end)
        self._dispatcher = dispatcher
        self._deliver = deliver
        self._on_consuming = on_consuming
        self._name = name
        #: How often a list was handed over although its owner let go of nothing. Any thread.
        self.crowded = 0
        #: How often a thread hung and was replaced. Any thread.
        self.replaced = 0
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._first_error: BrokerError | None = None
        #: Why we cannot begin and will not be able to: set before ``_ready``.
        self._distrust: Untrusted | None = None
        self._is_consuming = False
        self._away_since: float | None = None
        self._has_told_of_trust = False
        #: What was handed over and is still held: of each list, how many deliveries and bytes. An
        #: entry goes by itself, on whichever thread lets go of the list.
        self._handed_over: dict[int, tuple[weakref.ref[_HandedOver], int, int]] = {}
        self._numbers = itertools.count()
        self._session = _Session(url, self._run, name)

    @property
    def is_consuming(self) -> bool:
        """Whether what is sent to us arrives, as far as is known. Any thread.

        A line that went dead is known to be so a moment (``deadlines.SILENCE``) later.
        """
        return self._is_consuming and not self._session.is_late

    @property
    def stood_still(self) -> tuple[float, float]:
        """Since when and until when it took nothing although it consumes, beyond a moment.

        The last time it was so, on the monotonic clock; it may be so still, until now. Then this
        process was stopped, or starved: what came meanwhile lies at the broker, and whoever else
        comes round first must not take that for silence. The moment itself is not a part of it, so
        that in a process that is starved without end time goes on. Any thread.
        """
        session, now = self._session, time.monotonic()
        standstill = session.standstill
        if not self._is_consuming:
            return 0.0, 0.0
        return (standstill, now) if now > standstill else session.stood_still

    def start(self, timeout: float | None = None) -> None:
        """Begin; returns when the queues are declared and consumed.

        Raises ``BrokerUnavailable`` with the last error if that does not come about in ``timeout``
        seconds (None: ``START_TIMEOUT``), and at once if it is a matter of trust (``unreached``).
        It has ended then, which takes as long as the try that is under way.
        """
        if self._session.thread.ident is None:
            WATCH.add(self)
            self._session.thread.start()
        timeout = START_TIMEOUT if timeout is None else timeout
        is_ready = self._ready.wait(timeout)
        if self._distrust is not None:
            self.stop()
            raise self._distrust
        if not is_ready:
            self.stop()
            raise BrokerUnavailable(
                f"not connected after {timeout:g} s: {self._first_error or 'no answer'}"
            ) from self._first_error

    def delete_too(self, queues: Sequence[Queue]) -> None:
        """These will not be read after a clean stop either. Before it; any thread."""
        self._delete_at_end += tuple(queues)

    def stop(self, timeout: float = STOP_TIMEOUT) -> None:
        """End; returns when the connection is closed, or after ``timeout`` seconds. Any thread.

        A broker that does not answer is not waited for longer than a few seconds.
        """
        WATCH.discard(self)
        self._stopping.set()
        session = self._session
        if session.thread.ident is None or session.thread is threading.current_thread():
            return
        if not session.is_ending.wait(min(timeout, deadlines.CLOSING)):
            session.broker.abort()  # out of whatever it waits for
        session.thread.join(min(timeout, 3 * deadlines.CLOSING))
        if session.thread.is_alive():
            session.is_abandoned = True
            logger.warning(
                "%s does not come back from the library and is left behind: %r",
                session.thread.name,
                session.broker,
            )

    def look_after(self) -> None:
        """Replace the thread if it hangs. Called by whoever looks round, one at a time."""
        stuck = self._session
        if self._stopping.is_set() or not stuck.look():
            return
        stuck.is_abandoned = True
        self._is_consuming = False
        self.replaced += 1
        if self._away_since is None:
            self._away_since = time.monotonic()
        logger.error(
            "%s has hung in the library below for %.0f s: it is left to itself, and a new one "
            "listens to %s with a new connection",
            stuck.thread.name,
            deadlines.LOOK * deadlines.LOOKS_IN_VAIN,
            self._url.shown,
        )
        self._session = _Session(self._url, self._run, self._name)
        self._session.thread.start()
        stuck.broker.abort()

    # the thread -----------------------------------------------------------------------------------

    def _goes_on(self, session: _Session) -> bool:
        return not (self._stopping.is_set() or session.is_abandoned)

    def _run(self, session: _Session) -> None:
        backoff = Backoff()
        broker = session.broker
        while self._goes_on(session):
            session.turn()
            try:
                broker.open()
                broker.consume(self._queues)
                if self._goes_on(session):
                    session.consumes()
                    self._note_consuming()
                    self._on_consuming()
                    self._listen(session, backoff)
            except Exception as error:  # a virtual transport can raise anything
                if session.is_abandoned:
                    break
                wait = backoff.next()
                self._note_away(error, wait)
                broker.close()
                self._stopping.wait(wait)
        session.is_ending.set()
        if session.is_abandoned:
            broker.close()
        else:
            self._end(broker)

    def _listen(self, session: _Session, backoff: Backoff) -> None:
        broker = session.broker
        refresh_at = time.monotonic() + deadlines.REFRESH
        while self._goes_on(session):
            deliveries = broker.drain(DRAIN)
            session.turn()
            if session.is_abandoned:
                return  # they go back to their queues, or come again end to end
            if deliveries:
                self._hand_over(deliveries)
                broker.settle(deliveries)
                self._wait_for_room(session)
            now = time.monotonic()
            if now >= refresh_at:
                broker.refresh()
                refresh_at = now + deadlines.REFRESH
            backoff.reset()  # only now: what ends each connection at once must not do it often

    def _hand_over(self, deliveries: Sequence[Delivery]) -> None:
        batch = _HandedOver(self._dispatcher.sort(deliveries))
        size = sum(delivery.size for delivery in deliveries)
        number = next(self._numbers)
        reference = weakref.ref(batch, lambda _: self._handed_over.pop(number, None))
        self._handed_over[number] = reference, len(batch), size
        self._deliver(batch)

    def _is_crowded(self) -> bool:
        held = list(self._handed_over.values())  # in one step: others let go meanwhile
        return bool(held) and (
            sum(count for _, count, _ in held) > HELD_AT_MOST
            or sum(size for _, _, size in held) > HELD_BYTES_AT_MOST
        )

    def _wait_for_room(self, session: _Session) -> None:
        """Until the owner has let go of enough, or of nothing for too long."""
        held = len(self._handed_over)
        now = time.monotonic()
        until, keep_alive_at = now + PATIENCE, now + deadlines.KEEP_ALIVE
        while self._goes_on(session) and self._is_crowded():
            session.turn()
            now = time.monotonic()
            if len(self._handed_over) < held:
                held, until = len(self._handed_over), now + PATIENCE
            if now >= until:
                self.crowded += 1
                return
            if now >= keep_alive_at:
                session.broker.keep_alive()
                keep_alive_at = now + deadlines.KEEP_ALIVE
            self._stopping.wait(_STEP)

    def _end(self, broker: Broker) -> None:
        self._is_consuming = False
        began = time.monotonic()
        try:
            broker.hurry()
            for queue in self._delete_at_end:
                broker.delete(queue)
        except Exception as error:
            logger.debug("deleting queues at the end: %s: %s", type(error).__name__, error)
            broker.abort()  # it would not hear our goodbye either
        broker.close()
        logger.debug("listener ended; that took %.3f s", time.monotonic() - began)

    # what is told ---------------------------------------------------------------------------------

    def _note_consuming(self) -> None:
        self._is_consuming = True
        self._ready.set()
        since, self._away_since = self._away_since, None
        self._has_told_of_trust = False
        if since is not None:
            logger.info(
                "consuming from %s again, after %.1f s", self._url.shown, time.monotonic() - since
            )

    def _note_away(self, error: Exception, wait: float) -> None:
        if not self._ready.is_set():
            self._first_error = error if isinstance(error, BrokerError) else BrokerError(str(error))
            if isinstance(error, Untrusted):
                self._distrust = error
                self._ready.set()
                return
        # One line for each time it goes away, and one if it is back and we do not trust it; while
        # start() waits, its error is the line.
        is_news = self._is_consuming
        if isinstance(error, Untrusted) and not self._has_told_of_trust:
            is_news = self._has_told_of_trust = True
        level = logging.WARNING if is_news else logging.DEBUG
        if self._is_consuming:
            self._is_consuming, self._away_since = False, time.monotonic()
        logger.log(
            level,
            "no connection to %s (%s: %s); trying until there is one, next in %.1f s",
            self._url.shown,
            type(error).__name__,
            error,
            wait,
        )
