"""What is done to one request: new rounds, cancels, expiry, its end, and what is recorded of it."""

from __future__ import annotations

from typing import Literal

import pytest

from executor.effects import Begin, Effect, Error, Failed, Resolve, Value, Withdrawn
from executor.ledger import Ledger
from protocol.envelope import CAPS
from protocol.errors import (
    PoisonTask,
    RequestTimeout,
    TaskCancelled,
    TimeLimitExceeded,
    WorkerLost,
)
from protocol.events import Over, Round, Running
from protocol.failure import without_arguments
from protocol.messages import Response
from protocol.states import PENDING, RUNNING, WAITING
from protocol.timing import LEASE, MAX_CRASHES, REQUEST_TIMEOUT
from tests.executor.peers import (
    FAILED,
    Native,
    Taskflow,
    cancels,
    dispatches,
    lines,
    order,
    outcomes,
    receipts,
)
from tests.executor.scenes import (
    TASK,
    beats,
    ends,
    error,
    make,
    run_dry,
    running,
    sent,
    until,
)
from worker.work import End

# rounds -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["crash", "stopped"])
def test_a_run_that_lost_its_process_is_followed_by_a_new_round(
    end: Literal["crash", "stopped"],
) -> None:
    ledger, worker = make(), Native("a")
    dispatch = running(ledger, worker)
    effects = ledger.heard([worker.failure(dispatch, 0.2, end)], 0.2)
    failure = without_arguments(FAILED)
    assert lines(effects) == [
        Round("u1", 2, int(end == "crash"), cause=end, attempt=1, failure=failure)
    ]
    (again,) = dispatches(effects)
    header = again.parcel.envelope.header
    assert header is not None
    assert (header.attempt, header.base, again.event.base) == (2, 2, 2)


def test_a_crash_before_running_was_heard_makes_it_known_to_run() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    assert Begin("u1") in ledger.heard([worker.failure(dispatch, 0.2, "crash")], 0.2)


def test_the_last_crash_is_poison_and_told_in_the_workers_words() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    for _ in range(MAX_CRASHES - 1):
        (dispatch,) = dispatches(ledger.heard([worker.failure(dispatch, 0.1, "crash")], 0.1))
    poison = error(ledger.heard([worker.failure(dispatch, 0.1, "crash")], 0.1))
    assert isinstance(poison, PoisonTask)
    assert str(poison) == (
        "request u1 (m.task) ended the process that ran it 3 times, the last time on worker-a: it "
        "went wrong; look for what ends it there (memory, a crash in C code, os._exit), then "
        "submit again"
    )


def test_a_task_that_is_stopped_wherever_it_goes_ends_as_lost() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    rounds = 1
    while found := dispatches(ledger.heard([worker.failure(dispatch, 0.1, "stopped")], 0.1)):
        (dispatch,) = found
        rounds += 1
    assert rounds == 3 * MAX_CRASHES
    assert len(ledger) == 0


@pytest.mark.parametrize(
    ("end", "kind"), [("crash", None), ("stopped", WorkerLost), ("limit", TimeLimitExceeded)]
)
def test_at_most_once_no_end_of_its_process_is_followed_by_another_start(
    end: End, kind: type[Exception] | None
) -> None:
    ledger, worker = make(), Native("a")
    dispatch = running(ledger, worker, mode="amo")
    effects = ledger.heard([worker.failure(dispatch, 0.2, end)], 0.2)
    if kind is None:
        assert outcomes(effects) == {"u1": Failed(FAILED, worker.name)}
    else:
        assert isinstance(error(effects), kind)


@pytest.mark.parametrize("mode", ["alo", "amo"])
def test_a_time_limit_is_the_tasks_own_end(mode: str) -> None:
    ledger, worker = make(), Native("a")
    dispatch = running(ledger, worker, mode=mode, time_limit=2.5)
    exceeded = error(ledger.heard([worker.failure(dispatch, 3.0, "limit")], 3.0))
    assert isinstance(exceeded, TimeLimitExceeded)
    assert "on worker-a for longer than its time_limit of 2.5 s" in str(exceeded)


