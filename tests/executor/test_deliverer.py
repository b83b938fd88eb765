"""The thread that runs user code: nothing that such code does may end it."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from executor.deliverer import Deliverer

DEADLINE = 10.0  # seconds


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
