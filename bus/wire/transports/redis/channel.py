"""kombu's Channel for Redis: what is taken, published, bound, deleted and prolonged, and the end.

Four connections, each made when it is used: for commands, for what is put into lists, for what is
taken from lists (BRPOP), for the fan-outs (SUBSCRIBE).
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from queue import Empty
from typing import Any

import kombu
from kombu.transport import redis
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads
from kombu.utils.uuid import uuid
from redis import Redis
from redis.exceptions import ConnectionError, DataError, OutOfMemoryError, ResponseError

from bus.wire import deadlines, tls
from bus.wire.transports.redis import bulk, claims, plain
from bus.wire.transports.redis.bulk import Bulk
from bus.wire.transports.redis.held import QoS
from bus.wire.transports.redis.lines import bounded, has_something
from protocol.claim import Found, Wanted
from protocol.timing import REPLY_EXPIRES

logger = logging.getLogger("taskline.bus.wire.transports.redis.channel")

#: What comes out of kombu's reading of a list's entry, or of what was published to a fan-out, that
#: is no JSON, or JSON of another shape.
_NONSENSE = (TypeError, ValueError, LookupError, AttributeError, RecursionError, DataError)


#: Most messages of fan-outs that are read before it is looked whether there is something else.
AT_ONCE = 100
#: After so many looks for more in vain it is looked for at every so manieth message only.
MOST_IN_VAIN = 3
NOW_AND_THEN = 8

#: kombu's priorities: it reads a list for each, of each queue.
_ONE_STEP = [0]


class Channel(redis.Channel):
    """One thread only, but for ``abort``."""

    QoS = QoS
    closed: bool
    _closing: bool
    _in_poll: Any
    #: The key of the list from which something came last; None: nothing did, or it is empty.
    _more_in: str | None = None
    #: Whether something of the fan-outs is left to be read.
    has_more = False
    #: Bytes of messages beyond which no more are taken in one round trip.
    most_bytes = 8 * 1024 * 1024
    #: The lists that only our own peers use, which say again what was lost.
    ours: frozenset[str] = frozenset()
    #: How often in a row nothing more was in a list from which something had come.
    _vain = 0
    #: Whether this Redis runs our scripts, as far as is known.
    _takes_in_bulk = True
    #: Whether somebody has cut the lines; there will be no others.
    is_cut = False
    #: Seconds for each answer, if the connection is to be closed; None as long as it is not.
    patience: float | None = None

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        connection.newest = self  # it connects in here, and may be told to stop
        #: Every connection made for this channel.
        self._lines: weakref.WeakSet[Any] = weakref.WeakSet()
        self._prolong_at = 0.0
        #: The socket on which messages are waited for, and its client's id in Redis.
        self._waits_at: tuple[Any, int] = (None, 0)
        self._heard_at = 0.0  # on the connection of the fan-outs
        self._asked_at: float | None = None
        super().__init__(connection, **kwargs)

    # clients and connections ----------------------------------------------------------------------

    @cached_property
    def _commands(self) -> Any:
        """The client for everything but BRPOP and SUBSCRIBE, which have their own connections."""
        return self._create_client()

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """The client given, or this channel's own."""
        yield client or self._commands

    def _create_client(self, asynchronous: bool = False) -> Any:
        client = super()._create_client(asynchronous)
        client.set_response_callback("BRPOP", self._note)
        return client

    @cached_property
    def subclient(self) -> Any:
        """The client of the fan-outs. kombu has it wait without end for the rest of a message."""
        client = self._create_client(asynchronous=True).pubsub()
        client.parse_response = partial(
            client.parse_response, block=False, timeout=deadlines.SILENCE
        )
        return client

    def _connparams(self, asynchronous: bool = False) -> Any:
        parameters = super()._connparams(asynchronous)
        encryption = self.connection.client.transport_options.get(tls.OPTION)
        parameters["connection_class"] = bounded(parameters["connection_class"], self, encryption)
        return parameters

    def add(self, line: Any) -> None:
        """One more connection of this channel's."""
        self._lines.add(line)
        if self.patience is not None:
            line.socket_connect_timeout = deadlines.CLOSING

    def abort(self) -> None:
        """Cut all lines. Any thread."""
        self.is_cut = True
        for line in list(self._lines):
            with contextlib.suppress(OSError, AttributeError):
                tls.cut(line._sock)  # noqa: SLF001

    def keep_alive(self) -> None:
        """Have Redis say a word. Raises if it does not."""
        if "_writer" in self.__dict__:
            self._writer.send_command("PING")
            self._writer.read_response()
        else:
            self._commands.ping()

    @cached_property
    def longest(self) -> float:
        """Bytes of the longest value that Redis takes; infinite if it does not say.

        At a longer one it cuts the line in the midst of it, and says no word that would arrive.
        """
        try:
            said = self._commands.config_get("proto-max-bulk-len")
            return float(said["proto-max-bulk-len"])
        except (ResponseError, LookupError, ValueError):  # not allowed, or not known
            return math.inf

    # taking ---------------------------------------------------------------------------------------

    def own(self, queues: Iterable[str]) -> None:
        """These lists are used by our own peers only; before they are consumed."""
        self.ours = frozenset(queues)

    def _brpop_start(self, timeout: float | None = None) -> None:
        if self.ours.issuperset(self.active_queues):
            self.priority_steps = _ONE_STEP  # nobody puts anything into the lists of the others
        self._note_line()
        super()._brpop_start(timeout)

    def check_answers(self) -> None:
        """Raise if Redis owes us an answer for too long. Called before each look for messages."""
        now = time.monotonic()
        line = self._in_poll
        if line and self._brpop_sent_at is not None:
            waited = now - self._brpop_sent_at - self.brpop_timeout
            if waited > deadlines.SILENCE and not has_something(line):
                raise ConnectionError(f"Redis did not end a wait for messages {waited:.0f} s ago")
        line = self._in_listen
        if not line or not self.active_fanout_queues:
            return
        if self._asked_at is None:
            if now - self._heard_at > deadlines.QUIET:
                self.subclient.health_check_response_counter += 1  # so that its answer is known
                line.send_command("PING", self.subclient.HEALTH_CHECK_MESSAGE, check_health=False)
                self._asked_at = now
        elif now - self._asked_at > deadlines.SILENCE and not has_something(line):
            raise ConnectionError(f"Redis did not answer a PING {now - self._asked_at:.0f} s ago")

    def _subscribe(self) -> None:
        super()._subscribe()
        self._heard_at, self._asked_at = time.monotonic(), None

    def _note_line(self) -> None:
        """Learn what Redis calls the connection on which messages are waited for."""
        line = self.client.connection
        if line._sock is not self._waits_at[0]:  # noqa: SLF001
            line.send_command("CLIENT", "ID")
            try:
                number = int(line.read_response())
            except ResponseError:  # not allowed: then closing takes as long as the wait
                number = 0
            self._waits_at = line._sock, number  # noqa: SLF001

    def _note(self, reply: Any, **_: Any) -> Any:
        """redis-py's own callback for it, but that it is remembered where anything came from."""
        self._more_in = self.qos.raw = None
        if not reply:
            return None
        self._more_in = bytes_to_str(reply[0]).removeprefix(self.global_keyprefix)
        queue = self._more_in.rsplit(self.sep, 1)[0]
        if queue in self.ours:
            self.qos.raw = queue, reply[1]
        return tuple(reply)

    def _brpop_read(self, **options: Any) -> Any:
        self._note(None)
        try:
            return super()._brpop_read(**options)
        except _NONSENSE as error:
            if self._more_in is None:  # then it is the connection's
                raise
            self.qos.raw = None
            return self._deliver_nonsense(error)

    @cached_property
    def _bulk(self) -> Bulk:
        return Bulk(self._plain, self.global_keyprefix, self.unacked_key, self.unacked_index_key)

    def take_more(self) -> bool:
        """What else is in the list from which something came last; whether that was anything.

        After the one that came has been handed over, so that a message that is alone waits for no
        second look. Where they are always alone, it is looked for more now and then only.
        """
        key, self._more_in = self._more_in, None
        if self._vain >= MOST_IN_VAIN and self._vain % NOW_AND_THEN:
            self._vain += key is not None
            return False
        room = self.qos.can_consume_max_estimate()
        most = bulk.MOST if room is None else min(room, bulk.MOST)
        if key is None or not most or self._in_poll or not self._takes_in_bulk:
            return False
        queue = key.rsplit(self.sep, 1)[0]
        if queue not in self.active_queues:
            return False
        try:
            found = self._bulk.take(key, queue, most, self.most_bytes)
        except ResponseError as error:  # scripts are not allowed, or it is a replica now
            self._takes_in_bulk = False
            logger.debug("taking one by one from now on: %s", error)
            return False
        for tag, raw in found:
            self._deliver_noted(queue, tag, raw)
        self._vain = 0 if found else self._vain + 1
        if found:
            self._more_in = key
        return bool(found)

    def _deliver_noted(self, queue: str, tag: str, raw: bytes) -> None:
        with self.qos.noted():
            try:
                message = loads(bytes_to_str(raw))
                message["properties"]["delivery_tag"] = tag
                self.connection._deliver(message, queue)  # noqa: SLF001 - as kombu does
            except _NONSENSE as error:
                self.qos.drop_notes([tag])
                self._deliver_nonsense(error)

    def _receive(self) -> bool:
        """What has come from the fan-outs, ``AT_ONCE`` of it; whether that was anything.

        kombu reads on for as long as there is something: who can publish faster than we read would
        have it never return, and keep all of it.
        """
        line, found = self.subclient, False
        self.has_more = False
        for _ in range(AT_ONCE):
            with contextlib.suppress(Empty):
                found |= bool(self._receive_one(line))
            if line.connection is None or not line.connection.can_read(timeout=0):
                return found
        self.has_more = True  # perhaps in redis-py's own buffer, of which no poll would tell
        return found

    def _receive_one(self, c: Any) -> Any:
        self._heard_at, self._asked_at = time.monotonic(), None
        try:
            return super()._receive_one(c)
        except _NONSENSE as error:
            return self._deliver_nonsense(error)

    def give_back(self, queue: str, raw: bytes) -> None:
        """Put this where it was taken from, as the next to be taken."""
        with self.conn_or_acquire() as client, client.pipeline(transaction=False) as commands:
            commands.rpush(queue, raw)
            commands.pexpire(queue, int(REPLY_EXPIRES * 1000))
            commands.execute()

    def settle(self, messages: Sequence[Any]) -> None:
        """Acknowledge these, in one round trip."""
        self.qos.ack_all([message.delivery_tag for message in messages])

    def _deliver_nonsense(self, error: Exception) -> bool:
        """In the place of what could not be read, which was never among what is held."""
        queue = next(iter(self.active_queues or self.active_fanout_queues), None)
        if queue is None:
            raise error
        delivery = {"exchange": "", "routing_key": queue}
        properties = {"delivery_tag": uuid(), "delivery_info": delivery, "priority": 0}
        message = {"body": "", "headers": {}, "properties": properties}
        self.connection._deliver(message, queue)  # noqa: SLF001 - kombu's way from one to the other
        return True

    # what is where --------------------------------------------------------------------------------

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        if self.typeof(exchange).type == "fanout":
            # A subscription is all it takes. kombu also keeps a set of all that ever subscribed,
            # which nobody reads, and from which who is killed is never removed.
            self._fanout_queues[queue] = exchange, routing_key.replace("#", "*")
            return
        try:
            super()._queue_bind(exchange, routing_key, pattern, queue)
        except OutOfMemoryError as error:  # to consume is what makes room
            logger.debug("binding %s: %s; it may be bound already, and will be", queue, error)

    def _size(self, queue: str) -> int:
        with self.conn_or_acquire() as client, client.pipeline(transaction=False) as commands:
            for step in self.priority_steps:
                commands.llen(self._q_for_pri(queue, step))
            return sum(commands.execute())

    def _lookup(self, exchange: str, routing_key: str, default: str | None = None) -> list[str]:
        found: list[str] = [*super()._lookup(exchange, routing_key, default)]
        if found or not exchange:
            return found
        # Nobody is bound, but we have bound somebody ourselves: it has been deleted.
        for key in list(self.state.bindings):
            if (key.exchange, key.routing_key) == (exchange, routing_key):
                self._bind_again(exchange, routing_key, key.queue)
                found.append(key.queue)
        return found

    def _bind_again(self, exchange: str, routing_key: str, queue: str) -> None:
        # Not queue_bind: that does nothing for what this process knows to be bound.
        self._queue_bind(
            exchange, *self.typeof(exchange).prepare_bind(queue, exchange, routing_key, None)
        )

    def refresh(self, queues: Sequence[kombu.Queue]) -> None:
        """Bind these again. A list is there when something is in it."""
        for queue in queues:
            if queue.exchange.type == "direct" and queue.exchange.name:
                self._bind_again(queue.exchange.name, queue.routing_key, queue.name)

    def prolong(self, lifetimes: Mapping[str, float]) -> None:
        """These lists have a reader: let them live so many seconds more. A round trip a minute."""
        now = time.monotonic()
        if now >= self._prolong_at and lifetimes:
            self._prolong_at = now + deadlines.LIFETIME_REFRESH
            with self._commands.pipeline(transaction=False) as commands:
                for name, seconds in lifetimes.items():
                    commands.pexpire(name, int(seconds * 1000))
                commands.execute()

    def queue_delete(
        self, queue: str, if_unused: bool = False, if_empty: bool = False, **kwargs: Any
    ) -> None:
        """Delete it with what is in it; kombu leaves a list alone that is bound to no exchange."""
        if if_empty and self._size(queue):
            return
        super().queue_delete(queue, if_unused, **kwargs)
        self._purge(queue)

    #: What stands in a list for a body and what is said beside it.
    entry = staticmethod(plain.entry)

    @cached_property
    def _writer(self) -> Any:
        """The connection for what is pushed into lists."""
        return self._commands.connection_pool.get_connection()

    def push(self, lists: Mapping[str, Sequence[bytes]], lifetimes: Mapping[str, float]) -> None:
        """Put these entries (``plain``) into these lists, which then live for so many seconds."""
        plain.push(self._writer, self.global_keyprefix, lists, lifetimes)

    def _do_restore_message(
        self, payload: Any, exchange: str, routing_key: str, pipe: Any, leftmost: bool = False
    ) -> None:
        super()._do_restore_message(payload, exchange, routing_key, pipe, leftmost)
        # Where it goes is where it was taken from; how it was sent says whose queue that is.
        sent_by = payload.get("properties", {}).get("delivery_info", {}).get("exchange", exchange)
        if not sent_by and routing_key:  # native; perhaps its reader was what was killed
            pipe.pexpire(routing_key, int(REPLY_EXPIRES * 1000))

    # claims ---------------------------------------------------------------------------------------

    @cached_property
    def _plain(self) -> Any:
        """A client that adds no prefix: kombu's adds it for the commands that kombu uses."""
        return Redis(connection_pool=self._commands.connection_pool)

    def claim(self, wanted: Sequence[Wanted]) -> list[Found | None]:
        """Claim each name, if it is free; what is there now. One round trip."""
        return claims.claim(self._plain, self.global_keyprefix, wanted)

    def release(self, name: str, value: str) -> None:
        """Take this claim back, if it is still there."""
        claims.release(self._plain, self.global_keyprefix, name, value)

    # the end --------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give back what is held, and close; what cannot be given back in time comes back later."""
        if not self.closed and not self._closing:
            self._closing = True
            try:
                self._say_goodbye()
            except Exception as error:
                logger.debug("closing: %s: %s", type(error).__name__, error)
            finally:
                self._in_poll = None  # kombu would wait for it,
                if self._qos is not None:  # and would try again to give these back
                    self._qos._delivered.clear()  # noqa: SLF001
        super().close()

    def hurry(self) -> None:
        """From now on, wait for no answer longer than a moment."""
        self.patience = deadlines.CLOSING
        for line in list(self._lines):
            line.socket_connect_timeout = deadlines.CLOSING

    def _say_goodbye(self) -> None:
        if self.is_cut:
            return
        self.hurry()
        if self._in_poll:
            if self._waits_at[1]:
                self._commands.client_unblock(self._waits_at[1])
            else:  # it ends by itself
                self.patience = self.brpop_timeout + deadlines.CLOSING
            reply = self.client.parse_response(self.client.connection, "BRPOP")
            if reply:  # a message had been on its way already
                key, raw = reply
                self._commands.rpush(bytes_to_str(key), raw)
        if self._qos is not None:
            self._qos.restore_unacked()
