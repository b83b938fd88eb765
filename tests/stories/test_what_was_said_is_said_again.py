"""Whoever can read a broker can say again what was said there, later, and to somebody else.

A worker and two executors, over each broker; every message that they published is kept, as it was,
by a thief with plain kombu; what travelled in a batch is kept by itself as well. While a request
runs he sends all of it again, several times and in any order; then what was meant for one executor
to the other; and then with the correlation ids of others. With signatures and without; and in
taskflow's dialect, whose requests have no tickets: a copy of a request is a request there.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kombu
import pytest

from bus.wire import broker, parse_url
from bus.wire.guard import Guard
from bus.wire.outgoing import properties_of
from executor import Executor, Future
from protocol import batch
from protocol.envelope import BATCH, HEADER, parse_header
from protocol.parcel import Parcel
from protocol.topology import Dialect, Names
from protocol.values import dumps
from tests.samples import counted, gate
from worker import Worker

DEADLINE = 30.0  # seconds
COUNT = "tests.samples.counted.count"
ONCE = "tests.samples.counted.count_once"
WALK = "tests.samples.gate.walk_through"
NATIVE_KINDS = {"NOTIFY", "REQUEST", "RESPONSE", "HELD", "RECEIPT", "CANCEL", "RELEASE"}
TASKFLOW_KINDS = {"NOTIFY", "REQUEST", "RESPONSE"}


@dataclass(frozen=True)
class Message:
    """One, as it was published."""

    body: Any
    about: dict[str, Any]

    @property
    def kind(self) -> str:
        """REQUEST, or another."""
        return str(self.about["type"])

    def but(self, **changes: Any) -> Message:
        """The same, with something else around it."""
        return Message(self.body, {**self.about, **changes})

    def parts(self) -> list[Message]:
        """What is in a batch, each as if it had been published alone, but unsigned."""
        if self.kind != BATCH:
            return []
        shared = parse_header(self.about["headers"][HEADER])
        assert shared is not None
        return [
            Message(
                dumps(part["body"]),
                {
                    **self.about,
                    "type": part["type"],
                    "correlation_id": part.get("correlation_id"),
                    "headers": {HEADER: shared.with_own(part["header"]).to_text()},
                },
            )
            for part in batch.parts(self.body)
        ]


@dataclass
class House:
    """Who is there."""

    dialect: Dialect
    is_signed: bool
    executor: Executor
    other: Executor
    names: Names
    thief: kombu.Producer
    #: What was published, by whomever, in order.
    said: list[Message]

    def say(self, messages: list[Message]) -> None:
        """Publish these."""
        for message in messages:
            self.thief.publish(message.body, **message.about)

    def heard(self) -> list[Message]:
        """What has been said so far, in batches and alone."""
        said = list(self.said)
        return said + [part for message in said for part in message.parts()]

    def kinds(self) -> set[str]:
        """Of that."""
        return {message.kind for message in self.heard()}


@pytest.fixture(params=["native", "signed", "taskflow"])
def house(
    request: pytest.FixtureRequest,
    broker_url: str,
    exchange: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[House]:
    """A worker of one slot, two executors, and a thief who reads whatever they publish."""
    dialect: Dialect = "taskflow" if request.param == "taskflow" else "native"
    keys = None
    if request.param == "signed":
        keys = tmp_path / "keys"
        keys.touch(0o600)
        keys.write_text(f"one: {'11' * 32}")
    said: list[Message] = []

    def listened(parcel: Parcel, guard: Guard | None = None) -> dict[str, Any]:
        about = properties_of(parcel, guard)
        said.append(Message(parcel.body, about))
        return about

    monkeypatch.setattr(broker, "properties_of", listened)
    counted.RUNS.clear()
    gate.BEGUN.clear()
    gate.OPEN.clear()
    with ExitStack() as stack:
        common: dict[str, Any] = {"exchange": exchange, "signing_keys": keys}
        worker = Worker(
            ["tests.samples.counted", "tests.samples.gate"],
            url=broker_url, pool="threads", concurrency=1, dialect=dialect, drain_timeout=5.0,
            **common,
        )  # fmt: skip
        stack.enter_context(worker)
        executors = [
            stack.enter_context(Executor(broker_url, name=name, dialects=[dialect], **common))
            for name in ("one", "another")
        ]
        stack.callback(gate.OPEN.set)
        for executor in executors:
            executor.wait_for_workers(1, DEADLINE)
        place = parse_url(broker_url)
        options: dict[str, Any] = {}
        if place.kind == "local":
            options = {"transport": place.transport, "transport_options": dict(place.options)}
        connection = stack.enter_context(
            kombu.Connection(**options) if options else kombu.Connection(broker_url)
        )
        channel = connection.channel()
        names = Names(dialect, exchange)
        exchanges = [names.call, names.hello] if names.is_native else [names.topic("x").exchange]
        for each in exchanges:  # where the client routes it has to know them
            assert each is not None
            kombu.Exchange(
                each.name, each.type, durable=each.durable, auto_delete=each.auto_delete
            ).bind(channel).declare()

        thief = kombu.Producer(channel, auto_declare=False)
        yield House(dialect, keys is not None, *executors, names, thief, said)


def until(holds: Callable[[], object]) -> None:
    """Wait for it."""
    end = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.01)


def work(house: House) -> dict[str, Future[Any]]:
    """Requests of every kind, as far as one can have them; they have ended."""
    ended: dict[str, Future[Any]] = {}
    for executor, whose in ((house.executor, "ours"), (house.other, "others")):
        for task, how in ((COUNT, "often"), (ONCE, "once")):
            ended[f"{whose} {how}"] = executor.submit(task, name=f"{whose} {how}")
    for name, future in ended.items():
        assert future.result(DEADLINE) == name
    return ended


def run_one(house: House) -> Future[Any]:
    """It runs, and its executor knows it."""
    gate.BEGUN.clear()
    gate.OPEN.clear()
    future = house.executor.submit(WALK)
    assert gate.BEGUN.wait(DEADLINE)
    until(future.running)
    return future


def test_nothing_that_is_said_again_runs_or_ends_anything(house: House) -> None:
    ended = work(house)
    walk = run_one(house)
    if house.names.is_native:
        queued = house.executor.submit(COUNT, name="cancelled")
        until(lambda: any(m.about.get("correlation_id") == queued.uuid for m in house.heard()))
        assert queued.cancel()
        until(lambda: house.kinds() >= NATIVE_KINDS)
    assert house.kinds() >= TASKFLOW_KINDS
    runs_before = +counted.RUNS
    said = house.heard()
    chance = random.Random(1)

    for _ in range(3):
        again = chance.sample(said, len(said))
        if not house.names.is_native:  # a copy of a request is one: there are no tickets
            again = [message for message in again if message.kind != "REQUEST"]
        house.say(again)
    house.say(_to_the_other(house, said))
    house.say(_under_other_ids(house, said, chance))

    # What follows comes after all that, in each queue.
    follow = [
        ex.submit(COUNT, name=f"next {n}") for n, ex in enumerate((house.executor, house.other))
    ]
    assert not walk.done()
    gate.OPEN.set()
    assert walk.result(DEADLINE) is None
    for number, future in enumerate(follow):
        assert future.result(DEADLINE) == f"next {number}"
    assert all(future.result(0) == name for name, future in ended.items())
    runs = counted.RUNS - runs_before
    assert runs == {"next 0": 1, "next 1": 1}
    if house.is_signed:
        assert house.executor.counts()["refused_signature"] > 0


def _to_the_other(house: House, said: list[Message]) -> list[Message]:
    """What was sent to one executor's replies, to those of the other."""
    ours = house.names.to_replies(house.executor._engine.id).routing_key
    theirs = house.names.to_replies(house.other._engine.id).routing_key
    swapped = {ours: theirs, theirs: ours}
    return [
        message.but(routing_key=swapped[message.about["routing_key"]])
        for message in said
        if message.about["routing_key"] in swapped
    ]


def _under_other_ids(house: House, said: list[Message], chance: random.Random) -> list[Message]:
    """Answers, receipts, cancels and requests under the correlation ids of others."""
    uuids = sorted({str(m.about["correlation_id"]) for m in said if m.about.get("correlation_id")})
    return [
        message.but(correlation_id=chance.choice(uuids))
        for message in said * 3
        if house.names.is_native and message.kind != "NOTIFY"
    ]
