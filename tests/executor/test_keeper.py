"""The thread that owns the ledger, with a real ledger, deliverer and publisher; nobody listens."""

from __future__ import annotations

import concurrent.futures
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from bus.news import Bus
from bus.wire import Publisher, parse_url
from executor import keeper as room_of_the_keeper
from executor.deliverer import Deliverer
from executor.effects import Resolve, Tell, Value
from executor.future import Future
from executor.herald import Herald
from executor.keeper import Cancelled, Consuming, Heard, Hopeless, Keeper
from executor.ledger import Ledger
from executor.turn import Open, Requests
from protocol.errors import (
    ExecutorSuperseded,
    JournalError,
    ResultLost,
    TasklineError,
    TasksUnloadable,
)
from protocol.events import Cancelled as CancelledLine
from protocol.events import Dispatched, Ended, Event, Opened
from protocol.messages import UPDATE_PROGRESS
from protocol.parcel import Parcel, Received
from protocol.timing import LEASE, REQUEST_TIMEOUT
from tests.executor.peers import EXCHANGE, EXECUTOR, TOPIC, Native, order
from tests.processes import wait_until

TASK = "m.task"
DEADLINE = 30.0  # seconds


class Paper:
    """A journal of our own, in memory, whose disk may be full."""

    def __init__(self) -> None:
        self.lines: list[Event] = []
        self.is_full = False
        self.tries = 0
        #: What was seen by whoever looked while a line was written.
        self.at_each: Callable[[Sequence[Event]], None] = lambda events: None

    def append(self, events: Sequence[Event], /) -> None:
        self.tries += 1
        if self.is_full:
            raise JournalError("writing 1 line to /a/journal failed: no space left on device")
        self.at_each(events)
        self.lines += events

    def words(self) -> list[str]:
        """What was written of requests."""
        return [event.word for event in self.lines if hasattr(event, "uuid")]


class Outbox(Publisher):
    """A publisher that never starts: what is to be sent gathers here."""

    def __init__(self) -> None:
        super().__init__(parse_url("memory://"), name="taskline-publisher-test")
        self.sent: list[Parcel] = []

    def send(self, parcels: Any) -> None:
        self.sent += parcels

    def kinds(self) -> list[str]:
        """What was sent, but for questions."""
        return [p.envelope.kind for p in self.sent if p.envelope.kind != "NOTIFY"]


