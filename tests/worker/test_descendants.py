"""The processes below one are found, with what has left its group and session, and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import is_alive, wait_until
from worker import descendants as room
from worker.descendants import children_of, descendants, kill_with_group

#: Starts a shell in a session of its own, which starts a sleep, and waits.
_TREE = ["/bin/sh", "-c", "setsid /bin/sh -c 'sleep 600 & echo $!; wait' & echo $!; wait"]


@pytest.fixture
def tree() -> Iterator[tuple[int, set[int]]]:
    """A process, and the numbers of all below it."""
    with subprocess.Popen(_TREE, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        below = {int(process.stdout.readline()) for _ in range(2)}
        try:
            yield process.pid, below
        finally:
            for pid in (*below, process.pid):
                if is_alive(pid):
                    os.kill(pid, signal.SIGKILL)


def test_all_below_a_process_are_found_and_itself_is_not(tree: tuple[int, set[int]]) -> None:
    process, below = tree
    assert below <= set(descendants(process))
    assert process not in descendants(process)
    assert set(children_of(process)) < set(descendants(process)) | {process}


def test_so_they_are_where_the_kernel_does_not_list_them(
    tree: tuple[int, set[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    process, below = tree
    monkeypatch.setattr(room, "Path", lambda _: Path("/nowhere"))
    assert below <= set(descendants(process))


def test_a_process_that_has_ended_has_nobody_below_it() -> None:
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert children_of(int(done.stdout)) == []
    assert list(descendants(int(done.stdout))) == []


def test_a_child_is_killed_with_the_group_it_leads() -> None:
    command = ["/bin/sh", "-c", "sleep 600 & echo $!; wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as child:
        assert child.stdout is not None
        beside = int(child.stdout.readline())
        kill_with_group(child.pid)
        assert child.wait(30) == -signal.SIGKILL
        wait_until(lambda: not is_alive(beside), "the end of its group")
        kill_with_group(child.pid)  # there is nothing left to end
