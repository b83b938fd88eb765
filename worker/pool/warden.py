"""The process above a host: when the host ends, however it ends, all it has started ends with it.

A process group is not enough for that: a child of a task may leave it (``setsid``) or outlive its
parent (a double fork), and after a crash nobody could say any more whose it was. So each host has a
parent of its own that adopts every orphan below it (Linux: ``PR_SET_CHILD_SUBREAPER``). It kills
only its own children, whose numbers nobody else can have until it has collected them, and whose
orphans become its children in turn, until none is left. Then it ends exactly as its host has, so
that its own parent sees the host's exit code or signal.

It ends its host when the socket to its parent, the worker's main process, is shut down or closed at
the other end, or its parent is gone. A byte that arrives there is the number of a signal for the
host. Signals of its own it does not hear: service managers send theirs to every process of a
service. Where nobody adopts orphans (not Linux, no ctypes) the host and its group are ended.

Run as a program, by ``seat``: ``python -I -S warden.py SOCKET PIPES PROGRAM…``, with the descriptor
of its own socket, and with those that are the program's alone, with commas. No code but this runs
here; nothing of ours is imported, nor site-packages.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

TYPE_CHECKING = False  # typing itself, and contextlib, would take as long as all the rest
if TYPE_CHECKING:
    from typing import Final, NoReturn

try:
    import ctypes
except ImportError:  # a Python that was built without libffi; the pool says so
    ctypes = None  # type: ignore[assignment]

SWEEP_TIME: Final = 5.0  # seconds; what is there still waits for a disk or device, and dies then
_LOOK_PERIOD: Final = 0.005  # seconds between two passes over the children

# Of prctl (linux/prctl.h).
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_CHILD_SUBREAPER: Final = 36


def main(socket: int, pipes: list[int], program: list[str]) -> NoReturn:
    """Start the program in a session of its own, watch over it, and end as it has ended."""
    parent, warden = os.getppid(), os.getpid()
    os.set_inheritable(socket, False)
    awake, wake = os.pipe()
    os.set_blocking(awake, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, _wake_up)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    host = os.fork()
    if not host:
        _become(program, warden)
    for pipe in pipes:
        os.close(pipe)
    signal.signal(signal.SIGHUP, _wake_up)
    heard = {signal.SIGCHLD, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - heard)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGHUP)  # a fork of the parent may hold the socket open
    _watch(host, socket, awake, parent)
    _end_like(_sweep(host, awake))


def _become(program: list[str], warden: int) -> NoReturn:
    """Be the host, which does not outlive its warden."""
    try:
        os.setsid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == warden:
            os.execv(program[0], program)
    finally:
        os._exit(127)


def _wake_up(_signal: int, _frame: object) -> None:
    """Do nothing: the wakeup descriptor has had its byte."""


def _prctl(option: int, value: int) -> None:
    prctl = None if ctypes is None else getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(option, *map(ctypes.c_ulong, (value, 0, 0, 0)))


# -- while the host lives


def _watch(host: int, socket: int, awake: int, parent: int) -> None:
    """Until the host has ended, or is to be ended."""
    events = select.poll()
    events.register(socket, select.POLLIN)
    events.register(awake, select.POLLIN)
    while not _has_ended(host) and os.getppid() == parent:
        for descriptor, _ in events.poll():
            if descriptor == awake:
                _drain(awake)
                continue
            try:
                word = os.read(socket, 1)
            except OSError:  # reset: there is nobody at the other end
                return
            if not word:
                return
            try:
                os.kill(host, word[0])  # dead or alive, it has its number until it is collected
            except OSError:  # a number no signal has
                pass


def _has_ended(host: int) -> bool:
    """Collect orphans that have ended. The host itself is only looked at."""
    look = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while (ended := os.waitid(os.P_ALL, 0, look)) is not None:
        if ended.si_pid == host:
            return True
        os.waitpid(ended.si_pid, 0)
    return False


def _drain(awake: int) -> None:
    try:
        os.read(awake, 4096)
    except BlockingIOError:
        pass


# -- the end


def _sweep(host: int, awake: int) -> int:
    """Kill everything below this process; returns the wait status of the host."""
    status = 0
    events = select.poll()
    events.register(awake, select.POLLIN)
    until = time.monotonic() + SWEEP_TIME
    _kill(host)
    while time.monotonic() < until:
        children = _children()
        not_ours = [pid for pid in children if not _kill(pid)]
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                status = ended[1] if ended[0] == host else status
        except ChildProcessError:  # none is left
            break
        if not_ours and not_ours == children:
            break
        events.poll(_LOOK_PERIOD * 1000)
        _drain(awake)
    return status


def _kill(child: int) -> bool:
    """Kill a child with the group it leads, if it does; False if it has become another user's.

    A group of its number was begun by it or for it, and all in it come from our host, which began
    a session. Killed as a group they have no moment left to fork in.
    """
    try:
        os.killpg(child, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    try:
        os.kill(child, signal.SIGKILL)
    except PermissionError:
        return False
    return True


def _children() -> list[int]:
    """Children of this process that are not collected; empty where the system does not tell."""
    me = os.getpid()
    try:
        # open, os.listdir: pathlib alone would double the memory this takes.
        with open(f"/proc/{me}/task/{me}/children") as file:  # noqa: PTH123
            return [int(pid) for pid in file.read().split()]
    except OSError:  # a kernel without it
        pass
    try:
        processes = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208
    except OSError:
        return []
    return [pid for pid in processes if _parent_of(pid) == me]


def _parent_of(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:  # it has just ended
        return None


def _end_like(status: int) -> NoReturn:
    """End by the same signal, or with the same exit code; without a core file of its own."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        _prctl(_PR_SET_DUMPABLE, 0)
        try:
            signal.signal(number, signal.SIG_DFL)
        except OSError:  # SIGKILL has no handler
            pass
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(pipe) for pipe in sys.argv[2].split(",")], sys.argv[3:])
