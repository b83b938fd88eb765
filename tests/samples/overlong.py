"""Tasks that do not end, or not before somebody makes them. For the processes pool only."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any, NoReturn

from protocol.errors import SoftTimeLimitExceeded
from worker import progress, task_event

#: Longer than any test waits: whoever sleeps this long is to be killed.
FOR_EVER = 600.0


def process_id() -> int:
    """Return the process that runs this."""
    return os.getpid()


def return_after(seconds: float) -> str:
    """Compute for so long, and return."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    return "returned"


# -- for hard limits


def spin() -> NoReturn:
    """Compute for ever."""
    while True:
        pass


def sleep_on() -> None:
    """Wait in C code."""
    time.sleep(FOR_EVER)


def read_for_ever() -> None:
    """Block in a read that nobody answers."""
    reader, _writer = os.pipe()
    os.read(reader, 1)


def hold_the_interpreter() -> None:
    """Loop in C code, with the interpreter's lock held."""
    deque(itertools.repeat(None), maxlen=0)


def hear_nothing() -> None:
    """Ignore every signal there is, and every exception."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(FOR_EVER)


def stop_itself() -> None:
    """Be stopped, as by a debugger or a terminal."""
    os.kill(os.getpid(), signal.SIGSTOP)


# -- with processes all over the place


def scatter(folder: str) -> None:
    """Start processes that leave the group, the session and their parents; each notes its id."""
    _start_all(folder)
    time.sleep(FOR_EVER)


def scatter_and_die(folder: str, how: str) -> None:
    """Do so, wait until all are there, and go: by ``os._exit``, a crash, or a kill from outside."""
    _start_all(folder)
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), signal.SIGSEGV if how == "crash" else signal.SIGKILL)


def bomb(folder: str, count: int) -> None:
    """Fork so many processes in sessions of their own, and crash."""
    for number in range(count):
        if not os.fork():
            os.setsid()
            if os.fork():
                os._exit(0)
            _note(folder, f"bomb{number}")
            time.sleep(FOR_EVER)
    _wait_for(folder, count)
    os._exit(9)


def _start_all(folder: str) -> None:
    _note(folder, "host")
    subprocess.Popen(_noting(folder, "child"))
    subprocess.Popen(_noting(folder, "session"), start_new_session=True)
    if not os.fork():  # a double fork: its parent is gone at once
        os.setsid()
        if os.fork():
            os._exit(0)
        subprocess.Popen(_noting(folder, "grandchild"))
        _note(folder, "daemon")
        time.sleep(FOR_EVER)
    if not os.fork():
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _note(folder, "group")
        time.sleep(FOR_EVER)
    _wait_for(folder, 6)


def _noting(folder: str, name: str) -> list[str]:
    note = f"os.close(os.open(f'{folder}/{name}-{{os.getpid()}}', os.O_CREAT))"
    return [sys.executable, "-ISc", f"import os, time; {note}; time.sleep({FOR_EVER})"]


def _note(folder: str, name: str) -> None:
    Path(folder, f"{name}-{os.getpid()}").touch()


def _wait_for(folder: str, count: int) -> None:
    while len(os.listdir(folder)) < count:  # noqa: PTH208
        time.sleep(0.005)


# -- for soft limits


def catch(seconds: float = FOR_EVER) -> str:
    """Wait, clean up when told to, and return normally."""
    try:
        time.sleep(seconds)
    except SoftTimeLimitExceeded as error:
        return f"caught: {error}"
    return "slept"


def wait_for_a_lock() -> None:
    """Wait for what nobody will release, as a queue's get does."""
    threading.Lock().acquire() and threading.Event().wait()


def wait_for_a_program() -> None:
    """Wait for another process."""
    subprocess.run(["sleep", str(FOR_EVER)], check=True)


def speak_for_ever() -> None:
    """Do nothing but write to the pipe."""
    while True:
        progress(0.5, text="x" * 10_000)


def ring_twice() -> list[str]:
    """Use SIGALRM for itself, and handle it."""
    told: list[str] = []
    signal.signal(signal.SIGALRM, lambda *_: told.append("alarm"))
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    try:
        time.sleep(FOR_EVER)
    except SoftTimeLimitExceeded:
        told.append("limit")
    signal.setitimer(signal.ITIMER_REAL, 0)
    return sorted(set(told))


def take_the_signal() -> str:
    """Handle the very signal by which hosts are told to look at the clock."""
    signal.signal(signal.SIGURG, lambda *_: None)
    return "taken"


class InVain:
    """An object during whose end no exception gets out."""

    def __del__(self) -> None:
        """Last for a while."""
        time.sleep(FOR_EVER)


def end_in_vain() -> str:
    """Be told of the limit where the exception is dropped, and then wait on."""
    InVain()
    try:
        time.sleep(FOR_EVER)
    except SoftTimeLimitExceeded:
        return "caught at last"
    return "never"


def fork_over_the_limit() -> list[Any]:
    """Have a child live through the limit, which is not its own."""
    child = os.fork()
    if not child:
        time.sleep(1.0)
        os._exit(42)
    try:
        time.sleep(FOR_EVER)
    except SoftTimeLimitExceeded:
        os.kill(child, signal.SIGURG)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]


class Patient:
    """A task class whose every part may take long."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def execute(self) -> list[str]:
        """Wait, be told, and go on to the hook."""
        try:
            time.sleep(FOR_EVER)
        except SoftTimeLimitExceeded:
            self.told.append("execute")
        return self.told

    def revert(self) -> None:
        """Wait, and let it out."""
        time.sleep(FOR_EVER)

    def post_execute(self) -> None:
        """Be told nothing more."""
        time.sleep(0.05)
        self.told.append("post")


# -- and in event loops


async def await_for(seconds: float) -> str:
    """Await for so long, and compute a little in between."""
    for _ in range(3):
        await asyncio.sleep(seconds / 3)
        return_after(seconds / 10)
    return "returned"


async def await_and_catch() -> str:
    """Await, clean up by awaiting, and return normally."""
    try:
        await asyncio.sleep(FOR_EVER)
    except SoftTimeLimitExceeded:
        await asyncio.sleep(0.01)
        return "caught"
    return "slept"


async def await_on() -> None:
    """Await, and let it out."""
    await asyncio.sleep(FOR_EVER)


async def block_the_loop() -> None:
    """Sleep where one should await."""
    await asyncio.sleep(0)
    time.sleep(FOR_EVER)  # noqa: ASYNC251


async def await_blocked_children() -> None:
    """Await a task that sleeps where one should await."""
    await asyncio.gather(block_the_loop(), await_on())


async def await_a_group() -> None:
    """Await tasks of a group, which are ended first."""

    async def child(number: int) -> None:
        try:
            await asyncio.sleep(FOR_EVER)
        finally:
            task_event("child", number=number)

    if not hasattr(asyncio, "TaskGroup"):  # before Python 3.11
        await asyncio.gather(child(0), child(1))
        return
    async with asyncio.TaskGroup() as group:
        group.create_task(child(0))
        group.create_task(child(1))
        await asyncio.sleep(FOR_EVER)


async def await_with_a_timeout_after() -> str:
    """Be told, and use a timeout of asyncio's own for cleaning up."""
    try:
        await asyncio.wait_for(asyncio.sleep(FOR_EVER), FOR_EVER)
    except SoftTimeLimitExceeded:
        try:
            await asyncio.wait_for(asyncio.sleep(FOR_EVER), 0.02)
        except asyncio.TimeoutError:
            return "timed out"
    return "never"
