"""The future of one request, by itself: nobody runs here but the test."""

from __future__ import annotations

import concurrent.futures
import gc
import threading
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from executor.future import Future
from executor.trail import Happened
from protocol.errors import CannotStop, ExecutorForked, JournalError, TasklineError
from protocol.events import Dispatched, Ended

DEADLINE = 30.0  # seconds


class House:
    """A future's home, which writes down what it is told."""

    def __init__(self) -> None:
        self.deliverer: threading.Thread | None = None
        self.is_forked = False
        self.full = False
        self.stops: bool | None = True
        #: What was written and told, in order.
        self.said: list[tuple[Any, ...]] = []

    def demand_same_process(self) -> None:
        if self.is_forked:
            raise ExecutorForked("made elsewhere")

    def deliverer_thread(self) -> threading.Thread | None:
        return self.deliverer

    def record_cancel(self, uuid: str, *, force: bool) -> None:
        if self.full:
            raise JournalError("disk full")
        self.said.append(("line", uuid, force))

    def cancelled(self, uuid: str, *, force: bool) -> None:
        self.said.append(("told", uuid, force))

    def can_stop(self, uuid: str) -> bool | None:
        return self.stops


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def future(house: House) -> Future[int]:
    return Future("u-1", "m.task", house)


@contextmanager
def no_collector() -> Iterator[None]:
    """Only reference counts free anything in here."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def test_it_says_which_request_it_stands_for(future: Future[int]) -> None:
    assert (future.uuid, future.task) == ("u-1", "m.task")


# -- cancelling


@pytest.mark.parametrize("force", [False, True])
def test_one_that_is_not_known_to_run_is_cancelled_at_once(
    house: House, future: Future[int], force: bool
) -> None:
    """For everybody, and with its line first; how often it is asked does not matter."""
    called: list[object] = []
    future.add_done_callback(called.append)
    assert future.cancel(force)
    assert future.cancel(force)
    assert future.cancelled()
    assert house.said == [("line", "u-1", force), ("told", "u-1", force)]
    assert called == [future]
    assert concurrent.futures.wait([future], timeout=0).done == {future}
    assert list(concurrent.futures.as_completed([future, future], timeout=0)) == [future]
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(0)
    assert not future.begin()
    assert not future.begin()


def test_who_waits_already_is_woken_by_a_cancel(future: Future[int]) -> None:
    waiting = threading.Barrier(4)
    waits: list[Callable[[], object]] = [
        lambda: concurrent.futures.wait([future], DEADLINE).done,
        lambda: list(concurrent.futures.as_completed([future], DEADLINE)),
        lambda: isinstance(_error_of(future), concurrent.futures.CancelledError),
    ]

    def wait(how: Callable[[], object]) -> object:
        waiting.wait(DEADLINE)
        return how()

    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        found = [threads.submit(wait, how) for how in waits]
        waiting.wait(DEADLINE)
        assert future.cancel()
        assert [answer.result(DEADLINE) for answer in found] == [{future}, [future], True]


def _error_of(future: Future[int]) -> BaseException | None:
    try:
        return future.exception(DEADLINE)
    except BaseException as error:
        return error


def test_one_that_runs_is_not_cancelled_without_force(house: House, future: Future[int]) -> None:
    assert future.begin()
    assert future.running()
    assert not future.cancel()
    assert not house.said
    future.set_result(1)
    assert future.result(0) == 1


def test_one_that_runs_is_stopped_by_force_and_stays_open(
    house: House, future: Future[int]
) -> None:
    """What comes of it is told when it comes; its line is written once."""
    future.begin()
    assert future.cancel(force=True)
    assert future.cancel(force=True)
    assert house.said == [("line", "u-1", True), ("told", "u-1", True), ("told", "u-1", True)]
    assert future.running()
    future.set_result(1)
    assert future.result(0) == 1
    assert not future.cancel(force=True)


def test_one_that_runs_where_it_cannot_be_ended_says_so(house: House, future: Future[int]) -> None:
    future.begin()
    house.stops = False
    with pytest.raises(CannotStop, match=r"u-1 \(m.task\).*--pool processes"):
        future.cancel(force=True)
    assert not house.said
    assert future.running()


def test_one_that_ends_while_it_is_to_be_stopped_was_not_cancelled(
    house: House, future: Future[int]
) -> None:
    future.begin()
    house.stops = None
    assert not future.cancel(force=True)
    assert not house.said


@pytest.mark.parametrize("force", [False, True])
def test_one_that_has_ended_is_not_cancelled(
    house: House, future: Future[int], force: bool
) -> None:
    future.begin()
    future.set_result(1)
    assert not future.cancel(force)
    assert not house.said


@pytest.mark.parametrize("begun", [False, True])
def test_a_cancel_that_cannot_be_written_down_has_not_been(
    house: House, future: Future[int], begun: bool
) -> None:
    if begun:
        future.begin()
    house.full = True
    with pytest.raises(JournalError):
        future.cancel(force=True)
    assert not future.cancelled()
    assert not house.said
    house.full = False
    assert future.cancel(force=True)
    assert len(house.said) == 2


def test_a_cancel_and_a_beginning_that_meet_have_one_outcome(house: House) -> None:
    """Whoever gets the condition first: never cancelled and begun, never neither."""
    for n in range(300):
        future: Future[int] = Future(f"u-{n}", "m.task", house)
        start = threading.Barrier(3)

        def meet(do: Callable[[], bool], start: threading.Barrier = start) -> bool:
            start.wait(DEADLINE)
            return do()

        with concurrent.futures.ThreadPoolExecutor(3) as threads:
            cancels = [threads.submit(meet, future.cancel) for _ in range(2)]
            begins = threads.submit(meet, future.begin).result(DEADLINE)
        assert {answer.result(0) for answer in cancels} == {not begins}
        assert future.cancelled() is not begins
        lines = [said for said in house.said if said[:2] == ("line", f"u-{n}")]
        assert len(lines) == (not begins)


def test_a_callback_that_blocks_holds_up_neither_waiters_nor_the_executor(
    house: House, future: Future[int]
) -> None:
    """It is called by the thread that cancels, after everybody else knows."""
    gate = threading.Event()
    future.add_done_callback(lambda done: gate.wait(DEADLINE))
    thread = threading.Thread(target=future.cancel)
    thread.start()
    assert concurrent.futures.wait([future], DEADLINE).done == {future}
    while len(house.said) < 2:
        assert thread.is_alive()
    gate.set()
    thread.join(DEADLINE)


# -- what the executor does to it


def test_beginning_twice_is_fine_and_after_the_end_it_says_no(future: Future[int]) -> None:
    assert future.begin()
    assert future.begin()
    future.set_result(1)
    assert not future.begin()


def test_one_cancelled_behind_our_back_is_told_to_who_waits_when_it_is_to_begin(
    future: Future[int],
) -> None:
    """As with the standard library's: its ``cancel`` alone does not tell them."""
    concurrent.futures.Future.cancel(future)
    assert not concurrent.futures.wait([future], timeout=0).done
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(future.begin) for _ in range(8)]
    assert not any(answer.result() for answer in answers)
    assert concurrent.futures.wait([future], timeout=0).done == {future}


