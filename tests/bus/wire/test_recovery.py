"""How long until messages arrive again after a server was killed, again and again. Slow."""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from bus.wire import Dispatcher, Listener, Publisher, parse_url
from bus.wire.testing import PrivateRabbitMQ, PrivateRedis
from protocol.topology import Names
from tests.bus.wire.servers import DEADLINE, Collected, question

pytestmark = pytest.mark.slow

#: Seconds after the broker is back: the promise, which a busy machine may break now and then.
AGAIN = 5.0


@contextmanager
def traffic(url: str, names: Names) -> Iterator[tuple[Collected, Publisher]]:
    """A listener, and a publisher that sends it something 50 times a second."""
    heard = Collected()
    listener = Listener(
        parse_url(url),
        [names.inbox("a"), names.call_queue("a")],
        Dispatcher(at_worker=True),
        heard,
        on_consuming=heard.on_consuming,
        name="test-listener",
    )
    publisher = Publisher(parse_url(url), name="test-publisher")
    stopping = threading.Event()

    def send() -> None:
        for n in itertools.count():
            publisher.send([question(names.to_inbox("a"), f"{n}")])
            if stopping.wait(0.02):
                break

    sender = threading.Thread(target=send)
    listener.start()
    publisher.start()
    sender.start()
    try:
        yield heard, publisher
    finally:
        stopping.set()
        sender.join(DEADLINE)
        publisher.stop()
        listener.stop()


def seconds_until_heard(heard: Collected) -> float:
    """Until something new has come."""
    began = time.monotonic()
    heard.wait(len(heard.asked()) + 1)
    return time.monotonic() - began


@pytest.mark.timeout(300)
@pytest.mark.parametrize("end", [PrivateRedis.kill, PrivateRedis.terminate])
def test_redis_dies_ten_times(
    end: Callable[[PrivateRedis], None], private_redis: PrivateRedis, names: Names
) -> None:
    took = []
    with traffic(private_redis.url, names) as (heard, publisher):
        for n in range(10):
            seconds_until_heard(heard)
            end(private_redis)
            threading.Event().wait(0.2 * (n % 5))  # at each phase of the backoff
            private_redis.start()
            took.append(seconds_until_heard(heard))
        assert publisher.flush(DEADLINE)
    assert statistics.median(took) < AGAIN, took
    assert publisher.dropped == 0


@pytest.mark.timeout(300)
def test_rabbitmq_dies_three_times_and_nothing_is_lost(
    private_rabbitmq: PrivateRabbitMQ, names: Names
) -> None:
    """Seconds for each start of it."""
    took = []
    with traffic(private_rabbitmq.url, names) as (heard, publisher):
        for end in (PrivateRabbitMQ.kill, PrivateRabbitMQ.terminate, PrivateRabbitMQ.kill):
            seconds_until_heard(heard)
            end(private_rabbitmq)
            private_rabbitmq.start()
            took.append(seconds_until_heard(heard))
        assert publisher.flush(DEADLINE)
        said = [int(asker) for asker in heard.asked() if asker]
        heard.askers_until(str(max(said)))
    said = [int(asker) for asker in heard.asked() if asker]
    assert set(said) == set(range(max(said) + 1))
    assert statistics.median(took) < AGAIN, took
