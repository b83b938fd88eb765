"""Whatever anybody writes into our queues, the next good request is served.

A real worker and a real executor, in this process, over each of the four brokers and in both
dialects. A stranger with plain kombu writes every kind of nonsense into the worker's queues, then
into the executor's. Each piece is refused, counted by its reason, logged once for each reason and
peer, and answered with a FAILURE where there is somebody to answer.
"""

from __future__ import annotations

import json
import pickle
import re
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import kombu
import pytest

from bus.wire import Broker, parse_url
from executor import Executor, Future
from protocol import messages
from protocol.envelope import HEADER, Header
from protocol.messages import Answer, Release, Request, Response
from protocol.topology import DIALECTS, Address, Dialect, Names, inbox_key
from tests.processes import wait_until
from tests.samples import gate
from worker import Worker

DEADLINE = 20.0  # seconds
TOPIC = "default"
STRANGER = "stranger"
ADD = "tests.samples.tasks.add"
WALK = "tests.samples.gate.walk_through"
FAR = 2**52  # a start-by that no clock reaches

GOOD = messages.encode(Request(ADD, arguments={"x": 2, "y": 3}))
RUNNING = messages.encode(Response.running())
SUCCESS = messages.encode(Response.success("forged"))
GZIP = {"compression": "application/x-gzip"}
BOMB = zlib.compress(b" " * 20_000_000)


@dataclass
class House:
    """A worker, an executor, and a stranger who knows the names of their queues."""

    url: str
    names: Names
    worker: Worker
    executor: Executor
    #: Plain kombu's.
    stranger: kombu.Producer
    #: Where the stranger is answered.
    ear: Broker
    #: By correlation id, the bodies of the answers to the stranger.
    answers: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))

    def write(self, to: Address, body: Any = GOOD, **changes: Any) -> None:
        """Publish a good request, but for what is said otherwise; None leaves a property out."""
        about = {
            "content_type": "application/json",
            "content_encoding": "utf-8",
            "type": "REQUEST",
            "reply_to": STRANGER,
            "correlation_id": "c",
            **changes,
        }
        self.stranger.publish(
            body,
            exchange=to.exchange,
            routing_key=to.routing_key,
            **{name: value for name, value in about.items() if value is not None},
        )

    def hear(self, *correlation_ids: str) -> None:
        """Wait for the end of each of these."""
        until = time.monotonic() + DEADLINE
        missing = set(correlation_ids)
        while missing and time.monotonic() < until:
            deliveries = self.ear.drain(0.2)
            for delivery in deliveries:
                about = delivery.properties
                said = json.loads(delivery.message.body)
                self.answers[about.get("correlation_id") or about["type"]].append(said)
            self.ear.settle(deliveries)
            missing = {
                each
                for each in correlation_ids
                if not any(
                    said.get("state") in ("SUCCESS", "FAILURE") for said in self.answers[each]
                )
            }
        assert not missing, f"never answered: {sorted(missing)}; answers: {dict(self.answers)}"

    def states(self, correlation_id: str) -> list[str]:
        """What was answered."""
        return [said["state"] for said in self.answers[correlation_id]]

    def inboxes(self) -> list[Address]:
        """Wherever a worker reads requests."""
        if self.names.is_native:
            return [self.names.to_inbox(inbox_key(TOPIC, self.worker.boot))]
        return [self.names.to_topic(topic) for topic in self.worker.topics]


def plain(url: str) -> kombu.Connection:
    """A connection of stock kombu's; to the local broker there is no other way than ours."""
    broker = parse_url(url)
    if broker.kind == "local":
        return kombu.Connection(transport=broker.transport, transport_options=dict(broker.options))
    options = {"confirm_publish": True} if broker.kind == "amqp" else {}
    return kombu.Connection(url, transport_options=options)


