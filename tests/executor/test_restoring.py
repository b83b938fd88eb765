"""What is believed after a restart, and what is done about it: nothing, until somebody speaks."""

from __future__ import annotations

import time
from typing import Any

import pytest

from executor.effects import Begin, Effect, Publish, Resolve, Value, Withdrawn
from executor.ledger import Ledger
from executor.request import round_name
from protocol import envelope, messages
from protocol.envelope import Envelope, Header
from protocol.errors import RequestTimeout, ResultLost, TaskCancelled, WorkerLost
from protocol.events import Cancelled, Dispatched, OverReason, Submitted
from protocol.history import AttemptStatus, RequestStatus
from protocol.messages import Response
from protocol.parcel import Received
from protocol.retry import Retry
from protocol.states import PENDING, RUNNING, WAITING
from protocol.timing import KEEP_JOURNALED, LEASE
from tests.executor.peers import (
    EXCHANGE,
    EXECUTOR,
    TOPIC,
    Native,
    Taskflow,
    arrived,
    cancels,
    delivered,
    dispatches,
    letters,
    lines,
    outcomes,
    receipts,
)
from tests.executor.scenes import TASK, ends, error, keys, run_dry, until

WALL = 1_000_000.0  # the journal's clock at the restart
NOW = 50.0  # ours


def attempt(
    worker: Native,
    number: int = 1,
    *,
    ago: float = 5.0,
    runs: bool = False,
    over: OverReason | None = None,
    ticket: str | None = None,
    base: int = 1,
    uuid: str = "u1",
) -> AttemptStatus:
    """One dispatch by the incarnation before."""
    event = Dispatched(
        uuid,
        number,
        base,
        "native",
        TOPIC,
        worker.name,
        worker.boot,
        f"{TOPIC}.{worker.boot}",
        ticket or f"1:{number}",
        int((NOW - ago + worker.ahead + 60.0) * 1000),
    )
    return AttemptStatus(event, WALL - ago, runs, over)


def status(
    *attempts: AttemptStatus,
    uuid: str = "u1",
    ago: float = 10.0,
    base: int = 1,
    crashes: int = 0,
    cancelled: Cancelled | None = None,
    **more: Any,
) -> RequestStatus:
    """A request as the journal has it."""
    body = messages.Request(TASK, arguments={"n": uuid}).to_body()
    submitted = Submitted(uuid, TASK, body, [TOPIC], **more)
    return RequestStatus(
        submitted,
        WALL - ago,
        base,
        crashes,
        list(attempts),
        cancelled,
        ran_before_cancel=any(known.is_running for known in attempts),
    )


def again(*statuses: RequestStatus, now: float = NOW) -> tuple[Ledger, list[Effect]]:
    """The next incarnation, which has read these."""
    ledger = Ledger(EXECUTOR, EXCHANGE, (TOPIC,), incarnation=2, keeps_journal=True)
    return ledger, ledger.restored(statuses, now, WALL)


def says(worker: Native, response: Response, now: float, tickets: str = "1:1") -> Received:
    """About what the incarnation before had sent."""
    header = Header(
        worker=worker.name,
        boot=worker.boot,
        clock=int((now + worker.ahead) * 1000),
        tickets=tickets,
    )
    around = Envelope(envelope.RESPONSE, correlation_id="u1", header=header)
    return delivered(around, response, at_worker=False)


# what is believed ---------------------------------------------------------------------------------


def test_what_waited_waits() -> None:
    ledger, effects = again(status())
    assert effects == []
    assert ledger.state_of("u1") == WAITING
    (dispatch,) = dispatches(ledger.heard([Native("a").answer(51.0, TASK)], 51.0))
    assert (dispatch.attempt, dispatch.event.ticket) == (1, "2:1")
    request = arrived(dispatch.parcel, at_worker=True).message
    assert request == messages.Request(TASK, name=TASK, arguments={"n": "u1"})


