"""A bus inside one process: whoever knows something publishes it, whoever wants it subscribes.

A message is any object; its *type* says who gets it: exactly that class, not one derived from it.
Most are the frozen values of ``protocol.events``. Nothing is decided here about what they mean.

**Threads.** A bus belongs to the thread that made it, its *owner*. ``publish`` may be called from
any thread, a signal handler, a finalizer. Handlers are called on the owner's thread and nowhere
else, one at a time; inboxes are read there. ``subscribe``, ``tap``, ``connect`` and every
``close`` may be called from any thread, but not from a signal handler or a finalizer.

**When.** What the owner publishes is delivered before its ``publish`` returns. What others publish
waits, in memory and without a bound, until the owner looks: it calls ``check``, reads an inbox, or
publishes. What a handler publishes is delivered after the message that is being delivered has
reached everybody, and before the owner's outermost call returns. Nothing blocks, with one
exception: ``check(timeout)``.

**Order.** Messages are delivered in the order of their ``publish`` calls, whatever their type and
thread: if one call returned before another began, its message comes first. Each message reaches
the taps first, in the order they were put in, and then its subscribers, in theirs. So what a tap
writes to a file is written before anybody acts on it.

**Who gets it.** Who was subscribed when it was published, and still is when it is delivered. A
message that nobody wants is dropped at once, and costs a look into a dict.

**What raises.** An ``Exception`` out of a handler is logged, and neither the publisher nor another
subscriber notices. Anything else (Ctrl-C, ``SystemExit``) passes through the owner's call, and
whom the message has not reached gets it with the next one.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, TypeVar

from protocol.errors import BusError
from protocol.history import Entry

logger = logging.getLogger("taskline.bus.news.events")

M = TypeVar("M")

Handler = Callable[[Any], object]


class Subscription:
    """Lasts until ``close``, or the end of a ``with``; that it is referred to or not is all one."""

    __slots__ = ("_bus", "_kind", "flush", "handler")

    def __init__(
        self,
        bus: Bus,
        kind: type | None,
        handler: Handler,
        flush: Callable[[], object] | None = None,
    ) -> None:
        self._bus = bus
        self._kind = kind
        #: What is called; None once it is closed.
        self.handler: Handler | None = handler
        #: Called when the bus has delivered all there was.
        self.flush = flush

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it; twice is fine. Any thread. A call that is being made is not waited for.

        A recorder writes what it holds, and so is closed by the bus's owner (``BusError``).
        """
        if self.flush is not None:
            self._bus.demand_owner()
        was_open, self.handler = self.handler is not None, None
        self._bus.forget(self, self._kind)
        if was_open and self.flush is not None:
            self.flush()


