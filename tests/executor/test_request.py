"""What one request can tell by itself."""

from __future__ import annotations

import pytest

from executor.directory import Peer
from executor.request import KEPT_ATTEMPTS, Attempt, Request
from protocol.states import FAILURE, PENDING, RUNNING, WAITING
from tests.executor.peers import order

BOOT = "a" * 16


def attempt(number: int, peer: Peer, *, is_native: bool = True) -> Attempt:
    """A dispatch in PENDING."""
    ticket = peer.next_ticket(1) if is_native else None
    made = Attempt("u1", number, peer, ticket, sent=0.0, window=60.0)
    made.progress.advance(PENDING)
    return made


@pytest.fixture
def request_() -> Request:
    """Not dispatched yet."""
    return Request(order("u1"), 10.0)


@pytest.fixture
def worker() -> Peer:
    """A native worker process."""
    return Peer(BOOT, "native", "w")


def test_it_waits_until_it_is_dispatched_and_again_when_that_is_given_up(
    request_: Request, worker: Peer
) -> None:
    assert (request_.state, request_.current) == (WAITING, None)
    first = attempt(1, worker)
    request_.add(first)
    assert (request_.state, request_.current) == (PENDING, first)
    first.progress.advance(RUNNING)
    assert request_.state == RUNNING
    first.progress.advance(FAILURE)
    assert (request_.state, request_.current) == (WAITING, None)


def test_an_answer_is_found_by_process_and_ticket(request_: Request, worker: Peer) -> None:
    attempts = [attempt(1, worker), attempt(2, worker)]
    for one in attempts:
        request_.add(one)
    assert request_.find(BOOT, "1:1") is attempts[0]
    assert request_.find(BOOT, "1:2") is attempts[1]
    assert request_.find(BOOT, "1:3") is None
    assert request_.find("b" * 16, "1:1") is None
    assert request_.find(None, None) is None


def test_an_answer_without_a_header_is_about_the_attempt_at_taskflows_worker(
    request_: Request, worker: Peer
) -> None:
    request_.add(attempt(1, worker))
    theirs = attempt(2, Peer("topic", "taskflow", "topic"), is_native=False)
    request_.add(theirs)
    assert request_.find(None, None) is theirs


def test_an_attempt_is_open_under_its_ticket_or_the_uuid(worker: Peer) -> None:
    assert attempt(1, worker).handle == (1, 1)
    assert attempt(1, worker, is_native=False).handle == "u1"


def test_the_oldest_attempts_are_forgotten(request_: Request, worker: Peer) -> None:
    for number in range(1, KEPT_ATTEMPTS + 3):
        request_.add(attempt(number, worker))
    assert [one.number for one in request_.attempts] == list(range(3, KEPT_ATTEMPTS + 3))


@pytest.mark.parametrize(
    ("deadline", "is_over"), [(None, False), (19.9, True), (20.0, True), (20.1, False)]
)
def test_its_own_clock(request_: Request, deadline: float | None, is_over: bool) -> None:
    request_.deadline = deadline
    assert request_.has_expired(20.0) is is_over
