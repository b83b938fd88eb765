"""What the ledger decides, case by case. Any sequence of inputs: ``test_ledger_with_anything``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from executor.effects import Crowd, Dispatch, Effect, Fail, GiveUp, Publish, Succeed, Tell
from executor.ledger import Ledger
from executor.request import KEPT_ATTEMPTS, Order
from protocol import envelope
from protocol.envelope import Envelope
from protocol.errors import RequestTimeout, TasksUnloadable, WorkerLost
from protocol.messages import Answer, Response
from protocol.parcel import Refused
from protocol.states import PENDING, RUNNING, WAITING
from protocol.timing import (
    LEASE,
    MAX_ATTEMPTS,
    REQUEST_TIMEOUT,
    TASKFLOW_SILENCE,
    WORKER_EXPIRY,
)
from protocol.topology import Dialect
from tests.executor.peers import (
    EXCHANGE,
    EXECUTOR,
    TOPIC,
    Native,
    Taskflow,
    arrived,
    delivered,
    dispatches,
    order,
)

TASK = "m.task"


def make(*dialects: Dialect, topics: tuple[str, ...] = (TOPIC,)) -> Ledger:
    """A ledger that has asked its first question."""
    ledger = Ledger(EXECUTOR, EXCHANGE, topics, dialects or ("native",))
    ledger.consuming(0.0)
    return ledger


def refused_answer(uuid: str, kind: str = envelope.RESPONSE) -> Refused:
    """A reply that is no message."""
    return Refused("schema", "data must be an object", kind, None, uuid)


def ends(effects: list[Effect]) -> list[str]:
    """The requests these effects end."""
    return [e.uuid for e in effects if isinstance(e, (Succeed, Fail, GiveUp))]


def sent(ledger: Ledger, worker: Native, now: float = 0.0, **how: Any) -> Dispatch:
    """A request in PENDING at this worker."""
    effects = ledger.heard([worker.answer(now, TASK)], now)
    effects += ledger.submitted([order("u1", **how)], now)
    (dispatch,) = dispatches(effects)
    return dispatch


def run_dry(ledger: Ledger, now: float, limit: float = 1000.0) -> list[Effect]:
    """Let time pass, and nothing else, until every request has ended."""
    effects: list[Effect] = []
    until = now + limit
    while len(ledger):
        now = max(now, ledger.next_deadline())
        assert now < until, f"{len(ledger)} requests never end"
        effects += ledger.tick(now)
    return effects


# submitting and dispatching -----------------------------------------------------------------------


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


def test_the_start_by_follows_the_sample_that_travelled_fastest() -> None:
    """Samples of a clock are late by their way; the largest is late by least."""
    ledger, worker = make(), Native("a", ahead=1000.0)
    ledger.heard([worker.answer(10.0, TASK)], 13.0)
    ledger.heard([worker.answer(14.0, TASK)], 14.2)
    ledger.heard([worker.answer(15.0, TASK)], 19.0)
    (dispatch,) = dispatches(ledger.submitted([order("u1", timeout=5.0)], 20.0))
    header = dispatch.parcel.envelope.header
    assert header is not None
    assert header.start_by == pytest.approx((20.0 + 5.0 + 999.8) * 1000, abs=1)


def test_credit_told_with_a_result_counts_at_once() -> None:
    ledger, worker = make(), Native("a")
    orders = [order(f"u{n}") for n in range(9)]
    (first, _) = dispatches(
        ledger.heard([worker.answer(0.0, TASK)], 0.0) + ledger.submitted(orders, 0.0)
    )
    told = worker.says(first, Response.success(1), 0.1, end="done", credit=6)
    assert len(dispatches(ledger.heard([told], 0.1))) == 5


def test_requests_go_where_there_is_most_room() -> None:
    ledger, small, large = make(), Native("a"), Native("b")
    ledger.heard([small.answer(0.0, TASK, credit=1), large.answer(0.0, TASK, credit=3)], 0.0)
    found = dispatches(ledger.submitted([order(f"u{n}") for n in range(9)], 0.0))
    boots = [d.parcel.address.routing_key[-16:] for d in found]
    assert boots[:2] == [large.boot, large.boot]
    assert sorted(boots) == [small.boot] + [large.boot] * 3


def test_a_request_goes_only_to_its_own_topics() -> None:
    ledger = make(topics=("x", "y"))
    at_x = Native("a", topics=("x",))
    ledger.heard([at_x.answer(0.0, TASK)], 0.0)
    assert dispatches(ledger.submitted([order("u1", topics=("y",))], 0.0)) == []
    assert len(dispatches(ledger.submitted([order("u2", topics=("y", "x"))], 0.0))) == 1


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
    (dispatch,) = dispatches(ledger.withdrawn("u1", 0.0))
    assert dispatch.uuid == "u2"
    assert len(ledger) == 1


# answers ------------------------------------------------------------------------------------------


def test_running_then_success_ends_it_once() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    assert ledger.heard([worker.running(dispatch, 0.1)] * 2, 0.1) == []
    assert ledger.state_of("u1") == RUNNING
    answers = [worker.success(dispatch, 0.2, {"x": [1]}), worker.success(dispatch, 0.2, 2)]
    assert ledger.heard(answers, 0.2) == [Succeed("u1", {"x": [1]})]
    assert len(ledger) == 0
    assert ledger.counts["late_or_unknown"] == 1


def test_a_result_implies_that_it_ran() -> None:
    ledger, worker = make(), Native("a")
    assert ledger.heard([worker.success(sent(ledger, worker), 0.2)], 0.2) == [Succeed("u1", "done")]


def test_a_failure_names_its_worker() -> None:
    ledger, worker = make(), Native("a")
    (effect,) = ledger.heard([worker.failure(sent(ledger, worker), 0.2)], 0.2)
    assert isinstance(effect, Fail)
    assert effect.worker == "worker-a"
    assert effect.failure["exc_type_names"][0] == "ValueError"


@pytest.mark.parametrize(
    ("state", "reason"),
    [(WAITING, "illegal_transition"), (PENDING, "illegal_transition"), ("EVENT", "empty_event")],
)
def test_what_makes_no_sense_is_counted_and_the_request_lives(state: str, reason: str) -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    assert ledger.heard([worker.says(dispatch, Response(state), 0.1)], 0.1) == []
    assert ledger.counts == {reason: 1}
    assert ledger.state_of("u1") == PENDING


@pytest.mark.parametrize("tickets", ["1:2", "2:1", "1:1-2", "1:0"])
def test_an_answer_under_another_ticket_is_not_for_us(tickets: str) -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    odd = worker.says(dispatch, Response.success(1), 0.1, tickets=tickets)
    assert ledger.heard([odd], 0.1) == []
    assert ledger.counts == {"not_sent_there": 1}


def test_an_answer_of_another_process_is_not_for_us() -> None:
    ledger, worker, other = make(), Native("a"), Native("b")
    dispatch = sent(ledger, worker)
    assert ledger.heard([other.success(dispatch, 0.1)], 0.1) == []
    assert ledger.counts == {"not_sent_there": 1}


def test_a_success_without_a_result_ends_it_as_a_failure_that_says_so() -> None:
    ledger, worker = make(), Native("a")
    (effect,) = ledger.heard([worker.says(sent(ledger, worker), Response("SUCCESS"), 0.1)], 0.1)
    assert isinstance(effect, Fail)
    assert "without a result" in effect.failure["exception_str"]


def test_events_are_told_only_to_who_listens_and_mean_that_it_runs() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker, wants_events=True)
    event = worker.says(dispatch, Response.event("saved", {"path": "a"}), 0.1)
    assert ledger.heard([event], 0.1) == [Tell("u1", "saved", {"path": "a"})]
    assert ledger.state_of("u1") == RUNNING
    deaf, worker = make(), Native("a")
    event = worker.says(sent(deaf, worker), Response.event("saved", {}), 0.1)
    assert deaf.heard([event], 0.1) == []


@pytest.mark.parametrize("end", ["crash", "stopped", "limit"])
def test_a_run_that_lost_its_process_is_tried_again_as_a_new_round(end: Any) -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    for attempt in range(2, MAX_ATTEMPTS + 1):
        ledger.heard([worker.running(dispatch, 0.1)], 0.1)
        (again,) = dispatches(ledger.heard([worker.failure(dispatch, 0.1, end)], 0.1))
        header = again.parcel.envelope.header
        assert header is not None
        assert (header.attempt, header.base) == (attempt, attempt)
        assert ledger.heard([worker.success(dispatch, 0.1)], 0.1) == []  # of a round that is past
        dispatch = again
    assert ledger.counts["fenced"] == MAX_ATTEMPTS - 1
    (effect,) = ledger.heard([worker.failure(dispatch, 0.1, end)], 0.1)
    assert isinstance(effect, Fail)


def test_a_crash_told_by_a_worker_given_up_does_not_send_it_twice() -> None:
    """It waits already: before, it stood in its lane twice and two workers got it at once."""
    ledger, lost, other = make(), Native("a"), Native("b")
    dispatch = sent(ledger, lost)
    ledger.heard([lost.running(dispatch, 0.1)], 0.1)
    ledger.tick(0.1 + LEASE)
    assert ledger.state_of("u1") == WAITING
    assert ledger.heard([lost.failure(dispatch, 16.0, "crash")], 16.0) == []
    assert len(dispatches(ledger.heard([other.answer(17.0, TASK, credit=5)], 17.0))) == 1
    assert sum(len(peer.open) for peer in ledger.directory) == 1


def test_a_late_crash_of_an_older_attempt_leaves_the_present_one_at_the_same_worker_alone() -> None:
    """Before, the present attempt vanished from its peer: no lease covered it any more."""
    ledger, worker = make(), Native("a")
    old = sent(ledger, worker)
    for now in range(5, 65, 5):
        ledger.heard([worker.answer(float(now), TASK, credit=1)], float(now))
    (new,) = dispatches(ledger.tick(61.0))
    ledger.heard([worker.running(new, 61.5)], 61.5)
    assert ledger.heard([worker.failure(old, 62.0, "crash")], 62.0) == []
    assert ledger.counts["fenced"] == 1
    assert [len(peer.open) for peer in ledger.directory] == [1]
    assert ends(run_dry(ledger, 62.0)) == ["u1"]


def test_the_first_end_of_the_round_wins_though_its_attempt_was_given_up() -> None:
    ledger, slow, other = make(), Native("a"), Native("b")
    dispatch = sent(ledger, slow)
    ledger.heard([other.answer(LEASE, TASK)], LEASE)
    (again,) = dispatches(ledger.tick(LEASE))
    assert again.attempt == 2
    assert ledger.heard([slow.success(dispatch, 20.0, "slow")], 20.0) == [Succeed("u1", "slow")]
    assert [len(peer.open) for peer in ledger.directory] == [0]
    assert ledger.heard([other.success(again, 21.0, "other")], 21.0) == []


def test_a_refused_answer_ends_a_request_that_nothing_else_would_end() -> None:
    """taskflow's in any state, ours once it runs; before that its start-by has it sent again."""
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    assert ledger.heard([refused_answer("u1"), refused_answer("stranger")], 0.1) == []
    ledger.heard([worker.running(dispatch, 0.2)], 0.2)
    assert ledger.heard([refused_answer("u1", envelope.RELEASE)], 0.2) == []
    (effect,) = ledger.heard([refused_answer("u1")], 0.3)
    assert isinstance(effect, Fail)
    assert "data must be an object" in effect.failure["exception_str"]
    assert [len(peer.open) for peer in ledger.directory] == [0]


