"""The thread that owns the ledger, with a real ledger, deliverer and publisher; nobody listens."""

from __future__ import annotations

import concurrent.futures
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from bus.wire import Publisher, parse_url
from executor.deliverer import Deliverer
from executor.effects import Fail, GiveUp, Succeed, Tell
from executor.future import Future
from executor.keeper import Ask, Consuming, Heard, Hopeless, Keeper, Open, Withdrawn
from executor.ledger import Ledger
from protocol.errors import RequestTimeout, TasklineError, TasksUnloadable
from protocol.messages import UPDATE_PROGRESS
from protocol.timing import REQUEST_TIMEOUT
from tests.executor.peers import EXCHANGE, EXECUTOR, TOPIC, Native, order

TASK = "m.task"
DEADLINE = 10.0  # seconds


class Room:
    """A keeper that runs, and what it is told and tells."""

    def __init__(self) -> None:
        self.crowds: list[int] = []
        self.deliverer = Deliverer("taskline-deliverer-test")
        self.ledger = Ledger(EXECUTOR, EXCHANGE, (TOPIC,))
        # Not started: what is to be sent gathers in it.
        publisher = Publisher(parse_url("memory://"), name="taskline-publisher-test")
        self.keeper = Keeper(
            self.ledger,
            publisher,
            self.deliverer,
            name="taskline-keeper-test",
            on_crowd=self.crowds.append,
        )
        self.deliverer.start()
        self.keeper.start()

    def future(self, uuid: str, **listeners: Any) -> Future[Any]:
        """An open request that nobody has ordered yet."""
        future: Future[Any] = Future(
            uuid, TASK, lambda: self.deliverer.thread, lambda u: self.keeper.put(Withdrawn(u))
        )
        self.keeper.open[uuid] = Open(future, **listeners)
        return future

    def submitted(self, uuid: str) -> Future[Any]:
        """An open request, as the engine hands it over."""
        future = self.future(uuid)
        self.keeper.put(order(uuid, TASK))
        return future

    def settled(self) -> int:
        """How many requests the ledger knows when all that was put before has been performed.

        Asked twice: a question is answered in the turn in which it comes, before its effects.
        """
        for _ in range(2):
            answer: concurrent.futures.Future[int] = concurrent.futures.Future()
            self.keeper.put(Ask(lambda ledger, now, to=answer: to.set_result(len(ledger))))  # type: ignore[misc]
            found = answer.result(DEADLINE)
        return found

    def delivered(self) -> None:
        """Return when the deliverer has done what it has been handed."""
        done = threading.Event()
        self.deliverer.deliver([done.set])
        assert done.wait(DEADLINE)


@pytest.fixture
def room() -> Iterator[Room]:
    made = Room()
    yield made
    made.keeper.stop()
    made.deliverer.stop()


