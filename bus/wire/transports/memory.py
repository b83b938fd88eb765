"""Threads of one process, no file and no server: kombu's ``memory`` transport without its holes.

It works on the very queues, exchanges and bindings of kombu's own (class attributes over there),
so that a peer in this process that uses the stock transport, an unmodified taskflow engine for
one, meets us. What is different on our side:

- an idle consumer is woken by the message, also by a stock peer's, where stock looks once a
  second: the queue objects ring a bell (``_RingingQueue``; a stock one becomes such in place);
- what is not acknowledged goes back to the front of its queue, in order, when a channel closes;
- many threads may use or declare a name first, and nothing is lost;
- closing a channel touches nothing but that channel; several channels are served in turn;
- several consumers of one queue on one connection share it;
- what is published to a queue that is not there is dropped, as RabbitMQ does. Stock makes the queue
  and keeps the message: whoever had names answered that are nobody's would fill the process.

What stays as in stock: a queue lives from its declaration, or first reading, until it is deleted or
the process ends; ``auto_delete`` and ``expires`` do nothing. One hole is not ours to close: a
*stock* peer that uses a name first at the same moment as somebody else may still replace the queue
(it checks, then creates). Declare before publishing, and it cannot happen.

Any thread may publish and acknowledge; one thread drains a connection.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from queue import Queue
from typing import Any, TypeAlias

import kombu
from kombu.exceptions import ChannelError, ConnectionError
from kombu.transport import memory, virtual
from kombu.utils.uuid import uuid

from bus.wire.transports.memory_claims import CLAIMS
from bus.wire.transports.virtual_message import properties_in
from bus.wire.transports.window import Callback, Reader, Window
from protocol.claim import Found, Wanted

__all__ = ["Channel", "Transport"]

_LOOK_AGAIN = 0.25  # seconds; in case a stock peer deleted a queue and made it anew meanwhile
_PLACE = "taskline.place"  # key in a raw message: its place among those taken from its queue

Raw: TypeAlias = "dict[str, Any]"

_places = itertools.count(1)


class _RingingQueue(Queue[Raw]):
    """A queue that rings the bells of those who sleep until it has something.

    ``mutex`` (the queue's own) guards ``bells`` and the messages.
    """

    #: Replaced, never changed: ``put`` of another thread may be reading it.
    bells: frozenset[threading.Event] = frozenset()

    def _put(self, item: Raw) -> None:
        """Called by ``put``, inside the mutex."""
        super()._put(item)
        self.ring()

    def ring(self) -> None:
        """Wake all listeners."""
        for bell in self.bells:
            bell.set()

    def listen(self, bell: threading.Event) -> None:
        """Ring this bell from now on."""
        if bell not in self.bells:
            with self.mutex:
                self.bells |= {bell}

    def ignore(self, bell: threading.Event) -> None:
        """Ring it no more."""
        with self.mutex:
            self.bells -= {bell}

    def take(self) -> Raw | None:
        """The first message, numbered in the order of taking, or None. Never waits.

        A copy: stock puts one and the same object into every queue of a fan-out.
        """
        with self.mutex:
            if not self.queue:
                return None
            raw = dict(self.queue.popleft())
            raw.setdefault(_PLACE, next(_places))
        properties = raw["properties"] = dict(raw["properties"])
        properties["delivery_info"] = dict(properties.get("delivery_info") or {})
        properties["delivery_tag"] = raw[_PLACE]  # stock's is the same in every queue of a fan-out
        return raw

    def give_back(self, returned: list[Raw]) -> None:
        """Put these where they stood: before all that was never taken, in the order of taking."""
        if not returned:
            return
        with self.mutex:
            returned = list(returned)
            while self.queue and _PLACE in self.queue[0]:
                returned.append(self.queue.popleft())
            returned.sort(key=lambda raw: int(raw[_PLACE]))
            self.queue.extendleft(reversed(returned))
            self.not_empty.notify_all()
            self.ring()

    def clear(self) -> int:
        """Drop all; how many."""
        with self.mutex:
            size = len(self.queue)
            self.queue.clear()
        return size


class QoS(Window[tuple[str, Raw]]):
    """What a channel's consumers hold: delivery tag -> (queue, raw). Acks from any thread."""

    def hold(self, tag: int, queue: str, raw: Raw) -> None:
        """Delivered, and not settled."""
        self._held[tag] = queue, raw

    def ack(self, delivery_tag: int, multiple: bool = False) -> None:
        """Done with it, or with all delivered up to it."""
        self.channel.ensure_open("acknowledging")
        for tag in self.meant(delivery_tag, multiple):
            self._held.pop(tag, None)
        self.channel.connection.bell.set()  # the window may be open again

    def reject(self, delivery_tag: int, requeue: bool = False) -> None:
        """Dropped, or back to its place."""
        self.channel.ensure_open("rejecting")
        held = self._held.pop(delivery_tag, None)
        if requeue and held is not None:
            self.channel.give_back([held])
        self.channel.connection.bell.set()

    def restore_unacked(self) -> None:
        """Give back everything."""
        held = [self._held.pop(tag) for tag in list(self._held)]
        self.channel.give_back(held)


class Channel(memory.Channel):
    """A channel on the queues all memory channels of the process share."""

    QoS = QoS
    closed: bool
    do_restore = True
    body_encoding: Any = None  # base64 is for brokers that cannot store bytes
    #: Guards exchanges and bindings, which stock changes by check-then-set.
    _topology = threading.RLock()

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        super().__init__(connection, **kwargs)
        self._readers: dict[str, Reader] = {}
        self._turns: deque[Reader] = deque()

    def ensure_open(self, doing: str) -> None:
        """Raises kombu's ConnectionError if the channel is closed."""
        if self.closed:
            raise ConnectionError(f"{doing}: the channel is closed; what it held is back")

    # queues ---------------------------------------------------------------------------------------

    def _queue_for(self, queue: str) -> _RingingQueue:
        found = self.queues.get(queue)
        if found is None:
            # setdefault is one step, where stock's check-then-create loses the loser's messages.
            found = self.queues.setdefault(queue, _RingingQueue())
        if not isinstance(found, _RingingQueue):
            found.__class__ = _RingingQueue  # a stock peer was first; everybody keeps the object
        ringing: _RingingQueue = found
        return ringing

    def _new_queue(self, queue: str, **kwargs: Any) -> None:
        self._queue_for(queue)

    def _put(self, queue: str, message: Raw, **kwargs: Any) -> None:
        if queue not in self.queues:
            return
        copy = dict(message)
        copy["headers"] = dict(copy.get("headers") or {})
        copy["properties"] = dict(copy["properties"])
        self._queue_for(queue).put(copy)

    def publish_list(self, ready: Sequence[tuple[bytes, Mapping[str, Any], bool]]) -> None:
        """Publish these, in order, as kombu's ``Producer`` would. Any thread.

        Of each: the body, all that is said beside it as ``Producer.publish`` wants it, and whether
        it is mandatory, which means nothing here.
        """
        self.ensure_open("publishing")
        for body, said, _ in ready:
            properties = properties_in(said)
            properties["delivery_info"] = {}
            properties["priority"] = 0
            message = {
                "body": body,
                "content-encoding": said["content_encoding"],
                "content-type": said["content_type"],
                "headers": said["headers"],
                "properties": properties,
            }
            self.basic_publish(message, said["exchange"], said["routing_key"])

    def _put_fanout(
        self, exchange: str, message: Raw, routing_key: str | None = None, **kwargs: Any
    ) -> None:
        for queue in self._lookup(exchange, routing_key):
            self._put(queue, message)

    def _get(self, queue: str, timeout: float | None = None) -> Raw:
        raw = self._queue_for(queue).take()
        if raw is None:
            raise virtual.Empty
        return raw

    def _purge(self, queue: str) -> int:
        return self._queue_for(queue).clear()

    def _delete(self, queue: str, *args: Any, **kwargs: Any) -> None:
        gone = self.queues.pop(queue, None)
        if isinstance(gone, _RingingQueue):
            gone.ring()  # who listened looks again, and finds or makes the new one

    def give_back(self, held: list[tuple[str, Raw]]) -> None:
        """Return these to their queues, marked as redelivered, each in its place."""
        by_queue: dict[str, list[Raw]] = {}
        for queue, raw in held:
            raw["redelivered"] = True
            by_queue.setdefault(queue, []).append(raw)
        for queue, returned in by_queue.items():
            self._queue_for(queue).give_back(returned)

    # topology -------------------------------------------------------------------------------------

    def exchange_declare(self, *args: Any, **kwargs: Any) -> None:
        """As stock; many threads may be first."""
        with self._topology:
            super().exchange_declare(*args, **kwargs)

    def exchange_delete(self, exchange: str, if_unused: bool = False, nowait: bool = False) -> None:
        """Delete it with its bindings; its queues stay (stock deletes them, AMQP does not)."""
        with self._topology:
            state = self.state.exchanges.pop(exchange, None)
            for key, _, queue in state["table"] if state else ():
                self.state.binding_delete(queue, exchange, key)

    def queue_bind(self, *args: Any, **kwargs: Any) -> None:
        """As stock; many threads may be first."""
        with self._topology:
            super().queue_bind(*args, **kwargs)

    def queue_unbind(self, *args: Any, **kwargs: Any) -> None:
        """As stock."""
        with self._topology:
            super().queue_unbind(*args, **kwargs)

    def queue_delete(
        self, queue: str, if_unused: bool = False, if_empty: bool = False, **kwargs: Any
    ) -> None:
        """Delete it with its messages and bindings, bound or not (stock leaves it if it is not)."""
        if (if_empty and self._size(queue)) or (if_unused and self._queue_for(queue).bells):
            return
        with self._topology:
            for exchange, key, arguments in list(self.state.queue_bindings(queue)):
                super().queue_unbind(queue, exchange, key, arguments)
            self.state.queue_bindings_delete(queue)
        self._delete(queue)

    def _lookup(
        self, exchange: str, routing_key: str | None, default: str | None = None
    ) -> list[str]:
        with self._topology:
            found = super()._lookup(exchange, routing_key, default)
        return list(found)

    def refresh(self, queues: Sequence[kombu.Queue]) -> None:
        """Declare these again, with what they are bound to."""
        for queue in queues:
            queue.declare()

    # claims ---------------------------------------------------------------------------------------

    def claim(self, wanted: Sequence[Wanted]) -> list[Found | None]:
        """Claim each name, if it is free; what is there now. Any thread."""
        self.ensure_open("claiming keys")
        return CLAIMS.claim(wanted)

    def release(self, name: str, value: str) -> None:
        """Take this claim back, if it is still there. Any thread."""
        self.ensure_open("giving a key back")
        CLAIMS.release(name, value)

    # consuming ------------------------------------------------------------------------------------

    def basic_consume(
        self, queue: str, no_ack: bool, callback: Callback, consumer_tag: str = "", **kwargs: Any
    ) -> str:
        """Consume; several consumers of a queue share it."""
        self.ensure_open(f"consuming from {queue!r}")
        tag = consumer_tag or f"memory.{uuid()}"
        if tag in self._readers:
            raise ChannelError(f"consumer tag {tag!r} is in use on this channel")
        reader = Reader(tag, queue, bool(no_ack), callback)
        self._readers[tag] = reader
        self._turns.append(reader)
        self.connection.bell.set()  # to look at once, and to listen
        return tag

    def basic_cancel(self, consumer_tag: str) -> None:
        """End a consumer; an unknown tag is fine."""
        reader = self._readers.pop(consumer_tag, None)
        if reader is not None:
            self._turns.remove(reader)
            self.connection.unlisten(reader.queue)

    def reads(self, queue: str) -> bool:
        """Whether one of its consumers does."""
        return any(reader.queue == queue for reader in self._readers.values())

    @property
    def has_more(self) -> bool:
        """Whether one of its queues has something."""
        found = map(self.queues.get, {reader.queue for reader in self._turns})
        return any(queue is not None and queue.qsize() for queue in found)

    def deliver_one(self) -> bool:
        """Hand one message to a consumer, in turn, if there is one and the window has room."""
        for _ in range(len(self._turns)):
            reader = self._turns[0]
            self._turns.rotate(-1)
            if not reader.no_ack and not self.qos.can_consume():
                continue
            queue = self._queue_for(reader.queue)
            queue.listen(self.connection.bell)
            raw = queue.take()
            if raw is not None:
                self._deliver(reader, raw)
                return True
        return False

    def _deliver(self, reader: Reader, raw: Raw) -> None:
        message = self._message(raw, reader.tag)
        if not reader.no_ack:
            self.qos.hold(raw[_PLACE], reader.queue, raw)
        reader.callback(message)

    def _message(self, raw: Raw, tag: str | None) -> virtual.Message:
        raw["properties"]["delivery_info"].update(
            consumer_tag=tag, redelivered=bool(raw.get("redelivered"))
        )
        return self.Message(raw, channel=self)

    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Any) -> virtual.Message | None:
        """Take one message, or None."""
        self.ensure_open(f"reading {queue!r}")
        raw = self._queue_for(queue).take()
        if raw is None:
            return None
        if not no_ack:
            self.qos.hold(raw[_PLACE], queue, raw)
        return self._message(raw, None)

    def basic_ack(self, delivery_tag: int, multiple: bool = False) -> None:
        """Acknowledge one, or all delivered up to it. Any thread."""
        self.qos.ack(delivery_tag, multiple)

    def close(self) -> None:
        """Cancel, and give back in their places what is held. Twice is fine."""
        if self.closed:
            return
        for tag in list(self._readers):
            self.basic_cancel(tag)
        self.qos.restore_unacked()
        self.closed = True
        if self.connection is not None:
            self.connection.close_channel(self)


