"""Whole workflows of a user's, here and with workers on a Redis: well, and in trouble."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.disks import on_a_small_disk
from tests.interop_toil.site import PATIENCE, Site, result_of
from tests.processes import is_alive, wait_until

pytest.importorskip("toil.batchSystems", reason="the peer of these tests is not installed: toil")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def test_a_fan_out_and_its_follow_ons_run_once_each_and_promises_are_kept(staffed: Site) -> None:
    with staffed.leader("fan_out", "--clean", "always") as leader:
        assert result_of(leader) == "110"
    squares = [f"square-{number}" for number in range(6)]
    assert staffed.ended() == staffed.begun() == Counter(["fan_out", *squares, "total", "twice"])
    assert not staffed.store.exists()
    assert list(staffed.work.iterdir()) == list(staffed.coordination.iterdir()) == []


def test_a_job_that_fails_twice_is_tried_a_third_time(staffed: Site) -> None:
    with staffed.leader("third_time", "--retryCount", "2") as leader:
        assert result_of(leader) == "lucky"
    assert (staffed.begun()["third_time"], staffed.ended()["third_time"]) == (3, 1)


def test_a_job_that_fails_too_often_fails_its_workflow(staffed: Site) -> None:
    with staffed.leader("third_time", "--retryCount", "1") as leader:
        assert leader.exit_code(PATIENCE) == 1
        assert "the first and the second try of this fail" in leader.said
    assert staffed.begun()["third_time"] == 2


# somebody dies ------------------------------------------------------------------------------------


def test_the_jobs_of_a_worker_that_is_killed_are_run_again_and_no_others(site: Site) -> None:
    with contextlib.ExitStack() as stack:
        first = None if site.is_here else stack.enter_context(site.worker()).up()
        leader = stack.enter_context(site.leader("held_up", "--retryCount", "1"))
        pids = site.wait_for("held-1", "held-3")
        site.wait_for_end_of("held-0", "held-2")
        if first is None:
            os.kill(child_above(pids["held-1"], leader.pid), signal.SIGKILL)
        else:
            first.send_signal(signal.SIGKILL)
            stack.enter_context(site.worker()).up()
        wait_until(lambda: not any(map(is_alive, pids.values())), "the end of what it ran")
        site.let_go()
        assert result_of(leader) == "6"
        assert "is lost" in leader.said
    assert site.ended() == Counter(["held_up", *(f"held-{number}" for number in range(4)), "total"])
    assert site.begun() - site.ended() == Counter(["held-1", "held-3"])


def child_above(pid: int, ancestor: int) -> int:
    """The child of ``ancestor`` that ``pid`` runs below."""
    while (parent := parent_of(pid)) != ancestor:
        assert parent > 1, "it does not run below it"
        pid = parent
    return pid


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_leader_that_is_killed_goes_on_where_it_was_and_nothing_runs_twice_at_once(
    staffed: Site,
) -> None:
    with staffed.leader("held_up", "--retryCount", "0") as leader:
        pids = staffed.wait_for("held-1", "held-3")
        staffed.wait_for_end_of("held_up", "held-0", "held-2")
        leader.send_signal(signal.SIGKILL)
        assert leader.exit_code() == -signal.SIGKILL
    with staffed.leader("held_up", "--restart", "--retryCount", "0") as leader:
        wait_until(lambda: staffed.begun()["held-1"] == 2, "another run", PATIENCE)
        assert not is_alive(pids["held-1"])
        wait_until(lambda: staffed.begun()["held-3"] == 2, "another run", PATIENCE)
        assert not is_alive(pids["held-3"])
        staffed.let_go()
        assert result_of(leader) == "6"
    assert list(staffed.coordination.glob("taskline-*")) == []
    # Each has its effect once; what was over is not begun again.
    assert staffed.ended() == Counter(
        ["held_up", *(f"held-{number}" for number in range(4)), "total"]
    )
    assert staffed.begun() - staffed.ended() == Counter(["held-1", "held-3"])


# jobs that do not behave --------------------------------------------------------------------------

#: Or an only child, and a follow-on, are run by the process of who has them, if they need no more.
ONE_EACH = ("--disableChaining", "True")


def test_what_a_job_has_hidden_is_gone_when_its_follow_on_begins(staffed: Site) -> None:
    with staffed.leader("hiding", *ONE_EACH) as leader:
        assert result_of(leader) == "(True, False)"
    assert not is_alive(int((staffed.folder / "hidden").read_text()))


def test_a_job_that_takes_too_much_memory_is_ended_and_tried_with_twice_as_much(
    staffed: Site,
) -> None:
    words = ("--tasklineEnforceMemory", "True", "--doubleMem", "True", "--retryCount", "1")
    with staffed.leader("greedy", *words) as leader:
        assert result_of(leader) == "400"
        assert "MEMLIMIT" in leader.said
        assert "of memory, and may take 362.4 MiB" in leader.said
    assert (staffed.begun()["hog"], staffed.ended()["hog"]) == (2, 1)


def test_a_job_that_takes_too_long_is_ended_and_tried_again(staffed: Site) -> None:
    words = ("--doubleTime", "True", "--retryCount", "1")
    with staffed.leader("late", *ONE_EACH, *words) as leader:
        assert result_of(leader) == "quick"
        assert "TIMELIMIT" in leader.said
    assert (staffed.begun()["slow"], staffed.ended()["slow"]) == (2, 1)


#: By Toil, of what no machine here may have; by the executor, of what no worker has said it has.
TOO_MUCH = {
    "memory": r"requesting 9\d+ bytes of memory, more than|needs 8\d+.\d GiB of memory, and",
    "cores": r"requesting 5000 cores, more than|needs 5000 cores, and the most",
}


@pytest.mark.parametrize(("name", "resource"), [("giant", "memory"), ("crowd", "cores")])
def test_a_job_that_can_never_fit_fails_its_workflow_with_what_is_short(
    staffed: Site, name: str, resource: str
) -> None:
    with staffed.leader(name, "--retryCount", "0") as leader:
        assert leader.exit_code(PATIENCE) == 1, leader.said
        assert re.search(TOO_MUCH[resource], leader.said), leader.said
    assert "square-3" not in staffed.begun()


#: A Python whose PATH is nowhere.
LOST = """
import os, sys
os.environ["PATH"] = "/nowhere"
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.mark.parametrize("site", ["redis"], indirect=True)
def test_a_machine_without_toil_is_told_as_such(site: Site) -> None:
    with (
        site.worker(below=("-c", LOST)) as worker,
        site.leader("fan_out", "--retryCount", "0") as leader,
    ):
        worker.up()
        assert leader.exit_code(PATIENCE) == 1
        assert "exit value 127" in leader.said
        assert re.search(r"job 1: .*_toil_worker: not found", leader.said), leader.said
    assert site.runs() == []


def test_a_job_that_fills_the_disk_fails_with_that_and_the_next_has_it_free(site: Site) -> None:
    """The worker's temporary files are there as well, and here those of its broker."""
    small = on_a_small_disk(site.work)
    with contextlib.ExitStack() as stack:
        if not site.is_here:
            stack.enter_context(site.worker(below=small)).up()
        words = ("--retryCount", "1", "--defaultDisk", "10M")
        leader = site.leader("filling", *words, below=small if site.is_here else ())
        with leader:
            assert result_of(leader) == "True"
            assert "No space left on device" in leader.said
    assert (site.begun()["fill"], site.ended()["fill"]) == (2, 1)
