"""The kinds of message as frozen values, to and from their JSON bodies.

NOTIFY, REQUEST and RESPONSE are exactly taskflow's on the wire
(``taskflow.engines.worker_based.protocol``); HELD, CANCEL, RECEIPT, RELEASE and DROPPED are ours
and go only to peers that announced them. Each is validated by its JSON Schema when it is built for
the wire and when it is read from it. What travels beside a body is ``envelope``'s matter; who sends
what when is the floors' above.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

from protocol import envelope, schemas, states
from protocol.errors import MessageRefused, ValueRefused
from protocol.failure import FailureDict
from protocol.size import MAX_BODY
from protocol.values import MAX_CONTAINERS, MAX_DEPTH, Json, demand_few, dumps, loads

Action = Literal["execute", "revert"]
#: Why a worker gives a request back unstarted: it was ``full``, the start-by had passed (``late``),
#: it is going down (``drain``), or it was ``cancelled``. ``over``: of what was receipted already,
#: nothing is left here to start or to send.
ReleaseReason = Literal["full", "late", "drain", "cancelled", "over"]
#: What a CANCEL asks for if the run has started: ``keep`` it running, or ``stop`` it.
IfStarted = Literal["keep", "stop"]
#: Why: the user asked, the request expired, or another attempt has ended it.
CancelReason = Literal["user", "expired", "superseded"]

#: Content type and encoding of every body, as kombu's JSON serializer names them.
CONTENT_TYPE: Final = "application/json"
CONTENT_ENCODING: Final = "utf-8"

#: The event by which a task tells how far it is (taskflow ``task.EVENT_UPDATE_PROGRESS``).
UPDATE_PROGRESS: Final = "update_progress"


@dataclass(frozen=True, slots=True)
class Question:
    """NOTIFY from an executor: the question who is there, and what they offer."""

    kind: ClassVar[str] = envelope.NOTIFY
    schema: ClassVar[str] = "notify-question"

    def to_body(self) -> Json:
        """The body: an empty object, nothing else is allowed in it."""
        return {}


@dataclass(frozen=True, slots=True)
class Answer:
    """NOTIFY from a worker: I am here, on this topic, with these tasks. A beat at the same time."""

    kind: ClassVar[str] = envelope.NOTIFY
    schema: ClassVar[str] = "notify-answer"

    topic: str
    #: Wire names of the tasks offered.
    tasks: tuple[str, ...]

    def to_body(self) -> Json:
        """The body ``{topic, tasks}``."""
        return {"topic": self.topic, "tasks": list(self.tasks)}


@dataclass(frozen=True, slots=True)
class Request:
    """REQUEST: run this task."""

    kind: ClassVar[str] = envelope.REQUEST
    schema: ClassVar[str] = "request"

    #: The task's wire name (taskflow: module and class).
    task: str
    #: The name of this use of it (taskflow: the atom's name); defaults to the task's.
    name: str = ""
    version: tuple[int, ...] | str = (1, 0)
    action: Action = "execute"
    #: Positional arguments. Ours: taskflow's peers know arguments by name only.
    args: tuple[Json, ...] = ()
    #: Arguments by name.
    arguments: Mapping[str, Json] = field(default_factory=dict)
    #: For ``revert``: what execute came to, ``("success", value)`` or ``("failure", dict)``.
    result: tuple[str, Json] | None = None
    #: For ``revert``: ``{task name: failure dict}`` of all that failed in the flow.
    failures: Mapping[str, FailureDict] | None = None

    def to_body(self) -> Json:
        """The body as taskflow's engine writes it; ``args`` only if there are any."""
        version = self.version if isinstance(self.version, str) else list(self.version)
        body: dict[str, Json] = {
            "task_cls": self.task,
            "task_name": self.name or self.task,
            "task_version": version,
            "action": self.action,
            "arguments": dict(self.arguments),
        }
        if self.args:
            body["args"] = list(self.args)
        if self.result is not None:
            body["result"] = list(self.result)
        if self.failures is not None:
            body["failures"] = dict(self.failures)
        return body


