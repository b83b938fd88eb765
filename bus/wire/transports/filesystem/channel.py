"""kombu's Channel and QoS over a ``Post`` and ``Tables``.

Everything belongs to the connection's thread. Delivery tags are numbers of ours: what a message
says of itself is not believed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import kombu
from kombu.exceptions import ChannelError
from kombu.transport import virtual
from kombu.utils.uuid import uuid

from bus.wire.transports.filesystem.faults import Gone
from bus.wire.transports.filesystem.post import Post, Taken
from bus.wire.transports.filesystem.tables import Entry, Tables
from bus.wire.transports.window import Callback, Reader, Window

#: What comes out of kombu's reading of an envelope of another shape.
_NONSENSE = (TypeError, ValueError, LookupError, AttributeError, RecursionError)


class QoS(Window[str]):
    """What this channel's consumers hold: delivery tag → the name of its file."""

    def hold(self, tag: int, name: str) -> None:
        """Delivered, and not settled."""
        self._held[tag] = name

    def ack(self, delivery_tag: int, multiple: bool = False) -> None:
        """Done with it, or with all delivered up to it; what is not held is ignored."""
        post = self.channel.ensure_open("acknowledging")
        for tag in self.meant(delivery_tag, multiple):
            name = self._held.pop(tag, None)
            if name is not None:
                post.done(name)

    def reject(self, delivery_tag: int, requeue: bool = False) -> None:
        """Dropped, or back to its place."""
        if not requeue:
            self.ack(delivery_tag)
            return
        post = self.channel.ensure_open("requeueing")
        name = self._held.pop(delivery_tag, None)
        if name is not None:
            post.give_back(name)

    def restore_unacked(self) -> None:
        """Give back everything."""
        for tag in list(self._held):
            self.reject(tag, requeue=True)


