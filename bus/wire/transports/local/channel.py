"""kombu's Channel, QoS and publish batch over a ``Store``.

Deliveries: a channel claims for its whole free window at once into a local buffer and delivers one
per ``drain``. The window is the prefetch count; without one it claims ``UNSET_WINDOW`` at a time,
whenever its buffer is empty, so that one consumer does not hoard a queue. Messages in the buffer
have been seen by nobody: a cancelled consumer gives them back unmarked.

Acknowledgements are collected and deleted together with the next claim, before a longer sleep and
at close; on a channel without consumers at once. Any thread may acknowledge and publish; everything
else belongs to the thread that drains.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import kombu
from amqp.protocol import queue_declare_ok_t
from kombu.transport import virtual
from kombu.transport.base import to_rabbitmq_queue_arguments
from kombu.transport.virtual.exchange import STANDARD_EXCHANGE_TYPES
from kombu.utils.uuid import uuid

from bus.wire.transports.local import claims, topology
from bus.wire.transports.local.faults import BrokerGone, NotFound, TagInUse
from bus.wire.transports.local.store import Claimed, Outgoing, Store
from bus.wire.transports.virtual_message import properties_in
from bus.wire.transports.window import Callback, Window
from protocol.claim import Found, Wanted

__all__ = ["Channel", "PublishBatch", "QoS"]

logger = logging.getLogger("taskline.bus.wire.transports.local.channel")

#: What beside its body a message says of which nothing can be read.
_BARE = '[null,null,{},{"delivery_info":{}}]'


#: A channel without a prefetch count claims this many at a time.
UNSET_WINDOW = 64

#: Made once: ``json.dumps`` makes an encoder a call unless all its options are left alone.
_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class _Reader:
    """A consumer of this channel; ``queue``: its number in the store."""

    tag: str
    name: str
    queue: int
    no_ack: bool
    callback: Callback


class QoS(Window[virtual.Message]):
    """What this channel's consumers hold. Acknowledging is for any thread.

    The end of a process that holds something is seen by its lock byte.
    """

    def window(self) -> int:
        """How many more messages may be claimed now."""
        if not self.prefetch_count:
            return UNSET_WINDOW
        return max(0, self.prefetch_count - len(self._held))

    def can_consume(self) -> bool:
        """Whether the window has room."""
        return self.window() > 0

    def can_consume_max_estimate(self) -> int:
        """The same as ``window``, under kombu's name."""
        return self.window()

    def append(self, message: virtual.Message, delivery_tag: int) -> None:
        """Held from now on."""
        self._held[delivery_tag] = message

    def get(self, delivery_tag: int) -> virtual.Message:
        """A held message."""
        return self._held[delivery_tag]

    def ack(self, delivery_tag: int, multiple: bool = False) -> None:
        """Done with it, or with all up to it; what is not held (any more) is ignored."""
        self.channel.ensure_open("acknowledging")
        tags = self.meant(delivery_tag, multiple)
        done = [tag for tag in tags if self._held.pop(tag, None) is not None]
        self.channel.settle_later(done)

    def reject(self, delivery_tag: int, requeue: bool = False) -> None:
        """Dropped, or back to its place in the queue, marked as redelivered."""
        if not requeue:
            self.ack(delivery_tag)
            return
        store = self.channel.ensure_open("requeueing")
        if self._held.pop(delivery_tag, None) is not None:
            store.settle(delivered=[delivery_tag])

    def restore_unacked(self) -> None:
        """Give back everything held."""
        store = self.channel.ensure_open("recovering")
        tags = self.held()
        store.settle(delivered=tags)
        for tag in tags:
            self._held.pop(tag, None)


