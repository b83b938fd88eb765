"""What travels beside a body: the kind, where to answer, which request, and our own header.

taskflow puts the kind into the AMQP property ``type``, the answer's routing key into ``reply_to``
and the request's uuid into ``correlation_id`` (taskflow ``worker_based/proxy.py``,
``dispatcher.py``). Native peers add one header, ``x-taskline``: a JSON *string*, because tables,
Redis' JSON and files treat strings alike. taskflow ignores headers.

Here is decided which of these a kind needs and what is missing. Bodies are ``messages``' matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, Literal, NamedTuple

from protocol import schemas
from protocol.errors import MessageRefused, ValueRefused
from protocol.values import Json, dumps, loads

NOTIFY: Final = "NOTIFY"
REQUEST: Final = "REQUEST"
RESPONSE: Final = "RESPONSE"
HELD: Final = "HELD"
CANCEL: Final = "CANCEL"
RECEIPT: Final = "RECEIPT"
RELEASE: Final = "RELEASE"
DROPPED: Final = "DROPPED"
#: Several messages as one; see ``batch``.
BATCH: Final = "BATCH"

KINDS: Final = (NOTIFY, REQUEST, RESPONSE, HELD, CANCEL, RECEIPT, RELEASE, DROPPED, BATCH)

#: Which side reads a kind; NOTIFY is read by both.
_TO_WORKER: Final = frozenset({REQUEST, CANCEL, RECEIPT})
_TO_EXECUTOR: Final = frozenset({RESPONSE, HELD, RELEASE, DROPPED})
#: Kinds of ours, which make no sense without the header.
_OURS: Final = frozenset({HELD, CANCEL, RECEIPT, RELEASE, DROPPED, BATCH})

#: The name of our header among a message's headers.
HEADER: Final = "x-taskline"
#: The dialect's version; a peer of a higher one is served at ours.
VERSION: Final = 1
#: Largest header text, in characters (native dialect, section 1).
MAX_HEADER = 2048
#: Longest reply_to and correlation_id that is looked at, in bytes of UTF-8 (an AMQP short string).
MAX_PROPERTY = 255

#: Kinds beyond taskflow's three that are understood, as announced in ``caps``.
CAPS: Final = ("held", "cancel", "receipt", "release", "dropped", "batch", "ends")
#: Announced by an executor that takes the end of a run as the word that it had begun, too.
ENDS: Final = "ends"
#: Announced beside them by a worker that can end a task while it runs.
STOPS: Final = "stop"
#: By one that tells what its machine has, and runs no more at once than that holds.
RESOURCES: Final = "resources"


class Header(NamedTuple):
    """The header ``x-taskline``. None means: not said.

    A tuple, for it is made for every message, and nothing else of so many fields is made as fast.
    """

    #: ``v``: the dialect's version.
    version: int = VERSION
    #: ``caps``: kinds and abilities understood beyond taskflow's; on NOTIFY, and the first REQUEST.
    caps: tuple[str, ...] | None = None
    #: ``ex``: the executor's id, the routing key of its reply queue.
    executor: str | None = None
    #: ``in``: the executor's incarnation, from 1; from a worker: the newest it has heard of it.
    incarnation: int | None = None
    #: ``keep``: seconds to keep results for while the executor is silent; on questions.
    keep: int | None = None
    #: ``w``: the worker's name.
    worker: str | None = None
    #: ``b``: the worker process, 16 hex digits; the addressee on what goes to a worker.
    boot: str | None = None
    #: ``ck``: the worker's clock, in milliseconds, of no known origin.
    clock: int | None = None
    #: ``slots``: how many tasks the worker runs at once.
    slots: int | None = None
    #: ``credit``: how many unfinished requests the worker takes.
    credit: int | None = None
    #: ``inbox``: the routing key of the worker process' own queue.
    inbox: str | None = None
    #: ``bt``: the worker's beat, in milliseconds, if it is another than ``timing.BEAT``.
    beat: int | None = None
    #: ``replaces``: the boot that ran under this worker's name before and is provably dead.
    replaces: str | None = None
    #: ``tk``: tickets, as text (see ``protocol.tickets``).
    tickets: str | None = None
    #: ``sb``: start-by, in the addressee's clock, milliseconds: not to be started at or after it.
    start_by: int | None = None
    #: ``at``: the attempt's number, from 1.
    attempt: int | None = None
    #: ``base``: the first attempt of the present round.
    base: int | None = None
    #: ``mode``: ``alo`` (at least once) or ``amo`` (at most once).
    mode: Literal["alo", "amo"] | None = None
    #: ``tl``: milliseconds after which the run is ended with its process.
    time_limit: int | None = None
    #: ``sl``: milliseconds after which an exception is raised in the running task.
    soft_time_limit: int | None = None
    #: ``end``: how a run ended: ``done``, ``stopped``, ``limit`` or ``crash``.
    end: Literal["done", "stopped", "limit", "crash"] | None = None
    #: ``node``: what a worker tells of its machine (``resources.NodeReport``); on answers.
    node: dict[str, Json] | None = None
    #: ``need``: what a run takes there (``resources.Requirements``); only to who has told.
    need: dict[str, Json] | None = None

    def to_json(self) -> dict[str, Json]:
        """The header as JSON; what was not said is left out.

        Raises ``MessageRefused`` for one that the peer would refuse, as :func:`parse_header` does.
        """
        said: dict[str, Json] = {
            on_wire: value
            for on_wire, value in zip(_ON_WIRE, self, strict=True)
            if value is not None
        }
        if self.caps is not None:
            said["caps"] = list(self.caps)
        schemas.validate("header", said)
        return said

    def to_text(self) -> str:
        """The header's text as it travels beside a body. Raises ``MessageRefused``, too."""
        text = dumps(self.to_json())
        if len(text) > MAX_HEADER:
            raise MessageRefused("header", f"{HEADER} of {len(text)} > {MAX_HEADER} characters")
        return text

    # in a batch -------------------------------------------------------------------------------

    @property
    def shared(self) -> Header:
        """What is said once for all messages of a batch: all but what each says for itself."""
        return self._replace(**_NOT_SHARED)

    def shares(self, other: Header) -> bool:
        """Whether that is the same for both."""
        return bool(_shared_of(self) == _shared_of(other))

    def own_json(self) -> dict[str, Json]:
        """What is not shared, as JSON. Raises ``MessageRefused`` as :meth:`to_json` does."""
        said = {
            on_wire: value
            for on_wire, value in zip(_OWN_ON_WIRE, _own_of(self), strict=True)
            if value is not None
        }
        schemas.validate("header-own", said)
        return said

    def with_own(self, said: Json) -> Header:
        """A message's header, from what it shares, which this is, and the JSON of its own.

        Raises ``MessageRefused``, reason ``schema``.
        """
        schemas.validate("header-own", said)
        return self._replace(**_named(said, _OWN_NAMES))


