"""What an executor says on a bus."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.news import Bus, Journal, read
from executor import Executor
from protocol.events import (
    Closed,
    Dispatched,
    Ended,
    Event,
    Opened,
    Progress,
    Running,
    Submitted,
    WorkerSeen,
)
from protocol.history import Entry, History
from tests.bus.news.writing import a_life, dispatched, submitted
from tests.executor.test_keeper import DEADLINE, Paper, Room
from tests.samples import tasks
from worker import Worker


class Told:
    """A bus of the test's thread, and all that was said on it."""

    def __init__(self) -> None:
        self.bus = Bus()
        self.history = History()
        self.events: list[Event] = []
        self.bus.tap(self._hear)

    def _hear(self, entry: Entry) -> None:
        self.events.append(entry.event)
        self.history.apply(entry)

    def words(self, uuid: str) -> list[str]:
        """What was said of a request."""
        self.bus.check()
        return [each.word for each in self.events if getattr(each, "uuid", None) == uuid]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def offered(exchange: str) -> Iterator[str]:
    """An exchange with a worker."""
    offers = [tasks.__name__, "operator:truediv"]
    with Worker(offers, url="memory://", exchange=exchange, pool="threads", drain_timeout=0.5):
        yield exchange


def test_a_history_of_the_bus_knows_what_a_replay_of_the_journal_does(
    offered: str, told: Told, tmp_path: Path
) -> None:
    path = tmp_path / "x.journal"
    with Executor("memory://", exchange=offered, name="x", journal=path, bus=told.bus) as executor:
        executor.wait_for_workers(1, DEADLINE)
        futures = [executor.submit(tasks.add, 1, 2), executor.submit("operator.truediv", 1, 0)]
        late = executor.options(delay=1000, key="late").submit(tasks.add, 1)
        assert late.cancel()
        concurrent.futures.wait(futures, DEADLINE)
        assert told.events == []  # not before its owner looks, and never within submit
    told.bus.check()
    replayed = History()
    for found in read(path):
        assert isinstance(found, Entry)
        replayed.apply(found)
    assert told.history.problems == replayed.problems == []
    assert told.history.executor is not None
    assert told.history.executor.closed is not None
    assert told.history.executor.identity == executor._engine.id
    told_of, read_of = (
        {uuid: [entry.event for entry in each.trail] for uuid, each in history.requests.items()}
        for history in (told.history, replayed)
    )
    assert told_of == read_of
    assert list(told.history.workers) == list(replayed.workers)
    states = [each.state for each in told.history.requests.values()]
    assert states == ["SUCCESS", "FAILURE", "CANCELLED"]


def test_without_a_journal_the_same_is_told(offered: str, told: Told) -> None:
    with Executor("memory://", exchange=offered, bus=told.bus) as executor:
        executor.wait_for_workers(1, DEADLINE)
        future = executor.submit(tasks.add, 1, 2)
        assert future.result(DEADLINE) == 3
    assert told.words(future.uuid) == ["submitted", "dispatched", "running", "ended"]
    assert isinstance(told.events[0], Opened)
    assert any(isinstance(each, WorkerSeen) for each in told.events)
    assert isinstance(told.events[-1], Closed)
    request = told.history.requests[future.uuid]
    assert request.submitted.body["arguments"] == {"x": 1, "y": 2}
    assert request.state == "SUCCESS"


def test_progress_is_told_to_who_wants_it_though_nobody_listens_beside_the_call(
    offered: str, told: Told
) -> None:
    with Executor("memory://", exchange=offered, bus=told.bus) as executor:
        future = executor.submit(tasks.say, [0.25, 0.5], "a note")
        future.result(DEADLINE)
    assert told.words(future.uuid) == [
        *("submitted", "dispatched", "running", "progress", "progress", "ended")
    ]
    said = [each for each in told.events if isinstance(each, Progress)]
    assert [each.fraction for each in said] == [0.25, 0.5]
    assert said[0].details == {"of": "work"}
    assert told.history.requests[future.uuid].progress == 0.5


def test_one_type_can_be_had_alone(offered: str) -> None:
    bus = Bus()
    box = bus.connect([Ended])
    with Executor("memory://", exchange=offered, bus=bus) as executor:
        uuids = [executor.submit(tasks.add, number).uuid for number in range(3)]
    assert [each.uuid for each in box.for_each(Ended)] == uuids


def test_nothing_is_told_and_nothing_is_kept_if_nobody_listens(offered: str) -> None:
    bus = Bus()
    with Executor("memory://", exchange=offered, bus=bus) as executor:
        assert executor.submit(tasks.add, 1, 2).result(DEADLINE) == 3
        herald = executor._engine._herald
    assert bus.waiting == 0
    assert herald._said == []


def test_what_is_taken_up_from_a_journal_is_told_from_its_submission_on(
    exchange: str, told: Told, tmp_path: Path
) -> None:
    path = tmp_path / "x.journal"
    with Journal(path, "x") as journal:
        journal.append([*a_life("ended"), submitted("open"), dispatched("open")])
        journal.append([Running("open", 1)])
    with Executor("memory://", exchange=exchange, name="x", journal=path, bus=told.bus) as executor:
        (future,) = executor.open_requests()
        assert told.words("open")[:3] == ["submitted", "dispatched", "running"]
        assert told.words("ended") == []
        assert told.history.requests["open"].state == "RUNNING"
        assert future.uuid == "open"
        executor._engine._keeper.stop(fails=False)
        executor._engine._requests.open.clear()
    told.bus.check()
    assert told.history.problems == []


def test_what_ends_with_the_keeper_ends_on_the_bus(told: Told) -> None:
    room = Room(bus=told.bus)
    room.submitted("u1")
    room.settled()
    room.keeper.stop()
    room.delivered()
    room.deliverer.stop()
    assert told.words("u1") == ["submitted", "ended"]
    assert told.history.requests["u1"].state == "FAILURE"
    assert isinstance(told.events[-1], Closed)


def test_with_a_journal_it_is_left_open_for_who_takes_it_up(told: Told) -> None:
    room = Room(Paper(), told.bus)
    room.submitted("u1")
    room.settled()
    room.keeper.stop()
    room.delivered()
    room.deliverer.stop()
    assert told.words("u1") == ["submitted"]
    assert isinstance(told.events[-1], Closed)


def test_what_cannot_be_written_is_not_told(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executor.keeper.RETRY", 0.01)
    paper = Paper()
    room = Room(paper, told.bus)
    room.submitted("u1")
    room.settled()
    paper.is_full = True
    room.worker_comes()
    paper_was_tried = time.monotonic() + DEADLINE
    while paper.tries < 3 and time.monotonic() < paper_was_tried:
        room.asked(len)
    assert paper.tries >= 3
    assert told.words("u1") == ["submitted"]
    paper.is_full = False
    room.settled()
    assert told.words("u1") == ["submitted", "dispatched"]
    room.keeper.stop()
    room.deliverer.stop()
    assert any(isinstance(each, Dispatched) for each in told.events)
    assert any(isinstance(each, Submitted) for each in told.events)