@pytest.mark.parametrize(("runs", "state"), [(False, PENDING), (True, RUNNING)])
def test_what_was_sent_is_where_it_was_and_sent_to_nobody_else(runs: bool, state: str) -> None:
    worker, idle = Native("a"), Native("b")
    ledger, effects = again(status(attempt(worker, runs=runs)))
    assert effects == ([Begin("u1")] if runs else [])
    assert ledger.state_of("u1") == state
    assert keys(ledger.consuming(NOW)) == ["test.native.call"]  # everybody is asked, with how long
    effects = ledger.heard([idle.answer(51.0, TASK)], 51.0)
    effects += until(ledger, NOW, NOW + LEASE - 0.1)
    assert dispatches(effects) == []
    assert ledger.state_of("u1") == state


def test_its_result_is_taken_though_its_worker_has_not_introduced_itself() -> None:
    worker = Native("a")
    ledger, _ = again(status(attempt(worker)))
    effects = ledger.heard([says(worker, Response.success(7), 50.1)], 50.1)
    assert outcomes(effects) == {"u1": Value(7)}
    (letter,) = letters(ledger.tick(51.0), envelope.RECEIPT)
    assert letter.envelope.header is not None
    assert letter.envelope.header.incarnation == 2
    assert letter.message.tickets == "1:1"  # type: ignore[union-attr]


def test_one_lease_decides_and_then_it_goes_elsewhere() -> None:
    ledger, _ = again(status(attempt(Native("a"))))
    ledger.consuming(NOW)
    ledger.heard([Native("b").answer(NOW + 10.0, TASK)], NOW + 10.0)
    (dispatch,) = dispatches(ledger.tick(NOW + LEASE))
    assert (dispatch.attempt, dispatch.event.boot) == (2, "b" * 16)


def test_a_worker_that_does_not_have_it_says_so_and_it_is_sent_again() -> None:
    worker = Native("a")
    ledger, _ = again(status(attempt(worker, ago=100.0)))
    effects = ledger.heard([worker.answer(51.0, TASK), worker.held(51.0)], 51.0)
    (dispatch,) = dispatches(effects)
    assert dispatch.attempt == 2
    assert dispatch.parcel.envelope.header is not None
    assert dispatch.parcel.envelope.header.tickets == "1:1 2:1"


def test_a_worker_that_may_still_get_it_is_sent_the_same_again() -> None:
    worker = Native("a")
    ledger, _ = again(status(attempt(worker, ago=20.0)))
    effects = ledger.heard([worker.answer(51.0, TASK), worker.held(51.0)], 51.0)
    assert dispatches(effects) == []
    (letter,) = letters(effects, envelope.REQUEST)
    header = letter.envelope.header
    assert header is not None
    assert (header.incarnation, header.tickets, header.attempt) == (2, "1:1", None)
    assert letter.message == messages.Request(TASK, name=TASK, arguments={"n": "u1"})


def test_what_perhaps_never_left_is_sent_at_the_first_word_of_its_worker_and_not_a_beat_later() -> (
    None
):
    """It was written down, and then its sender was killed. Before, that cost a beat."""
    worker = Native("a")
    ledger, _ = again(status(attempt(worker, ago=0.2)))
    effects = ledger.heard([worker.answer(50.1, TASK), worker.held(50.1)], 50.1)
    assert dispatches(effects) == []
    (letter,) = letters(effects, envelope.REQUEST)
    assert letter.envelope.header is not None
    assert letter.envelope.header.tickets == "1:1"
    when = []
    for moment in range(501, 1100):
        now = moment / 10
        if letters(ledger.heard([worker.held(now)], now), envelope.REQUEST):
            when.append(now)
    assert when == [55.1, 60.1, 70.1, 90.1]  # then as usual


def test_a_worker_that_has_it_is_left_alone() -> None:
    worker = Native("a")
    ledger, _ = again(status(attempt(worker, ago=20.0)))
    assert letters(ledger.heard([worker.held(51.0, queued="1:1")], 51.0), envelope.REQUEST) == []
    ledger.heard([worker.held(52.0, running="1:1")], 52.0)
    assert ledger.state_of("u1") == RUNNING


