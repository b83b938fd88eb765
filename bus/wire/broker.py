"""One connection to a broker: declare, publish a list, take a list, acknowledge.

A connection belongs to one thread (py-amqp loses messages otherwise, measured), and a process has
two: the listener's and the publisher's, because publishing on an AMQP connection that consumes runs
consumer callbacks inside the publish. Other threads may only ``abort`` it. The errors of the
libraries below are translated here where somebody asks for their kind.

No call waits without an end (``deadlines``). What somebody deletes behind our back is declared
again: what is consumed, by ``refresh``; what is published to, when a message finds it gone.

What a body says is none of this room's business; which queues there are is ``protocol.topology``'s.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import kombu

from bus.wire import deadlines
from bus.wire.confirms import Confirms
from bus.wire.guard import Guard
from bus.wire.outgoing import Undeliverable, is_final, is_unroutable, properties_of
from bus.wire.unopened import keep_closed
from bus.wire.unreached import unreached
from bus.wire.urls import BrokerUrl
from protocol import topology
from protocol.claim import Found, Wanted
from protocol.envelope import MAX_HEADER
from protocol.errors import BrokerError
from protocol.parcel import Parcel

logger = logging.getLogger("taskline.bus.wire.broker")

PREFETCH = 500  # deliveries under way to one consumer; unset is unbounded client memory on AMQP
MOST_AT_ONCE = 500  # deliveries handed over in one list
MOST_BYTES_AT_ONCE = 8 * 1024 * 1024  # of their bodies; at least one delivery
#: Bytes: the least that ``proto-max-bulk-len`` can be, and what a message has on Redis besides its
#: body and our header, at most.
_SURELY_TAKEN = 1024 * 1024
_AROUND = 4096
_NO_WAIT = 0.0001  # seconds; "what is there": nought means "for ever" to kombu's virtual transports


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the broker handed over: nothing of it has been looked at."""

    message: kombu.Message
    #: Which of its connection's lives it came in; it can be acknowledged in that one only.
    epoch: int = 0

    @property
    def properties(self) -> dict[str, Any]:
        """The AMQP properties ``type``, ``reply_to``, ``correlation_id``; each may be missing."""
        properties: dict[str, Any] = self.message.properties
        return properties

    @property
    def size(self) -> int:
        """Bytes of its body, near enough."""
        body = self.message.body
        return len(body) if isinstance(body, (str, bytes, bytearray, memoryview)) else 0


