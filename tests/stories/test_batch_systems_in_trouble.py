"""Jobs whose worker dies, whose leader dies, that run elsewhere; what is cleaned up after them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from executor import Executor, Requirements
from executor.batch import ExitReason, Job, LocalBatchSystem, RemoteBatchSystem
from executor.batch.testing import is_alive
from protocol.commands import RUN, Command
from protocol.errors import InsufficientSystemResources
from protocol.resources import Resources
from tests.disks import on_a_small_disk
from tests.processes import DEADLINE, WorkerProcess, wait_until
from tests.stories.stage import Stage

FOR_EVER = 600  # seconds


@contextmanager
def commands(stage: Stage, *words: str) -> Iterator[WorkerProcess]:
    """A worker that runs commands."""
    where = ("--url", stage.url, "--exchange", stage.exchange, "--beat", "0.5")
    with WorkerProcess(
        "worker.command", *where, "--concurrency", "3", *words, folder=stage.folder
    ) as worker:
        worker.up()
        yield worker


def system(stage: Stage, **how: object) -> RemoteBatchSystem:
    """A leader's batch system."""
    how.setdefault("logs", stage.folder / "logs")
    return RemoteBatchSystem(stage.url, exchange=stage.exchange, **how)  # type: ignore[arg-type]


def number(path: Path) -> int:
    """What a job has written, once it has."""
    wait_until(lambda: path.exists() and path.read_text().strip() != "", str(path))
    return int(path.read_text())


# the worker dies ----------------------------------------------------------------------------------


def test_what_a_dead_worker_ran_is_lost_what_waited_runs_elsewhere(stage: Stage) -> None:
    """Nothing is told twice, and nothing of the dead worker's jobs runs on."""
    with system(stage) as jobs:
        with commands(stage) as first:
            one = jobs.issue(Job(f"echo $$ > {stage.folder}/pid; sleep {FOR_EVER}"))
            pid = number(stage.folder / "pid")
            wait_until(lambda: one in jobs.running(), "the run")
            first.send_signal(signal.SIGKILL)
        update = jobs.next_update(DEADLINE)
        assert update is not None
        assert (update.job_id, update.reason, update.exit_status) == (one, ExitReason.LOST, 255)
        assert "is lost" in update.message
        wait_until(lambda: not is_alive(pid), "the end of what it ran")
        two = jobs.issue(Job("true"))
        with commands(stage):
            assert jobs.updates([two], DEADLINE)[two].exit_status == 0
        assert jobs.next_update(0.0) is None


def test_a_local_worker_that_dies_is_replaced_and_what_it_ran_is_lost(tmp_path: Path) -> None:
    """At once, not after a lease."""
    with LocalBatchSystem(slots=2, logs=tmp_path / "logs") as jobs:
        job_id = jobs.issue(Job(f"echo $PPID > {tmp_path}/host; sleep {FOR_EVER}"))
        host = number(tmp_path / "host")
        wait_until(lambda: job_id in jobs.running(), "the run")
        worker = int(Path(f"/proc/{host}/stat").read_text().rpartition(")")[2].split()[1])
        worker = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(worker, signal.SIGKILL)
        update = jobs.next_update(DEADLINE)
        assert update is not None
        assert (update.job_id, update.reason) == (job_id, ExitReason.LOST)
        again = jobs.issue(Job("true"))
        assert jobs.updates([again], DEADLINE)[again].exit_status == 0


# the leader dies ----------------------------------------------------------------------------------