@pytest.fixture(params=DIALECTS)
def house(request: pytest.FixtureRequest, broker_url: str, exchange: str) -> Iterator[House]:
    """Everybody is there, and the worker has been heard of."""
    dialect: Dialect = request.param
    names = Names(dialect, exchange)
    topics = [TOPIC, "another"]
    gate.BEGUN.clear()
    gate.OPEN.clear()
    with ExitStack() as stack:
        stack.callback(gate.OPEN.set)
        worker = stack.enter_context(
            Worker(
                ["tests.samples.tasks", "tests.samples.gate"],
                url=broker_url,
                exchange=exchange,
                topics=topics,
                pool="threads",
                concurrency=2,
                dialect=dialect,
                drain_timeout=5.0,
            )
        )
        executor = stack.enter_context(
            Executor(
                broker_url,
                exchange=exchange,
                topics=topics,
                name="our-executor",
                dialects=[dialect],
            )
        )
        stack.callback(gate.OPEN.set)
        ear = Broker(parse_url(broker_url))
        ear.open()
        stack.callback(ear.close)
        ear.consume([names.replies(STRANGER)])
        connection = stack.enter_context(plain(broker_url))
        stranger = kombu.Producer(connection.channel(), auto_declare=False)
        if not names.is_native and broker_url.startswith(("redis", "local", "memory")):
            # These route in the client: it has to know the exchange.
            kombu.Exchange(exchange, "direct", durable=False, auto_delete=True).bind(
                stranger.channel
            ).declare()
        executor.wait_for_workers(1, DEADLINE)
        yield House(broker_url, names, worker, executor, stranger, ear)


#: What is wrong with it: the reason it is counted under, and whether somebody is told.
AT_A_WORKER: dict[str, tuple[str, bool, dict[str, Any]]] = {
    "no type": ("no_type", False, {"type": None}),
    "unknown type": ("unknown_type", False, {"type": "CELERY"}),
    "a reply": ("wrong_side", False, {"type": "RESPONSE", "body": RUNNING}),
    "no reply_to": ("no_reply_to", False, {"reply_to": None}),
    "no correlation_id": ("no_correlation_id", False, {"correlation_id": None}),
    "a question with a body": ("schema", False, {"type": "NOTIFY", "body": b'{"x": 1}'}),
    "empty": ("json", True, {"body": b""}),
    "cut": ("json", True, {"body": GOOD[:-7]}),
    "cut, unknown encoding": ("json", True, {"body": GOOD[:-7], "content_encoding": "klingon"}),
    "no UTF-8": ("json", True, {"body": GOOD[:-1] + b',"a":"\xff\xfe"}'}),
    "NaN": ("json", True, {"body": GOOD.replace(b"2", b"NaN", 1)}),
    "Infinity": ("json", True, {"body": GOOD.replace(b"2", b"-Infinity", 1)}),
    "deep": ("json", True, {"body": b"[" * 100_000 + b"]" * 100_000}),
    "deep arguments": (
        "json",
        True,
        {"body": GOOD.replace(b'"x":2', b'"x":' + b"[" * 100_000 + b"]" * 100_000)},
    ),
    "an array": ("schema", True, {"body": b"[]"}),
    "another object": ("schema", True, {"body": b'{"task": "celery"}'}),
    "unknown action": ("schema", True, {"body": GOOD.replace(b'"execute"', b'"explode"')}),
    "arguments of text": ("schema", True, {"body": GOOD.replace(b'{"x":2,"y":3}', b'"x"')}),
    "pickle": (
        "content_type",
        True,
        {
            "body": pickle.dumps({"x": 1}),
            "content_type": "application/x-python-serialize",
            "content_encoding": "binary",
        },
    ),
    "plain text": ("content_type", True, {"body": b"hello", "content_type": "text/plain"}),
    "bytes": (
        "content_type",
        True,
        {"body": b"\xff", "content_type": "application/data", "content_encoding": "binary"},
    ),
    "yaml": ("content_type", True, {"content_type": "application/x-yaml"}),
    "a bomb": ("compression", True, {"body": BOMB, "headers": GZIP}),
    "compressed": ("compression", True, {"body": zlib.compress(GOOD), "headers": GZIP}),
    "not compressed": ("compression", True, {"headers": GZIP}),
    "unknown compression": ("compression", True, {"headers": {"compression": "klingon"}}),
    "a header of a number": ("header", True, {"headers": {HEADER: 5}}),
    "a header of a table": ("header", True, {"headers": {HEADER: {"v": 1}}}),
    "a header that is cut": ("header", True, {"headers": {HEADER: '{"v": 1'}}),
    "a header that is long": ("header", True, {"headers": {HEADER: " " * 5000}}),
    "a header of text": ("schema", True, {"headers": {HEADER: '"v"'}}),
    "a header of a wrong version": ("schema", True, {"headers": {HEADER: '{"v": "one"}'}}),
    "a header of nothing": ("incomplete", True, {"headers": {HEADER: '{"v": 1}'}}),
}