def test_the_end_names_its_worker() -> None:
    ledger, worker = make(), Native("a")
    dispatch = running(ledger, worker)
    (end,) = ledger.heard([worker.success(dispatch, 0.2)], 0.2)
    assert end == Resolve("u1", Value("done"), worker.name)


def test_a_crash_after_its_timeout_is_followed_by_a_new_round_all_the_same() -> None:
    """It was started in time: from then on it does not expire."""
    ledger, worker = make(), Native("a")
    dispatch = running(ledger, worker, timeout=5.0)
    beats(ledger, worker, 5.0, 20.0)
    effects = ledger.heard([worker.failure(dispatch, 20.0, "crash")], 20.0)
    assert [d.attempt for d in dispatches(effects)] == [2]
    header = dispatches(effects)[0].parcel.envelope.header
    assert header is not None
    assert header.start_by == int((20.0 + 1000.0 + 60.0) * 1000)


# cancelling: four states, with and without force --------------------------------------------------


def cancel(ledger: Ledger, now: float, *, force: bool = False) -> list[Effect]:
    """What the keeper has the ledger know."""
    return ledger.cancelled("u1", force, now)


@pytest.mark.parametrize("force", [False, True])
def test_cancelled_while_it_waits_it_never_runs(force: bool) -> None:
    ledger, worker = make(), Native("a")
    ledger.submitted([order("u1")], 0.0)
    assert cancel(ledger, 1.0, force=force) == [Resolve("u1", Withdrawn())]
    assert dispatches(ledger.heard([worker.answer(2.0, TASK)], 2.0)) == []


@pytest.mark.parametrize("force", [False, True])
def test_cancelled_after_it_was_sent_its_worker_is_told_until_it_answers(force: bool) -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    told = [(worker.boot, "1:1", "stop" if force else "keep", "user")]
    assert cancels(cancel(ledger, 1.0, force=force)) == told
    when = []
    for tenth in range(11, 200):
        now = tenth / 10
        effects = ledger.heard([worker.answer(now, TASK)], now) + ledger.tick(now)
        assert dispatches(effects) == []
        assert ends(effects) == []
        if found := cancels(effects):
            assert found == told
            when.append(now)
    assert when == pytest.approx([2.0, 4.0, 8.0, 13.0, 18.0], abs=0.11)
    effects = ledger.heard([worker.gives_back(20.0, "cancelled", dispatch)], 20.0)
    assert outcomes(effects) == {"u1": Withdrawn()}
    assert lines(effects) == [Over("u1", 1, "never")]
    assert cancels(until(ledger, 20.0, 40.0)) == []


def test_a_cancel_says_all_that_its_kind_needs() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    from_dispatch = dispatch.parcel.envelope.header
    (effect,) = cancel(ledger, 1.0)
    header = effect.parcel.envelope.header  # type: ignore[union-attr]
    assert from_dispatch is not None
    assert header is not None
    assert header.start_by == from_dispatch.start_by
    assert (header.executor, header.incarnation) == (from_dispatch.executor, 1)
    assert effect.parcel.address == dispatch.parcel.address  # type: ignore[union-attr]


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "said", ["success", "failure", "crash", "stopped", "limit", "dropped", "over"]
)
def test_cancelled_before_it_was_known_to_run_it_stays_so_whatever_comes(
    force: bool, said: str
) -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    cancel(ledger, 1.0, force=force)
    effects = ledger.heard([worker.running(dispatch, 1.1)], 1.1)
    assert lines(effects) == [Running("u1", 1)]
    assert Begin("u1") not in effects  # its future is over
    answer = {
        "success": worker.success(dispatch, 1.2),
        "failure": worker.failure(dispatch, 1.2),
        "dropped": worker.drops(1.2, dispatch),
        "over": worker.gives_back(1.2, "over", dispatch),
    }.get(said) or worker.failure(dispatch, 1.2, said)  # type: ignore[arg-type]
    effects = ledger.heard([answer], 1.2)
    assert outcomes(effects) == {"u1": Withdrawn()}
    assert ledger.counts["fenced"] == (said != "over")
    assert receipts(ledger.tick(2.0)) == {worker.boot: ["1:1"]}