class Room:
    """A keeper that runs, and what it is told and tells. It is the home of its futures."""

    def __init__(self, paper: Paper | None = None, bus: Bus | None = None) -> None:
        self.crowds: list[int] = []
        #: Whether its listener says that it consumes.
        self.is_listening = True
        self.is_breaking = False
        #: When it did not come round, as it says.
        self.stood_still = 0.0, 0.0
        self.paper = paper
        self.deliverer = Deliverer("taskline-deliverer-test")
        self.ledger = Ledger(EXECUTOR, EXCHANGE, (TOPIC,), keeps_journal=paper is not None)
        self.outbox = Outbox()
        self.ends: list[Ended] = []
        self.requests = Requests(lambda ended, future: self.ends.append(ended))
        self.keeper = Keeper(
            self.ledger,
            self.requests,
            self.outbox,
            self.deliverer,
            name="taskline-keeper-test",
            on_crowd=self.crowds.append,
            is_listening=self.listens,
            stood_still=lambda: self.stood_still,
            journal=paper,
            herald=Herald(bus, Opened("me", 1), keeps_journal=paper is not None),
        )
        self.deliverer.start()
        self.keeper.start()
        self.worker = Native("a")

    def listens(self) -> bool:
        """What its listener says, which finds a broken line the moment after if it is to."""
        if self.is_breaking:
            self.stood_still = 0.0, 0.0
        return self.is_listening

    # a home

    def demand_same_process(self) -> None:
        """It is."""

    def deliverer_thread(self) -> threading.Thread:
        return self.deliverer.thread

    def record_cancel(self, uuid: str, *, force: bool) -> None:
        if self.paper is not None:
            self.paper.append([CancelledLine(uuid, force)])

    def cancelled(self, uuid: str, *, force: bool) -> None:
        self.keeper.put(Cancelled(uuid, force))

    def can_stop(self, uuid: str) -> bool:
        return self.asked(lambda ledger: ledger.can_stop(uuid))

    # what happens in it

    def future(self, uuid: str, **listeners: Any) -> Future[Any]:
        """An open request that nobody has ordered yet."""
        future: Future[Any] = Future(uuid, TASK, self)
        self.requests.open[uuid] = Open(future, **listeners)
        return future

    def submitted(self, uuid: str, **listeners: Any) -> Future[Any]:
        """An open request, as the engine hands it over."""
        future = self.future(uuid, **listeners)
        self.keeper.put(order(uuid, TASK, wants_events=bool(listeners)))
        return future

    def hear(self, *deliveries: Received) -> None:
        self.keeper.put(Heard(list(deliveries)))

    def worker_comes(self, credit: int = 2) -> None:
        self.hear(self.worker.answer(time.monotonic(), TASK, credit=credit))

    def asked(self, question: Callable[[Ledger], Any]) -> Any:
        """What the keeper answers."""
        answer: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self.keeper.ask(lambda ledger, now: answer.set_result(question(ledger)))
        return answer.result(DEADLINE)

    def settled(self) -> int:
        """How many requests the ledger knows when all that was put before has been performed.

        Asked twice: a question is answered in the turn in which it comes, before its effects.
        """
        self.asked(len)
        found: int = self.asked(len)
        return found

    def delivered(self) -> None:
        """Return when the deliverer has done what it has been handed."""
        done = threading.Event()
        self.deliverer.deliver([done.set])
        assert done.wait(DEADLINE)

    def dispatched(self, uuid: str) -> Any:
        """What was sent of this request last, as an effect."""
        parcel = next(p for p in reversed(self.outbox.sent) if p.envelope.correlation_id == uuid)
        return _Sent(uuid, parcel)


class _Sent:
    def __init__(self, uuid: str, parcel: Parcel) -> None:
        self.uuid = uuid
        self.parcel = parcel


@pytest.fixture
def room() -> Iterator[Room]:
    made = Room()
    yield made
    made.keeper.stop()
    made.deliverer.stop()


@pytest.fixture
def paper() -> Paper:
    return Paper()


