"""What is said of a broker that answers, and does not let us in. TLS: ``tests/stories``."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import pytest

from bus.wire import Broker, parse_url
from bus.wire.testing import PrivateRedis
from protocol.errors import BrokerUnavailable
from tests import brokers

USER = "it is running, and does not know this user and password: correct them in the URL"
PLACE = "it is running, and does not let us into what stands after its host and port in the URL"


def said_of(url: str) -> str:
    """Why there is no connection."""
    with pytest.raises(BrokerUnavailable) as raised:
        Broker(parse_url(url)).open()
    return str(raised.value)


def changed(url: str, *, login: str | None = None, path: str | None = None) -> str:
    """The same broker, as another user or in another place there."""
    parts = urlsplit(url)
    known, _, host = parts.netloc.rpartition("@")
    known = known if login is None else login
    netloc = f"{known}@{host}" if known else host
    return urlunsplit(parts._replace(netloc=netloc, path=parts.path if path is None else path))


@pytest.mark.parametrize("login", ["", ":wrong@", "nobody:wrong@"])
def test_a_redis_that_wants_another_password_is_said_to_run(
    private_redis: PrivateRedis, login: str
) -> None:
    assert private_redis.command("CONFIG", "SET", "requirepass", "right") == b"+OK"
    said = said_of(f"redis://{login}127.0.0.1:{private_redis.port}/0")
    assert USER in said
    assert "wrong" not in said


@pytest.mark.redis
@pytest.mark.parametrize("path", ["/100000", "/none"])
def test_a_redis_without_that_database_is_said_to_run(path: str) -> None:
    assert PLACE in said_of(changed(brokers.demand(brokers.REDIS_URL), path=path))


@pytest.mark.rabbitmq
def test_a_rabbitmq_that_wants_another_password_is_said_to_run() -> None:
    said = said_of(changed(brokers.demand(brokers.AMQP_URL), login="nobody:wrong"))
    assert USER in said
    assert "wrong" not in said


@pytest.mark.rabbitmq
def test_a_rabbitmq_without_that_virtual_host_is_said_to_run() -> None:
    assert PLACE in said_of(changed(brokers.demand(brokers.AMQP_URL), path="/none-such"))
