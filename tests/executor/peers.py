"""Workers as an executor hears them: what they say, made from what they were sent.

Everything goes through the text form and back, as on a broker, so that only what can be on the wire
is fed to the rooms under test.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from executor.effects import Dispatch, Effect, Outcome, Publish, Record, Resolve
from executor.request import Order
from protocol import envelope, messages
from protocol.envelope import Envelope, Header
from protocol.events import Event
from protocol.failure import FailureDict, from_text
from protocol.messages import (
    Answer,
    Cancel,
    Dropped,
    Held,
    Message,
    Receipt,
    Release,
    ReleaseReason,
    Request,
    Response,
)
from protocol.parcel import Parcel, Received
from protocol.rate import parse_rate
from protocol.resources import NodeReport, Requirements, Resources
from protocol.retry import Retry
from protocol.tickets import parse
from protocol.topology import inbox_key
from protocol.values import Json
from worker.work import End

EXECUTOR = "ex-1"
EXCHANGE = "test"
TOPIC = "default"
FAILED: FailureDict = from_text(("ValueError", "Exception"), "it went wrong")


def order(
    uuid: str,
    task: str = "m.task",
    *,
    timeout: float | None = None,
    topics: tuple[str, ...] = (TOPIC,),
    named_only: bool = True,
    wants_events: bool = False,
    mode: Literal["alo", "amo"] = "alo",
    time_limit: float | None = None,
    soft_time_limit: float | None = None,
    not_before: float | None = None,
    priority: int = 0,
    rate: str | None = None,
    max_running: int | None = None,
    retries: Retry | None = None,
    needs: Requirements | None = None,
    worker: str | None = None,
) -> Order:
    """What a client would hand over."""
    args = () if named_only else (1,)
    body = messages.encode(Request(task, args=args, arguments={"n": uuid}))
    return Order(
        uuid,
        task,
        body,
        topics,
        named_only,
        timeout,
        wants_events,
        mode,
        time_limit,
        soft_time_limit,
        not_before=not_before,
        priority=priority,
        rate=None if rate is None else parse_rate("here", rate),
        max_running=max_running,
        retries=retries,
        needs=needs,
        worker=worker,
    )


def delivered(around: Envelope, message: Message, *, at_worker: bool) -> Received:
    """What a dispatcher makes of it at the other end."""
    text = around.header.to_text() if around.header else None
    parsed = envelope.parse(
        around.kind, around.reply_to, around.correlation_id, text, at_worker=at_worker
    )
    body = messages.encode(message)
    return Received(parsed, messages.decode(parsed.kind, body, at_worker=at_worker))


def arrived(parcel: Parcel, *, at_worker: bool) -> Received:
    """A parcel, as a dispatcher hands it over at the other end."""
    around = parcel.envelope
    text = around.header.to_text() if around.header else None
    parsed = envelope.parse(
        around.kind, around.reply_to, around.correlation_id, text, at_worker=at_worker
    )
    return Received(parsed, messages.decode(parsed.kind, parcel.body, at_worker=at_worker))


def dispatches(effects: Iterable[Effect]) -> list[Dispatch]:
    """The requests sent under a new attempt among these effects."""
    return [effect for effect in effects if isinstance(effect, Dispatch)]


def outcomes(effects: Iterable[Effect]) -> dict[str, Outcome]:
    """``{uuid: outcome}`` of the requests these effects end; each at most once."""
    ends = [effect for effect in effects if isinstance(effect, Resolve)]
    found = {end.uuid: end.outcome for end in ends}
    assert len(found) == len(ends), "a request ended twice"
    return found


def lines(effects: Iterable[Effect]) -> list[Event]:
    """What is recorded, apart from the dispatches' own lines and of workers."""
    return [
        effect.event
        for effect in effects
        if isinstance(effect, Record) and effect.event.word not in ("worker", "gone")
    ]


def letters(effects: Iterable[Effect], kind: str) -> list[Received]:
    """What is sent of this kind, as it arrives at the worker; new attempts apart."""
    return [
        arrived(effect.parcel, at_worker=True)
        for effect in effects
        if isinstance(effect, Publish) and effect.parcel.envelope.kind == kind
    ]


def receipts(effects: Iterable[Effect]) -> dict[str, list[str]]:
    """``{boot: tickets}`` that may be forgotten, in the order they are named."""
    found: dict[str, list[str]] = {}
    for letter in letters(effects, envelope.RECEIPT):
        assert isinstance(letter.message, Receipt)
        boot = letter.envelope.header.boot if letter.envelope.header else None
        named = [str(ticket) for ticket in parse(letter.message.tickets)]
        found.setdefault(boot or "", []).extend(named)
    return found


def cancels(effects: Iterable[Effect]) -> list[tuple[str, str, str, str]]:
    """CANCELs as (boot, tickets, what if it started, why)."""
    found: list[tuple[str, str, str, str]] = []
    for letter in letters(effects, envelope.CANCEL):
        header, body = letter.envelope.header, letter.message
        assert isinstance(body, Cancel)
        assert header is not None
        found.append((header.boot or "", header.tickets or "", body.if_started, body.reason))
    return found


