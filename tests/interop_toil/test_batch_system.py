"""Toil's own tests of batch systems, as they are, on ours; and whole workflows."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop_toil.programs import FLOW, environment, run
from tests.processes import WorkerProcess

pytest.importorskip("toil.batchSystems", reason="the peer of these tests is not installed: toil")

pytestmark = pytest.mark.slow

SUITE = '''
"""Toil's tests, with our batch system in the place of theirs."""

import pytest
from toil.test.batchSystems import batchSystemTest as theirs
from toil_batch_system_taskline.system import TasklineBatchSystem

def make(self):
    return TasklineBatchSystem(
        config=self.config, maxCores=theirs.numCores, maxMemory=1e9, maxDisk=2001
    )

@pytest.fixture(scope="session")
def rootpath(pytestconfig):  # which Toil's repository has, and its wheel has not
    return pytestconfig.rootpath

class TestTaskline(theirs.hidden.AbstractBatchSystemTest):
    createBatchSystem = make
    def supportsWallTime(self):
        return True

class TestEscapes(theirs.SingleMachineBatchSystemTest):
    createBatchSystem = make

class TestTasklineJob(theirs.AbstractBatchSystemJobTest):
    def getBatchSystemName(self):
        return "taskline"
'''


def toils(tmp_path: Path, chosen: str, deadline: float = 110) -> str:
    """Run these of Toil's tests; what pytest said."""
    (tmp_path / "test_ours.py").write_text(SUITE)
    command = ("-m", "pytest", "-v", "--import-mode=importlib", "--rootdir", tmp_path)
    suite = f"{tmp_path / 'test_ours.py'}::{chosen}"
    asked = ("-p", "no:cacheprovider", "-W", "ignore", "-c", "/dev/null", suite)
    done = run(*command, *asked, ours=False, deadline=deadline)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_toils_own_tests_of_a_batch_system_pass(tmp_path: Path) -> None:
    said = toils(tmp_path, "TestTaskline")
    assert re.search(r"\b6 passed\b", said), said


def test_nothing_escapes_however_it_hides(tmp_path: Path) -> None:
    for name in ("testProcessEscape", "testHidingProcessEscape"):
        said = toils(tmp_path, f"TestEscapes::{name}")
        assert re.search(r"\b1 passed\b", said), said


def test_a_whole_leader_gives_each_job_its_threads(tmp_path: Path) -> None:
    said = toils(tmp_path, "TestTasklineJob::test_omp_threads")
    assert re.search(r"\b1 passed\b", said), said


@pytest.mark.timeout(600)
def test_no_more_run_at_once_than_there_are_cores(tmp_path: Path) -> None:
    said = toils(tmp_path, "TestTasklineJob::testJobConcurrency", 580)
    assert re.search(r"\b1 passed\b", said), said


@pytest.fixture
def worker(tmp_path: Path, exchange: str) -> Iterator[str]:
    """A worker somewhere else; the broker's URL."""
    url = f"local://{tmp_path}/broker"
    where = ("--url", url, "--exchange", exchange, "--concurrency", "3")
    with WorkerProcess("worker.command", *where, folder=tmp_path, environment=environment()) as one:
        one.up()
        yield url


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_workflow_with_a_failure_and_a_retry_runs(
    tmp_path: Path, where: str, worker: str, exchange: str
) -> None:
    (tmp_path / "tried").mkdir()
    flow = tmp_path / "flow.py"
    text = FLOW.read_text()
    more = 'options.batchSystem = "taskline"\n    options.workDir = str(Path(store).parent)'
    if where == "elsewhere":
        more += (
            f"\n    options.taskline_url = {worker!r}\n    options.taskline_exchange = {exchange!r}"
        )
    flow.write_text(text.replace("    options.retryCount", f"    {more}\n    options.retryCount"))
    done = run(
        flow, tmp_path / "store", tmp_path / "messages", tmp_path / "tried", "well", ours=False
    )
    assert "result: 14" in done.stdout, done.stderr
    said = (tmp_path / "messages").read_text()
    assert "TasklineBatchSystem" in said
    assert said.count("toil.bus.ExternalBatchIdMessage") == 7
    left = [
        each.name
        for each in tmp_path.iterdir()
        if re.fullmatch(r"toil[a-z-]*[0-9a-f-]{36}.*", each.name)
    ]
    assert [name for name in left if not name.endswith(".log")] == []


def test_its_options_are_among_toils_own(tmp_path: Path) -> None:
    program = (
        "from toil.job import Job; import sys;"
        "p = Job.Runner.getDefaultArgumentParser();"
        "o = p.parse_args([sys.argv[1], '--batchSystem', 'taskline', '--tasklineUrl', 'redis://x']);"
        "print(o.batchSystem, o.taskline_url, o.taskline_enforce_memory)"
    )
    done = run("-c", program, tmp_path / "store", ours=False)
    assert "taskline redis://x False" in done.stdout, done.stderr


# what Toil's own tests do not look at -------------------------------------------------------------


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """One as a leader makes it, on this machine, that enforces memory; with Toil's bus."""
    from toil.bus import MessageBus  # noqa: PLC0415 - only where Toil is
    from toil.common import Config  # noqa: PLC0415

    from toil_batch_system_taskline.system import TasklineBatchSystem  # noqa: PLC0415

    monkeypatch.setenv("TOIL_HISTORY", "0")
    config = Config()
    config.workflowID, config.cleanWorkDir = "a-workflow", "always"
    config.workDir = str(tmp_path)
    config.taskline_enforce_memory = True
    made = TasklineBatchSystem(config=config, maxCores=2, maxMemory=1e9, maxDisk=10**9)
    made.set_message_bus(MessageBus())
    try:
        yield made
    finally:
        made.shutdown()


def described(**needs: Any) -> Any:
    """A job, as a leader describes it."""
    from toil.job import JobDescription  # noqa: PLC0415 - only where Toil is

    usual = {"memory": 10**8, "cores": 0.1, "disk": 1000, "preemptible": False, "walltime": 0}
    return JobDescription(
        requirements={**usual, "accelerators": [], **needs}, jobName="a job", unitName=""
    )


def test_the_reasons_of_ends_are_toils(system: Any) -> None:
    hog = f"{sys.executable} -c \"import time; x = bytearray(b'x') * (200 << 20); time.sleep(600)\""
    wanted = {
        system.issueBatchJob("true", described()): ("FINISHED", 0),
        system.issueBatchJob("exit 3", described()): ("FAILED", 3),
        system.issueBatchJob(hog, described()): ("MEMLIMIT", 255),
        system.issueBatchJob("sleep 600", described(walltime=1)): ("TIMELIMIT", 255),
    }
    assert set(system.getIssuedBatchJobIDs()) == set(wanted)
    found = {}
    while len(found) < len(wanted):
        update = system.getUpdatedBatchJob(maxWait=60)
        assert update is not None, found
        found[update.jobID] = (update.exitReason.name, update.exitStatus)
        assert update.backing_id
        assert update.wallTime > 0
    assert found == wanted
    assert system.getUpdatedBatchJob(0) is None


def test_a_kill_passes_over_ids_that_nobody_knows_and_those_said_twice(system: Any) -> None:
    job, ended = (system.issueBatchJob(text, described()) for text in ("sleep 600", "true"))
    update = system.getUpdatedBatchJob(maxWait=60)
    assert update.jobID == ended
    system.killBatchJobs([12345, job, ended, job])
    assert system.getIssuedBatchJobIDs() == []
    assert system.getRunningBatchJobIDs() == {}
    assert system.getUpdatedBatchJob(0) is None


def test_jobs_of_the_leader_itself_run_in_its_own_queue(system: Any) -> None:
    local = described()
    local.local = True
    ids = [system.issueBatchJob("true", job) for job in (local, described(), local)]
    assert len(set(ids)) == 3
    found = {system.getUpdatedBatchJob(maxWait=60).jobID for _ in ids}
    assert found == set(ids)


def test_machines_are_told_as_an_autoscaler_of_toils_asks_for_them(system: Any) -> None:
    (name,) = system.getNodes(preemptible=False)
    node = system.getNodes()[name]
    assert (node.coresTotal, node.memoryTotal, node.workers) == (2, 10**9, 1)
    assert 0 <= node.memoryUsed <= 1
    assert system.getNodes(preemptible=True) == {}
    assert not system.nodeInUse("10.0.0.1")
    system.ignoreNode(name)
    job = system.issueBatchJob("true", described())
    assert system.getUpdatedBatchJob(1) is None
    assert "1 job waits" in system.getSchedulingStatusMessage()
    system.unignoreNode(name)
    assert system.getUpdatedBatchJob(60).jobID == job


@pytest.mark.parametrize(
    "wanted", [{"kind": "gpu", "count": 1}, {"kind": "gpu", "count": 1, "brand": "nvidia"}]
)
def test_accelerators_that_no_worker_has_are_refused(system: Any, wanted: Any) -> None:
    from toil.batchSystems.abstractBatchSystem import (  # noqa: PLC0415 - only where Toil is
        InsufficientSystemResources,
    )

    with pytest.raises(InsufficientSystemResources, match="accelerators"):
        system.issueBatchJob("true", described(accelerators=[wanted]))


HOSTS = """
import os
import sys

from toil.common import Toil
from toil.job import Job

SMALL = {"memory": "50M", "disk": "10M", "cores": 0.5}


def leaf(job, number):
    import toil.worker

    with open("/proc/self/cmdline") as mine, open(f"/proc/{os.getppid()}/cmdline") as parents:
        return [number, "template.py" in mine.read(), "worker.host" in parents.read()]


def root(job):
    return [job.addChildJobFn(leaf, number, **SMALL).rv() for number in range(6)]


if __name__ == "__main__":
    options = Job.Runner.getDefaultOptions(sys.argv[1])
    options.batchSystem = "taskline"
    options.workDir = sys.argv[2]
    with Toil(options) as toil:
        print("result:", toil.start(Job.wrapJobFn(root, **SMALL)))
"""


def test_the_jobs_of_a_leader_are_copies_of_a_process_that_has_loaded_toil(tmp_path: Path) -> None:
    flow = tmp_path / "hosts.py"
    flow.write_text(HOSTS)
    done = run(flow, tmp_path / "store", tmp_path, ours=False)
    wanted = [[number, True, True] for number in range(6)]
    assert f"result: {wanted}" in done.stdout, done.stderr