def test_what_was_lost_last_may_have_been_taken_back_and_has_one_more_lease() -> None:
    """No line says so: it was known to run before."""
    worker = Native("a")
    ledger, _ = again(status(attempt(worker, over="lost", runs=True)))
    assert ledger.state_of("u1") == RUNNING
    end = NOW + LEASE
    assert dispatches(ledger.heard([Native("b").answer(end - 1.0, TASK)], end - 1.0)) == []
    assert [d.attempt for d in dispatches(ledger.tick(end))] == [2]


@pytest.mark.parametrize("over", ["never", "dropped"])
def test_one_that_was_over_waits_again(over: OverReason) -> None:
    worker = Native("a")
    ledger, _ = again(status(attempt(worker, over=over)))
    assert ledger.state_of("u1") == WAITING
    (dispatch,) = dispatches(ledger.heard([worker.answer(51.0, TASK)], 51.0))
    assert dispatch.attempt == 2


def test_the_lost_of_a_round_count_on() -> None:
    lost = [attempt(Native(boot), n, over="lost", runs=True) for n, boot in enumerate("ab", 1)]
    ledger, _ = again(status(*lost, attempt(Native("c"), 3, runs=True)))
    assert isinstance(error(ledger.tick(NOW + LEASE)), WorkerLost)


def test_rounds_and_crashes_count_on() -> None:
    worker = Native("a")
    ledger, _ = again(status(attempt(worker), base=2, crashes=2))
    assert ledger.state_of("u1") == WAITING
    (dispatch,) = dispatches(ledger.heard([worker.answer(51.0, TASK)], 51.0))
    assert (dispatch.attempt, dispatch.event.base) == (2, 2)
    assert "PoisonTask" in repr(
        error(ledger.heard([worker.failure(dispatch, 52.0, "crash")], 52.0))
    )


def test_an_end_of_a_round_before_is_fenced() -> None:
    worker = Native("a")
    ledger, _ = again(status(attempt(worker), base=2))
    effects = ledger.heard([says(worker, Response.success(1), 51.0)], 51.0) + ledger.tick(52.0)
    assert ends(effects) == []
    assert ledger.counts == {"fenced": 1}
    assert receipts(effects) == {worker.boot: ["1:1"]}


def test_what_went_to_a_taskflow_worker_is_waited_for_there() -> None:
    ledger = Ledger(EXECUTOR, EXCHANGE, (TOPIC,), ("taskflow",), incarnation=2)
    event = Dispatched("u1", 1, 1, "taskflow", TOPIC, TOPIC)
    assert ledger.restored([status(AttemptStatus(event, WALL - 5.0))], NOW, WALL) == []
    assert ledger.state_of("u1") == PENDING
    assert outcomes(ledger.heard([Taskflow().success("u1", 3)], 51.0)) == {"u1": Value(3)}


def test_what_went_to_a_taskflow_worker_expires_as_it_would_have() -> None:
    ledger = Ledger(EXECUTOR, EXCHANGE, (TOPIC,), ("native", "taskflow"), incarnation=2)
    event = Dispatched("u1", 1, 1, "taskflow", TOPIC, TOPIC)
    ledger.restored([status(AttemptStatus(event, WALL - 5.0))], NOW, WALL)
    assert isinstance(error(run_dry(ledger, NOW, 61.0)), RequestTimeout)


# expiry -------------------------------------------------------------------------------------------


def test_its_timeout_runs_from_when_it_was_submitted() -> None:
    ledger, _ = again(status(ago=10.0, timeout=30.0))
    assert ends(until(ledger, NOW, NOW + 19.9)) == []
    assert isinstance(error(until(ledger, NOW, NOW + 20.0)), RequestTimeout)