class Native:
    """A native worker process. ``ahead``: how far its clock is before ours, in seconds."""

    def __init__(
        self,
        boot: str,
        *,
        topics: tuple[str, ...] = (TOPIC,),
        ahead: float = 1000.0,
        caps: tuple[str, ...] = (*envelope.CAPS, envelope.STOPS),
        beat: float | None = None,
        replaces: str | None = None,
        node: NodeReport | None = None,
    ) -> None:
        self.node = node
        if node is not None:
            caps = (*caps, envelope.RESOURCES)
        self.boot = boot * 16 if len(boot) == 1 else boot
        self.name = f"worker-{boot}"
        self.topics = topics
        self.ahead = ahead
        self.caps = caps
        self.beat = beat
        self.replaces = replaces

    def header(self, now: float) -> Header:
        """What each of its messages says."""
        return Header(worker=self.name, boot=self.boot, clock=int((now + self.ahead) * 1000))

    def answer(
        self,
        now: float,
        *tasks: str,
        credit: int = 2,
        topic: str | None = None,
        serves: int | None = None,
        free: Resources | None = None,
    ) -> Received:
        """NOTIFY: here, with these tasks; ``serves``: which incarnation of the executor.

        ``free``: what of its machine others leave to us; None: it says what it has, and no more.
        """
        node = self.node and replace(self.node, free=free)
        header = self.header(now)._replace(
            caps=self.caps,
            slots=2,
            credit=credit,
            inbox=inbox_key(self.topics[0], self.boot),
            beat=None if self.beat is None else int(self.beat * 1000),
            replaces=self.replaces,
            incarnation=serves,
            node=None if node is None else node.to_json(),
        )
        around = Envelope(envelope.NOTIFY, header=header)
        return delivered(around, Answer(topic or self.topics[0], tasks), at_worker=False)

    def goodbye(self, now: float) -> Received:
        """NOTIFY: going down."""
        return self.answer(now, credit=0)

    def says(
        self,
        dispatch: Dispatch,
        response: Response,
        now: float,
        *,
        end: End | None = None,
        tickets: str | None = None,
        credit: int | None = None,
    ) -> Received:
        """RESPONSE to a dispatch; ``tickets`` to name others than were sent."""
        named = tickets or _newest(dispatch) or "1:1"
        header = self.header(now)._replace(tickets=named, end=end, credit=credit)
        around = Envelope(envelope.RESPONSE, correlation_id=dispatch.uuid, header=header)
        return delivered(around, response, at_worker=False)

    def running(self, dispatch: Dispatch, now: float) -> Received:
        """It starts."""
        return self.says(dispatch, Response.running(), now)

    def success(self, dispatch: Dispatch, now: float, value: Json = "done") -> Received:
        """It returned."""
        return self.says(dispatch, Response.success(value), now, end="done")

    def failure(
        self, dispatch: Dispatch, now: float, end: End = "done", said: FailureDict = FAILED
    ) -> Received:
        """It raised, or its process ended."""
        return self.says(dispatch, Response.failure(said), now, end=end)

    def gives_back(self, now: float, reason: ReleaseReason, *given: Dispatch | str) -> Received:
        """RELEASE of these dispatches, or of tickets as text."""
        items = tuple((_tickets(one), reason) for one in given)
        around = Envelope(envelope.RELEASE, correlation_id="any", header=self.header(now))
        return delivered(around, Release(items), at_worker=False)

    def drops(self, now: float, *given: Dispatch | str) -> Received:
        """DROPPED: the results of these were thrown away."""
        around = Envelope(envelope.DROPPED, header=self.header(now))
        named = " ".join(_newest(one) for one in given)
        return delivered(around, Dropped(named), at_worker=False)

    def held(
        self,
        now: float,
        *,
        queued: Dispatch | str = "",
        running: Dispatch | str = "",
        ended: Dispatch | str = "",
        dropped: Dispatch | str = "",
    ) -> Received:
        """HELD: these, and nothing else."""
        around = Envelope(envelope.HELD, header=self.header(now))
        digest = Held(*(_newest(one) for one in (queued, running, ended, dropped)))
        return delivered(around, digest, at_worker=False)


class Taskflow:
    """taskflow's workers of one topic: no header, and no name."""

    def __init__(self, topic: str = TOPIC) -> None:
        self.topic = topic

    def answer(self, *tasks: str) -> Received:
        """NOTIFY."""
        return delivered(Envelope(envelope.NOTIFY), Answer(self.topic, tasks), at_worker=False)

    def says(self, uuid: str, response: Response) -> Received:
        """RESPONSE."""
        around = Envelope(envelope.RESPONSE, correlation_id=uuid)
        return delivered(around, response, at_worker=False)

    def running(self, uuid: str) -> Received:
        """It starts."""
        return self.says(uuid, Response.running())

    def success(self, uuid: str, value: Json = "done") -> Received:
        """It returned."""
        return self.says(uuid, Response.success(value))

    def failure(self, uuid: str) -> Received:
        """It raised."""
        return self.says(uuid, Response.failure(FAILED))


def _tickets(given: Dispatch | str) -> str:
    if isinstance(given, str):
        return given
    header = given.parcel.envelope.header
    assert header is not None
    assert header.tickets is not None
    return header.tickets


def _newest(given: Dispatch | str) -> str:
    """The ticket of this very dispatch; text as it is."""
    if isinstance(given, str):
        return given
    header = given.parcel.envelope.header
    return str(parse(header.tickets or "")[-1]) if header is not None else ""
