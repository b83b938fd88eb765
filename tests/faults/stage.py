"""What one play stands on: a broker of its own, workers, executors, marks.

Everything that was begun here ends with the play, whatever happens in it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from bus.wire.testing import PrivateRabbitMQ, PrivateRedis, TcpProxy, WorkerKiller
from executor import Executor
from tests.faults.marks import Marks
from tests.processes import PROJECT
from worker import Worker

Server = PrivateRedis | PrivateRabbitMQ

#: What each broker is called in commands and tables, and what that means.
BROKERS: Final = {
    "local": "the embedded broker",
    "memory": "in one process, workers too",
    "redis": "Redis without AOF",
    "redis-aof": "Redis, appendfsync always",
    "amqp": "RabbitMQ",
}

WORKERS_TIMEOUT: Final = 60.0  # seconds for all workers to come up, on a busy machine


def missing(broker: str) -> str | None:
    """Why plays on it are not possible here, in a sentence."""
    if broker.startswith("redis"):
        return PrivateRedis.missing()
    return PrivateRabbitMQ.missing() if broker == "amqp" else None


class Stage:
    """Of one play. A context manager."""

    def __init__(self, broker: str, folder: Path) -> None:
        self.broker = broker
        self.folder = folder
        self.marks = Marks(folder / "marks")
        self.exchange = f"faults-{secrets.token_hex(3)}"
        #: Where the local broker is instead, if a scenario wants it elsewhere.
        self.place: Path | None = None
        self._ends = contextlib.ExitStack()
        self.server: Server | None = None
        if broker in ("redis", "redis-aof"):
            self.server = PrivateRedis(aof="always" if broker == "redis-aof" else None)
        elif broker == "amqp":
            self.server = PrivateRabbitMQ()

    def __enter__(self) -> Stage:
        if self.server is not None:
            self._ends.enter_context(self.server)
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    @property
    def url(self) -> str:
        """Where the broker is."""
        if self.place is not None:
            return f"local://{self.place}"
        if self.server is not None:
            return self.server.url
        return "memory://" if self.broker == "memory" else f"local://{self.folder / 'broker'}"

    def server_version(self) -> str:
        """Which server it is."""
        if isinstance(self.server, PrivateRabbitMQ):
            return f"RabbitMQ {self.server.control('version').strip()}"
        said = subprocess.run(
            ["redis-server", "--version"], capture_output=True, encoding="utf-8", check=True
        )
        return f"Redis {said.stdout.partition('v=')[2].split()[0]}"

    def proxy(self) -> TcpProxy:
        """A way to the server that can be made bad; its URL is ``proxy.url(of=stage.url)``."""
        assert self.server is not None
        return self._ends.enter_context(TcpProxy("127.0.0.1", self.server.port))

    def executor(self, *, url: str | None = None, **options: Any) -> Executor:
        """An executor in this process; what it has open at the end is not waited for."""
        executor = Executor(url or self.url, exchange=self.exchange, **options)
        self._ends.callback(executor.shutdown, wait=False, cancel_futures=True)
        return executor

    def submitter(self, *words: str, url: str | None = None) -> subprocess.Popen[bytes]:
        """An executor as a process of its own: ``tests.faults.submitter``."""
        where = ["--url", url or self.url, "--exchange", self.exchange]
        command = ["-m", "tests.faults.submitter", *where, "--marks", self.marks.folder, *words]
        process = self._start(command, "submitters.log")
        self._ends.callback(_end, process)
        return process

    @contextlib.contextmanager
    def workers(
        self,
        count: int,
        *words: str,
        concurrency: int = 2,
        beat: float | None = None,
        url: str | None = None,
        **kills: Any,
    ) -> Iterator[WorkerKiller]:
        """Worker processes, kept running; ``kills``: ``every``, ``seed`` … of ``WorkerKiller``."""
        command = ["-m", "worker", "tests.faults.errands", "--url", url or self.url]
        command += ["--exchange", self.exchange, "--concurrency", str(concurrency), *words]
        command += [] if beat is None else ["--beat", str(beat)]
        with WorkerKiller(
            lambda: self._start(command, "workers.log"), count=count, **kills
        ) as killer:
            yield killer

    @contextlib.contextmanager
    def worker_here(self, *, concurrency: int = 4) -> Iterator[Worker]:
        """A worker in this process, for the broker that lives in it."""
        with Worker(
            ["tests.faults.errands"],
            url=self.url,
            exchange=self.exchange,
            pool="threads",
            concurrency=concurrency,
            drain_timeout=1.0,
        ) as worker:
            yield worker

    @contextlib.contextmanager
    def some_workers(self, count: int, **options: Any) -> Iterator[list[int]]:
        """Workers that nothing happens to, wherever this broker can have them; their processes."""
        if self.broker == "memory":
            with self.worker_here(concurrency=count * options.get("concurrency", 2)):
                yield [os.getpid()]
        else:
            with self.workers(count, **options) as killer:
                yield [worker.pid for worker in killer.workers]

    def _start(self, command: list[str], log: str) -> subprocess.Popen[bytes]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("TASKLINE_")}
        with (self.folder / log).open("ab") as output:
            return subprocess.Popen(
                [sys.executable, *command],
                cwd=PROJECT,
                env=kept,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait(10.0)


def wait_for(is_so: Callable[[], object], timeout: float, every: float = 0.02) -> bool:
    """Until it is so, or for so long; whether it is."""
    until = time.monotonic() + timeout
    while not is_so():
        if time.monotonic() > until:
            return False
        time.sleep(every)
    return True


def rss_bytes(pid: int) -> int:
    """The memory of a process that is in use; 0 if it has gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def open_files(pid: int) -> int:
    """How many descriptors a process has open; 0 if it has gone."""
    try:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except (FileNotFoundError, ProcessLookupError):
        return 0