def test_cancelled_without_force_a_run_is_not_ended_and_nobody_is_told_again() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    cancel(ledger, 1.0)
    ledger.heard([worker.running(dispatch, 1.1)], 1.1)
    effects = beats(ledger, worker, 2.0, 60.0)
    assert cancels(effects) == []
    assert ends(effects) == []
    assert ends(ledger.tick(60.0 + LEASE)) == ["u1"]  # silent: nothing more to wait for


def test_what_a_cancelled_task_says_is_not_told() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker, wants_events=True)
    cancel(ledger, 1.0)
    event = worker.says(dispatch, Response.event("saved", {}), 1.1)
    assert [type(effect).__name__ for effect in ledger.heard([event], 1.1)] == ["Record"]


def test_cancelled_by_force_while_it_runs_it_is_ended() -> None:
    ledger, worker = make(), Native("a")
    dispatch = running(ledger, worker)
    assert cancels(cancel(ledger, 1.0, force=True)) == [(worker.boot, "1:1", "stop", "user")]
    assert len(cancels(ledger.tick(2.0))) == 1  # until it answers
    effects = ledger.heard([worker.failure(dispatch, 2.1, "stopped")], 2.1)
    stopped = error(effects)
    assert isinstance(stopped, TaskCancelled)
    assert str(stopped) == (
        "request u1 (m.task) was cancelled with force=True while it ran on worker-a"
    )


@pytest.mark.parametrize("said", ["success", "failure", "crash", "limit"])
def test_cancelled_by_force_while_it_runs_its_own_end_may_be_faster(said: str) -> None:
    ledger, worker = make(), Native("a")
    dispatch = running(ledger, worker)
    cancel(ledger, 1.0, force=True)
    end: End = said if said in ("crash", "limit") else "done"  # type: ignore[assignment]
    answer = worker.success if said == "success" else worker.failure
    effects = ledger.heard(
        [answer(dispatch, 1.1) if end == "done" else worker.failure(dispatch, 1.1, end)], 1.1
    )
    outcome = outcomes(effects)["u1"]
    if said == "limit":
        assert isinstance(outcome, Error)
        assert isinstance(outcome.error, TimeLimitExceeded)
    else:
        expected = Value("done") if said == "success" else Failed(FAILED, worker.name)
        assert outcome == expected


@pytest.mark.parametrize("how", ["lease", "gone", "dropped", "over"])
def test_cancelled_by_force_it_ends_also_if_nothing_is_heard_of_the_run(how: str) -> None:
    ledger, worker = make(), Native("a")
    dispatch = running(ledger, worker)
    cancel(ledger, 1.0, force=True)
    if how == "lease":
        effects = until(ledger, 1.0, LEASE)
    elif how == "gone":
        effects = ledger.gone(worker.name, 2.0)
    elif how == "dropped":
        effects = ledger.heard([worker.drops(2.0, dispatch)], 2.0)
    else:
        effects = ledger.heard([worker.gives_back(2.0, "over", dispatch)], 2.0)
    assert isinstance(error(effects), TaskCancelled)


def test_a_cancel_of_what_is_over_or_unknown_is_nothing() -> None:
    ledger, worker = make(), Native("a")
    ledger.heard([worker.success(running(ledger, worker), 1.0)], 1.0)
    assert cancel(ledger, 2.0) == []
    assert cancel(ledger, 2.0, force=True) == []
    assert len(ledger) == 0


