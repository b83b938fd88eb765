"""Executors as a worker hears them, and what a worker answers, read back as on a broker."""

from __future__ import annotations

from collections.abc import Iterable

from protocol import envelope, messages
from protocol.envelope import Envelope, Header
from protocol.messages import (
    Answer,
    Cancel,
    CancelReason,
    Dropped,
    Held,
    IfStarted,
    Message,
    Question,
    Receipt,
    Release,
    Request,
    Response,
)
from protocol.parcel import Parcel, Received
from protocol.values import Json
from worker.effects import Done, Effect, End, Run, Send, TakeBack

BOOT = "b" * 16
TASK = "m.task"


def delivered(around: Envelope, message: Message, *, at_worker: bool) -> Received:
    """What a dispatcher makes of it at the other end; raises for what cannot be on the wire."""
    text = around.header.to_text() if around.header else None
    parsed = envelope.parse(
        around.kind, around.reply_to, around.correlation_id, text, at_worker=at_worker
    )
    body = messages.encode(message)
    return Received(parsed, messages.decode(parsed.kind, body, at_worker=at_worker))


class Native:
    """A native executor. Times are in the worker's clock."""

    def __init__(self, name: str = "ex-1", incarnation: int = 1) -> None:
        self.name = name
        self.incarnation = incarnation

    def question(
        self, *, keep: int | None = None, caps: tuple[str, ...] | None = envelope.CAPS
    ) -> Received:
        """NOTIFY, asking."""
        header = Header(executor=self.name, incarnation=self.incarnation, caps=caps, keep=keep)
        around = Envelope(envelope.NOTIFY, self.name, header=header)
        return delivered(around, Question(), at_worker=True)

    def tickets(self, tickets: int | str) -> str:
        """As text; a number alone is of this incarnation."""
        return tickets if isinstance(tickets, str) else f"{self.incarnation}:{tickets}"

    def request(
        self,
        uuid: str,
        ticket: int | str,
        *,
        start_by: float = 60.0,
        boot: str = BOOT,
        attempt: int | None = None,
        base: int | None = None,
        task: str = TASK,
        reply_to: str | None = None,
        time_limit: int | None = None,
        soft_time_limit: int | None = None,
        need: dict[str, Json] | None = None,
        caps: tuple[str, ...] | None = None,
    ) -> Received:
        """REQUEST to this boot; limits in milliseconds, as on the wire."""
        header = Header(
            executor=self.name,
            incarnation=self.incarnation,
            boot=boot,
            tickets=self.tickets(ticket),
            start_by=int(start_by * 1000),
            attempt=attempt,
            base=base,
            mode="alo",
            time_limit=time_limit,
            soft_time_limit=soft_time_limit,
            need=need,
            caps=caps,
        )
        around = Envelope(envelope.REQUEST, reply_to or self.name, uuid, header)
        return delivered(around, Request(task, args=(1,), arguments={"k": 2}), at_worker=True)

    def cancel(
        self,
        uuid: str,
        tickets: int | str,
        if_started: IfStarted = "keep",
        *,
        reason: CancelReason = "user",
        start_by: float = 60.0,
        boot: str = BOOT,
        attempt: int | None = None,
        base: int | None = None,
    ) -> Received:
        """CANCEL to this boot."""
        header = Header(
            executor=self.name,
            incarnation=self.incarnation,
            boot=boot,
            tickets=self.tickets(tickets),
            start_by=int(start_by * 1000),
            attempt=attempt,
            base=base,
        )
        around = Envelope(envelope.CANCEL, self.name, uuid, header)
        return delivered(around, Cancel(if_started, reason), at_worker=True)

    def receipt(self, tickets: int | str, *, boot: str = BOOT) -> Received:
        """RECEIPT to this boot."""
        header = Header(executor=self.name, incarnation=self.incarnation, boot=boot)
        around = Envelope(envelope.RECEIPT, self.name, header=header)
        return delivered(around, Receipt(self.tickets(tickets)), at_worker=True)


class Taskflow:
    """A taskflow engine: no header."""

    def __init__(self, name: str = "3f2c6a5e-0000-4000-8000-000000000001") -> None:
        self.name = name

    def question(self) -> Received:
        """NOTIFY, asking."""
        around = Envelope(envelope.NOTIFY, self.name)
        return delivered(around, Question(), at_worker=True)

    def request(self, uuid: str, task: str = TASK) -> Received:
        """REQUEST on the topic: a revert, which has everything a body can have."""
        failure = {"exception_str": "x", "traceback_str": "", "exc_type_names": ["E", "Exception"]}
        request = Request(
            task,
            name="an atom",
            action="revert",
            arguments={"k": 2},
            result=("success", 5),
            failures={"other": failure},
        )
        return delivered(Envelope(envelope.REQUEST, self.name, uuid), request, at_worker=True)


def parcels(effects: Iterable[Effect]) -> list[Parcel]:
    """What is sent."""
    return [effect.parcel for effect in effects if isinstance(effect, Send)]


def runs(effects: Iterable[Effect]) -> list[Run]:
    """What is handed to the pool."""
    return [effect for effect in effects if isinstance(effect, Run)]


def read(parcel: Parcel) -> Received:
    """As its addressee reads it: executors everything but a REQUEST put back on the topic."""
    around = parcel.envelope
    at_worker = around.kind == envelope.REQUEST
    text = around.header.to_text() if around.header else None
    parsed = envelope.parse(
        around.kind, around.reply_to, around.correlation_id, text, at_worker=at_worker
    )
    return Received(parsed, messages.decode(parsed.kind, parcel.body, at_worker=at_worker))


def header(parcel: Parcel) -> Header:
    """Its header, which must be there."""
    assert parcel.envelope.header is not None
    return parcel.envelope.header


def told(effects: Iterable[Effect]) -> list[str]:
    """What is sent, in short: ``RUNNING u1``, ``RELEASE late 1:2``, ``ANSWER default to all``,
    ``HELD running 1:2, ended 1:1``, ``DROPPED 1:3``.
    """
    found = []
    for parcel in parcels(effects):
        received = read(parcel)
        message = received.message
        if isinstance(message, Response):
            found.append(f"{message.state} {received.envelope.correlation_id}")
        elif isinstance(message, Release):
            found += [f"RELEASE {reason} {tickets}" for tickets, reason in message.items]
        elif isinstance(message, Answer):
            found.append(f"ANSWER {message.topic} to {parcel.address.routing_key or 'all'}")
        elif isinstance(message, Held):
            found.append(f"HELD {in_words(message)}")
        elif isinstance(message, Dropped):
            found.append(f"DROPPED {message.tickets}")
        else:
            found.append(
                f"REQUEST {received.envelope.correlation_id} to {parcel.address.routing_key}"
            )
    return found


def in_words(held: Held) -> str:
    """A digest, as ``running 1:2, ended 1:1``; ``nothing`` for one of nothing."""
    said = held.to_body()
    assert isinstance(said, dict)
    return ", ".join(f"{state} {tickets}" for state, tickets in said.items()) or "nothing"


def done(effects: Iterable[Effect]) -> list[str]:
    """All effects, in short and in order: what is sent as in ``told``, ``RUN 2`` (the attempt),
    ``END``, ``DONE``.
    """
    found: list[str] = []
    for effect in effects:
        if isinstance(effect, Send):
            found += told([effect])
        elif isinstance(effect, Run):
            found.append(f"RUN {effect.work.attempt}")
        elif isinstance(effect, End):
            found.append("END")
        elif isinstance(effect, TakeBack):
            found.append("TAKE BACK")
        else:
            assert isinstance(effect, Done)
            found.append("DONE")
    return found