def test_what_expired_meanwhile_is_settled_like_any_other() -> None:
    worker = Native("a")
    ledger, _ = again(status(attempt(worker, ago=20.0), ago=21.0, timeout=15.0))
    effects = ledger.tick(NOW)
    assert cancels(effects) == [(worker.boot, "1:1", "keep", "expired")]
    assert ends(effects) == []
    effects = ledger.heard([says(worker, Response.success(1), 50.1)], 50.1)
    assert outcomes(effects) == {"u1": Value(1)}


def test_what_has_run_does_not_expire() -> None:
    ledger, _ = again(status(attempt(Native("a"), runs=True), ago=100.0, timeout=15.0))
    assert ends(until(ledger, NOW, NOW + LEASE - 1)) == []


def test_a_start_by_is_counted_anew_from_now() -> None:
    worker = Native("a")
    ledger, _ = again(status(attempt(worker), cancelled=Cancelled("u1")))
    assert ends(until(ledger, NOW, NOW + 60.0)) == []
    assert ends(until(ledger, NOW + 60.0, NOW + 61.0)) == ["u1"]


# cancelled before ---------------------------------------------------------------------------------


def test_cancelled_and_never_sent_it_ends() -> None:
    _, effects = again(status(cancelled=Cancelled("u1")))
    assert effects == [Resolve("u1", Withdrawn())]


def test_cancelled_and_sent_its_worker_is_told_again() -> None:
    worker = Native("a")
    ledger, effects = again(status(attempt(worker), cancelled=Cancelled("u1")))
    assert cancels(effects) == [(worker.boot, "1:1", "keep", "user")]
    effects = ledger.heard([worker.gives_back(51.0, "cancelled", "1:1")], 51.0)
    assert outcomes(effects) == {"u1": Withdrawn()}


def test_cancelled_by_force_while_it_ran_its_worker_is_told_to_end_it() -> None:
    worker = Native("a")
    ledger, effects = again(
        status(attempt(worker, runs=True), cancelled=Cancelled("u1", force=True))
    )
    assert Begin("u1") in effects
    assert cancels(effects) == [(worker.boot, "1:1", "stop", "user")]
    assert isinstance(error(ledger.tick(NOW + LEASE)), TaskCancelled)


def test_cancelled_by_force_before_it_ran_its_caller_knows() -> None:
    worker = Native("a")
    ledger, effects = again(status(attempt(worker), cancelled=Cancelled("u1", force=True)))
    assert cancels(effects) == [(worker.boot, "1:1", "stop", "user")]
    effects = ledger.heard([says(worker, Response.success(1), 51.0)], 51.0)
    assert outcomes(effects) == {"u1": Withdrawn()}


def test_every_attempt_ever_sent_has_to_be_settled_also_of_rounds_before() -> None:
    first, second = Native("a"), Native("b")
    attempts = [attempt(first, 1), attempt(second, 2, base=2)]
    ledger, effects = again(status(*attempts, base=2, cancelled=Cancelled("u1")))
    assert [told[0] for told in cancels(effects)] == [first.boot, second.boot]
    late = second.gives_back(51.0, "cancelled", "1:2")
    assert ends(ledger.heard([late], 51.0)) == []
    assert ends(until(ledger, 51.0, NOW + 61.0)) == ["u1"]


# at most once -------------------------------------------------------------------------------------


@pytest.mark.parametrize("runs", [False, True])
def test_at_most_once_is_not_started_again_because_of_a_restart(runs: bool) -> None:
    ledger, _ = again(status(attempt(Native("a"), runs=runs), mode="amo"))
    ledger.heard([Native("b").answer(NOW + 10.0, TASK)], NOW + 10.0)
    effects = ledger.tick(NOW + LEASE)
    assert dispatches(effects) == []
    assert isinstance(error(effects), WorkerLost)


def test_at_most_once_is_sent_again_on_its_workers_word() -> None:
    worker = Native("a")
    ledger, _ = again(status(attempt(worker, ago=100.0), mode="amo"))
    effects = ledger.heard([worker.answer(51.0, TASK), worker.held(51.0)], 51.0)
    assert [d.attempt for d in dispatches(effects)] == [2]
    given_back, _ = again(status(attempt(worker, over="never"), mode="amo"))
    assert len(dispatches(given_back.heard([worker.answer(51.0, TASK)], 51.0))) == 1