def test_force_raises_a_cancel_to_a_stop() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    assert [c[2] for c in cancels(cancel(ledger, 1.0))] == ["keep"]
    assert [c[2] for c in cancels(cancel(ledger, 1.5, force=True))] == ["stop"]
    ledger.heard([worker.running(dispatch, 1.6)], 1.6)
    told = cancels(until(ledger, 1.6, 7.0))
    assert [c[2] for c in told] == ["stop"] * 2  # 1 s and 2 s later; older timers are void
    effects = ledger.heard([worker.failure(dispatch, 7.0, "stopped")], 7.0)
    assert outcomes(effects) == {"u1": Withdrawn()}


def test_a_future_found_cancelled_when_its_run_began_is_cancelled_for_good() -> None:
    """It was cancelled a moment before the keeper told it so."""
    ledger, worker = make(), Native("a")
    dispatch = running(ledger, worker)
    cancel(ledger, 1.0)
    assert outcomes(ledger.heard([worker.success(dispatch, 2.0)], 2.0)) == {"u1": Withdrawn()}


def test_every_worker_process_it_was_sent_to_is_told_and_has_to_answer() -> None:
    """One is frozen, the next was not sent to yet: settling only the present attempt would let the
    frozen one start it once it thaws.
    """
    ledger, frozen, other = make(), Native("a"), Native("b")
    old = sent(ledger, frozen)
    ledger.heard([other.answer(10.0, TASK)], 10.0)
    (new,) = dispatches(ledger.tick(LEASE))
    told = cancels(cancel(ledger, 16.0))
    assert told == [(frozen.boot, "1:1", "keep", "user"), (other.boot, "1:1", "keep", "user")]
    assert ends(ledger.heard([other.gives_back(16.1, "cancelled", new)], 16.1)) == []
    assert [c[0] for c in cancels(ledger.tick(17.0))] == [frozen.boot]
    effects = ledger.heard([frozen.gives_back(20.0, "cancelled", old)], 20.0)
    assert outcomes(effects) == {"u1": Withdrawn()}


def test_who_stays_silent_cannot_start_it_any_more_once_its_start_by_has_passed() -> None:
    ledger, frozen, other = make(), Native("a"), Native("b")
    sent(ledger, frozen)
    cancel(ledger, 1.0)
    assert ends(until(ledger, 1.0, 60.0)) == []
    assert ends(until(ledger, 60.0, 61.0)) == ["u1"]
    assert other not in ledger.directory  # nobody else had to be there


def test_a_cancel_names_all_tickets_of_the_request_at_that_worker_and_its_newest_attempt() -> None:
    """A run under the first is ended under the second: or nobody would ever answer for it."""
    ledger, worker = make(), Native("a")
    running(ledger, worker)
    ledger.tick(LEASE)
    (again,) = dispatches(ledger.heard([worker.answer(20.0, TASK)], 20.0))
    effects = cancel(ledger, 21.0, force=True)
    assert cancels(effects) == [(worker.boot, "1:1-2", "stop", "user")]
    header = effects[0].parcel.envelope.header  # type: ignore[union-attr]
    assert header is not None
    assert header.attempt == 2
    assert isinstance(
        error(ledger.heard([worker.failure(again, 22.0, "stopped")], 22.0)), TaskCancelled
    )


def test_where_a_run_cannot_be_ended_it_is_said_beforehand() -> None:
    ledger, threads, waits = make(), Native("a", caps=CAPS), "u2"
    dispatch = sent(ledger, threads)
    ledger.submitted([order(waits, "m.other")], 0.0)
    assert [ledger.can_stop(uuid) for uuid in ("u1", waits, "unknown")] == [True, True, True]
    ledger.heard([threads.running(dispatch, 1.0)], 1.0)
    assert not ledger.can_stop("u1")
    stopper = make()
    running(stopper, Native("a"))
    assert stopper.can_stop("u1")