class Bus:
    """Belongs to the thread that makes it; see the module for who may call what."""

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        """``now``: the wall clock, in seconds since 1970; read for the taps alone."""
        self._owner = threading.get_ident()
        self._owner_name = threading.current_thread().name
        self._now = now
        #: Guards changes of the next two. They are replaced and never changed, so that they are
        #: read without it.
        self._changing = threading.Lock()
        self._by_type: dict[type, tuple[Subscription, ...]] = {}
        self._taps: tuple[Subscription, ...] = ()
        #: What waits for the owner. Any thread appends, and may be interrupted by itself in that.
        #: The owner alone takes from it, and not before a message has reached everybody.
        self._queue: deque[_Delivery] = deque()
        #: Rung by who publishes while the owner waits.
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._is_waiting = False
        # Owner only, from here on.
        self._is_delivering = False
        #: How many of the queue's messages are to be delivered before the present call returns.
        self._due = 0
        #: How many messages the taps were told.
        self._number = 0

    @property
    def is_heard(self) -> bool:
        """Whether anybody wants anything at all. Any thread."""
        return bool(self._by_type or self._taps)

    def wants(self, kind: type) -> bool:
        """Whether anybody wants messages of this type. Any thread."""
        return bool(self._taps) or kind in self._by_type

    @property
    def waiting(self) -> int:
        """How many messages wait for the owner. Any thread."""
        return len(self._queue)

    # -- sending

    def publish(self, message: Any) -> None:
        """Have this delivered. Any thread; never blocks, and raises nothing that a handler does.

        On the owner's thread it has been when this returns, and so has what waited before it; but
        within a handler it is done once that has returned.
        """
        found = self._by_type.get(type(message), ())
        taps = self._taps
        if not found and not taps:
            return
        stamp = self._now() if taps else None
        if threading.get_ident() != self._owner:
            self._queue.append(_Delivery(found, taps, message, stamp))
            if self._is_waiting:
                self._bell.put(None)
        elif self._is_delivering or self._queue:
            self._queue.append(_Delivery(found, taps, message, stamp))
            self._due = len(self._queue)
            self._drain()
        else:  # the same without a place in the queue, which is several times quicker
            self._is_delivering = True
            subscriptions, tapping, entry = iter(found), iter(taps), None
            try:
                if stamp is not None:
                    self._number += 1
                    entry = Entry(self._number, stamp, message)
                    _call(tapping, entry)
                if found:
                    _call(subscriptions, message)
            except BaseException:
                delivery = _Delivery(subscriptions, tapping, message, stamp)
                delivery.entry = entry
                self._queue.appendleft(delivery)
                raise
            finally:
                self._is_delivering = False
            if self._due:
                self._drain()

    def check(self, timeout: float = 0.0) -> None:
        """Deliver what has been published so far. Owner only; to be called every now and then.

        If there is nothing, wait for the first message, for at most ``timeout`` seconds. What comes
        in while this delivers is left to the next call, so that it ends however much comes. When it
        returns, recorders have written what they held. Within a handler it does nothing.

        Raises ``BusError`` on any other thread.
        """
        self.demand_owner()
        if self._is_delivering:
            return
        is_idle = not self._queue
        self._due = len(self._queue)
        self._drain()
        self._flush()
        if is_idle and timeout > 0:
            self._wait(timeout)
            self._due = len(self._queue)
            self._drain()
            self._flush()

    # -- receiving

    def subscribe(self, kind: type[M], handler: Callable[[M], object]) -> Subscription:
        """Have ``handler`` called with each message of exactly this type, from now on."""
        subscription = Subscription(self, kind, handler)
        with self._changing:
            # Connections that nobody had any more when they were collected are silent.
            heard = [each for each in self._by_type.get(kind, ()) if each.handler is not None]
            now = (*heard, subscription)
            self._by_type = {**self._by_type, kind: now}
        return subscription

    def tap(
        self, handler: Callable[[Entry], object], *, flush: Callable[[], object] | None = None
    ) -> Subscription:
        """Have ``handler`` called with every message of whatever type, before all subscribers.

        It gets an :class:`~protocol.history.Entry`: the messages counted from the bus's first tap
        on, the time of the ``publish`` call, the message. ``History.apply`` is such a handler.
        ``flush`` is for one that gathers what it writes, a recorder: it is called at the end of
        each ``check``, and when the tap is closed.
        """
        subscription = Subscription(self, None, handler, flush)
        with self._changing:
            heard = [each for each in self._taps if each.handler is not None]
            self._taps = (*heard, subscription)
        return subscription

    def connect(self, kinds: Iterable[type]) -> Connection:
        """A two-way connection: an inbox for messages of these types, that also publishes."""
        return Connection(self, kinds)

    def outbox(self) -> Outbox:
        """A connection that only publishes."""
        return Outbox(self)

    # -- for subscriptions and connections

    def forget(self, subscription: Subscription, kind: type | None) -> None:
        """Let this one go, which was there for messages of ``kind``; None: a tap."""
        with self._changing:
            if kind is None:
                self._taps = tuple(each for each in self._taps if each is not subscription)
            else:
                left = [each for each in self._by_type.get(kind, ()) if each is not subscription]
                table = {**self._by_type, kind: tuple(left)}
                if not left:
                    del table[kind]
                self._by_type = table

    def demand_owner(self) -> None:
        """Raise ``BusError`` on any thread but the owner's."""
        if threading.get_ident() != self._owner:
            raise BusError(
                f"a bus delivers on the thread that made it, {self._owner_name}, and was asked by "
                f"{threading.current_thread().name}: publish from here, and read over there"
            )

    # -- owner only

    def _wait(self, timeout: float) -> None:
        """Until the queue is not empty, or so many seconds."""
        until = time.monotonic() + timeout
        self._is_waiting = True  # before the queue is looked at: who appends later rings
        try:
            while not self._queue and (left := until - time.monotonic()) > 0:
                with contextlib.suppress(Empty):
                    self._bell.get(timeout=left)  # at once, if it was rung late the last time
        finally:
            self._is_waiting = False

    def _drain(self) -> None:
        if self._is_delivering:
            return  # the outermost call goes on with it
        self._is_delivering = True
        try:  # around a call and no loop: Python 3.13 skips `finally` for Ctrl-C at a loop's turn
            self._drain_due()
        finally:
            self._is_delivering = False

    def _drain_due(self) -> None:
        while self._due > 0 and self._queue:
            self._deliver(self._queue[0])
            self._queue.popleft()
            self._due -= 1

    def _deliver(self, delivery: _Delivery) -> None:
        """Go on with it where it was broken off, if it was."""
        message = delivery.message
        if delivery.stamp is not None and delivery.entry is None:
            self._number += 1
            delivery.entry = Entry(self._number, delivery.stamp, message)
        _call(delivery.taps, delivery.entry)
        _call(delivery.found, message)

    def _flush(self) -> None:
        for tap in self._taps:
            if tap.handler is None:  # silenced by a finalizer, which could not do more
                tap.close()
            if tap.flush is not None:
                try:
                    tap.flush()
                except Exception:
                    logger.exception("a recorder raised when it was to write what it held")


