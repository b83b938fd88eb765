"""Names and flags of exchanges and queues, which both sides must declare alike.

Two dialects that share no name, so that one process may speak both on any broker:

* ``taskflow``: exchange ``E`` (direct, transient, auto-delete); a queue ``E_key`` bound to it with
  that key for each topic and each executor, transient and auto-delete. Exactly taskflow's
  ``worker_based/proxy.py``; other flags would be a 406 on AMQP.
* ``native``: everything under ``E.native``. Durable queues, written to through the default
  exchange, so that no binding can be lost: ``E.native_topic`` for discovery,
  ``E.native_topic.boot`` the inbox of one worker process, ``E.native_ex`` the replies of one
  executor. Two fan-outs, ``E.native.call`` (executors ask) and ``E.native.hello`` (workers say that
  they are there); each process hears one of them on a queue of its own, because a queue of Redis'
  that is bound to a fan-out hears nothing else.

Native queues that nobody reads any more are given an expiry, where the broker has one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal

from protocol.errors import ConfigurationError
from protocol.timing import INBOX_EXPIRES, REPLY_EXPIRES

Dialect = Literal["native", "taskflow"]
DIALECTS: Final[tuple[Dialect, ...]] = ("native", "taskflow")

#: What the names of the native dialect have beyond the user's exchange.
_SUFFIX: Final = ".native"

DEFAULT_EXCHANGE: Final = "taskline"
DEFAULT_TOPIC: Final = "default"

#: What exchanges, topics and native names may be made of: safe as an AMQP short string, as a Redis
#: key and as a file name on every broker.
_SAFE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LONGEST: Final = 64  # characters, of the same


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exchange to declare."""

    name: str
    type: Literal["direct", "fanout"]
    durable: bool
    auto_delete: bool


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue to declare, bound to ``exchange`` with ``routing_key`` if there is one."""

    name: str
    #: None: reached through the default exchange, by its name.
    exchange: Exchange | None
    routing_key: str
    durable: bool
    auto_delete: bool
    #: Seconds without a reader after which the broker may delete it; None: never.
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """Where to publish: an exchange's name, a routing key, and what must be declared first."""

    exchange: str
    routing_key: str
    #: Declared once per connection by whoever publishes here; None: its reader has declared it.
    declare: Queue | Exchange | None = None
    #: Seconds that what is published here is kept when nobody reads it; None: for ever.
    expires: float | None = field(default=None, compare=False)
    #: Whether who reads here has announced that he reads several messages as one (``batch``).
    takes_batches: bool = False


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one dialect under one exchange."""

    dialect: Dialect
    #: As the user wrote it, without our suffix.
    exchange: str

    def __post_init__(self) -> None:
        check_name("exchange", self.exchange)
        if self.exchange.endswith(_SUFFIX):
            raise ConfigurationError(
                f"exchange {self.exchange!r} ends in {_SUFFIX}, which names the native dialect's "
                "own queues; leave that out"
            )
        if self.dialect not in DIALECTS:
            raise ConfigurationError(
                f"dialect {self.dialect!r} is not spoken here; choose one of {', '.join(DIALECTS)}"
            )

    @property
    def is_native(self) -> bool:
        """Whether this is our own dialect."""
        return self.dialect == "native"

    # queues that their readers consume ------------------------------------------------------

    def topic(self, topic: str) -> Queue:
        """The queue all workers of a topic share: taskflow's. Native ones have an inbox each."""
        return self._queue(topic, expires=None)

    def replies(self, key: str) -> Queue:
        """The queue of one executor; ``key`` is what its messages carry as reply_to."""
        return self._queue(key, expires=REPLY_EXPIRES)

    def inbox(self, key: str) -> Queue:
        """Native only: the queue of one worker process; ``key`` is what it announced as inbox."""
        return self._queue(key, expires=INBOX_EXPIRES)

    def call_queue(self, inbox_key: str) -> Queue:
        """Native only: on which one worker process hears executors ask everybody."""
        return self._fan_queue(f"{inbox_key}.call", self.call)

    def hello_queue(self, reply_key: str) -> Queue:
        """Native only: on which one executor hears workers say that they are there."""
        return self._fan_queue(f"{reply_key}.hello", self.hello)

    # exchanges --------------------------------------------------------------------------------

    @property
    def call(self) -> Exchange:
        """Native only: executors ask every worker."""
        return self._fan_out("call")

    @property
    def hello(self) -> Exchange:
        """Native only: workers tell every executor."""
        return self._fan_out("hello")

    # where to publish ---------------------------------------------------------------------------

    def to_topic(self, topic: str) -> Address:
        """To whichever worker of the topic reads first.

        Declared by the publisher as well, so that what is sent before any worker exists is kept (as
        taskflow does).
        """
        return self._address(self.topic(topic), True)

    def to_replies(self, key: str, *, takes_batches: bool = False) -> Address:
        """To one executor."""
        return self._address(self.replies(key), not self.is_native, takes_batches)

    def to_inbox(self, key: str, *, takes_batches: bool = False) -> Address:
        """Native only: to one worker process."""
        return self._address(self.inbox(key), False, takes_batches)

    def to_everybody(self, exchange: Exchange) -> Address:
        """Native only: to all who hear this fan-out now."""
        return Address(exchange.name, "", exchange)

    # ---------------------------------------------------------------------------------------------

    @property
    def _root(self) -> str:
        return f"{self.exchange}{_SUFFIX}" if self.is_native else self.exchange

    def _queue(self, key: str, expires: float | None) -> Queue:
        name = f"{self._root}_{key}"
        if self.is_native:
            return Queue(name, None, name, durable=True, auto_delete=False, expires=expires)
        direct = Exchange(self.exchange, "direct", durable=False, auto_delete=True)
        return Queue(name, direct, key, durable=False, auto_delete=True)

    def _fan_out(self, word: str) -> Exchange:
        return Exchange(f"{self._root}.{word}", "fanout", durable=True, auto_delete=False)

    def _fan_queue(self, key: str, exchange: Exchange) -> Queue:
        name = f"{self._root}_{key}"
        return Queue(name, exchange, "", durable=True, auto_delete=False, expires=INBOX_EXPIRES)

    def _address(self, queue: Queue, declares: bool, takes_batches: bool = False) -> Address:
        exchange = queue.exchange.name if queue.exchange else ""
        declared = queue if declares else None
        return Address(exchange, queue.routing_key, declared, queue.expires, takes_batches)