class Transport(memory.Transport):
    """A connection: some channels and the bell its draining thread sleeps at."""

    Channel = Channel
    polling_interval: Any = None  # nothing is polled

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self.polling_interval = None  # stock reads it from the options
        #: Set whenever there may be something to deliver. Any thread.
        self.bell = threading.Event()
        self._first = 0

    @property
    def has_more(self) -> bool:
        """Whether there seems to be something to deliver."""
        return any(channel.has_more for channel in list(self.channels))

    def unlisten(self, queue: str) -> None:
        """A consumer of this queue ended; ring no more if it was the last."""
        if not any(channel.reads(queue) for channel in list(self.channels)):
            found = self.Channel.queues.get(queue)
            if isinstance(found, _RingingQueue):
                found.ignore(self.bell)

    def drain_events(self, connection: object, timeout: float | None = None, **_: Any) -> None:
        """Deliver one message, waiting for it up to ``timeout`` seconds; then ``TimeoutError``.

        None waits for ever; a timeout of nought takes what is there.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self.bell.clear()  # before the look: what comes after it rings again
            if self._deliver_one():
                return
            left = _LOOK_AGAIN if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self.bell.wait(min(left, _LOOK_AGAIN))

    def _deliver_one(self) -> bool:
        """From each channel in turn, so that none starves the others."""
        channels = list(self.channels)
        for step in range(len(channels)):
            place = (self._first + step) % len(channels)
            if channels[place].deliver_one():
                self._first = place + 1
                return True
        return False

    def close_connection(self, connection: object) -> None:
        """Close the channels. Twice is fine."""
        self._avail_channels.clear()
        for channel in list(self.channels):
            channel.close()
