"""``cancel()`` and ``cancel(force=True)``, in each state a request may be in."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Iterator

import pytest

from executor import Executor, Future
from protocol.errors import CannotStop, TaskCancelled
from tests.processes import DEADLINE, WorkerProcess, is_alive, wait_until
from tests.stories.stage import Stage


@pytest.fixture
def executor(stage: Stage) -> Iterator[Executor]:
    with stage.executor() as made:
        yield made
        made.shutdown(wait=False, cancel_futures=True)


def is_cancelled_at_once(future: Future[str], *, force: bool) -> None:
    """For everybody who looks or waits, and however often it is asked."""
    called: list[object] = []
    future.add_done_callback(called.append)
    began = time.monotonic()
    assert future.cancel(force)
    assert time.monotonic() - began < DEADLINE  # what runs waits for ever
    assert future.cancelled()
    assert called == [future]
    assert concurrent.futures.wait([future], 0).done == {future}
    assert list(concurrent.futures.as_completed([future], 0)) == [future]
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(0)
    assert future.cancel()
    assert future.cancel(force=True)


def with_one_that_runs(
    stage: Stage, executor: Executor, worker: WorkerProcess
) -> tuple[Future[str], Future[str]]:
    """One that runs, on a worker of one slot, and one that has been sent there after it."""
    worker.up()
    executor.wait_for_workers(1, DEADLINE)
    for _ in range(5):  # earns credit for a queue
        executor.submit("chores.chore", "warm").result(DEADLINE)
    running = executor.submit("chores.chore", "running", str(stage.gate()))
    wait_until(running.running, "the run")
    sent = executor.submit("chores.chore", "sent")
    wait_until(lambda: executor.workers()[0].open == 2, "the second to be sent")
    return running, sent


@pytest.mark.parametrize("force", [False, True])
def test_one_that_waits_never_runs(stage: Stage, executor: Executor, force: bool) -> None:
    future = executor.submit("chores.chore", "waiting")
    is_cancelled_at_once(future, force=force)
    with stage.worker():
        assert executor.submit("chores.chore", "after").result(DEADLINE) == "after"
    assert stage.marks() == {"after": 1}
    assert executor.get(future.uuid).cancelled()


@pytest.mark.parametrize("force", [False, True])
def test_one_that_was_sent_is_cancelled_at_once_and_its_worker_told(
    stage: Stage, executor: Executor, force: bool
) -> None:
    """Here it had not been started: it never is."""
    with stage.worker(concurrency=1) as worker:
        running, sent = with_one_that_runs(stage, executor, worker)
        is_cancelled_at_once(sent, force=force)
        wait_until(lambda: executor.workers()[0].open == 1, "the worker's word")
        stage.gate().touch()
        assert running.result(DEADLINE) == "running"
        assert executor.submit("chores.chore", "after").result(DEADLINE) == "after"
    assert "sent" not in stage.marks()


def test_one_that_runs_runs_on(stage: Stage, executor: Executor) -> None:
    with stage.worker(concurrency=1) as worker:
        running, sent = with_one_that_runs(stage, executor, worker)
        assert not running.cancel()
        assert running.running()
        stage.gate().touch()
        assert running.result(DEADLINE) == "running"
        assert sent.result(DEADLINE) == "sent"


@pytest.mark.parametrize("chore", ["chore", "spin", "block"])
def test_one_that_runs_is_ended_by_force_with_its_process(
    stage: Stage, executor: Executor, chore: str
) -> None:
    """Whatever it is doing; the worker goes on with the next."""
    with stage.worker(concurrency=1) as worker:
        worker.up()
        words = ("running", str(stage.gate())) if chore == "chore" else ("running",)
        future = executor.submit(f"chores.{chore}", *words)
        wait_until(future.running, "the run")
        stage.wait_for("running")
        (process,) = stage.processes("running")
        assert is_alive(process)
        assert future.cancel(force=True)
        with pytest.raises(TaskCancelled) as found:
            future.result(DEADLINE)
        assert found.value.request_uuid == future.uuid
        assert not future.cancelled()
        wait_until(lambda: not is_alive(process), "the end of the process")
        assert executor.submit("chores.chore", "after").result(DEADLINE) == "after"
        assert not future.cancel(force=True)
    assert stage.marks() == {"running": 1, "after": 1}


def test_one_that_has_ended_stays_as_it_ended(stage: Stage, executor: Executor) -> None:
    with stage.worker():
        good, bad = executor.submit("chores.chore", "good"), executor.submit("chores.fail", "bad")
        concurrent.futures.wait([good, bad], DEADLINE)
        for future in (good, bad):
            assert not future.cancel()
            assert not future.cancel(force=True)
        assert good.result(0) == "good"
        assert isinstance(bad.exception(0), ValueError)


def test_what_runs_in_threads_cannot_be_ended_and_says_so(stage: Stage, executor: Executor) -> None:
    with stage.worker("--pool", "threads", concurrency=1) as worker:
        running, sent = with_one_that_runs(stage, executor, worker)
        with pytest.raises(CannotStop, match="--pool processes"):
            running.cancel(force=True)
        is_cancelled_at_once(sent, force=True)  # that one does not run
        wait_until(lambda: executor.workers()[0].open == 1, "the worker's word")
        stage.gate().touch()
        assert running.result(DEADLINE) == "running"
        assert executor.submit("chores.chore", "after").result(DEADLINE) == "after"
    assert "sent" not in stage.marks()


def test_what_runs_at_a_taskflow_worker_cannot_be_ended_and_says_so(
    local_stage: Stage,
) -> None:
    with (
        local_stage.worker("--dialect", "taskflow", concurrency=1),
        local_stage.executor(dialects=["taskflow"]) as executor,
    ):
        named = {"name": "running", "gate": str(local_stage.gate())}
        running = executor.submit("chores.chore", **named)
        wait_until(running.running, "the run")
        assert not running.cancel()
        with pytest.raises(CannotStop):
            running.cancel(force=True)
        sent = executor.submit("chores.chore", name="sent")
        is_cancelled_at_once(sent, force=False)
        local_stage.gate().touch()
        assert running.result(DEADLINE) == "running"


def test_whatever_is_cancelled_at_any_moment_has_one_outcome(
    stage: Stage, executor: Executor
) -> None:
    """A storm: some before they are sent, some while they run, some when they have ended."""
    with stage.worker(), stage.worker():
        executor.wait_for_workers(2, DEADLINE)
        outcomes: dict[str, list[str]] = {}
        futures = []
        for n in range(120):
            future = executor.submit("chores.chore", f"n{n}")
            outcomes[future.uuid] = []
            future.add_done_callback(
                lambda done: outcomes[done.uuid].append(  # type: ignore[attr-defined]
                    "cancelled" if done.cancelled() else type(done.exception()).__name__
                )
            )
            futures.append(future)
        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            said = list(
                threads.map(lambda pair: pair[1].cancel(pair[0] % 2 == 0), enumerate(futures))
            )
        assert not concurrent.futures.wait(futures, DEADLINE).not_done
        assert executor.submit("chores.chore", "after").result(DEADLINE) == "after"
    for n, future in enumerate(futures):
        assert len(outcomes[future.uuid]) == 1
        if future.cancelled():
            assert said[n]
        elif n % 2:
            assert not said[n]
            assert future.result() == f"n{n}"
        elif future.exception() is not None:
            assert isinstance(future.exception(), TaskCancelled)
            assert said[n]
    assert max(stage.marks().values()) == 1


def test_leaving_the_block_with_a_ctrl_c_cancels_what_does_not_run(stage: Stage) -> None:
    text = """
        from executor import Executor

        if __name__ == "__main__":
            with EXECUTOR as executor:
                running = executor.submit("chores.chore", "running", GATE)
                waiting = executor.submit("chores.nobody")
                while not running.running():
                    pass
                try:
                    with executor:
                        open(GATE, "w").close()
                        raise KeyboardInterrupt
                except KeyboardInterrupt:
                    print(running.result(), waiting.cancelled())
        """
    with stage.worker() as worker:
        worker.up()
        with stage.program(text.replace("GATE", repr(str(stage.gate())))) as program:
            assert program.exit_code() == 0, program.said
            assert program.said.splitlines()[-1] == "running True"
