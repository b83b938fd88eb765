"""Each batch system, and the suite that is shipped for those of others."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from executor.batch import BatchSystem, LocalBatchSystem, RemoteBatchSystem
from executor.batch.testing import MACHINE, BatchSystemSuite
from tests.processes import DEADLINE, WorkerProcess
from tests.samples.told import install

WORDS = ("--cores", "2", "--memory", "512 MiB", "--disk", "100 MB", "--concurrency", "4")


class TestLocal(BatchSystemSuite):
    """With a worker of its own."""

    def make(self, folder: Path) -> BatchSystem:
        return LocalBatchSystem(maximum=MACHINE, logs=folder / "logs", slots=4)


class TestPreloading(BatchSystemSuite):
    """With a worker that has preloaded a module, whose copies the jobs in Python are."""

    @pytest.fixture(autouse=True)
    def installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is, on the paths of the worker and its jobs."""
        scripts = install(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setenv("PATH", f"{scripts}{os.pathsep}{os.environ['PATH']}")

    def make(self, folder: Path) -> BatchSystem:
        return LocalBatchSystem(maximum=MACHINE, logs=folder / "logs", slots=4, preload=["told"])

    def python(self, program: str) -> str:
        return f"told {shlex.quote(program)}"

    def test_its_jobs_are_copies(self) -> None:
        """Only the template has imported the module; its own pid is another's."""
        program = "import os, told; print(told.IMPORTED_IN != os.getpid())"
        with self.running() as system:
            job_id = self.issue(system, self.python(program))
            assert self.ends(system, job_id)[job_id].exit_status == 0
            assert system.output(job_id) == "True\n"


@pytest.mark.slow
class TestRemote(BatchSystemSuite):
    """With a worker that somebody has started, on each broker of more than one process."""

    @pytest.fixture(
        autouse=True,
        params=[
            "local",
            pytest.param("redis", marks=pytest.mark.redis),
            pytest.param("amqp", marks=pytest.mark.rabbitmq),
        ],
    )
    def worker(self, request: pytest.FixtureRequest, exchange: str) -> Iterator[None]:
        """It stays for the length of a test."""
        self.exchange = exchange
        if request.param == "local":
            self.url = f"local://{self.folder}/broker"
        else:
            self.url = request.getfixturevalue(f"{request.param}_url")
        where = ("--url", self.url, "--exchange", exchange)
        with WorkerProcess("worker.command", *where, *WORDS, folder=self.folder) as worker:
            worker.up()
            yield

    def make(self, folder: Path) -> BatchSystem:
        system = RemoteBatchSystem(self.url, exchange=self.exchange, logs=folder / "logs")
        system.wait_for_workers(1, DEADLINE)
        return system
