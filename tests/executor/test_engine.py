"""The threads put together: what is refused before they start, how they end, what they know."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from bus.news.line import Header, header_bytes
from bus.wire import listener
from executor import Executor
from protocol.errors import (
    BrokerUnavailable,
    ConfigurationError,
    ExecutorClosed,
    TasklineError,
    WaitTimeout,
)
from tests.processes import wait_until
from tests.samples import tasks

DEADLINE = 30.0  # seconds


def threads() -> set[threading.Thread]:
    """Those of ours that run."""
    return {t for t in threading.enumerate() if t.name.startswith("taskline-")}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"url": "http://example"}, "no broker is known"),
        ({"topics": "default"}, "give a list"),
        ({"topics": ()}, "needs a topic"),
        ({"topics": ("",)}, "topic"),
        ({"workers": -1}, "0 or more"),
        ({"workers": "two"}, "0 or more"),
        ({"url": "memory://", "workers": 1}, "lives in this one only"),
        ({"dialects": ()}, "choose from"),
        ({"dialects": ("esperanto",)}, "choose from"),
        ({"dialects": ("taskflow",), "workers": 1}, "add 'native'"),
        ({"name": "a b"}, "executor name"),
        ({"name": "nightly.call"}, "ends as the queues of workers and fan-outs do"),
        ({"name": "default.0123456789abcdef"}, "ends as the queues"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    settings: dict[str, Any], words: str
) -> None:
    before = threads()
    with pytest.raises(ConfigurationError, match=words):
        Executor(**settings)
    assert threads() <= before


def test_what_cannot_be_leaves_no_journal_locked(tmp_path: Path) -> None:
    """Whatever is refused after it could have been opened."""
    journal = tmp_path / "journal"
    for settings in ({"exchange": "a b"}, {"topics": ()}, {"workers": 1}, {"dialects": ()}):
        with pytest.raises(ConfigurationError):
            Executor("memory://", name="me", journal=journal, **settings)  # type: ignore[arg-type]
    Executor("memory://", name="me", journal=journal).shutdown()


def test_a_name_alone_may_not_be_a_topics_as_well(tmp_path: Path) -> None:
    """Of a journal from before there were identities; of any other it is told apart."""
    journal = tmp_path / "journal"
    journal.write_bytes(header_bytes(Header("default", 0, 1, 0, 1.0)))
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="is one of its topics"):
            Executor("memory://", name="default", journal=journal)
    Executor("memory://", name="default", journal=tmp_path / "another").shutdown()


def test_what_a_slow_subscriber_was_not_told_is_counted(
    own_pool: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result comes all the same, and the newest events before it."""
    own_pool._engine.deliverer._told = deque(maxlen=5)
    slow, seen = threading.Event(), []

    def listen(fraction: float, details: dict[str, Any]) -> None:
        slow.wait(DEADLINE)
        seen.append(fraction)

    fractions = [n / 100 for n in range(100)]
    future = own_pool.options(on_progress=listen).submit(tasks.say, fractions, "over")
    other = own_pool.submit(abs, -1)
    wait_until(lambda: own_pool.counts().get("dropped_events", 0) >= 90, "dropped events")
    assert not other.done()
    slow.set()
    assert (future.result(DEADLINE), other.result(DEADLINE)) == ("said", 1)
    assert seen[-1] == 0.99
    assert len(seen) < 10


