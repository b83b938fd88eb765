"""The soft limit alone, with this process for a host and a thread that nudges it."""

from __future__ import annotations

import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from protocol.errors import SoftTimeLimitExceeded
from worker.registry import Registry
from worker.runner import Call, Outcome, run
from worker.soft_limit import NUDGE, SoftLimit

TASKS = "tests.samples.overlong"


@pytest.fixture
def limit() -> Iterator[SoftLimit]:
    """A limit that listens to nudges; afterwards all is as it was."""
    before, hook = signal.getsignal(NUDGE), sys.unraisablehook
    limit = SoftLimit()
    limit.install()
    yield limit
    signal.signal(NUDGE, before)
    sys.unraisablehook = hook


@pytest.fixture
def registry() -> Registry:
    """The tasks that do not end by themselves."""
    registry = Registry()
    registry.load(TASKS)
    return registry


@pytest.fixture
def storm() -> Iterator[Callable[[], None]]:
    """Once called, nudges come in as fast as they can, until the end of the test."""
    main, over = threading.get_ident(), threading.Event()

    def nudge() -> None:
        while not over.is_set():
            signal.pthread_kill(main, NUDGE)
            time.sleep(0.00002)

    thread = threading.Thread(target=nudge)
    yield thread.start
    over.set()
    thread.join()


def kind(outcome: Outcome) -> str | None:
    """What a call failed with, if it did."""
    return None if outcome.failure is None else str(outcome.failure["exc_type_names"][0])


def nothing(*_: Any) -> None:
    """Neither the start nor an event of a task matters here."""


def now_and_then(seconds: float) -> float:
    """Return a time so far from now, on the clock of limits."""
    return time.monotonic() + seconds


# -- what a nudge does


def test_a_nudge_raises_in_a_run_whose_time_is_over(limit: SoftLimit) -> None:
    limit.begin("my.task", 0.5, now_and_then(0.5))
    with pytest.raises(SoftTimeLimitExceeded, match=r"my\.task has run for its .* 0\.5 s: let it"):
        threading.Timer(0.6, signal.pthread_kill, (threading.get_ident(), NUDGE)).start()
        time.sleep(60)
    limit.finish()


def test_a_time_that_is_over_at_the_beginning_is_raised_there(limit: SoftLimit) -> None:
    with pytest.raises(SoftTimeLimitExceeded):
        limit.begin("my.task", 0.0, now_and_then(-1))


def test_a_nudge_before_the_time_or_outside_of_a_run_does_nothing(limit: SoftLimit) -> None:
    signal.raise_signal(NUDGE)
    limit.begin("my.task", 60, now_and_then(60))
    signal.raise_signal(NUDGE)
    limit.finish()
    signal.raise_signal(NUDGE)


def test_it_is_raised_once(limit: SoftLimit) -> None:
    with pytest.raises(SoftTimeLimitExceeded):
        limit.begin("my.task", 0.0, now_and_then(-1))
    signal.raise_signal(NUDGE)
    limit.finish()


def test_what_must_not_be_interrupted_is_not_and_then_it_is_raised(limit: SoftLimit) -> None:
    limit.hold()
    limit.begin("my.task", 0.0, now_and_then(-1))
    signal.raise_signal(NUDGE)
    with pytest.raises(SoftTimeLimitExceeded):
        limit.let_go()


def test_a_run_that_was_never_finished_leaves_nothing_to_the_next(limit: SoftLimit) -> None:
    with pytest.raises(SoftTimeLimitExceeded):
        limit.begin("my.task", 0.0, now_and_then(-1))
    limit.begin("another.task", 60, now_and_then(60))
    signal.raise_signal(NUDGE)
    limit.finish()


def test_what_is_dropped_is_raised_again_and_not_told(
    limit: SoftLimit, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ending:
        def __del__(self) -> None:
            signal.raise_signal(NUDGE)

    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    limit.install()
    limit.hold()
    limit.begin("my.task", 0.0, now_and_then(-1))
    limit._held = 0
    Ending()
    with pytest.raises(SoftTimeLimitExceeded):
        signal.raise_signal(NUDGE)
    assert told == []
    limit.finish()


# -- in runs


@pytest.mark.parametrize("task", ["return_after", "await_for"])
def test_it_never_hits_anything_but_the_run_whose_limit_it_is(
    limit: SoftLimit, registry: Registry, storm: Callable[[], None], task: str
) -> None:
    """Limits at the very end of a task, under a storm of nudges: whatever escaped fails this."""
    ends = {None: 0, "protocol.errors.SoftTimeLimitExceeded": 0}
    chance = random.Random(0)
    storm()
    began, slack, step, before = time.monotonic(), 0.0, 0.0, None
    while time.monotonic() < began + 0.8 or (
        min(ends.values()) <= 10 and time.monotonic() < began + 30  # on a busy machine
    ):
        lasting = chance.uniform(0, 0.0005)
        due = now_and_then(lasting + slack)
        call = Call(f"{TASKS}.{task}", "", "execute", [lasting], soft_limit=(lasting, due))
        end = kind(run(registry, call, nothing, limit))
        ends[end] += 1
        # So that it is about the end, however long that takes here and now.
        step = 1.5 * step if end == before else 0.00005
        slack, before = slack + (-step if end is None else step), end
        unlimited = Call(f"{TASKS}.return_after", "", "execute", [0.0])
        between = run(registry, unlimited, nothing, limit)
        assert between == Outcome('"returned"')
    assert min(ends.values()) > 10, ends


def test_the_traceback_shows_the_task_and_nothing_of_ours(
    limit: SoftLimit, registry: Registry
) -> None:
    call = Call(f"{TASKS}.sleep_on", "", "execute", soft_limit=(0.5, now_and_then(0.5)))
    threading.Timer(0.6, signal.pthread_kill, (threading.get_ident(), NUDGE)).start()
    outcome = run(registry, call, nothing, limit)
    assert outcome.failure is not None
    trace = outcome.failure["traceback_str"]
    assert trace.count("File ") == 1
    assert "time.sleep(FOR_EVER)" in trace
