"""The worker under test: ours as its users start it, or taskflow's own in its place.

On Redis, RabbitMQ and in a folder a worker is a process of its own, started by its command line;
over memory it lives here, and so does taskflow's in a folder, of which its command line cannot be
told. A worker counts as started when it has answered the NOTIFY of a taskflow executor.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from taskflow.engines.worker_based.executor import WorkerTaskExecutor
from taskflow.engines.worker_based.worker import Worker as TaskflowWorker

from protocol.topology import Dialect
from tests.interop.ground import Ground
from worker import Worker

#: Whose worker is tested: ``taskline``, or ``taskflow`` to test the tests.
PEER: Final = os.environ.get("INTEROP_PEER", "taskline")

#: What flows are made of, as a worker is told of it.
FLOW_TASKS: Final = "tests.interop.flow_tasks"

_PROJECT: Final = Path(__file__).resolve().parents[2]
_START: Final = 60.0  # seconds a worker has to answer its first NOTIFY
_STOP: Final = 30.0  # seconds a worker has to be gone after SIGTERM


@contextmanager
def worker_running(
    ground: Ground, tasks: str = FLOW_TASKS, *, concurrency: int = 4, peer: str = PEER
) -> Iterator[None]:
    """A worker that offers ``tasks`` on the ground's topic, for as long as the block lasts."""
    starts = {
        ("taskflow", True): _taskflow_here,
        ("taskflow", False): _taskflow_process,
        ("taskline", True): _taskline_here,
        ("taskline", False): _taskline_process,
    }
    is_here = ground.in_this_process or (peer == "taskflow" and ground.broker == "filesystem")
    with starts[peer, is_here](ground, tasks, concurrency):
        # Two of taskflow's in a folder read what the other is still writing, and end by it.
        if peer != "taskflow" or ground.broker != "filesystem":
            wait_for_worker(ground)
        yield


@contextmanager
def native_worker_running(ground: Ground, tasks: str, *, concurrency: int = 2) -> Iterator[None]:
    """A worker of ours that speaks our own dialect; nothing of taskflow's can see that it is there.

    Whether it has started is for an executor of ours to say.
    """
    start = _taskline_here if ground.in_this_process else _taskline_process
    with start(ground, tasks, concurrency, "native"):
        yield


def wait_for_worker(ground: Ground, timeout: float = _START) -> None:
    """Return when a worker on the ground has answered the NOTIFY of a taskflow executor."""
    asking = WorkerTaskExecutor(
        uuid=str(uuid.uuid4()),
        exchange=ground.exchange,
        topics=[ground.topic],
        **ground.taskflow_options(),
    )
    asking.start()
    try:
        missing = asking.wait_for_workers(1, timeout=timeout)
    finally:
        asking.stop()
    assert not missing, f"no worker answered NOTIFY on {ground} within {timeout} s"


@contextmanager
def _taskline_here(
    ground: Ground, tasks: str, concurrency: int, dialect: Dialect = "taskflow"
) -> Iterator[None]:
    worker = Worker(
        [tasks],
        url=ground.url,
        exchange=ground.exchange,
        topics=(ground.topic,),
        pool=ground.pool,
        concurrency=concurrency,
        dialect=dialect,
    )
    with _folder_with_tests() as folder:
        sys.path.append(str(folder))  # where the worker's own processes find the tests
        try:
            with worker:
                yield
        finally:
            sys.path.remove(str(folder))


@contextmanager
def _taskline_process(
    ground: Ground, tasks: str, concurrency: int, dialect: Dialect = "taskflow"
) -> Iterator[None]:
    words = ["worker", tasks, "--dialect", dialect]
    words += ["--url", ground.url, "--exchange", ground.exchange, "--topic", ground.topic]
    words += ["--pool", ground.pool, "--concurrency", str(concurrency)]
    with _process(words):
        yield


@contextmanager
def _taskflow_here(ground: Ground, tasks: str, concurrency: int) -> Iterator[None]:
    worker = TaskflowWorker(
        ground.exchange,
        ground.topic,
        [tasks],
        threads_count=concurrency,
        **ground.taskflow_options(),
    )
    thread = threading.Thread(target=worker.run, name="taskflow-worker", daemon=True)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join(_STOP)


@contextmanager
def _taskflow_process(ground: Ground, tasks: str, concurrency: int) -> Iterator[None]:
    words = ["taskflow.engines.worker_based.worker", "--exchange", ground.exchange]
    words += ["--connection-url", ground.url, "--topic", ground.topic, "--task", tasks]
    with _process(words):
        yield


@contextmanager
def _folder_with_tests() -> Iterator[Path]:
    """A folder from which the tests can be imported, and not the source beside them."""
    with tempfile.TemporaryDirectory(prefix="interop-") as folder:
        (Path(folder) / "tests").symlink_to(_PROJECT / "tests")
        yield Path(folder)


@contextmanager
def _process(words: list[str]) -> Iterator[None]:
    """``python -m words...``; what it said is shown if the block fails."""
    with _folder_with_tests() as folder, (folder / "said").open("w+b") as said:
        path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path},
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        try:
            yield
        except BaseException:
            said.seek(0)
            sys.stderr.write(
                f"--- {' '.join(words)} said:\n{said.read().decode(errors='replace')}\n"
            )
            raise
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