@dataclass(frozen=True, slots=True)
class Response:
    """RESPONSE: the task runs, said something, or came to its end.

    ``data`` is ``{}``, ``{"result": …}`` (a value, or a failure dict for FAILURE) or
    ``{"event_type": …, "details": {…}}``.
    """

    kind: ClassVar[str] = envelope.RESPONSE
    schema: ClassVar[str] = "response"

    #: One of ``protocol.states`` or EVENT.
    state: str
    data: Mapping[str, Json] = field(default_factory=dict)

    @classmethod
    def running(cls) -> Response:
        """The task is about to run. Always before SUCCESS: taskflow's executor dies otherwise."""
        return cls(states.RUNNING)

    @classmethod
    def success(cls, result: Json) -> Response:
        """The task returned ``result``."""
        return cls(states.SUCCESS, {"result": result})

    @classmethod
    def failure(cls, failure: FailureDict) -> Response:
        """The task raised, or could not be run."""
        return cls(states.FAILURE, {"result": failure})

    @classmethod
    def event(cls, event_type: str, details: Mapping[str, Json]) -> Response:
        """The running task said something."""
        return cls(states.EVENT, {"event_type": event_type, "details": dict(details)})

    def to_body(self) -> Json:
        """The body: ``state`` and ``data``."""
        return {"state": self.state, "data": dict(self.data)}


@dataclass(frozen=True, slots=True)
class Release:
    """RELEASE: these dispatches were never started here and never will be."""

    kind: ClassVar[str] = envelope.RELEASE
    schema: ClassVar[str] = "release"

    #: Pairs of (tickets as text, reason).
    items: tuple[tuple[str, ReleaseReason], ...]

    def to_body(self) -> Json:
        """The body: ``items``, each with its tickets and the reason."""
        return {"items": [{"tickets": tickets, "reason": why} for tickets, why in self.items]}


@dataclass(frozen=True, slots=True)
class Held:
    """HELD: everything this worker process holds for the executor it is sent to.

    What is in none of the four is not here. Each is tickets as text (``protocol.tickets``), empty
    for none.
    """

    kind: ClassVar[str] = envelope.HELD
    schema: ClassVar[str] = "held"

    #: Taken, not started.
    queued: str = ""
    running: str = ""
    #: Ended, and the result is kept until it is receipted.
    ended: str = ""
    #: Ended, and the result was thrown away at the bound.
    dropped: str = ""

    def to_body(self) -> Json:
        """The body; what is empty is left out."""
        said = {name: getattr(self, name) for name in _HELD}
        return {name: tickets for name, tickets in said.items() if tickets}


_HELD: Final = ("queued", "running", "ended", "dropped")


