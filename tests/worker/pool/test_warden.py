"""The process above a host, alone: what it starts, how it ends, and that nothing is left then."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.processes import is_alive, wait_until
from tests.samples.inbox import DEADLINE
from worker.pool import warden as module

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux only")


_PREAMBLE = """
import os, signal, sys, time

def note():
    os.close(os.open(f"{sys.argv[1]}/{os.getpid()}", os.O_CREAT))
"""


class Watched:
    """A warden with a program of ours below it."""

    def __init__(self, text: str, folder: Path) -> None:
        self.folder = folder
        self.lifeline, theirs = socket.socketpair()
        self.pipe, inner = socket.socketpair()
        program = [sys.executable, "-ISc", f"{_PREAMBLE}{textwrap.dedent(text)}", str(folder)]
        with theirs, inner:
            ends = theirs.fileno(), inner.fileno()
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", module.__file__, *map(str, ends), *program],
                pass_fds=ends,
                start_new_session=True,
            )

    def noted(self, count: int) -> list[int]:
        """Wait until so many processes have noted their ids, each as a file."""
        wait_until(lambda: len(os.listdir(self.folder)) >= count, f"{count} processes")  # noqa: PTH208
        return [int(name) for name in os.listdir(self.folder)]  # noqa: PTH208

    def code(self) -> int:
        """Wait for its end."""
        return self.process.wait(DEADLINE)


Watch = Callable[[str], Watched]


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    """Starts a warden over a program of this text; all are gone afterwards."""
    started: list[Watched] = []

    def start(text: str) -> Watched:
        started.append(Watched(text, tmp_path))
        return started[-1]

    yield start
    for watched in started:
        watched.lifeline.close()
        watched.pipe.close()
        watched.process.kill()
        watched.process.wait()


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("sys.exit(0)", 0),
        ("os._exit(7)", 7),
        ("os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os.kill(os.getpid(), signal.SIGRTMIN + 3)", -(signal.SIGRTMIN + 3)),
        ("os.abort()", -signal.SIGABRT),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    ],
)
def test_it_ends_as_its_host_has_ended(watch: Watch, end: str, code: int) -> None:
    assert watch(end).code() == code


def test_a_program_that_cannot_be_started_is_told_by_the_exit_code(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ends = [theirs.fileno(), os.dup(theirs.fileno())]
        command = [sys.executable, "-I", "-S", module.__file__, *map(str, ends), "/no/such/file"]
        done = subprocess.run(command, pass_fds=ends, stderr=subprocess.DEVNULL, check=False)
    os.close(ends[1])
    assert done.returncode == 127


def test_whatever_left_group_session_and_parents_ends_with_the_host(watch: Watch) -> None:
    watched = watch(
        """
        note()
        for _ in range(2):
            if not os.fork():
                os.setsid()
                if os.fork():
                    os._exit(0)
                os.fork()
                note()
                time.sleep(600)
        time.sleep(600)
        """
    )
    pids = watched.noted(5)
    watched.lifeline.shutdown(socket.SHUT_RDWR)
    assert watched.code() == -signal.SIGKILL
    assert not [pid for pid in pids if is_alive(pid)]


def test_one_that_runs_away_by_forking_is_caught(watch: Watch) -> None:
    watched = watch(
        """
        note()
        if not os.fork():
            while True:
                if os.fork():
                    os._exit(0)
                if os.getsid(0) != os.getpid():
                    os.setsid()
        time.sleep(600)
        """
    )
    watched.noted(1)
    watched.lifeline.close()
    assert watched.code() == -signal.SIGKILL


def test_orphans_are_collected_while_the_host_lives(watch: Watch) -> None:
    watched = watch(
        """
        if not os.fork():
            if not os.fork():
                time.sleep(0.05)
            os._exit(0)
        os.wait()
        note()
        time.sleep(600)
        """
    )
    [host] = watched.noted(1)
    children = Path(f"/proc/{watched.process.pid}/task/{watched.process.pid}/children")
    wait_until(lambda: children.read_text().split() == [str(host)], "the orphan to be collected")


def test_a_byte_is_a_signal_for_the_host(watch: Watch) -> None:
    watched = watch(
        """
        signal.signal(signal.SIGURG, lambda *_: os._exit(5))
        note()
        time.sleep(600)
        """
    )
    watched.noted(1)
    watched.lifeline.send(bytes([255]))  # no signal has that number
    watched.lifeline.send(bytes([signal.SIGURG]))
    assert watched.code() == 5


def test_signals_meant_for_every_process_of_a_service_do_not_end_it(watch: Watch) -> None:
    watched = watch("note()\ntime.sleep(600)")
    watched.noted(1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
        watched.process.send_signal(number)
    watched.lifeline.send(bytes([signal.SIGUSR1]))
    assert watched.code() == -signal.SIGUSR1, "it has listened to its socket all the same"


def test_a_host_does_not_outlive_its_warden(watch: Watch) -> None:
    watched = watch("note()\ntime.sleep(600)")
    [host] = watched.noted(1)
    watched.process.kill()
    wait_until(lambda: not is_alive(host), "the host to end")


def test_it_ends_with_its_parent_though_a_fork_of_that_holds_the_socket(tmp_path: Path) -> None:
    """A program that uses a worker inside may have forked before it was killed."""
    note = f"open({str(tmp_path)!r} + f'/{{os.getpid()}}', 'w').close()"
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(
                f"""
                import os, signal, socket, subprocess, sys, time
                lifeline, theirs = socket.socketpair()
                inner = os.dup(theirs.fileno())
                ends = theirs.fileno(), inner
                program = [sys.executable, "-ISc", "import os, time; {note}; time.sleep(600)"]
                command = [{module.__file__!r}, *map(str, ends), *program]
                subprocess.Popen([sys.executable, "-IS", *command], pass_fds=ends)
                theirs.close()
                if not os.fork():
                    time.sleep(1)
                    os._exit(0)
                while not os.listdir({str(tmp_path)!r}):
                    time.sleep(0.005)
                os.kill(os.getpid(), signal.SIGKILL)
                """
            ),
        ]
    )
    assert parent.wait(DEADLINE) == -signal.SIGKILL
    [host] = map(int, os.listdir(tmp_path))  # noqa: PTH208
    handle = os.pidfd_open(host) if is_alive(host) else None
    if handle is not None:
        assert select.select([handle], [], [], 0.8)[0], "it waits for the fork"
        os.close(handle)


def test_it_finds_its_children_where_the_kernel_does_not_list_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child = subprocess.Popen(["sleep", "600"])
    try:
        listed = module._children()
        assert child.pid in listed

        def refuse(path: str, *mode: str) -> object:
            if path.endswith("/children"):
                raise FileNotFoundError(path)
            return open(path, *mode)  # noqa: PTH123

        monkeypatch.setattr(module, "open", refuse, raising=False)
        assert sorted(module._children()) == sorted(listed)
    finally:
        child.kill()
        child.wait()


def test_it_loads_nothing_of_ours_and_no_site_packages(watch: Watch) -> None:
    watched = watch("note()\ntime.sleep(600)")
    watched.noted(1)
    maps = Path(f"/proc/{watched.process.pid}/maps").read_text()
    assert "site-packages" not in maps
    command = Path(f"/proc/{watched.process.pid}/cmdline").read_text().split("\0")
    assert command[1:3] == ["-I", "-S"]
