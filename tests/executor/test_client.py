"""``Executor`` from the caller's side: submitting from everywhere, options, callbacks, memory."""

from __future__ import annotations

import concurrent.futures
import functools
import gc
import math
import statistics
import threading
import time
import weakref
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from executor import Executor
from executor.memory import MAX_RESULT
from executor.request import Order, Request
from executor.turn import Open
from protocol.errors import (
    ConfigurationError,
    ExecutorClosed,
    RequestTimeout,
    SignatureMismatch,
    TasklineError,
    UnknownRequest,
    UnnameableTask,
    ValueRefused,
)
from protocol.size import MAX_BODY
from tests.samples import tasks
from worker import Retry, task

DEADLINE = 30.0  # seconds
MANY = 20_000


@task(delivery="at_most_once", time_limit=9.0, soft_time_limit=8.0, priority=4, rate="5/s")
def careful(n: int) -> int:
    """Say something of itself."""
    return n


@task(retries=4)
def stubborn(n: int) -> int:
    """Be repeated."""
    return n


def delivered(pool: Executor) -> None:
    """Return when the deliverer has done all that it had been handed: callbacks included."""
    done = threading.Event()
    pool._engine.deliverer.deliver([done.set])
    assert done.wait(DEADLINE)


def in_a_callback(pool: Executor, act: Callable[[], Any]) -> Any:
    """What ``act`` raises, or else returns, when it is called by a done-callback."""
    found: list[Any] = []
    done = threading.Event()

    def call(_: concurrent.futures.Future[Any]) -> None:
        try:
            found.append(act())
        except Exception as error:
            found.append(error)
        done.set()

    gate = pool.submit(time.sleep, 0.5)  # so that the callback is not called right here
    gate.add_done_callback(call)
    assert done.wait(DEADLINE)
    return found[0]


# -- submitting


def test_sixteen_threads_submit_at_once_and_each_gets_its_own_results(pool: Executor) -> None:
    def use(thread: int) -> list[int]:
        futures = [pool.submit(tasks.add, thread * 1000, n) for n in range(50)]
        return [future.result(DEADLINE) for future in futures]

    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        for thread, results in enumerate(threads.map(use, range(16))):
            assert results == [thread * 1000 + n for n in range(50)]


