"""The future of one request, by itself: nobody runs here but the test."""

from __future__ import annotations

import concurrent.futures
import gc
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from executor.future import Future
from protocol.errors import TasklineError

DEADLINE = 10.0  # seconds


def make(
    deliverer: threading.Thread | None = None, withdrawn: list[str] | None = None
) -> Future[int]:
    """A future that ``deliverer`` sets, and that notes down when it is withdrawn."""
    notes = [] if withdrawn is None else withdrawn
    return Future("u-1", "m.task", lambda: deliverer, notes.append)


@contextmanager
def no_collector() -> Iterator[None]:
    """Only reference counts free anything in here."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def test_it_says_which_request_it_stands_for() -> None:
    future = make()
    assert (future.uuid, future.task) == ("u-1", "m.task")


def test_once_begun_it_runs_and_cannot_be_cancelled() -> None:
    withdrawn: list[str] = []
    future = make(withdrawn=withdrawn)
    assert future.begin()
    assert future.running()
    assert not future.cancel()
    assert not withdrawn
    future.set_result(1)
    assert future.result(0) == 1


def test_beginning_twice_is_fine_and_after_the_end_it_says_no() -> None:
    future = make()
    assert future.begin()
    assert future.begin()
    future.set_result(1)
    assert not future.begin()


def test_a_cancelled_one_is_withdrawn_once_and_does_not_begin() -> None:
    withdrawn: list[str] = []
    future = make(withdrawn=withdrawn)
    assert future.cancel()
    assert future.cancel()
    assert withdrawn == ["u-1"]
    assert not future.begin()
    assert not future.begin()
    assert future.cancelled()


def test_who_waits_for_several_hears_of_a_cancelled_one_when_it_is_to_begin() -> None:
    """As with the standard library's: ``cancel`` alone does not tell them."""
    future = make()
    future.cancel()
    assert not concurrent.futures.wait([future], timeout=0).done
    future.begin()
    assert concurrent.futures.wait([future], timeout=0).done == {future}
    assert list(concurrent.futures.as_completed([future, future], timeout=DEADLINE)) == [future]


def test_many_threads_that_begin_it_at_once_agree() -> None:
    """The keeper and the deliverer may both find out that it was cancelled."""
    for _ in range(50):
        future = make()
        future.cancel()
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            answers = [threads.submit(future.begin) for _ in range(8)]
        assert not any(answer.result() for answer in answers)


def test_one_that_its_user_has_set_is_left_alone() -> None:
    """Not that they should: but it must not be the end of everybody else's."""
    future = make()
    future.set_result(7)
    assert not future.begin()
    assert future.result(0) == 7


def test_waiting_for_it_on_the_thread_that_sets_it_is_refused_at_once() -> None:
    future = make(deliverer=threading.current_thread())
    for wait in (future.result, future.exception):
        with pytest.raises(TasklineError, match=r"u-1 \(m.task\) inside a callback"):
            wait()
        with pytest.raises(TasklineError, match="inside a callback"):
            wait(1.0)


def test_a_mere_look_is_no_waiting() -> None:
    future = make(deliverer=threading.current_thread())
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(timeout=0)
    future.begin()
    future.set_result(3)
    assert future.result() == 3
    assert future.exception() is None


def test_raising_its_exception_leaves_no_ring_of_references() -> None:
    """future → exception → traceback → frame → future would keep results until a collection."""
    with no_collector():
        future = make()
        future.begin()
        future.set_exception(ValueError("it went wrong"))
        gone = weakref.ref(future)
        with pytest.raises(ValueError, match="it went wrong"):
            future.result(DEADLINE)
        del future
        assert gone() is None
