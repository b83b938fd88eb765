"""CPU seconds and memory of processes and of all below them, from ``/proc``. Linux only."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_TICK: Final = 1.0 / os.sysconf("SC_CLK_TCK")  # seconds
#: Threads that are told apart: of any submitter the one that submits, and ours.
_KINDS: Final = ("MainThread", "keeper", "publisher", "listener", "deliverer")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")  # bytes


@dataclass(frozen=True, slots=True)
class Usage:
    """One process at one moment."""

    parent: int
    #: User and system time, of its threads and of those of its children that it has collected.
    cpu: float
    #: Resident memory.
    memory_bytes: int


def parse(stat: str) -> Usage:
    """``/proc/PID/stat``, as in proc(5). The name in it may hold spaces and brackets."""
    fields = stat.rpartition(")")[2].split()
    # Counted from the state, field 3 there: ppid is 4, utime to cstime 14 to 17, rss 24.
    return Usage(
        parent=int(fields[1]),
        cpu=sum(int(field) for field in fields[11:15]) * _TICK,
        memory_bytes=int(fields[21]) * _PAGE,
    )


def table() -> dict[int, Usage]:
    """All processes of the machine. They come and go while it is taken."""
    found = {}
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            try:
                found[int(entry.name)] = parse((entry / "stat").read_text(errors="replace"))
            except (FileNotFoundError, ProcessLookupError):
                pass
    return found


def below(roots: Iterable[int], processes: Mapping[int, Usage]) -> set[int]:
    """Those of ``roots`` that are there, and all that descend from them."""
    children: dict[int, list[int]] = {}
    for pid, usage in processes.items():
        children.setdefault(usage.parent, []).append(pid)
    found: set[int] = set()
    waiting = [pid for pid in roots if pid in processes]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, ())
    return found


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds, or bytes, of the three parts of a play."""

    submitter: float
    workers: float
    broker: float

    def since(self, earlier: Spent) -> Spent:
        """What was added."""
        return Spent(
            self.submitter - earlier.submitter,
            self.workers - earlier.workers,
            self.broker - earlier.broker,
        )


@dataclass(frozen=True, slots=True)
class Meter:
    """Reads the three parts of a play: this process, its workers, its brokers.

    ``workers``, ``servers``: processes, each with all below it. A worker inside this process is
    counted with the submitter: nobody can tell them apart.
    """

    workers: tuple[int, ...]
    servers: tuple[int, ...]

    def cpu(self) -> Spent:
        """CPU seconds so far; to a hundredth."""
        now = table()
        working, serving = below(self.workers, now), below(self.servers, now)
        mine = below([os.getpid()], now) - working - serving
        return Spent(*(sum(now[pid].cpu for pid in part) for part in (mine, working, serving)))

    def threads(self) -> dict[str, float]:
        """CPU seconds so far of the threads of this process, by what they are called.

        Without the digits and words that tell one of a kind from another; the rest is ``others``.
        """
        found: dict[str, float] = {}
        for thread in threading.enumerate():
            if thread.ident is None or not hasattr(time, "pthread_getcpuclockid"):
                continue
            kind = next((word for word in _KINDS if word in thread.name), "others")
            clock = time.pthread_getcpuclockid(thread.ident)
            found[kind] = found.get(kind, 0.0) + time.clock_gettime(clock)
        return found

    def memory(self) -> Spent:
        """Resident bytes at present."""
        now = table()
        working, serving = below(self.workers, now), below(self.servers, now)
        mine = below([os.getpid()], now) - working - serving
        parts = (mine, working, serving)
        return Spent(*(float(sum(now[pid].memory_bytes for pid in part)) for part in parts))