LEADER = """
import os, sys, time
from executor.batch import Job, RemoteBatchSystem

url, exchange, folder = sys.argv[1:]
jobs = RemoteBatchSystem(
    url, exchange=exchange, name="leader", journal=f"{folder}/leader.journal", logs=f"{folder}/logs"
)
gate = f"while [ ! -e {folder}/gate ]; do sleep 0.02; done"
ids = [jobs.issue(Job(text)) for text in (
    "exit 1",                                    # taken by the leader
    "exit 2",                                    # handed out, and not taken
    "exit 3",                                    # told to nobody
    f"touch {folder}/up; {gate}; exit 4",        # running
    f"{gate}; exit 5",                           # running, or waiting
    f"sleep 600",                                # killed
)]
assert ids == [1, 2, 3, 4, 5, 6], ids
seen = []
while len(seen) < 2:
    update = jobs.next_update(30)
    seen.append(update.job_id)
    print("told", update.job_id, flush=True)
jobs.kill([6])
while not os.path.exists(f"{folder}/up") or 4 not in jobs.running():
    time.sleep(0.02)
print("seen", *seen, flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_leader_that_is_killed_and_started_again_has_its_jobs_as_before(stage: Stage) -> None:
    """Under the same ids: those that run, and every end that it has not taken."""
    script = stage.folder / "leader.py"
    script.write_text(LEADER)
    with commands(stage):
        words = (stage.url, stage.exchange, str(stage.folder))
        with WorkerProcess(*words, folder=stage.folder, command=(str(script),)) as leader:
            assert leader.exit_code(DEADLINE) == -signal.SIGKILL, leader.said
            seen = [int(n) for n in leader.said.split("seen")[1].split()]
        journal = stage.folder / "leader.journal"
        with system(stage, name="leader", journal=journal) as jobs:
            assert jobs.issued() == {1, 2, 3, 4, 5} - {seen[0]}
            wait_until(lambda: 4 in jobs.running(), "the run")
            new = jobs.issue(Job("exit 7"))
            assert new == 7  # an id is never used again
            (stage.folder / "gate").touch()
            found = jobs.updates(jobs.issued(), DEADLINE)
            told = {job_id: update.exit_status for job_id, update in found.items()}
            assert told == {n: n for n in {1, 2, 3, 4, 5, 7} - {seen[0]}}
            assert jobs.next_update(0.2) is None
        with system(stage, name="leader", journal=journal) as jobs:
            assert jobs.issued() == set()


def test_a_job_that_nobody_knows_runs_no_more_when_its_leader_is_there_again(stage: Stage) -> None:
    """Its leader was killed before it had the id: whoever had it issued will do that again."""
    journal = stage.folder / "leader.journal"
    with commands(stage):
        system(stage, name="leader", journal=journal).leave()
        where = {"exchange": stage.exchange, "name": "leader", "journal": journal}
        with Executor(stage.url, **where) as executor:
            command = Command(f"echo $$ > {stage.folder}/pid; sleep {FOR_EVER}")
            once = executor.options(delivery="at_most_once")
            once.submit(RUN, **command.to_json())
            pid = number(stage.folder / "pid")
            executor.leave()
        with system(stage, name="leader", journal=journal) as jobs:
            assert not is_alive(pid)
            assert jobs.issued() == set()


def test_a_leader_may_leave_and_go_on_later(local_stage: Stage) -> None:
    """What runs meanwhile is left to run."""
    journal = local_stage.folder / "leader.journal"
    with commands(local_stage):
        jobs = system(local_stage, name="leader", journal=journal)
        command = f"while [ ! -e {local_stage.folder}/gate ]; do sleep 0.02; done; exit 3"
        job_id = jobs.issue(Job(command))
        wait_until(lambda: job_id in jobs.running(), "the run")
        jobs.leave()
        with system(local_stage, name="leader", journal=journal) as again:
            assert again.issued() == {job_id}
            (local_stage.folder / "gate").touch()
            assert again.updates([job_id], DEADLINE)[job_id].exit_status == 3


# elsewhere ----------------------------------------------------------------------------------------


def test_what_a_job_wrote_on_another_machine_is_read_there(local_stage: Stage) -> None:
    """By its worker, of one that runs or was ended; of one that has ended its end came along."""
    there = "/proc/self/cwd/logs-there"  # each process's own: the leader has no such folder
    with commands(local_stage), system(local_stage, logs=there) as jobs:
        job_id = jobs.issue(Job(f"echo here; echo there >&2; sleep {FOR_EVER}"))
        wait_until(lambda: jobs.output(job_id, "stderr") == "there\n", "its output")
        jobs.kill([job_id])
        assert jobs.output(job_id) == "here\n"
        done = jobs.issue(Job("echo short; exit 1"))
        jobs.updates([done], DEADLINE)
        for file in (local_stage.folder / "logs-there").iterdir():
            file.unlink()
        assert jobs.output(done) == "short\n"
        assert jobs.output(job_id) == ""


def test_a_job_that_fills_the_disk_fails_with_that_and_its_worker_goes_on(
    local_stage: Stage,
) -> None:
    """Also where what it writes of that is on the same disk."""
    small = local_stage.folder / "small"
    small.mkdir()
    where = ("--url", local_stage.url, "--exchange", local_stage.exchange)
    with (
        WorkerProcess(
            *("worker.command", *where),
            folder=local_stage.folder,
            command=(*on_a_small_disk(small, "8m"), "-m", "worker"),
        ) as worker,
        system(local_stage, logs=small / "logs") as jobs,
    ):
        worker.up()
        job_id = jobs.issue(Job("cat /dev/zero"))
        update = jobs.updates([job_id], DEADLINE)[job_id]
        assert (update.reason, update.exit_status) == (ExitReason.FAILED, 1)
        assert update.message.startswith("taskline: no space is left on the disk of /")
        again = jobs.issue(Job("true"))
        assert jobs.updates([again], DEADLINE)[again].exit_status == 0
        there = {"stdout": f"{local_stage.folder}/out", "stderr": f"{local_stage.folder}/err"}
        elsewhere = jobs.issue(Job(f"cat /dev/zero > {small}/full", **there))
        update = jobs.updates([elsewhere], DEADLINE)[elsewhere]
        assert update.reason == ExitReason.FAILED
        assert "No space left on device" in update.message


def test_nobody_keeps_what_jobs_write_where_that_is_said(local_stage: Stage) -> None:
    with commands(local_stage), system(local_stage, logs=False) as jobs:
        job_id = jobs.issue(Job("echo gone"))
        assert jobs.updates([job_id], DEADLINE)[job_id].exit_status == 0
        assert not (local_stage.folder / "logs").exists()


def test_with_a_maximum_a_job_waits_for_a_machine_without_one_it_is_an_error(
    local_stage: Stage,
) -> None:
    large = Requirements(cores=3)
    with commands(local_stage, "--cores", "1"):
        with system(local_stage) as jobs:
            jobs.wait_for_workers(1, DEADLINE)
            job_id = jobs.issue(Job("true", needs=large))
            update = jobs.updates([job_id], DEADLINE)[job_id]
            assert update.reason == ExitReason.ERROR
            assert "needs 3 cores, and the most that one worker has is 1 core" in update.message
        with system(local_stage, maximum=Resources(cores=4)) as jobs:
            with pytest.raises(InsufficientSystemResources, match="5 cores") as found:
                jobs.issue(Job("true", needs=Requirements(cores=5)))
            assert (found.value.available, found.value.source) == (4, "maximum")
            job_id = jobs.issue(Job("true", needs=large))
            assert jobs.next_update(6.0) is None
            said = jobs.scheduling_status()
            assert said is not None
            assert "3 cores are wanted" in said
            assert "will never have as much" in said
            with commands(local_stage, "--cores", "4", "--node", "larger"):
                assert jobs.updates([job_id], DEADLINE)[job_id].exit_status == 0


def test_without_a_worker_jobs_wait_and_it_is_said_how_to_start_one(local_stage: Stage) -> None:
    with system(local_stage) as jobs:
        job_id = jobs.issue(Job("true"))
        said = jobs.scheduling_status()
        assert said is not None
        assert "python -m worker worker.command" in said
        with commands(local_stage):
            assert jobs.updates([job_id], DEADLINE)[job_id].exit_status == 0


# afterwards ---------------------------------------------------------------------------------------


def test_each_machine_is_cleaned_up_once_after_the_last_job_on_it(local_stage: Stage) -> None:
    """Not one on which nothing ran; and jobs are ended before."""
    marks = local_stage.folder / "cleaned"
    cleanup = Job(f"echo $WHO >> {marks}; cat {local_stage.folder}/pid > /dev/null")
    busy = ("--node", "busy")
    with (
        commands(local_stage, *busy, "--name", "a"),
        commands(local_stage, *busy, "--name", "b"),
        system(local_stage, cleanup=cleanup) as jobs,
    ):
        jobs.wait_for_workers(2, DEADLINE)
        jobs.set_env("WHO", "leader")
        ids = [jobs.issue(Job("sleep 0.2")) for _ in range(6)]
        jobs.updates(ids, DEADLINE)
        jobs.issue(Job(f"echo $$ > {local_stage.folder}/pid; sleep {FOR_EVER}"))
        pid = number(local_stage.folder / "pid")
        with commands(local_stage, "--node", "idle", "--name", "c"):
            jobs.wait_for_workers(3, DEADLINE)
            assert not marks.exists()
            jobs.shutdown()
    assert marks.read_text() == "leader\n"
    assert not is_alive(pid)


def test_jobs_run_in_the_contexts_that_are_named(local_stage: Stage) -> None:
    (local_stage.folder / "surroundings.py").write_text(
        "import contextlib, os, pathlib\n"
        "@contextlib.contextmanager\n"
        "def quiet():\n"
        "    os.environ['AROUND'] = 'yes'\n"
        "    yield\n"
        "    pathlib.Path(__file__).with_name('left').touch()\n"
    )
    with (
        commands(local_stage),
        system(local_stage, contexts=["surroundings:quiet"]) as jobs,
    ):
        job_id = jobs.issue(Job('test "$AROUND" = yes'))
        assert jobs.updates([job_id], DEADLINE)[job_id].exit_status == 0
        assert (local_stage.folder / "left").exists()


def test_a_worker_that_stands_still_holds_up_no_kill_for_ever(local_stage: Stage) -> None:
    """It is told when it goes on; and before that nothing is told of the job."""
    with commands(local_stage) as worker, system(local_stage) as jobs:
        job_id = jobs.issue(Job(f"echo $$ > {local_stage.folder}/pid; sleep {FOR_EVER}"))
        pid = number(local_stage.folder / "pid")
        wait_until(lambda: job_id in jobs.running(), "the run")
        worker.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        try:
            jobs.kill([job_id])
        finally:
            worker.send_signal(signal.SIGCONT)
        assert time.monotonic() - began < DEADLINE
        assert (jobs.issued(), jobs.running(), jobs.next_update(0.0)) == (set(), {}, None)
        wait_until(lambda: not is_alive(pid), "the end of the job")
