"""A failure that is followed by another round: when, for whom, and what is told of it meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from executor.effects import Begin, Dispatch, Effect, Failed, Resolve, Rest, Value, Withdrawn
from executor.ledger import Ledger
from executor.request import round_name
from protocol.errors import PoisonTask, RequestTimeout, TaskCancelled, TimeLimitExceeded
from protocol.events import Over, Round
from protocol.failure import without_arguments
from protocol.parcel import Refused
from protocol.retry import Retry
from protocol.states import PENDING, RUNNING, WAITING
from protocol.timing import LEASE, MAX_CRASHES, REQUEST_TIMEOUT
from tests.executor.peers import (
    FAILED,
    Native,
    Taskflow,
    dispatches,
    lines,
    order,
    outcomes,
    receipts,
)
from tests.executor.scenes import TASK, beats, ends, error, make, run_dry, running, sent, until

TWICE = Retry(max=2, backoff=8.0, jitter=0.0)
AT_ONCE = Retry(max=2, backoff=0.0)
TOLD = without_arguments(FAILED)


def failed(policy: Retry = TWICE, **how: Any) -> tuple[Ledger, Native, Dispatch, list[Effect]]:
    """One that ran at this worker and failed at 1.0."""
    ledger, worker = make(), Native("a")
    dispatch = running(ledger, worker, retries=policy, **how)
    effects = ledger.heard([worker.failure(dispatch, 1.0)], 1.0)
    return ledger, worker, dispatch, effects


def again(ledger: Ledger, worker: Native, now: float) -> Dispatch:
    """What is sent once this moment has come; its worker was heard from all the time."""
    ledger.heard([worker.answer(now, TASK)], now)
    (dispatch,) = dispatches(ledger.tick(now))
    return dispatch


def test_a_failure_opens_a_new_round_which_says_why_and_waits() -> None:
    ledger, worker, _, effects = failed()
    assert lines(effects) == [Round("u1", 2, 0, 1, "failure", 1, TOLD, 8.0)]
    assert Rest("u1") in effects
    assert not outcomes(effects)
    assert ledger.state_of("u1") == WAITING
    assert dispatches(beats(ledger, worker, 2.0, 8.9)) == []
    dispatch = again(ledger, worker, 9.0)
    assert (dispatch.attempt, dispatch.event.base) == (2, 2)
    header = dispatch.parcel.envelope.header
    assert header is not None
    assert (header.attempt, header.base) == (2, 2)


def test_the_next_wait_is_longer_and_the_last_failure_is_the_end() -> None:
    ledger, worker, _, _ = failed()
    second = again(ledger, worker, 9.0)
    effects = ledger.heard([worker.failure(second, 10.0)], 10.0)
    assert lines(effects)[1:] == [Round("u1", 3, 0, 2, "failure", 2, TOLD, 16.0)]
    third = again(ledger, worker, 26.0)
    assert outcomes(ledger.heard([worker.failure(third, 27.0)], 27.0)) == {
        "u1": Failed(FAILED, worker.name)
    }
    assert len(ledger) == 0


def test_a_result_ends_it_whatever_came_before() -> None:
    ledger, worker, _, _ = failed()
    second = again(ledger, worker, 9.0)
    assert outcomes(ledger.heard([worker.success(second, 10.0, 7)], 10.0)) == {"u1": Value(7)}


def test_without_a_wait_it_goes_at_once_and_before_those_that_came_later() -> None:
    ledger, worker = make(), Native("a")
    dispatch = running(ledger, worker, retries=AT_ONCE)
    ledger.heard([worker.answer(0.5, TASK, credit=0)], 0.5)
    ledger.submitted([order("u2")], 0.6)
    ledger.heard([worker.failure(dispatch, 1.0)], 1.0)
    sent_then = dispatches(ledger.heard([worker.answer(1.1, TASK, credit=2)], 1.1))
    assert [one.uuid for one in sent_then] == ["u1", "u2"]


def test_what_was_answered_is_receipted_though_the_request_goes_on() -> None:
    ledger, _, dispatch, effects = failed()
    effects += until(ledger, 1.0, 3.0)
    assert receipts(effects) == {dispatch.event.boot: [dispatch.event.ticket]}


def test_a_cancel_while_it_waits_ends_it_at_once() -> None:
    ledger, _, _, _ = failed()
    assert outcomes(ledger.cancelled("u1", False, 2.0)) == {"u1": Withdrawn()}
    assert len(ledger) == 0


def test_a_cancel_by_force_while_it_waits_is_no_cancel_of_a_run() -> None:
    ledger, _, _, _ = failed()
    assert outcomes(ledger.cancelled("u1", True, 2.0)) == {"u1": Withdrawn()}


def test_one_that_is_being_cancelled_by_force_is_not_run_again() -> None:
    ledger, worker = make(), Native("a")
    dispatch = running(ledger, worker, retries=TWICE)
    ledger.cancelled("u1", True, 0.5)
    assert outcomes(ledger.heard([worker.failure(dispatch, 1.0)], 1.0)) == {
        "u1": Failed(FAILED, worker.name)
    }


def test_the_next_run_is_a_run_again() -> None:
    ledger, worker, _, _ = failed()
    second = again(ledger, worker, 9.0)
    assert ledger.state_of("u1") == PENDING
    assert Begin("u1") in ledger.heard([worker.running(second, 9.5)], 9.5)
    assert ledger.state_of("u1") == RUNNING
    ledger.cancelled("u1", True, 10.0)
    effects = ledger.heard([worker.failure(second, 10.5, "stopped")], 10.5)
    assert isinstance(error(effects), TaskCancelled)


def test_its_timeout_counts_anew_from_the_end_of_its_wait() -> None:
    ledger, worker, _, _ = failed(timeout=5.0)
    ledger.heard([worker.answer(2.0, TASK, credit=0)], 2.0)
    assert ends(until(ledger, 2.0, 13.8)) == []
    expired = error(until(ledger, 13.8, 14.1))
    assert isinstance(expired, RequestTimeout)


def test_it_expires_where_nobody_offers_its_task_any_more() -> None:
    ledger, worker, _, _ = failed()
    ledger.gone(worker.name, 2.0)
    effects = until(ledger, 2.0, 8.9 + REQUEST_TIMEOUT)
    assert ends(effects) == []
    assert isinstance(
        error(until(ledger, 8.9 + REQUEST_TIMEOUT, 10.0 + REQUEST_TIMEOUT)), RequestTimeout
    )


def test_a_failure_of_a_class_that_is_not_named_is_the_end() -> None:
    _, worker, _, effects = failed(Retry(max=5, on=(OSError,)))
    assert outcomes(effects) == {"u1": Failed(FAILED, worker.name)}


def test_a_time_limit_is_the_end_unless_it_is_named() -> None:
    for policy, is_over in ((TWICE, True), (Retry(max=1, on=(TimeLimitExceeded,)), False)):
        ledger, worker = make(), Native("a")
        dispatch = running(ledger, worker, retries=policy)
        effects = ledger.heard([worker.failure(dispatch, 1.0, "limit")], 1.0)
        if is_over:
            assert isinstance(error(effects), TimeLimitExceeded)
        else:
            (line,) = lines(effects)
            assert isinstance(line, Round)
            assert (line.cause, line.retries) == ("limit", 1)


def test_the_end_of_an_earlier_round_is_fenced_whenever_it_comes() -> None:
    ledger, worker, first, _ = failed(AT_ONCE)
    before = ledger.counts["fenced"]
    effects = ledger.heard([worker.success(first, 2.0, "late")], 2.0)
    assert not outcomes(effects)
    assert ledger.counts["fenced"] == before + 1


def test_a_late_failure_of_one_that_was_given_up_leaves_the_newer_attempt_alone() -> None:
    """That is the other run already: it costs no retry, and the newer one is not run beside it."""
    ledger, old, new = make(), Native("a"), Native("b")
    first = running(ledger, old, retries=TWICE)
    ledger.heard([new.answer(10.0, TASK)], 10.0)
    (second,) = dispatches(ledger.tick(LEASE))
    effects = ledger.heard([old.failure(first, 15.0)], 15.0)
    assert lines(effects) == []
    assert ledger.state_of("u1") == PENDING
    assert outcomes(ledger.heard([new.success(second, 16.0, 1)], 16.0)) == {"u1": Value(1)}


def test_the_failure_of_an_earlier_run_that_is_waited_for_again_is_retried() -> None:
    """Nothing newer was sent, or it is gone: then this is what its round came to."""
    ledger, old = make(), Native("a")
    first = running(ledger, old, retries=TWICE)
    until(ledger, 0.0, LEASE + 1)
    effects = ledger.heard([old.failure(first, LEASE + 2)], LEASE + 2)
    (line,) = [one for one in lines(effects) if isinstance(one, Round)]
    assert (line.cause, line.retries, line.attempt) == ("failure", 1, 1)


def test_a_crash_after_a_retry_counts_as_a_crash_and_keeps_the_retries() -> None:
    ledger, worker, _, _ = failed()
    second = again(ledger, worker, 9.0)
    effects = ledger.heard([worker.failure(second, 10.0, "crash")], 10.0)
    assert lines(effects)[1] == Round("u1", 3, 1, 1, "crash", 2, TOLD)
    (third,) = dispatches(effects)
    for crashes in range(2, MAX_CRASHES):
        effects = ledger.heard([worker.failure(third, 10.0 + crashes, "crash")], 10.0 + crashes)
        (third,) = dispatches(effects)
    assert isinstance(error(ledger.heard([worker.failure(third, 20.0, "crash")], 20.0)), PoisonTask)


def test_a_lost_worker_costs_no_retry() -> None:
    ledger, worker, _, _ = failed()
    second = again(ledger, worker, 9.0)
    ledger.heard([worker.running(second, 9.5)], 9.5)
    effects = ledger.gone(worker.name, 10.0)
    assert Over("u1", 2, "lost") in lines(effects)
    assert not [line for line in lines(effects) if isinstance(line, Round)]


def test_its_limits_hold_for_a_retry_as_for_any_start() -> None:
    ledger, worker = make(), Native("a")
    dispatch = running(ledger, worker, retries=AT_ONCE, rate="1/m")
    assert dispatches(ledger.heard([worker.failure(dispatch, 1.0)], 1.0)) == []
    assert dispatches(beats(ledger, worker, 2.0, 59.0)) == []
    (second,) = dispatches(until(ledger, 59.0, 60.5))
    assert second.attempt == 2


# taskflow's workers, who know no tickets ----------------------------------------------------------


def at_taskflow(policy: Retry = AT_ONCE) -> tuple[Ledger, Taskflow, Dispatch]:
    """One that failed at a taskflow worker, and was sent there again."""
    ledger, peer = make("taskflow"), Taskflow()
    ledger.heard([peer.answer(TASK)], 0.0)
    (first,) = dispatches(ledger.submitted([order("u1", retries=policy)], 0.0))
    assert first.parcel.envelope.correlation_id == "u1"
    ledger.heard([peer.running("u1")], 0.1)
    (second,) = dispatches(ledger.heard([peer.failure("u1")], 0.2))
    return ledger, peer, second


def test_a_taskflow_worker_is_sent_a_retry_under_another_name() -> None:
    ledger, peer, second = at_taskflow()
    name = round_name("u1", 2)
    assert second.parcel.envelope.correlation_id == name
    assert second.event.base == 2
    ledger.heard([peer.running(name)], 0.3)
    assert ledger.state_of("u1") == RUNNING
    assert outcomes(ledger.heard([peer.success(name, 5)], 0.4)) == {"u1": Value(5)}


@pytest.mark.parametrize("state", ["failure", "success"])
def test_an_answer_that_a_taskflow_worker_gave_twice_is_of_the_round_before(state: str) -> None:
    ledger, peer, _ = at_taskflow()
    late = peer.failure("u1") if state == "failure" else peer.success("u1")
    assert not outcomes(ledger.heard([late], 0.3))
    assert not outcomes(ledger.heard([Refused("schema", "odd", "RESPONSE", None, "u1")], 0.3))
    assert ledger.state_of("u1") == PENDING
    name = round_name("u1", 2)
    assert outcomes(ledger.heard([peer.success(name, 5)], 0.4)) == {"u1": Value(5)}
    assert outcomes(ledger.heard([peer.success(name, 5)], 0.5)) == {}


def test_a_retry_that_no_taskflow_worker_starts_expires() -> None:
    ledger, _, _ = at_taskflow()
    assert isinstance(error(run_dry(ledger, 0.3)), RequestTimeout)


def test_one_that_waits_for_a_taskflow_worker_again_is_sent_when_it_may() -> None:
    ledger, peer = make("taskflow"), Taskflow()
    ledger.heard([peer.answer(TASK)], 0.0)
    ledger.submitted([order("u1", retries=TWICE)], 0.0)
    assert dispatches(ledger.heard([peer.failure("u1")], 1.0)) == []
    assert dispatches(until(ledger, 1.0, 8.9)) == []
    ledger.heard([peer.answer(TASK)], 8.95)
    (second,) = dispatches(until(ledger, 8.95, 9.1))
    assert second.attempt == 2


def test_sent_is_not_yet_run() -> None:
    """So a caller may cancel what was sent as a retry, as any other that was only sent."""
    ledger, worker, _, _ = failed()
    again(ledger, worker, 9.0)
    ledger.cancelled("u1", False, 9.1)
    assert ledger.state_of("u1") == PENDING
    assert isinstance(sent(ledger, worker, 9.2, "u2"), Dispatch)


# dead letters -------------------------------------------------------------------------------------


def is_dead(effects: list[Effect]) -> bool:
    (resolve,) = [effect for effect in effects if isinstance(effect, Resolve)]
    return resolve.is_dead


def test_what_ran_out_of_retries_or_was_not_covered_is_a_dead_letter() -> None:
    ledger, worker, _, _ = failed(Retry(max=1, backoff=8.0, jitter=0.0))
    second = again(ledger, worker, 9.0)
    assert is_dead(ledger.heard([worker.failure(second, 10.0)], 10.0))
    assert is_dead(failed(Retry(on=(OSError,)))[3])


def test_poison_is_a_dead_letter_whatever_its_policy_and_another_failure_is_none() -> None:
    ledger, worker = make(), Native("a")
    dispatch = running(ledger, worker)
    for crashes in range(1, MAX_CRASHES):
        (dispatch,) = dispatches(ledger.heard([worker.failure(dispatch, 0.0, "crash")], crashes))
    assert is_dead(ledger.heard([worker.failure(dispatch, 5.0, "crash")], 5.0))
    ledger, worker = make(), Native("a")
    dispatch = running(ledger, worker)
    assert not is_dead(ledger.heard([worker.failure(dispatch, 1.0)], 1.0))


def test_a_retry_that_nobody_starts_is_a_dead_letter_and_a_cancelled_one_is_none() -> None:
    ledger, worker, _, _ = failed()
    ledger.gone(worker.name, 2.0)
    assert is_dead(run_dry(ledger, 2.0))
    ledger, worker, _, _ = failed()
    assert not is_dead(ledger.cancelled("u1", False, 2.0))
    ledger, worker = make(), Native("a")
    dispatch = running(ledger, worker, retries=TWICE)
    ledger.cancelled("u1", True, 0.5)
    assert not is_dead(ledger.heard([worker.failure(dispatch, 1.0)], 1.0))
