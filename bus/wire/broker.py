"""One connection to a broker: declare, publish a list, take a list, acknowledge.

A connection belongs to one thread (py-amqp loses messages otherwise, measured), and a process has
two: the listener's and the publisher's, because publishing on an AMQP connection that consumes runs
consumer callbacks inside the publish. The errors of the libraries below are translated here.

What a body says is none of this room's business; which queues there are is ``protocol.topology``'s.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import kombu

from bus.wire.outgoing import Undeliverable, is_final, properties_of
from bus.wire.unopened import keep_closed
from bus.wire.urls import BrokerUrl
from protocol import topology
from protocol.errors import BrokerError, BrokerUnavailable
from protocol.parcel import Parcel

logger = logging.getLogger("taskline.bus.wire.broker")

CONNECT_TIMEOUT = 4.0  # seconds for one try
HEARTBEAT = 10.0  # seconds; AMQP's, checked in every drain
CONFIRM_TIMEOUT = 10.0  # seconds in which a broker must have taken a list
PREFETCH = 500  # deliveries under way to one consumer; unset is unbounded client memory on AMQP
MOST_AT_ONCE = 500  # deliveries handed over in one list
_NO_WAIT = 0.0001  # seconds; "what is there": nought means "for ever" to kombu's virtual transports


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the broker handed over: nothing of it has been looked at."""

    message: kombu.Message

    @property
    def properties(self) -> dict[str, Any]:
        """The AMQP properties ``type``, ``reply_to``, ``correlation_id``; each may be missing."""
        properties: dict[str, Any] = self.message.properties
        return properties


class Broker:
    """A connection. One thread only; ``open`` and ``close`` may be called again and again."""

    def __init__(self, url: BrokerUrl) -> None:
        self.url = url
        self._connection: kombu.Connection | None = None
        self._channel: Any = None
        self._producer: kombu.Producer | None = None
        self._consumer: kombu.Consumer | None = None
        self._declared: set[topology.Queue | topology.Exchange] = set()
        self._arrived: list[Delivery] = []
        self._confirms: _Confirms | None = None

    def __repr__(self) -> str:
        return f"<Broker {self.url.shown} {'open' if self._connection else 'closed'}>"

    @property
    def is_open(self) -> bool:
        """Whether ``open`` was called and ``close`` was not; the line may be dead all the same."""
        return self._connection is not None

    def keep_alive(self) -> None:
        """Answer heartbeats on a connection that only publishes. Raises if it is dead."""
        if self.url.kind == "amqp" and self._connection is not None:
            try:
                self._connection.drain_events(timeout=_NO_WAIT)
            except TimeoutError:
                pass
            self._connection.heartbeat_check()

    def open(self) -> None:
        """Connect. Raises :class:`BrokerUnavailable` naming the broker and the last error."""
        self.close()
        url = self.url
        settings: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT}
        if url.transport:
            settings["transport"] = url.transport
        if url.kind == "amqp":
            settings["heartbeat"] = HEARTBEAT
        host = url.url if url.kind in ("redis", "amqp") else None
        connection = kombu.Connection(host, transport_options=dict(url.options), **settings)
        try:
            # A single try: how long to go on trying is the decision of who opens.
            connection.ensure_connection(
                max_retries=0, interval_start=0, reraise_as_library_errors=False
            )
            self._channel = connection.channel()
            keep_closed(self._channel)
        except Exception as error:
            _quietly(connection.release)
            raise BrokerUnavailable(
                f"connecting to {url.shown} failed: {type(error).__name__}: {error}; is it "
                "running, and is the URL right?"
            ) from error
        self._connection = connection

    def close(self) -> None:
        """Disconnect; what was delivered and not settled goes back to its queue. Never raises."""
        connection, self._connection = self._connection, None
        channel, self._channel = self._channel, None
        self._producer = self._consumer = self._confirms = None
        self._declared.clear()
        self._arrived = []
        if channel is not None:
            _quietly(channel.close)
        if connection is not None:
            _quietly(connection.release)

    # declaring ------------------------------------------------------------------------------------

    def declare(self, *things: topology.Queue | topology.Exchange) -> None:
        """Declare each, once per connection."""
        for thing in things:
            if thing not in self._declared:
                self._entity(thing).declare()
                self._declared.add(thing)

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
        # On Redis an expiry costs four round trips a publish, and takes waiting messages with it.
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

        AMQP: one wait for the confirms of the whole list. Redis and local: one batch. Raises
        ``Undeliverable`` for what will never be taken: before anything is sent if it names a
        parcel. After any other error nobody knows which of them arrived: whoever sends again must
        be talking to peers that expect a message twice, as all of ours do.
        """
        ready = [(parcel, properties_of(parcel)) for parcel in parcels]
        try:
            self._publish(ready)
        except Exception as error:
            if is_final(error):
                raise Undeliverable(f"{type(error).__name__}: {error}") from error
            raise

    def _publish(self, ready: Sequence[tuple[Parcel, dict[str, Any]]]) -> None:
        if self._producer is None:
            self._producer = kombu.Producer(self._open_channel(), auto_declare=False)
            if self.url.kind == "amqp":
                self._confirms = _Confirms(self._channel)
        for parcel, _ in ready:
            if parcel.address.declare is not None:
                self.declare(parcel.address.declare)
        producer = self._producer
        with producer.batch(MOST_AT_ONCE):
            for parcel, properties in ready:
                producer.publish(parcel.body, **properties)
                if self._confirms is not None:
                    self._confirms.sent += 1
        if self._confirms is not None:
            self._confirms.wait(self._connection, time.monotonic() + CONFIRM_TIMEOUT)

    # consuming ------------------------------------------------------------------------------------

    def consume(self, queues: Sequence[topology.Queue]) -> None:
        """Declare these queues and have their messages delivered to this connection from now on."""
        self.declare(*queues)
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

    def drain(self, timeout: float) -> list[Delivery]:
        """What has been delivered, waiting up to ``timeout`` seconds for the first; or nothing.

        In order per queue. Whatever an odd message does to the library below comes out of here:
        the caller drops the connection and opens another.
        """
        connection = self._connection
        if connection is None:
            raise BrokerError(f"draining from {self.url.shown}: the connection is closed")
        arrived: list[Delivery] = []
        self._arrived = arrived
        try:
            connection.drain_events(timeout=timeout)
            # On Redis each message costs a round trip of its own: there never is another at once.
            while self.url.kind != "redis" and len(arrived) < MOST_AT_ONCE:
                connection.drain_events(timeout=_NO_WAIT)
        except TimeoutError:
            pass
        if self.url.kind == "amqp":
            connection.heartbeat_check()
        return arrived

    def settle(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge these, all that the last ``drain`` returned: they have been taken over."""
        if not deliveries:
            return
        if self.url.kind == "amqp":
            deliveries[-1].message.ack(multiple=True)
            return
        for delivery in deliveries:
            delivery.message.ack()

    def _on_message(self, message: kombu.Message) -> None:
        self._arrived.append(Delivery(message))

    def _open_channel(self) -> Any:
        if self._channel is None:
            raise BrokerError(f"the connection to {self.url.shown} is closed")
        return self._channel