def test_withdrawing_it_cancels_whatever_is_open(house: House) -> None:
    """The outcome of one that was cancelled in an earlier life of the executor."""
    for begun in (False, True):
        future: Future[int] = Future("u-1", "m.task", house)
        if begun:
            future.begin()
        future.withdraw()
        future.withdraw()
        assert future.cancelled()
        assert concurrent.futures.wait([future], timeout=0).done == {future}
    assert not house.said


def test_one_that_its_user_has_set_is_left_alone(future: Future[int]) -> None:
    """Not that they should: but it must not be the end of everybody else's."""
    future.set_result(7)
    assert not future.begin()
    future.withdraw()
    assert future.result(0) == 7


# -- waiting


def test_waiting_for_it_on_the_thread_that_sets_it_is_refused_at_once(
    house: House, future: Future[int]
) -> None:
    house.deliverer = threading.current_thread()
    for wait in (future.result, future.exception):
        with pytest.raises(TasklineError, match=r"u-1 \(m.task\) inside a callback"):
            wait()
        with pytest.raises(TasklineError, match="inside a callback"):
            wait(1.0)


def test_a_mere_look_is_no_waiting(house: House, future: Future[int]) -> None:
    house.deliverer = threading.current_thread()
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(timeout=0)
    future.begin()
    future.set_result(3)
    assert future.result() == 3
    assert future.exception() is None