def test_nonsense_at_a_worker_is_refused_counted_answered_and_forgotten(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """In every queue it reads requests from; after each of them a good request is served."""
    expected: Counter[str] = Counter()
    told: list[str] = []
    for place, address in enumerate(house.inboxes()):
        for what, (reason, is_told, changes) in AT_A_WORKER.items():
            uuid = f"{place} {what}"
            house.write(address, **{"correlation_id": uuid, **changes})
            expected[reason] += 1
            if is_told:
                told.append(uuid)
        if house.url.startswith("redis"):
            house.stranger.channel.client.lpush(_list_of(house, address), b"\x00raw garbage", b"[]")
            expected["content_type"] += 2
        house.write(address, correlation_id=f"good {place}")
        house.hear(f"good {place}", *told)
        assert house.states(f"good {place}") == ["RUNNING", "SUCCESS"]
        assert house.answers[f"good {place}"][-1]["data"] == {"result": 5}
    assert house.worker._dispatcher.refusals == expected
    for uuid in told:
        assert house.states(uuid) == ["FAILURE"], uuid
        assert "refused the request" in house.answers[uuid][0]["data"]["result"]["exception_str"]
    assert set(house.answers) <= {*told, "good 0", "good 1"}
    assert house.executor.submit(ADD, x=1, y=2).result(DEADLINE) == 3
    lines = [
        found.groups()
        for record in caplog.records
        if (found := re.match(r"refused a message from (.+?): (\w+):", record.getMessage()))
    ]
    assert len(lines) == len(set(lines))  # once for each peer and reason
    assert {reason for _, reason in lines} == set(expected)
    assert {peer for peer, _ in lines} == {f"'{STRANGER}'", "an unknown peer"}


def _list_of(house: House, address: Address) -> str:
    """The Redis list behind an address."""
    if address.declare is not None:
        return str(address.declare.name)
    return address.routing_key


def test_requests_that_cannot_be_run_are_answered_and_the_next_one_is_served(house: House) -> None:
    """Unknown task, arguments that do not fit, nowhere to answer to; and each of them twice."""
    unknown = messages.encode(Request("no.such_task"))
    wrong = messages.encode(Request(ADD, arguments={"nope": 1}))
    raises = messages.encode(Request("tests.samples.tasks.fail", arguments={"text": "on purpose"}))
    told: list[str] = []
    for place, address in enumerate(house.inboxes()):
        for what, body in (("unknown", unknown), ("wrong", wrong), ("raises", raises)):
            uuid = f"{place} {what}"
            house.write(address, body, correlation_id=uuid)
            house.write(address, body, correlation_id=uuid)
            told.append(uuid)
        for steered in ("../etc", "a b", "x" * 200, "celery\n", inbox_key(TOPIC, "0" * 16)):
            house.write(address, reply_to=steered)
        house.write(address, correlation_id=f"good {place}", content_encoding="klingon")
        house.hear(f"good {place}", *told)
    for uuid in told:
        assert "FAILURE" in house.states(uuid)
        assert "SUCCESS" not in house.states(uuid)
    for place in range(len(house.inboxes())):
        said = house.answers[f"{place} unknown"][-1]["data"]["result"]
        assert "does not offer the task 'no.such_task'" in said["exception_str"]
        assert house.answers[f"{place} wrong"][-1]["data"]["result"]["exc_type_names"][0].endswith(
            "TypeError"
        )
    assert house.worker.counts()["reply_to_not_addressable"] == 5 * len(house.inboxes())
    if house.names.is_native:
        _send_odd_tickets(house)
    assert house.executor.submit(ADD, x=1, y=2).result(DEADLINE) == 3


def _send_odd_tickets(house: House) -> None:
    """Requests of native peers that are doubled, meant for others, outdated or too late."""
    address = house.inboxes()[0]
    boot = house.worker.boot

    def ask(uuid: str, **said: Any) -> None:
        header = Header(
            **{  # type: ignore[arg-type]
                "executor": STRANGER,
                "incarnation": 2,
                "boot": boot,
                "start_by": FAR,
                "mode": "alo",
                **said,
            }
        )
        house.write(address, correlation_id=uuid, headers={HEADER: header.to_text()})

    ask("first", tickets="2:1")
    house.hear("first")
    ask("first", tickets="2:1")  # as a broker may deliver it again
    ask("for another", tickets="2:2", boot="f" * 16)
    ask("outdated", tickets="1:9", incarnation=1)
    ask("of ticket nought", tickets="2:0")
    ask("late", tickets="2:3", start_by=1)
    ask("last", tickets="2:4")
    house.hear("last")
    # Said again when it is asked again, and of its own accord: nobody has receipted it.
    assert house.states("first")[:2] == ["RUNNING", "SUCCESS"]
    assert set(house.states("first")[2:]) == {"SUCCESS"}
    counts = house.worker.counts()
    for reason in ("double", "wrong_boot", "old_incarnation", "tickets", "given_back_late"):
        assert counts.get(reason) == 1, (reason, counts)
    assert house.answers["late"] == [{"items": [{"tickets": "2:3", "reason": "late"}]}]
    for silent in ("for another", "outdated", "of ticket nought"):
        assert house.answers[silent] == []


def walking(house: House) -> Future[Any]:
    """A request that runs, and of which the executor knows that it does."""
    future = house.executor.submit(WALK)
    assert gate.BEGUN.wait(DEADLINE)
    wait_until(future.running, "the word that it runs")
    return future


AT_AN_EXECUTOR: dict[str, tuple[str, dict[str, Any]]] = {
    "no type": ("no_type", {"type": None}),
    "unknown type": ("unknown_type", {"type": "CELERY"}),
    "a request": ("wrong_side", {"type": "REQUEST", "body": GOOD}),
    "no correlation_id": ("no_correlation_id", {"correlation_id": None}),
    "cut": ("json", {"body": SUCCESS[:-3]}),
    "no UTF-8": ("json", {"body": b'{"state": "\xff"}'}),
    "NaN": ("json", {"body": b'{"state": "SUCCESS", "data": {"result": NaN}}'}),
    "deep": ("json", {"body": b"[" * 100_000}),
    "another object": ("schema", {"body": b"{}"}),
    "unknown state": ("schema", {"body": b'{"state": "DONE", "data": {}}'}),
    "an answer of text": ("schema", {"type": "NOTIFY", "body": b'"here"'}),
    "an answer of a number": ("schema", {"type": "NOTIFY", "body": b'{"topic": 1, "tasks": []}'}),
    "pickle": ("content_type", {"content_type": "application/x-python-serialize"}),
    "a bomb": ("compression", {"body": BOMB, "headers": GZIP}),
    "not compressed": ("compression", {"headers": GZIP}),
    "a header of a table": ("header", {"headers": {HEADER: {"v": 1}}}),
    "a header of nothing": ("incomplete", {"headers": {HEADER: '{"v": 1}'}}),
    "a release without a header": ("incomplete", {"type": "RELEASE", "body": b'{"items": []}'}),
}


def test_nonsense_at_an_executor_costs_no_request(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """While one runs: it ends as its worker says, and so does the one after it."""
    executor = house.executor
    to = house.names.to_replies(house.executor._engine.id)
    future = walking(house)
    expected: Counter[str] = Counter()
    for what, (reason, changes) in AT_AN_EXECUTOR.items():
        said = {"type": "RESPONSE", "body": RUNNING, "correlation_id": f"no such {what}", **changes}
        house.write(to, **said)
        expected[f"refused_{reason}"] += 1
    if house.url.startswith("redis"):
        garbage = (b"raw garbage", b"{}", b"5")
        house.stranger.channel.client.lpush(_replies_list(house), *garbage)
        expected["refused_content_type"] += 3

    house.write(to, SUCCESS, type="RESPONSE", correlation_id="nobody's")
    expected["late_or_unknown"] += 1
    house.write(
        to,
        messages.encode(Answer("a topic of others", ("x",))),
        type="NOTIFY",
        correlation_id=None,
    )
    expected["answer_for_others"] += 1
    expected += _send_odd_replies(house, to, future.uuid)

    assert executor.submit(ADD, x=1, y=2).result(DEADLINE) == 3  # it came after all that
    _assert_counted(executor.counts(), expected)
    assert not future.done()
    gate.OPEN.set()
    assert future.result(DEADLINE) is None

    for body in (SUCCESS, RUNNING):  # late: it has ended
        house.write(to, body, type="RESPONSE", correlation_id=future.uuid)
    expected["late_or_unknown"] += 2
    assert executor.submit(ADD, x=3, y=4).result(DEADLINE) == 7
    _assert_counted(executor.counts(), expected)
    assert future.result() is None
    lines = [record.getMessage() for record in caplog.records if "refused a" in record.getMessage()]
    assert len(lines) == len({tuple(line.split(": ")[:2]) for line in lines})


def _replies_list(house: House) -> str:
    """The Redis list of the executor's replies."""
    return house.names.replies(house.executor._engine.id).name


def _send_odd_replies(house: House, to: Address, uuid: str) -> Counter[str]:
    """About the request that runs, but such as its worker would not send; how they are counted."""

    def say(body: bytes, header: Header | None = None, kind: str = "RESPONSE") -> None:
        headers = {HEADER: header.to_text()} if header else None
        house.write(to, body, type=kind, correlation_id=uuid, reply_to=None, headers=headers)

    pending = messages.encode(Response("PENDING"))
    empty_event = messages.encode(Response("EVENT"))
    if not house.names.is_native:
        for body in (RUNNING, RUNNING, pending, messages.encode(Response("WAITING")), empty_event):
            say(body)
        return Counter(illegal_transition=2, empty_event=1)
    own = Header(boot=house.worker.boot, clock=1, tickets="1:1", worker=house.worker.name)
    other = Header(boot="f" * 16, clock=1, tickets="1:1")
    for body in (RUNNING, pending, empty_event):
        say(body, own)
    for body in (RUNNING, SUCCESS):
        say(body, other)
        say(body)
    say(SUCCESS, Header(boot=house.worker.boot, clock=1, tickets="1:77"))
    items = (("1:1", "full"), ("1:78", "late"), ("1:0", "drain"))
    say(messages.encode(Release(items)), own, "RELEASE")  # type: ignore[arg-type]
    return Counter(
        illegal_transition=1, empty_event=1, not_sent_there=5, release_of_unknown=1, tickets=1
    )


def _assert_counted(counts: dict[str, int], expected: Counter[str]) -> None:
    found = Counter({reason: counts.get(reason, 0) for reason in expected})
    # A worker that is not told soon enough that its result has come says it again.
    assert found["late_or_unknown"] >= expected["late_or_unknown"]
    assert found == expected | Counter({"late_or_unknown": found["late_or_unknown"]})


def test_a_bad_answer_to_a_request_that_runs_ends_it_and_says_so(house: House) -> None:
    """Nobody else will answer: it is not left hanging, and the next is served."""
    future = walking(house)
    to = house.names.to_replies(house.executor._engine.id)
    house.write(to, SUCCESS[:-3], type="RESPONSE", correlation_id=future.uuid)
    error = future.exception(DEADLINE)
    assert error is not None
    assert "the worker's answer was refused (json)" in str(error)
    gate.OPEN.set()
    assert house.executor.submit(ADD, x=1, y=2).result(DEADLINE) == 3