class _Confirms:
    """Publisher confirms of one AMQP channel, counted instead of waited for one by one.

    The broker numbers what a channel publishes 1, 2, 3 … and confirms numbers, or all up to one
    (RabbitMQ, "Publisher Confirms"). One wait per list is ten times as fast as one per message.
    """

    def __init__(self, channel: Any) -> None:
        #: Published on this channel so far.
        self.sent = 0
        self._open_below = 1  # every number below is confirmed
        self._confirmed: set[int] = set()
        self._refused = 0
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)

    def wait(self, connection: Any, deadline: float) -> None:
        """Until all that was sent is confirmed; raises BrokerError if it is refused or too late."""
        while self._open_below <= self.sent and not self._refused:
            left = deadline - time.monotonic()
            if left <= 0:
                raise BrokerError(
                    f"publishing: {self.sent - self._open_below + 1} messages were not confirmed "
                    f"within {CONFIRM_TIMEOUT:.0f} s; the broker may be out of memory or disk"
                )
            connection.drain_events(timeout=left)
        if self._refused:
            raise BrokerError(f"publishing: the broker refused {self._refused} messages")

    def _on_ack(self, delivery_tag: int, multiple: bool) -> None:
        if multiple:
            self._open_below = max(self._open_below, delivery_tag + 1)
            self._confirmed = {tag for tag in self._confirmed if tag >= self._open_below}
        else:
            self._confirmed.add(delivery_tag)
        while self._open_below in self._confirmed:
            self._confirmed.discard(self._open_below)
            self._open_below += 1

    def _on_nack(self, delivery_tag: int, multiple: bool) -> None:
        self._refused += 1


def _quietly(close: Any) -> None:
    """Call ``close``; what it raises is logged at DEBUG: the connection was broken already."""
    try:
        close()
    except Exception as error:
        logger.debug("closing a connection: %s: %s", type(error).__name__, error)
