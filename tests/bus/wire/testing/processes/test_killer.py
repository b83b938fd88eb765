"""Processes are killed at random and replaced, and counted."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bus.wire.testing import WorkerKiller
from bus.wire.testing.processes.killer import Victim
from bus.wire.testing.processes.tree import descendants
from tests.processes import is_alive, wait_until

SLEEP = "import time; time.sleep(600)"
#: One that has two children, and lives on without them.
FAMILY = f"""
import subprocess, sys, time
children = [subprocess.Popen([sys.executable, "-c", {SLEEP!r}]) for _ in range(2)]
time.sleep(600)
"""


def start(program: str = SLEEP) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", program], start_new_session=True)


def test_who_is_killed_is_replaced_and_all_end_with_it() -> None:
    with WorkerKiller(start, count=3, every=0.05, seed=1) as killer:
        seen = set()
        for _ in range(3):
            kills = killer.kills
            seen |= {worker.pid for worker in killer.workers}
            wait_until(lambda: killer.kills > kills, "another kill")  # noqa: B023
        assert len(seen) > 3
        assert (killer.child_kills, killer.parent_kills) == (0, killer.kills)
        killer.spare()
        wait_until(lambda: len(killer.workers) == 3, "all three")
        pids = [worker.pid for worker in killer.workers]
    assert not any(map(is_alive, pids))
    assert killer.other_ends == []
    killer.stop()


@pytest.mark.parametrize("victim", ["parent", "child", "both"])
def test_which_process_is_killed_can_be_said(victim: Victim) -> None:
    with WorkerKiller(lambda: start(FAMILY), seed=2, victim=victim) as killer:
        pids = set()
        family: list[int] = []

        def is_there() -> bool:
            family[:] = [each.pid for each in killer.workers]  # asked once: they may go meanwhile
            return len(family) == 1 and bool(descendants(family[0]))

        for _ in range(8):
            wait_until(is_there, "a family")
            pids.add(family[0])
            before = killer.kills
            wait_until(lambda: killer.kill_one() is not None, "a kill")
            assert killer.kills == before + 1
            if victim == "child" and killer.child_kills == 2:
                break
        assert (killer.parent_kills > 0) is (victim != "child")
        assert (killer.child_kills > 0) is (victim != "parent")
        assert len(pids) in (killer.parent_kills, killer.parent_kills + 1)


def test_what_a_killed_process_leaves_behind_goes_on_until_the_end_and_no_longer() -> None:
    with WorkerKiller(lambda: start(FAMILY)) as killer:
        wait_until(lambda: len(descendants(killer.workers[0].pid)) == 2, "a family")
        children = descendants(killer.workers[0].pid)
        assert killer.kill_one() is not None
        assert all(map(is_alive, children))
    wait_until(lambda: not any(map(is_alive, children)), "their end")


def test_who_ends_by_itself_is_replaced_too_and_told_apart() -> None:
    with WorkerKiller(lambda: start("raise SystemExit(3)")) as killer:
        wait_until(lambda: len(killer.other_ends) >= 2, "two ends")
        assert killer.kills == 0
    assert set(killer.other_ends) <= {3, -15}


def test_one_that_does_not_listen_to_sigterm_is_killed_in_the_end() -> None:
    deaf = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    )
    started = []

    def start_deaf() -> subprocess.Popen[bytes]:
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", deaf], stdout=subprocess.PIPE, start_new_session=True
            )
        )
        return started[-1]

    with WorkerKiller(start_deaf, grace=0.2):
        assert started[0].stdout is not None
        started[0].stdout.readline()
    assert started[0].returncode == -9
    started[0].stdout.close()


def test_what_cannot_be_started_leaves_nothing_behind() -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start_twice() -> subprocess.Popen[bytes]:
        if len(started) == 2:
            raise OSError("no more")
        started.append(start())
        return started[-1]

    with pytest.raises(OSError, match="no more"):
        WorkerKiller(start_twice, count=3).start()
    assert [is_alive(worker.pid) for worker in started] == [False, False]
