"""What every broker at which names can be claimed must do: one suite over local, memory and Redis.

And that the others say why they cannot.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier, Thread

import pytest

from bus.wire import Broker, demand_place, parse_url
from protocol.claim import Found, Wanted, claim_name
from protocol.errors import ConfigurationError
from tests import brokers
from tests.processes import wait_until

LONG = 600.0  # seconds
SHORT = 0.2
ROUNDING = 1e-6  # seconds: of a sum of clock and lifetime


@pytest.fixture(params=["local", "memory", pytest.param("redis", marks=pytest.mark.redis)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "redis":
        return brokers.demand(brokers.REDIS_URL)
    return "memory://" if request.param == "memory" else f"local://{tmp_path}/broker"


@contextmanager
def connected(url: str, **options: object) -> Iterator[Broker]:
    broker = Broker(parse_url(url, options))
    broker.open()
    try:
        yield broker
    finally:
        broker.close()


def claim(broker: Broker, name: str, value: str, lifetime: float = LONG) -> Found:
    (found,) = broker.claim([Wanted(name, value, lifetime)])
    assert found is not None
    return found


def test_who_is_first_has_it_and_the_others_see_whose_it_is(url: str, exchange: str) -> None:
    name = claim_name(exchange, "key")
    with connected(url) as one, connected(url) as other:
        mine = claim(one, name, "one")
        assert mine.value == "one"
        assert mine.left is not None
        assert LONG - 10 < mine.left <= LONG + ROUNDING
        theirs = claim(other, name, "other", 2 * LONG)
        assert theirs.value == "one"
        assert theirs.left is not None
        assert theirs.left <= LONG


def test_to_claim_again_finds_ones_own_and_prolongs_nothing(url: str, exchange: str) -> None:
    name = claim_name(exchange, "key")
    with connected(url) as broker:
        claim(broker, name, "one", LONG)
        again = claim(broker, name, "one", 10 * LONG)
        assert again.value == "one"
        assert again.left is not None
        assert again.left <= LONG


def test_a_claim_ends_after_its_seconds_and_outlives_its_connection(
    url: str, exchange: str
) -> None:
    name = claim_name(exchange, "key")
    with connected(url) as broker:
        claim(broker, claim_name(exchange, "long"), "one")
        claim(broker, name, "one", SHORT)
    with connected(url) as broker:
        assert claim(broker, claim_name(exchange, "long"), "other").value == "one"
        wait_until(lambda: claim(broker, name, "other").value == "other", "its end")


def test_only_the_value_that_is_there_is_taken_back(url: str, exchange: str) -> None:
    name = claim_name(exchange, "key")
    with connected(url) as broker:
        broker.release(name, "one")  # there is nothing
        claim(broker, name, "one")
        broker.release(name, "other")
        assert claim(broker, name, "other").value == "one"
        broker.release(name, "one")
        assert claim(broker, name, "other").value == "other"


def test_a_list_of_claims_is_made_at_once_in_its_order(url: str, exchange: str) -> None:
    names = [claim_name(exchange, str(n)) for n in range(50)]
    with connected(url) as broker:
        claim(broker, names[7], "other")
        wanted = [Wanted(name, f"one {name}", LONG) for name in (*names, names[0])]
        found = broker.claim(wanted)
        assert [each and each.value for each in found] == [
            "other" if name == names[7] else f"one {name}" for name in (*names, names[0])
        ]


def test_keys_of_any_text_are_told_apart(url: str, exchange: str) -> None:
    keys = [
        "a",
        "A",
        "a ",
        " a",
        "a:b",
        "ä",
        "a\u0308",
        "\x00",
        "\ud800",
        "\n",
        "*",
        "'",
        "k" * 200,
    ]
    with connected(url) as broker:
        for n, key in enumerate(keys):
            assert claim(broker, claim_name(exchange, key), str(n)).value == str(n)
        for n, key in enumerate(keys):
            assert claim(broker, claim_name(exchange, key), "x").value == str(n)


def test_of_threads_that_claim_at_once_one_has_each(url: str, exchange: str) -> None:
    names = [claim_name(exchange, str(n)) for n in range(100)]
    start = Barrier(8)
    won: list[str] = []

    def race(me: str) -> None:
        with connected(url) as broker:
            start.wait(30)
            won.extend(name for name in names if claim(broker, name, me).value == me)

    threads = [Thread(target=race, args=(str(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert Counter(won) == Counter(names)


_RACER = """
import sys
from bus.wire import Broker, parse_url
from protocol.claim import Wanted, claim_name
url, exchange, me = sys.argv[1:]
broker = Broker(parse_url(url))
broker.open()
print("ready", flush=True)
sys.stdin.readline()
for n in range(1000):
    (found,) = broker.claim([Wanted(claim_name(exchange, str(n)), me, 600.0)])
    if found.value == me:
        print(n)
broker.close()
"""


def test_of_processes_that_race_for_a_thousand_one_has_each(
    url: str, exchange: str, task_folder: Path
) -> None:
    if url == "memory://":
        pytest.skip("memory:// lives in one process")
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", _RACER, url, exchange, me],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for me in ("one", "other")
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = [int(n) for racer in racers for n in racer.communicate(timeout=60)[0].split()]
    assert sorted(won) == list(range(1000))


@pytest.mark.parametrize("url", ["amqp://localhost//", "filesystem:///tmp/post"])
def test_where_nothing_can_be_claimed_it_is_said_why_and_what_to_do(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"unique_for=60 cannot be had on .*: use|; use"):
        demand_place(parse_url(url), "unique_for=60")


def test_a_prefix_of_keys_on_redis_is_kept(redis_url: str, exchange: str) -> None:
    """kombu adds it for some commands only."""
    name = claim_name(exchange, "key")
    with (
        connected(redis_url, global_keyprefix=f"{exchange}/") as mine,
        connected(redis_url) as all_,
    ):
        assert claim(mine, name, "one").value == "one"
        assert claim(mine, name, "other").value == "one"
        assert claim(all_, name, "other").value == "other"
        assert claim(all_, f"{exchange}/{name}", "other").value == "one"
        mine.release(name, "one")
        assert claim(mine, name, "again").value == "again"


def test_something_else_under_the_name_is_seen_as_it_is(redis_url: str, exchange: str) -> None:
    """With no end, if it has none; and no more of it is read than a claim can be."""
    name = claim_name(exchange, "key")
    with connected(redis_url) as broker:
        client = broker._channel._commands
        client.set(name, "x" * 100_000)
        assert claim(broker, name, "one") == Found("x" * 4096, None)
        client.set(name, b"\xff")
        assert claim(broker, name, "one") == Found("�", None)
