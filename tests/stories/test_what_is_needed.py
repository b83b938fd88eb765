"""Tasks that say what they need of a machine: real workers, which tell what they have."""

from __future__ import annotations

import importlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from executor import Executor, Requirements
from protocol.errors import (
    ConfigurationError,
    InsufficientSystemResources,
    MemoryLimitExceeded,
    TimeLimitExceeded,
    WorkerLost,
)
from protocol.resources import Resources
from tests.processes import DEADLINE, PROJECT, WorkerProcess, wait_until
from tests.stories.stage import Stage

MIB = 2**20
MACHINE = ("--cores", "2", "--memory", "1 GiB", "--disk", "1 GB", "--accelerators", "gpu=1")

_HOGS = '''
import os, time
from worker import accelerators, task

@task(resources={"cores": 1, "memory": "60 MiB"})
def hog(size, gate=None):
    """Take so much memory, and keep it."""
    taken = bytearray(b"x") * size
    time.sleep(600 if gate else 0.5)
    return len(taken)


def mine():
    """Which accelerators are mine."""
    return accelerators()


def alone(path, number):
    """Whether nobody else is in here."""
    try:
        os.mkdir(path)
    except FileExistsError:
        return False
    time.sleep(0.05)
    os.rmdir(path)
    return True
'''


@pytest.fixture
def worker(local_stage: Stage) -> Iterator[WorkerProcess]:
    """One on a machine of two cores, called n1."""
    (local_stage.folder / "hogs.py").write_text(_HOGS)
    with local_stage.worker("hogs", *MACHINE, "--node", "n1", concurrency=3) as worker:
        worker.up()
        yield worker


@pytest.fixture
def executor(local_stage: Stage, worker: WorkerProcess) -> Iterator[Executor]:
    """One that knows that worker."""
    with local_stage.executor() as made:
        made.wait_for_workers(1, DEADLINE)
        yield made
        made.shutdown(wait=False, cancel_futures=True)


def test_what_does_not_fit_beside_another_waits_and_what_does_goes_first(
    local_stage: Stage, executor: Executor
) -> None:
    gate = local_stage.gate()
    two = executor.options(resources={"cores": 1.5})
    first = two.submit("chores.chore", "first", str(gate))
    wait_until(first.running, "the first")
    second = two.submit("chores.chore", "second")
    small = executor.options(resources=Requirements(cores=0.5)).submit("chores.chore", "small")
    assert small.result(DEADLINE) == "small"
    assert not second.running()
    gate.touch()
    assert [first.result(DEADLINE), second.result(DEADLINE)] == ["first", "second"]


def test_the_worker_says_in_its_banner_what_it_gives_away(worker: WorkerProcess) -> None:
    assert "machine  n1: 2 cores, 1.0 GiB of memory, 953.7 MiB of disk, 1 gpu" in worker.said


def test_what_no_machine_can_hold_is_told_by_what_is_short(executor: Executor) -> None:
    wanted = executor.options(resources={"accelerators": {"gpu": 2}})
    with pytest.raises(InsufficientSystemResources, match=r"needs 2 gpu.*1 gpu") as found:
        wanted.submit("chores.chore", "never").result(DEADLINE)
    assert (found.value.resource, found.value.requested, found.value.available) == ("gpu", 2, 1)