#: What fields are called on the wire, if not as they are here.
_SHORT: Final = {
    "version": "v",
    "executor": "ex",
    "incarnation": "in",
    "worker": "w",
    "boot": "b",
    "clock": "ck",
    "beat": "bt",
    "tickets": "tk",
    "start_by": "sb",
    "attempt": "at",
    "time_limit": "tl",
    "soft_time_limit": "sl",
}
_ON_WIRE: Final = tuple(_SHORT.get(name, name) for name in Header._fields)
_NAMES: Final = dict(zip(_ON_WIRE, Header._fields, strict=True))

#: What each message of a batch says for itself.
_OWN: Final = (
    *("clock", "credit", "tickets", "start_by", "attempt", "base", "mode"),
    *("time_limit", "soft_time_limit", "end"),
)
_OWN_ON_WIRE: Final = tuple(_SHORT.get(name, name) for name in _OWN)
_OWN_NAMES: Final = dict(zip(_OWN_ON_WIRE, _OWN, strict=True))
_NOT_SHARED: Final[dict[str, Any]] = dict.fromkeys(_OWN)
_own_of: Final = attrgetter(*_OWN)
_shared_of: Final = attrgetter(*(name for name in Header._fields if name not in _OWN))


def parse_header(text: object) -> Header | None:
    """The header from what stood under :data:`HEADER`; None for None: a taskflow peer.

    Raises ``MessageRefused``: reason ``header`` for what is no text, too long or no JSON, reason
    ``schema`` for what is not a header.
    """
    if text is None:
        return None
    if not isinstance(text, str) or len(text) > MAX_HEADER:
        raise MessageRefused("header", f"{HEADER} is not a text of at most {MAX_HEADER} characters")
    try:
        said = loads(text)
    except ValueRefused as error:
        raise MessageRefused("header", f"{HEADER}: {error}") from None
    return header_of(said)


