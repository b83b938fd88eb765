"""What of a remote batch system no suite can see from outside: threads that meet in it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from executor.batch import Job, RemoteBatchSystem
from protocol.errors import ConfigurationError, ExecutorClosed, JournalError
from protocol.resources import Requirements, Resources


@pytest.fixture
def url(local_path: Path) -> str:
    """A broker with nobody on it."""
    return f"local://{local_path}"


def test_a_job_that_is_issued_while_another_thread_shuts_down_is_not_left_to_run(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was taken, its request was submitted, and by then all was to be ended."""
    system = RemoteBatchSystem(url)
    submitted, ended = threading.Event(), threading.Event()
    futures: list[Any] = []
    files = system._files

    def slow(*job: Any) -> Any:
        submitted.set()
        assert ended.wait(30)
        return files(*job)

    track = system._track

    def seen(issued: Any, future: Any, files: Any) -> None:
        futures.append(future)
        track(issued, future, files)

    monkeypatch.setattr(system, "_files", slow)
    monkeypatch.setattr(system, "_track", seen)
    errors: list[BaseException] = []

    def issue() -> None:
        try:
            system.issue(Job("true"))
        except ExecutorClosed as error:
            errors.append(error)

    thread = threading.Thread(target=issue)
    thread.start()
    assert submitted.wait(30)
    shutting = threading.Thread(target=system.kill, args=[[1]])
    shutting.start()
    shutting.join(30)
    ended.set()
    thread.join(30)
    assert system.issued() == set()
    (future,) = futures
    assert future.cancelled()
    assert system.next_update(0.0) is None
    system.shutdown()


def test_what_cannot_be_submitted_was_not_issued(url: str) -> None:
    with RemoteBatchSystem(url, maximum=Resources(cores=1)) as system:
        with pytest.raises(ConfigurationError):
            system.issue(Job("true", priority=1000))
        assert system.issued() == set()
        assert system.issue(Job("true", needs=Requirements(cores=1))) == 2


def test_nobody_leaves_without_a_journal(url: str) -> None:
    with RemoteBatchSystem(url) as system, pytest.raises(ConfigurationError, match="journal"):
        system.leave()


def test_it_shows_itself(url: str) -> None:
    with RemoteBatchSystem(url) as system:
        assert "RemoteBatchSystem on <Executor" in repr(system)


def test_a_job_that_cannot_be_written_down_is_not_left_to_run(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would know it after the leader's end; and its id is not taken for another's."""
    system = RemoteBatchSystem(url, name="leader", journal=tmp_path / "journal")
    register = system._register
    assert register is not None

    def full(*job: Any) -> None:
        raise JournalError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(register, "placed", full)
        with pytest.raises(JournalError):
            system.issue(Job("true"))
    assert system.issued() == set()
    assert system._executor.open_requests() == []
    second = system.issue(Job("false"))
    assert system.issued() == {second}
    system.leave()
    with RemoteBatchSystem(url, name="leader", journal=tmp_path / "journal") as again:
        assert again.issued() == {second}
        assert again.issue(Job("date")) > second


def test_what_a_leader_submitted_and_never_knew_is_ended_when_it_is_started_again(
    url: str, tmp_path: Path
) -> None:
    """Its id is used again, for another job, and that is not joined to it."""
    journal = tmp_path / "journal"
    system = RemoteBatchSystem(url, name="leader", journal=journal)
    assert system._register is not None
    placed = system._register.placed
    system._register.placed = lambda *_: None  # type: ignore[method-assign]
    assert system.issue(Job("sleep 600")) == 1
    (lost,) = system._executor.open_requests()
    system._register.placed = placed  # type: ignore[method-assign]
    system.leave()
    with RemoteBatchSystem(url, name="leader", journal=journal) as again:
        assert again.issued() == set()
        assert again.issue(Job("true")) == 1
        (mine,) = again._executor.open_requests()
        assert mine.uuid != lost.uuid
        assert again._executor.get(lost.uuid).cancelled()