def test_a_worker_that_cannot_end_a_run_is_asked_to_keep_it() -> None:
    ledger, threads = make(), Native("a", caps=CAPS)
    dispatch = sent(ledger, threads)
    told = cancels(cancel(ledger, 1.0, force=True))
    assert told == [(threads.boot, "1:1", "keep", "user")]
    ledger.heard([threads.running(dispatch, 1.1)], 1.1)
    effects = ledger.heard([threads.success(dispatch, 9.0)], 9.0)
    assert outcomes(effects) == {"u1": Withdrawn()}


def test_a_worker_that_knows_no_cancel_is_not_told_and_its_start_by_settles_it() -> None:
    ledger, old = make(), Native("a", caps=("release",))
    sent(ledger, old)
    effects = cancel(ledger, 1.0) + beats(ledger, old, 5.0, 60.0)
    assert cancels(effects) == []
    assert ends(effects) == []
    assert ends(beats(ledger, old, 60.0, 70.0)) == ["u1"]


@pytest.mark.parametrize("runs", [False, True])
def test_cancelled_after_it_went_to_a_taskflow_worker_its_answer_is_fenced(runs: bool) -> None:
    ledger, peer = make("taskflow"), Taskflow()
    ledger.heard([peer.answer(TASK)], 0.0)
    ledger.submitted([order("u1")], 0.0)
    if runs:
        ledger.heard([peer.running("u1")], 0.5)
        assert not ledger.can_stop("u1")
    assert cancel(ledger, 1.0) == [Resolve("u1", Withdrawn())]
    assert ledger.heard([peer.success("u1")], 2.0) == []
    assert ledger.counts == {"late_or_unknown": 1}


def test_a_cancelled_request_gives_its_credit_to_the_next() -> None:
    ledger, peer = make("taskflow", "native"), Native("a")
    dispatch = sent(ledger, peer)
    ledger.heard([peer.answer(0.1, TASK, credit=1)], 0.1)
    ledger.submitted([order("u2")], 0.2)
    cancel(ledger, 1.0)
    effects = ledger.heard([peer.gives_back(1.1, "cancelled", dispatch)], 1.1)
    assert [d.uuid for d in dispatches(effects)] == ["u2"]


# expiring -----------------------------------------------------------------------------------------


def test_what_was_never_sent_expires_at_once() -> None:
    ledger = make()
    ledger.submitted([order("u1", timeout=5.0)], 0.0)
    late = error(until(ledger, 0.0, 5.0))
    assert isinstance(late, RequestTimeout)
    assert late.state == WAITING


def test_what_was_given_back_expires_at_once_too() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker, timeout=5.0)
    ledger.heard([worker.answer(0.1, TASK, credit=0)], 0.1)
    ledger.heard([worker.gives_back(0.2, "full", dispatch)], 0.2)
    assert isinstance(error(until(ledger, 1.0, 5.0)), RequestTimeout)


def test_what_was_sent_expires_once_its_worker_cannot_start_it() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker, timeout=5.0)
    effects = ledger.tick(5.0)
    assert cancels(effects) == [(worker.boot, "1:1", "keep", "expired")]
    assert ends(effects) == []
    effects = ledger.heard([worker.gives_back(5.1, "cancelled", dispatch)], 5.1)
    late = error(effects)
    assert isinstance(late, RequestTimeout)
    assert (late.request_uuid, late.state) == ("u1", PENDING)
    assert str(late) == (
        "request u1 (m.task) expired after 5.1 s in PENDING, on topics ['default']: it was sent to "
        "worker-a 5.1 s ago, which has not said that it started; give it a longer timeout, or "
        "start more workers"
    )
    assert receipts(ledger.tick(6.0)) == {worker.boot: ["1:1"]}


