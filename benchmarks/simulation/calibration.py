"""``measure``: the costs of this machine, by doing what they are of, many times.

The rooms that decide, with what is written and read, are measured joined (``benchmarks.calls``), so
without any thread or broker; the directory by itself, filled; the broker's library on a broker of
its own; a pool with its hosts; and a call that is alone, in earnest, for what threads add. Seconds
are CPU seconds of the thread, so that others on the machine disturb little.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final, NamedTuple

from benchmarks import process
from benchmarks.calls.joined import Joined, Submitter, Workplace, carried
from benchmarks.process import Meter
from benchmarks.simulation import check
from benchmarks.simulation.costs import Costs
from benchmarks.simulation.tasks import nap
from bus.wire.broker import Broker
from bus.wire.urls import parse_url
from executor import Executor
from executor.directory import Directory
from executor.peer import Want
from protocol import messages
from protocol.envelope import CAPS, Envelope, Header
from protocol.parcel import Parcel
from protocol.topology import DEFAULT_EXCHANGE, DEFAULT_TOPIC, Names, inbox_key
from worker.pool import make_pool
from worker.work import Ended, Report, Work

_TASK: Final = "benchmarks.tasks.bump"
_OFFERED: Final = ("benchmarks.tasks.bump", "benchmarks.tasks.turn", "benchmarks.tasks.who")
_FEW, _MANY = 1, 100  # requests in a list
_ROUNDS: Final = 5  # of many messages, for what the broker spends on them
_CROWD: Final = 2_000  # workers in a directory whose slope is taken
_WAIT: Final = 30.0  # seconds for a broker or a pool

Timed = Callable[[], object]


class Stopwatch(contextlib.AbstractContextManager["Stopwatch"]):
    """CPU seconds of this thread, within ``with``."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since = 0.0

    def __enter__(self) -> Stopwatch:
        """Go."""
        self._since = time.thread_time()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.seconds += time.thread_time() - self._since


def measure(broker: str, url: str, servers: tuple[int, ...], repeats: int = 5) -> Costs:
    """On the broker at this URL, whose processes these are. Takes seconds."""
    few = _joined(_FEW, 60, repeats)
    many = _joined(_MANY, 2, repeats)
    # For a list of n: n times the one, and once the other, which is measured below with threads.
    _, request = _line(few[0], many[0])
    _, work = _line(few[1], many[1])
    answer, beat, beat_bytes = _beat(repeats)
    choose, expiry = _directory(repeats)
    lone = _transport(url, servers, repeats, _FEW)
    listed = _transport(url, servers, repeats, _MANY)
    publish_list, publish = _line(lone.publish, listed.publish)
    drain_list, drain = _line(lone.drain, listed.drain)
    sizes = _sizes()
    pool, handover = _pool(repeats)
    work += pool
    called, worked = _alone(url, repeats)
    published, drained = publish_list + publish, drain_list + drain
    # What is sent, and what is read of its end, are a turn each of the executor's.
    turn = max(0.0, called - request - published - drained) / 2
    work_turn = max(0.0, worked - work - published - drained)
    return Costs(
        broker=broker,
        request=request,
        turn=turn,
        beat=beat,
        choose=choose,
        expiry=expiry,
        work=work,
        work_turn=work_turn,
        answer=answer,
        handover=handover,
        publish=publish,
        drain=drain,
        publish_list=publish_list,
        drain_list=drain_list,
        carry=lone.carry,
        way=lone.way,
        request_bytes=sizes["REQUEST"],
        running_bytes=sizes["RUNNING"],
        success_bytes=sizes["SUCCESS"],
        beat_bytes=beat_bytes,
        receipt_bytes=sizes["RECEIPT"],
    )


def _alone(url: str, repeats: int, count: int = 100) -> tuple[float, float]:
    """CPU seconds of an executor and of a worker's main process, for a call that is alone.

    In earnest: what it costs to wake threads is in no other of these measurements.
    """
    called, worked = [], []
    with check.workers(1, 1, url) as (pid,), Executor(url) as executor:
        executor.wait_for_workers(1, _WAIT)
        executor.submit(nap, 0.0).result(_WAIT)
        for _ in range(repeats):
            before, mine = process.table()[pid].cpu, time.process_time()
            for _ in range(count):
                executor.submit(nap, 0.0).result(_WAIT)
            called.append((time.process_time() - mine) / count)
            worked.append((process.table()[pid].cpu - before) / count)
    return statistics.median(called), statistics.median(worked)


