"""What happened, as frozen values: the lines of a journal and the messages of a bus.

An event says what *is so* from now on; who folds them in order (``protocol.history``) knows the
state of every request, worker and executor. Decided here: which events there are, what each says,
and its JSON form. What is said of jobs is in ``protocol.jobs``, and has the same form. Not decided
here: when one is written (the ledger and the keeper), how a line is numbered, stamped and checked
(the journal), who is told (the bus), and what a sequence of them comes to (history).

An executor writes each before it acts on it: a request is DISPATCHED in the journal before it is
sent, and ENDED before its worker is told that the result is safe (native dialect, section 8). On
its bus it publishes what it has written, and PROGRESS, which it does not write.

The JSON form of an event is its word and an object of its fields, in their order here, the uuid of
its request first. A field that has its default is left out, so a default never changes. Fields that
are not known here are passed over: a later version may say more, but what it says must be true
without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from types import UnionType
from typing import (
    Any,
    ClassVar,
    Final,
    Literal,
    NamedTuple,
    NoReturn,
    get_args,
    get_origin,
    get_type_hints,
)

from protocol.errors import MessageRefused
from protocol.jobs import (
    ClusterDesired,
    ClusterSize,
    JobAnnotated,
    JobCompleted,
    JobEvent,
    JobFailed,
    JobIssued,
    JobKilled,
    JobMissing,
    JobPlaced,
    JobStarted,
    JobUpdated,
    QueueSize,
)
from protocol.values import Json

#: Why an attempt will not answer any more: given back by its worker or provably never started
#: there (``never``), its worker silent or ended (``lost``), its result thrown away (``dropped``).
OverReason = Literal["never", "lost", "dropped"]
#: What the run came to after which a new round begins: its task's own failure, or its time limit,
#: each with a retry to follow; it ended its process, or its worker did. Empty: not told.
RoundCause = Literal["", "failure", "limit", "crash", "stopped"]
#: How a request ended: with a value, with the task's own failure, with an error of ours, cancelled.
Outcome = Literal["success", "failure", "error", "cancelled"]


@dataclass(frozen=True, slots=True)
class Opened:
    """An executor began: one more incarnation of it."""

    word: ClassVar[str] = "opened"

    #: Its name.
    executor: str
    incarnation: int
    #: What workers know it by; None: its name.
    identity: str | None = None


@dataclass(frozen=True, slots=True)
class Closed:
    """The executor was shut down in order."""

    word: ClassVar[str] = "closed"


@dataclass(frozen=True, slots=True)
class Submitted:
    """A request was taken over from the caller."""

    word: ClassVar[str] = "submitted"

    uuid: str
    task: str
    #: The REQUEST body as it travels, as JSON (``messages.Request.to_body``).
    body: Json
    topics: list[str]
    named_only: bool = True
    #: Seconds from the line's own stamp to expiry; None: the dialect's own meaning.
    timeout: float | None = None
    mode: Literal["alo", "amo"] = "alo"
    time_limit: float | None = None
    soft_time_limit: float | None = None
    #: The caller's own key: a second submission with it joins this one.
    key: str | None = None
    #: When it may start at the earliest, by the wall clock, as the lines' stamps; None: at once.
    not_before: float | None = None
    #: Of two that wait the higher one goes first.
    priority: int = 0
    #: How often its task may be started (``protocol.rate``), and how many may be at workers.
    rate: str | None = None
    max_running: int | None = None
    #: When a run that failed is followed by another (``protocol.retry``); None: never.
    retries: Json = None
    #: The dead letter that it is a repetition of, which is none any more.
    repeats: str | None = None
    #: What it needs where it runs (``protocol.resources``); None: nothing was said.
    resources: Json = None
    #: The name of the worker it is for; None: any.
    to: str | None = None


@dataclass(frozen=True, slots=True)
class Dispatched:
    """An attempt of it is about to be sent."""

    word: ClassVar[str] = "dispatched"

    uuid: str
    attempt: int
    base: int
    dialect: Literal["native", "taskflow"]
    topic: str
    #: The worker's name.
    worker: str
    #: The worker process, its inbox, the ticket and the start-by there; None at taskflow's.
    boot: str | None = None
    inbox: str | None = None
    ticket: str | None = None
    start_by: int | None = None
    #: Seconds within which it is heard from, if not ``timing.BEAT``.
    beat: float | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """Its worker says that this attempt has started."""

    word: ClassVar[str] = "running"

    uuid: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Its task says how far it is. Published, and not written by an executor."""

    word: ClassVar[str] = "progress"

    uuid: str
    #: 0.0 to 1.0.
    fraction: float
    #: What else the task said.
    details: Json = None


@dataclass(frozen=True, slots=True)
class Over:
    """This attempt will not answer any more."""

    word: ClassVar[str] = "over"

    uuid: str
    attempt: int
    reason: OverReason