def test_a_digest_that_lacks_it_settles_an_expiry() -> None:
    ledger, worker = make(), Native("a")
    sent(ledger, worker, timeout=5.0)
    ledger.tick(5.0)
    assert isinstance(error(ledger.heard([worker.held(5.2)], 5.2)), RequestTimeout)


def test_a_silent_worker_settles_an_expiry_by_its_start_by() -> None:
    ledger, worker = make(), Native("a")
    sent(ledger, worker, timeout=20.0)
    effects = until(ledger, 0.0, 20.0)  # its lease has run out before
    assert ends(effects) == []
    assert len(cancels(effects)) == 1
    assert ends(until(ledger, 20.0, 20.4)) == ["u1"]


def test_a_result_beats_an_expiry() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker, timeout=5.0)
    ledger.tick(5.0)
    effects = ledger.heard([worker.success(dispatch, 5.1)], 5.1)
    assert outcomes(effects) == {"u1": Value("done")}


def test_running_ends_an_expiry_for_good() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker, timeout=5.0)
    ledger.tick(5.0)
    assert Begin("u1") in ledger.heard([worker.running(dispatch, 5.1)], 5.1)
    effects = beats(ledger, worker, 5.2, 300.0)
    assert cancels(effects) == []
    assert ends(effects) == []
    assert ledger.state_of("u1") == RUNNING


def test_running_takes_back_that_it_was_given_up_or_no_timer_would_be_left() -> None:
    """Expiry asked, the lease of 2 out, RUNNING of the superseded 1 arrives: the lease of 2 has to
    decide again.
    """
    ledger, first, second = make(), Native("a"), Native("b")
    old = sent(ledger, first, timeout=28.9)
    ledger.heard([second.answer(14.0, TASK)], 14.0)
    (new,) = dispatches(ledger.tick(LEASE))
    assert cancels(ledger.tick(28.9))
    ledger.tick(14.0 + LEASE)
    assert ledger.state_of("u1") == WAITING
    ledger.heard([first.running(old, 29.05)], 29.05)
    assert ledger.state_of("u1") == PENDING
    assert ledger._requests["u1"].current is not None
    assert ledger._requests["u1"].current.number == new.attempt
    ledger.tick(29.05 + LEASE)
    assert ledger.state_of("u1") == WAITING  # to be sent again: at least once
    assert ends(run_dry(ledger, 45.0)) == ["u1"]


def test_an_older_attempt_that_runs_is_waited_for_when_the_newer_one_was_given_back() -> None:
    ledger, first, second = make(), Native("a"), Native("b")
    old = sent(ledger, first, timeout=20.0)
    ledger.heard([second.answer(14.0, TASK)], 14.0)
    (new,) = dispatches(ledger.tick(LEASE))
    ledger.tick(20.0)
    ledger.heard([second.gives_back(20.1, "cancelled", new)], 20.1)
    effects = ledger.heard([first.running(old, 20.2), second.answer(20.3, TASK)], 20.3)
    assert dispatches(effects) == []
    assert ledger.state_of("u1") == RUNNING
    ledger.heard([second.answer(30.0, TASK)], 30.0)
    assert [d.attempt for d in dispatches(ledger.tick(20.3 + LEASE))] == [3]


def test_a_worker_that_ended_in_the_meantime_is_not_waited_for_when_an_expiry_is_off() -> None:
    ledger, first, second = make(), Native("a"), Native("b")
    old = sent(ledger, first, timeout=20.0)
    ledger.heard([second.answer(14.0, TASK)], 14.0)
    ledger.tick(LEASE)
    ledger.tick(20.0)
    ledger.gone(second.name, 20.1)
    assert ends(ledger.heard([first.running(old, 20.2)], 20.2)) == []
    request = ledger._requests["u1"]
    assert request.phase == "OPEN"
    assert request.current is None
    assert request.elder is not None
    assert (request.elder.number, request.state) == (old.attempt, RUNNING)


