"""What every test may ask for: brokers, an exchange of its own, a folder of its own."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import protocol
from tests import brokers, processes

_numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    """Keep the developer's own settings of Taskline out of the tests."""
    # What a shell starts in the background ignores Ctrl-C, and so would all that the tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in list(os.environ):
        if name.startswith("TASKLINE_") and not name.startswith(("TASKLINE_TEST_", "TASKLINE_REQ")):
            del os.environ[name]


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Which Taskline is tested, and what some tests will be skipped for."""
    lines = [f"taskline {protocol.__version__} in {Path(protocol.__file__).parent.parent}"]
    absent = [brokers.missing(url) for url in (brokers.REDIS_URL, brokers.AMQP_URL)]
    return lines + [f"missing: {sentence}" for sentence in absent if sentence]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a server by the fixtures it asks for."""
    for item in items:
        asked = getattr(item, "fixturenames", ())
        if "redis_url" in asked:
            item.add_marker(pytest.mark.redis)
        if "amqp_url" in asked:
            item.add_marker(pytest.mark.rabbitmq)


@pytest.fixture
def redis_url() -> str:
    """A Redis that answers."""
    return brokers.demand(brokers.REDIS_URL)


@pytest.fixture
def amqp_url() -> str:
    """A RabbitMQ that answers."""
    return brokers.demand(brokers.AMQP_URL)


@pytest.fixture
def local_path(tmp_path: Path) -> Path:
    """A folder for the embedded broker, not there yet."""
    return tmp_path / "broker"


@pytest.fixture(
    params=[
        "local",
        "memory",
        pytest.param("redis", marks=pytest.mark.redis),
        pytest.param("amqp", marks=pytest.mark.rabbitmq),
    ]
)
def broker_url(request: pytest.FixtureRequest, local_path: Path) -> str:
    """Each of the four brokers in turn."""
    if request.param == "redis":
        return brokers.demand(brokers.REDIS_URL)
    if request.param == "amqp":
        return brokers.demand(brokers.AMQP_URL)
    return f"local://{local_path}" if request.param == "local" else "memory://"


@pytest.fixture
def exchange() -> str:
    """The name of an exchange of this test's own; whatever is named after it goes at the end."""
    return f"{brokers.PREFIX}{next(_numbers)}"


@pytest.fixture(scope="session", autouse=True)
def task_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder from which workers' own processes import ``tests…``; on our own path as well."""
    with processes.importable_tests(tmp_path_factory.mktemp("importable")) as folder:
        yield folder


@pytest.fixture(scope="session", autouse=True)
def _folders_of_our_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What Taskline keeps for its user (locks of names, the default broker) is not the tester's."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_process_is_left() -> Iterator[None]:
    """Whatever the tests have started ends with them, or the last of them fails."""
    with processes.marked() as mark:
        yield
    left = processes.left(mark)
    assert not left, "processes of these tests still ran, and were killed:\n" + "\n".join(left)


@pytest.fixture(scope="session", autouse=True)
def _brokers_left_as_found() -> Iterator[None]:
    """Sweep once, at the end: asking RabbitMQ for its names takes seconds."""
    yield
    if not brokers.missing(brokers.REDIS_URL):
        brokers.sweep_redis(brokers.PREFIX)
    if not brokers.missing(brokers.AMQP_URL):
        brokers.sweep_rabbitmq(brokers.PREFIX)
