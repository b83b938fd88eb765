"""When a cancelled or expired request can end, and who is told until then."""

from __future__ import annotations

import pytest

from executor import settling
from executor.peer import Peer
from executor.request import Attempt, Request
from protocol.envelope import CAPS, STOPS
from protocol.states import SUCCESS
from protocol.timing import CANCEL_RESENDS
from tests.executor.peers import order


def worker(name: str = "a", *caps: str, is_native: bool = True) -> Peer:
    """One that has announced these, or all kinds and that it can end a run."""
    peer = Peer(name * 16, "native" if is_native else "taskflow", name)
    peer.caps = frozenset(caps or (*CAPS, STOPS))
    return peer


def sent(request: Request, peer: Peer) -> Attempt:
    """One more attempt, in PENDING."""
    ticket = peer.next_ticket(1) if peer.is_native else None
    attempt = Attempt("u1", request.next_number, peer, ticket, sent=0.0, window=60.0)
    attempt.dispatch()
    request.add(attempt)
    return attempt


@pytest.fixture
def request_() -> Request:
    """Cancelled, and nothing was sent."""
    request = Request(order("u1"), 0.0)
    request.phase = "CANCELLING"
    return request


def test_what_was_never_sent_is_settled(request_: Request) -> None:
    assert settling.is_settled(request_)
    assert settling.to_be_told(request_) == []


def test_what_may_be_started_is_not_settled_until_that_is_disproved(request_: Request) -> None:
    attempt = sent(request_, worker())
    assert not settling.is_settled(request_)
    attempt.never(is_newest=True)
    assert settling.is_settled(request_)


def test_what_runs_is_settled_by_its_end_or_when_it_is_given_up(request_: Request) -> None:
    attempt = sent(request_, worker())
    attempt.run()
    assert not settling.is_settled(request_)
    attempt.give_up()
    assert settling.is_settled(request_)
    attempt.given_up = False
    attempt.end(SUCCESS)
    assert settling.is_settled(request_)


def test_what_runs_after_all_is_waited_for_as_well(request_: Request) -> None:
    first, second = sent(request_, worker("a")), sent(request_, worker("b"))
    first.run()
    second.never(is_newest=True)
    assert not settling.is_settled(request_)
    first.give_up()
    assert settling.is_settled(request_)


def test_every_attempt_ever_sent_counts_also_of_an_earlier_round(request_: Request) -> None:
    first = sent(request_, worker("a"))
    first.give_up()
    second = sent(request_, worker("b"))
    second.never(is_newest=True)
    request_.base = 3
    assert not settling.is_settled(request_)
    first.pass_start_by(is_newest=False)
    assert settling.is_settled(request_)


def test_an_attempt_that_was_followed_by_another_may_run_for_ever(request_: Request) -> None:
    first = sent(request_, worker("a"))
    first.run()
    first.give_up()
    sent(request_, worker("b")).never(is_newest=True)
    assert settling.is_settled(request_)


@pytest.mark.parametrize("runs", [False, True])
def test_what_was_sent_to_a_taskflow_worker_is_not_waited_for(
    request_: Request, runs: bool
) -> None:
    attempt = sent(request_, worker(is_native=False))
    if runs:
        attempt.run()
    assert settling.is_settled(request_)
    assert settling.to_be_told(request_) == []


def test_each_worker_process_that_may_start_it_is_told_once(request_: Request) -> None:
    one, other = worker("a"), worker("b")
    for peer in (one, other, one):
        sent(request_, peer).give_up()
    assert settling.to_be_told(request_) == [one, other]


def test_who_runs_it_is_told_only_to_end_it_and_only_if_it_can(request_: Request) -> None:
    peer = worker("a")
    sent(request_, peer).run()
    assert settling.to_be_told(request_) == []
    request_.is_forced = True
    assert settling.to_be_told(request_) == [peer]
    peer.caps = frozenset(CAPS)
    assert settling.to_be_told(request_) == []


def test_nobody_is_told_who_would_not_understand_or_has_ended(request_: Request) -> None:
    sent(request_, worker("a", "release"))
    dead = worker("b")
    dead.is_dead = True
    sent(request_, dead)
    assert settling.to_be_told(request_) == []


def test_they_are_told_again_ever_more_slowly(request_: Request) -> None:
    waits = []
    for request_.cancels in range(1, len(CANCEL_RESENDS) + 3):
        waits.append(settling.wait(request_))
    assert waits == [*CANCEL_RESENDS, CANCEL_RESENDS[-1], CANCEL_RESENDS[-1]]