def test_a_crash_during_an_expiry_says_that_it_ran_so_it_runs_again() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker, timeout=5.0)
    ledger.tick(5.0)
    effects = ledger.heard([worker.failure(dispatch, 5.1, "crash")], 5.1)
    assert [d.attempt for d in dispatches(effects)] == [2]
    assert ends(beats(ledger, worker, 5.2, 30.0)) == []


def test_a_result_thrown_away_during_an_expiry_too() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker, timeout=5.0)
    ledger.tick(5.0)
    assert [d.attempt for d in dispatches(ledger.heard([worker.drops(5.1, dispatch)], 5.1))] == [2]


def test_cancelled_during_an_expiry_it_is_cancelled() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker, timeout=5.0)
    ledger.tick(5.0)
    assert [c[3] for c in cancels(cancel(ledger, 5.5))] == ["user"]
    effects = ledger.heard([worker.gives_back(5.6, "cancelled", dispatch)], 5.6)
    assert outcomes(effects) == {"u1": Withdrawn()}


def test_what_nobody_offers_any_more_while_it_may_still_be_started_expires_in_the_same_way() -> (
    None
):
    ledger, frozen = make(), Native("a")
    sent(ledger, frozen)
    effects = until(ledger, 0.0, 60.7)
    assert ends(effects) == []
    effects = until(ledger, 60.7, LEASE + REQUEST_TIMEOUT)
    assert isinstance(error(effects), RequestTimeout)


def test_two_that_come_back_after_their_deadlines_both_expire() -> None:
    ledger, worker = make(), Native("a")
    ledger.heard([worker.answer(0.0, TASK, credit=2)], 0.0)
    found = dispatches(ledger.submitted([order("u1", timeout=5.0), order("u2", timeout=9.0)], 0.0))
    ledger.tick(5.0)
    ledger.heard([worker.answer(5.01, TASK, credit=0)], 5.01)
    effects = ledger.heard([worker.gives_back(5.05, "late", *found)], 5.05)
    assert ends(effects) == ["u1"]
    assert ends(ledger.tick(9.0)) == ["u2"]


# what is recorded ---------------------------------------------------------------------------------


def test_a_request_that_is_over_leaves_nothing_behind() -> None:
    ledger, worker = make(), Native("a")
    for n in range(3):
        dispatch = sent(ledger, worker, float(n), f"u{n}", timeout=100.0)
        ledger.heard([worker.success(dispatch, n + 0.5)], n + 0.5)
    ledger.tick(4.0)
    assert len(ledger) == 0
    assert [len(peer.open) for peer in ledger.directory] == [0]
    assert [len(lane.waiting) for lane in ledger._lanes] in ([], [0])
    assert len(ledger._receipts) == 0


def test_a_withdrawn_request_never_runs_and_leaves_nothing_behind() -> None:
    ledger, worker = make(), Native("a")
    ledger.submitted([order(f"u{n}") for n in range(1000)], 0.0)
    for n in range(999):
        assert ledger.withdrawn(f"u{n}", 0.1) == []
    assert len(ledger) == 1
    assert [len(lane.waiting) for lane in ledger._lanes] == [1]
    (dispatch,) = dispatches(ledger.heard([worker.answer(0.2, TASK)], 0.2))
    assert dispatch.uuid == "u999"
    assert ledger.withdrawn("never known", 0.3) == []


def test_a_request_stopped_at_the_door_gives_its_credit_to_the_next() -> None:
    """Chosen, but its future had been cancelled: the worker never heard of it."""
    ledger, worker = make(), Native("a")
    ledger.heard([worker.answer(0.0, TASK, credit=1)], 0.0)
    ledger.submitted([order("u1"), order("u2")], 0.0)
    effects = ledger.withdrawn("u1", 0.0)
    assert [d.uuid for d in dispatches(effects)] == ["u2"]
    assert len(ledger) == 1
    assert receipts(ledger.tick(1.0)) == {}
