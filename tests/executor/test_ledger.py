"""What the ledger does with all requests together: asking, expiry, taskflow's workers, its cost.

Its rooms have tests of their own; any sequence of inputs: ``test_ledger_with_anything``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from executor.book import MOST_DUE
from executor.effects import Effect, Publish, Resolve, Superseded, Value, Withdrawn
from executor.ledger import Ledger
from executor.request import Order
from protocol import envelope
from protocol.envelope import Envelope
from protocol.errors import LimitRefused, RequestTimeout, TasksUnloadable
from protocol.parcel import Refused
from protocol.states import FAILURE, WAITING
from protocol.timing import LEASE, REQUEST_TIMEOUT
from protocol.topology import Dialect
from tests.executor.peers import (
    EXCHANGE,
    EXECUTOR,
    TOPIC,
    Native,
    Taskflow,
    dispatches,
    order,
    outcomes,
)
from tests.executor.scenes import (
    TASK,
    beats,
    ends,
    error,
    keys,
    make,
    run_dry,
    running,
    sent,
    until,
)

# asking -------------------------------------------------------------------------------------------


def test_native_workers_are_called_soon_again_and_then_each_period() -> None:
    """A call that nobody hears yet is gone."""
    ledger = Ledger(EXECUTOR, EXCHANGE, (TOPIC,))
    assert keys(ledger.consuming(0.0)) == ["test.native.call"]
    called = []
    for _ in range(7):
        now = ledger.next_deadline()
        assert keys(ledger.tick(now)) in (["test.native.call"], [])  # [] is taskflow's turn
        called.append(now)
    assert called[:4] == [0.5, 1.5, 3.5, 5.0]
    ledger.consuming(100.0)
    assert ledger.next_deadline() == 100.5  # back after an outage: quickly again


def test_who_is_superseded_is_told_by_what_its_workers_say() -> None:
    ledger, worker = make(incarnation=5, keeps_journal=True), Native("a")
    running(ledger, worker)
    effects = beats(ledger, worker, 1.0, 1.0 + LEASE + 5.0, serves=6)
    found, *_ = [e for e in effects if isinstance(e, Superseded)]
    assert f"{worker.name} serves a newer one" in str(found.error)


def test_taskflows_topics_are_asked_each_period_and_not_more_often() -> None:
    """There each question waits until somebody answers it."""
    ledger = Ledger(EXECUTOR, EXCHANGE, (TOPIC,), ("taskflow",))
    assert keys(ledger.consuming(0.0)) == [TOPIC]
    asked = [now for now in range(1, 31) if keys(ledger.tick(float(now)))]
    assert asked == [5, 10, 15, 20, 25, 30]


def test_taskflow_is_asked_on_each_topic_without_a_header() -> None:
    ledger = Ledger(EXECUTOR, EXCHANGE, ("x", "y"), ("taskflow",))
    effects = ledger.consuming(0.0)
    assert keys(effects) == ["x", "y"]
    assert all(isinstance(e, Publish) and e.parcel.envelope.header is None for e in effects)
    assert all(isinstance(e, Publish) and e.parcel.envelope.reply_to == EXECUTOR for e in effects)


# expiry -------------------------------------------------------------------------------------------


def expired(ledger: Ledger, now: float) -> str:
    """The message with which the one request expires at this moment, and not 10 ms before."""
    assert ends(ledger.tick(now - 0.01)) == []
    late = error(ledger.tick(now))
    assert isinstance(late, RequestTimeout)
    assert late.request_uuid == "u1"
    assert len(ledger) == 0
    return str(late)


def test_expired_without_any_worker() -> None:
    ledger = make()
    ledger.submitted([order("u1")], 1.0)
    assert expired(ledger, 61.0) == (
        "request u1 (m.task) expired after 60.0 s in WAITING, on topics ['default']: no worker has "
        "been heard from; start one with: python -m worker MODULE"
    )


def test_expired_by_its_own_timeout_in_a_long_queue() -> None:
    """Before, it was told to submit to the topic it had been submitted to."""
    ledger, worker = make(), Native("a")
    ledger.heard([worker.answer(0.0, TASK, credit=1)], 0.0)
    ledger.submitted([order("u0"), order("u1", timeout=7.0)], 1.0)
    ledger.heard([worker.answer(5.0, TASK, credit=1)], 5.0)
    ledger.tick(7.99)
    assert str(error(ledger.tick(8.0))).endswith(
        "in WAITING, on topics ['default']: heard from 1 worker, last 3.0 s ago; 1 of them offers "
        "it, with 1 unfinished request of ours: give it a longer timeout, or start more workers"
    )


def test_many_that_expire_at_once_are_explained_once() -> None:
    """Looking for near names takes a millisecond: ten thousand of them would hold the keeper up."""
    ledger, worker = make(), Native("a")
    names = [f"package.module.task_{n}" for n in range(200)]
    ledger.submitted([order(f"u{n}", "package.module.taskk") for n in range(300)], 0.0)
    ledger.heard([worker.answer(59.0, *names)], 59.0)
    effects: list[Effect] = []
    calls = count_calls(lambda: effects.extend(ledger.tick(60.0)), named="get_close_matches")
    assert calls == 1
    assert len(ends(effects)) == 300


def test_the_default_clock_runs_only_while_nobody_offers_the_task() -> None:
    ledger, worker = make(), Native("a")
    ledger.heard([worker.answer(0.0, TASK, credit=1)], 0.0)
    ledger.submitted([order("u0"), order("u1")], 0.0)
    now = 0.0
    while now < 1000.0:
        now += 5.0
        ledger.heard([worker.answer(now, TASK, credit=1)], now)
        assert ends(ledger.tick(now)) == []
    ledger.heard([worker.answer(1001.0, "m.other", credit=1)], 1001.0)
    for now in (1010.0, 1020.0, 1030.0, 1040.0, 1050.0, 1060.0):
        ledger.heard([worker.answer(now, "m.other", credit=1)], now)
        assert ends(ledger.tick(now)) == []
    assert "u1" in ends(ledger.tick(1001.0 + REQUEST_TIMEOUT))


def test_an_explicit_timeout_runs_from_submit_whoever_offers_the_task() -> None:
    ledger = make()
    ledger.submitted([order("u1", timeout=300.0)], 0.0)
    assert ends(ledger.tick(299.9)) == []
    assert ends(ledger.tick(300.0)) == ["u1"]


def test_running_stops_the_clock() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker, timeout=5.0)
    ledger.heard([worker.running(dispatch, 4.0)], 4.0)
    for now in range(5, 100, 5):
        ledger.heard([worker.answer(float(now), TASK)], float(now))
        assert ends(ledger.tick(float(now))) == []
    assert ends(ledger.heard([worker.success(dispatch, 100.0)], 100.0)) == ["u1"]


def test_what_comes_back_after_its_deadline_expires_at_once_and_is_not_sent() -> None:
    """The timer had run already, while the worker had it: before, nothing ever ended it."""
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker, timeout=5.0)
    ledger.heard([worker.answer(4.9, TASK, credit=0)], 4.9)
    ledger.tick(5.0)
    effects = ledger.heard([worker.gives_back(5.05, "late", dispatch)], 5.05)
    effects += ledger.tick(5.06)
    assert dispatches(effects) == []
    assert isinstance(error(effects), RequestTimeout)


def test_when_private_workers_cannot_work_what_nobody_else_offers_ends_at_once() -> None:
    ledger = Ledger(EXECUTOR, EXCHANGE, ("private", TOPIC), ("native",), "private")
    ledger.consuming(0.0)
    own, other = Native("a", topics=("private",)), Native("b")
    ledger.heard([own.answer(0.0, "m.own", credit=2), other.answer(0.0, "m.other")], 0.0)
    topics = ("private", TOPIC)
    orders = [order(f"u{n}", "m.own", topics=topics) for n in range(2)]
    ledger.submitted([*orders, order("u2", topics=topics)], 0.0)
    effects = ledger.hopeless("they end at once", 1.0)
    assert ends(effects) == ["u2"]
    assert isinstance(error(effects), TasksUnloadable)
    assert ledger.next_deadline() > 1.0  # though each of its own workers is busy
    assert ends(ledger.submitted([order("u3", topics=topics)], 2.0) + ledger.tick(2.0)) == ["u3"]


def test_while_private_workers_are_busy_what_they_may_learn_to_offer_waits() -> None:
    ledger = Ledger(EXECUTOR, EXCHANGE, ("private",), ("native",), "private")
    ledger.consuming(0.0)
    own = Native("a", topics=("private",))
    ledger.heard([own.answer(0.0, TASK, credit=2)], 0.0)
    orders = [order(f"u{n}", topics=("private",)) for n in range(2)]
    found = dispatches(ledger.submitted([*orders, order("new", "m.new", topics=("private",))], 0.0))
    for now in range(0, 300, 5):
        ledger.heard([own.running(dispatch, float(now)) for dispatch in found], float(now))
        assert ends(ledger.tick(float(now))) == []
    answers = [own.success(dispatch, 300.0) for dispatch in found]
    ledger.heard(answers, 300.0)
    assert "new" in ends(run_dry(ledger, 300.0, limit=2 * REQUEST_TIMEOUT + LEASE))


# a time before which it is offered to nobody ------------------------------------------------------


def test_what_is_not_due_is_offered_to_nobody_and_then_at_its_very_time() -> None:
    ledger, worker = make(), Native("a")
    ledger.heard([worker.answer(0.0, TASK)], 0.0)
    assert ledger.submitted([order("u1", not_before=3.25)], 0.0) == []
    assert ledger.state_of("u1") == WAITING
    assert dispatches(until(ledger, 0.0, 3.24)) == []
    assert ledger.next_deadline() == 3.25
    assert [d.uuid for d in dispatches(ledger.tick(3.25))] == ["u1"]


def test_whose_time_is_over_already_goes_at_once() -> None:
    ledger, worker = make(), Native("a")
    ledger.heard([worker.answer(5.0, TASK)], 5.0)
    assert len(dispatches(ledger.submitted([order("u1", not_before=4.0)], 5.0))) == 1


def test_due_at_one_moment_they_go_as_they_were_submitted() -> None:
    ledger, worker = make(), Native("a")
    orders = [order(f"u{n}", not_before=1.0) for n in range(4)]
    ledger.submitted(orders, 0.0)
    ledger.heard([worker.answer(0.9, TASK, credit=9)], 0.9)
    assert [d.uuid for d in dispatches(ledger.tick(1.0))] == ["u0", "u1", "u2", "u3"]


def test_many_that_are_due_at_one_moment_come_over_several_turns() -> None:
    ledger = make()
    count = 2 * MOST_DUE + 1
    ledger.submitted([order(f"u{n}", not_before=1.0) for n in range(count)], 0.0)
    turns = 0
    while ledger.next_deadline() <= 1.0:
        ledger.tick(1.0)
        turns += 1
    assert turns == 3
    assert len(ledger) == count


def test_a_timeout_runs_from_the_time_it_may_start() -> None:
    ledger = make()
    ledger.submitted([order("u1", timeout=2.0, not_before=100.0)], 0.0)
    assert ends(until(ledger, 0.0, 101.9)) == []
    effects = until(ledger, 101.9, 102.0)
    assert ends(effects) == ["u1"]
    assert "expired after 2.0 s in WAITING, which began 100.0 s after" in str(error(effects))


@pytest.mark.parametrize("dialect", ["native", "taskflow"])
def test_the_wait_for_somebody_who_offers_it_runs_from_there_too(dialect: Dialect) -> None:
    ledger = make(dialect)
    ledger.submitted([order("u0", "m.other"), order("u1", not_before=100.0)], 0.0)
    assert ends(until(ledger, 0.0, 99.0)) == ["u0"]
    assert ends(until(ledger, 99.0, 100.0 + REQUEST_TIMEOUT - 0.1)) == []
    assert ends(until(ledger, 159.9, 100.0 + REQUEST_TIMEOUT)) == ["u1"]


def test_one_that_nobody_can_end_is_refused_when_it_is_due() -> None:
    ledger, worker = make(), Native("a", caps=envelope.CAPS)
    ledger.heard([worker.answer(0.0, TASK)], 0.0)
    assert ledger.submitted([order("u1", time_limit=1.0, not_before=3.0)], 0.0) == []
    assert isinstance(error(ledger.tick(3.0)), LimitRefused)


def test_cancelled_before_its_time_it_ends_at_once_and_nothing_is_left_of_it() -> None:
    ledger = make()
    ledger.submitted([order("u1", not_before=100.0)], 0.0)
    assert outcomes(ledger.cancelled("u1", False, 1.0)) == {"u1": Withdrawn()}
    assert len(ledger) == 0
    assert ledger.next_deadline() < 10.0


def test_one_that_is_put_back_until_later_waits_for_that() -> None:
    """As the book does it: the time is set, and then it waits again."""
    ledger, worker = make(), Native("a")
    running(ledger, worker)
    request = ledger._requests["u1"]
    request.attempts[-1].end(FAILURE)
    request.not_before = 4.0
    ledger._rounds.wait_again(request, 1.0)
    beats(ledger, worker, 1.0, 3.9)
    assert ledger.state_of("u1") == WAITING
    assert [d.attempt for d in dispatches(ledger.tick(4.0))] == [2]


# priority -----------------------------------------------------------------------------------------


def test_higher_priorities_go_first_whatever_the_task_and_equals_as_they_were_submitted() -> None:
    ledger, worker = make(), Native("a")
    ledger.submitted([order(f"u{n}", priority=n % 3) for n in range(6)], 0.0)
    ledger.submitted([order("other", "m.other", priority=9)], 0.0)
    assert went(ledger, worker, 7) == ["other", "u2", "u5", "u1", "u4", "u0", "u3"]


def test_of_those_submitted_at_once_the_highest_gets_the_only_place() -> None:
    ledger, worker = make(), Native("a")
    ledger.heard([worker.answer(0.0, TASK, credit=1)], 0.0)
    effects = ledger.submitted([order("u1"), order("u2", priority=1)], 0.0)
    assert [d.uuid for d in dispatches(effects)] == ["u2"]


def test_a_higher_one_that_becomes_due_goes_before_a_lower_one_that_waits() -> None:
    ledger, worker = make(), Native("a")
    ledger.submitted([order("low"), order("high", priority=1, not_before=2.0)], 0.0)
    ledger.tick(2.0)
    assert went(ledger, worker, 2, now=2.0) == ["high", "low"]


def went(ledger: Ledger, worker: Native, count: int, now: float = 0.0) -> list[str]:
    """In which order they go to a worker that has room for one at a time."""
    gone: list[str] = []
    effects = ledger.heard([worker.answer(now, TASK, "m.other", credit=1)], now)
    for _ in range(count):
        (dispatch,) = dispatches(effects)
        gone.append(dispatch.uuid)
        now += 0.1
        effects = ledger.heard([worker.success(dispatch, now)], now)
    return gone


# taskflow's workers, and both at once -------------------------------------------------------------


def test_a_taskflow_worker_gets_the_request_on_its_topic_and_nothing_it_does_not_know() -> None:
    ledger = make("taskflow")
    ledger.heard([Taskflow().answer(TASK)], 0.0)
    (dispatch,) = dispatches(ledger.submitted([order("u1")], 0.0))
    assert dispatch.parcel.address.routing_key == TOPIC
    assert dispatch.parcel.address.exchange == EXCHANGE
    assert dispatch.parcel.envelope == Envelope(envelope.REQUEST, EXECUTOR, "u1", None)


def test_a_taskflow_worker_has_no_bound() -> None:
    ledger = make("taskflow")
    ledger.heard([Taskflow().answer(TASK)], 0.0)
    orders = [order(f"u{n}") for n in range(5000)]
    assert len(dispatches(ledger.submitted(orders, 0.0))) == 5000


def test_a_taskflow_result_implies_running_and_doubles_are_dropped() -> None:
    ledger, peer = make("taskflow"), Taskflow()
    ledger.heard([peer.answer(TASK)], 0.0)
    ledger.submitted([order("u1"), order("u2")], 0.0)
    answers = [peer.success("u1", 1), peer.success("u1", 2), peer.running("u1"), peer.failure("u2")]
    effects = ledger.heard(answers, 0.1)
    assert list(outcomes(effects)) == ["u1", "u2"]
    assert effects[0] == Resolve("u1", Value(1), TOPIC)


def test_a_taskflow_request_expires_as_taskflows_own_and_says_that_it_may_run() -> None:
    ledger = make("taskflow")
    ledger.heard([Taskflow().answer(TASK)], 0.0)
    ledger.submitted([order("u1")], 1.0)
    assert ends(ledger.tick(60.9)) == []
    text = str(error(ledger.tick(61.0)))
    assert "being a taskflow worker, may still run it" in text
    assert ledger.heard([Taskflow().success("u1")], 62.0) == []


def test_a_taskflow_worker_takes_no_positional_arguments_and_the_expiry_says_so() -> None:
    """Before, a topic that offered it stopped the clock, and the request waited for ever."""
    ledger = make("native", "taskflow")
    ledger.submitted([order("u1", named_only=False)], 0.0)
    ledger.heard([Taskflow().answer(TASK)], 50.0)
    assert expired(ledger, 60.0).endswith(
        "only taskflow workers offer it, and they know arguments by name: name them, or start a "
        "worker of ours"
    )


def test_with_both_a_native_worker_is_preferred_and_taskflow_takes_what_is_too_much() -> None:
    ledger, worker, peer = make("native", "taskflow"), Native("a"), Taskflow()
    ledger.heard([worker.answer(0.0, TASK, credit=1), peer.answer(TASK)], 0.0)
    assert len(ledger.directory) == 2
    found = dispatches(ledger.submitted([order("u1"), order("u2")], 0.0))
    assert [d.parcel.envelope.header is None for d in found] == [False, True]
    answers = [peer.success("u1"), worker.success(found[1], 0.1)]  # each the other's
    assert ledger.heard(answers, 0.1) == []
    assert ledger.counts == {"not_sent_there": 2}
    assert ends(ledger.heard([worker.success(found[0], 0.2), peer.success("u2")], 0.2)) == [
        "u1",
        "u2",
    ]


def test_given_back_by_a_native_worker_it_may_go_to_taskflow_with_taskflows_expiry() -> None:
    ledger, worker, peer = make("native", "taskflow"), Native("a"), Taskflow()
    dispatch = sent(ledger, worker)
    ledger.heard([peer.answer(TASK)], 1.0)
    ledger.heard([worker.goodbye(1.5)], 1.5)
    (again,) = dispatches(ledger.heard([worker.gives_back(2.0, "drain", dispatch)], 2.0))
    assert again.parcel.envelope.header is None
    assert ends(ledger.tick(61.9)) == []
    assert ends(ledger.tick(62.0)) == ["u1"]


# what it costs ------------------------------------------------------------------------------------


def count_calls(call: Callable[[], object], *, named: str) -> int:
    """How often a function of this name is called in it."""
    calls = 0

    def profile(frame: FrameType, what: str, _: object) -> None:
        nonlocal calls
        calls += what == "call" and frame.f_code.co_name == named

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return calls


def count_steps(call: Callable[[], object]) -> int:
    """How many bytecodes it executes: its work, whatever else the machine does.

    What C code walks by itself is not seen.
    """
    steps = 0

    def trace(frame: FrameType, what: str, _: object) -> Any:
        nonlocal steps
        frame.f_trace_opcodes = True
        steps += what == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return steps


def costs(outstanding: int) -> dict[str, int]:
    """What each input costs with so many requests waiting behind those the workers have."""
    ledger, worker = make(), Native("a")
    ledger.heard([worker.answer(0.0, TASK, credit=8)], 0.0)
    orders = [
        Order(f"u{n}", TASK, b"{}", (TOPIC,), timeout=None if n % 3 else 50.0 + n)
        for n in range(outstanding)
    ]
    found = dispatches(ledger.submitted(orders, 0.0))
    assert len(ledger) == outstanding
    assert len(found) == 8
    return {
        "deadline": count_steps(ledger.next_deadline),
        "running": count_steps(lambda: ledger.heard([worker.running(found[0], 1.0)], 1.0)),
        "success": count_steps(lambda: ledger.heard([worker.success(found[0], 1.0)], 1.0)),
        "crash": count_steps(lambda: ledger.heard([worker.failure(found[1], 1.0, "crash")], 1.0)),
        "release": count_steps(
            lambda: ledger.heard([worker.gives_back(1.0, "late", found[2])], 1.0)
        ),
        "dropped": count_steps(lambda: ledger.heard([worker.drops(1.0, found[3])], 1.0)),
        "held": count_steps(lambda: ledger.heard([worker.held(1.0, queued="1:1-99999")], 1.0)),
        "stranger": count_steps(
            lambda: ledger.heard([Refused("json", "torn", envelope.RESPONSE, None, "?")], 1.0)
        ),
        "beat": count_steps(lambda: ledger.heard([worker.answer(2.0, TASK, credit=8)], 2.0)),
        "cancelled": count_steps(lambda: ledger.cancelled(found[4].uuid, False, 2.0)),
        "cancelled waiting": count_steps(
            lambda: ledger.cancelled(f"u{outstanding - 2}", True, 2.0)
        ),
        "receipts": count_steps(lambda: ledger.tick(3.0)),
        "withdrawn": count_steps(lambda: ledger.withdrawn(f"u{outstanding - 1}", 2.0)),
        "submitted": count_steps(lambda: ledger.submitted([order("more")], 2.0)),
        "tick": count_steps(lambda: ledger.tick(6.0)),
        "goodbye": count_steps(lambda: ledger.heard([worker.answer(7.0, credit=0)], 7.0)),
        "lost": count_steps(lambda: ledger.tick(30.0)),
    }


@pytest.mark.slow
def test_no_input_costs_more_with_a_hundred_thousand_requests_outstanding() -> None:
    few, many = costs(100), costs(100_000)
    dear = {what: (few[what], many[what]) for what in few if many[what] > 1.5 * few[what] + 50}
    assert dear == {}


def test_a_drain_costs_each_request_the_same_however_many_a_worker_gives_back() -> None:
    """Before, each of four thousand releases walked over all that was open there."""

    def cost(credit: int) -> int:
        ledger, worker = make(), Native("a")
        ledger.heard([worker.answer(0.0, TASK, credit=credit)], 0.0)
        orders = [Order(f"u{n}", TASK, b"{}", (TOPIC,)) for n in range(credit)]
        found = dispatches(ledger.submitted(orders, 0.0))
        ledger.heard([worker.goodbye(0.1)], 0.1)
        release = worker.gives_back(0.2, "drain", found[-1])
        return count_steps(lambda: ledger.heard([release], 0.2))

    assert cost(1000) <= 1.1 * cost(10)


def test_timers_and_lanes_do_not_outlive_the_requests_they_are_for() -> None:
    """A start-by lies a minute ahead: at ten thousand requests a second that is no small heap."""
    ledger, worker = make(), Native("a")
    ledger.heard([worker.answer(0.0, TASK, credit=10)], 0.0)
    for n in range(600):
        (dispatch,) = dispatches(ledger.submitted([order(f"u{n}", timeout=60.0)], 0.1))
        ledger.heard([worker.success(dispatch, 0.1)], 0.1)
    assert len(ledger._timers) < 200
    ledger.submitted([order(f"w{n}", "m.nobody") for n in range(10)], 0.2)
    ledger.tick(0.2 + REQUEST_TIMEOUT)
    assert len(ledger._lanes) == 0
