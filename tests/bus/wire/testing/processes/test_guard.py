"""Whatever a test has started is gone when the test itself is killed with -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bus.wire.testing import PrivateRedis
from bus.wire.testing.processes.guard import Guard
from bus.wire.testing.processes.tree import descendants, state_of
from tests.private import demand
from tests.processes import is_alive, wait_until

SLEEP = "import time; time.sleep(600)"


def killed(program: str, tmp_path: Path) -> list[int]:
    """Run a program until it has written some numbers, kill it, and return them."""
    file = tmp_path / "numbers"
    whole = f"{program}\nimport pathlib, time\nfile = pathlib.Path({str(file)!r})\n"
    whole += "file.with_suffix('.new').write_text(' '.join(map(str, numbers)))\n"
    whole += "file.with_suffix('.new').rename(file)\ntime.sleep(600)\n"
    process = subprocess.Popen([sys.executable, "-c", whole], cwd=tmp_path)
    try:
        wait_until(lambda: file.exists() or process.poll() is not None, "the program")
    finally:
        process.kill()
        process.wait()
    return [int(number) for number in file.read_text().split()]


def test_a_server_ends_with_the_test_that_was_killed(tmp_path: Path) -> None:
    demand(PrivateRedis())
    (pid,) = killed(
        "from bus.wire.testing import PrivateRedis\n"
        "import os, tempfile\n"
        f"tempfile.tempdir = {str(tmp_path)!r}\n"
        "server = PrivateRedis(); server.start()\n"
        "numbers = [server.pid]",
        tmp_path,
    )
    wait_until(lambda: not is_alive(pid), "the end of the server")
    wait_until(lambda: not list(tmp_path.glob("taskline-redis-*")), "the end of its folder")


def test_the_workers_and_what_they_started_end_too(tmp_path: Path) -> None:
    inner = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP!r}])"
    pids = killed(
        "import subprocess, sys, time\n"
        "from bus.wire.testing import WorkerKiller\n"
        "from bus.wire.testing.processes.tree import descendants\n"
        f"start = lambda: subprocess.Popen([sys.executable, '-c', {inner!r}], "
        "start_new_session=True)\n"
        "killer = WorkerKiller(start); killer.start()\n"
        "(worker,) = killer.workers\n"
        "while not descendants(worker.pid): time.sleep(0.01)\n"
        "numbers = [worker.pid, *descendants(worker.pid)]",
        tmp_path,
    )
    assert len(pids) == 2
    wait_until(lambda: not any(map(is_alive, pids)), "the end of both")


def test_what_is_frozen_is_thawed(tmp_path: Path) -> None:
    frozen = subprocess.Popen([sys.executable, "-c", SLEEP])
    try:
        killed(
            "from bus.wire.testing import Freezer\n"
            f"freezer = Freezer({frozen.pid}); freezer.start(); numbers = freezer.frozen",
            tmp_path,
        )
        wait_until(lambda: state_of(frozen.pid) == "S", "the thaw")
    finally:
        frozen.kill()
        frozen.wait()


def test_a_test_that_was_killed_before_the_guard_had_begun_is_cleaned_up_after(
    tmp_path: Path,
) -> None:
    """It may take its time to start: here it stands still until the test is gone."""
    (pid, guard) = killed(
        "import os, signal, subprocess, sys\n"
        "from bus.wire.testing.processes.guard import Guard\n"
        f"child = subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True)\n"
        "popen = subprocess.Popen\n"
        "def stopped(*words, **options):\n"
        "    process = popen(*words, **options)\n"
        "    os.kill(process.pid, signal.SIGSTOP)\n"
        "    return process\n"
        "subprocess.Popen = stopped\n"
        "guard = Guard(); guard.kill_at_our_end(child.pid)\n"
        "numbers = [child.pid, guard._process.pid]",
        tmp_path,
    )
    os.kill(guard, signal.SIGCONT)
    wait_until(lambda: not is_alive(pid), "the end of the child")


@pytest.mark.parametrize("word", ["leave", "stop"])
def test_what_it_was_told_to_leave_lives_on(word: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", SLEEP], start_new_session=True)
    guard = Guard()
    try:
        guard.kill_at_our_end(process.pid)
        if word == "leave":
            guard.leave(process.pid)
            assert guard._process is not None
            assert guard._process.stdin is not None
            guard._process.stdin.close()  # as at our end
            guard._process.wait(10.0)
        guard.stop()
        guard.stop()
        assert is_alive(process.pid)
    finally:
        process.kill()
        process.wait()


def test_descendants_are_told_parents_first() -> None:
    inner = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP!r}])"
    process = subprocess.Popen([sys.executable, "-c", inner], start_new_session=True)
    try:
        wait_until(lambda: len(descendants(process.pid)) == 1, "its child")
        assert not descendants(descendants(process.pid)[0])
    finally:
        for pid in (*descendants(process.pid), process.pid):
            subprocess.run(["kill", f"-{signal.SIGKILL}", str(pid)], check=True)
        process.wait()
