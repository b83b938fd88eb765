"""What the workers of the scenarios run: tasks that leave a mark when they begin and when they end.

The marks of one process are lines of one file, each written with one call of the system, so that
they survive kill -9. Times are of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from worker import task

#: Longer than any scenario: what stands this long is to be ended.
FOR_EVER = 600.0


def work(folder: str, number: int, seconds: float = 0.0) -> int:
    """Leave a mark, take so long, leave another and return the number."""
    mark(folder, "begin", number)
    if seconds:
        time.sleep(seconds)
    mark(folder, "end", number)
    return number


@task(delivery="at_most_once")
def work_once(folder: str, number: int, seconds: float = 0.0) -> int:
    """The same, never started twice."""
    return work(folder, number, seconds)


def echo(folder: str, number: int, text: str) -> str:
    """Leave a mark and return what came."""
    mark(folder, "begin", number)
    mark(folder, "end", number)
    return text


def mark(folder: str, what: str, number: int) -> None:
    """Write ``what number time worker`` into this process' own file."""
    line = f"{what} {number} {time.monotonic():.6f} {_worker(os.getpid())}\n"
    os.write(_file(folder, os.getpid()), line.encode())


@cache
def _worker(process: int) -> int:
    """The worker's main process, which is the parent of this one's parent (worker.pool.warden)."""
    fields = Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()
    return int(fields[1])


@cache
def _file(folder: str, process: int) -> int:
    return os.open(f"{folder}/{process}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


# poison -------------------------------------------------------------------------------------------


def segfault(folder: str, number: int) -> None:
    """Read where nothing is."""
    mark(folder, "begin", number)
    ctypes.string_at(0)


def leave(folder: str, number: int) -> None:
    """End the process behind everybody's back."""
    mark(folder, "begin", number)
    os._exit(0)


def die(folder: str, number: int) -> None:
    """Be killed with -9, as the kernel does to whoever takes too much memory."""
    mark(folder, "begin", number)
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(FOR_EVER)


def eat(folder: str, number: int) -> int:
    """Ask for more memory than this process may have."""
    mark(folder, "begin", number)
    allowed = 4 << 30
    resource.setrlimit(resource.RLIMIT_AS, (allowed, resource.getrlimit(resource.RLIMIT_AS)[1]))
    try:
        return len(bytearray(allowed))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def spin(folder: str, number: int) -> None:
    """Never end, and never let go of the interpreter for long."""
    mark(folder, "begin", number)
    while True:
        pass


def ignore_sigterm(folder: str, number: int) -> None:
    """Never end, and pay no attention to a polite request."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    mark(folder, "begin", number)
    time.sleep(FOR_EVER)


def huge(folder: str, number: int, size: int) -> str:
    """Return so many characters."""
    mark(folder, "begin", number)
    return "x" * size


class Unpicklable(Exception):
    """Holds what can be neither pickled nor written as JSON."""

    def __init__(self, folder: str) -> None:
        super().__init__(sys.stdout, lambda: folder)

    def __reduce__(self) -> NoReturn:
        raise TypeError("this exception stays where it is")


def fail_oddly(folder: str, number: int) -> None:
    """Raise what cannot travel as it is."""
    mark(folder, "begin", number)
    raise Unpicklable(folder)


def leave_system(folder: str, number: int) -> None:
    """Ask the interpreter to end."""
    mark(folder, "begin", number)
    sys.exit(3)


class Mark:
    """The same for taskflow's peers: a task class."""

    def execute(self, folder: str, number: int) -> Any:
        """Leave a mark and return the number."""
        return work(folder, number)