def test_a_worker_that_could_not_read_the_request_ends_it_without_a_ticket() -> None:
    """It cannot know the ticket; unheard, the request would be sent to it for ever."""
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    refusal = Taskflow().failure("u1")
    ledger.heard([worker.running(dispatch, 0.1)], 0.1)
    assert ledger.heard([refusal], 0.1) == []  # it was read, then
    assert ledger.counts["not_sent_there"] == 1
    again, worker = make(), Native("a")
    sent(again, worker)
    assert again.heard([Taskflow().running("u1"), Taskflow().success("u1")], 0.1) == []
    assert ends(again.heard([refusal], 0.2)) == ["u1"]


# given back, silent, late -------------------------------------------------------------------------


def test_what_is_given_back_goes_elsewhere_at_once() -> None:
    ledger, worker, other = make(), Native("a"), Native("b")
    dispatch = sent(ledger, worker)
    ledger.heard([other.answer(0.1, TASK, credit=1)], 0.1)
    ledger.heard([worker.goodbye(0.2)], 0.2)
    (again,) = dispatches(ledger.heard([worker.gives_back(0.3, "drain", dispatch)], 0.3))
    assert again.attempt == 2
    assert other.boot in again.parcel.address.routing_key
    header = again.parcel.envelope.header
    assert header is not None
    assert (header.attempt, header.base) == (2, None)


