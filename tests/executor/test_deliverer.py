"""The thread that runs user code: nothing that such code does may end it."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from executor.deliverer import MAX_TOLD, Deliverer

DEADLINE = 30.0  # seconds


@pytest.fixture
def deliverer() -> Iterator[Deliverer]:
    made = Deliverer("taskline-deliverer-test")
    made.start()
    yield made
    made.stop()
    assert not made.thread.is_alive()


class Callback:
    """Something to be called that can be looked at afterwards."""

    def __call__(self) -> None:
        """Do nothing."""


def delivered(deliverer: Deliverer) -> None:
    """Return when all that was handed over before has been called."""
    done = threading.Event()
    deliverer.deliver([done.set])
    assert done.wait(DEADLINE)


def test_calls_are_made_in_order_on_its_own_thread(deliverer: Deliverer) -> None:
    seen: list[tuple[int, threading.Thread]] = []
    calls: list[Callable[[], None]] = [
        lambda n=n: seen.append((n, threading.current_thread()))  # type: ignore[misc]
        for n in range(100)
    ]
    deliverer.deliver(calls[:50])
    deliverer.deliver(calls[50:])
    delivered(deliverer)
    assert seen == [(n, deliverer.thread) for n in range(100)]


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_whatever_a_call_raises_is_logged_and_the_next_is_made(
    deliverer: Deliverer, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """``sys.exit()`` in a callback must not be the end of all futures."""

    def boom() -> None:
        raise error("boom")

    with caplog.at_level(logging.ERROR, "taskline.executor.deliverer"):
        deliverer.deliver([boom])
        delivered(deliverer)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[0] is error


def test_stop_returns_when_all_that_was_handed_over_has_been_called() -> None:
    made = Deliverer("taskline-deliverer-test")
    made.start()
    seen: list[int] = []
    made.deliver([partial(seen.append, n) for n in range(1000)])
    made.stop()
    made.stop()
    assert seen == list(range(1000))
    assert not made.thread.is_alive()


def test_stop_inside_a_call_does_not_wait_for_itself(deliverer: Deliverer) -> None:
    deliverer.deliver([deliverer.stop])
    deliverer.thread.join(DEADLINE)
    assert not deliverer.thread.is_alive()


def test_a_call_is_held_no_longer_than_it_takes(deliverer: Deliverer) -> None:
    """Else the last result would stay in memory until the next one comes."""
    call = Callback()
    gone = threading.Event()
    weakref.finalize(call, gone.set)
    deliverer.deliver([call])
    del call
    assert gone.wait(DEADLINE)


# -- what running tasks say


def test_what_a_task_says_is_told_in_order_and_before_its_end(deliverer: Deliverer) -> None:
    """And one after the other with what else is delivered."""
    seen: list[object] = []
    for n in range(100):
        for said in range(3):
            deliverer.tell(partial(seen.append, (n, said)))
        deliverer.deliver([partial(seen.append, (n, "end"))])
    delivered(deliverer)
    for n in range(100):
        mine = [what for request, what in seen if request == n]  # type: ignore[misc]
        assert mine == [0, 1, 2, "end"]
    assert deliverer.dropped == 0


def test_what_is_said_is_told_although_nothing_ends(deliverer: Deliverer) -> None:
    told = threading.Event()
    deliverer.tell(told.set)
    assert told.wait(DEADLINE)


def test_of_what_a_slow_subscriber_was_not_told_the_latest_is_kept(deliverer: Deliverer) -> None:
    """No end is dropped, and what was is counted."""
    seen: list[int] = []
    ends: list[int] = []
    gate, busy = threading.Event(), threading.Event()

    def slow() -> None:
        busy.set()
        gate.wait(DEADLINE)

    deliverer.tell(slow)
    assert busy.wait(DEADLINE)
    for n in range(MAX_TOLD + 500):
        deliverer.tell(partial(seen.append, n))
        if n % 100 == 0:
            deliverer.deliver([partial(ends.append, n)])
    assert deliverer.dropped == 500
    gate.set()
    delivered(deliverer)
    assert seen == list(range(500, MAX_TOLD + 500))
    assert ends == list(range(0, MAX_TOLD + 500, 100))
    assert deliverer.dropped == 500


def test_a_subscriber_that_raises_disturbs_nothing(
    deliverer: Deliverer, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    def boom() -> None:
        raise SystemExit("boom")

    with caplog.at_level(logging.ERROR, "taskline.executor.deliverer"):
        deliverer.tell(boom)
        deliverer.tell(partial(seen.append, "told"))
        delivered(deliverer)
    assert seen == ["told"]
    assert len(caplog.records) == 1


def test_an_event_is_held_no_longer_than_it_takes(deliverer: Deliverer) -> None:
    call = Callback()
    gone = threading.Event()
    weakref.finalize(call, gone.set)
    deliverer.tell(call)
    del call
    assert gone.wait(DEADLINE)
