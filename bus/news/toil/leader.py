"""Toil's bus, under its own names, on ours: what a Toil leader works with.

Everything that ``bus.news.events`` says of threads, order and errors holds. Where Toil's own bus
does otherwise, it is this one that does what is documented:

* messages of a type keep their order, also when one of them came from another thread, or was
  published by a handler;
* a handler that raises hurts nobody: neither who published, nor another handler;
* an inbox that nobody refers to any more gathers no more.

A subscription lasts as long as the bus, though Toil's documentation says that it ends when nobody
refers to it: it does not there either, and Toil's own metrics rely on that. What
``connect_output_file`` returns does end with the last reference to it.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, TypeVar

from bus.news.events import Bus, Connection, Subscription
from bus.news.toil.messages import topic_of
from bus.news.toil.output import MOST, Output, OutputFile, Place
from bus.news.toil.reading import Unreadable, scan

logger = logging.getLogger("taskline.bus.news.toil.leader")

M = TypeVar("M")


class MessageBus:
    """Named tuples, from any thread to those who want them, on the thread that made the bus."""

    def __init__(self) -> None:
        self._bus = Bus()
        self._owner = threading.get_ident()

    @property
    def bus(self) -> Bus:
        """The bus of ours that it is."""
        return self._bus

    @classmethod
    def _type_to_name(cls, message_type: type) -> str:
        return topic_of(message_type)

    def publish(self, message: Any) -> None:
        """Have this delivered. Any thread; on the bus's own it has been when this returns."""
        self._bus.publish(message)

    def check(self) -> None:
        """Deliver what other threads have published. On another thread it does nothing."""
        if threading.get_ident() == self._owner:
            self._bus.check()

    def subscribe(self, message_type: type[M], handler: Callable[[M], Any]) -> Subscription:
        """Have ``handler`` called with each message of this type, from now on."""
        return self._bus.subscribe(message_type, handler)

    def connect(self, wanted_types: Iterable[type]) -> MessageBusConnection:
        """A two-way connection: an inbox for messages of these types, that also publishes."""
        return MessageBusConnection(self, wanted_types)

    def outbox(self) -> MessageOutbox:
        """A connection that only publishes."""
        return MessageOutbox(self)

    def connect_output_file(self, file_path: Place, *, grouped: bool = False) -> object:
        """Write all messages to this file, as long as what is returned is referred to.

        The file is emptied first. A line is in the file when ``publish`` returns; ``grouped`` as in
        :func:`bus.news.toil.connect_output_file`. A message that cannot be written is logged, and
        costs itself alone. Raises ``OSError`` if the file cannot be opened.
        """
        return _Kept(OutputFile(self._bus, Output(file_path, MOST if grouped else 1)))

    @classmethod
    def scan_bus_messages(
        cls, stream: IO[bytes], message_types: Iterable[type[Any]]
    ) -> Iterator[Any]:
        """The messages of these types in a file that is open for reading bytes, in their order.

        A last line without an end is not looked at. A line that cannot be read is passed over, and
        logged.
        """
        for found in scan(stream, message_types):
            if isinstance(found, Unreadable):
                logger.warning("a message was passed over, %s: %r", found.why, found.raw)
            else:
                yield found


class MessageBusClient:
    """Something that is connected to a bus, or to none."""

    def __init__(self, bus: MessageBus | None = None) -> None:
        self._bus = bus


class MessageOutbox(MessageBusClient):
    """Publishes on the bus it is connected to. Any thread."""

    def publish(self, message: Any) -> None:
        """As ``MessageBus.publish``. Raises ``RuntimeError`` if it is not connected."""
        if self._bus is None:
            raise RuntimeError("Cannot send message when not connected to a bus")
        self._bus.publish(message)


class MessageInbox(MessageBusClient):
    """Gathers messages of some types until they are taken out.

    What is read delivers first what other threads have published, if it is read on the bus's own
    thread. Messages of a type keep their order; between types nothing is said. It gathers until
    nobody refers to it any more. All raise ``RuntimeError`` if it is not connected, and
    ``KeyError`` for a type that it does not gather.
    """

    def __init__(self, bus: MessageBus | None = None, wanted_types: Iterable[type] = ()) -> None:
        super().__init__(bus)
        self._box = None if bus is None else _Box(bus, wanted_types)

    def count(self, message_type: type) -> int:
        """How many messages of this type there are."""
        return self._gathering(message_type).count(message_type)

    def empty(self) -> bool:
        """Whether there is none of any type."""
        return self._connected().empty()

    def for_each(self, message_type: type[M]) -> Iterator[M]:
        """The messages of this type that are there, the oldest first; what comes meanwhile is not.

        A message is taken out when the body of the loop is done with it. If that raises, breaks or
        returns, it is there again, and so are those after it, before all newer ones.
        """
        yield from self._gathering(message_type).for_each(message_type)

    def _connected(self) -> _Box:
        if self._box is None:
            raise RuntimeError("Cannot receive message when not connected to a bus")
        return self._box

    def _gathering(self, message_type: type) -> _Box:
        box = self._connected()
        if message_type not in box.kinds:
            raise KeyError(message_type)
        return box


class MessageBusConnection(MessageInbox, MessageOutbox):
    """An inbox that also publishes."""


class _Box(Connection):
    """May be read on any thread: elsewhere it does not deliver."""

    def __init__(self, bus: MessageBus, kinds: Iterable[type]) -> None:
        self.kinds = frozenset(kinds)
        super().__init__(bus.bus, self.kinds)
        self._message_bus = bus

    def _look(self) -> None:
        self._message_bus.check()


class _Kept:
    """Ends a file when nobody refers to this any more, and when the interpreter ends."""

    def __init__(self, output: OutputFile) -> None:
        weakref.finalize(self, output.abandon)