def test_many_tickets_may_be_given_back_in_one_text() -> None:
    ledger, worker = make(), Native("a")
    ledger.heard([worker.answer(0.0, TASK, credit=5)], 0.0)
    ledger.submitted([order(f"u{n}") for n in range(5)], 0.0)
    ledger.heard([worker.answer(0.1, credit=1)], 0.1)
    ledger.heard([worker.gives_back(0.2, "drain", "1:1-3,5", "1:9", "1:5-4")], 0.2)
    states = [ledger.state_of(f"u{n}") for n in range(5)]
    assert states == [WAITING, WAITING, WAITING, PENDING, WAITING]
    assert ledger.counts == {"release_of_unknown": 1, "tickets": 1}


def test_giving_back_twice_what_is_over_or_what_runs_changes_nothing() -> None:
    ledger, worker, other = make(), Native("a"), Native("b")
    dispatch = sent(ledger, worker)
    ledger.heard([other.answer(0.0, TASK), worker.answer(0.0)], 0.0)
    release = worker.gives_back(0.1, "late", dispatch)
    (again,) = dispatches(ledger.heard([release, release], 0.1))
    assert ledger.counts == {"release_of_unknown": 1}
    ledger.heard([other.running(again, 0.2)], 0.2)
    assert ledger.heard([other.gives_back(0.3, "late", again), release], 0.3) == []
    assert ledger.counts == {"release_of_unknown": 2, "illegal_transition": 1}
    assert ledger.state_of("u1") == RUNNING


