"""Code that knows only ``concurrent.futures`` and ``asyncio``, run on our executor.

One executor with two private workers on the local broker serves the whole module; every function
submitted is one of the standard library's, which private workers offer when it is first asked for.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import math
import operator
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from executor import Executor
from protocol.errors import (
    ExecutorClosed,
    SignatureMismatch,
    TaskFailed,
    UnnameableTask,
    ValueRefused,
)
from tests.processes import wait_until

DEADLINE = 30.0  # seconds


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[concurrent.futures.Executor]:
    """What a user of the standard library sees: an executor."""
    path: Path = tmp_path_factory.mktemp("broker")
    with Executor(f"local://{path}/broker", workers=2) as executor:
        yield executor


class Gate:
    """``os.open(*gate.words)`` returns when it has been opened, in whichever process."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.words = (str(path), os.O_RDONLY)
        self._descriptor: int | None = None

    def open(self) -> None:
        """From now on nobody waits; twice is fine."""
        if self._descriptor is None:
            self._descriptor = os.open(self.words[0], os.O_RDWR)

    def close(self) -> None:
        self.open()
        assert self._descriptor is not None
        os.close(self._descriptor)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """For a call that is slow until the test says otherwise."""
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.close()


def test_it_is_an_executor(pool: concurrent.futures.Executor) -> None:
    """``isinstance`` holds, and so does what follows from it."""
    assert isinstance(pool, concurrent.futures.Executor)


def test_submit_passes_positional_and_named_arguments_on(pool: concurrent.futures.Executor) -> None:
    """Whatever they are called: ``timeout`` and ``topic`` are the task's, not ours."""
    assert pool.submit(pow, 2, 10).result(DEADLINE) == 1024
    assert pool.submit(pow, base=2, exp=5, mod=7).result(DEADLINE) == 4
    assert pool.submit(sorted, [3, 1, 2], reverse=True).result(DEADLINE) == [3, 2, 1]


def test_map_gives_results_in_the_order_of_its_arguments(pool: concurrent.futures.Executor) -> None:
    """As the standard library's does, with one and with several iterables."""
    assert list(pool.map(math.factorial, range(8), timeout=DEADLINE)) == [
        math.factorial(n) for n in range(8)
    ]
    assert list(pool.map(operator.add, [1, 2, 3], [10, 20, 30])) == [11, 22, 33]


def test_map_raises_the_exception_of_the_call_that_failed(
    pool: concurrent.futures.Executor,
) -> None:
    """When its turn comes, and as itself."""
    results = pool.map(operator.truediv, [1, 1], [1, 0])
    assert next(results) == 1.0
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_map_times_out(pool: concurrent.futures.Executor) -> None:
    """``timeout`` is map's own, and the exception the standard library's."""
    with pytest.raises(concurrent.futures.TimeoutError):
        list(pool.map(time.sleep, [0.5], timeout=0.05))
    pool.submit(time.sleep, 0.5).result(DEADLINE)  # the slot is free again for the next test


def test_an_exception_arrives_as_itself_and_shows_where_it_was_raised(
    pool: concurrent.futures.Executor,
) -> None:
    """``except ValueError`` works, and the printed traceback has the worker's."""
    error = pool.submit(math.sqrt, -1).exception(DEADLINE)
    assert type(error) is ValueError
    assert "math domain error" in str(error) or "nonnegative" in str(error)
    assert "ValueError" in str(error.__cause__)


def test_wait_and_as_completed_take_our_futures(pool: concurrent.futures.Executor) -> None:
    """All of them end, and each is given once."""
    futures = [pool.submit(abs, -n) for n in range(20)]
    done, not_done = concurrent.futures.wait(futures, timeout=DEADLINE)
    assert not not_done
    assert len(done) == 20
    again = concurrent.futures.as_completed(futures, timeout=DEADLINE)
    assert sorted(future.result() for future in again) == list(range(20))