def _line(few: float, many: float) -> tuple[float, float]:
    """``(of a list, of a request)``, from what a request costs in a list of few and of many."""
    of_a_list = (few - many) / (1 / _FEW - 1 / _MANY)
    return max(0.0, of_a_list), max(0.0, many - of_a_list / _MANY)


def _joined(at_once: int, turns: int, repeats: int) -> tuple[float, float]:
    """Seconds of the submitter and of the worker for a request, in lists of so many."""
    found = []
    for _ in range(repeats):
        submitting, working = Stopwatch(), Stopwatch()
        joined = Joined(at_once, submitting, working)
        submitting.seconds = working.seconds = 0.0
        for _ in range(turns):
            joined.turn()
        tasks = turns * at_once
        found.append((submitting.seconds / tasks, working.seconds / tasks))
    return statistics.median(f[0] for f in found), statistics.median(f[1] for f in found)


def _beat(repeats: int, count: int = 100) -> tuple[float, float, int]:
    """Seconds of a worker to answer a question, of an executor to read that, and its bytes."""
    answered, read, size = [], [], 0
    for _ in range(repeats):
        submitter, workplace = Submitter(), Workplace(4)
        submitter.consumes(100.0)
        questions = carried(submitter.sends())
        answering, reading = Stopwatch(), Stopwatch()
        for number in range(count):
            now = 100.0 + 0.001 * number
            with answering:
                workplace.hears(questions, now)
                said = workplace.sends()
            size = sum(len(each["body"]) + len(str(each["headers"])) for each in said)
            came = carried(said)
            with reading:
                submitter.hears(came, now)
        answered.append(answering.seconds / count)
        read.append(reading.seconds / count)
    return statistics.median(answered), statistics.median(read), size


def _directory(repeats: int) -> tuple[float, float]:
    """Seconds for each known worker: of finding who is best, and when the next falls silent."""
    chosen, expired = [], []
    for _ in range(repeats):
        small, large = (_directory_of(count) for count in (1, _CROWD))
        chosen.append(max(0.0, large[0] - small[0]) / (_CROWD - 1))
        expired.append(max(0.0, large[1] - small[1]) / (_CROWD - 1))
    return statistics.median(chosen), statistics.median(expired)


def _directory_of(count: int) -> tuple[float, float]:
    """The same two, in seconds, where so many workers are known, proven, and have room."""
    directory = Directory()
    now = 100.0
    for number in range(count):
        peer, _ = directory.heard(DEFAULT_TOPIC, _OFFERED, _header(number), now)
        assert peer is not None
        peer.is_proven = True
    want = Want(_TASK, (DEFAULT_TOPIC,), named_only=False)

    def choose() -> object:
        return directory.candidates(want, now).choose()

    return _timed(choose), _timed(directory.next_expiry)


def _header(number: int) -> Header:
    boot = f"{number:016x}"
    return Header(
        caps=CAPS,
        worker=f"w{number}",
        boot=boot,
        clock=1,
        slots=1,
        credit=1,
        inbox=inbox_key(DEFAULT_TOPIC, boot),
    )


def _timed(what: Timed, least: float = 0.01) -> float:
    """CPU seconds of one call."""
    what()
    calls, began = 0, time.thread_time()
    while time.thread_time() - began < least:
        what()
        calls += 1
    return (time.thread_time() - began) / calls


class _Carried(NamedTuple):
    """Of one message: CPU seconds to publish it, to take it, of the broker; and how long."""

    publish: float
    drain: float
    carry: float
    way: float