def test_a_release_of_a_superseded_attempt_leaves_the_present_one_alone() -> None:
    ledger, worker = make(), Native("a")
    old = sent(ledger, worker)
    for now in range(5, 65, 5):
        ledger.heard([worker.answer(float(now), TASK, credit=1)], float(now))
    (new,) = dispatches(ledger.tick(61.0))
    assert ledger.heard([worker.gives_back(61.5, "late", old)], 61.5) == []
    assert ledger.state_of("u1") == PENDING
    assert ends(ledger.heard([worker.success(new, 62.0)], 62.0)) == ["u1"]


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
    assert ledger.heard([worker.success(first, 0.3)], 0.3) == []
    assert ends(ledger.heard([worker.success(dispatch, 0.4)], 0.4)) == ["u1"]
    assert [len(peer.open) for peer in ledger.directory] == [0]


def test_what_was_not_started_by_its_start_by_is_sent_again() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    for now in range(5, 65, 5):
        ledger.heard([worker.answer(float(now), TASK, credit=1)], float(now))
        ledger.tick(float(now))
    assert ledger.state_of("u1") == PENDING
    (again,) = dispatches(ledger.tick(60.711))
    assert (dispatch.attempt, again.attempt) == (1, 2)
    assert ledger.counts["start_by_passed"] == 1