def test_what_takes_too_much_memory_is_ended_and_the_worker_goes_on(
    local_stage: Stage, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what the task says of itself, and by what is said beside the call."""
    monkeypatch.syspath_prepend(str(local_stage.folder))
    hogs = importlib.import_module("hogs")
    try:
        with pytest.raises(MemoryLimitExceeded, match=r"hogs\.hog took .* may take 60\.0 MiB"):
            executor.submit(hogs.hog, 100 * MIB, "for ever").result(DEADLINE)
        more = executor.options(resources={"memory": "300 MiB"})
        assert more.submit(hogs.hog, 100 * MIB).result(DEADLINE) == 100 * MIB
        assert executor.submit(hogs.hog, MIB).result(DEADLINE) == MIB
    finally:
        del sys.modules["hogs"]


def test_a_task_may_ask_which_accelerators_are_its_own(executor: Executor) -> None:
    gpu = executor.options(resources={"accelerators": {"gpu": 1}})
    assert gpu.submit("hogs.mine").result(DEADLINE) == {"gpu": [0]}
    assert gpu.submit("hogs.mine").result(DEADLINE) == {"gpu": [0]}
    assert executor.submit("hogs.mine").result(DEADLINE) == {}


def test_two_executors_are_not_given_the_same(local_stage: Stage, executor: Executor) -> None:
    """Each knows what the other has only by the worker's word, and the worker keeps count."""
    with local_stage.executor(name=None, journal=None) as other:
        other.wait_for_workers(1, DEADLINE)
        marks = local_stage.folder
        futures = []
        for number in range(3):
            for each in (executor, other):
                whole = each.options(resources={"cores": 1.5})
                futures.append(whole.submit("hogs.alone", str(marks / "alone"), number))
        assert [future.result(DEADLINE) for future in futures] == [True] * 6


def test_a_wall_time_is_a_time_limit_unless_there_is_one(executor: Executor) -> None:
    wall = executor.options(resources={"wall_time": 0.7})
    with pytest.raises(TimeLimitExceeded, match=r"0\.7 s"):
        wall.submit("chores.spin", "long").result(DEADLINE)
    with pytest.raises(TimeLimitExceeded, match=r"0\.4 s"):
        wall.options(time_limit=0.4).submit("chores.spin", "long").result(DEADLINE)
    with pytest.raises(ConfigurationError, match="would never come before"):
        wall.options(soft_time_limit=5).submit("chores.spin", "never")


def test_a_node_is_listed_used_ignored_and_used_again(
    local_stage: Stage, executor: Executor
) -> None:
    gate = local_stage.gate()
    assert not executor.node_in_use("n1")
    assert not executor.node_in_use("nowhere")
    held = executor.options(resources={"cores": 0.5, "memory": 10 * MIB})
    first = held.submit("chores.chore", "first", str(gate))
    wait_until(first.running, "the first")
    node = executor.nodes()["n1"]
    assert (node.workers, node.total.cores, node.is_ignored) == (1, 2, False)
    assert node.requested == Resources(cores=0.5, memory=10 * MIB)
    assert executor.node_in_use("n1")
    executor.ignore_node("n1")
    second = executor.submit("chores.chore", "second")
    gate.touch()
    assert first.result(DEADLINE) == "first"
    wait_until(lambda: not executor.node_in_use("n1"), "an idle machine")
    assert executor.nodes()["n1"].is_ignored
    assert not second.done()
    executor.unignore_node("n1")
    assert second.result(DEADLINE) == "second"


def test_a_call_may_be_for_one_worker(local_stage: Stage, executor: Executor) -> None:
    with local_stage.worker("--name", "other") as other:
        other.up()
        executor.wait_for_workers(2, DEADLINE)
        futures = [
            executor.options(worker="other").submit("chores.chore", f"n{n}") for n in range(5)
        ]
        assert [future.result(DEADLINE) for future in futures] == [f"n{n}" for n in range(5)]
        assert {future.worker for future in futures} == {"other"}


def test_who_takes_a_machine_away_says_so_and_what_it_ran_is_not_waited_for(
    local_stage: Stage,
) -> None:
    """Its lease would be out after minutes."""
    with (
        local_stage.worker("--name", "doomed", beat=60.0) as worker,
        local_stage.executor() as made,
    ):
        worker.up()
        made.wait_for_workers(1, DEADLINE)
        once = made.options(delivery="at_most_once")
        future = once.submit("chores.chore", "held", str(local_stage.gate()))
        wait_until(future.running, "the run")
        worker.send_signal(signal.SIGKILL)
        worker.exit_code()
        made.worker_gone("nobody")
        assert not future.done()
        made.worker_gone("doomed")
        with pytest.raises(WorkerLost, match="its process has ended"):
            future.result(DEADLINE)
        assert made.unsettled([future.uuid, "no such uuid"]) == []


def test_private_workers_share_the_machine(tmp_path: Path) -> None:
    """Each tells of its part, so that together they promise it once."""
    with Executor(f"local://{tmp_path}/broker", workers=2) as executor:
        executor.wait_for_workers(2, DEADLINE)
        (node,) = executor.nodes().values()
        with Executor(f"local://{tmp_path}/other", workers=1) as single:
            single.wait_for_workers(1, DEADLINE)
            (whole,) = single.nodes().values()
    assert node.workers == 2
    assert node.total.cores == pytest.approx(whole.total.cores, abs=0.01)
    assert node.total.memory == pytest.approx(whole.total.memory, abs=2)


def test_the_machines_are_listed_on_the_command_line(
    local_stage: Stage, executor: Executor
) -> None:
    where = ("--url", local_stage.url, "--exchange", local_stage.exchange)
    for words in (("--json",), ()):
        done = subprocess.run(
            [sys.executable, "-m", "executor", "nodes", *where, *words],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=True,
        )
        if words:
            (node,) = json.loads(done.stdout)
            assert (node["name"], node["total"]["cores"], node["requested"]) == ("n1", 2, {})
        else:
            assert "n1" in done.stdout
            assert "0 of 2" in done.stdout