def test_wait_returns_at_the_first_exception(pool: concurrent.futures.Executor, gate: Gate) -> None:
    """``FIRST_EXCEPTION`` does not wait for the rest."""
    slow = pool.submit(os.open, *gate.words)
    bad = pool.submit(operator.truediv, 1, 0)
    done, not_done = concurrent.futures.wait(
        [slow, bad], timeout=DEADLINE, return_when=concurrent.futures.FIRST_EXCEPTION
    )
    assert bad in done
    assert slow in not_done
    gate.open()
    assert slow.result(DEADLINE) > 0


def test_callbacks_are_called_once_each_with_the_future(pool: concurrent.futures.Executor) -> None:
    """One that raises disturbs no other."""
    called: list[concurrent.futures.Future[int]] = []
    ready = threading.Event()
    future = pool.submit(abs, -3)
    future.add_done_callback(lambda done: 1 // 0)
    future.add_done_callback(called.append)
    future.add_done_callback(lambda done: ready.set())
    assert ready.wait(DEADLINE)
    assert called == [future]


def test_asyncio_awaits_what_the_executor_runs(pool: concurrent.futures.Executor) -> None:
    """``run_in_executor`` and ``wrap_future``, many at once."""

    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        first = await loop.run_in_executor(pool, abs, -1)
        rest = await asyncio.gather(
            *(asyncio.wrap_future(pool.submit(pow, 2, n)) for n in range(10))
        )
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(pool, operator.floordiv, 1, 0)
        return [first, *rest]

    assert asyncio.run(asyncio.wait_for(main(), DEADLINE)) == [1, *(2**n for n in range(10))]


def test_what_cannot_travel_is_refused_at_once(pool: concurrent.futures.Executor) -> None:
    """Lambdas, closures, odd values and wrong signatures are the caller's to mend."""

    def inner() -> None:
        """Nobody can import this."""

    for unnameable in (lambda: None, inner):
        with pytest.raises(UnnameableTask):
            pool.submit(unnameable)
    with pytest.raises(ValueRefused, match="argument"):
        pool.submit(sorted, {1, 2, 3})
    with pytest.raises(SignatureMismatch):
        pool.submit(operator.add, 1)


def test_a_waiting_call_can_be_cancelled_and_never_runs(tmp_path: Path) -> None:
    """Nobody offers it: it is not sent, so it can be taken back, and those who wait hear of it."""
    with Executor(f"local://{tmp_path}/broker") as executor:
        future = executor.submit("nobody.offers.this")
        assert future.cancel()
        assert future.cancelled()
        done, _ = concurrent.futures.wait([future], timeout=DEADLINE)
        assert done == {future}
        with pytest.raises(concurrent.futures.CancelledError):
            future.result()


def test_shutdown_waits_for_what_is_open_and_then_refuses(tmp_path: Path) -> None:
    """Twice is fine; a submit after it says what to do."""
    executor = Executor(f"local://{tmp_path}/broker", workers=1)
    futures = [executor.submit(abs, -n) for n in range(5)]
    executor.shutdown()
    executor.shutdown()
    assert [future.result(0) for future in futures] == [0, 1, 2, 3, 4]
    with pytest.raises(RuntimeError, match="after shutdown") as refusal:
        executor.submit(abs, 1)
    assert isinstance(refusal.value, ExecutorClosed)


def test_shutdown_can_cancel_what_has_not_been_sent(tmp_path: Path) -> None:
    """``cancel_futures=True`` ends a queue that nobody would ever serve."""
    executor = Executor(f"local://{tmp_path}/broker")
    futures = [executor.submit("nobody.offers.this") for _ in range(10)]
    executor.shutdown(wait=True, cancel_futures=True)
    assert all(future.cancelled() for future in futures)


# -- the rest of what the documentation of concurrent.futures says


def test_map_ends_with_the_shortest_of_its_arguments(pool: concurrent.futures.Executor) -> None:
    """Like ``zip``; nothing to do is no error, and ``chunksize`` is taken and of no consequence."""
    assert list(pool.map(operator.mul, [1, 2, 3, 4], [10, 20], timeout=DEADLINE)) == [10, 40]
    assert list(pool.map(abs, [])) == []
    assert list(pool.map(abs, iter([-1, -2]), chunksize=10)) == [1, 2]


def test_map_submits_at_once_and_not_when_it_is_read(pool: concurrent.futures.Executor) -> None:
    """The arguments are used up before the first result is asked for."""
    source = iter(range(5))
    results = pool.map(abs, source)
    assert next(source, None) is None
    assert list(results) == [0, 1, 2, 3, 4]


def test_map_cancels_what_is_left_when_it_is_given_up(tmp_path: Path) -> None:
    """Nobody offers it: without the cancelling, leaving the block would wait for a minute."""
    began = time.monotonic()
    with Executor(f"local://{tmp_path}/broker") as executor:
        with pytest.raises(concurrent.futures.TimeoutError):
            list(executor.map(abs, range(100), timeout=0.1))
        abandoned = executor.map(abs, range(100))
        with pytest.raises(concurrent.futures.TimeoutError):
            next(executor.map(abs, [1], timeout=0))
        threading.Timer(0.1, lambda: executor.shutdown(wait=False, cancel_futures=True)).start()
        with pytest.raises(concurrent.futures.CancelledError):
            next(abandoned)
    assert time.monotonic() - began < DEADLINE


def test_leaving_the_block_waits_for_what_is_open(pool: concurrent.futures.Executor) -> None:
    """Also where an exception leaves it, which is passed on."""
    futures: list[concurrent.futures.Future[None]] = []

    def leave() -> None:
        assert isinstance(pool, Executor)
        with pool.options() as inner:
            futures.extend(inner.submit(time.sleep, 0.05) for _ in range(6))
            raise LookupError("on the way out")

    with pytest.raises(LookupError, match="on the way out"):
        leave()
    assert [future.done() for future in futures] == [True] * 6


def test_a_thousand_small_calls(pool: concurrent.futures.Executor) -> None:
    """All at once, in whatever order they end."""
    futures = {pool.submit(operator.add, n, 1): n for n in range(1000)}
    for future in concurrent.futures.as_completed(futures, timeout=DEADLINE):
        assert future.result() == futures[future] + 1


def test_wait_gives_up_after_its_timeout_and_says_what_is_done(
    pool: concurrent.futures.Executor, gate: Gate
) -> None:
    """``FIRST_COMPLETED`` returns with the first."""
    quick, slow = pool.submit(abs, -1), pool.submit(os.open, *gate.words)
    done, not_done = concurrent.futures.wait(
        [quick, slow], timeout=DEADLINE, return_when=concurrent.futures.FIRST_COMPLETED
    )
    assert (done, not_done) == ({quick}, {slow})
    assert concurrent.futures.wait([quick, slow], timeout=0).not_done == {slow}
    with pytest.raises(concurrent.futures.TimeoutError):
        slow.result(timeout=0.01)
    with pytest.raises(concurrent.futures.TimeoutError):
        slow.exception(timeout=0.01)
    with pytest.raises(concurrent.futures.TimeoutError):
        list(concurrent.futures.as_completed([quick, slow], timeout=0.01))
    gate.open()
    assert slow.result(DEADLINE) > 0
    assert slow.exception() is None


def test_as_completed_gives_each_future_once(pool: concurrent.futures.Executor) -> None:
    """However often it was named."""
    future = pool.submit(time.sleep, 0.05)
    assert list(concurrent.futures.as_completed([future] * 5, timeout=DEADLINE)) == [future]


def test_what_runs_cannot_be_cancelled(pool: concurrent.futures.Executor, gate: Gate) -> None:
    """It says so, and the result comes."""
    future = pool.submit(os.open, *gate.words)
    wait_until(future.running, "the run")
    assert not future.cancel()
    assert not future.cancelled()
    gate.open()
    assert future.result(DEADLINE) > 0


def test_a_callback_added_after_the_end_is_called_there_and_then(
    pool: concurrent.futures.Executor,
) -> None:
    """On the thread that adds it."""
    threads: list[threading.Thread] = []
    future = pool.submit(abs, -1)
    future.result(DEADLINE)
    future.add_done_callback(lambda done: threads.append(threading.current_thread()))
    assert threads == [threading.current_thread()]


def test_a_cancelled_future_calls_back_and_raises(tmp_path: Path) -> None:
    """``as_completed`` gives it like any other that is over."""
    with Executor(f"local://{tmp_path}/broker") as executor:
        called: list[object] = []
        future = executor.submit(abs, -1)
        future.add_done_callback(called.append)
        assert future.cancel()
        assert called == [future]
        assert list(concurrent.futures.as_completed([future], timeout=DEADLINE)) == [future]
        with pytest.raises(concurrent.futures.CancelledError):
            future.exception()


def test_sys_exit_in_a_task_is_a_failure_and_not_ours(pool: concurrent.futures.Executor) -> None:
    """The worker lives on, and so do we."""
    error = pool.submit(sys.exit, 3).exception(DEADLINE)
    assert isinstance(error, TaskFailed)
    assert "SystemExit" in str(error)
    assert pool.submit(abs, -1).result(DEADLINE) == 1


# -- what the documentation of asyncio says


def test_run_in_executor_takes_a_partial(pool: concurrent.futures.Executor) -> None:
    """Which is how named arguments are passed there, says asyncio's documentation."""

    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        call = functools.partial(sorted, [2, 3, 1], reverse=True)
        return await loop.run_in_executor(pool, call)

    assert asyncio.run(asyncio.wait_for(main(), DEADLINE)) == [3, 2, 1]


def test_gather_gives_exceptions_among_results(pool: concurrent.futures.Executor) -> None:
    """As themselves."""

    async def main() -> list[object]:
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(pool, operator.truediv, 1, n) for n in (1, 0, 2)]
        return await asyncio.gather(*calls, return_exceptions=True)

    first, error, last = asyncio.run(asyncio.wait_for(main(), DEADLINE))
    assert (first, type(error), last) == (1.0, ZeroDivisionError, 0.5)