def inbox_key(topic: str, boot: str) -> str:
    """The routing key of a worker process' inbox; a worker of several topics uses its first."""
    return f"{topic}.{boot}"


def check_name(what: str, name: object) -> str:
    """``name`` itself if it can name an exchange, topic, worker or executor on every broker.

    Raises ``ConfigurationError`` otherwise.
    """
    if isinstance(name, str) and _SAFE.fullmatch(name):
        return name
    raise ConfigurationError(
        f"{what} {name!r} cannot be used as a name: take 1 to 64 of A-Z a-z 0-9 . _ -"
    )


def identity_of(name: str, chance: str) -> str:
    """What workers know an executor by, and its replies are called: its name, and ``chance``.

    Who has drawn that is nobody else, whatever others are called. To a worker two of one identity
    would be one: requests of the second would be old ones of the first, or the other way round, and
    each would take the other's answers. The end of a name that leaves no room for it is left out.
    """
    return f"{name[: _LONGEST - 1 - len(chance)]}.{chance}"


def is_addressable(key: object) -> bool:
    """Whether a peer's inbox can be the key of a queue of ours."""
    return isinstance(key, str) and 0 < len(key) <= 128 and _KEY.fullmatch(key) is not None


def takes_replies(key: object) -> bool:
    """Whether a peer's reply_to can be an executor's: only there may a stranger steer our answers.

    taskflow's executors use uuids, ours their names. What can be the key of a worker's inbox, or of
    a queue on which a fan-out is heard, is never one. (In taskflow's dialect a topic can be: that
    is for the worker to know, which reads it.)
    """
    return is_addressable(key) and _OTHERS.fullmatch(str(key)) is None


_KEY: Final = re.compile(r"[A-Za-z0-9._-]+")
#: The keys of ``inbox``, ``call_queue`` and ``hello_queue``.
_OTHERS: Final = re.compile(r".*\.([0-9a-f]{16}|call|hello)")
