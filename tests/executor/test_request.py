"""What a word does to an attempt, cell by cell, and what one request can tell by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from executor.peer import Peer
from executor.request import KEPT_ATTEMPTS, Attempt, Request, start_by_passes
from protocol.errors import IllegalTransition
from protocol.states import FAILURE, PENDING, RUNNING, SUCCESS, WAITING
from protocol.tickets import Ticket
from protocol.timing import start_by_has_passed
from tests.executor.peers import order

BOOT = "a" * 16

# one attempt: native dialect, section 4 -----------------------------------------------------------

#: Per input, what becomes of an attempt in WAITING, PENDING, RUNNING, SUCCESS and FAILURE: its
#: state, ``+`` if it may still be started, ``given up``, and ``news`` if that changed anything.
TABLE: dict[str, tuple[str, str, str, str, str]] = {
    "dispatch chosen": ("PENDING+", "nonsense", "nonsense", "nonsense", "nonsense"),
    "RUNNING": ("nonsense", "RUNNING news", "RUNNING", "SUCCESS", "FAILURE"),
    "SUCCESS": ("nonsense", "SUCCESS news", "SUCCESS news", "SUCCESS", "FAILURE"),
    "FAILURE": ("nonsense", "FAILURE news", "FAILURE news", "SUCCESS", "FAILURE"),
    "an end of an earlier round": ("nonsense", "PENDING", "RUNNING", "SUCCESS", "FAILURE"),
    "never, newest": ("nonsense", "FAILURE news", "RUNNING given up news", "SUCCESS", "FAILURE"),
    "never, superseded": (
        "nonsense",
        "PENDING news",
        "RUNNING given up news",
        "SUCCESS",
        "FAILURE",
    ),
    "DROPPED": ("nonsense", "FAILURE news", "FAILURE news", "SUCCESS", "FAILURE"),
    "HELD lists it queued": ("nonsense", "PENDING+", "RUNNING", "SUCCESS", "FAILURE"),
    "lease out": ("–", "PENDING+ given up", "RUNNING given up", "–", "–"),
    "boot replaced": ("–", "PENDING given up", "RUNNING given up", "–", "–"),
    "start-by passed, waited for": ("–", "PENDING+", "RUNNING", "–", "–"),
    "start-by passed, superseded": ("–", "PENDING news", "RUNNING", "–", "–"),
    "start-by passed, given up": ("–", "PENDING given up news", "RUNNING given up", "–", "–"),
    "request resolved elsewhere": ("FAILURE", "FAILURE+", "FAILURE", "SUCCESS", "FAILURE"),
}


def _past(attempt: Attempt, *, is_newest: bool, given_up: bool) -> bool:
    attempt.given_up = given_up
    return attempt.pass_start_by(is_newest=is_newest)


INPUTS: dict[str, Callable[[Attempt], object]] = {
    "dispatch chosen": Attempt.dispatch,
    "RUNNING": Attempt.run,
    "SUCCESS": lambda attempt: attempt.end(SUCCESS),
    "FAILURE": lambda attempt: attempt.end(FAILURE),
    "an end of an earlier round": Attempt.fence,
    "never, newest": lambda attempt: attempt.never(is_newest=True),
    "never, superseded": lambda attempt: attempt.never(is_newest=False),
    "DROPPED": Attempt.drop,
    "HELD lists it queued": Attempt.queue,
    "lease out": Attempt.give_up,
    "boot replaced": lambda attempt: attempt.give_up(boot_is_gone=True),
    "start-by passed, waited for": lambda a: _past(a, is_newest=True, given_up=False),
    "start-by passed, superseded": lambda a: _past(a, is_newest=False, given_up=False),
    "start-by passed, given up": lambda a: _past(a, is_newest=True, given_up=True),
    "request resolved elsewhere": Attempt.close,
}
STATES = (WAITING, PENDING, RUNNING, SUCCESS, FAILURE)
CELLS = [(what, state) for what in TABLE for state in STATES]


def attempt_in(state: str) -> Attempt:
    """One at a native worker."""
    attempt = Attempt("u1", 1, Peer(BOOT, "native", "w"), Ticket(1, 1), sent=0.0, window=60.0)
    if state != WAITING:
        attempt.dispatch()
    if state not in (WAITING, PENDING):
        attempt.run()
    if state in (SUCCESS, FAILURE):
        attempt.end(state)
    return attempt


def seen(attempt: Attempt, came: object = None) -> str:
    """As the table has it."""
    words = [attempt.progress.state + "+" * attempt.startable]
    words += ["given up"] * attempt.given_up + ["news"] * (came is True)
    return " ".join(words)


def test_the_table_has_an_input_for_each_row() -> None:
    assert list(TABLE) == list(INPUTS)


@pytest.mark.parametrize(("what", "state"), CELLS, ids=[f"{w} in {s}" for w, s in CELLS])
def test_each_cell_of_the_table_of_one_attempt(what: str, state: str) -> None:
    expected = TABLE[what][STATES.index(state)]
    if expected == "–":
        return  # such an attempt is open nowhere: nobody asks
    attempt = attempt_in(state)
    before = seen(attempt)
    if expected == "nonsense":
        with pytest.raises(IllegalTransition):
            INPUTS[what](attempt)
        assert seen(attempt) == before
    else:
        assert seen(attempt, INPUTS[what](attempt)) == expected


def test_what_is_said_twice_is_news_once() -> None:
    attempt = attempt_in(PENDING)
    assert [attempt.run(), attempt.run()] == [True, False]
    assert [attempt.never(is_newest=True), attempt.never(is_newest=True)] == [True, False]
    other = attempt_in(PENDING)
    assert [other.never(is_newest=False), other.never(is_newest=False)] == [True, False]
    assert [other.end(SUCCESS), other.end(SUCCESS), other.drop()] == [True, False, False]


def test_a_taskflow_attempt_is_never_known_to_be_startable() -> None:
    attempt = Attempt("u1", 1, Peer("x", "taskflow", "x"), None, sent=0.0, window=60.0)
    attempt.dispatch()
    assert seen(attempt) == "PENDING"
    assert attempt.handle == "u1"
    assert attempt_in(PENDING).handle == (1, 1)


@pytest.mark.parametrize(("sent", "window"), [(0.0, 60.0), (12345.678901, 0.1), (1e9 + 0.1, 7.0)])
def test_a_start_by_has_passed_when_its_timer_wakes_and_not_a_tenth_of_a_second_before(
    sent: float, window: float
) -> None:
    when = start_by_passes(sent, window)
    assert start_by_has_passed(sent, window, when)
    assert not start_by_has_passed(sent, window, when - 0.1)


# one request --------------------------------------------------------------------------------------


def attempt(number: int, peer: Peer, *, is_native: bool = True) -> Attempt:
    """A dispatch in PENDING."""
    ticket = peer.next_ticket(1) if is_native else None
    made = Attempt("u1", number, peer, ticket, sent=0.0, window=60.0)
    made.dispatch()
    return made


@pytest.fixture
def request_() -> Request:
    """Not dispatched yet."""
    return Request(order("u1"), 10.0)


@pytest.fixture
def worker() -> Peer:
    """A native worker process."""
    return Peer(BOOT, "native", "w")


def test_it_waits_until_it_is_dispatched_and_again_when_that_is_over_or_given_up(
    request_: Request, worker: Peer
) -> None:
    assert (request_.state, request_.current) == (WAITING, None)
    first = attempt(1, worker)
    request_.add(first)
    assert (request_.state, request_.current) == (PENDING, first)
    first.run()
    assert request_.state == RUNNING
    first.give_up()
    assert (request_.state, request_.current, request_.newest) == (WAITING, None, first)
    assert first.is_running  # its worker may only have been silent
    first.given_up = False
    assert request_.current is first
    first.end(FAILURE)
    assert (request_.state, request_.current) == (WAITING, None)


def test_the_latest_before_the_newest_that_runs_and_is_not_given_up_is_its_elder(
    request_: Request, worker: Peer
) -> None:
    first, second, third = (attempt(number, worker) for number in (1, 2, 3))
    for one in (first, second, third):
        request_.add(one)
        assert request_.elder is None
    first.run()
    assert (request_.elder, request_.state) == (first, PENDING)
    second.run()
    assert request_.elder is second
    third.give_up()
    assert (request_.current, request_.elder, request_.state) == (None, second, RUNNING)
    second.give_up()
    assert request_.elder is first
    request_.base = 2
    assert (request_.elder, request_.state) == (None, WAITING)


def test_an_attempt_of_an_earlier_round_is_not_waited_for(request_: Request, worker: Peer) -> None:
    request_.add(attempt(1, worker))
    request_.base = request_.next_number
    assert (request_.newest, request_.current, request_.next_number) == (None, None, 2)


def test_an_answer_is_found_by_process_and_ticket_the_newest_of_several(
    request_: Request, worker: Peer
) -> None:
    attempts = [attempt(1, worker), attempt(2, worker)]
    for one in attempts:
        request_.add(one)
    first, second = (one.ticket for one in attempts)
    assert first is not None
    assert second is not None
    assert request_.find(BOOT, [first]) is attempts[0]
    assert request_.find(BOOT, [second]) is attempts[1]
    assert request_.find(BOOT, [first, second]) is attempts[1]
    assert request_.find(BOOT, [second, first]) is attempts[1]
    assert request_.find(BOOT, [Ticket(1, 3)]) is None
    assert request_.find(BOOT, []) is None
    assert request_.find("b" * 16, [first]) is None
    assert request_.find(None) is None


def test_an_answer_without_a_header_is_about_the_attempt_at_taskflows_worker(
    request_: Request, worker: Peer
) -> None:
    request_.add(attempt(1, worker))
    theirs = attempt(2, Peer("topic", "taskflow", "topic"), is_native=False)
    request_.add(theirs)
    assert request_.find(None) is theirs


def test_its_tickets_at_one_worker_process_are_the_newest_last(
    request_: Request, worker: Peer
) -> None:
    other = Peer("b" * 16, "native", "other")
    for number, peer in enumerate((worker, other, worker), 1):
        request_.add(attempt(number, peer))
    assert request_.tickets_at(worker) == [(1, 1), (1, 2)]
    assert [one.number for one in request_.at(other)] == [2]


def test_the_oldest_attempts_that_were_given_back_are_forgotten_and_no_others(
    request_: Request, worker: Peer
) -> None:
    request_.add(attempt(1, worker))
    request_.attempts[0].give_up()  # its worker fell silent: it may still be started there
    for number in range(2, 3 * KEPT_ATTEMPTS):
        request_.add(attempt(number, worker))
        request_.attempts[-1].never(is_newest=True)
    assert len(request_.attempts) == KEPT_ATTEMPTS
    assert [one.number for one in request_.attempts[:2]] == [1, 2 * KEPT_ATTEMPTS + 1]


@pytest.mark.parametrize(
    ("deadline", "is_over"), [(None, False), (19.9, True), (20.0, True), (20.1, False)]
)
def test_its_own_clock(request_: Request, deadline: float | None, is_over: bool) -> None:
    request_.deadline = deadline
    assert request_.has_expired(20.0) is is_over