def test_silent_workers_end_a_request_after_the_last_attempt() -> None:
    ledger = make()
    now = 0.0
    dispatch = sent(ledger, Native("1"))
    for boot in "23":
        now += LEASE
        ledger.heard([Native(boot).answer(now, TASK)], now)
        (dispatch,) = dispatches(ledger.tick(now))
    assert dispatch.attempt == 3
    (effect,) = [e for e in ledger.tick(now + LEASE) if isinstance(e, GiveUp)]
    assert isinstance(effect.error, WorkerLost)
    assert str(effect.error) == (
        "request u1 (m.task) was sent to worker-3 and is lost in PENDING: nothing was heard from "
        "there for 15.0 s; it is the attempt number 3 that ends like this; look in the worker's "
        "own log for what ended it, then submit again"
    )


def test_any_message_of_a_worker_is_a_beat() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    for now in (10.0, 20.0, 30.0):
        ledger.heard([worker.running(dispatch, now)], now)
        ledger.tick(now + 14.9)
    assert ledger.state_of("u1") == RUNNING


def test_a_worker_that_comes_back_is_sent_tickets_it_has_not_seen() -> None:
    """Before, they began at 1 again, and the worker dropped each as a double, for ever."""
    ledger, worker = make(), Native("a")
    sent(ledger, worker)
    ledger.tick(LEASE)
    assert len(ledger.directory) == 0
    (again,) = dispatches(ledger.heard([worker.answer(20.0, TASK)], 20.0))
    header = again.parcel.envelope.header
    assert header is not None
    assert header.tickets == "1:2"


def test_an_answer_of_a_forgotten_worker_still_counts() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    ledger.tick(LEASE)
    assert ledger.heard([worker.gives_back(16.0, "late", dispatch)], 16.0) == []
    assert ledger.heard([worker.running(dispatch, 16.0)], 16.0) == []
    assert ledger.state_of("u1") == WAITING
    assert ledger.heard([worker.success(dispatch, 17.0)], 17.0) == [Succeed("u1", "done")]
    assert [len(lane.waiting) for lane in ledger._lanes] in ([], [0])


# coming and going ---------------------------------------------------------------------------------


def crowd(effects: list[Effect]) -> list[int]:
    """How many workers were told."""
    return [effect.workers for effect in effects if isinstance(effect, Crowd)]


def test_a_worker_that_says_goodbye_is_forgotten_at_once_if_nothing_is_open_there() -> None:
    ledger, worker = make(), Native("a")
    assert crowd(ledger.heard([worker.answer(0.0, TASK)], 0.0)) == [1]
    assert crowd(ledger.heard([worker.goodbye(1.0)], 1.0)) == [0]
    assert ledger.heard([worker.goodbye(6.0)], 6.0) == []  # still on its way down
    assert len(ledger.directory) == 0


def test_a_worker_that_says_goodbye_while_it_runs_ours_is_covered_until_the_end() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    ledger.heard([worker.running(dispatch, 0.1), worker.goodbye(0.2)], 0.2)
    assert len(ledger.directory) == 1
    ledger.heard([worker.success(dispatch, 0.3)], 0.3)
    assert crowd(ledger.heard([worker.goodbye(0.3)], 0.3)) == [0]


