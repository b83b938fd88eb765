"""The sentences of errors: what was done, what was found, what to do next."""

from __future__ import annotations

import pytest

from executor import words
from executor.directory import Directory
from executor.lanes import LaneKey, key_of
from executor.peer import Peer
from executor.request import Attempt, Request
from protocol.envelope import CAPS, STOPS
from protocol.states import RUNNING
from tests.executor.peers import Native, Taskflow, order

TOPICS = ("default",)


def heard(
    directory: Directory,
    name: str,
    now: float,
    *tasks: str,
    topic: str = "default",
    caps: tuple[str, ...] = (*CAPS, STOPS),
) -> None:
    """A native worker has answered."""
    answer = Native(name, topics=(topic,), caps=caps).answer(now, *tasks)
    directory.heard(topic, tasks, answer.envelope.header, now)


def key(task: str = "img.resize", *, named_only: bool = True, must_stop: bool = False) -> LaneKey:
    """What is looked for."""
    return LaneKey(task, TOPICS, named_only, must_stop, own_clock=False)


def request_(**how: object) -> Request:
    """The one they are about."""
    return Request(order("u1", "img.resize", **how), 10.0)  # type: ignore[arg-type]


def sent(request: Request, *, runs: bool = False, is_native: bool = True) -> Attempt:
    """To a worker heard from at 11."""
    peer = Peer("a" * 16, "native" if is_native else "taskflow", "w-1")
    peer.heard = 11.0
    ticket = peer.next_ticket(1) if is_native else None
    attempt = Attempt("u1", 1, peer, ticket, sent=12.0, window=60.0)
    attempt.dispatch()
    if runs:
        attempt.run()
    request.add(attempt)
    return attempt


# what is found ------------------------------------------------------------------------------------


def test_without_any_worker() -> None:
    found = words.describe(Directory(), key(), 60.0)
    assert found == "no worker has been heard from; start one with: python -m worker MODULE"


def test_a_name_that_nobody_offers_and_those_near_it() -> None:
    directory = Directory()
    heard(directory, "a", 58.0, "img.resize", "img.rotate", "mail.send")
    heard(directory, "b", 58.5, "img.resize")
    assert words.describe(directory, key("img.resizee"), 61.0) == (
        "heard from 2 workers, last 2.5 s ago; the nearest names they offer are img.resize, "
        "img.rotate; start a worker that offers it, or correct the name"
    )


def test_no_name_is_near() -> None:
    directory = Directory()
    heard(directory, "a", 60.0, *(f"package.module_{n}" for n in range(7)))
    assert words.describe(directory, key("zzz"), 61.0) == (
        "heard from 1 worker, last 1.0 s ago; they offer package.module_0, package.module_1, "
        "package.module_2, package.module_3, package.module_4 and 2 more; start a worker that "
        "offers it, or correct the name"
    )


def test_workers_that_offer_nothing() -> None:
    directory = Directory()
    heard(directory, "a", 60.0)
    assert "they offer nothing; start a worker" in words.describe(directory, key(), 61.0)


def test_another_topic_offers_it() -> None:
    directory = Directory()
    heard(directory, "a", 60.0, "img.resize", topic="gpu")
    assert words.describe(directory, key(), 61.0).endswith(
        "it is offered on topic gpu: submit to that topic, or start a worker with --topic default"
    )


def test_a_long_queue() -> None:
    """Before, it was told to submit to the topic it had been submitted to."""
    directory = Directory()
    heard(directory, "a", 5.0, "img.resize")
    (peer,) = directory
    peer.take(sent(request_()))
    assert words.describe(directory, key(), 8.0) == (
        "heard from 1 worker, last 3.0 s ago; 1 of them offers it, with 1 unfinished request of "
        "ours: give it a longer timeout, or start more workers"
    )


def test_only_taskflow_workers_offer_it_and_it_has_positional_arguments() -> None:
    directory = Directory()
    answer = Taskflow().answer("img.resize")
    directory.heard("default", ["img.resize"], answer.envelope.header, 5.0)
    assert words.describe(directory, key(named_only=False), 8.0).endswith(
        "only taskflow workers offer it, and they know arguments by name: name them, or start a "
        "worker of ours"
    )


def test_only_workers_that_cannot_keep_its_limit_offer_it() -> None:
    directory = Directory()
    heard(directory, "a", 5.0, "img.resize", caps=CAPS)
    assert words.describe(directory, key(must_stop=True), 8.0).endswith(
        "those that offer it cannot end a running task, so not keep its time limit: start a worker "
        "with --pool processes"
    )