WAITS: dict[str, Callable[[list[concurrent.futures.Future[int]]], object]] = {
    "wait": concurrent.futures.wait,
    "first": lambda fs: concurrent.futures.wait(fs, return_when="FIRST_COMPLETED"),
    "exception": lambda fs: concurrent.futures.wait(fs, return_when="FIRST_EXCEPTION"),
    "as_completed": lambda fs: list(concurrent.futures.as_completed(fs)),
}


@pytest.mark.parametrize("wait", WAITS)
def test_waiting_for_several_on_that_thread_is_refused_where_it_would_be_for_ever(
    house: House, future: Future[int], wait: str
) -> None:
    house.deliverer = threading.current_thread()
    done: Future[int] = Future("u-2", "m.task", house)
    done.begin()
    done.set_result(2)
    theirs: concurrent.futures.Future[int] = concurrent.futures.Future()
    with pytest.raises(TasklineError, match="inside a callback"):
        WAITS[wait]([future])
    for futures in ([done], [done, theirs]):  # these end without us
        timer = threading.Timer(0.05, lambda: theirs.done() or theirs.set_result(3))
        timer.start()
        WAITS[wait](futures)
        timer.join()
    theirs = concurrent.futures.Future()
    if wait in ("first", "exception"):  # either may be the first
        timer = threading.Timer(0.05, theirs.set_exception, [ValueError()])
        timer.start()
        WAITS[wait]([future, theirs])
        timer.join()
    elif wait == "wait":
        with pytest.raises(TasklineError, match="inside a callback"):
            WAITS[wait]([future, theirs])


def test_waiting_for_several_with_a_time_out_is_nobodys_business(
    house: House, future: Future[int]
) -> None:
    house.deliverer = threading.current_thread()
    assert concurrent.futures.wait([future], 0.01).not_done == {future}
    with pytest.raises(concurrent.futures.TimeoutError):
        list(concurrent.futures.as_completed([future], 0.01))


def test_in_a_forked_child_nothing_waits_for_what_nobody_will_set(
    house: House, future: Future[int]
) -> None:
    """Even if a thread of the parent's held its condition when it forked."""
    held = threading.Thread(target=future._condition.acquire)
    held.start()
    held.join()
    house.is_forked = True
    future.forked()
    waits: list[Callable[[], object]] = [
        future.result,
        future.exception,
        future.cancel,
        lambda: concurrent.futures.wait([future]),
        lambda: list(concurrent.futures.as_completed([future])),
    ]
    for wait in waits:
        with pytest.raises(ExecutorForked):
            wait()
    assert not future.done()


def test_in_a_forked_child_one_that_is_done_can_be_read(house: House, future: Future[int]) -> None:
    future.begin()
    future.set_result(4)
    house.is_forked = True
    future.forked()
    assert future.result() == 4
    assert concurrent.futures.wait([future]).done == {future}
    assert list(concurrent.futures.as_completed([future])) == [future]


