"""When a request that waits is sent, to whom and under what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from executor.request import KEPT_ATTEMPTS
from protocol.envelope import CAPS
from protocol.errors import LimitRefused, RequestTimeout
from protocol.events import Dispatched
from protocol.parcel import Received
from protocol.states import PENDING, WAITING
from protocol.timing import CLOCK_RATE_DRIFT, LEASE, REQUEST_TIMEOUT
from tests.executor.peers import EXECUTOR, Native, Taskflow, arrived, dispatches, order
from tests.executor.scenes import TASK, beats, ends, error, make, running, sent


def test_a_request_waits_here_until_a_worker_that_offers_it_has_credit() -> None:
    ledger, worker = make(), Native("a")
    assert dispatches(ledger.submitted([order("u1"), order("u2"), order("u3")], 1.0)) == []
    assert dispatches(ledger.heard([worker.answer(1.1, "m.other")], 1.1)) == []
    (first, second) = dispatches(ledger.heard([worker.answer(1.2, TASK, credit=2)], 1.2))
    assert (first.uuid, second.uuid) == ("u1", "u2")
    assert [ledger.state_of(u) for u in ("u1", "u2", "u3")] == [PENDING, PENDING, WAITING]
    (third,) = dispatches(ledger.heard([worker.success(first, 1.3)], 1.3))
    assert third.uuid == "u3"


def test_a_native_request_goes_to_the_inbox_of_one_process_with_all_it_needs() -> None:
    ledger, worker = make(), Native("a", ahead=1000.0)
    dispatch = sent(ledger, worker, now=10.0)
    assert dispatch.parcel.address.routing_key == f"test.native_default.{worker.boot}"
    request = arrived(dispatch.parcel, at_worker=True)  # refuses what is incomplete
    header = request.envelope.header
    assert header is not None
    assert (header.executor, header.incarnation, header.boot) == (EXECUTOR, 1, worker.boot)
    assert (header.tickets, header.mode) == ("1:1", "alo")
    assert header.start_by == int((10.0 + 1000.0 + 60.0) * 1000)
    assert (header.time_limit, header.soft_time_limit) == (None, None)


def test_its_line_in_the_journal_says_where_it_went() -> None:
    ledger, worker = make(incarnation=4), Native("a", ahead=1000.0)
    dispatch = sent(ledger, worker, now=10.0)
    assert dispatch.event == Dispatched(
        "u1",
        attempt=1,
        base=1,
        dialect="native",
        topic="default",
        worker=worker.name,
        boot=worker.boot,
        inbox=f"default.{worker.boot}",
        ticket="4:1",
        start_by=1_070_000,
    )
    flow = make("taskflow")
    flow.heard([Taskflow().answer(TASK)], 0.0)
    (dispatch,) = dispatches(flow.submitted([order("u1")], 0.0))
    assert dispatch.event == Dispatched("u1", 1, 1, "taskflow", "default", "default")


def test_limits_and_mode_travel_with_it() -> None:
    ledger, worker = make(), Native("a")
    how = {"mode": "amo", "time_limit": 2.5, "soft_time_limit": 0.0014}
    header = sent(ledger, worker, **how).parcel.envelope.header
    assert header is not None
    assert (header.mode, header.time_limit, header.soft_time_limit) == ("amo", 2500, 1)


def test_the_start_by_follows_the_sample_that_travelled_fastest() -> None:
    """Samples of a clock are late by their way; the largest is late by least."""
    ledger, worker = make(), Native("a", ahead=1000.0)
    ledger.heard([worker.answer(10.0, TASK)], 13.0)
    ledger.heard([worker.answer(14.0, TASK)], 14.2)
    ledger.heard([worker.answer(15.0, TASK)], 19.0)
    (dispatch,) = dispatches(ledger.submitted([order("u1", timeout=5.0)], 20.0))
    header = dispatch.parcel.envelope.header
    assert header is not None
    fallen_back = (20.0 - 14.2) * CLOCK_RATE_DRIFT
    assert header.start_by == pytest.approx((20.0 + 5.0 + 999.8 - fallen_back) * 1000, abs=1)


def test_who_says_another_beat_is_believed_in_the_journal_too() -> None:
    """After a restart it is waited for as long as it was before."""
    ledger, worker = make(), Native("a")
    answer = worker.answer(0.0, TASK)
    assert answer.envelope.header is not None
    header = answer.envelope.header._replace(beat=20_000)
    ledger.heard([Received(replace(answer.envelope, header=header), answer.message)], 0.0)
    (dispatch,) = dispatches(ledger.submitted([order("u1")], 0.0))
    assert dispatch.event.beat == 20.0


def test_what_came_back_when_no_time_is_left_is_not_sent_again() -> None:
    """It would go round between us and the worker until its time is up."""
    ledger, worker = make(), Native("a")
    first = sent(ledger, worker, timeout=1.0)
    effects = ledger.heard([worker.gives_back(0.95, "late", first)], 0.95)
    assert dispatches(effects) == []
    assert isinstance(error(effects), RequestTimeout)


def test_a_start_by_is_never_lower_than_that_of_an_earlier_attempt_there() -> None:
    """Or the worker would forget the ticket of the later one before the earlier is dead."""
    ledger, worker = make(), Native("a", ahead=1000.0)
    first = sent(ledger, worker, timeout=100.0)
    ledger.tick(LEASE)
    slow = worker.answer(0.1, TASK)  # on its way for 50 s: its clock seems to be behind
    (again,) = dispatches(ledger.heard([slow], 50.0))
    assert (first.event.start_by, again.event.start_by) == (1_060_000, 1_060_000)
    (late,) = [a for a in ledger._requests["u1"].attempts if a.number == again.attempt]
    assert late.closes > 50.0 + 50.0  # nor has it passed earlier by our clock
    ledger.tick(50.0 + LEASE)
    (third,) = dispatches(ledger.heard([worker.answer(66.0, TASK)], 66.0))
    assert third.event.start_by == 1_100_000


def test_a_worker_that_comes_back_is_sent_tickets_it_has_not_seen() -> None:
    """Before, they began at 1 again, and the worker dropped each as a double, for ever."""
    ledger, worker = make(), Native("a")
    sent(ledger, worker)
    ledger.tick(LEASE)
    assert len(ledger.directory) == 0
    (again,) = dispatches(ledger.heard([worker.answer(20.0, TASK)], 20.0))
    header = again.parcel.envelope.header
    assert header is not None
    assert header.tickets == "1:1-2"  # all of this request there, the newest last


def test_credit_told_with_a_result_counts_at_once() -> None:
    ledger, worker = make(), Native("a")
    orders = [order(f"u{n}") for n in range(9)]
    (first, _) = dispatches(
        ledger.heard([worker.answer(0.0, TASK)], 0.0) + ledger.submitted(orders, 0.0)
    )
    told = worker.says(first, worker.success(first, 0.1).message, 0.1, end="done", credit=6)  # type: ignore[arg-type]
    assert len(dispatches(ledger.heard([told], 0.1))) == 5


def test_requests_go_where_there_is_most_room() -> None:
    ledger, small, large = make(), Native("a"), Native("b")
    ledger.heard([small.answer(0.0, TASK, credit=1), large.answer(0.0, TASK, credit=3)], 0.0)
    found = dispatches(ledger.submitted([order(f"u{n}") for n in range(9)], 0.0))
    boots = [d.parcel.address.routing_key[-16:] for d in found]
    assert boots[:2] == [large.boot, large.boot]
    assert sorted(boots) == [small.boot] + [large.boot] * 3


def test_what_a_silent_worker_turns_out_to_hold_counts_against_its_credit() -> None:
    ledger, worker, other = make(), Native("a"), Native("b")
    running(ledger, worker)
    ledger.heard([other.answer(10.0, TASK)], 10.0)
    assert len(dispatches(ledger.tick(LEASE))) == 1  # to the other
    ledger.heard([other.answer(16.0, TASK, credit=1)], 16.0)
    ledger.heard([worker.answer(16.0, TASK, credit=2), worker.held(16.0, running="1:1")], 16.0)
    assert len(dispatches(ledger.submitted([order("u2"), order("u3")], 16.0))) == 1


def test_a_request_goes_only_to_its_own_topics() -> None:
    ledger = make(topics=("x", "y"))
    at_x = Native("a", topics=("x",))
    ledger.heard([at_x.answer(0.0, TASK)], 0.0)
    assert dispatches(ledger.submitted([order("u1", topics=("y",))], 0.0)) == []
    assert len(dispatches(ledger.submitted([order("u2", topics=("y", "x"))], 0.0))) == 1


def test_given_back_requests_keep_their_place_before_later_ones() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    ledger.heard([worker.answer(0.0, TASK, credit=1)], 0.0)
    ledger.submitted([order("u2"), order("u3")], 0.1)
    (again,) = dispatches(ledger.heard([worker.gives_back(0.2, "late", dispatch)], 0.2))
    assert again.uuid == "u1"


def test_attempts_of_one_request_are_remembered_up_to_a_bound() -> None:
    ledger, worker = make(), Native("a")
    first = dispatch = sent(ledger, worker)
    for _ in range(3 * KEPT_ATTEMPTS):
        (dispatch,) = dispatches(ledger.heard([worker.gives_back(0.2, "late", dispatch)], 0.2))
    assert dispatch.attempt == 3 * KEPT_ATTEMPTS + 1
    assert len(ledger._requests["u1"].attempts) == KEPT_ATTEMPTS
    header = dispatch.parcel.envelope.header
    assert header is not None
    assert len(header.to_text()) < 200
    assert ends(ledger.heard([worker.success(first, 0.3)], 0.3)) == []
    assert ends(ledger.heard([worker.success(dispatch, 0.4)], 0.4)) == ["u1"]
    assert [len(peer.open) for peer in ledger.directory] == [0]


# limits -------------------------------------------------------------------------------------------


def test_what_has_a_limit_goes_only_to_who_can_end_a_run() -> None:
    ledger, threads, processes = make("native", "taskflow"), Native("a", caps=CAPS), Native("b")
    ledger.heard([processes.answer(0.0, TASK, credit=1)], 0.0)
    ledger.heard([threads.answer(0.0, TASK, credit=9), Taskflow().answer(TASK)], 0.0)
    orders = [order("u1", time_limit=1.0), order("u2", soft_time_limit=1.0), order("u3")]
    found = dispatches(ledger.submitted(orders, 0.0))
    where = {d.uuid: d.event.worker for d in found}
    assert where == {"u1": processes.name, "u3": threads.name}
    assert ledger.state_of("u2") == WAITING


@pytest.mark.parametrize("before", [True, False])
def test_where_nobody_who_offers_it_can_keep_a_limit_it_ends_at_once(before: bool) -> None:
    ledger, threads = make(), Native("a", caps=CAPS)
    effects = ledger.heard([threads.answer(0.0, TASK)], 0.0) if before else []
    effects += ledger.submitted([order("u1", time_limit=1.5, soft_time_limit=1.0)], 0.0)
    if not before:
        assert ends(effects) == []  # somebody may come
        effects += ledger.heard([threads.answer(0.5, TASK)], 0.5)
    refused = error(effects)
    assert isinstance(refused, LimitRefused)
    assert str(refused) == (
        "request u1 (m.task) has time_limit=1.5 and soft_time_limit=1, which only a worker with "
        "--pool processes can keep; it is offered by worker-a alone, where a running task cannot "
        "be ended: start such a worker, or leave the limit out"
    )


def test_where_somebody_could_keep_a_limit_before_its_return_is_waited_for() -> None:
    """It was silent for a moment, and others that cannot offer the task as well."""
    ledger, threads, processes = make(), Native("a", caps=CAPS), Native("b")
    ledger.heard([processes.answer(0.0, TASK, credit=1), threads.answer(0.0, TASK)], 0.0)
    ledger.submitted([order("u1", time_limit=1.0), order("u2", time_limit=1.0)], 0.0)
    assert ends(beats(ledger, threads, 1.0, 70.0)) == []
    effects = beats(ledger, threads, 71.0, LEASE + REQUEST_TIMEOUT + 6.0)
    assert ends(effects) == ["u1", "u2"]
    assert "those that offer it cannot end a running task" in str(error(effects[-1:]))


def test_nobody_who_offers_it_means_no_refusal() -> None:
    ledger, threads = make(), Native("a", caps=CAPS)
    ledger.heard([threads.answer(0.0, "m.other")], 0.0)
    assert ends(ledger.submitted([order("u1", time_limit=1.0)], 0.0)) == []


def test_what_was_lost_once_goes_to_a_newcomer_if_the_proven_have_no_room() -> None:
    """Perhaps they are dead, too, and only look as if they were in time. Lost twice it waits."""
    ledger, first, second, newcomer = make(), Native("a"), Native("b"), Native("c")
    for worker in (second, first):  # both have answered something
        dispatch = running(ledger, worker, 1.0, f"proof of {worker.name}")
        ledger.heard([worker.success(dispatch, 1.1)], 1.1)
        ledger.heard([worker.answer(1.2, TASK, credit=0)], 1.2)
    assert running(ledger, first, 2.0).event.worker == first.name
    lost = 2.0 + LEASE
    ledger.heard([second.answer(lost - 1.0, TASK, credit=0)], lost - 1.0)
    ledger.heard([newcomer.answer(lost - 0.5, TASK)], lost - 0.5)
    (again,) = dispatches(ledger.tick(lost))
    assert (again.uuid, again.event.worker) == ("u1", newcomer.name)
    ledger.heard([newcomer.running(again, lost)], lost)
    other, lost = Native("d"), lost + LEASE
    ledger.heard([second.answer(lost - 1.0, TASK, credit=0)], lost - 1.0)
    ledger.heard([other.answer(lost - 0.5, TASK)], lost - 0.5)
    assert dispatches(ledger.tick(lost)) == []
    (third,) = dispatches(ledger.heard([second.answer(lost + 0.1, TASK)], lost + 0.1))
    assert third.event.worker == second.name
