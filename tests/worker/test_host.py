"""A host alone, spoken to in frames, as its pool would speak to it."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protocol.values import dumps
from tests.samples.inbox import DEADLINE, work
from worker.frames import read
from worker.pool.seat import Seat

TASKS = "tests.samples.tasks"


class Spoken:
    """A seat with a host in it, and everything the host has said."""

    def __init__(self, *specs: str) -> None:
        self.seat = Seat(0)
        self.seat.start(specs)
        self._frames: list[list[Any]] = []
        self.is_closed = False

    def next(self) -> list[Any]:
        """Wait for the next frame; an empty one when the host has closed the pipe."""
        while not self._frames:
            assert select.select([self.seat.pipe], [], [], DEADLINE)[0], "the host says nothing"
            frames, reading = self.seat.read()
            self._frames += [[read(line) for line in lines] for lines in frames]
            if reading == "closed" and not self._frames:
                return []
        return self._frames.pop(0)

    def leave(self) -> str:
        """Wait for the host to close its pipe; how its process ended."""
        while self.next():
            pass
        how = self.seat.wait()
        self.seat.clear()
        return how


@pytest.fixture
def host() -> Iterator[Spoken]:
    """A host with one task, which has said that it is ready."""
    host = Spoken(f"{TASKS}:add")
    [word, pid], offers, left_out = host.next()
    assert word == "ready"
    host.seat.is_ready(pid)
    assert offers == [[f"{TASKS}.add", [1, 0], "Add two numbers.", None, None]]
    assert left_out == []
    yield host
    if host.seat.process is not None:
        host.seat.kill(0.0)
        host.leave()


def test_a_work_is_started_and_ended(host: Spoken) -> None:
    host.seat.run([work(7, f"{TASKS}.add", 1, 2)], 0.0)
    [word, key, took], result, failure = host.next()
    assert (word, key, result, failure) == ("ended", 7, 3, None)
    assert 0 <= took < DEADLINE * 1e6


def test_an_offer_is_answered_with_the_whole_list(host: Spoken) -> None:
    host.seat.send(dumps(["offer", "math:factorial"]))
    said, offers, left_out = host.next()
    assert said == ["offers", "math:factorial", None]
    assert [name for name, *_ in offers] == [f"{TASKS}.add", "math.factorial"]
    assert left_out == []


def test_an_offer_that_cannot_be_imported_is_answered_with_the_reason(host: Spoken) -> None:
    host.seat.send(dumps(["offer", "no_such_module_anywhere"]))
    said, offers, _ = host.next()
    assert "No module named" in said[2]
    assert len(offers) == 1


def test_a_host_that_cannot_load_says_why_and_goes() -> None:
    host = Spoken("no_such_module_anywhere")
    [[word, why]] = host.next()
    assert word == "unloadable"
    assert "No module named" in why
    assert host.leave() == "exit code 0"


def test_a_host_told_to_quit_runs_the_exit_handlers_of_its_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tidy.py").write_text(
        "import atexit, pathlib\n"
        f"atexit.register(pathlib.Path({str(tmp_path / 'tidied')!r}).touch)\n"
        "def task(): pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    host = Spoken("tidy")
    assert host.next()[0][0] == "ready"
    host.seat.send('["quit"]')
    assert host.leave() == "exit code 0"
    assert (tmp_path / "tidied").exists()


def test_a_host_whose_pipe_is_closed_ends_at_once(host: Spoken) -> None:
    host.seat.pipe.shutdown(2)
    assert host.leave() == "exit code 1"


def test_a_host_that_is_killed_is_gone_when_its_warden_is(host: Spoken) -> None:
    pid = host.seat.pid
    host.seat.kill(0.0)
    assert host.leave() == "signal 9 (SIGKILL)"
    assert not Path(f"/proc/{pid}").exists()


def test_a_work_larger_than_the_pipe_arrives_when_the_host_reads_on(host: Spoken) -> None:
    pid = host.seat.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)  # or it reads on while we write
    host.seat.run([work(1, f"{TASKS}.add", "x" * 3_000_000, "y")], 0.0)
    assert host.seat.has_outgoing
    os.kill(pid, signal.SIGCONT)
    while host.seat.has_outgoing:
        assert select.select([], [host.seat.pipe], [], DEADLINE)[1]
        host.seat.flush()
    assert len(host.next()[1]) == 3_000_001