@pytest.mark.parametrize("over", ["lost", "dropped"])
def test_at_most_once_whose_last_line_was_torn_off_ends_as_it_would_have(over: OverReason) -> None:
    _, effects = again(status(attempt(Native("a"), over=over), mode="amo"))
    assert isinstance(error(effects), WorkerLost)


def test_at_most_once_of_so_long_ago_that_its_worker_dropped_it_may_have_run() -> None:
    old = attempt(Native("a"), ago=KEEP_JOURNALED + 1.0)
    _, effects = again(status(old, mode="amo"))
    assert isinstance(error(effects), WorkerLost)
    ledger, effects = again(status(old))
    assert effects == []
    assert len(ledger) == 1


def test_at_most_once_that_ran_and_of_which_nothing_is_left_has_lost_its_result() -> None:
    worker = Native("a")
    ledger, _ = again(status(attempt(worker, ago=100.0, runs=True), mode="amo"))
    assert isinstance(error(ledger.heard([worker.held(51.0)], 51.0)), ResultLost)


# many ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_tens_of_thousands_are_taken_up_within_seconds() -> None:
    """Processor time, and far more than it is: what grows with the square would take minutes."""
    workers = [Native(f"{n:016x}") for n in range(20)]
    statuses = [
        status(
            *[attempt(workers[n % 20], uuid=f"u{n}", ticket=f"1:{n // 20 + 1}", runs=n % 3 == 0)]
            * (n % 4 > 0),
            uuid=f"u{n}",
            timeout=None if n % 2 else 1000.0,
        )
        for n in range(20_000)
    ]
    began = time.process_time()
    ledger, effects = again(*statuses)
    ledger.consuming(NOW)
    took = time.process_time() - began
    assert took < 4.0, f"{took:.1f} s"
    assert len(ledger) == 20_000
    assert not any(isinstance(effect, Publish) for effect in effects)
    held = workers[1].held(51.0, queued="1:1-1000")
    began = time.process_time()
    assert lines(ledger.heard([held], 51.0)) == []
    assert time.process_time() - began < 1.0


# not before its time ------------------------------------------------------------------------------


def started(ledger: Ledger, since: float) -> float:
    """When it goes to a worker that is there all the time."""
    worker = Native("a")
    now = since
    effects = ledger.heard([worker.answer(now, TASK, credit=1)], now)
    while not dispatches(effects):
        now = ledger.next_deadline()
        assert now < since + 1000.0
        effects = ledger.heard([worker.answer(now, TASK, credit=1)], now)
        effects += ledger.tick(now)
    return now


def test_what_was_not_to_start_yet_waits_for_what_is_left_of_its_time() -> None:
    ledger, effects = again(status(not_before=WALL + 100.0, priority=3))
    assert effects == []
    assert ledger.state_of("u1") == WAITING
    order = ledger._requests["u1"].order
    assert (order.eta, order.priority) == (WALL + 100.0, 3)
    assert started(ledger, NOW) == NOW + 100.0


def test_what_became_due_meanwhile_goes_at_once() -> None:
    ledger, _ = again(status(not_before=WALL - 1.0))
    assert started(ledger, NOW) == NOW


def test_its_time_is_the_wall_clocks_though_that_was_set_meanwhile() -> None:
    """Set back by an hour it starts an hour later: never before the clock says that time."""
    ledger, _ = again(status(ago=-3600.0, not_before=WALL + 3600.0 + 30.0))
    ledger.heard([Native("a").answer(NOW, TASK)], NOW)
    assert dispatches(until(ledger, NOW, NOW + 3629.0)) == []
    assert ledger._requests["u1"].not_before == NOW + 3630.0


def test_a_timeout_runs_from_its_time_after_a_restart_too() -> None:
    ledger, _ = again(status(not_before=WALL + 100.0, timeout=5.0))
    assert ends(until(ledger, NOW, NOW + 104.9)) == []
    assert ends(until(ledger, NOW + 104.9, NOW + 105.0)) == ["u1"]


