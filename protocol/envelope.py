"""What travels beside a body: the kind, where to answer, which request, and our own header.

taskflow puts the kind into the AMQP property ``type``, the answer's routing key into ``reply_to``
and the request's uuid into ``correlation_id`` (taskflow ``worker_based/proxy.py``,
``dispatcher.py``). Native peers add one header, ``x-taskline``: a JSON *string*, because tables,
Redis' JSON and files treat strings alike. taskflow ignores headers.

Here is decided which of these a kind needs and what is missing. Bodies are ``messages``' matter.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final, Literal

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
CAPS: Final = ("held", "cancel", "receipt", "release", "dropped", "batch")
#: Announced beside them by a worker that can end a task while it runs.
STOPS: Final = "stop"

_ON_WIRE = {"incarnation": "in", "worker": "w", "boot": "b", "clock": "ck", "tickets": "tk"} | {
    "version": "v", "executor": "ex", "start_by": "sb", "attempt": "at", "beat": "bt",
    "time_limit": "tl", "soft_time_limit": "sl",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """The header ``x-taskline``. None means: not said."""

    #: ``v``: the dialect's version.
    version: int = VERSION
    #: ``caps``: kinds and abilities understood beyond taskflow's; on NOTIFY.
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

    def to_json(self) -> Json:
        """The header as JSON; what was not said is left out.

        Raises ``MessageRefused`` for one that the peer would refuse, as :func:`parse_header` does.
        """
        said: dict[str, Json] = {}
        for name, on_wire in _FIELDS:
            value = getattr(self, name)
            if value is not None:
                said[on_wire] = list(value) if name == "caps" else value
        schemas.validate("header", said)
        return said

    def to_text(self) -> str:
        """The header's text as it travels beside a body. Raises ``MessageRefused``, too."""
        text = dumps(self.to_json())
        if len(text) > MAX_HEADER:
            raise MessageRefused("header", f"{HEADER} of {len(text)} > {MAX_HEADER} characters")
        return text


_FIELDS: Final = tuple((said.name, _ON_WIRE.get(said.name, said.name)) for said in fields(Header))


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
    known = {name: said[on_wire] for name, on_wire in _FIELDS if on_wire in said}
    for name, value in known.items():
        if isinstance(value, float):  # 3.0 is an integer to JSON Schema
            known[name] = int(value)
    if "caps" in known:
        known["caps"] = tuple(known["caps"])
    return Header(**known)


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