class _Delivery:
    """A message on its way, and whom it has not reached yet."""

    __slots__ = ("entry", "found", "message", "stamp", "taps")

    def __init__(
        self,
        found: Iterable[Subscription],
        taps: Iterable[Subscription],
        message: Any,
        stamp: float | None,
    ) -> None:
        self.found = iter(found)
        self.taps = iter(taps)
        self.message = message
        #: None: there are no taps.
        self.stamp = stamp
        #: What the taps get, once it has a number.
        self.entry: Entry | None = None


def _call(subscriptions: Iterator[Subscription], message: Any) -> None:
    for subscription in subscriptions:
        handler = subscription.handler
        if handler is None:
            continue
        try:
            handler(message)
        except Exception:
            logger.exception("a subscriber raised on %s", type(message).__name__)


class Outbox:
    """Publishes on a bus, for who need not know the bus itself. Any thread."""

    def __init__(self, bus: Bus) -> None:
        self._bus: Bus | None = bus

    def publish(self, message: object) -> None:
        """As ``Bus.publish``. Raises ``BusError`` once this is closed."""
        self._connected("publish").publish(message)

    def close(self) -> None:
        """Let go of the bus; twice is fine."""
        self._bus = None

    def _connected(self, doing: str) -> Bus:
        bus = self._bus
        if bus is None:
            raise BusError(f"cannot {doing}: this connection to a bus was closed; make another one")
        return bus


class Connection(Outbox):
    """Gathers messages of some types until they are taken out, and publishes. See ``Bus.connect``.

    ``publish`` from any thread, all else on the bus's owner's (``BusError``). What has been
    published and not delivered yet is delivered first by whatever reads. Messages of a type keep
    their order; between types nothing is said. It ends with ``close``, a ``with``, or when nobody
    refers to it any more.
    """

    def __init__(self, bus: Bus, kinds: Iterable[type]) -> None:
        super().__init__(bus)
        self._boxes: dict[type, deque[Any]] = {kind: deque() for kind in kinds}
        # Each refers to its box alone, so that this can be collected. A finalizer may run in the
        # middle of anything: it silences them, and takes no lock to have them forgotten.
        self._subscriptions = [bus.subscribe(kind, box.append) for kind, box in self._boxes.items()]
        self._silence = weakref.finalize(self, _silence, self._subscriptions)
        self._silence.atexit = False

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it; what is in it is dropped. Twice is fine."""
        super().close()
        self._silence.detach()
        for subscription in self._subscriptions:
            subscription.close()
        self._boxes = {kind: deque() for kind in self._boxes}

    def count(self, kind: type) -> int:
        """How many messages of this type there are. ``BusError`` for a type it does not gather."""
        return len(self._box(kind))

    def empty(self) -> bool:
        """Whether there is none of any type."""
        self._look()
        return not any(self._boxes.values())

    def for_each(self, kind: type[M]) -> Iterator[M]:
        """The messages of this type that are there, the oldest first; what comes meanwhile is not.

        A message is taken out when the body of the loop is done with it. If that raises, breaks or
        returns, the message and those after it are there again, before all newer ones. While the
        loop runs, what it has not come to yet is in no ``count`` and no other loop.

        Raises ``BusError`` for a type it does not gather.
        """
        return self._each(self._box(kind))

    def _each(self, box: deque[M]) -> Iterator[M]:
        taken = deque(box)
        box.clear()
        try:  # around no loop of our own, as in Bus._drain
            yield from _taking_out(taken)
        finally:
            box.extendleft(reversed(taken))

    def _box(self, kind: type[M]) -> deque[M]:
        self._look()
        box = self._boxes.get(kind)
        if box is None:
            gathered = ", ".join(each.__name__ for each in self._boxes) or "none"
            raise BusError(
                f"this connection gathers no {kind.__name__}, only {gathered}: name it in connect()"
            )
        return box

    def _look(self) -> None:
        self._connected("receive").check()


def _taking_out(taken: deque[M]) -> Iterator[M]:
    while taken:
        yield taken[0]
        taken.popleft()


def _silence(subscriptions: list[Subscription]) -> None:
    for subscription in subscriptions:
        subscription.handler = None