def test_an_answer_overtaken_by_a_goodbye_does_not_bring_the_worker_back() -> None:
    ledger, worker = make(), Native("a")
    ledger.heard([worker.answer(0.0, TASK)], 0.0)
    before = worker.answer(0.9, TASK)
    ledger.heard([worker.goodbye(1.0), before], 1.1)
    assert len(ledger.directory) == 0
    assert dispatches(ledger.submitted([order("u1")], 1.2)) == []


def test_a_worker_of_two_topics_leaves_with_its_second_goodbye() -> None:
    ledger, worker = make(topics=("x", "y")), Native("a", topics=("x", "y"))
    ledger.heard([worker.answer(0.0, TASK, topic=topic) for topic in "xy"], 0.0)
    ledger.heard([worker.answer(1.0, credit=0, topic="x")], 1.0)
    assert len(ledger.directory) == 1
    ledger.heard([worker.answer(1.0, credit=0, topic="y")], 1.0)
    assert len(ledger.directory) == 0


def test_a_worker_that_offers_nothing_yet_is_no_goodbye() -> None:
    ledger = make()
    assert crowd(ledger.heard([Native("a").answer(0.0, credit=4)], 0.0)) == [1]


@pytest.mark.parametrize("topic", ["elsewhere", TOPIC])
def test_answers_for_others_are_counted_and_change_nothing(topic: str) -> None:
    ledger = make("taskflow" if topic == TOPIC else "native")
    assert ledger.heard([Native("a", topics=(topic,)).answer(0.0, TASK)], 0.0) == []
    assert ledger.counts == {"answer_for_others": 1}
    native = make()
    assert native.heard([Taskflow().answer(TASK)], 0.0) == []
    assert native.counts == {"answer_for_others": 1}


def test_an_answer_that_names_no_inbox_is_incomplete() -> None:
    ledger, worker = make(), Native("a")
    bare = Envelope(envelope.NOTIFY, header=worker.header(0.0))
    assert ledger.heard([delivered(bare, Answer(TOPIC, (TASK,)), at_worker=False)], 0.0) == []
    assert ledger.counts == {"incomplete_answer": 1}


# asking -------------------------------------------------------------------------------------------


def keys(effects: list[Effect]) -> list[str]:
    """Where these questions go."""
    parcels = [effect.parcel for effect in effects if isinstance(effect, Publish)]
    return [parcel.address.routing_key or parcel.address.exchange for parcel in parcels]


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


def given_up(effects: list[Effect]) -> Exception:
    """The error that ended the one request."""
    (error,) = [effect.error for effect in effects if isinstance(effect, GiveUp)]
    return error


def expired(ledger: Ledger, now: float) -> str:
    """The message with which the one request expires at this moment, and not 10 ms before."""
    assert ends(ledger.tick(now - 0.01)) == []
    error = given_up(ledger.tick(now))
    assert isinstance(error, RequestTimeout)
    assert error.request_uuid == "u1"
    assert len(ledger) == 0
    return str(error)


def test_expired_without_any_worker() -> None:
    ledger = make()
    ledger.submitted([order("u1")], 1.0)
    assert expired(ledger, 61.0) == (
        "request u1 (m.task) expired after 60.0 s in WAITING, on topics ['default']: no worker has "
        "been heard from; start one with: python -m worker MODULE"
    )


def test_expired_with_a_name_that_nobody_offers() -> None:
    ledger, worker = make(), Native("a")
    ledger.submitted([order("u1", "img.resizee")], 1.0)
    ledger.heard([worker.answer(58.0, "img.resize", "img.rotate", "mail.send")], 58.0)
    ledger.heard([Native("b").answer(58.5, "img.resize")], 58.5)
    assert expired(ledger, 61.0) == (
        "request u1 (img.resizee) expired after 60.0 s in WAITING, on topics ['default']: heard "
        "from 2 workers, last 2.5 s ago; the nearest names they offer are img.resize, img.rotate; "
        "start a worker that offers it, or correct the name"
    )