def header_of(said: Json) -> Header:
    """The header from its JSON. Raises ``MessageRefused``, reason ``schema``."""
    schemas.validate("header", said)
    known = _named(said, _NAMES)
    if "caps" in known:
        known["caps"] = tuple(known["caps"])
    return Header(**known)


def _named(said: dict[str, Json], names: Mapping[str, str]) -> dict[str, Any]:
    """What it says under these names. 3.0 is an integer to JSON Schema."""
    return {
        names[on_wire]: int(value) if type(value) is float else value
        for on_wire, value in said.items()
        if on_wire in names
    }


@dataclass(frozen=True, slots=True)
class Envelope:
    """Kind, addresses and header of one message."""

    #: One of :data:`KINDS`.
    kind: str
    #: Routing key for answers (taskflow: of the executor's queue), or None.
    reply_to: str | None = None
    #: The request's uuid (taskflow: the atom's), or None.
    correlation_id: str | None = None
    #: None from and to taskflow's peers.
    header: Header | None = None
    #: It came unsigned where our own peers sign: it can only be a taskflow worker's.
    is_foreign: bool = False


#: What each kind from a native peer must say in its header (native dialect, section 2).
_NEEDED_FROM_NATIVE: Final[dict[tuple[str, bool], tuple[str, ...]]] = {
    (REQUEST, True): ("executor", "incarnation", "boot", "tickets", "start_by", "mode"),
    (CANCEL, True): ("executor", "incarnation", "boot", "tickets", "start_by"),
    (RECEIPT, True): ("executor", "incarnation", "boot"),
    (RESPONSE, False): ("boot", "clock", "tickets"),
    (HELD, False): ("boot", "clock"),
    (RELEASE, False): ("boot", "clock"),
    (DROPPED, False): ("boot", "clock"),
}


def parse(
    kind: object, reply_to: object, correlation_id: object, header: object, *, at_worker: bool
) -> Envelope:
    """The envelope of a delivery, checked for what its kind needs on this side.

    ``at_worker`` tells which side reads: REQUEST, CANCEL and RECEIPT are a worker's to read, NOTIFY
    is both sides', all else an executor's. Raises ``MessageRefused`` with one of the reasons
    ``no_type``, ``unknown_type``, ``wrong_side``, ``no_reply_to``, ``no_correlation_id``,
    ``property``, ``header``, ``schema``, ``incomplete``. AMQP leaves an unset property out, the
    virtual transports send null: both are "missing" here.
    """
    return checked(kind, reply_to, correlation_id, parse_header(header), at_worker=at_worker)


def checked(
    kind: object, reply_to: object, correlation_id: object, said: Header | None, *, at_worker: bool
) -> Envelope:
    """The same with a header that has been read already."""
    if kind is None:
        raise MessageRefused("no_type", "the property 'type' is missing")
    if not isinstance(kind, str) or kind not in KINDS:
        found = repr(kind[:60]) if isinstance(kind, str) else f"of type {type(kind).__name__}"
        raise MessageRefused("unknown_type", f"the property 'type' is {found}")
    if kind in (_TO_EXECUTOR if at_worker else _TO_WORKER):
        side = "a worker" if at_worker else "an executor"
        raise MessageRefused("wrong_side", f"a {kind} was sent to {side}")
    reply_to = _property("reply_to", reply_to)
    correlation_id = _property("correlation_id", correlation_id)
    if at_worker and reply_to is None:
        raise MessageRefused("no_reply_to", f"a {kind} without reply_to cannot be answered")
    if kind in (REQUEST, RESPONSE, CANCEL) and correlation_id is None:
        raise MessageRefused("no_correlation_id", f"a {kind} without correlation_id is nobody's")
    if said is not None:
        for name in _NEEDED_FROM_NATIVE.get((kind, at_worker), ()):
            if getattr(said, name) is None:
                raise MessageRefused("incomplete", f"a {kind} whose header lacks {name!r}")
    elif kind in _OURS:
        raise MessageRefused("incomplete", f"a {kind} without our header")
    return Envelope(kind, reply_to, correlation_id, said)


def _property(name: str, value: object) -> str | None:
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str) and len(value.encode("utf-8")) <= MAX_PROPERTY:
            return value
    except UnicodeEncodeError:  # half a surrogate pair, which JSON carries and no other store takes
        pass
    raise MessageRefused("property", f"{name} is not a text of at most {MAX_PROPERTY} bytes")