def test_wait_for_gives_up_and_cancels_what_was_not_sent(tmp_path: Path) -> None:
    """Nobody offers it; the future behind it is cancelled with the one that was awaited."""

    async def main(executor: Executor) -> concurrent.futures.Future[int]:
        future = executor.submit(abs, -1)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(future), 0.05)
        return future

    with Executor(f"local://{tmp_path}/broker") as executor:
        assert asyncio.run(asyncio.wait_for(main(executor), DEADLINE)).cancelled()


def test_wait_for_gives_up_on_what_runs_and_its_end_disturbs_nobody(
    pool: concurrent.futures.Executor, gate: Gate
) -> None:
    """It runs on, as in a pool of threads, and the loop may be gone when it ends."""
    running = pool.submit(os.open, *gate.words)

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(running), 0.1)

    asyncio.run(main())
    gate.open()
    assert concurrent.futures.wait([running], DEADLINE).done == {running}
    assert pool.submit(abs, -1).result(DEADLINE) == 1


def test_asyncio_keeps_its_default_executor_for_threads(pool: concurrent.futures.Executor) -> None:
    """``set_default_executor`` takes only a pool of threads; hand ours to ``run_in_executor``."""
    loop = asyncio.new_event_loop()
    try:
        if sys.version_info >= (3, 11):
            with pytest.raises(TypeError):
                loop.set_default_executor(pool)  # type: ignore[arg-type]
        else:
            with pytest.warns(DeprecationWarning, match="ThreadPoolExecutor"):
                loop.set_default_executor(pool)
            loop._default_executor = None  # or closing the loop would shut it down
    finally:
        loop.close()