@pytest.fixture
def kept(paper: Paper, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    """One with a journal, which is tried again at once if it cannot be written."""
    monkeypatch.setattr(room_of_the_keeper, "RETRY", 0.01)
    made = Room(paper)
    yield made
    made.keeper.stop()
    made.deliverer.stop()


# -- from the submission to the end


def test_a_request_goes_through_it_to_its_end(room: Room) -> None:
    seen: list[Any] = []
    room.worker_comes()
    future = room.submitted("u1", on_progress=lambda fraction, details: seen.append(fraction))
    assert room.settled() == 1
    assert room.outbox.kinds() == ["REQUEST"]
    assert not future.running()
    sent = room.dispatched("u1")
    now = time.monotonic()
    room.hear(room.worker.running(sent, now), room.worker.success(sent, now, "the result"))
    assert future.result(DEADLINE) == "the result"
    room.delivered()
    assert not room.requests.open
    assert room.ends == [Ended("u1", "success", "the result", room.worker.name)]


def test_one_that_is_heard_to_run_is_running(room: Room) -> None:
    room.worker_comes()
    future = room.submitted("u1")
    room.settled()
    room.hear(room.worker.running(room.dispatched("u1"), time.monotonic()))
    room.settled()
    assert future.running()
    assert not future.cancel()


# -- cancelling


def test_one_cancelled_before_it_was_sent_is_forgotten(room: Room) -> None:
    future = room.submitted("u1")
    assert future.cancel()
    assert room.settled() == 0
    room.delivered()
    assert not room.requests
    assert room.ends == [Ended("u1", "cancelled")]
    room.worker_comes()
    room.settled()
    assert room.outbox.kinds() == []


def test_one_cancelled_while_it_is_dispatched_never_leaves(room: Room) -> None:
    """The future says so at the door, and the worker's credit is free again."""
    first, second = room.future("u1"), room.future("u2")
    concurrent.futures.Future.cancel(first)  # the keeper has not heard of it
    room.worker_comes(credit=1)
    for uuid in ("u1", "u2"):
        room.keeper.put(order(uuid, TASK))
    assert room.settled() == 1
    assert concurrent.futures.wait([first], DEADLINE).done == {first}
    assert not second.done()
    assert room.ledger.state_of("u2") == "PENDING"


def test_one_cancelled_after_it_was_sent_is_cancelled_for_its_caller_and_then_settled(
    room: Room,
) -> None:
    room.worker_comes()
    future = room.submitted("u1")
    room.settled()
    assert future.cancel()
    assert future.cancelled()
    assert room.settled() == 1
    assert room.outbox.kinds() == ["REQUEST", "CANCEL"]
    assert not room.requests.open
    assert list(room.requests.unsettled) == ["u1"]
    sent = room.dispatched("u1")
    room.hear(room.worker.gives_back(time.monotonic(), "cancelled", _request_of(room, "u1")))
    assert room.settled() == 0
    assert not room.requests
    assert room.ends == [Ended("u1", "cancelled")]
    assert sent.parcel.envelope.kind == "CANCEL"


def _request_of(room: Room, uuid: str) -> Any:
    parcel = next(
        p
        for p in room.outbox.sent
        if p.envelope.correlation_id == uuid and p.envelope.kind == "REQUEST"
    )
    return _Sent(uuid, parcel)


def test_a_result_that_meets_a_cancel_is_fenced(room: Room) -> None:
    room.worker_comes()
    future = room.submitted("u1")
    room.settled()
    sent = room.dispatched("u1")
    now = time.monotonic()
    concurrent.futures.Future.cancel(future)  # just before the keeper hears the result
    room.hear(room.worker.running(sent, now), room.worker.success(sent, now))
    assert room.settled() == 0
    assert room.ends[0].outcome == "cancelled"
    assert concurrent.futures.wait([future], DEADLINE).done == {future}


# -- the journal


def test_lines_are_written_before_anything_is_sent_or_set(kept: Room, paper: Paper) -> None:
    seen: list[tuple[str, list[str], bool]] = []

    def look(events: Sequence[Event]) -> None:
        seen.extend(
            (event.word, kept.outbox.kinds(), future.done())
            for event in events
            if isinstance(event, (Dispatched, Ended))
        )

    paper.at_each = look
    future = kept.future("u1")
    kept.worker_comes()
    kept.keeper.put(order("u1", TASK))
    kept.settled()
    sent = kept.dispatched("u1")
    kept.hear(kept.worker.success(sent, time.monotonic(), 1))
    assert future.result(DEADLINE) == 1
    assert seen == [("dispatched", [], False), ("ended", ["REQUEST"], False)]


def test_all_lines_of_a_turn_are_written_at_once(kept: Room, paper: Paper) -> None:
    gate, asked = threading.Event(), threading.Event()

    def hold(ledger: Ledger, now: float) -> None:
        asked.set()
        gate.wait(DEADLINE)

    kept.keeper.ask(hold)
    assert asked.wait(DEADLINE)
    kept.worker_comes(credit=10)
    futures = [kept.submitted(f"u{n}") for n in range(10)]
    before = paper.tries
    gate.set()
    kept.settled()
    assert paper.words().count("dispatched") == len(futures)
    assert paper.tries == before + 1


def test_a_full_disk_holds_everything_back_and_loses_nothing(
    kept: Room, paper: Paper, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is sent and nothing ends; one line says so, and one that it is over."""
    kept.worker_comes(credit=5)
    first = kept.submitted("u1")
    kept.settled()
    sent = kept.dispatched("u1")
    with caplog.at_level(logging.WARNING, "taskline.executor.keeper"):
        paper.is_full = True
        kept.hear(kept.worker.success(sent, time.monotonic(), "not lost"))
        wait_until(lambda: kept.keeper.trouble is not None, "trouble")
        second = kept.submitted("u2")
        tries = paper.tries
        wait_until(lambda: paper.tries > tries + 5, "more tries")
        assert not first.done()
        assert kept.outbox.kinds() == ["REQUEST"]
        assert kept.asked(len) is not None  # questions are answered all the same
        with pytest.raises(JournalError):
            second.cancel()
        paper.is_full = False
        assert first.result(DEADLINE) == "not lost"
        kept.settled()
        wait_until(lambda: kept.outbox.kinds().count("REQUEST") == 2, "the second request")
    assert kept.keeper.trouble is None
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "no space left on device; nothing is sent" in caplog.text
    assert paper.words().count("ended") == 1


def test_a_result_that_is_too_large_for_the_journal_is_no_trouble(
    kept: Room, paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends as lost, and everything goes on."""
    monkeypatch.setattr(room_of_the_keeper, "MAX_LINE", 6000)

    def refuse(events: Sequence[Event]) -> None:
        if any(isinstance(e, Ended) and len(str(e.value)) > 6000 for e in events):
            raise JournalError("takes no line of more than 6000 bytes")

    paper.at_each = refuse
    kept.worker_comes(credit=5)
    large, small = kept.submitted("u1"), kept.submitted("u2")
    kept.settled()
    now = time.monotonic()
    kept.hear(
        kept.worker.success(kept.dispatched("u1"), now, "x" * 10_000),
        kept.worker.success(kept.dispatched("u2"), now, "y"),
    )
    assert small.result(DEADLINE) == "y"
    with pytest.raises(ResultLost, match="larger than"):
        large.result(DEADLINE)
    assert kept.keeper.trouble is None


def test_it_ends_although_the_disk_is_full(kept: Room, paper: Paper) -> None:
    """What was not written is not told: its future fails and says that it is not lost."""
    kept.worker_comes()
    future = kept.submitted("u1")
    kept.settled()
    paper.is_full = True
    kept.hear(kept.worker.success(kept.dispatched("u1"), time.monotonic()))
    wait_until(lambda: kept.keeper.trouble is not None, "trouble")
    kept.keeper.stop()
    with pytest.raises(TasklineError, match="an executor with its journal takes it up again"):
        future.result(DEADLINE)
    assert "ended" not in paper.words()


def test_without_failing_what_is_open_it_leaves_it_as_it_is(room: Room) -> None:
    """At the interpreter's end: no callback is told of an end that is none."""
    future = room.submitted("u1")
    room.keeper.stop(fails=False)
    room.delivered()
    assert not future.done()


# -- bugs, and its end


def test_a_bug_of_ours_fails_every_future_and_says_so(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    """Those that are open, and those of whoever comes later."""
    before = [room.submitted(f"u{n}") for n in range(3)]
    assert room.settled() == 3
    with caplog.at_level(logging.CRITICAL, "taskline.executor.keeper"):
        room.keeper.ask(lambda ledger, now: 1 // 0)  # type: ignore[arg-type,return-value]
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
    assert not room.requests.open


def test_what_is_open_fails_when_a_newer_incarnation_is_served(
    kept: Room, caplog: pytest.LogCaptureFixture
) -> None:
    """As a worker tells that has answered before; nothing is sent for it any more."""
    room, worker = kept, Native("b", beat=0.1)  # whose lease is short
    room.hear(worker.answer(time.monotonic(), TASK, credit=1))
    future = room.submitted("u1")
    room.settled()
    room.hear(worker.running(room.dispatched("u1"), time.monotonic()))

    def is_told() -> bool:
        room.hear(worker.answer(time.monotonic(), TASK, serves=2))
        return future.done()

    with caplog.at_level(logging.ERROR, "taskline.executor.keeper"):
        wait_until(is_told, "it to be told")
    assert isinstance(future.exception(DEADLINE), ExecutorSuperseded)
    late = room.submitted("late").exception(DEADLINE)
    assert isinstance(late, ExecutorSuperseded)
    assert "request late (m.task) ended unanswered: executor ex-1 is not served any" in str(late)
    assert caplog.text.count("use a journal in one place only") == 1
    assert room.outbox.kinds().count("REQUEST") == 1


def test_many_threads_that_find_it_dead_get_their_futures_failed(room: Room) -> None:
    room.keeper.stop()
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        futures = list(threads.map(lambda n: room.submitted(f"u{n}"), range(200)))
    for future in futures:
        with pytest.raises(TasklineError, match="was shut down before the request ended"):
            future.result(DEADLINE)


def test_stop_may_be_called_twice_and_fails_what_is_open(room: Room) -> None:
    future = room.submitted("u1")
    room.keeper.stop()
    room.keeper.stop()
    with pytest.raises(TasklineError, match="shut down"):
        future.result(DEADLINE)


# -- on the deliverer's thread


def test_a_future_is_open_until_it_is_set(room: Room) -> None:
    """So that a shutdown which waits for what is open waits for all of it."""
    seen: list[bool] = []
    future = room.future("u1")
    future.add_done_callback(lambda done: seen.append("u1" in room.requests.open))
    room.keeper._end("u1", Value(1))
    assert seen == [True]
    assert not room.requests.open


def test_a_second_end_changes_nothing(room: Room) -> None:
    future = room.future("u1")
    room.keeper._end("u1", Value(1))
    room.keeper._end("u1", Value(2))
    room.keeper._end("never heard of", Value(3))
    assert future.result(0) == 1


def test_one_that_its_user_has_set_does_not_end_the_keeper(room: Room) -> None:
    room.worker_comes()
    mine = room.submitted("u1")
    room.settled()
    mine.set_result("my own")
    room.hear(room.worker.success(room.dispatched("u1"), time.monotonic(), "the worker's"))
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
    for fraction in (0.5, -1, 10**400, True, "half", None):
        room.keeper._tell(Tell("u1", UPDATE_PROGRESS, {"progress": fraction, "at": "x"}))
    room.keeper._tell(Tell("u1", "custom", {"n": 1}))
    room.keeper._tell(Tell("unknown", "custom", {}))
    at = {"at": "x"}
    assert seen == [(0.5, at), (0.0, at), (1.0, at), (1.0, at), ("custom", {"n": 1})]


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
        gone += [e.uuid for e in ledger.tick(now) if isinstance(e, Resolve)]
    assert gone == ["new"]


def test_consuming_asks_who_is_there(room: Room) -> None:
    room.keeper.put(Consuming())
    assert room.settled() == 0
    assert [parcel.envelope.kind for parcel in room.outbox.sent]


def test_it_tells_the_ledger_whether_what_is_sent_to_us_arrives(room: Room) -> None:
    """With its next turn, of which there is one every few seconds at the least."""
    room.worker_comes()
    for room.is_listening in (True, False, True):
        watches = room.asked(lambda ledger: ledger._attendance.next_expiry() is not None)
        assert watches is room.is_listening


def test_it_tells_the_ledger_of_a_standstill_before_anything_else_and_of_each_time_once(
    room: Room,
) -> None:
    room.worker_comes()

    def expiry() -> float:
        return room.asked(lambda ledger: ledger._attendance.next_expiry() or 0.0)

    before = expiry() + 2.0  # the grace, as long as the longest of these
    for since, until, longer in ((10.0, 12.0, 2.0), (10.0, 12.5, 2.5), (20.0, 21.0, 3.5)):
        room.stood_still = since, until
        assert expiry() - before == pytest.approx(longer)
        assert expiry() - before == pytest.approx(longer)


def test_a_standstill_counts_though_the_line_is_found_broken_at_its_end(room: Room) -> None:
    """Before, what is started once at most could be lost between two questions of one turn."""
    room.worker_comes()
    room.is_breaking = True
    before = room.asked(lambda ledger: ledger._attendance.next_expiry() or 0.0)
    room.stood_still = 10.0, 12.0
    room.asked(len)
    assert room.stood_still == (0.0, 0.0)
    after = room.asked(lambda ledger: ledger._attendance.next_expiry() or 0.0)
    assert after - before == pytest.approx(2.0 + 2.0)  # and as much grace


def test_what_is_heard_at_the_end_of_a_standstill_is_not_heard_before_it(room: Room) -> None:
    until = time.monotonic() + 100.0
    room.stood_still = until - 100.0, until
    room.worker_comes()
    expiry = room.asked(lambda ledger: ledger._attendance.next_expiry() or 0.0)
    assert expiry == pytest.approx(until + LEASE)
