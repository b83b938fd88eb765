"""Coroutines of tasks in their event loop: what they come to, and how a soft limit reaches them."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from protocol.errors import SoftTimeLimitExceeded
from protocol.failure import to_exception
from worker import awaiting
from worker.registry import Registry
from worker.runner import Call, Outcome, run
from worker.soft_limit import NUDGE, SoftLimit

TASKS = "tests.samples.overlong"
#: Seconds of a limit; long enough that on a busy machine, too, the loop is up before it is over.
SOON = 0.5


@pytest.fixture
def limit() -> Iterator[SoftLimit]:
    """A limit that is nudged every few milliseconds."""
    before, hook = signal.getsignal(NUDGE), sys.unraisablehook
    main, over = threading.get_ident(), threading.Event()

    def nudge() -> None:
        while not over.wait(0.005):
            signal.pthread_kill(main, NUDGE)

    limit, thread = SoftLimit(), threading.Thread(target=nudge)
    limit.install()
    thread.start()
    yield limit
    over.set()
    thread.join()
    signal.signal(NUDGE, before)
    sys.unraisablehook = hook


def come_to(task: str, limit: SoftLimit, seconds: float = SOON) -> tuple[Outcome, list[Any]]:
    """Run one of the tasks with a soft limit; what it comes to, and the events it told of."""
    registry = Registry()
    registry.load(f"{TASKS}:{task}")
    told: list[Any] = []
    call = Call(f"{TASKS}.{task}", "", "execute", soft_limit=(seconds, time.monotonic() + seconds))
    outcome = run(registry, call, lambda *event: told.append(event), limit)
    return outcome, told


def exceeded(outcome: Outcome) -> str:
    """Where the limit left the task; nothing else may have."""
    assert outcome.failure is not None
    back = to_exception(outcome.failure)
    assert type(back) is SoftTimeLimitExceeded, outcome.failure
    return str(outcome.failure["traceback_str"])


def test_without_a_limit_it_is_asyncios_own_run() -> None:
    async def doubled() -> int:
        await asyncio.sleep(0)
        return 42

    assert awaiting.run(doubled(), None) == 42


def test_what_is_awaited_passes_both_ways(limit: SoftLimit) -> None:
    async def catching() -> list[Any]:
        told: list[Any] = [await asyncio.sleep(0, "value")]
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 0.001)
        except asyncio.TimeoutError:
            told.append("timeout")
        future = asyncio.get_running_loop().create_future()
        future.set_exception(KeyError("raised"))
        try:
            await future
        except KeyError:
            told.append("raised")
        return told

    assert awaiting.run(catching(), limit) == ["value", "timeout", "raised"]


def test_a_cancellation_of_the_tasks_own_stays_one(limit: SoftLimit) -> None:
    async def cancelling() -> None:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        await asyncio.sleep(60)

    limit.begin("my.task", 60, time.monotonic() + 60)
    with pytest.raises(asyncio.CancelledError) as caught:
        awaiting.run(cancelling(), limit)
    limit.finish()
    assert not isinstance(caught.value, SoftTimeLimitExceeded)


def test_one_that_awaits_may_catch_it_clean_up_and_return(limit: SoftLimit) -> None:
    outcome, _ = come_to("await_and_catch", limit)
    assert outcome == Outcome('"caught"')


def test_one_that_lets_it_out_fails_with_it(limit: SoftLimit) -> None:
    assert "await asyncio.sleep(FOR_EVER)" in exceeded(come_to("await_on", limit)[0])


def test_one_that_blocks_its_loop_is_interrupted(limit: SoftLimit) -> None:
    trace = exceeded(come_to("block_the_loop", limit)[0])
    assert "time.sleep(FOR_EVER)" in trace
    assert trace.count("File ") == 1, "neither asyncio's frames nor ours"


def test_a_task_beside_it_that_blocks_the_loop_is_interrupted_at_a_later_nudge(
    limit: SoftLimit,
) -> None:
    exceeded(come_to("await_blocked_children", limit)[0])


def test_what_is_in_a_group_is_ended_first(limit: SoftLimit) -> None:
    outcome, told = come_to("await_a_group", limit)
    exceeded(outcome)
    assert sorted(json.loads(details)["number"] for _, details in told) == [0, 1]


def test_timeouts_of_asyncios_own_work_afterwards(limit: SoftLimit) -> None:
    outcome, _ = come_to("await_with_a_timeout_after", limit)
    assert outcome == Outcome('"timed out"')


def test_a_limit_that_is_over_before_it_begins_makes_no_noise(limit: SoftLimit) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exceeded(come_to("await_on", limit, 0.0)[0])
