"""Brokers that are gone after the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kombu
import pytest

from tests.bus.wire.transports.peers import Process, local


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A folder for a local broker; not there yet."""
    return str(tmp_path / "broker")


@pytest.fixture
def connect(path: str) -> Iterator[Callable[..., kombu.Connection]]:
    """Open connections to the broker in ``path``; closed after the test."""
    opened: list[kombu.Connection] = []

    def connect(**options: Any) -> kombu.Connection:
        opened.append(local(path, **options))
        opened[-1].connect()
        return opened[-1]

    yield connect
    for connection in opened:
        connection.release()


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    """Start processes; killed after the test."""
    started: list[Process] = []

    def start(code: str, *argv: str) -> Process:
        started.append(Process(code, *argv))
        return started[-1]

    yield start
    for process in started:
        process.kill()
