"""A key among executors: on_conflict within one, unique_for among all on one broker."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bus.news.journal import Journal
from bus.wire import Broker, parse_url
from bus.wire.testing import TcpProxy
from executor import Executor
from executor.future import Future
from executor.request import Order
from executor.turn import Open
from protocol.claim import Claim, Found, Wanted, claim_name
from protocol.errors import (
    BrokerUnavailable,
    ConfigurationError,
    ExecutorClosed,
    JournalError,
    KeyTaken,
)
from protocol.events import Ended, Submitted
from protocol.messages import Request
from tests import brokers
from tests.executor.test_future import House
from tests.processes import DEADLINE, wait_until

LONG = 600.0  # seconds


@pytest.fixture(params=["local", "memory", pytest.param("redis", marks=pytest.mark.redis)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "redis":
        return brokers.demand(brokers.REDIS_URL)
    return "memory://" if request.param == "memory" else f"local://{tmp_path}/broker"


@pytest.fixture
def two(url: str, exchange: str) -> Iterator[tuple[Executor, Executor]]:
    """Executors on one broker, without a worker: whatever is submitted waits."""
    with (
        Executor(url, exchange=exchange, name="one") as one,
        Executor(url, exchange=exchange, name="other") as other,
    ):
        yield one, other
        one.shutdown(cancel_futures=True)
        other.shutdown(cancel_futures=True)


def claim(url: str, exchange: str, key: str, claimed: Claim) -> Found | None:
    """As an executor that is gone has left it."""
    broker = Broker(parse_url(url))
    broker.open()
    try:
        return broker.claim([Wanted(claim_name(exchange, key), claimed.to_text(), LONG)])[0]
    finally:
        broker.close()


# on_conflict ------------------------------------------------------------------------------------


def test_a_taken_key_is_rejected_and_it_is_said_by_whom(lonely: Executor) -> None:
    first = lonely.options(key="k", on_conflict="reject").submit("m.task", 1)
    for arguments in ((1,), (2,)):
        with pytest.raises(KeyTaken, match="which is WAITING") as caught:
            lonely.options(key="k", on_conflict="reject").submit("m.task", *arguments)
        found = caught.value
        assert (found.key, found.request_uuid, found.task) == ("k", first.uuid, "m.task")
        assert (found.state, found.until) == ("WAITING", None)
        assert first.uuid in str(found)
        assert vars(pickle.loads(pickle.dumps(found))) == vars(found)
    assert lonely.options(key="k").submit("m.task", 1) is first
    assert lonely.options(key="k", on_conflict="join").submit("m.task", 1) is first
    assert lonely.open_requests() == [first]


def test_what_has_ended_has_its_key_and_what_was_cancelled_has_left_it(own_pool: Executor) -> None:
    rejecting = own_pool.options(on_conflict="reject")
    rejecting.options(key="good").submit(abs, -1).result(DEADLINE)
    bad = rejecting.options(key="bad").submit("operator.truediv", 1, 0)
    assert isinstance(bad.exception(DEADLINE), ZeroDivisionError)
    for key, state in (("good", "SUCCESS"), ("bad", "FAILURE")):
        with pytest.raises(KeyTaken) as caught:
            rejecting.options(key=key).submit(abs, -1)
        assert caught.value.state == state
    gone = rejecting.options(key="gone").submit("nobody.offers.this")
    assert gone.cancel()
    assert rejecting.options(key="gone").submit(abs, -3).result(DEADLINE) == 3


def test_one_that_runs_is_said_to_run(own_pool: Executor) -> None:
    rejecting = own_pool.options(key="k", on_conflict="reject")
    running = rejecting.submit(time.sleep, 0.5)
    wait_until(running.running, "it to run")
    with pytest.raises(KeyTaken) as caught:
        rejecting.submit(time.sleep, 0.5)
    assert caught.value.state in ("RUNNING", "SUCCESS")


def test_a_journal_rejects_after_a_restart_as_before(tmp_path: Path, exchange: str) -> None:
    path = tmp_path / "journal"
    body = Request("m.task").to_body()
    with Journal(path, "me") as journal:
        journal.append([Submitted("u1", "m.task", body, ["default"], key="open")])
        journal.append([Submitted("u2", "m.task", body, ["default"], key="ended")])
        journal.append([Ended("u2", "success", 1, "hare")])
    with Executor("memory://", exchange=exchange, name="me", journal=path) as executor:
        for key, uuid, state in (("open", "u1", "WAITING"), ("ended", "u2", "SUCCESS")):
            with pytest.raises(KeyTaken, match=uuid) as caught:
                executor.options(key=key, on_conflict="reject").submit("m.task")
            assert caught.value.state == state
        executor.shutdown(cancel_futures=True)


@pytest.mark.parametrize("word", ["Join", "", "ignore", 1])
def test_another_word_is_refused(lonely: Executor, word: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"on_conflict=.*choose from \['join', 'reject'\]"):
        lonely.options(key="k", on_conflict=word)


# unique_for ---------------------------------------------------------------------------------------


def test_another_executor_is_told_who_has_the_key_and_until_when(
    two: tuple[Executor, Executor],
) -> None:
    one, other = two
    first = one.options(key="k", unique_for=LONG).submit("m.task", 1)
    now = time.time()
    for how in ("join", "reject"):
        with pytest.raises(KeyTaken, match=rf"by one\.\w{{8}}, for request {first.uuid}") as caught:
            other.options(key="k", unique_for=60, on_conflict=how).submit(  # type: ignore[arg-type]
                "m.task", 1
            )
        found = caught.value
        assert found.executor.startswith("one.")
        assert (found.request_uuid, found.task) == (first.uuid, "m.task")
        assert found.state == ""
        assert found.until is not None
        assert now + LONG - 30 < found.until < now + LONG + 30
    assert not other.open_requests()
    assert other.options(key="l", unique_for=LONG).submit("m.task", 1) in other.open_requests()


def test_within_one_executor_its_own_rules_go_first(two: tuple[Executor, Executor]) -> None:
    one, _ = two
    unique = one.options(key="k", unique_for=LONG)
    first = unique.submit("m.task", 1)
    assert unique.submit("m.task", 1) is first
    assert one.options(key="k").submit("m.task", 1) is first
    with pytest.raises(ConfigurationError, match="a key names one call"):
        unique.submit("m.task", 2)
    with pytest.raises(KeyTaken, match="which is WAITING"):
        unique.options(on_conflict="reject").submit("m.task", 1)


def test_who_does_not_ask_for_it_is_not_held_up(two: tuple[Executor, Executor]) -> None:
    """It is a rule among those that ask for it."""
    one, other = two
    one.options(key="k", unique_for=LONG).submit("m.task")
    other.options(key="k").submit("m.task")


def test_another_exchange_has_keys_of_its_own(url: str, exchange: str) -> None:
    for name in (exchange, f"{exchange}.b"):
        with Executor(url, exchange=name) as executor:
            executor.options(key="k", unique_for=LONG).submit("m.task")
            executor.shutdown(cancel_futures=True)


def test_the_claim_stays_for_its_seconds_and_no_longer(url: str, exchange: str) -> None:
    """Though its request has ended, and its executor as well."""
    with Executor(url, exchange=exchange, name="one") as one:
        short = one.options(key="short", unique_for=1.0).submit("m.task")
        one.options(key="long", unique_for=LONG).submit("m.task")
        one.shutdown(cancel_futures=True)
    with Executor(url, exchange=exchange, name="other") as other:
        with pytest.raises(KeyTaken):
            other.options(key="long", unique_for=LONG).submit("m.task")

        def is_free() -> bool:
            try:
                other.options(key="short", unique_for=LONG).submit("m.task")
            except KeyTaken as error:
                assert error.request_uuid == short.uuid
                return False
            return True

        wait_until(is_free, "its seconds to be over")
        other.shutdown(cancel_futures=True)


def test_after_a_cancel_its_own_executor_may_and_no_other(two: tuple[Executor, Executor]) -> None:
    one, other = two
    first = one.options(key="k", unique_for=LONG).submit("m.task", 1)
    assert first.cancel()
    with pytest.raises(KeyTaken, match=first.uuid):
        other.options(key="k", unique_for=LONG).submit("m.task", 1)
    second = one.options(key="k", unique_for=LONG).submit("m.task", 2)
    assert second is not first
    with pytest.raises(KeyTaken, match=second.uuid):
        other.options(key="k", unique_for=LONG).submit("m.task", 1)


def test_of_many_threads_of_two_executors_one_submits(two: tuple[Executor, Executor]) -> None:
    def submit(n: int) -> Future[Any] | None:
        try:
            return two[n % 2].options(key=f"{n % 10}", unique_for=LONG).submit("m.task", 1)
        except KeyTaken:
            return None

    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(submit, range(200)))
    submitted = {future for future in found if future is not None}
    assert len(submitted) == 10
    assert submitted == {*two[0].open_requests(), *two[1].open_requests()}


def test_what_was_not_submitted_after_all_leaves_the_key(
    url: str, exchange: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(journal: Journal, events: Any) -> None:
        raise JournalError("no space left on device")

    journal = tmp_path / "journal"
    with (
        Executor(url, exchange=exchange, name="one", journal=journal) as one,
        Executor(url, exchange=exchange, name="other") as other,
    ):
        with monkeypatch.context() as patched:
            patched.setattr(Journal, "append", full)
            with pytest.raises(JournalError, match="no space left"):
                one.options(key="k", unique_for=LONG).submit("m.task")
            with pytest.raises(JournalError, match="no space left"):
                one.options(key="own", unique_for=LONG).submit("m.task")

        def is_free() -> bool:
            try:
                return bool(other.options(key="k", unique_for=LONG).submit("m.task"))
            except KeyTaken:
                return False

        wait_until(is_free, "it to be given back")
        one.options(key="own", unique_for=LONG).submit("m.task")
        with pytest.raises(KeyTaken):
            one.options(key="k", unique_for=LONG).submit("m.task")
        for each in (one, other):
            each.shutdown(cancel_futures=True)


def test_after_a_kill_between_the_claim_and_the_line_the_journals_executor_goes_on(
    url: str, exchange: str, tmp_path: Path
) -> None:
    """Its journal has all that the earlier incarnation has written, and nothing of that request."""
    journal = tmp_path / "journal"
    with Journal(journal, "me") as before:
        claim(url, exchange, "k", Claim(before.identity, 1, "u1", "m.task"))
    claim(url, exchange, "l", Claim("you", 1, "u2", "m.task"))
    with Executor(url, exchange=exchange, name="me", journal=journal) as executor:
        future = executor.options(key="k", unique_for=LONG).submit("m.task")
        assert executor.open_requests() == [future]
        with pytest.raises(KeyTaken, match=r"claimed on .* by you, for request u2"):
            executor.options(key="l", unique_for=LONG).submit("m.task")
        executor.shutdown(cancel_futures=True)


def test_without_a_journal_nobody_knows_what_an_earlier_one_has_submitted(
    url: str, exchange: str
) -> None:
    claim(url, exchange, "k", Claim("me", 1, "u1", "m.task"))
    with (
        Executor(url, exchange=exchange, name="me") as executor,
        pytest.raises(KeyTaken, match="by me, for request u1"),
    ):
        executor.options(key="k", unique_for=LONG).submit("m.task")


def test_what_the_journal_may_have_forgotten_has_its_key(exchange: str, tmp_path: Path) -> None:
    """The claim is of the very incarnation in which the oldest file was begun, or before it."""
    journal = tmp_path / "journal"
    with Executor("memory://", exchange=exchange, name="me", journal=journal) as before:
        claim("memory://", exchange, "k", Claim(before._engine.id, 0, "u1", "m.task"))
    with (
        Executor("memory://", exchange=exchange, name="me", journal=journal) as executor,
        pytest.raises(KeyTaken, match="by this executor itself, for request u1"),
    ):
        executor.options(key="k", unique_for=LONG).submit("m.task")


def test_what_a_stranger_has_written_breaks_no_line(exchange: str) -> None:
    claim("memory://", exchange, "k", Claim("you\n", 1, "u1\x1b[31m", "m.\ud800"))
    with (
        Executor("memory://", exchange=exchange) as executor,
        pytest.raises(KeyTaken, match=r"by 'you\\n', for request 'u1\\x1b\[31m'") as caught,
    ):
        executor.options(key="k", unique_for=LONG).submit("m.task")
    assert str(caught.value).isprintable()


def test_a_value_that_no_executor_has_written_is_told_as_that(
    redis_url: str, exchange: str
) -> None:
    broker = Broker(parse_url(redis_url))
    broker.open()
    broker._channel._commands.set(claim_name(exchange, "k"), "mine!")
    broker.close()
    with Executor(redis_url, exchange=exchange) as executor:
        with pytest.raises(KeyTaken, match=r"that no executor makes so.*delete it there") as caught:
            executor.options(key="k", unique_for=LONG).submit("m.task")
        assert caught.value.until is None


def test_nor_is_one_that_lasts_for_ages_an_executors(redis_url: str, exchange: str) -> None:
    value = Claim("you", 1, "u1", "m.task").to_text()
    broker = Broker(parse_url(redis_url))
    broker.open()
    broker._channel._commands.set(claim_name(exchange, "k"), value, px=1 << 62)
    broker.close()
    with (
        Executor(redis_url, exchange=exchange) as executor,
        pytest.raises(KeyTaken, match="that no executor makes so"),
    ):
        executor.options(key="k", unique_for=LONG).submit("m.task")


def test_without_a_key_there_is_nothing_to_be_unique(lonely: Executor) -> None:
    once = lonely.options(unique_for=60)
    with pytest.raises(ConfigurationError, match="unique_for=60 and no key"):
        once.submit("m.task")
    assert not lonely.open_requests()
    future = once.options(key="k").submit("m.task")
    assert lonely.open_requests() == [future]


@pytest.mark.parametrize("seconds", [0, -1, 0.0001, float("nan"), float("inf"), 1e12, True, "60"])
def test_seconds_that_no_claim_can_last_are_refused(lonely: Executor, seconds: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"unique_for=.*: seconds from submit"):
        lonely.options(key="k", unique_for=seconds)


def test_where_a_broker_cannot_it_is_said_before_anything_is_submitted(
    amqp_url: str, exchange: str, tmp_path: Path
) -> None:
    with Executor(amqp_url, exchange=exchange) as executor:
        with pytest.raises(ConfigurationError, match="RabbitMQ keeps messages only") as caught:
            executor.options(key="k", unique_for=60)
        assert "use redis:// or local://" in str(caught.value)
    folder = f"filesystem://{tmp_path}/post"
    with (
        Executor(folder, exchange=exchange, dialects=["taskflow"]) as executor,
        pytest.raises(ConfigurationError, match="no place for a claim"),
    ):
        executor.options(key="k", unique_for=60)


@pytest.fixture
def proxied(redis_url: str) -> Iterator[TcpProxy]:
    parts = urlsplit(redis_url)
    with TcpProxy(parts.hostname or "", parts.port or 6379) as proxy:
        yield proxy


def test_while_the_broker_is_away_nothing_is_submitted(
    proxied: TcpProxy, redis_url: str, exchange: str
) -> None:
    with Executor(proxied.url(redis_url), exchange=exchange) as executor:
        unique = executor.options(key="k", unique_for=LONG)
        proxied.refuse()
        proxied.reset()
        with pytest.raises(BrokerUnavailable, match="nothing was submitted"):
            unique.submit("m.task")
        assert not executor.open_requests()
        plain = executor.submit("m.task")  # it waits, as ever
        proxied.heal()
        assert executor.open_requests() == [plain]
        wait_until(lambda: executor._engine._listener.is_consuming, "the broker's return")
        assert unique.submit("m.task") in executor.open_requests()
        executor.shutdown(cancel_futures=True)


def test_who_waits_for_the_broker_holds_up_nobody_else(
    proxied: TcpProxy, redis_url: str, exchange: str
) -> None:
    """Nor does the keeper wait. Those with the same key do, and join what there is then."""
    with (
        Executor(proxied.url(redis_url), exchange=exchange) as executor,
        ThreadPoolExecutor(4) as threads,
    ):
        executor.options(key="first", unique_for=LONG).submit("m.task")
        proxied.blackhole()
        unique = executor.options(key="k", unique_for=LONG)
        waiting = [threads.submit(unique.submit, "m.task") for _ in range(2)]
        wait_until(lambda: "k" in executor._engine._door._claiming, "it to be on its way")
        also = threads.submit(executor.options(key="k").submit, "m.task")
        assert executor.submit("m.task") in executor.open_requests()
        assert executor.options(key="other").submit("m.task") in executor.open_requests()
        assert executor.workers() == []
        assert not any(each.done() for each in (*waiting, also))
        proxied.heal()
        (future,) = {each.result(DEADLINE) for each in (*waiting, also)}
        assert future in executor.open_requests()
        executor.shutdown(cancel_futures=True)


def test_a_shutdown_in_the_middle_leaves_neither_a_request_nor_a_claim(
    proxied: TcpProxy, redis_url: str, exchange: str
) -> None:
    executor = Executor(proxied.url(redis_url), exchange=exchange)
    executor.options(key="first", unique_for=LONG).submit("m.task").cancel()
    proxied.latency(0.2)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(executor.options(key="k", unique_for=LONG).submit, "m.task")
        wait_until(lambda: "k" in executor._engine._door._claiming, "it to be on its way")
        executor.shutdown()
        with pytest.raises((ExecutorClosed, BrokerUnavailable)):
            waiting.result(DEADLINE)
    mine = claim(redis_url, exchange, "k", Claim("me", 1, "u1", "m.task"))
    assert mine is not None
    assert '"me"' in mine.value


def test_from_inside_of_a_submission_with_the_same_key_it_is_refused(lonely: Executor) -> None:
    """As a signal handler would, on the very thread that is to finish it."""
    door = lonely._engine._door
    body = Request("m.task").to_body()
    refused: list[KeyTaken] = []

    def make(uuid: str) -> tuple[Order, Open]:
        order = Order(uuid, "m.task", b"{}", ("default",), key="k")
        return order, Open(Future(uuid, "m.task", House()))

    def interrupted() -> Any:
        if door._claiming and not refused:
            with pytest.raises(KeyTaken, match="by a signal handler or a finalizer") as caught:
                door.submit(*make("u2"), lambda: body)
            refused.append(caught.value)
        return body

    future = door.submit(*make("u1"), interrupted, "join", LONG)
    assert refused[0].request_uuid == future.uuid == "u1"
    assert not door._claiming
    lonely._engine._requests.open["u1"].future.withdraw()