# the errors ---------------------------------------------------------------------------------------


def test_expired_while_it_waited() -> None:
    error = words.expired(request_(), "nobody is there", 70.0)
    assert str(error) == (
        "request u1 (img.resize) expired after 60.0 s in WAITING, on topics ['default']: nobody is "
        "there"
    )
    assert (error.request_uuid, error.state) == ("u1", "WAITING")


def test_expired_where_it_was_sent() -> None:
    request = request_()
    native = sent(request)
    assert words.sent_in_vain(native, 20.0) == (
        "it was sent to w-1 8.0 s ago, which has not said that it started; give it a longer "
        "timeout, or start more workers"
    )
    theirs = sent(request_(), is_native=False)
    assert "and, being a taskflow worker, may still run it;" in words.sent_in_vain(theirs, 20.0)
    request.phase = "EXPIRING"
    native.never(is_newest=True)
    assert words.expired(request, "in vain", 20.0).state == "PENDING"


@pytest.mark.parametrize(
    ("mode", "is_native", "is_dead", "then"),
    [
        ("alo", True, False, "it is the attempt number 3 that ends like this"),
        ("amo", True, True, "it may have run, and at_most_once is never started twice"),
        ("alo", False, False, "a taskflow worker is not sent the same again"),
    ],
)
def test_lost_with_its_worker(mode: str, is_native: bool, is_dead: bool, then: str) -> None:
    request = request_(mode=mode)
    request.lost = 3
    attempt = sent(request, runs=True, is_native=is_native)
    attempt.peer.is_dead = is_dead
    assert attempt.progress.state == RUNNING
    error = words.worker_lost(request, attempt, 30.0)
    what = "its process has ended" if is_dead else "nothing was heard from there for 19.0 s"
    assert str(error) == (
        f"request u1 (img.resize) was sent to w-1 and is lost in RUNNING: {what}; {then}; look in "
        "the worker's own log for what ended it, then submit again"
    )
    assert error.request_uuid == "u1"


@pytest.mark.parametrize(
    ("mode", "then"),
    [
        ("alo", "it is the round number 9 that ends like this"),
        ("amo", "at_most_once is never started twice"),
    ],
)
def test_stopped_by_a_worker_that_went_down(mode: str, then: str) -> None:
    request = request_(mode=mode)
    request.rounds = 9
    assert str(words.stopped(request, sent(request))) == (
        f"request u1 (img.resize) ran on w-1, which went down before it was through; {then}; "
        "submit again, or let workers finish: python -m worker --drain-timeout SECONDS"
    )


def test_its_result_was_thrown_away() -> None:
    request = request_(mode="amo")
    error = words.result_lost(request, sent(request))
    assert str(error).startswith("request u1 (img.resize) ran on w-1, where its result was thrown")
    assert error.request_uuid == "u1"


@pytest.mark.parametrize(
    ("limit", "length"), [(2.5, "its time_limit of 2.5 s"), (None, "its time_limit")]
)
def test_longer_than_its_limit_the_requests_own_or_one_the_worker_knows(
    limit: float | None, length: str
) -> None:
    request = request_(time_limit=limit)
    assert f"for longer than {length} and was" in str(words.time_limit(request, sent(request)))


def test_a_limit_nobody_can_keep_names_who_offers_the_task() -> None:
    directory = Directory()
    for n in range(7):
        heard(directory, f"{n}" * 16, 5.0, "img.resize", caps=CAPS)
    request = request_(soft_time_limit=0.5)
    text = str(words.limit_refused(request, key_of(request), directory))
    assert "has soft_time_limit=0.5, which only" in text
    assert "and 2 more alone, where" in text


def test_what_private_workers_cannot_load() -> None:
    error = words.unloadable(request_(), "module m is not there")
    assert str(error) == "request u1 (img.resize) cannot run: module m is not there"


def test_cancelled_by_force() -> None:
    request = request_()
    assert str(words.cancelled(request)).endswith("with force=True while it ran")
    sent(request)
    assert str(words.cancelled(request)).endswith("with force=True while it ran on w-1")


def test_what_a_bad_answer_ends_in_reads_like_any_failure() -> None:
    assert "without a result" in words.no_result()["exception_str"]
    assert words.unreadable("json", "torn")["exception_str"] == (
        "the worker's answer was refused (json): torn"
    )
