"""Tasks that do to their process what no thread could survive. For the processes pool only."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from worker import progress

#: Longer than any test waits: whoever sleeps this long is to be killed.
FOR_EVER = 600.0


def process_id() -> int:
    """Return the process that runs this."""
    return os.getpid()


def exit_at_once(code: int) -> None:
    """End the process behind everybody's back."""
    os._exit(code)


def kill_itself(number: int) -> None:
    """Die by a signal."""
    os.kill(os.getpid(), number)


def ignore(number: int) -> str:
    """Get a signal that a service manager sends to all processes of a service, and live."""
    os.kill(os.getpid(), number)
    return "alive"


def sleep_with_child(file: str) -> None:
    """Write down its own and a child's process id, and sleep for ever, both of them."""
    child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({FOR_EVER})"])
    _write_whole(file, f"{os.getpid()} {child.pid}")
    time.sleep(FOR_EVER)


def die_with_forked_child(file: str) -> None:
    """Die, and leave a forked child that holds all open files."""
    child = os.fork()
    if not child:
        time.sleep(FOR_EVER)
    _write_whole(file, str(child))
    os._exit(7)


def return_twice() -> str:
    """Fork, and let both processes return and speak."""
    child = os.fork()
    progress(0.5)
    if child:
        os.waitpid(child, 0)
    return "parent" if child else "child"


def in_a_pool() -> list[int]:
    """Use multiprocessing as anybody would."""
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(abs, [-1, -2])


def end_children_early(count: int) -> list[int]:
    """Fork, and end each child before it has come to itself; how they ended."""
    ends = set()
    for _ in range(count):
        child = os.fork()
        if not child:
            time.sleep(FOR_EVER)
        os.kill(child, signal.SIGTERM)
        ends.add(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    return sorted(ends)


def noise() -> list[Any]:
    """Print a lot, read from standard input, and start a program that prints."""
    print("to standard output")
    print("to standard error", file=sys.stderr)
    os.write(1, b"raw\n")
    subprocess.run(["echo", "from a program"], check=True)
    return [sys.stdin.read()]


def close_everything() -> None:
    """Close all descriptors, as daemons do, the pipe to the main process too."""
    os.closerange(3, 256)


def write_to_every_socket() -> None:
    """Write nonsense to the pipe to the main process."""
    for number in range(3, 1024):
        try:
            with socket.socket(fileno=os.dup(number)) as found:
                found.sendall(b"\xff" * 64)
        except OSError:
            continue
    time.sleep(FOR_EVER)


def loaded_modules() -> list[str]:
    """Return the names of all modules this host has."""
    return sorted(sys.modules)


def arguments_and_path() -> list[Any]:
    """Return what a task module may look at."""
    return [sys.argv, sys.path, __name__]


def _write_whole(file: str, text: str) -> None:
    draft = Path(f"{file}.draft")
    draft.write_text(text)
    draft.rename(file)