def test_a_bug_of_ours_fails_every_future_and_says_so(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    """Those that are open, and those of whoever comes later."""
    before = [room.submitted(f"u{n}") for n in range(3)]
    assert room.settled() == 3
    with caplog.at_level(logging.CRITICAL, "taskline.executor.keeper"):
        room.keeper.put(Ask(lambda ledger, now: 1 // 0))  # type: ignore[arg-type,return-value]
        errors = [future.exception(DEADLINE) for future in before]
    errors.append(room.submitted("late").exception(DEADLINE))
    for error in errors:
        assert isinstance(error, TasklineError)
        assert "ended unanswered: the executor's keeper ended by a bug" in str(error)
        assert "ZeroDivisionError" in str(error)
        assert error.__cause__ is room.keeper.died
    assert "all open requests fail" in caplog.text
    assert room.crowds[-1] == 0  # who waits for workers is woken
    room.delivered()
    assert not room.keeper.open


def test_many_threads_that_find_it_dead_get_their_futures_failed(room: Room) -> None:
    room.keeper.stop()
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        futures = list(threads.map(lambda n: room.submitted(f"u{n}"), range(200)))
    for future in futures:
        with pytest.raises(TasklineError, match="was shut down before the request ended"):
            future.result(DEADLINE)


def test_one_cancelled_before_it_was_sent_is_forgotten_and_told_to_who_waits(room: Room) -> None:
    future = room.submitted("u1")
    assert future.cancel()
    assert concurrent.futures.wait([future], DEADLINE).done == {future}
    assert room.settled() == 0
    assert not room.keeper.open


def test_one_cancelled_while_it_is_dispatched_never_leaves(room: Room) -> None:
    """The future says so at the door, and the worker's credit is free again."""
    first, second = room.future("u1"), room.future("u2")
    concurrent.futures.Future.cancel(first)  # its withdrawal is still on the way
    worker = Native("a")
    now = time.monotonic()
    room.keeper.put(Heard([worker.answer(now, TASK, credit=1)]))
    for uuid in ("u1", "u2"):
        room.keeper.put(order(uuid, TASK))
    assert room.settled() == 1
    assert concurrent.futures.wait([first], DEADLINE).done == {first}
    assert second.running()
    assert room.ledger.state_of("u2") == "PENDING"


def test_an_end_and_a_cancellation_that_meet_leave_nobody_waiting(room: Room) -> None:
    """Whichever comes first: the end finds it cancelled, and tells those who wait."""
    future = room.future("u1")
    concurrent.futures.Future.cancel(future)  # its withdrawal is still on the way
    room.keeper._end(GiveUp("u1", RequestTimeout("too late")))
    room.keeper.put(Withdrawn("u1"))
    room.settled()
    assert concurrent.futures.wait([future], DEADLINE).done == {future}
    assert future.cancelled()


def test_a_future_is_open_until_it_is_set(room: Room) -> None:
    """So that a shutdown which waits for what is open waits for all of it."""
    seen: list[bool] = []
    future = room.future("u1")
    future.add_done_callback(lambda done: seen.append("u1" in room.keeper.open))
    room.keeper._end(Succeed("u1", 1))
    assert seen == [True]
    assert not room.keeper.open


def test_a_second_end_changes_nothing(room: Room) -> None:
    future = room.future("u1")
    room.keeper._end(Succeed("u1", 1))
    room.keeper._end(Fail("u1", {}, None))
    room.keeper._end(Succeed("never heard of", 1))
    assert future.result(0) == 1


def test_one_that_its_user_has_set_does_not_end_the_keeper(room: Room) -> None:
    mine = room.future("u1")
    mine.set_result("my own")
    room.keeper.put(Heard([Native("a").answer(time.monotonic(), TASK)]))
    room.keeper.put(order("u1", TASK))
    assert room.settled() == 0
    assert mine.result(0) == "my own"


def test_without_hope_what_nobody_offers_ends_at_once(room: Room) -> None:
    future = room.submitted("u1")
    room.keeper.put(Hopeless("no private worker comes up"))
    with pytest.raises(TasksUnloadable, match="no private worker comes up"):
        future.result(DEADLINE)
    with pytest.raises(TasksUnloadable):
        room.submitted("u2").result(DEADLINE)


def test_progress_and_other_events_go_to_who_listens(room: Room) -> None:
    seen: list[Any] = []
    room.future(
        "u1",
        on_progress=lambda fraction, details: seen.append((fraction, details)),
        on_event=lambda kind, details: seen.append((kind, details)),
    )
    for fraction in (0.5, -1, 7, True, "half", None):
        room.keeper._tell(Tell("u1", UPDATE_PROGRESS, {"progress": fraction, "at": "x"}))
    room.keeper._tell(Tell("u1", "custom", {"n": 1}))
    room.keeper._tell(Tell("unknown", "custom", {}))
    at = {"at": "x"}
    assert seen == [(0.5, at), (0.0, at), (1.0, at), (1.0, at), ("custom", {"n": 1})]


def test_the_futures_of_one_executor_are_told_from_the_others(room: Room) -> None:
    mine, other = object(), object()
    first = room.future("u1", via=mine)
    second = room.future("u2", via=other)
    assert room.keeper.futures(mine) == [first]
    assert room.keeper.futures() == [first, second]


def test_stop_may_be_called_twice_and_fails_what_is_open(room: Room) -> None:
    future = room.submitted("u1")
    room.keeper.stop()
    room.keeper.stop()
    with pytest.raises(TasklineError, match="shut down"):
        future.result(DEADLINE)


def test_busy_private_workers_are_waited_for_and_idle_ones_are_not() -> None:
    """They learn what more to offer between two tasks: a new function waits while they work."""
    private = "private.me"
    ledger = Ledger(EXECUTOR, EXCHANGE, (private, TOPIC), private=private)
    ledger.consuming(0.0)
    workers = [Native(letter, topics=(private,)) for letter in "ab"]
    ledger.heard([w.answer(0.0, TASK, credit=2) for w in workers], 0.0)
    topics = (private, TOPIC)
    effects = ledger.submitted([order(f"long{n}", TASK, topics=topics) for n in range(4)], 0.0)
    dispatched = [e for e in effects if hasattr(e, "parcel")]
    for effect in dispatched:
        owner = next(w for w in workers if effect.parcel.envelope.header.boot == w.boot)  # type: ignore[union-attr]
        ledger.heard([owner.running(effect, 0.0)], 0.0)  # type: ignore[arg-type]
    ledger.submitted([order("new", "m.new", topics=topics)], 1.0)
    now = 1.0
    while now < 4 * REQUEST_TIMEOUT:
        now += 4.0
        ledger.heard([w.answer(now, TASK, credit=0) for w in workers], now)
        ledger.tick(now)
        assert ledger.state_of("new") == "WAITING"
    idle = Native("c", topics=(private,))
    gone: list[str] = []
    until = now + 2.5 * REQUEST_TIMEOUT
    while now < until:
        now += 4.0
        ledger.heard([w.answer(now, TASK, credit=0) for w in workers], now)
        ledger.heard([idle.answer(now, TASK, credit=2)], now)
        gone += [e.uuid for e in ledger.tick(now) if isinstance(e, GiveUp)]
    assert gone == ["new"]


def test_consuming_asks_who_is_there(room: Room) -> None:
    room.keeper.put(Consuming())
    assert room.settled() == 0
