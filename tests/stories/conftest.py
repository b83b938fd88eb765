"""What the stories of several processes ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import brokers
from tests.stories.stage import Stage


@pytest.fixture(params=["local", pytest.param("redis", marks=pytest.mark.redis)])
def stage(request: pytest.FixtureRequest, tmp_path: Path, exchange: str) -> Stage:
    """One on each of two brokers: without a server, and with one."""
    if request.param == "redis":
        return Stage(brokers.demand(brokers.REDIS_URL), exchange, tmp_path)
    return Stage(f"local://{tmp_path}/broker", exchange, tmp_path)


@pytest.fixture(
    params=[
        "local",
        pytest.param("redis", marks=pytest.mark.redis),
        pytest.param("amqp", marks=pytest.mark.rabbitmq),
    ]
)
def wide_stage(request: pytest.FixtureRequest, tmp_path: Path, exchange: str) -> Stage:
    """One on each of three brokers, which tell their readers of one queue apart differently."""
    if request.param == "local":
        return Stage(f"local://{tmp_path}/broker", exchange, tmp_path)
    url = brokers.REDIS_URL if request.param == "redis" else brokers.AMQP_URL
    return Stage(brokers.demand(url), exchange, tmp_path)


@pytest.fixture
def local_stage(tmp_path: Path, exchange: str) -> Stage:
    """One without a server."""
    return Stage(f"local://{tmp_path}/broker", exchange, tmp_path)


@pytest.fixture
def redis_stage(redis_url: str, tmp_path: Path, exchange: str) -> Stage:
    """One whose broker writes no file in this process."""
    return Stage(redis_url, exchange, tmp_path)