def test_expired_where_no_name_is_near() -> None:
    ledger, worker = make(), Native("a")
    ledger.submitted([order("u1", "zzz")], 1.0)
    ledger.heard([worker.answer(60.0, *(f"package.module_{n}" for n in range(7)))], 60.0)
    assert expired(ledger, 61.0).endswith(
        "heard from 1 worker, last 1.0 s ago; they offer package.module_0, package.module_1, "
        "package.module_2, package.module_3, package.module_4 and 2 more; start a worker that "
        "offers it, or correct the name"
    )


def test_expired_though_another_topic_offers_it() -> None:
    ledger = make(topics=("cpu", "gpu"))
    ledger.submitted([order("u1", topics=("cpu",))], 1.0)
    ledger.heard([Native("a", topics=("gpu",)).answer(60.0, TASK)], 60.0)
    assert expired(ledger, 61.0).endswith(
        "it is offered on topic gpu: submit to that topic, or start a worker with --topic cpu"
    )


def test_expired_by_its_own_timeout_in_a_long_queue() -> None:
    """Before, it was told to submit to the topic it had been submitted to."""
    ledger, worker = make(), Native("a")
    ledger.heard([worker.answer(0.0, TASK, credit=1)], 0.0)
    ledger.submitted([order("u0"), order("u1", timeout=7.0)], 1.0)
    ledger.heard([worker.answer(5.0, TASK, credit=1)], 5.0)
    ledger.tick(7.99)
    error = given_up(ledger.tick(8.0))
    assert str(error).endswith(
        "in WAITING, on topics ['default']: heard from 1 worker, last 3.0 s ago; 1 of them offers "
        "it, with 1 unfinished request of ours: give it a longer timeout, or start more workers"
    )


def test_expired_at_a_worker_that_did_not_start_it() -> None:
    ledger, worker = make(), Native("a")
    sent(ledger, worker, timeout=5.0)
    ledger.heard([worker.answer(4.0, TASK)], 4.0)
    text = expired(ledger, 5.151)
    assert text == (
        "request u1 (m.task) expired after 5.2 s in PENDING, on topics ['default']: it was sent to "
        "worker-a 5.2 s ago, which has not said that it started; give it a longer timeout, or "
        "start more workers"
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
    assert isinstance(given_up(effects), RequestTimeout)


def test_two_that_come_back_after_their_deadlines_both_expire() -> None:
    ledger, worker = make(), Native("a")
    ledger.heard([worker.answer(0.0, TASK, credit=2)], 0.0)
    found = dispatches(ledger.submitted([order("u1", timeout=5.0), order("u2", timeout=9.0)], 0.0))
    ledger.tick(5.0)
    ledger.heard([worker.answer(5.01, TASK, credit=0)], 5.01)
    effects = ledger.heard([worker.gives_back(5.05, "late", *found)], 5.05)
    effects += ledger.tick(max(5.06, ledger.next_deadline()))
    assert ends(effects) == ["u1"]
    assert ends(ledger.tick(9.0)) == ["u2"]


def test_a_crash_after_the_deadline_is_the_end_and_is_told_as_what_it_is() -> None:
    """No time is left to start it again: before, it was said to have expired."""
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker, timeout=5.0)
    ledger.heard([worker.running(dispatch, 1.0)], 1.0)
    ledger.heard([worker.answer(9.0, TASK)], 9.0)
    ledger.tick(9.0)
    (effect,) = ledger.heard([worker.failure(dispatch, 10.0, "crash")], 10.0)
    assert isinstance(effect, Fail)


@pytest.mark.parametrize(("runs", "error"), [(True, WorkerLost), (False, RequestTimeout)])
def test_a_worker_lost_after_the_deadline_is_the_end(runs: bool, error: type[Exception]) -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker, timeout=14.95)
    if runs:
        ledger.heard([worker.running(dispatch, 0.0)], 0.0)
    assert isinstance(given_up(ledger.tick(LEASE)), error)


