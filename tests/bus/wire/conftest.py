"""Private servers, a way to them that can fail, and short deadlines."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bus.wire import BrokerUrl, backoff, deadlines, parse_url
from bus.wire.testing import PrivateRabbitMQ, PrivateRedis, TcpProxy
from protocol.topology import Names
from tests import brokers
from tests.private import demand

Through = Callable[[str], TcpProxy]


@pytest.fixture
def names(exchange: str) -> Names:
    """The native names under an exchange of this test's own."""
    return Names("native", exchange)


@pytest.fixture
def private_redis() -> Iterator[PrivateRedis]:
    """A Redis that may be killed, wiped and starved; it runs."""
    with demand(PrivateRedis()) as server:
        yield server


@pytest.fixture(scope="module")
def private_rabbitmq() -> Iterator[PrivateRabbitMQ]:
    """A RabbitMQ that may be killed and starved; seconds to start, so one for a module's tests."""
    with demand(PrivateRabbitMQ()) as server:
        yield server


@pytest.fixture
def through() -> Iterator[Through]:
    """Make proxies to the server of a URL; gone after the test."""
    with ExitStack() as stack:

        def through(url: str) -> TcpProxy:
            parts = urlsplit(url)
            port = parts.port or {"redis": 6379, "amqp": 5672}[parts.scheme]
            return stack.enter_context(TcpProxy(parts.hostname or "127.0.0.1", port))

        yield through


@pytest.fixture(
    params=[
        pytest.param("redis", marks=pytest.mark.redis),
        pytest.param("amqp", marks=pytest.mark.rabbitmq),
    ]
)
def server_url(request: pytest.FixtureRequest) -> str:
    """Each of the two brokers that are reached over a network."""
    return brokers.demand(brokers.REDIS_URL if request.param == "redis" else brokers.AMQP_URL)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], BrokerUrl]:
    """Deadlines of about a second; the broker of a URL, with options that go with them."""
    monkeypatch.setattr(deadlines, "SILENCE", 1.0)
    monkeypatch.setattr(deadlines, "HEARTBEAT", 1.0)  # AMQP counts whole seconds
    monkeypatch.setattr(deadlines, "CONNECT_TIMEOUT", 1.0)
    monkeypatch.setattr(deadlines, "CONFIRM_TIMEOUT", 1.0)
    monkeypatch.setattr(deadlines, "QUIET", 0.3)
    monkeypatch.setattr(deadlines, "KEEP_ALIVE", 0.3)
    monkeypatch.setattr(deadlines, "REFRESH", 0.2)
    monkeypatch.setattr(backoff, "LONGEST", 0.2)

    def read(url: str) -> BrokerUrl:
        if url.startswith("redis"):
            return parse_url(url, {"socket_timeout": 1.0, "socket_connect_timeout": 1.0})
        return parse_url(url, {"write_timeout": 1.0, "read_timeout": 1.0})

    return read


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[str]:
    """A file system of 32 MiB, or a skip that says why there is none."""
    where = tmp_path / "disk"
    where.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("needs root and mount(8) to mount a small tmpfs")
    command = [mount, "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(where)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs is not permitted here")
    yield str(where)
    subprocess.run(["umount", "-l", str(where)], check=True)  # the lock file stays open for good
