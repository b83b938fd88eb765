"""The thread that claims names: deadlines, outages, and what is taken back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bus.wire import Broker, Claims, deadlines, parse_url
from bus.wire.testing import TcpProxy
from protocol.claim import Found, Wanted
from protocol.errors import BrokerUnavailable
from tests import brokers
from tests.processes import wait_until

LONG = 600.0  # seconds


@pytest.fixture
def name(exchange: str) -> str:
    return f"taskline.claim:{exchange}:key"


@pytest.fixture
def claims(broker: str) -> Iterator[Claims]:
    found = Claims(parse_url(broker), name="test-claims")
    yield found
    found.stop(5.0)


@pytest.fixture(params=["local", "memory", pytest.param("redis", marks=pytest.mark.redis)])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "redis":
        return brokers.demand(brokers.REDIS_URL)
    return "memory://" if request.param == "memory" else f"local://{tmp_path}/broker"


def look(url: str, name: str) -> str | None:
    """Who has it; None if it is free, which takes it for a moment."""
    broker = Broker(parse_url(url))
    broker.open()
    try:
        (found,) = broker.claim([Wanted(name, "looking", LONG)])
        broker.release(name, "looking")
        return None if found is None or found.value == "looking" else found.value
    finally:
        broker.close()


def test_nothing_is_connected_before_the_first_claim(broker: str) -> None:
    claims = Claims(parse_url(broker), name="test-claims")
    assert "test-claims" not in {thread.name for thread in threading.enumerate()}
    claims.release("name", "value")
    claims.stop(5.0)
    claims.stop(5.0)
    with pytest.raises(BrokerUnavailable, match="the executor is shut down"):
        claims.claim(Wanted("name", "value", LONG))


def test_many_threads_claim_and_each_is_told_its_own(claims: Claims, name: str) -> None:
    with ThreadPoolExecutor(16) as threads:
        wanted = [Wanted(f"{name}{n % 100}", f"{n}", LONG) for n in range(1000)]
        found = list(threads.map(claims.claim, wanted))
    winners = {one.name: each.value for one, each in zip(wanted, found, strict=True)}
    assert len(winners) == 100
    for one, each in zip(wanted, found, strict=True):
        assert each.value == winners[one.name]
        assert int(each.value) % 100 == int(one.value) % 100


def test_what_is_taken_back_is_free_for_the_next(claims: Claims, name: str) -> None:
    assert claims.claim(Wanted(name, "one", LONG)).value == "one"
    claims.release(name, "one")
    assert claims.claim(Wanted(name, "other", LONG)).value == "other"
    claims.release(name, "one")
    assert claims.claim(Wanted(name, "third", LONG)).value == "other"


def test_what_is_taken_back_last_is_so_when_it_has_stopped(
    claims: Claims, broker: str, name: str
) -> None:
    claims.claim(Wanted(name, "one", LONG))
    claims.release(name, "one")
    claims.stop(5.0)
    assert look(broker, name) is None
    assert "test-claims" not in {thread.name for thread in threading.enumerate()}


def test_without_a_broker_it_is_said_at_once(name: str) -> None:
    """And not after the caller's patience is over."""
    claims = Claims(parse_url("redis://127.0.0.1:1/0"), name="test-claims")
    began = time.monotonic()
    with pytest.raises(BrokerUnavailable, match=r"claiming a key at redis://127.0.0.1:1/0 failed"):
        claims.claim(Wanted(name, "one", LONG))
    assert time.monotonic() - began < deadlines.CLAIM_TIMEOUT
    claims.stop(5.0)


@pytest.fixture
def proxied(redis_url: str) -> Iterator[TcpProxy]:
    parts = urlsplit(redis_url)
    with TcpProxy(parts.hostname or "", parts.port or 6379) as proxy:
        yield proxy


@pytest.fixture
def far(proxied: TcpProxy, redis_url: str) -> Iterator[Claims]:
    """Claims over a line that can be cut."""
    claims = Claims(parse_url(proxied.url(redis_url)), name="test-claims")
    yield claims
    proxied.heal()
    claims.stop(5.0)


def test_a_line_that_broke_unnoticed_costs_nobody_anything(
    proxied: TcpProxy, far: Claims, name: str
) -> None:
    far.claim(Wanted(f"{name}1", "one", LONG))
    proxied.reset()
    assert far.claim(Wanted(name, "one", LONG)).value == "one"


def test_while_the_broker_is_away_each_claim_fails_and_goes_on_when_it_is_back(
    proxied: TcpProxy, far: Claims, name: str
) -> None:
    far.claim(Wanted(f"{name}1", "one", LONG))
    proxied.refuse()
    proxied.reset()
    for _ in range(2):
        with pytest.raises(BrokerUnavailable, match="nothing was submitted"):
            far.claim(Wanted(name, "one", LONG))
    proxied.heal()
    assert far.claim(Wanted(name, "other", LONG)).value == "other"


def test_a_claim_that_was_made_and_not_heard_of_is_taken_back(
    proxied: TcpProxy, far: Claims, redis_url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question arrives, and the answer does not: who tries again meets nobody."""
    far.claim(Wanted(f"{name}1", "one", LONG))
    monkeypatch.setattr(deadlines, "CLAIM_TIMEOUT", 0.5)
    proxied.one_way("up")
    with pytest.raises(BrokerUnavailable, match=r"it did not answer within"):
        far.claim(Wanted(name, "one", LONG))
    wait_until(lambda: look(redis_url, name) == "one", "the claim to be made")
    proxied.heal()
    proxied.reset()
    wait_until(lambda: look(redis_url, name) is None, "it to be taken back")
    monkeypatch.undo()
    assert far.claim(Wanted(name, "other", LONG)).value == "other"


def test_what_cannot_be_taken_back_is_said_at_the_end(
    proxied: TcpProxy, far: Claims, redis_url: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    far.claim(Wanted(name, "one", LONG))
    proxied.refuse()
    proxied.reset()
    far.release(name, "one")
    with caplog.at_level(logging.WARNING):
        far.stop(5.0)
    assert "1 keys could not be given back" in caplog.text
    assert look(redis_url, name) == "one"


def test_what_is_owed_is_bounded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bus.wire.claims.MAX_OWED", 3)
    claims = Claims(parse_url("redis://127.0.0.1:1/0"), name="test-claims")
    for n in range(5):
        with pytest.raises(BrokerUnavailable):
            claims.claim(Wanted(f"{name}{n}", "one", LONG))
    claims.stop(5.0)
    assert [owed for owed, _ in claims._owed] == [f"{name}{n}" for n in (2, 3, 4)]


def test_a_name_that_says_nothing_and_does_not_end_is_told_of(redis_url: str, name: str) -> None:
    """An empty value is no claim, and Redis does not set what is there."""
    broker = Broker(parse_url(redis_url))
    broker.open()
    broker._channel._commands.set(name, "")
    claims = Claims(parse_url(redis_url), name="test-claims")
    try:
        with pytest.raises(BrokerUnavailable, match="delete it there"):
            claims.claim(Wanted(name, "one", LONG))
        broker._channel._commands.delete(name)
        assert claims.claim(Wanted(name, "one", LONG)) == Found("one", LONG)
    finally:
        claims.stop(5.0)
        broker.close()


def test_an_idle_connection_is_closed(
    claims: Claims, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "CLAIM_IDLE", 0.05)
    claims.claim(Wanted(name, "one", LONG))
    wait_until(lambda: not claims._broker.is_open, "the connection to be closed")
    assert claims.claim(Wanted(name, "other", LONG)).value == "one"
