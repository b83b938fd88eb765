"""taskflow's own tests of its worker-based engine, from its wheel, run on our worker.

Taken: ``WorkerBasedEngineTest`` (every engine test there is, on the worker-based engine) and
``TestPipeline`` (its executor alone against a worker), 71 tests. Left out are those that look at
taskflow's own objects and no worker at all. The tests run as they are; only where they start a
worker do they find one that is running already, on a broker of our choice.

Recorded with taskflow 6.5.0: 71 of 71 with our worker, and with theirs (``INTEROP_PEER=taskflow``),
on each of the three brokers. Over memory that takes 12 s; on Redis and RabbitMQ three minutes each,
because an engine of theirs takes two seconds to start and stop, and so they are marked slow.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

# What taskflow's own tests import, and taskflow itself does not depend on.
pytest.importorskip("testtools")
pytest.importorskip("oslotest")
pytest.importorskip("etcd3gw")
pytest.importorskip("kazoo")
pytest.importorskip("sqlalchemy")
pytest.importorskip("fixtures")

import fixtures
from taskflow.engines.worker_based.executor import WorkerTaskExecutor
from taskflow.tests.unit import test_engines
from taskflow.tests.unit.worker_based import test_pipeline

from tests.interop.ground import Ground
from tests.interop.peers import worker_running

#: What the suite's flows are made of.
SUITE_TASKS = "taskflow.tests.utils"

DEADLINE = 90  # seconds for each test, by an alarm in the main thread


class _Running:
    """Stands where the suite starts a worker or server: there is one already."""

    def __init__(self, *args: Any, **options: Any) -> None:
        pass

    def run(self) -> None:
        pass

    start = wait = stop = run


class _WorkerModule:
    """Stands for the module the suite takes ``Worker`` from."""

    Worker = _Running


class OnGround:
    """A worker for ``taskflow.tests.utils``, for as long as the tests of one class last."""

    DEFAULT_TIMEOUT: ClassVar[int] = DEADLINE  # oslotest's
    ground: ClassVar[Ground]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _worker(cls) -> Iterator[None]:
        with worker_running(cls.ground.demand(), SUITE_TASKS):
            yield


class EngineTests(OnGround, test_engines.WorkerBasedEngineTest):  # type: ignore[misc]
    """The engine's tests, told of another broker and of no worker."""

    __test__ = False

    def setUp(self) -> None:
        """Theirs, and then the broker of this class."""
        self.addCleanup(setattr, test_engines, "wkr", test_engines.wkr)
        test_engines.wkr = _WorkerModule
        super().setUp()
        self.engine_conf = {
            "engine": "worker-based",
            "exchange": self.ground.exchange,
            "topics": (self.ground.topic,),
            **self.ground.taskflow_options(),
        }


class PipelineTests(OnGround, test_pipeline.TestPipeline):  # type: ignore[misc]
    """The executor's tests, told of another broker and of no server."""

    __test__ = False

    def setUp(self) -> None:
        """Theirs; and on a real broker their executor asks for workers after a second at best."""
        super().setUp()
        module = "taskflow.tests.unit.worker_based.test_pipeline"
        self.useFixture(fixtures.MonkeyPatch(f"{module}.WAIT_TIMEOUT", 10.0))

    def _fetch_server(self, task_classes: list[type]) -> tuple[Any, threading.Thread]:
        return _Running(), threading.Thread(target=_Running().run)

    def _fetch_executor(self) -> WorkerTaskExecutor:
        return WorkerTaskExecutor(
            str(uuid.uuid4()),
            self.ground.exchange,
            [self.ground.topic],
            **self.ground.taskflow_options(),
        )


class TestEngineOverMemory(EngineTests):
    """Over memory, our worker in this process with its tasks in threads."""

    __test__ = True
    ground = Ground("memory", "threads")


class TestPipelineOverMemory(PipelineTests):
    """Over memory, our worker in this process with its tasks in threads."""

    __test__ = True
    ground = Ground("memory", "threads")


@pytest.mark.slow
class TestEngineOverFilesystem(EngineTests):
    """In a folder, our worker as a process of its own with its tasks in others."""

    __test__ = True
    ground = Ground("filesystem", "processes")


@pytest.mark.slow
class TestPipelineOverFilesystem(PipelineTests):
    """In a folder, our worker as a process of its own with its tasks in others."""

    __test__ = True
    ground = Ground("filesystem", "processes")


@pytest.mark.slow
@pytest.mark.redis
class TestEngineOverRedis(EngineTests):
    """Over Redis, our worker as a process of its own with its tasks in others."""

    __test__ = True
    ground = Ground("redis", "processes")


@pytest.mark.slow
@pytest.mark.redis
class TestPipelineOverRedis(PipelineTests):
    """Over Redis, our worker as a process of its own with its tasks in others."""

    __test__ = True
    ground = Ground("redis", "processes")


@pytest.mark.slow
@pytest.mark.rabbitmq
class TestEngineOverAmqp(EngineTests):
    """Over RabbitMQ, our worker as a process of its own with its tasks in others."""

    __test__ = True
    ground = Ground("amqp", "processes")


@pytest.mark.slow
@pytest.mark.rabbitmq
class TestPipelineOverAmqp(PipelineTests):
    """Over RabbitMQ, our worker as a process of its own with its tasks in others."""

    __test__ = True
    ground = Ground("amqp", "processes")
