"""How much memory processes take: quickly and rather too much, or exactly."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from worker.pool.gauge import memory_of

MIB = 2**20
_FORKS = """
import os, sys
shared = bytearray(b"x") * int(sys.argv[1])
children = [os.fork() or sys.stdin.read() and os._exit(0) for _ in range(3)]
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def forked(size: int) -> Iterator[int]:
    """A process with three forks, all of which share so many bytes."""
    with subprocess.Popen(
        [sys.executable, "-c", _FORKS, str(size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process.pid
        finally:
            os.killpg(process.pid, 9)


def test_what_is_shared_counts_once_where_it_matters() -> None:
    with forked(80 * MIB) as pid:
        quick = memory_of(os.getpid(), 10**12)
        exact = memory_of(os.getpid(), 1)
        assert quick >= 4 * 80 * MIB
        assert 80 * MIB <= exact < 200 * MIB
        assert memory_of(os.getpid(), 1, [pid]) < exact


def test_of_a_process_that_is_not_there_nothing_counts() -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    assert memory_of(done.pid, 0) == 0