class PublishBatch:
    """Messages collected by ``Producer.batch``, stored in one transaction by ``flush``.

    ``max_size`` messages flush by themselves. A flush that fails has stored nothing, and the batch
    cannot be used again.
    """

    def __init__(self, channel: Channel, max_size: int) -> None:
        self.channel = channel
        self._max_size = max_size
        self._messages: list[Outgoing] = []
        self._ended = ""

    def publish(self, message: dict[str, Any], **kwargs: Any) -> None:
        """Collect one."""
        self._ensure_usable()
        self._messages.append(outgoing(message, **kwargs))
        if len(self._messages) >= self._max_size:
            self.flush()

    def flush(self) -> None:
        """Store all that was collected, or nothing of it."""
        self._ensure_usable()
        messages, self._messages = self._messages, []
        if not messages:
            return
        try:
            self.channel.ensure_open("publishing a batch").publish(messages)
        except BaseException as error:
            self._ended = f"failed before ({error})"
            raise

    def discard(self) -> None:
        """Forget what was collected."""
        self._messages = []
        self._ended = "was aborted"

    def close(self) -> None:
        """Nothing is held open; what is still collected is forgotten."""
        self._messages = []
        self._ended = self._ended or "is closed"

    def _ensure_usable(self) -> None:
        if self._ended:
            raise RuntimeError(f"this publish batch {self._ended}")


def outgoing(
    message: Mapping[str, Any],
    exchange: str = "",
    routing_key: str = "",
    mandatory: bool = False,
    **_ignored: Any,
) -> Outgoing:
    """A message as ``prepare_message`` made it, ready for the store; the original stays as it is.

    Raises TypeError for headers or properties that are not JSON.
    """
    properties = dict(message["properties"])
    properties["delivery_info"] = {
        **(properties.get("delivery_info") or {}),
        "exchange": exchange or "",
        "routing_key": routing_key or "",
    }
    meta = (
        message.get("content-type"),
        message.get("content-encoding"),
        message.get("headers"),
        properties,
    )
    body = message["body"]
    return Outgoing(
        exchange or "",
        routing_key or "",
        _encode(meta),
        body.encode() if isinstance(body, str) else bytes(body or b""),
        mandatory,
    )


def _said(body: bytes, said: Mapping[str, Any], mandatory: bool) -> Outgoing:
    """A message as ``Producer.publish`` is told of it, ready for the store."""
    exchange, key = said["exchange"], said["routing_key"]
    properties = properties_in(said)
    properties["delivery_info"] = {"exchange": exchange, "routing_key": key}
    meta = said["content_type"], said["content_encoding"], said["headers"], properties
    return Outgoing(exchange, key, _encode(meta), body, mandatory)


