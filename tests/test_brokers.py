"""The tests' own brokers: a missing one is said by name, and nothing is left behind."""

from __future__ import annotations

import socket

import kombu
import pytest

from tests import brokers


@pytest.fixture
def closed_port() -> int:
    """A port of this machine at which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


@pytest.mark.parametrize(
    ("scheme", "what", "variable"),
    [
        ("redis", "Redis", "TASKLINE_TEST_REDIS_URL"),
        ("amqp", "RabbitMQ", "TASKLINE_TEST_AMQP_URL"),
    ],
)
def test_a_missing_broker_is_said_with_its_address_and_what_to_do(
    closed_port: int, scheme: str, what: str, variable: str
) -> None:
    sentence = brokers.missing(f"{scheme}://127.0.0.1:{closed_port}/")
    assert sentence is not None
    assert sentence.startswith(f"{what} does not answer at 127.0.0.1:{closed_port}: ")
    assert "refused" in sentence
    assert variable in sentence


def test_whatever_is_named_after_an_exchange_is_swept_from_redis(
    redis_url: str, exchange: str
) -> None:
    with kombu.Connection(redis_url) as connection:
        _declare(connection, exchange)
        brokers.sweep_redis(exchange)
        assert not list(connection.default_channel.client.scan_iter(f"*{exchange}*", count=1000))


@pytest.mark.slow
def test_whatever_is_named_after_an_exchange_is_swept_from_rabbitmq(
    amqp_url: str, exchange: str
) -> None:
    with kombu.Connection(amqp_url) as connection:
        _declare(connection, exchange)
        if not brokers._rabbitmq_names("queues", exchange):
            pytest.skip("rabbitmqctl cannot be used here, and AMQP does not list names")
        brokers.sweep_rabbitmq(exchange)
        assert not brokers._rabbitmq_names("queues", exchange)
        assert not brokers._rabbitmq_names("exchanges", exchange)


def _declare(connection: kombu.Connection, name: str) -> None:
    """A fan-out with a queue, and a queue with a message in it, all named after ``name``."""
    everybody = kombu.Exchange(f"{name}.native.call", "fanout", durable=True)
    channel = connection.default_channel
    kombu.Queue(f"{name}_bound", everybody, durable=True).bind(channel).declare()
    direct = kombu.Queue(f"{name}_full", durable=True).bind(channel)
    direct.declare()
    connection.Producer().publish({}, routing_key=direct.name)
