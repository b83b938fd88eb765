"""What a word means for its request: the table of native dialect, section 5, row by row."""

from __future__ import annotations

from typing import Literal, get_args

import pytest

from executor.peer import Peer
from executor.request import Attempt, Phase, Request
from executor.verdicts import MAX_ROUNDS, Verdict, Word, verdict
from protocol.retry import TIME_LIMIT_NAMES, Retry
from protocol.tickets import Ticket
from protocol.timing import MAX_ATTEMPTS, MAX_CRASHES, MAX_SENDS
from tests.executor.peers import order

Mode = Literal["alo", "amo"]

#: What the present round comes to at each word: open, and to be started at least or at most once;
#: about to expire, the same; cancelled by force while it ran; cancelled, and the caller was told.
TABLE: dict[Word, tuple[str, str, str, str, str, str]] = {
    # OPEN: alo, amo                  EXPIRING: alo, amo            forced    told
    "success": ("value", "value", "value", "value", "value", "settle"),
    "failure": ("failed", "failed", "failed", "failed", "failed", "settle"),
    "limit": ("time limit", "time limit", "time limit", "time limit", "time limit", "settle"),
    "crash": ("round", "failed", "round", "failed", "failed", "settle"),
    "stopped": ("round", "worker lost", "round", "worker lost", "settle", "settle"),
    "never": ("again", "again", "settle", "settle", "settle", "settle"),
    "over": ("again", "result lost", "settle", "settle", "settle", "settle"),
    "dropped": ("again", "result lost", "again", "result lost", "settle", "settle"),
    "lost": ("again", "worker lost", "settle", "settle", "settle", "settle"),
}
COLUMNS: tuple[tuple[Phase, Mode, bool], ...] = (
    ("OPEN", "alo", False),
    ("OPEN", "amo", False),
    ("EXPIRING", "alo", False),
    ("EXPIRING", "amo", False),
    ("CANCELLING", "alo", False),
    ("CANCELLING", "alo", True),
)


def request_in(phase: Phase, mode: Mode = "alo", *, is_withdrawn: bool = False) -> Request:
    """A request of which nothing has gone wrong yet."""
    request = Request(order("u1", mode=mode), 0.0)
    request.phase = phase
    request.is_withdrawn = is_withdrawn
    return request


def attempt_of(request: Request, number: int) -> Attempt:
    """One more attempt of it, sent to a worker of its own."""
    peer = Peer(f"{number:016x}", "native", f"w{number}")
    attempt = Attempt("u1", number, peer, Ticket(1, 1), sent=0.0, window=60.0)
    attempt.dispatch()
    request.add(attempt)
    return attempt


def test_the_table_has_a_row_for_each_word() -> None:
    assert list(TABLE) == list(get_args(Word))


@pytest.mark.parametrize("word", list(TABLE))
@pytest.mark.parametrize(
    "column", range(len(COLUMNS)), ids=[" ".join(map(str, c)) for c in COLUMNS]
)
def test_each_cell_of_the_table_of_one_request(word: Word, column: int) -> None:
    phase, mode, is_withdrawn = COLUMNS[column]
    request = request_in(phase, mode, is_withdrawn=is_withdrawn)
    assert verdict(request, word) is Verdict(TABLE[word][column])


@pytest.mark.parametrize("mode", get_args(Mode))
def test_a_cancelled_request_is_treated_alike_in_both_modes(mode: Mode) -> None:
    for word in get_args(Word):
        for told in (False, True):
            request = request_in("CANCELLING", mode, is_withdrawn=told)
            assert verdict(request, word) is Verdict(TABLE[word][5 if told else 4])


def test_the_last_of_the_runs_lost_to_silent_workers_ends_it() -> None:
    """It may be what ends them."""
    request = request_in("OPEN")
    found = []
    for number in range(1, MAX_ATTEMPTS + 1):
        attempt = attempt_of(request, number)
        attempt.run()
        attempt.give_up()
        found.append(verdict(request, "lost").value)
    assert found == ["again"] * (MAX_ATTEMPTS - 1) + ["worker lost"]


def test_what_was_queued_in_lost_workers_has_more_tries_but_not_without_end() -> None:
    """It was not known to run there, so it is hardly what ended them."""
    request = request_in("OPEN")
    found = []
    for request.lost in range(MAX_SENDS):
        attempt_of(request, request.lost + 1).give_up()
        found.append(verdict(request, "lost").value)
    assert found == ["again"] * (MAX_SENDS - 1) + ["worker lost"]


def test_the_last_of_its_crashes_is_poison() -> None:
    request = request_in("OPEN")
    found = []
    for request.crashes in range(MAX_CRASHES):
        found.append(verdict(request, "crash").value)
    assert found == ["round"] * (MAX_CRASHES - 1) + ["poison"]


def test_being_stopped_is_no_crash_but_rounds_have_a_bound_all_the_same() -> None:
    request = request_in("OPEN")
    found = []
    for request.rounds in range(1, MAX_ROUNDS + 1):
        found.append(verdict(request, "stopped").value)
    assert found == ["round"] * (MAX_ROUNDS - 1) + ["worker lost"]
    assert verdict(request, "never") is Verdict.AGAIN


def test_a_verdict_changes_nothing() -> None:
    request = request_in("OPEN")
    before = [getattr(request, name) for name in Request.__slots__]
    for word in get_args(Word):
        verdict(request, word)
    assert [getattr(request, name) for name in Request.__slots__] == before


# retries ------------------------------------------------------------------------------------------

FAILED = ("ValueError", "Exception")
BOTH = Retry(max=2, on=(ValueError, "protocol.errors.TimeLimitExceeded"))


@pytest.mark.parametrize(("phase", "mode", "is_withdrawn"), COLUMNS)
@pytest.mark.parametrize("word", list(TABLE))
def test_only_an_end_of_its_own_is_retried_and_nothing_that_starts_once_or_is_cancelled(
    phase: Phase, mode: Mode, is_withdrawn: bool, word: Word
) -> None:
    request = Request(order("u1", mode=mode, retries=BOTH), 0.0)
    request.phase, request.is_withdrawn = phase, is_withdrawn
    names = TIME_LIMIT_NAMES if word == "limit" else FAILED
    expected = Verdict(TABLE[word][COLUMNS.index((phase, mode, is_withdrawn))])
    if word in ("failure", "limit") and mode == "alo" and phase != "CANCELLING":
        expected = Verdict.RETRY
    assert verdict(request, word, names) is expected


def test_it_is_retried_as_often_as_its_policy_says_and_no_more() -> None:
    request = Request(order("u1", retries=BOTH), 0.0)
    for retries, expected in enumerate([Verdict.RETRY, Verdict.RETRY, Verdict.FAILED]):
        request.retries = retries
        assert verdict(request, "failure", FAILED) is expected


def test_a_failure_of_another_class_is_the_end() -> None:
    request = Request(order("u1", retries=BOTH), 0.0)
    assert verdict(request, "failure", ("KeyError", "Exception")) is Verdict.FAILED


def test_retries_do_not_count_among_the_rounds_that_lost_their_process() -> None:
    request = Request(order("u1", retries=Retry(max=50)), 0.0)
    request.rounds, request.retries = MAX_ROUNDS + 39, 40
    assert verdict(request, "stopped") is Verdict.ROUND
    request.rounds += 1
    assert verdict(request, "stopped") is Verdict.WORKER_LOST