class Channel(virtual.Channel):
    """A channel; its ``connection`` is our Transport, or None once it is closed."""

    QoS = QoS
    closed: bool
    supports_fanout = True
    do_restore = True
    from_transport_options: Any = ()

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        super().__init__(connection, **kwargs)
        self._readers: dict[str, Reader] = {}
        self._turns: deque[Reader] = deque()
        self._last_tag = 0

    def ensure_open(self, doing: str) -> Post:
        """The post. Raises ``Gone`` if the channel or its connection is closed."""
        if self.closed or self.connection is None:
            raise Gone(f"{doing}: the channel is closed; what it held is back in its queue")
        post: Post = self.connection.post
        return post

    @property
    def _tables(self) -> Tables:
        tables: Tables = self.connection.tables
        return tables

    # publishing -----------------------------------------------------------------------------------

    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> None:
        self.ensure_open("publishing").put(queue, message)

    def _put_fanout(
        self, exchange: str, message: dict[str, Any], routing_key: str, **kwargs: Any
    ) -> None:
        for queue in {queue for _, _, queue in self.get_table(exchange)}:
            self._put(queue, message)

    def get_table(self, exchange: str) -> list[Entry]:
        """The bindings of an exchange: those on disk, and those we have made ourselves.

        The latter because somebody may have deleted the former.
        """
        own = [
            self._entry(exchange, key.routing_key, key.queue)
            for key in list(self.state.bindings)
            if key.exchange == exchange
        ]
        with self.connection.translated("looking up an exchange"):
            return list(dict.fromkeys([*own, *self._tables.read(exchange)]))

    def _lookup(self, exchange: str, routing_key: str, default: str | None = None) -> list[str]:
        return list(super()._lookup(exchange, routing_key, default))

    def _entry(self, exchange: str, routing_key: str, queue: str) -> Entry:
        # As kombu writes it: text for everything, also for what is not there.
        key, pattern, name = self.typeof(exchange).prepare_bind(queue, exchange, routing_key, None)
        return key or "", pattern or "", name or ""

    # what is where --------------------------------------------------------------------------------

    def queue_bind(
        self,
        queue: str,
        exchange: str | None = None,
        routing_key: str = "",
        arguments: Any = None,
        **kwargs: Any,
    ) -> None:
        """Bind it, also if we have before: somebody may have deleted that."""
        exchange = exchange or "amq.direct"
        self.state.binding_declare(queue, exchange, routing_key, arguments)
        with self.connection.translated("binding"):
            self._tables.bind(exchange, self._entry(exchange, routing_key, queue))

    def queue_unbind(
        self, queue: str, exchange: str | None = None, routing_key: str = "", *_: Any, **__: Any
    ) -> None:
        """Unbind it from this exchange."""
        exchange = exchange or "amq.direct"
        self.state.binding_delete(queue, exchange, routing_key)
        with self.connection.translated("unbinding"):
            self._tables.unbind(exchange, queue)

    def queue_delete(
        self, queue: str, if_unused: bool = False, if_empty: bool = False, **kwargs: Any
    ) -> None:
        """Delete it with its messages and its bindings."""
        if if_empty and self._size(queue):
            return
        for exchange, key, _ in list(self.state.queue_bindings(queue)):
            self.queue_unbind(queue, exchange, key)
        self.state.queue_bindings_delete(queue)
        self._purge(queue)

    def exchange_delete(self, exchange: str, if_unused: bool = False, nowait: bool = False) -> None:
        """Delete it with its bindings; its queues stay."""
        self.state.exchanges.pop(exchange, None)
        with self.connection.translated("deleting an exchange"):
            self._tables.delete(exchange)

    def refresh(self, queues: Sequence[kombu.Queue]) -> None:
        """Declare these again, with what they are bound to."""
        for queue in queues:
            queue.declare()

    def _size(self, queue: str) -> int:
        return self.ensure_open("counting").count(queue)

    def _purge(self, queue: str) -> int:
        return self.ensure_open("emptying").purge(queue)

    def _new_queue(self, queue: str, **kwargs: Any) -> None:
        """A queue is there when something is in it."""

    # consuming ------------------------------------------------------------------------------------

    def basic_consume(
        self, queue: str, no_ack: bool, callback: Callback, consumer_tag: str = "", **kwargs: Any
    ) -> str:
        """Consume; several consumers of a queue share it."""
        self.ensure_open(f"consuming from {queue!r}")
        tag = consumer_tag or f"filesystem.{uuid()}"
        if tag in self._readers:
            raise ChannelError(f"consumer tag {tag!r} is in use on this channel")
        reader = Reader(tag, queue, bool(no_ack), callback)
        self._readers[tag] = reader
        self._turns.append(reader)
        return tag

    def basic_cancel(self, consumer_tag: str) -> None:
        """End a consumer; an unknown tag is fine."""
        reader = self._readers.pop(consumer_tag, None)
        if reader is not None:
            self._turns.remove(reader)

    def deliver_one(self) -> bool:
        """Hand one message to a consumer, in turn, if there is one and the window has room."""
        for _ in range(len(self._turns)):
            reader = self._turns[0]
            self._turns.rotate(-1)
            if not reader.no_ack and not self.qos.can_consume():
                continue
            taken = self.ensure_open("taking messages").take(reader.queue)
            if taken is not None:
                reader.callback(self._message(taken, reader.queue, reader.tag, reader.no_ack))
                return True
        return False

    def _message(
        self, taken: Taken, queue: str, consumer: str | None, no_ack: bool
    ) -> virtual.Message:
        """What was taken, held from now on; what is no message as one that says nothing."""
        self._last_tag += 1
        tag = self._last_tag
        if no_ack:
            self.ensure_open("taking messages").done(taken.name)
        else:
            self.qos.hold(tag, taken.name)
        try:
            raw = dict(taken.raw or {})
            raw["properties"] = {**raw["properties"], "delivery_tag": tag}
            info = raw["properties"].get("delivery_info") or {}
            raw["properties"]["delivery_info"] = {**info, "consumer_tag": consumer}
            return self.Message(raw, channel=self)
        except _NONSENSE:
            info = {"exchange": "", "routing_key": queue, "consumer_tag": consumer}
            properties = {"delivery_tag": tag, "delivery_info": info, "priority": 0}
            raw = {"body": "", "headers": {}, "properties": properties}
            return self.Message(raw, channel=self)

    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Any) -> virtual.Message | None:
        """Take one message, or None."""
        taken = self.ensure_open(f"reading {queue!r}").take(queue)
        return None if taken is None else self._message(taken, queue, None, no_ack)

    def basic_ack(self, delivery_tag: int, multiple: bool = False) -> None:
        """Acknowledge one, or all delivered up to it."""
        self.qos.ack(delivery_tag, multiple)

    def close(self) -> None:
        """Cancel, and give back what is held. Twice is fine."""
        if self.closed:
            return
        for tag in list(self._readers):
            self.basic_cancel(tag)
        try:
            if self.connection is not None and self.connection.has_post:
                self.qos.restore_unacked()
        finally:
            self.closed = True
            if self.connection is not None:
                self.connection.close_channel(self)