@dataclass(frozen=True, slots=True)
class Round:
    """A new round begins: ends of attempts before ``base`` do not count any more."""

    word: ClassVar[str] = "round"

    uuid: str
    base: int
    #: How many runs of it have ended their process so far.
    crashes: int = 0
    #: How many of its rounds so far were retries of a failure, this one included.
    retries: int = 0
    #: What the attempt of this number came to.
    cause: RoundCause = ""
    attempt: int | None = None
    #: The failure dict of that, without the exception's arguments.
    failure: Json = None
    #: Seconds from the line's own stamp before which nothing of the round is sent.
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The user cancelled it. Without ``force`` that is its outcome; with, it is asked for."""

    word: ClassVar[str] = "cancelled"

    uuid: str
    force: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """It is over, and nothing more will be sent for it but receipts."""

    word: ClassVar[str] = "ended"

    uuid: str
    outcome: Outcome
    #: ``success``: the value. ``failure``: the failure dict. ``error``: ``{"type", "message"}``,
    #: the type being a name in ``protocol.errors``. ``cancelled``: None.
    value: Json = None
    #: Of the worker that ended it, if one did.
    worker: str | None = None
    #: A dead letter: it is kept until somebody has it repeated, or drops it.
    dead: bool = False


@dataclass(frozen=True, slots=True)
class Discarded:
    """A dead letter was dropped."""

    word: ClassVar[str] = "discarded"

    uuid: str


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker was heard from for the first time, or offers something else than before."""

    word: ClassVar[str] = "worker"

    worker: str
    dialect: Literal["native", "taskflow"]
    boot: str | None
    topics: list[str]
    slots: int | None = None


@dataclass(frozen=True, slots=True)
class WorkerGone:
    """It said goodbye, its process ended, or it was silent for a lease."""

    word: ClassVar[str] = "gone"

    worker: str
    boot: str | None = None


Event = (
    Opened
    | Closed
    | Submitted
    | Dispatched
    | Running
    | Progress
    | Over
    | Round
    | Cancelled
    | Ended
    | Discarded
    | WorkerSeen
    | WorkerGone
    | JobEvent
)

#: Every event by its word, which never changes its meaning: a changed event is a new word.
EVENTS: Final[dict[str, type[Event]]] = {
    event.word: event
    for event in (
        Opened,
        Closed,
        Submitted,
        Dispatched,
        Running,
        Progress,
        Over,
        Round,
        Cancelled,
        Ended,
        Discarded,
        WorkerSeen,
        WorkerGone,
        JobIssued,
        JobPlaced,
        JobStarted,
        JobKilled,
        JobCompleted,
        JobUpdated,
        JobFailed,
        JobMissing,
        JobAnnotated,
        QueueSize,
        ClusterSize,
        ClusterDesired,
    )
}


def to_fields(event: Event) -> dict[str, Json]:
    """The object of its fields; what has its default is left out."""
    written: dict[str, Json] = {}
    for field in _FORMS[event.word].fields:
        value = getattr(event, field.name)
        if type(value) is not type(field.default) or value != field.default:
            written[field.name] = value
    return written


def from_fields(word: str, written: Mapping[str, Json]) -> Event:
    """The event of a word and an object of fields, as a JSON parser gives it.

    Raises :class:`~protocol.errors.MessageRefused`: reason ``event_word`` for a word that is not
    known here, ``event_field`` for a field that is missing or cannot be what it is.
    """
    form = _FORMS.get(word)
    if form is None:
        raise MessageRefused("event_word", f"{word[:60]!r} is no event that is known here")
    values = list(map(written.get, form.names, form.defaults))
    kinds = tuple(map(type, values))
    if kinds not in form.good:  # which is quicker than to look at each of them
        for field, value in zip(form.fields, values, strict=True):
            if type(value) not in field.kinds:
                _refuse(word, field.name, value)
        form.good.add(kinds)
    for place, field in form.looked_at:
        value = values[place]
        if field.choices:
            if value not in field.choices:
                _refuse(word, field.name, value)
        elif not all(type(item) is str for item in value):
            _refuse(word, field.name, value)
    return form.event(*values)


_JSON: Final[frozenset[type]] = frozenset({str, int, float, bool, list, dict, type(None)})


class _Field(NamedTuple):
    name: str
    #: ``MISSING`` if it must be there.
    default: object
    #: What a JSON parser may make of it.
    kinds: frozenset[type]
    #: Of a string, if there is a list of them.
    choices: frozenset[str]


class _Form(NamedTuple):
    """An event's fields, as its annotations say; the dataclasses are the only source."""

    event: type[Event]
    fields: tuple[_Field, ...]
    names: tuple[str, ...]
    defaults: tuple[object, ...]
    #: Those of which the type does not say all, with their place.
    looked_at: tuple[tuple[int, _Field], ...]
    #: Types of all fields together that were found to be right.
    good: set[tuple[type, ...]]


def _form(event: type[Event]) -> _Form:
    hints = get_type_hints(event)
    found = tuple(
        _Field(field.name, field.default, *_allowed(hints[field.name])) for field in fields(event)
    )
    looked_at = tuple(
        (place, field)
        for place, field in enumerate(found)
        if field.choices or (list in field.kinds and field.kinds is not _JSON)
    )
    names = tuple(field.name for field in found)
    defaults = tuple(field.default for field in found)
    return _Form(event, found, names, defaults, looked_at, set())


def _allowed(hint: Any) -> tuple[frozenset[type], frozenset[str]]:
    if hint is Any:
        return _JSON, frozenset()
    parts = get_args(hint) if get_origin(hint) is UnionType else (hint,)
    kinds: set[type] = set()
    choices: set[str] = set()
    for part in parts:
        if get_origin(part) is Literal:
            kinds.add(str)
            choices.update(get_args(part))
        else:
            kinds.add(get_origin(part) or part)
    if float in kinds:
        kinds.add(int)
    return frozenset(kinds), frozenset(choices)


_FORMS: Final = {word: _form(event) for word, event in EVENTS.items()}


def _refuse(word: str, name: str, value: object) -> NoReturn:
    found = "is missing" if value is MISSING else f"cannot be {repr(value)[:60]}"
    raise MessageRefused("event_field", f"{word}: {name} {found}")
