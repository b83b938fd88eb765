"""A RabbitMQ node of one's own: killed, started again, wiped, and never left behind."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import kombu
import pytest

from bus.wire.testing import PrivateRabbitMQ
from bus.wire.testing.servers import rabbitmq
from tests.private import demand
from tests.processes import is_alive, wait_until


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateRabbitMQ]:
    """One for all tests: a start takes seconds."""
    with demand(PrivateRabbitMQ()) as server:
        yield server


def keep(server: PrivateRabbitMQ) -> None:
    confirmed = {"confirm_publish": True}  # what is not may be lost with the node
    with kombu.Connection(server.url, transport_options=confirmed) as connection:
        queue = connection.SimpleQueue("kept", queue_opts={"durable": True})
        queue.put({"n": 1})
        queue.close()


def kept(server: PrivateRabbitMQ) -> list[str]:
    return server.control("list_queues", "name", "messages", "--no-table-headers").split()


@pytest.mark.slow
def test_it_is_a_node_of_its_own_that_clients_reach(server: PrivateRabbitMQ) -> None:
    assert server.is_running
    assert server.url == f"amqp://guest:guest@127.0.0.1:{server.port}//"
    with kombu.Connection(server.url, connect_timeout=20) as connection:
        connection.connect()
    assert server.control("list_queues", "name").strip() in ("", "name")


@pytest.mark.slow
def test_a_command_waits_for_a_node_that_is_still_starting(server: PrivateRabbitMQ) -> None:
    server.control("stop_app")
    starting = threading.Thread(target=server.control, args=("start_app",))
    starting.start()
    assert server.control("list_queues", "name").strip() in ("", "name")
    starting.join(60)


@pytest.mark.slow
def test_a_command_that_is_refused_says_what_was_said(server: PrivateRabbitMQ) -> None:
    with pytest.raises(RuntimeError, match="list_quarks"):
        server.control("list_quarks")


@pytest.mark.slow
def test_after_a_kill_it_has_what_is_durable_and_after_a_wipe_nothing(
    server: PrivateRabbitMQ,
) -> None:
    keep(server)
    pid, url = server.pid, server.url
    server.kill()
    assert not is_alive(pid)
    with pytest.raises(ConnectionRefusedError):
        server.answers()
    server.restart()
    assert server.url == url
    assert kept(server) == ["kept", "1"]
    server.terminate()
    assert not server.is_running
    server.wipe()
    server.restart()
    assert kept(server) == []


@pytest.mark.slow
def test_a_node_whose_script_was_killed_is_ended_all_the_same(server: PrivateRabbitMQ) -> None:
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not server.is_running, "the end of the script")
    assert server.answers()
    server.kill()
    with pytest.raises(ConnectionRefusedError):
        server.answers()
    server.start()


@pytest.mark.slow
def test_it_leaves_neither_its_epmd_nor_its_folder() -> None:
    server = demand(PrivateRabbitMQ())
    with server:
        folder, node = server.folder, server.pid
        assert server._epmd is not None
        epmd = server._epmd.pid
    assert not folder.exists()
    assert not is_alive(node)
    assert not is_alive(epmd)
    server.stop()


def test_where_its_programs_are_missing_it_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbitmq, "_SCRIPTS", "/nowhere")
    monkeypatch.setattr(rabbitmq, "_path", lambda: "/nowhere")
    sentence = PrivateRabbitMQ.missing()
    assert sentence is not None
    assert "rabbitmq-server and erl and epmd not found" in sentence
