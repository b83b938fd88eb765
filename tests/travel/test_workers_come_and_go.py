"""Workers end, politely and not, and nothing is lost: each a process with a command line."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kombu
import pytest

from bus.wire.transports.local.place import DATABASE
from executor import Executor
from protocol.timing import LEASE, LEASE_BEATS
from protocol.topology import Dialect
from tests import brokers
from tests.processes import DEADLINE, WorkerProcess, is_alive, wait_until
from tests.travel import errands

ERRANDS = "tests.travel.errands"


@dataclass(frozen=True)
class Ground:
    """Where workers and executors of one test meet."""

    url: str
    exchange: str
    tasks: Path
    marks: Path
    executor: Executor

    def worker(self, *words: str, concurrency: int = 2, **settings: Any) -> WorkerProcess:
        """Another worker process."""
        return WorkerProcess(
            *(ERRANDS, "--url", self.url, "--exchange", self.exchange),
            *("--concurrency", str(concurrency), *words),
            folder=self.tasks,
            **settings,
        )

    def submit(self, number: int, until: Path | None = None) -> concurrent.futures.Future[int]:
        """Have it run by whoever is there."""
        return self.executor.submit(
            errands.run, str(self.marks), number, str(until) if until else None
        )

    def runs(self) -> dict[int, list[int]]:
        """``{number: the worker's process for each time it was started}``."""
        found: dict[int, list[int]] = {}
        for mark in self.marks.iterdir():
            number, worker, _ = mark.name.split(".")
            found.setdefault(int(number), []).append(int(worker))
        return found

    def wait_for_runs(self, *numbers: int, times: int = 1) -> None:
        """Until each of these has been started so many times."""
        wait_until(
            lambda: all(len(self.runs().get(number, ())) >= times for number in numbers),
            f"{numbers} to be started {times} times",
            LEASE + DEADLINE,
        )


@pytest.fixture(
    params=[
        "local",
        pytest.param("redis", marks=pytest.mark.redis),
        pytest.param("amqp", marks=pytest.mark.rabbitmq),
    ]
)
def url(request: pytest.FixtureRequest, local_path: Path) -> str:
    """Each of the brokers over which processes can meet."""
    if request.param == "local":
        return f"local://{local_path}"
    return brokers.demand(brokers.REDIS_URL if request.param == "redis" else brokers.AMQP_URL)


@pytest.fixture
def dialects() -> tuple[Dialect, ...]:
    """Which the executor of a ground speaks."""
    return ("native",)


@pytest.fixture
def ground(
    url: str, exchange: str, dialects: tuple[Dialect, ...], tmp_path: Path, task_folder: Path
) -> Iterator[Ground]:
    """An executor, and a folder for marks."""
    marks = tmp_path / "marks"
    marks.mkdir()
    with Executor(url, exchange=exchange, dialects=dialects) as executor:
        yield Ground(url, exchange, task_folder, marks, executor)
        executor.shutdown(wait=False, cancel_futures=True)


def results(futures: list[concurrent.futures.Future[int]]) -> list[int]:
    """What they come to, in time."""
    return [future.result(LEASE + DEADLINE) for future in futures]


def test_a_drained_worker_finishes_what_runs_and_hands_back_what_is_queued(
    ground: Ground, tmp_path: Path
) -> None:
    """Nothing is lost, nothing is doubled, and it ends with 0 as soon as it can."""
    go = tmp_path / "go"
    with ground.worker() as first:
        first.up()
        results([ground.submit(number) for number in range(100, 120)])  # earns credit for a queue
        running = [ground.submit(number, go) for number in range(2)]
        ground.wait_for_runs(0, 1)
        queued = [ground.submit(number) for number in range(2, 12)]
        first.send_signal(signal.SIGTERM)
        with ground.worker() as second:
            assert results(queued) == list(range(2, 12))
            assert first.process.poll() is None
            assert not any(future.done() for future in running)
            go.touch()
            assert results(running) == [0, 1]
            assert first.exit_code() == 0
            runs = ground.runs()
            assert {number: runs[number] for number in range(12)} == {
                number: [first.pid if number < 2 else second.pid] for number in range(12)
            }
            second.send_signal(signal.SIGTERM)
            assert second.exit_code() == 0


@pytest.mark.parametrize("dialects", [("native",), ("taskflow",)], ids="/".join)
def test_workers_relieve_each_other_under_a_stream_of_short_tasks(
    ground: Ground, dialects: tuple[Dialect, ...]
) -> None:
    """What is on its way to a worker while it goes down comes back at once, not after a lease."""
    # Beats of a minute: what waits for a lease comes too late.
    dialect = ("--dialect", *dialects, "--beat", "60")
    with ground.worker(*dialect) as one, ground.worker(*dialect) as another:
        one.up()
        another.up()
        futures = [ground.submit(number) for number in range(300)]
        wait_until(lambda: sum(future.done() for future in futures) > 50, "50 results")
        # Without credits, in taskflow's dialect, one of them may have taken all there is.
        took = Counter(worker for workers in ground.runs().values() for worker in workers)
        first, second = (one, another) if took[one.pid] > took[another.pid] else (another, one)
        first.send_signal(signal.SIGTERM)
        assert first.exit_code() == 0
        futures += [ground.submit(number) for number in range(300, 350)]
        assert results(futures) == list(range(350))
        runs = ground.runs()
        assert Counter(map(len, runs.values())) == {1: 350}
        assert [runs[number] for number in range(300, 350)] == [[second.pid]] * 50
        assert [first.pid] in runs.values()


@pytest.mark.parametrize("url", ["local"], indirect=True)
@pytest.mark.parametrize("pool", ["processes", "threads"])
def test_a_second_signal_stops_at_once_and_the_rest_runs_elsewhere(
    ground: Ground, tmp_path: Path, pool: str
) -> None:
    """With threads, too, although futurist would wait for them at the interpreter's exit."""
    go = tmp_path / "go"
    with ground.worker("--pool", pool, concurrency=1) as first:
        first.up()
        future = ground.submit(1, go)
        ground.wait_for_runs(1)
        first.send_signal(signal.SIGTERM)
        wait_until(lambda: not ground.executor.workers()[0].topics["default"], "the goodbye")
        assert first.process.poll() is None
        first.send_signal(signal.SIGINT)
        assert first.exit_code() == 0
        with ground.worker(concurrency=1):
            ground.wait_for_runs(1, times=2)
            go.touch()
            assert future.result(DEADLINE) == 1
    assert len(ground.runs()[1]) == 2


@pytest.mark.parametrize("url", ["local"], indirect=True)
def test_what_runs_beyond_the_limit_of_the_drain_is_started_again_elsewhere(
    ground: Ground, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    with ground.worker("--drain-timeout", "0.3", concurrency=1) as first:
        first.up()
        future = ground.submit(1, go)
        ground.wait_for_runs(1)
        first.send_signal(signal.SIGTERM)
        assert first.exit_code() == 0
        with ground.worker(concurrency=1) as second:
            ground.wait_for_runs(1, times=2)
            go.touch()
            assert future.result(DEADLINE) == 1
            assert sorted(ground.runs()[1]) == sorted([first.pid, second.pid])


def test_a_signal_while_tasks_are_imported_ends_it_at_once(
    tmp_path: Path, local_path: Path, exchange: str
) -> None:
    """Nothing has been taken yet, so there is nothing to wait for."""
    (tmp_path / "slowly.py").write_text(
        "import pathlib, time\n"
        f"pathlib.Path({str(tmp_path / 'importing')!r}).touch()\n"
        "time.sleep(600)\n"
    )
    for pool in ("processes", "threads"):
        words = ["slowly", "--url", f"local://{local_path}", "--exchange", exchange]
        with WorkerProcess(*words, "--pool", pool, folder=tmp_path) as worker:
            wait_until((tmp_path / "importing").exists, "the import to begin")
            worker.send_signal(signal.SIGTERM)
            assert worker.exit_code() == 0
            assert "Traceback" not in worker.said
        (tmp_path / "importing").unlink()


@pytest.mark.slow
def test_what_a_killed_worker_ran_runs_on_another_after_the_lease(
    ground: Ground, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    beat = 1.0
    with ground.worker("--beat", str(beat), concurrency=1) as first:
        first.up()
        future = ground.submit(1, go)
        ground.wait_for_runs(1)
        with ground.worker(concurrency=1) as second:
            second.up()
            killed = time.monotonic()
            first.send_signal(signal.SIGKILL)
            ground.wait_for_runs(1, times=2)
            assert time.monotonic() - killed > (LEASE_BEATS - 1) * beat - 0.5
            go.touch()
            assert future.result(DEADLINE) == 1
            assert sorted(ground.runs()[1]) == sorted([first.pid, second.pid])


@pytest.mark.parametrize("pool", ["processes", "threads"])
def test_a_killed_worker_takes_its_hosts_and_their_children_along(
    tmp_path: Path, local_path: Path, exchange: str, task_folder: Path, pool: str
) -> None:
    """With threads there is the child alone, which is nobody's business but the task's."""
    where = ["--url", f"local://{local_path}", "--exchange", exchange]
    words = [ERRANDS, *where, "--pool", pool, "--concurrency=1"]
    call = ["submit", *where, f"{ERRANDS}.family", json.dumps(str(tmp_path / "family"))]
    with (
        WorkerProcess(*words, folder=task_folder) as worker,
        WorkerProcess(*call, folder=task_folder, command=("-m", "executor")),
    ):
        wait_until((tmp_path / "family").exists, "the task to begin")
        parent, host, child = map(int, (tmp_path / "family").read_text().split())
        try:
            assert worker.pid == (host if pool == "threads" else parent)
            assert is_alive(host)
            worker.send_signal(signal.SIGKILL)
            wait_until(lambda: not is_alive(host), "the end of the host")
            if pool == "processes":
                wait_until(lambda: not is_alive(child), "the end of the task's child")
        finally:
            if is_alive(child):
                os.kill(child, signal.SIGKILL)


@pytest.mark.slow
def test_a_killed_private_worker_is_replaced(url: str, exchange: str, task_folder: Path) -> None:
    """The only one, under a task of its own: that runs again on its successor."""
    with Executor(url, exchange=exchange, workers=1) as executor:
        before = executor.submit(errands.worker_process).result(DEADLINE)
        os.kill(before, signal.SIGKILL)
        after = executor.submit(errands.worker_process).result(LEASE + DEADLINE)
        assert after != before
        assert not is_alive(before)
        assert is_alive(after)
    wait_until(lambda: not is_alive(after), "the end of the private worker")


def test_private_workers_end_with_their_executor(
    local_path: Path, exchange: str, task_folder: Path
) -> None:
    with Executor(f"local://{local_path}", exchange=exchange, workers=2) as executor:
        executor.wait_for_workers(2, DEADLINE)
        private = executor._engine._private
        assert private is not None
        pids = [worker.process.pid for worker in private._workers]
        assert all(map(is_alive, pids))
    assert not any(map(is_alive, pids))


@pytest.mark.parametrize("keeps_journal", [False, True])
def test_a_clean_end_leaves_no_queue_but_the_topics(
    url: str, exchange: str, tmp_path: Path, task_folder: Path, keeps_journal: bool
) -> None:
    """Of an executor with a journal, too, if nothing is open in that."""
    how: dict[str, Any] = {"dialects": ["native", "taskflow"]}
    if keeps_journal:
        how |= {"name": "nightly", "journal": tmp_path / "nightly.journal"}
    words = [ERRANDS, "--url", url, "--exchange", exchange]
    with (
        WorkerProcess(*words, folder=task_folder) as native,
        WorkerProcess(*words, "--dialect", "taskflow", folder=task_folder) as flow,
    ):
        native.up()
        flow.up()
        with Executor(url, exchange=exchange, **how) as executor:
            executor.wait_for_workers(2, DEADLINE)
            futures = [executor.submit(errands.run, str(tmp_path), n) for n in range(20)]
            assert results(futures) == list(range(20))
            for worker in (native, flow):
                worker.send_signal(signal.SIGTERM)
                assert worker.exit_code() == 0
    assert queues(url, exchange) <= {f"{exchange}.native_default", f"{exchange}_default"}


def queues(url: str, exchange: str) -> set[str]:
    """The names of all queues of an exchange: that have a message, on Redis, or a binding."""
    if url.startswith("local:"):
        file = Path(url.partition("://")[2]) / DATABASE
        with contextlib.closing(sqlite3.connect(file)) as db:
            return {name for (name,) in db.execute("SELECT name FROM queue") if exchange in name}
    if url.startswith("redis:"):
        with kombu.Connection(url) as connection:
            client = connection.default_channel.client
            found: set[str] = set()
            for key in client.scan_iter(f"*{exchange}*", count=1000):
                name = key.decode()
                if name.startswith("_kombu.binding"):
                    bound = client.smembers(key)
                    found |= {entry.decode().rpartition("\x06\x16")[2] for entry in bound}
                else:
                    found.add(name)
            return found
    control = shutil.which("rabbitmqctl", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if control is None:
        pytest.skip("rabbitmqctl is not here, and AMQP does not list names")
    listed = subprocess.run(
        [control, "--quiet", "--no-table-headers", "list_queues", "name"],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return {name for name in listed.stdout.splitlines() if exchange in name}
