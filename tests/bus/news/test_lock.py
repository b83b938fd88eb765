"""Who may write a journal."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bus.news.lock import Holder, Lock, holder
from protocol.errors import JournalError, JournalLocked
from tests.processes import wait_until

#: argv: the journal's path. Holds its lock until its standard input ends; a child, if asked for.
HOLD = """
import os, pathlib, sys
from bus.news.lock import Lock
lock = Lock(pathlib.Path(sys.argv[1]), "nightly")
child = os.fork() if sys.argv[2:] == ["fork"] else None
os.write(1, b"child\\n" if child == 0 else b"ready\\n")
sys.stdin.read()
os._exit(0)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.journal"


def hold(path: Path, *words: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = {process.stdout.readline() for _ in ("parent", *words)}
    assert said == {"ready\n", *(["child\n"] if words else [])}
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_second_writer_is_told_who_the_first_is(path: Path) -> None:
    """In another process; and when that is killed, the lock is free."""
    process = hold(path)
    try:
        with pytest.raises(JournalLocked) as caught:
            Lock(path, "nightly")
        who = f"executor nightly in process {process.pid} on {socket.gethostname()}"
        assert caught.value.holder == who
        assert f"the journal {path} is being written by {who}: end that one" in str(caught.value)
        found = holder(path)
        assert found is not None
        assert (found.executor, found.host, found.pid) == (
            *("nightly", socket.gethostname()),
            process.pid,
        )
        assert isinstance(caught.value, JournalError)
    finally:
        end(process)
    assert holder(path) is None
    Lock(path, "nightly").release()


def test_a_second_writer_in_the_same_process_is_refused_too(path: Path) -> None:
    lock = Lock(path, "nightly")
    with pytest.raises(JournalLocked, match=r"this very one") as caught:
        Lock(path, "other")
    assert str(os.getpid()) in caught.value.holder
    lock.release()
    lock.release()
    Lock(path, "other").release()


def test_the_lock_is_not_kept_by_a_forked_child_that_outlives_its_parent(path: Path) -> None:
    process = hold(path, "fork")
    try:
        with pytest.raises(JournalLocked):
            Lock(path, "nightly")
        process.send_signal(signal.SIGKILL)
        process.wait()
        Lock(path, "nightly").release()
    finally:
        end(process)


def test_a_forked_child_that_ends_leaves_its_parents_lock_alone(path: Path) -> None:
    """In whatever way it ends: closing is not unlocking."""
    lock = Lock(path, "nightly")
    child = os.fork()
    if child == 0:
        lock.release()
        os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(JournalLocked):
        Lock(path, "other")
    assert holder(path) is not None
    lock.release()


def test_the_lock_does_not_go_along_into_another_program(path: Path) -> None:
    lock = Lock(path, "nightly")
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    lock.release()
    Lock(path, "other").release()
    process.communicate(b"\n")


def test_whoever_looks_disturbs_nobody(path: Path) -> None:
    """Looking takes the lock for an instant if it is free; who wants it just then waits for it."""
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            holder(path)

    Lock(path, "nightly").release()
    # As if somebody had died: then it must be tried whether the lock is free.
    path.with_name("x.journal.lock").write_text(
        json.dumps({"executor": "x", "host": "elsewhere", "pid": 1, "since": 0.0})
    )
    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(100):
            Lock(path, "nightly").release()
    finally:
        stop.set()
        thread.join()


def test_nobody_holds_what_is_not_there(path: Path) -> None:
    assert holder(path) is None
    assert list(path.parent.iterdir()) == []


def test_who_says_nothing_of_itself_holds_it_all_the_same(path: Path) -> None:
    """What is in the file decides nothing."""
    lock = Lock(path, "nightly")
    path.with_name("x.journal.lock").write_text("?")
    assert holder(path) == Holder()
    with pytest.raises(JournalLocked, match="a process that has not said who it is"):
        Lock(path, "other")
    lock.release()


def test_the_file_is_private_and_stays(path: Path) -> None:
    """A lock on a file that was removed would keep nobody out."""
    name = path.with_name("x.journal.lock")
    name.touch(0o666)
    name.chmod(0o666)
    lock = Lock(path, "nightly")
    assert stat.S_IMODE(name.stat().st_mode) == 0o600
    lock.release()
    assert name.read_bytes() == b""


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_what_is_no_file_is_refused(path: Path, kind: str) -> None:
    """And not followed: somebody may have put it there."""
    name = path.with_name("x.journal.lock")
    if kind == "folder":
        name.mkdir()
    elif kind == "link":
        name.symlink_to(path.parent / "elsewhere")
    else:
        os.mkfifo(name)
    with pytest.raises(JournalError, match=r"x\.journal\.lock"):
        Lock(path, "nightly")
    assert not (path.parent / "elsewhere").exists()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_forks_and_locks_meet_on_several_threads(path: Path) -> None:
    """A child never has a lock open that it does not know of."""
    stop = threading.Event()
    errors: list[BaseException] = []

    def take() -> None:
        try:
            while not stop.is_set():
                Lock(path, "nightly").release()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=take)
    thread.start()
    children = []
    reading, writing = os.pipe()
    for _ in range(20):
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        children.append(child)
    stop.set()
    thread.join()
    Lock(path, "nightly").release()  # though twenty children are alive
    os.close(writing)
    for child in children:
        os.waitpid(child, 0)
    os.close(reading)
    assert errors == []
    wait_until(lambda: holder(path) is None, "the lock to be free")