def test_after_a_rolling_restart_of_its_only_worker_a_request_has_its_full_time() -> None:
    """An hour old, its lane gone with the goodbye: before, it expired once it was handed back."""
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    ledger.heard([worker.running(dispatch, 1.0)], 1.0)
    for now in range(5, 3600, 5):
        ledger.heard([worker.answer(float(now), TASK)], float(now))
    ledger.heard([worker.goodbye(3600.0)], 3600.0)
    ledger.tick(3600.0)
    stopped = ledger.heard([worker.failure(dispatch, 3601.0, "stopped")], 3601.0)
    assert ends(stopped + ledger.tick(3602.0) + ledger.tick(3630.0)) == []
    assert len(dispatches(ledger.heard([Native("b").answer(3640.0, TASK)], 3640.0))) == 1


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
    assert isinstance(given_up(effects), TasksUnloadable)
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
    assert ends(effects) == ["u1", "u2"]
    assert effects[0] == Succeed("u1", 1)


def test_a_taskflow_request_expires_as_taskflows_own_and_says_that_it_may_run() -> None:
    ledger = make("taskflow")
    ledger.heard([Taskflow().answer(TASK)], 0.0)
    ledger.submitted([order("u1")], 1.0)
    assert ends(ledger.tick(60.9)) == []
    text = str(given_up(ledger.tick(61.0)))
    assert "being a taskflow worker, may still run it" in text
    assert ledger.heard([Taskflow().success("u1")], 62.0) == []


def test_a_worker_known_to_have_ended_is_not_waited_for() -> None:
    """Its requests go elsewhere at once; its last words, on their way, still count."""
    ledger, one, other = make("native"), Native("a"), Native("b")
    ledger.heard([one.answer(0.0, TASK, credit=1)], 0.0)
    (first,) = dispatches(ledger.submitted([order("u1")], 0.0))
    ledger.heard([other.answer(1.0, TASK, credit=1)], 1.0)
    effects = ledger.gone(ledger.directory.native(one.boot).name, 2.0)
    (second,) = dispatches(effects)
    assert (second.uuid, second.attempt) == ("u1", 2)
    assert crowd(effects) == [1]
    assert ledger.gone("nobody", 3.0) == []
    assert ends(ledger.heard([one.success(first, 3.0)], 3.0)) == ["u1"]


def test_what_runs_on_a_silent_taskflow_topic_is_lost_after_an_hour_and_not_before() -> None:
    """A busy taskflow worker does not answer questions, so silence alone proves little."""
    ledger, peer = make("taskflow"), Taskflow()
    ledger.heard([peer.answer(TASK)], 0.0)
    ledger.submitted([order("u1"), order("u2", timeout=9000.0)], 1.0)
    ledger.heard([peer.running("u1"), peer.running("u2")], 2.0)
    assert ends(ledger.tick(2.0 + WORKER_EXPIRY)) == []  # forgotten, but what it runs is not
    assert ends(ledger.tick(2.0 + TASKFLOW_SILENCE - 0.1)) == []
    spoke = peer.says("u2", Response.event("update_progress", {"progress": 0.5}))
    ledger.heard([spoke], 2.0 + TASKFLOW_SILENCE - 0.05)
    assert ends(ledger.tick(2.0 + TASKFLOW_SILENCE)) == []  # it has spoken
    assert ends(ledger.heard([peer.success("u1")], 4000.0)) == ["u1"]
    ledger.tick(4000.0 + WORKER_EXPIRY)
    effects = ledger.tick(4000.0 + TASKFLOW_SILENCE)
    assert ends(effects) == ["u2"]
    assert isinstance(given_up(effects), WorkerLost)


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
        "stranger": count_steps(lambda: ledger.heard([refused_answer("?")], 1.0)),
        "beat": count_steps(lambda: ledger.heard([worker.answer(2.0, TASK, credit=8)], 2.0)),
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