def test_raising_its_exception_leaves_no_ring_of_references(house: House) -> None:
    """future → exception → traceback → frame → future would keep results until a collection."""
    with no_collector():
        future: Future[int] = Future("u-1", "m.task", house)
        future.begin()
        future.set_exception(ValueError("it went wrong"))
        gone = weakref.ref(future)
        with pytest.raises(ValueError, match="it went wrong"):
            future.result(DEADLINE)
        del future
        assert gone() is None


# -- a run that is repeated


def test_one_whose_run_is_repeated_waits_again_and_can_be_cancelled(
    house: House, future: Future[int]
) -> None:
    """Nobody who waits for it sees anything of that."""
    called: list[object] = []
    future.add_done_callback(called.append)
    future.begin()
    future.rest()
    assert not future.running()
    assert not future.done()
    assert not called
    assert future.begin()
    assert not future.cancel()
    future.rest()
    assert future.cancel()
    assert house.said == [("line", "u-1", False), ("told", "u-1", False)]
    assert called == [future]


def test_who_waits_for_it_goes_on_waiting_while_its_run_is_repeated(future: Future[int]) -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        first = threads.submit(future.result, DEADLINE)
        second = threads.submit(concurrent.futures.wait, [future], DEADLINE)
        for _ in range(3):
            future.begin()
            future.rest()
        future.begin()
        future.set_result(7)
        assert first.result(DEADLINE) == 7
        assert second.result(DEADLINE).done == {future}


def test_what_is_over_stays_so(future: Future[int]) -> None:
    future.begin()
    future.set_result(1)
    future.rest()
    assert future.result(0) == 1


# -- what became of it


def test_it_tells_what_was_noted_of_it(future: Future[int]) -> None:
    assert (future.attempts, future.worker) == ((), None)
    assert future.history == (Happened(future.submitted, "submitted", {"task": "m.task"}),)
    future.note(5.0, Dispatched("u-1", 1, 1, "native", "a", "hare"))
    assert future.worker == "hare"
    future.note(6.0, Ended("u-1", "success", 1, "hare"))
    assert [(one.number, one.how, one.ended) for one in future.attempts] == [(1, "success", 6.0)]
    assert [one.what for one in future.history] == ["submitted", "dispatched", "ended"]
    assert future.history[2].details == {"outcome": "success", "value": 1, "worker": "hare"}


def test_a_cancel_is_part_of_its_history(house: House, future: Future[int]) -> None:
    future.cancel()
    assert [one.what for one in future.history] == ["submitted", "cancelled"]


def test_what_a_journal_says_is_in_place_of_what_was_known(future: Future[int]) -> None:
    future.remember(3.0, [(5.0, Dispatched("u-1", 1, 1, "native", "a", "hare"))])
    assert (future.submitted, future.worker) == (3.0, "hare")


# the condition ------------------------------------------------------------------------------------


def test_all_who_wait_for_one_future_are_woken_and_nothing_of_that_stays(
    future: Future[int],
) -> None:
    results: list[object] = []
    threads = [
        threading.Thread(target=lambda: results.append(future.result(DEADLINE))) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(0.01)
    future.begin()
    future.set_result(7)
    for thread in threads:
        thread.join(DEADLINE)
    assert results == [7] * 5


def test_a_future_that_was_waited_for_goes_with_its_last_reference(house: House) -> None:
    with no_collector():
        future: Future[int] = Future("u-1", "m.task", house)
        with pytest.raises(concurrent.futures.TimeoutError):
            future.exception(0.01)
        gone = weakref.ref(future)
        del future
        assert gone() is None


def test_a_future_that_nobody_waits_for_is_small(house: House) -> None:
    """One of the library's alone takes some 1,600 bytes."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        futures: list[Future[int]] = [Future("u-1", "m.task", house) for _ in range(1000)]
        took = (tracemalloc.get_traced_memory()[0] - before) / len(futures)
    finally:
        tracemalloc.stop()
    assert took < 1000, f"{took:.0f} bytes"
