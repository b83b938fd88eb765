"""The periods are taskflow's where both sides count on them, and fit each other."""

from __future__ import annotations

import pytest
from taskflow.engines.worker_based import protocol as theirs

from protocol import schemas, tickets, timing
from protocol.timing import CLOCK_MARGIN, CLOCK_RATE_DRIFT, start_by_has_passed


def test_what_taskflow_knows_too_is_as_taskflow_has_it() -> None:
    """Compared with the installed package."""
    assert theirs.REQUEST_TIMEOUT == timing.REQUEST_TIMEOUT
    assert theirs.NOTIFY_PERIOD == timing.NOTIFY_PERIOD
    assert theirs.EXPIRES_AFTER == timing.WORKER_EXPIRY


def test_the_periods_fit_each_other() -> None:
    """A lease outlives two lost beats; a queue outlives every peer that may still come back."""
    assert timing.LEASE > 2 * timing.BEAT
    assert timing.KEEP > timing.LEASE
    assert timing.lease(timing.BEAT) == timing.LEASE
    assert timing.KEEP_JOURNALED >= timing.REPLY_EXPIRES > timing.KEEP
    assert timing.INBOX_EXPIRES > timing.KEEP
    assert timing.REPLY_EXPIRES >= timing.INBOX_EXPIRES
    assert timing.FIRST_CALL_WAIT <= timing.NOTIFY_PERIOD


@pytest.mark.parametrize("beat", [0.1, 1.0, 5.0, 60.0])
def test_two_beats_may_be_lost_and_the_third_be_late_and_yet_a_lease_ends_within_three(
    beat: float,
) -> None:
    """What a worker promises and what it does differ, so that both hold on a busy machine."""
    assert timing.lease(beat) < 3 * beat
    late = timing.lease(beat) - 3 * timing.pace(beat)
    assert late > 0.3 * beat


def test_a_lost_request_is_repaired_within_its_window() -> None:
    """A lease, a beat that says it is not there, and the time to send it again."""
    assert timing.START_WINDOW >= timing.LEASE + 2 * timing.BEAT


def test_a_receipt_comes_before_the_result_is_sent_again() -> None:
    """With a moment for the way there and back; each series only grows, and then goes on."""
    assert timing.RESULT_RESENDS[0] > 2 * timing.RECEIPT_DELAY
    for series in (timing.RESULT_RESENDS, timing.CANCEL_RESENDS):
        assert list(series) == sorted(set(series))
        assert series[0] > 0
    assert timing.RECEIPTS_AT_ONCE <= tickets.MAX_NAMED
    assert min(timing.MAX_CRASHES, timing.MAX_ATTEMPTS) >= 1


def test_the_schema_of_the_header_knows_the_bound_on_a_credit() -> None:
    """The constant and the file cannot drift apart."""
    assert schemas.SCHEMAS["header"]["properties"]["credit"]["maximum"] == timing.CREDIT_MAX


@pytest.mark.parametrize("window", [0.0, 1.0, 60.0, 3600.0])
@pytest.mark.parametrize("rate", [1 - CLOCK_RATE_DRIFT, 1.0, 1 + CLOCK_RATE_DRIFT])
def test_a_start_by_is_believed_only_when_the_slowest_clock_has_passed_it(
    window: float, rate: float
) -> None:
    """A worker counts the window in its own clock, whose seconds may be longer than ours."""
    sent = 1000.0
    worker_stops_starting_at = sent + window * rate  # in our clock
    assert not start_by_has_passed(sent, window, worker_stops_starting_at)
    assert start_by_has_passed(sent, window, sent + window * 1.02 + 2 * CLOCK_MARGIN)


def test_a_start_by_has_passed_after_the_margin_and_not_at_it() -> None:
    """For the usual window: 60.7 s."""
    limit = 60.0 * (1 + CLOCK_RATE_DRIFT) + CLOCK_MARGIN
    assert not start_by_has_passed(0.0, 60.0, limit)
    assert start_by_has_passed(0.0, 60.0, limit + 0.001)