def test_without_a_broker_it_says_so_in_time_and_leaves_no_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And starts no private worker. Within ten seconds; here they are less."""
    assert listener.START_TIMEOUT == 10.0
    monkeypatch.setattr(listener, "START_TIMEOUT", 0.5)
    before = threads()
    with pytest.raises(BrokerUnavailable, match=r"redis://127.0.0.1:1/0.*is it running") as found:
        Executor("redis://127.0.0.1:1/0", workers=2)
    assert isinstance(found.value, TasklineError)
    assert threads() <= before


def test_shutdown_ends_every_thread_and_process(local_path: Path) -> None:
    before = threads()
    executor = Executor(f"local://{local_path}", workers=1)
    assert executor.submit(abs, -1).result(DEADLINE) == 1
    private = executor._engine._private
    assert private is not None
    processes = [worker.process for worker in private._workers]
    executor.shutdown()
    assert threads() <= before
    assert [process.returncode for process in processes] == [0]


def test_after_shutdown_questions_are_refused_at_once(lonely: Executor) -> None:
    lonely.shutdown()
    began = time.monotonic()
    for ask in (lonely.workers, lonely.counts, lonely.wait_for_workers):
        with pytest.raises(ExecutorClosed, match="after shutdown"):
            ask()
    assert time.monotonic() - began < DEADLINE


def test_a_dead_keeper_fails_requests_and_questions_and_lets_itself_be_shut_down(
    own_pool: Executor,
) -> None:
    """Whoever waits for workers at that moment is woken."""
    waiting: list[BaseException] = []

    def wait() -> None:
        try:
            own_pool.wait_for_workers(99, DEADLINE)
        except TasklineError as error:
            waiting.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    running = own_pool.submit(time.sleep, 0.5)
    own_pool._engine._keeper.ask(lambda ledger, now: 1 // 0)  # type: ignore[arg-type,return-value]
    for future in (running, own_pool.submit(abs, -1)):
        with pytest.raises(TasklineError, match=r"keeper ended by a bug.*ZeroDivisionError"):
            future.result(DEADLINE)
    with pytest.raises(TasklineError, match="keeper ended by a bug"):
        own_pool.workers()
    waiter.join(DEADLINE)
    assert "keeper ended by a bug" in str(waiting)
    own_pool.shutdown()


def test_waiting_for_more_workers_than_there_are_says_how_many_there_are(pool: Executor) -> None:
    with pytest.raises(WaitTimeout, match=r"waiting for 2 workers .* 1 were heard from") as found:
        pool.wait_for_workers(2, 0.1)
    assert isinstance(found.value, TimeoutError)


def test_the_workers_are_listed_with_what_they_offer(pool: Executor) -> None:
    (worker,) = pool.wait_for_workers(1, DEADLINE)
    assert worker.dialect == "native"
    assert worker.slots == 4
    assert "builtins.abs" in worker.topics["default"]
    assert worker.silent < DEADLINE
    assert pool.workers()[0].boot == worker.boot


def test_a_submission_that_meets_a_shutdown_is_refused_or_ends(exchange: str) -> None:
    """Sixteen threads submit until they are refused; not one future is left behind."""
    executor = Executor("memory://", exchange=exchange)
    started = threading.Barrier(17)

    def submit() -> list[concurrent.futures.Future[Any]]:
        futures: list[concurrent.futures.Future[Any]] = []
        started.wait(DEADLINE)
        with pytest.raises(ExecutorClosed):
            while True:
                futures.append(executor.submit("nobody.offers.this"))
        return futures

    with concurrent.futures.ThreadPoolExecutor(16) as crowd:
        answers = [crowd.submit(submit) for _ in range(16)]
        started.wait(DEADLINE)
        threading.Event().wait(0.05)  # for as long as this they may
        executor.shutdown(cancel_futures=True)
        futures = [future for answer in answers for future in answer.result(DEADLINE)]
    assert futures
    assert not concurrent.futures.wait(futures, DEADLINE).not_done


def test_shutdown_returns_when_the_last_future_is_set_however_slow_its_callbacks(
    own_pool: Executor,
) -> None:
    """The standard library promises that all are done after ``with``."""
    slow = threading.Event()
    futures = [own_pool.submit(abs, -n) for n in range(20)]
    futures[0].add_done_callback(lambda done: slow.wait(0.3))
    own_pool.shutdown()
    assert all(future.done() for future in futures)


def test_shutdown_without_waiting_returns_at_once_and_the_results_still_come(
    own_pool: Executor, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    future = own_pool.submit(tasks.wait_for_file, str(gate))
    began = time.monotonic()
    own_pool.shutdown(wait=False)
    assert time.monotonic() - began < DEADLINE
    assert not future.done()
    with pytest.raises(ExecutorClosed):
        own_pool.submit(abs, -1)
    gate.touch()
    future.result(DEADLINE)
    own_pool.shutdown()