@dataclass(frozen=True, slots=True)
class Cancel:
    """CANCEL: do not start this; if it has started, see :data:`IfStarted`."""

    kind: ClassVar[str] = envelope.CANCEL
    schema: ClassVar[str] = "cancel"

    if_started: IfStarted
    reason: CancelReason

    def to_body(self) -> Json:
        """The body: ``if_started`` and ``reason``."""
        return {"if_started": self.if_started, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Receipt:
    """RECEIPT: what was told of these tickets is stored; it may be forgotten."""

    kind: ClassVar[str] = envelope.RECEIPT
    schema: ClassVar[str] = "receipt"

    tickets: str

    def to_body(self) -> Json:
        """The body: ``tickets``."""
        return {"tickets": self.tickets}


@dataclass(frozen=True, slots=True)
class Dropped:
    """DROPPED: these ran to their end, and the result was thrown away at the bound."""

    kind: ClassVar[str] = envelope.DROPPED
    schema: ClassVar[str] = "dropped"

    tickets: str

    def to_body(self) -> Json:
        """The body: ``tickets``."""
        return {"tickets": self.tickets}


Message = Question | Answer | Request | Response | Held | Cancel | Receipt | Release | Dropped


def encode(message: Message, what: str = "") -> bytes:
    """The body as it travels: validated, ASCII-escaped JSON of at most ``size.MAX_BODY`` bytes.

    Raises ``ValueRefused`` for a value in it that may not travel, or a body that is longer, and
    ``MessageRefused`` for a body its own schema refuses (a bug of the caller's). ``what``: what it
    is, in an error.
    """
    body = message.to_body()
    # First: what is no JSON, or a cycle, is nothing for a schema to look at.
    what = what or f"the body of a {message.kind}"
    text = dumps(body, what, MAX_BODY)
    demand_few(text, what, MAX_CONTAINERS)
    schemas.validate(message.schema, body)
    return text.encode("ascii")


#: The body of every RUNNING.
RUNNING_BODY: Final = encode(Response.running())


def demand_length(size: int) -> None:
    """Raise ``MessageRefused``, reason ``too_long``, for a body that is not to be looked at."""
    if size > MAX_BODY:
        raise MessageRefused("too_long", f"a body of {size:,} bytes, {MAX_BODY:,} at most")


def decode(kind: str, body: object, *, at_worker: bool) -> Message:
    """The message a body carries. ``body`` is what the broker handed over: bytes or text.

    Raises ``MessageRefused``: reason ``too_long`` for one of more than ``size.MAX_BODY`` bytes,
    which is not read, ``json`` for what is no JSON, ``schema`` for JSON that is no such message.
    """
    return read(kind, parse(body), at_worker=at_worker)


def parse(body: object, max_depth: int = MAX_DEPTH) -> Json:
    """The JSON of a body. Raises ``MessageRefused``, reason ``too_long`` or ``json``."""
    if not isinstance(body, (bytes, bytearray, memoryview, str)):
        raise MessageRefused("json", f"a body of type {type(body).__name__}, bytes expected")
    demand_length(len(body))
    text = body if isinstance(body, (str, bytes)) else bytes(body)
    try:
        demand_few(text, "the body", MAX_CONTAINERS)
        return loads(text, max_depth)
    except ValueRefused as error:
        raise MessageRefused("json", str(error)) from None


def read(kind: str, said: Json, *, at_worker: bool) -> Message:
    """The message that JSON is. Raises ``MessageRefused``, reason ``schema``."""
    if kind == envelope.REQUEST:
        return _request(said)
    if kind == envelope.RESPONSE:
        schemas.validate("response", said)
        return Response(said["state"], said["data"])
    if kind in _OURS:
        return _ours(kind, said)
    if at_worker:
        schemas.validate("notify-question", said)
        return Question()
    schemas.validate("notify-answer", said)
    return Answer(said["topic"], tuple(said["tasks"]))


_OURS: Final = {
    message.kind: message.schema for message in (Held, Cancel, Receipt, Release, Dropped)
}


def _ours(kind: str, said: Json) -> Held | Cancel | Receipt | Release | Dropped:
    schemas.validate(_OURS[kind], said)
    if kind == envelope.HELD:
        return Held(**said)
    if kind == envelope.CANCEL:
        return Cancel(said["if_started"], said["reason"])
    if kind == envelope.RECEIPT:
        return Receipt(said["tickets"])
    if kind == envelope.DROPPED:
        return Dropped(said["tickets"])
    return Release(tuple((item["tickets"], item["reason"]) for item in said["items"]))


def _request(said: Json) -> Request:
    schemas.validate("request", said)
    version = said["task_version"]
    result = said.get("result")
    return Request(
        task=said["task_cls"],
        name=said["task_name"],
        version=version if isinstance(version, str) else tuple(version),
        action=said["action"],
        args=tuple(said.get("args", ())),
        arguments=said.get("arguments", {}),
        result=None if result is None else tuple(result),
        failures=said.get("failures"),
    )