def _transport(url: str, servers: tuple[int, ...], repeats: int, at_once: int) -> _Carried:
    """In lists of so many."""
    count = 3 if at_once > 1 else 300  # lists
    names = Names("native", f"{DEFAULT_EXCHANGE}-calibration")
    key = inbox_key(DEFAULT_TOPIC, f"{os.getpid():016x}")
    body = messages.encode(messages.Request(_TASK, args=(1,)))
    header = Header(executor="calibration", incarnation=1, boot=key[-16:], tickets="1:1")
    parcel = Parcel(names.to_inbox(key), Envelope("REQUEST", "calibration", "u", header), body)
    published, drained, carried_, ways = [], [], [], []
    broker = parse_url(url)
    sender, receiver = Broker(broker), Broker(broker)
    try:
        for end in (sender, receiver):
            end.open()
        receiver.consume([names.inbox(key)])
        sender.publish([parcel])
        _take(receiver, 1)
        meter = Meter((), servers)
        for _ in range(repeats):
            publishing, draining = Stopwatch(), Stopwatch()
            for _ in range(count):
                began = time.perf_counter()
                with publishing:
                    sender.publish([parcel] * at_once)
                with draining:
                    _take(receiver, at_once)
                ways.append(time.perf_counter() - began)
            published.append(publishing.seconds / count / at_once)
            drained.append(draining.seconds / count / at_once)
            # As a fleet has it: each comes from somebody else, and all are taken together. Many,
            # because a tick of the broker's clock is a hundredth of a second.
            before = meter.cpu()
            for _ in range(_ROUNDS):
                for _ in range(_MANY):
                    sender.publish([parcel])
                _take(receiver, _MANY)
            carried_.append(meter.cpu().since(before).broker / _ROUNDS / _MANY)
        receiver.delete(names.inbox(key))
    finally:
        for end in (sender, receiver):
            end.close()
    return _Carried(
        statistics.median(published),
        statistics.median(drained),
        statistics.fmean(carried_),
        statistics.median(ways),
    )


def _take(receiver: Broker, count: int) -> None:
    until = time.monotonic() + _WAIT
    while count:
        deliveries = receiver.drain(1.0)
        receiver.settle(deliveries)
        count -= len(deliveries)
        if time.monotonic() > until:
            raise TimeoutError(f"{count} messages had not come after {_WAIT:g} s")


def _pool(repeats: int, count: int = 100) -> tuple[float, float]:
    """CPU seconds of a worker's main process for one work in its pool, and seconds it takes."""
    ended = SimpleQueue[int]()

    def report(reports: list[Report]) -> None:
        for one in reports:
            if isinstance(one, Ended):
                ended.put(one.key)

    pool = make_pool("processes", ("benchmarks.tasks",), 2)
    pool.start(report)
    found, took = [], []
    try:
        for number in range(repeats):
            before, began = time.process_time(), time.perf_counter()
            for key in range(number * count, (number + 1) * count):
                pool.run(Work(key, "u", _TASK, _TASK, "execute", [1]))
                ended.get(timeout=_WAIT)
            found.append((time.process_time() - before) / count)
            took.append((time.perf_counter() - began) / count)
    finally:
        pool.stop()
    return statistics.median(found), statistics.median(took)


def _sizes() -> dict[str, int]:
    """Bytes of each kind of message, with its header, as they are written when one is alone."""
    sizes: dict[str, int] = {}

    def note(said: list[dict[str, Any]]) -> None:
        for each in said:
            kind = each["type"]
            if kind == "RESPONSE":
                kind = messages.decode(kind, each["body"], at_worker=False).state  # type: ignore[union-attr]
            size = len(each["body"]) + len(str(each["headers"]))
            sizes[kind] = size + len(str(each.get("correlation_id", "")))

    submitter, workplace = Submitter(), Workplace(1)
    submitter.consumes(100.0)
    now = 100.0
    for step in range(6):
        if step == 1:
            submitter.submits(1, now)
        asked = submitter.sends()
        note(asked)
        workplace.hears(carried(asked), now)
        answered = workplace.sends()
        workplace.begins(now)
        begun = workplace.sends()
        workplace.runs(now)
        for said in (answered, begun, workplace.sends()):
            note(said)
            submitter.hears(carried(said), now)
        submitter.ends()
        now += 1.0
        submitter.waits(now)
    return sizes
