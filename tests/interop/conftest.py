"""The grounds the flows of this folder are run on, and the worker that is there.

A ground, its worker and its runner live for one module: processes start slowly, and every flow has
atoms of its own, so that no flow sees another.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("taskflow", reason="the peer of these tests is not installed: taskflow")

from tests.interop.engines import Runner
from tests.interop.ground import Ground
from tests.interop.peers import PEER, worker_running
from tests.interop.strangers import Stranger

BROKERS = [
    "memory",
    "filesystem",
    pytest.param("redis", marks=pytest.mark.redis),
    pytest.param("amqp", marks=pytest.mark.rabbitmq),
]

#: Where a worker of ours is tried, and with which of its pools.
GROUNDS = [
    pytest.param(("memory", "threads"), id="memory-threads"),
    pytest.param(("memory", "processes"), id="memory-processes"),
    pytest.param(("filesystem", "processes"), id="filesystem-processes"),
    pytest.param(("redis", "processes"), id="redis-processes", marks=pytest.mark.redis),
    pytest.param(("amqp", "processes"), id="amqp-processes", marks=pytest.mark.rabbitmq),
]

#: Cases that taskflow's own worker never answers, or answers by ending.
ONLY_OURS = pytest.mark.skipif(PEER == "taskflow", reason="taskflow's own worker hangs or ends")


@pytest.fixture(scope="module", params=GROUNDS)
def ground(request: pytest.FixtureRequest) -> Ground:
    """A broker that is there, and an exchange of our own on it."""
    return Ground(*request.param).demand()


@pytest.fixture(scope="module")
def runner(ground: Ground) -> Iterator[Runner]:
    """Runs flows on the ground, where the worker under test is."""
    with worker_running(ground):
        yield Runner(ground)


@pytest.fixture(scope="module")
def stranger(ground: Ground, runner: Runner) -> Iterator[Stranger]:
    """A peer that asks what it likes."""
    with Stranger(ground) as stranger:
        yield stranger
