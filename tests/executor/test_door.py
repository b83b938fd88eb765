"""The door by which requests come in: bounds, keys, and the line that is written first."""

from __future__ import annotations

import concurrent.futures
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bus.news import read
from bus.news.journal import Journal
from bus.wire.testing import TcpProxy
from executor import Executor, door
from protocol.errors import (
    BrokerUnavailable,
    ConfigurationError,
    ExecutorClosed,
    ExecutorFull,
    JournalError,
)
from protocol.events import Cancelled, Submitted
from protocol.history import Entry
from tests.processes import wait_until
from worker import Worker

DEADLINE = 30.0  # seconds


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def lines(path: Path, kind: type[Any]) -> list[Any]:
    """Of this kind, as they stand in the file now."""
    entries = [entry for entry in read(path) if isinstance(entry, Entry)]
    return [entry.event for entry in entries if isinstance(entry.event, kind)]


def test_a_request_is_in_the_journal_when_submit_returns(path: Path, exchange: str) -> None:
    """With all that it was submitted with, and its cancel when ``cancel`` returns."""
    with Executor("memory://", exchange=exchange, name="me", journal=path) as executor:
        how = {"key": "k", "timeout": 60, "time_limit": 5, "soft_time_limit": 4}
        how |= {"delivery": "at_most_once"}
        future = executor.options(**how).submit("m.task", 1, x=2)  # type: ignore[arg-type]
        (line,) = lines(path, Submitted)
        assert (line.uuid, line.task) == (future.uuid, "m.task")
        assert (line.body["args"], line.body["arguments"]) == ([1], {"x": 2})
        assert (line.key, line.timeout, line.mode) == ("k", 60, "amo")
        assert (line.time_limit, line.soft_time_limit) == (5, 4)
        assert (line.topics, line.named_only) == (["default"], False)
        assert not lines(path, Cancelled)
        assert future.cancel()
        assert lines(path, Cancelled) == [Cancelled(future.uuid)]


def test_what_cannot_be_written_is_not_submitted(
    path: Path, exchange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor cancelled; and the next is, when there is room again."""
    with Executor("memory://", exchange=exchange, name="me", journal=path) as executor:
        first = executor.submit("m.task")

        def full(journal: Journal, events: Any) -> None:
            raise JournalError("no space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(Journal, "append", full)
            with pytest.raises(JournalError, match="no space left"):
                executor.submit("m.task")
            with pytest.raises(JournalError, match="no space left"):
                first.cancel()
        assert executor.open_requests() == [first]
        second = executor.submit("m.task")
        assert len(lines(path, Submitted)) == 2
        assert first.cancel()
        assert second.cancel()


@pytest.mark.parametrize("kept", [False, True], ids=["memory", "journal"])
def test_of_many_with_one_key_one_is_submitted(path: Path, exchange: str, kept: bool) -> None:
    journal = path if kept else None
    with Executor("memory://", exchange=exchange, name="me", journal=journal) as executor:
        keyed = executor.options(key="one")
        with concurrent.futures.ThreadPoolExecutor(16) as threads:
            answers = [threads.submit(keyed.submit, "m.task", 1) for _ in range(200)]
            (future,) = {answer.result(DEADLINE) for answer in answers}
        assert executor.open_requests() == [future]
        with pytest.raises(ConfigurationError, match="a key names one call"):
            keyed.submit("m.task", 2)
        assert future.cancel()
        other = keyed.submit("m.task", 2)  # the key is free again
        assert other is not future
        assert other.cancel()


def test_after_a_shutdown_a_key_joins_nothing(path: Path, exchange: str) -> None:
    with Executor("memory://", exchange=exchange, name="me", journal=path) as executor:
        future = executor.options(key="one").submit("m.task")
        assert future.cancel()
    with pytest.raises(ExecutorClosed):
        executor.options(key="one").submit("m.task")


def test_at_the_bound_of_open_requests_the_next_is_refused(
    lonely: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "MAX_OPEN", 3)
    futures = [lonely.submit("nobody.offers.this") for _ in range(3)]
    with pytest.raises(ExecutorFull, match="3 requests are open"):
        lonely.submit("nobody.offers.this")
    assert futures[0].cancel()
    wait_until(lambda: len(lonely.open_requests()) == 2, "room")
    wait_until(lambda: len(lonely._engine._requests) == 2, "room")
    lonely.submit("nobody.offers.this")


def test_while_the_broker_is_away_fewer_are_taken_and_it_is_said_since_when(
    redis_url: str, exchange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is open goes on when it is back, and new ones are taken."""
    monkeypatch.setattr(door, "MAX_OPEN_AWAY", 2)
    parts = urlsplit(redis_url)
    with (
        TcpProxy(parts.hostname or "", parts.port or 6379) as proxy,
        Worker(["builtins:abs"], url=redis_url, exchange=exchange, pool="threads"),
        Executor(proxy.url(redis_url), exchange=exchange) as executor,
    ):
        executor.wait_for_workers(1, DEADLINE)
        proxy.refuse()
        proxy.reset()
        listener = executor._engine._listener
        wait_until(lambda: not listener.is_consuming, "the broker's absence")
        futures = [executor.submit(abs, -n) for n in range(2)]
        with pytest.raises(BrokerUnavailable, match=r"has been away since \d\d:\d\d:\d\d") as found:
            executor.submit(abs, -9)
        assert f"127.0.0.1:{proxy.port}" in str(found.value)
        proxy.heal()
        assert [future.result(DEADLINE) for future in futures] == [0, 1]
        assert executor.submit(abs, -9).result(DEADLINE) == 9