@pytest.mark.slow
def test_twenty_thousand_calls_leave_nothing_behind(pool: Executor) -> None:
    """Neither here nor in the ledger; and ``submit`` never takes long."""
    assert pool.submit(abs, -1).result(DEADLINE) == 1
    took: list[float] = []
    for _ in range(10):
        futures = []
        for n in range(MANY // 10):
            began = time.thread_time()
            futures.append(pool.submit(abs, -n))
            took.append(time.thread_time() - began)
        assert [future.result(DEADLINE) for future in futures] == list(range(MANY // 10))
    del futures
    delivered(pool)
    gc.collect()
    left = [thing for thing in gc.get_objects() if isinstance(thing, (Open, Order, Request))]
    assert left == []
    ledger = pool._engine._keeper._ledger
    assert len(ledger) == 0
    assert len(ledger._timers) < MANY / 2  # of ended ones, to be swept away
    assert all(not peer.open for peer in ledger.directory)
    assert statistics.median(took) < 0.001


def test_a_future_and_its_result_are_freed_by_who_drops_them(pool: Executor) -> None:
    """Nothing here holds what has been delivered, not even until the next delivery.

    The results of small ones are remembered for ``get``, but never the future, which may hold an
    exception, whose traceback holds variables of its caller's.
    """
    for size in (10, 2 * MAX_RESULT):
        future = pool.submit(tasks.large, size)
        uuid = future.uuid
        gone = threading.Event()
        weakref.finalize(future, gone.set)
        assert len(future.result(DEADLINE)) >= size
        del future
        assert gone.wait(DEADLINE)
        if size > MAX_RESULT:
            with pytest.raises(UnknownRequest):
                pool.get(uuid)
        else:
            assert len(pool.get(uuid).result(0)) >= size


def test_a_future_that_nobody_keeps_still_calls_back(pool: Executor) -> None:
    results: list[int] = []
    done = threading.Event()

    def note(future: concurrent.futures.Future[int]) -> None:
        results.append(future.result())
        done.set()

    pool.submit(abs, -4).add_done_callback(note)
    assert done.wait(DEADLINE)
    assert results == [4]


def test_arguments_travel_as_they_are_at_submit(lonely: Executor) -> None:
    """Whatever becomes of them while the request waits."""
    values = [1, 2, 3]
    future = lonely.submit(sorted, values)
    values.append("changed")  # type: ignore[arg-type]
    order = next(iter(lonely._engine._keeper._ledger._requests.values()), None)
    assert order is None or b"changed" not in order.order.body
    assert future.cancel()


@pytest.mark.parametrize(
    ("args", "kwargs", "path"),
    [
        (({1, 2},), {}, "positional argument 0"),
        ((1, b"bytes"), {}, "positional argument 1"),
        ((), {"deep": [{"er": object()}]}, r"argument 'deep'\[0\]\.er"),
        ((), {"key": {1: "one"}}, "argument 'key'"),
        ((float("nan"),), {}, "positional argument 0"),
        ((concurrent.futures.Future(),), {}, "positional argument 0"),
    ],
)
def test_what_may_not_travel_is_refused_with_its_path(
    pool: Executor, args: Any, kwargs: Any, path: str
) -> None:
    with pytest.raises(ValueRefused, match=path):
        pool.submit("any.name", *args, **kwargs)


def test_arguments_that_no_message_holds_are_refused_here_and_nothing_is_submitted(
    pool: Executor,
) -> None:
    most = str(MAX_BODY // 2**20)
    with pytest.raises(ValueRefused, match=rf"argument 'big': at least 47\.7 MiB.* {most} MiB"):
        pool.submit("any.name", 1, big="x" * 50_000_000)
    with pytest.raises(ValueRefused, match=r"the arguments of any\.name: at least 19\.1 MiB"):
        pool.submit("any.name", "x" * 10_000_000, more="x" * 10_000_000)
    assert pool.open_requests() == []


def test_a_result_that_no_message_holds_is_the_failure_of_its_task(pool: Executor) -> None:
    with pytest.raises(ValueRefused, match=r"the result of .*large: at least 28\.6 MiB") as caught:
        pool.submit(tasks.large, 30_000_000).result(DEADLINE)
    assert "send its path or URL" in str(caught.value)
    assert len(pool.submit(tasks.large, 10_000_000).result(DEADLINE)) == 10_000_000


def test_a_task_class_is_executed_with_what_was_submitted(pool: Executor) -> None:
    """By the class and by its name; ``revert`` undoes it."""
    name = "tests.samples.tasks.Twice"
    assert pool.submit(tasks.Nameless).result(DEADLINE) == "nameless"
    assert pool.execute(name, {"x": 4}, name="mine").result(DEADLINE) == {"name": "mine", "x": 8}
    undone = pool.revert(name, {}, result={"x": 8}).result(DEADLINE)
    assert undone == {"result": {"x": 8}, "failures": {}}


def test_a_partial_is_the_call_it_stands_for(pool: Executor) -> None:
    assert pool.submit(functools.partial(tasks.add, 1), y=2).result(DEADLINE) == 3
    assert pool.submit(functools.partial(tasks.add, 1), 5).result(DEADLINE) == 6
    with pytest.raises(SignatureMismatch):
        pool.submit(functools.partial(tasks.add, 1, 2), 3)
    with pytest.raises(UnnameableTask, match="lambda"):
        pool.submit(functools.partial(lambda x: x, 1))
    with pytest.raises(ValueRefused):
        pool.submit(functools.partial(tasks.echo, {1}))


def test_a_name_nobody_offers_expires_with_the_nearest_names(pool: Executor) -> None:
    future = pool.options(timeout=0.2).submit("tests.samples.tasks.ad", 1)
    with pytest.raises(RequestTimeout, match=r"tests\.samples\.tasks\.add") as found:
        future.result(DEADLINE)
    assert isinstance(found.value, TimeoutError)


# -- beside the call


def test_options_are_laid_over_each_other(pool: Executor) -> None:
    """What is not given stays as it is there; the executor itself is unchanged."""
    first = pool.options(timeout=7, topic="default")
    second = first.options(timeout=9)
    assert (second._options.timeout, second._options.topic) == (9, "default")
    assert (first._options.timeout, pool._options.timeout) == (7, None)
    assert isinstance(second, Executor)
    assert second.workers()[0].boot == pool.workers()[0].boot


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": "5"},
        {"topic": "elsewhere"},
        {"key": ""},
        {"key": 7},
        {"key": "x" * 201},
        {"delivery": "never"},
        {"time_limit": 0},
        {"time_limit": "5"},
        {"soft_time_limit": -1},
        {"time_limit": 5, "soft_time_limit": 5},
        {"priority": 101},
        {"priority": 1.0},
        {"priority": True},
        {"rate": "often"},
        {"rate": 5},
        {"max_running": 0},
        {"max_running": 1.5},
        {"max_running": True},
        {"retries": -1},
        {"retries": "3"},
        {"retries": 3, "delivery": "at_most_once"},
        {"delay": -1},
        {"delay": "5"},
        {"delay": math.nan},
        {"delay": 1e12},
        {"delay": True},
        {"eta": 12.0},
        {"eta": datetime(9000, 1, 1, tzinfo=timezone.utc)},
        {"eta": datetime(2030, 1, 1, tzinfo=timezone.utc), "delay": 1.0},
    ],
)
def test_options_that_cannot_be_are_refused(pool: Executor, options: Any) -> None:
    with pytest.raises(ConfigurationError):
        pool.options(**options)


def test_a_naive_time_is_refused_with_the_way_out(lonely: Executor) -> None:
    with pytest.raises(ConfigurationError, match=r"no time zone.*eta\.astimezone\(\)"):
        lonely.options(eta=datetime(2030, 1, 1))
    lonely.options(eta=datetime(2030, 1, 1).astimezone())


def order_of(executor: Executor, future: Any) -> Order:
    """What the ledger was handed, when it has it."""
    executor.counts()  # answered when the keeper has taken it
    order: Order = executor._engine._keeper._ledger._requests[future.uuid].order
    return order


def test_of_two_times_to_start_at_the_one_said_last_holds(lonely: Executor) -> None:
    def starts(executor: Executor) -> tuple[float, float] | None:
        """In so many seconds, by both clocks."""
        wall, now = time.time(), time.monotonic()
        order = order_of(lonely, executor.submit("nobody.offers.this"))
        if order.not_before is None or order.eta is None:
            return None
        return order.not_before - now, order.eta - wall

    within = pytest.approx([1000.0, 1000.0], abs=DEADLINE)
    at = datetime.now(timezone.utc) + timedelta(seconds=1000)
    delayed, timed = lonely.options(delay=1000), lonely.options(eta=at)
    assert starts(lonely) is None
    assert starts(delayed) == within
    assert starts(timed) == within
    assert starts(timed.options(delay=2000.0)) != within
    assert starts(lonely.options(delay=2000.0).options(eta=at, timeout=5)) == within
    assert starts(delayed.options(delay=0)) is None
    assert starts(lonely.options(eta=at - timedelta(seconds=1001))) is None
    at_home = at.astimezone(timezone(timedelta(hours=-7)))
    assert order_of(lonely, lonely.options(eta=at_home).submit("x.y")).eta == at.timestamp()


def test_what_is_not_to_start_yet_can_be_cancelled_at_once(lonely: Executor) -> None:
    future = lonely.options(delay=3600.0, priority=5).submit("nobody.offers.this")
    assert order_of(lonely, future).priority == 5
    assert future.cancel()
    assert future.cancelled()
    lonely.counts()
    assert future.uuid not in lonely._engine._keeper._ledger._requests


def test_a_light_executor_waits_for_its_own_calls_only(own_pool: Executor, tmp_path: Path) -> None:
    """``with`` on it is as with any executor; the one it came from goes on."""
    gate = tmp_path / "gate"
    open_elsewhere = own_pool.submit(tasks.wait_for_file, str(gate))
    with own_pool.options(timeout=20) as light:
        mine = [light.submit(time.sleep, 0.05) for _ in range(6)]
    assert all(future.done() for future in mine)
    assert not open_elsewhere.done()
    with pytest.raises(ExecutorClosed, match=r"call options\(\) again"):
        light.submit(abs, -1)
    assert own_pool.submit(abs, -1).result(DEADLINE) == 1
    gate.touch()
    open_elsewhere.result(DEADLINE)
    other = own_pool.options(timeout=20)
    own_pool.shutdown()
    with pytest.raises(ExecutorClosed, match="make a new Executor"):
        other.submit(abs, -1)


def test_a_light_executor_cancels_its_own_calls_only(lonely: Executor) -> None:
    light = lonely.options(timeout=100)
    mine, other = light.submit("nobody.offers.this"), lonely.submit("nobody.offers.this")
    light.shutdown(cancel_futures=True)
    assert mine.cancelled()
    assert not other.done()


def test_progress_and_events_come_in_order_and_before_the_result(pool: Executor) -> None:
    seen: list[Any] = []
    future = pool.options(
        on_progress=lambda fraction, details: seen.append((fraction, details)),
        on_event=lambda kind, details: seen.append((kind, details)),
    ).submit(tasks.say, [0.25, 0.5], "custom")
    future.add_done_callback(lambda done: seen.append("done"))
    assert future.result(DEADLINE) == "said"
    delivered(pool)
    of = {"of": "work"}
    assert seen == [(0.25, of), (0.5, of), ("custom", {"note": "hello"}), "done"]


def test_a_listener_that_raises_disturbs_nothing(
    pool: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    def bad(fraction: float, details: dict[str, Any]) -> None:
        raise SystemExit(f"at {fraction}")

    future = pool.options(on_progress=bad).submit(tasks.say, [0.25, 0.5], "custom")
    assert future.result(DEADLINE) == "said"
    assert caplog.text.count("a callback raised; nothing else is affected") == 2


# -- found again


def test_a_request_is_found_by_its_uuid_open_and_ended(own_pool: Executor, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    running = own_pool.submit(tasks.wait_for_file, str(gate))
    waiting = own_pool.submit("nobody.offers.this")
    light = own_pool.options(timeout=60)
    assert own_pool.open_requests() == light.open_requests() == [running, waiting]
    assert own_pool.get(running.uuid) is running
    gate.touch()
    assert running.result(DEADLINE) == "found"
    delivered(own_pool)
    assert own_pool.open_requests() == [waiting]
    assert own_pool.get(running.uuid) is running  # somebody holds it
    uuid = running.uuid
    del running
    gc.collect()
    again = light.get(uuid)
    assert (again.uuid, again.task, again.result(0)) == (
        uuid,
        f"{tasks.__name__}.wait_for_file",
        "found",
    )
    assert waiting.cancel()
    assert own_pool.get(waiting.uuid).cancelled()
    with pytest.raises(UnknownRequest, match="not among those that ended last"):
        own_pool.get("00000000-0000-0000-0000-000000000000")


def test_what_a_task_raised_is_found_again_without_the_variables_of_who_caught_it(
    pool: Executor,
) -> None:
    class Heavy:
        """Something a caller holds while it catches."""

    def catch() -> str:
        heavy = Heavy()
        gone.append(weakref.ref(heavy))
        future = pool.submit(tasks.fail, "what")
        with pytest.raises(ValueError, match="what"):
            future.result(DEADLINE)
        return future.uuid

    gone: list[weakref.ref[Heavy]] = []
    uuid = catch()
    delivered(pool)
    gc.collect()
    assert gone[0]() is None
    assert pool.get(uuid).exception(0).args == ("what", 42)  # type: ignore[union-attr]


def test_what_a_task_says_of_itself_goes_along_and_options_go_first(lonely: Executor) -> None:
    def ordered(executor: Executor, function: Callable[..., Any]) -> Order:
        future = executor.submit(function, 1)
        order = order_of(lonely, future)
        future.cancel()
        return order

    plain = ordered(lonely, abs)
    assert (plain.mode, plain.time_limit, plain.soft_time_limit) == ("alo", None, None)
    assert (plain.priority, plain.rate, plain.max_running) == (0, None, None)
    own = ordered(lonely, careful)
    assert (own.mode, own.time_limit, own.soft_time_limit) == ("amo", 9.0, 8.0)
    assert (own.priority, own.rate, own.max_running) == (4, (5, 1.0), None)
    throttled = ordered(lonely.options(rate="7/h", max_running=3), careful)
    assert (throttled.rate, throttled.max_running) == ((7, 3600.0), 3)
    assert ordered(lonely.options(priority=0), careful).priority == 0
    other = lonely.options(time_limit=20, soft_time_limit=1, delivery="at_least_once")
    laid = ordered(other, careful)
    assert (laid.mode, laid.time_limit, laid.soft_time_limit) == ("alo", 20, 1)
    assert (plain.retries, ordered(lonely, stubborn).retries) == (None, Retry(max=4))
    assert ordered(lonely.options(retries=Retry(on=(OSError,))), stubborn).retries == Retry(
        on=("OSError",)
    )
    for none in (lonely.options(retries=0), lonely.options(delivery="at_most_once", retries=0)):
        assert ordered(none, stubborn).retries is None
    with pytest.raises(ConfigurationError, match=r"submitting .*stubborn.*never started twice"):
        lonely.options(delivery="at_most_once").submit(stubborn, 1)
    mixed = ordered(lonely.options(soft_time_limit=2), careful)
    assert (mixed.time_limit, mixed.soft_time_limit) == (9.0, 2)
    with pytest.raises(ConfigurationError, match=r"careful: soft_time_limit=8\.0"):
        lonely.options(time_limit=3).submit(careful, 1)


# -- inside a callback


def test_a_callback_may_submit_again(pool: Executor) -> None:
    again = in_a_callback(pool, lambda: pool.submit(abs, -5))
    assert again.result(DEADLINE) == 5


def test_a_chain_of_callbacks_each_submits_the_next(pool: Executor) -> None:
    done = threading.Event()
    seen: list[int] = []

    def step(future: concurrent.futures.Future[int]) -> None:
        seen.append(future.result())
        if len(seen) < 20:
            pool.submit(abs, -len(seen)).add_done_callback(step)
        else:
            done.set()

    pool.submit(abs, 0).add_done_callback(step)
    assert done.wait(DEADLINE)
    assert seen == list(range(20))


def test_a_callback_that_waits_for_another_future_is_told_so(pool: Executor) -> None:
    """Instead of waiting for itself for ever; ``map`` inside it, too."""
    error = in_a_callback(pool, lambda: pool.submit(time.sleep, 0.2).result())
    assert isinstance(error, TasklineError)
    assert "inside a callback" in str(error)
    assert isinstance(in_a_callback(pool, lambda: list(pool.map(abs, [-1]))), TasklineError)


def test_a_callback_that_exits_ends_nobody_elses_futures(pool: Executor) -> None:
    future = pool.submit(time.sleep, 0.5)
    future.add_done_callback(lambda done: exit(3))
    future.result(DEADLINE)
    assert pool.submit(abs, -6).result(DEADLINE) == 6


def test_shutdown_inside_a_callback_cannot_wait_for_what_is_open(own_pool: Executor) -> None:
    """It says so, and the executor is on its way down all the same."""
    slow = own_pool.submit(time.sleep, 2.0)
    error = in_a_callback(own_pool, own_pool.shutdown)
    assert isinstance(error, TasklineError)
    assert "call shutdown(wait=False)" in str(error)
    with pytest.raises(ExecutorClosed):
        own_pool.submit(abs, -1)
    assert slow.result(DEADLINE) is None


def test_shutdown_inside_the_last_callback_is_fine(own_pool: Executor) -> None:
    """Nothing is open but the call that came back: all threads end by themselves."""
    assert in_a_callback(own_pool, own_pool.shutdown) is None
    own_pool._engine.deliverer.thread.join(DEADLINE)
    assert not own_pool._engine.deliverer.thread.is_alive()


def test_workers_may_be_asked_for_inside_a_callback(pool: Executor) -> None:
    assert len(in_a_callback(pool, pool.workers)) == 1
