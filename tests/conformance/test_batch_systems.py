"""Each batch system, and the suite that is shipped for those of others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from executor.batch import BatchSystem, LocalBatchSystem, RemoteBatchSystem
from executor.batch.testing import MACHINE, BatchSystemSuite
from tests.processes import DEADLINE, WorkerProcess

WORDS = ("--cores", "2", "--memory", "512 MiB", "--disk", "100 MB", "--concurrency", "4")


class TestLocal(BatchSystemSuite):
    """With a worker of its own."""

    def make(self, folder: Path) -> BatchSystem:
        return LocalBatchSystem(maximum=MACHINE, logs=folder / "logs", slots=4)


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