# its own limits -----------------------------------------------------------------------------------


def test_what_was_sent_before_counts_for_its_limits() -> None:
    """Two are at a worker, and were started 20 s ago."""
    worker = Native("a")
    sent = [
        status(attempt(worker, uuid=uuid, ago=20.0, ticket=ticket), uuid=uuid, rate="2/m")
        for uuid, ticket in (("u1", "1:1"), ("u2", "1:2"))
    ]
    ledger, _ = again(*sent, status(uuid="u3", rate="2/m"), status(uuid="u4", max_running=3))
    effects = ledger.heard([worker.answer(NOW, TASK, credit=9)], NOW)
    assert [d.uuid for d in dispatches(effects)] == ["u4"]
    assert ledger._book.throttle.next_wake() == NOW + 40.0


def test_a_rate_that_cannot_be_read_is_none() -> None:
    ledger, _ = again(status(rate="3 per fortnight"))
    assert ledger._requests["u1"].order.rate is None


# retries ------------------------------------------------------------------------------------------

TWICE = Retry(max=2, backoff=8.0, jitter=0.0)


def between_two_runs(left: float, retries: int = 1) -> RequestStatus:
    """It failed, and so much is left of its wait."""
    found = status(attempt(Native("a"), runs=True), base=2, retries=TWICE.to_json())
    found.retries, found.retry_base, found.retry_at = retries, 2, WALL + left
    return found


def test_what_waits_to_be_run_again_goes_on_waiting_and_is_then_sent_once() -> None:
    ledger, effects = again(between_two_runs(6.0))
    assert effects == []  # it does not run: its future can be cancelled
    ledger.heard([Native("b").answer(NOW, TASK)], NOW)
    assert dispatches(until(ledger, NOW, NOW + 5.9)) == []
    ledger.heard([Native("b").answer(NOW + 5.95, TASK)], NOW + 5.95)
    (dispatch,) = dispatches(until(ledger, NOW + 5.95, NOW + 6.1))
    assert (dispatch.attempt, dispatch.event.base) == (2, 2)


def test_what_should_have_been_run_again_meanwhile_is_sent_at_once() -> None:
    ledger, _ = again(between_two_runs(-100.0))
    assert len(dispatches(ledger.heard([Native("b").answer(NOW, TASK)], NOW))) == 1


def test_its_retries_are_counted_on() -> None:
    worker = Native("b")
    ledger, _ = again(between_two_runs(-1.0, retries=2))
    (dispatch,) = dispatches(ledger.heard([worker.answer(NOW, TASK)], NOW))
    assert ends(ledger.heard([worker.failure(dispatch, NOW + 1)], NOW + 1)) == ["u1"]


def test_one_that_waits_to_be_run_again_is_cancelled_at_once() -> None:
    ledger, _ = again(between_two_runs(6.0))
    assert outcomes(ledger.cancelled("u1", False, NOW)) == {"u1": Withdrawn()}


def test_a_taskflow_workers_answer_to_a_retry_is_known_after_a_restart() -> None:
    first, second = (
        Dispatched("u1", number, number, "taskflow", TOPIC, TOPIC) for number in (1, 2)
    )
    found = status(
        AttemptStatus(first, WALL - 9, is_running=True),
        AttemptStatus(second, WALL - 5),
        base=2,
        retries=TWICE.to_json(),
    )
    found.retries, found.retry_base, found.retry_at = 1, 2, WALL - 5
    ledger = Ledger(EXECUTOR, EXCHANGE, (TOPIC,), ("taskflow",), incarnation=2, keeps_journal=True)
    ledger.restored([found], NOW, WALL)
    assert not outcomes(ledger.heard([Taskflow().success("u1")], NOW))
    name = round_name("u1", 2)
    assert outcomes(ledger.heard([Taskflow().success(name, 3)], NOW)) == {"u1": Value(3)}
