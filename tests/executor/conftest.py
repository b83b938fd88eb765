"""An executor and a worker in this very process, for tests of the client's side."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from executor import Executor
from tests import brokers
from tests.samples import tasks
from worker import Worker

_numbers = itertools.count(1)


def _pair() -> Iterator[Executor]:
    exchange = f"{brokers.PREFIX}client-{next(_numbers)}"
    offers = [tasks.__name__, "builtins:abs", "time:sleep", "operator:truediv"]
    worker = Worker(
        offers, url="memory://", exchange=exchange, pool="threads", concurrency=4, drain_timeout=0.5
    )
    with worker, Executor("memory://", exchange=exchange) as executor:
        executor.wait_for_workers(1, 10.0)
        yield executor


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    """One for all tests of a module that leave it as it was."""
    yield from _pair()


@pytest.fixture
def own_pool() -> Iterator[Executor]:
    """One for this test alone, which may shut it down or break it."""
    yield from _pair()


@pytest.fixture
def lonely(exchange: str) -> Iterator[Executor]:
    """One without any worker: whatever is submitted waits."""
    with Executor("memory://", exchange=exchange) as executor:
        yield executor
        executor.shutdown(cancel_futures=True)