class Broker:
    """A connection. One thread only; ``open`` and ``close`` may be called again and again."""

    def __init__(
        self,
        url: BrokerUrl,
        *,
        on_wait: Callable[[bool], None] | None = None,
        guard: Guard | None = None,
    ) -> None:
        """``on_wait`` is called again and again in the midst of a publish that takes long.

        With whether the broker has said that it takes nothing at present. ``guard`` signs what is
        published, each time that it is.
        """
        self.url = url
        self._guard = guard
        self._on_wait = on_wait or _nothing
        #: How many deliveries were not acknowledged because their connection was gone.
        self.stale = 0
        self._epoch = 0
        #: Open, or being opened; set before it is, for ``abort``.
        self._line: kombu.Connection | None = None
        self._connection: kombu.Connection | None = None
        self._channel: Any = None
        self._producer: kombu.Producer | None = None
        self._consumer: kombu.Consumer | None = None
        self._consumed: tuple[topology.Queue, ...] = ()
        self._declared: set[topology.Queue | topology.Exchange] = set()
        self._arrived: list[Delivery] = []
        self._arrived_bytes = 0
        self._confirms: Confirms | None = None

    def __repr__(self) -> str:
        return f"<Broker {self.url.shown} {'open' if self._connection else 'closed'}>"

    @property
    def is_open(self) -> bool:
        """Whether ``open`` was called and ``close`` was not; the line may be dead all the same."""
        return self._connection is not None

    def open(self) -> None:
        """Connect. Raises :class:`BrokerUnavailable` naming the broker and the last error."""
        self.close()
        url = self.url
        settings: dict[str, Any] = {"connect_timeout": deadlines.CONNECT_TIMEOUT}
        if url.transport:
            settings["transport"] = url.transport
        if url.kind == "amqp":
            settings["heartbeat"] = deadlines.HEARTBEAT
        options = dict(url.options)
        connection = kombu.Connection(url.address, transport_options=options, **settings)
        self._line = connection
        try:
            # A single try: how long to go on trying is the decision of who opens.
            connection.ensure_connection(
                max_retries=0, interval_start=0, reraise_as_library_errors=False
            )
            self._channel = connection.channel()
            keep_closed(self._channel)
            if url.kind == "redis":
                self._channel.most_bytes = MOST_BYTES_AT_ONCE
        except Exception as error:
            _quietly(connection.release)
            raise unreached(error, url) from error
        self._epoch += 1
        self._connection = connection

    def close(self) -> None:
        """Disconnect; what was delivered and not settled goes back to its queue. Never raises.

        Takes a moment (``deadlines.CLOSING``) if the broker does not answer: what cannot be given
        back then, it gives back by itself.
        """
        line, self._line = self._line, None
        self._connection = self._channel = None
        self._producer = self._consumer = self._confirms = None
        self._consumed = ()
        self._declared.clear()
        self._arrived = []
        self._arrived_bytes = 0
        if line is not None:
            _quietly(line.release)

    def abort(self) -> None:
        """Cut the line: who is in a call of this connection comes back from it. Any thread."""
        line = self._line
        if line is not None and self.url.kind in ("amqp", "redis"):
            _quietly(line.transport.abort)

    def hurry(self) -> None:
        """Wait for no answer longer than a moment from now on: this connection is to be closed."""
        if self._line is not None and self.url.kind in ("amqp", "redis"):
            self._line.transport.hurry()

    def keep_alive(self) -> None:
        """See that the connection lives while nothing is sent or taken. Raises if it does not.

        What is delivered meanwhile, as far as the broker goes without acknowledgements, is kept for
        the next ``drain``.
        """
        if self._connection is None:
            return
        if self.url.kind == "amqp":
            self._take(self._connection, _NO_WAIT)
            self._connection.heartbeat_check()
        elif self.url.kind == "redis":
            self._channel.keep_alive()

    # declaring ------------------------------------------------------------------------------------

    def declare(self, *things: topology.Queue | topology.Exchange) -> None:
        """Declare each, once per connection."""
        for thing in things:
            if thing not in self._declared:
                self._entity(thing).declare()
                self._declared.add(thing)

    def refresh(self) -> None:
        """Declare again what is consumed, if somebody has deleted it. Cheap; every few seconds.

        Raises where to open and to consume again is what helps.
        """
        self._open_channel().refresh([self._entity(queue) for queue in self._consumed])
        if self.url.kind == "redis":
            self._channel.prolong(
                {queue.name: queue.expires for queue in self._consumed if _is_list(queue)}
            )

    def delete(self, queue: topology.Queue) -> None:
        """Delete a queue and its binding, with what is in it; this connection consumes no more."""
        if self._consumer is not None:
            self._consumer.cancel()  # else RabbitMQ tells us of the deletion by an exception
            self._consumer = None
        self._declared.discard(queue)
        self._entity(queue).delete()

    def _entity(self, thing: topology.Queue | topology.Exchange) -> Any:
        if isinstance(thing, topology.Exchange):
            exchange = kombu.Exchange(
                thing.name, thing.type, durable=thing.durable, auto_delete=thing.auto_delete
            )
            return exchange.bind(self._open_channel())
        # On Redis kombu's expiry costs four commands a message: the transport has its own.
        expires = None if self.url.kind == "redis" else thing.expires
        queue = kombu.Queue(
            thing.name,
            exchange=self._entity(thing.exchange) if thing.exchange else kombu.Exchange(""),
            routing_key=thing.routing_key,
            durable=thing.durable,
            auto_delete=thing.auto_delete,
            expires=expires,
        )
        return queue.bind(self._open_channel())

    # publishing -----------------------------------------------------------------------------------

    def publish(self, parcels: Sequence[Parcel]) -> None:
        """Publish a list, in order; returns when the broker has taken all of it.

        AMQP: one wait for the confirms of the whole list. Redis and local: one batch. What finds
        its queue gone that we declare for it is published again, into a new one.

        Raises ``Undeliverable`` for what will never be taken: before anything is sent if it names a
        parcel. After any other ``BrokerError`` (it is away, its disk or memory is full) nobody
        knows which of them arrived, but for the beginning that ``NotTaken`` tells of: whoever sends
        again must be talking to peers that expect a message twice, as all of ours do.
        """
        ready = [(parcel, properties_of(parcel, self._guard)) for parcel in parcels]
        try:
            if self.url.kind == "redis":
                ready = self._push(ready)
            if ready:
                self._publish(ready)
        except BrokerError:
            raise
        except Exception as error:
            if is_final(error):
                raise Undeliverable(_words(error)) from error
            raise BrokerError(f"publishing to {self.url.shown}: {_words(error)}") from error

    def _push(
        self, ready: Sequence[tuple[Parcel, dict[str, Any]]]
    ) -> list[tuple[Parcel, dict[str, Any]]]:
        """Redis: put into their lists what goes there by name; what of it has to be routed."""
        channel = self._open_channel()
        lists: dict[str, list[bytes]] = {}
        lifetimes: dict[str, float] = {}
        routed = []
        for parcel, said in ready:
            address = parcel.address
            if address.exchange:
                # kombu: base64, in a text of JSON
                self._demand_room(parcel, len(parcel.body) * 4 // 3 + MAX_HEADER + _AROUND)
                routed.append((parcel, said))
                continue
            written = channel.entry(parcel.body, said)
            self._demand_room(parcel, len(written))
            if address.declare is not None:
                self.declare(address.declare)
            lists.setdefault(address.routing_key, []).append(written)
            if address.expires is not None:
                lifetimes[address.routing_key] = address.expires
        if lists:
            channel.push(lists, lifetimes)
        return routed

    def _demand_room(self, parcel: Parcel, size: int) -> None:
        """Raise ``Undeliverable`` for what is longer than this Redis may be told to take."""
        if size > _SURELY_TAKEN and size > (longest := self._open_channel().longest):
            raise Undeliverable(
                f"as it is sent it is {size:,} bytes, and proto-max-bulk-len is {longest:,.0f}",
                parcel,
            )

    def _publish(self, ready: Sequence[tuple[Parcel, dict[str, Any]]]) -> None:
        lost = self._publish_once(ready)
        if not lost:
            return
        again = [
            each
            for each in ready
            if (each[0].address.exchange, each[0].address.routing_key) in lost
        ]
        for parcel, _ in again:
            if parcel.address.declare is not None:
                self._declared.discard(parcel.address.declare)
        lost = self._publish_once(again)
        if lost:
            raise BrokerError(f"publishing: there is no queue for {sorted(lost)}, declared or not")

    def _publish_once(self, ready: Sequence[tuple[Parcel, dict[str, Any]]]) -> set[tuple[str, str]]:
        """Publish these; the (exchange, routing key) of those that no queue got."""
        if self.url.kind == "amqp" and self._confirms is None:
            self._confirms = Confirms(self._open_channel())
        if self.url.kind == "memory":
            self._declared.clear()  # it does not say that something is gone, and declares at once
        for parcel, _ in ready:
            if parcel.address.declare is not None:
                self.declare(parcel.address.declare)
        if self.url.kind in ("amqp", "local", "memory"):
            return self._publish_list(ready)
        if self._producer is None:
            self._producer = kombu.Producer(self._open_channel(), auto_declare=False)
        with self._producer.batch(MOST_AT_ONCE):
            for parcel, properties in ready:
                self._producer.publish(parcel.body, **properties)
        return set()

    def _publish_list(self, ready: Sequence[tuple[Parcel, dict[str, Any]]]) -> set[tuple[str, str]]:
        """The same where the transport takes lists, and says what no queue got."""
        confirms = self._confirms
        already = confirms.sent if confirms is not None else 0
        try:
            self._open_channel().publish_list(
                [
                    # A fan-out to nobody is no loss, and what its reader declares is its reader's.
                    (parcel.body, properties, isinstance(parcel.address.declare, topology.Queue))
                    for parcel, properties in ready
                ]
            )
        except Exception as error:
            if not is_unroutable(error):
                raise
            return {(parcel.address.exchange, parcel.address.routing_key) for parcel, _ in ready}
        if confirms is None:
            return set()
        confirms.sent += len(ready)
        return confirms.wait(self._connection, already, self._on_wait)

    # claiming -------------------------------------------------------------------------------------

    def claim(self, wanted: Sequence[Wanted]) -> list[Found | None]:
        """Make these claims where the names are free; what is under each name now.

        None: it was another's, and is free again already. Only where ``claims.demand_place`` found
        that there can be any. After an error nobody knows which of them were made.
        """
        found: list[Found | None] = self._open_channel().claim(wanted)
        return found

    def release(self, name: str, value: str) -> None:
        """Take back this claim, if the name still has this value."""
        self._open_channel().release(name, value)

    # consuming ------------------------------------------------------------------------------------

    def consume(self, queues: Sequence[topology.Queue]) -> None:
        """Declare these queues and have their messages delivered to this connection from now on."""
        self.declare(*queues)
        if self.url.kind == "redis":
            self._channel.own(each.name for each in queues if each.exchange is None)
        self._consumer = kombu.Consumer(
            self._open_channel(),
            queues=[self._entity(queue) for queue in queues],
            on_message=self._on_message,
            # What the library cannot read is delivered as well: raised out of a drain, it would end
            # the connection, go back to the front of its queue, and end the next one.
            on_decode_error=lambda message, _: self._on_message(message),
            auto_declare=False,
            prefetch_count=PREFETCH,
        )
        self._consumer.consume()
        self._consumed = tuple(queues)
        if self._connection is not None and self.url.kind == "redis":
            # It subscribes to fan-outs when it first waits for messages.
            self._take(self._connection, _NO_WAIT)

    def drain(self, timeout: float) -> list[Delivery]:
        """What has been delivered, waiting up to ``timeout`` seconds for the first; or nothing.

        In order per queue. Whatever an odd message does to the library below comes out of here:
        the caller drops the connection and opens another.
        """
        connection = self._connection
        if connection is None:
            raise BrokerError(f"draining from {self.url.shown}: the connection is closed")
        self._take(connection, _NO_WAIT if self._arrived else timeout)
        if self.url.kind == "amqp":
            connection.heartbeat_check()
        arrived, self._arrived = self._arrived, []
        self._arrived_bytes = 0
        return arrived

    def _take(self, connection: kombu.Connection, timeout: float) -> None:
        try:
            connection.drain_events(timeout=timeout)
            if self.url.kind == "redis":  # one call brings all that one round trip does
                return
            if self.url.kind == "filesystem":  # it cannot tell whether there is more but by looking
                while self._has_room():
                    connection.drain_events(timeout=_NO_WAIT)
                return
            transport = connection.transport
            while self._has_room() and transport.has_more:
                connection.drain_events(timeout=_NO_WAIT)
        except TimeoutError:
            pass

    def settle(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge these, all that the last ``drain`` returned: they have been taken over.

        Not if the connection they came by has been closed: there they have gone back to their
        queues, and on the present one their numbers stand for others, or for none, which AMQP
        answers by closing the channel.
        """
        if not deliveries:
            return
        if deliveries[-1].epoch != self._epoch or self._connection is None:
            self.stale += len(deliveries)
            return
        if self.url.kind == "amqp":
            deliveries[-1].message.ack(multiple=True)
            return
        if self.url.kind == "redis":
            self._open_channel().settle([delivery.message for delivery in deliveries])
            return
        for delivery in deliveries:
            delivery.message.ack()

    def _has_room(self) -> bool:
        """Whether more is taken at once: the rest waits in the broker, or in its socket."""
        return len(self._arrived) < MOST_AT_ONCE and self._arrived_bytes < MOST_BYTES_AT_ONCE

    def _on_message(self, message: kombu.Message) -> None:
        delivery = Delivery(message, self._epoch)
        self._arrived.append(delivery)
        self._arrived_bytes += delivery.size

    def _open_channel(self) -> Any:
        if self._channel is None:
            raise BrokerError(f"the connection to {self.url.shown} is closed")
        return self._channel


def _nothing(is_blocked: bool) -> None:
    """Nobody wants to know."""


def _is_list(queue: topology.Queue) -> bool:
    """Whether it is a list on Redis that ends when nobody reads it; a fan-out is none."""
    return queue.expires is not None and queue.exchange is None


def _words(error: BaseException) -> str:
    """What happened, and what was behind it: kombu's own words are seldom the interesting ones."""
    said = f"{type(error).__name__}: {error}"
    return f"{said} ({_words(error.__cause__)})" if error.__cause__ is not None else said


def _quietly(close: Any) -> None:
    """Call ``close``; what it raises is logged at DEBUG: the connection was broken already."""
    try:
        close()
    except Exception as error:
        logger.debug("closing a connection: %s: %s", type(error).__name__, error)
