"""Servers of a test's own: where their programs are missing, the test is skipped, or fails.

It fails under the same condition as in ``brokers``: ``TASKLINE_REQUIRE_BROKERS=1``.
"""

from __future__ import annotations

from typing import TypeVar

import pytest

from bus.wire.testing import PrivateRabbitMQ, PrivateRedis
from tests import brokers

S = TypeVar("S", PrivateRedis, PrivateRabbitMQ)


def demand(server: S) -> S:
    """``server`` itself, not started, if it can run here."""
    sentence = server.missing()
    if sentence and brokers.ARE_REQUIRED:
        pytest.fail(f"TASKLINE_REQUIRE_BROKERS=1, but {sentence}", pytrace=False)
    if sentence:
        pytest.skip(sentence)
    return server