class Channel(virtual.Channel):
    """A channel; its ``connection`` is our Transport, or None once it is closed."""

    QoS = QoS
    closed: bool
    supports_fanout = True
    supports_batch_publish = True
    body_encoding: Any = None  # stock writes base64: a third more, and twice the work
    from_transport_options: Any = ()

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        super().__init__(connection, **kwargs)
        self._readers: dict[str, _Reader] = {}
        self._by_queue: dict[int, deque[_Reader]] = {}
        self._buffer: deque[Claimed] = deque()
        #: Ids to delete with the next transaction. Appended by any thread.
        self._done: deque[int] = deque()

    def ensure_open(self, doing: str) -> Store:
        """The store. Raises BrokerGone if the channel or its connection is closed."""
        if self.closed or self.connection is None:
            raise BrokerGone(f"{doing}: the channel is closed; what it held is back in its queue")
        store: Store = self.connection.store
        return store

    # publishing -----------------------------------------------------------------------------------

    def basic_publish(
        self, message: dict[str, Any], exchange: str, routing_key: str, **kw: Any
    ) -> None:
        """Publish one message; when it returns it survives the death of processes. Any thread."""
        store = self.ensure_open("publishing")
        store.publish([outgoing(message, exchange, routing_key, **kw)])

    def create_publish_batch(self, max_size: int) -> PublishBatch:
        """kombu's hook for ``Producer.batch``."""
        return PublishBatch(self, max_size)

    def publish_list(self, ready: Sequence[tuple[bytes, Mapping[str, Any], bool]]) -> None:
        """Publish these in one transaction, in order, as kombu's ``Producer`` would in a batch.

        Of each: the body, all that is said beside it as ``Producer.publish`` wants it, and whether
        it is mandatory.
        """
        self.ensure_open("publishing").publish([_said(*each) for each in ready])

    # claims ---------------------------------------------------------------------------------------

    def claim(self, wanted: Sequence[Wanted]) -> list[Found | None]:
        """Claim each name, if it is free; what is there now. One transaction. Any thread."""
        store = self.ensure_open("claiming keys")
        return store.change("claiming keys", lambda db: claims.claim(db, wanted))

    def release(self, name: str, value: str) -> None:
        """Take this claim back, if it is still there. Any thread."""
        store = self.ensure_open("giving a key back")
        store.change("giving a key back", lambda db: claims.release(db, name, value))

    # consuming ------------------------------------------------------------------------------------

    def basic_consume(
        self, queue: str, no_ack: bool, callback: Callback, consumer_tag: str = "", **kwargs: Any
    ) -> str:
        """Consume. Raises NotFound, TagInUse."""
        store = self.ensure_open(f"consuming from {queue!r}")
        tag = consumer_tag or f"local.{uuid()}"
        if tag in self._readers:
            raise TagInUse(f"consumer tag {tag!r} is in use on this channel")
        reader = _Reader(tag, queue, store.subscribe(queue), bool(no_ack), callback)
        self.connection.subscriptions[reader.queue] += 1
        self._readers[tag] = reader
        self._by_queue.setdefault(reader.queue, deque()).append(reader)
        self.connection.wake_drainer()
        return tag

    def basic_cancel(self, consumer_tag: str) -> None:
        """End a consumer; what it has not been given yet goes back. An unknown tag is fine."""
        if consumer_tag not in self._readers:
            return
        store = self.ensure_open("cancelling")
        reader = self._readers.pop(consumer_tag)
        unseen: list[int] = []
        siblings = self._by_queue[reader.queue]
        siblings.remove(reader)
        if not siblings:
            del self._by_queue[reader.queue]
            unseen = [each.id for each in self._buffer if each.queue == reader.queue]
            self._buffer = deque(each for each in self._buffer if each.queue != reader.queue)
        store.settle(done=self._take_done(), unseen=unseen, left=self._unsubscribe([reader]))

    def _unsubscribe(self, readers: list[_Reader]) -> list[int]:
        """Count them out; the queues nobody on this connection reads any more."""
        subscriptions = self.connection.subscriptions
        left = []
        for reader in readers:
            subscriptions[reader.queue] -= 1
            if not subscriptions[reader.queue]:
                del subscriptions[reader.queue]
                left.append(reader.queue)
        return left

    @property
    def has_more(self) -> bool:
        """Whether something is taken and not delivered."""
        return bool(self._buffer)

    @property
    def owes(self) -> bool:
        """Whether something is acknowledged and not deleted."""
        return bool(self._done)

    def deliver_one(self) -> bool:
        """Hand one message to its consumer, if there is one and the window has room."""
        if not self._readers or not (self._buffer or self._claim()):
            return False
        claimed = self._buffer.popleft()
        readers = self._by_queue[claimed.queue]
        reader = readers[0]
        readers.rotate(-1)
        message = self._message(claimed, reader.tag)
        if reader.no_ack:
            self._done.append(claimed.id)
        else:
            self.qos.append(message, claimed.id)
        reader.callback(message)
        return True

    def _claim(self) -> bool:
        window = self.qos.window()
        if not window:
            return False
        store = self.ensure_open("taking messages")
        queues = list(self._by_queue)
        if not store.has_ready(queues):
            return False
        done = self._take_done()
        try:
            self._buffer.extend(store.claim(queues, window, done))
        except BaseException:
            self._done.extendleft(reversed(done))
            raise
        return bool(self._buffer)

    def _message(self, claimed: Claimed, tag: str | None) -> virtual.Message:
        """What was claimed; bare, if somebody else than us wrote into the file what it says."""
        try:
            return self._as_said(claimed, claimed.meta, tag)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            logger.debug("message %d says nothing that can be read: %s", claimed.id, error)
            return self._as_said(claimed, _BARE, tag)

    def _as_said(self, claimed: Claimed, meta: str, tag: str | None) -> virtual.Message:
        content_type, content_encoding, headers, properties = json.loads(meta)
        properties["delivery_tag"] = claimed.id
        properties["delivery_info"].update(redelivered=claimed.redelivered, consumer_tag=tag)
        return self.Message(
            {
                "body": claimed.body,
                "properties": properties,
                "content-type": content_type,
                "content-encoding": content_encoding,
                "headers": headers,
            },
            channel=self,
        )

    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Any) -> virtual.Message | None:
        """Take one message, or None. Raises NotFound."""
        store = self.ensure_open(f"reading {queue!r}")
        claimed = store.get(queue)
        if claimed is None:
            return None
        message = self._message(claimed, None)
        if no_ack:
            self.settle_later([claimed.id])
        else:
            self.qos.append(message, claimed.id)
        return message

    def settle_later(self, done: list[int]) -> None:
        """Delete these with the next transaction; on a channel that only reads by hand, now."""
        self._done.extend(done)
        if self._readers:
            self.connection.wake_drainer()
        else:
            self.flush()

    def flush(self) -> None:
        """Delete what is acknowledged."""
        done = self._take_done()
        if not done:
            return
        try:
            self.ensure_open("acknowledging").settle(done=done)
        except BaseException:
            self._done.extendleft(reversed(done))
            raise

    def _take_done(self) -> list[int]:
        taken = []
        while True:  # one by one: other threads append meanwhile
            try:
                taken.append(self._done.popleft())
            except IndexError:
                return taken

    def basic_ack(self, delivery_tag: int, multiple: bool = False) -> None:
        """Acknowledge one, or all delivered up to it. Any thread."""
        self.qos.ack(delivery_tag, multiple)

    def basic_recover(self, requeue: bool = False) -> None:
        """Give back everything held. ``requeue=False`` is not offered, as in stock."""
        if not requeue:
            raise NotImplementedError("basic_recover(requeue=False) is not offered")
        self.qos.restore_unacked()

    # topology -------------------------------------------------------------------------------------

    def exchange_declare(
        self,
        exchange: str | None = None,
        type: str = "direct",  # noqa: A002  # kombu passes it by this name
        durable: bool = False,
        auto_delete: bool = False,
        arguments: Mapping[str, Any] | None = None,
        nowait: bool = False,
        passive: bool = False,
    ) -> None:
        """Make it, or check it is the same. Raises DeclaredDifferently, NotFound (``passive``)."""
        store = self.ensure_open(f"declaring exchange {exchange!r}")
        kind = type or "direct"
        name = exchange or f"amq.{kind}"
        if passive:
            store.look("looking up an exchange", lambda db: topology.exchange_type(db, name))
            return
        if name.startswith("amq."):
            return  # they are there from the beginning
        store.change(
            f"declaring exchange {name!r}",
            lambda db: topology.declare_exchange(db, name, kind, durable, auto_delete, arguments),
        )

    def exchange_delete(self, exchange: str, if_unused: bool = False, nowait: bool = False) -> None:
        """Delete it with its bindings; its queues stay."""
        store = self.ensure_open(f"deleting exchange {exchange!r}")
        store.change(
            "deleting an exchange", lambda db: topology.delete_exchange(db, exchange, if_unused)
        )

    def prepare_queue_arguments(self, arguments: Mapping[str, Any], **kwargs: Any) -> Any:
        """kombu's ``expires=`` and the like under their AMQP names."""
        return to_rabbitmq_queue_arguments(arguments, **kwargs)

    def queue_declare(
        self,
        queue: str | None = None,
        passive: bool = False,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> queue_declare_ok_t:
        """Make it, or check it is the same; (name, messages ready, consuming connections)."""
        name = queue or f"amq.gen-{uuid()}"
        store = self.ensure_open(f"declaring queue {name!r}")
        if not passive:
            store.change(
                f"declaring queue {name!r}",
                lambda db: topology.declare_queue(
                    db, name, durable, exclusive, auto_delete, arguments
                ),
            )
        ready, readers = store.look("counting", lambda db: topology.census(db, name))
        return queue_declare_ok_t(name, ready, readers)

    def queue_bind(
        self,
        queue: str,
        exchange: str | None = None,
        routing_key: str = "",
        arguments: Any = None,
        **kwargs: Any,
    ) -> None:
        """Bind; again is fine. Raises NotFound."""
        store = self.ensure_open(f"binding queue {queue!r}")
        source = exchange or "amq.direct"
        store.change(
            f"binding {queue!r}", lambda db: topology.bind(db, queue, source, routing_key or "")
        )

    def queue_unbind(
        self,
        queue: str,
        exchange: str | None = None,
        routing_key: str = "",
        arguments: Any = None,
        **kwargs: Any,
    ) -> None:
        """Unbind; what is not bound is fine."""
        store = self.ensure_open(f"unbinding queue {queue!r}")
        source = exchange or "amq.direct"
        store.change(
            f"unbinding {queue!r}", lambda db: topology.unbind(db, queue, source, routing_key or "")
        )

    def refresh(self, queues: Sequence[kombu.Queue]) -> None:
        """See that what is consumed here is there and bound as these say; it writes nothing.

        Raises NotFound if it was deleted, and perhaps made anew: then to consume again helps.
        """
        store = self.ensure_open("looking after queues")

        def look(db: sqlite3.Connection) -> None:
            for reader in self._readers.values():
                if topology.queue_id(db, reader.name) != reader.queue:
                    raise NotFound(f"queue {reader.name!r} was deleted, and there is another one")
            for queue in queues:
                exchange, key = queue.exchange.name, queue.routing_key or ""
                number = topology.queue_id(db, queue.name)
                if exchange and not topology.is_bound(db, number, exchange, key):
                    raise NotFound(f"queue {queue.name!r} is bound to {exchange!r} no more")

        store.look("looking after queues", look)

    def queue_delete(
        self, queue: str, if_unused: bool = False, if_empty: bool = False, **kwargs: Any
    ) -> None:
        """Delete it with its messages, whoever declared it; an unknown one is fine."""
        store = self.ensure_open(f"deleting queue {queue!r}")
        store.change(
            f"deleting queue {queue!r}",
            lambda db: topology.delete_queue(db, queue, if_unused, if_empty),
        )

    def queue_purge(self, queue: str, **kwargs: Any) -> int:
        """Delete the messages nobody holds; how many. Raises NotFound."""
        return self._purge(queue)

    def after_reply_message_received(self, queue: str) -> None:
        """Nothing: a reply queue lives as long as its consumer."""

    def _purge(self, queue: str) -> int:
        store = self.ensure_open(f"purging {queue!r}")
        return store.change(f"purging {queue!r}", lambda db: topology.purge(db, queue))

    def _size(self, queue: str) -> int:
        store = self.ensure_open(f"counting {queue!r}")
        try:
            return store.look("counting", lambda db: topology.census(db, queue))[0]
        except NotFound:
            return 0

    def _has_queue(self, queue: str, **kwargs: Any) -> bool:
        store = self.ensure_open(f"looking up {queue!r}")
        try:
            store.look("looking up a queue", lambda db: topology.queue_id(db, queue))
        except NotFound:
            return False
        return True

    def get_exchanges(self) -> list[str]:
        """The names of all exchanges."""
        return self.ensure_open("listing").look("listing exchanges", topology.exchanges)

    def list_bindings(self) -> Iterator[tuple[str, str, str]]:
        """(queue, exchange, routing key) of all bindings."""
        return iter(self.ensure_open("listing").look("listing bindings", topology.bindings))

    def get_table(self, exchange: str) -> list[tuple[str, None, str]]:
        """(routing key, None, queue) of one exchange's bindings."""
        return [(key, None, queue) for queue, name, key in self.list_bindings() if name == exchange]

    def typeof(self, exchange: str, default: str = "direct") -> Any:
        """kombu's object for the exchange's type, as the file has it."""
        store = self.ensure_open(f"looking up exchange {exchange!r}")
        try:
            kind = store.look("looking it up", lambda db: topology.exchange_type(db, exchange))
        except NotFound:
            kind = default
        return STANDARD_EXCHANGE_TYPES[kind](self)

    # the end --------------------------------------------------------------------------------------

    def close(self) -> None:
        """Cancel, and give back in their places what is held and what was not delivered yet.

        Twice is fine; in a forked child it does nothing.
        """
        if self.closed:
            return
        transport, self.closed = self.connection, True
        try:
            if transport is not None and transport.has_store:
                readers = list(self._readers.values())
                transport.store.settle(
                    done=self._take_done(),
                    delivered=self.qos.held(),
                    unseen=[each.id for each in self._buffer],
                    left=self._unsubscribe(readers),
                )
        finally:
            self._readers.clear()
            self._by_queue.clear()
            self._buffer.clear()
            if transport is not None:
                transport.close_channel(self)
