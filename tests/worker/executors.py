"""Executors as a worker hears them, and what a worker answers, read back as on a broker."""

from __future__ import annotations

from collections.abc import Iterable

from protocol import envelope, messages
from protocol.envelope import Envelope, Header
from protocol.messages import Answer, Message, Question, Release, Request, Response
from protocol.parcel import Parcel, Received
from worker.effects import Effect, Run, Send

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

    def question(self) -> Received:
        """NOTIFY, asking."""
        header = Header(executor=self.name, incarnation=self.incarnation, caps=envelope.CAPS)
        around = Envelope(envelope.NOTIFY, self.name, header=header)
        return delivered(around, Question(), at_worker=True)

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
    ) -> Received:
        """REQUEST to this boot."""
        header = Header(
            executor=self.name,
            incarnation=self.incarnation,
            boot=boot,
            tickets=ticket if isinstance(ticket, str) else f"{self.incarnation}:{ticket}",
            start_by=int(start_by * 1000),
            attempt=attempt,
            base=base,
            mode="alo",
        )
        around = Envelope(envelope.REQUEST, reply_to or self.name, uuid, header)
        return delivered(around, Request(task, args=(1,), arguments={"k": 2}), at_worker=True)


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


def told(effects: Iterable[Effect]) -> list[str]:
    """What is sent, in short: ``RUNNING u1``, ``RELEASE late 1:2``, ``ANSWER default to all``."""
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
        else:
            found.append(
                f"REQUEST {received.envelope.correlation_id} to {parcel.address.routing_key}"
            )
    return found
