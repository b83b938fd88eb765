"""What workers say about attempts: which one is meant, what is fenced, what is receipted when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from executor.effects import (
    Begin,
    Dispatch,
    Effect,
    Failed,
    Publish,
    Record,
    Tell,
    Value,
    Withdrawn,
)
from executor.ledger import Ledger
from protocol import envelope
from protocol.errors import MessageUndeliverable, ResultLost
from protocol.events import Over, Running
from protocol.messages import Response
from protocol.parcel import Refused
from protocol.states import PENDING, RUNNING, WAITING
from protocol.timing import LEASE, RECEIPT_DELAY, RECEIPTS_AT_ONCE
from tests.executor.peers import (
    FAILED,
    Native,
    Taskflow,
    cancels,
    dispatches,
    letters,
    lines,
    order,
    outcomes,
    receipts,
)
from tests.executor.scenes import TASK, beats, ends, error, make, run_dry, running, sent


def refused_answer(uuid: str, kind: str = envelope.RESPONSE) -> Refused:
    """A reply that is no message."""
    return Refused("schema", "data must be an object", kind, None, uuid)


def lost_then_sent_again(
    ledger: Ledger, first: Native, second: Native, *, runs: bool = False
) -> tuple[Dispatch, Dispatch]:
    """Attempt 1 at a worker that fell silent, and attempt 2 at another."""
    old = (running if runs else sent)(ledger, first)
    ledger.heard([second.answer(10.0, TASK)], 10.0)
    (new,) = dispatches(ledger.tick(LEASE))
    return old, new


# RESPONSE -----------------------------------------------------------------------------------------


def test_running_is_recorded_once_and_then_the_future_has_begun() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    effects = ledger.heard([worker.running(dispatch, 0.1)] * 2, 0.1)
    assert effects == [Record(Running("u1", 1)), Begin("u1")]
    assert ledger.state_of("u1") == RUNNING


def test_running_then_success_ends_it_once() -> None:
    ledger, worker = make(), Native("a")
    dispatch = running(ledger, worker)
    answers = [worker.success(dispatch, 0.2, {"x": [1]}), worker.success(dispatch, 0.2, 2)]
    assert outcomes(ledger.heard(answers, 0.2)) == {"u1": Value({"x": [1]})}
    assert len(ledger) == 0
    assert ledger.counts == {"late_or_unknown": 1}


def test_a_result_implies_that_it_ran_whatever_comes_after_it() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    effects = ledger.heard([worker.success(dispatch, 0.2), worker.running(dispatch, 0.2)], 0.2)
    assert outcomes(effects) == {"u1": Value("done")}
    assert lines(effects) == [Running("u1", 1)]


def test_a_failure_names_its_worker() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    found = outcomes(ledger.heard([worker.failure(dispatch, 0.2)], 0.2))
    assert found == {"u1": Failed(FAILED, worker.name)}


@pytest.mark.parametrize("tickets", ["1:2", "2:1", "1:0"])
def test_an_answer_under_another_ticket_is_not_for_us(tickets: str) -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    wrong = worker.says(dispatch, Response.success(1), 0.1, tickets=tickets)
    assert ledger.heard([wrong], 0.1) == []
    assert ledger.state_of("u1") == PENDING
    assert ledger.counts["not_sent_there"] == 1


def test_an_answer_of_another_worker_under_the_right_ticket_is_not_for_us() -> None:
    ledger, worker, other = make(), Native("a"), Native("b")
    dispatch = sent(ledger, worker)
    assert ledger.heard([other.success(dispatch, 0.1)], 0.1) == []
    assert ledger.counts == {"not_sent_there": 1}


def test_of_several_tickets_an_answer_names_the_newest_that_we_know_is_meant() -> None:
    """One run may serve several attempts."""
    ledger, worker = make(), Native("a")
    sent(ledger, worker)
    ledger.tick(LEASE)
    (again,) = dispatches(ledger.heard([worker.answer(20.0, TASK)], 20.0))
    both = worker.says(again, Response.success(1), 21.0, tickets="1:1-2", end="done")
    assert outcomes(ledger.heard([both], 21.0)) == {"u1": Value(1)}


@pytest.mark.parametrize("state", ["WAITING", "PENDING"])
def test_a_state_no_worker_tells_is_nonsense(state: str) -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    assert ledger.heard([worker.says(dispatch, Response(state), 0.1)], 0.1) == []
    assert ledger.counts == {"illegal_transition": 1}


def test_an_answer_to_nothing_is_counted() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    stray = worker.success(Dispatch("u9", 1, dispatch.parcel, dispatch.event), 0.1)
    assert ledger.heard([stray], 0.1) == []
    assert ledger.counts == {"late_or_unknown": 1, "receipt_not_due": 1}


def test_an_end_of_a_run_says_that_it_ran_if_nothing_else_has() -> None:
    """Its RUNNING may be lost, and a worker leaves it out of what leaves together with the end."""
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    effects = ledger.heard([worker.success(dispatch, 0.1)], 0.1)
    assert lines(effects) == [Running("u1", 1)]
    assert outcomes(effects) == {"u1": Value("done")}
    assert lines(ledger.heard([worker.success(dispatch, 0.2)], 0.2)) == []


def test_an_end_of_what_could_not_be_run_does_not_say_that_it_ran() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    refusal = worker.says(dispatch, Response.failure(FAILED), 0.1)
    assert lines(ledger.heard([refusal], 0.1)) == []


def test_a_success_without_a_result_ends_it_as_a_failure_that_says_so() -> None:
    """taskflow's schema lets it through; taskflow's own engine dies of it."""
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    bare = worker.says(dispatch, Response("SUCCESS"), 0.1)
    outcome = outcomes(ledger.heard([bare], 0.1))["u1"]
    assert isinstance(outcome, Failed)
    assert "without a result" in outcome.failure["exception_str"]
    assert ledger.counts == {"result_missing": 1}


def test_events_are_told_only_to_who_listens_and_mean_that_it_runs() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker, wants_events=True)
    event = worker.says(dispatch, Response.event("saved", {"path": "a"}), 0.1)
    ran = [Record(Running("u1", 1)), Begin("u1")]
    assert ledger.heard([event], 0.1) == [*ran, Tell("u1", "saved", {"path": "a"})]
    assert ledger.heard([event], 0.1) == [Tell("u1", "saved", {"path": "a"})]
    assert ledger.state_of("u1") == RUNNING
    deaf, worker = make(), Native("a")
    event = worker.says(sent(deaf, worker), Response.event("saved", {}), 0.1)
    assert deaf.heard([event], 0.1) == ran


def test_the_first_end_of_the_round_wins_though_its_attempt_was_given_up() -> None:
    ledger, slow, other = make(), Native("a"), Native("b")
    old, new = lost_then_sent_again(ledger, slow, other)
    assert outcomes(ledger.heard([slow.success(old, 20.0, "slow")], 20.0)) == {"u1": Value("slow")}
    assert ledger.counts == {"late_but_first": 1}
    assert [len(peer.open) for peer in ledger.directory] == [0]
    assert ends(ledger.heard([other.success(new, 21.0, "other")], 21.0)) == []


def test_ends_of_an_earlier_round_are_fenced_and_receipted() -> None:
    ledger, first, second = make(), Native("a"), Native("b")
    old, new = lost_then_sent_again(ledger, first, second)
    ledger.heard([second.running(new, 16.0), first.answer(16.0, TASK, credit=0)], 16.0)
    ledger.heard([second.failure(new, 17.0, "crash")], 17.0)
    assert ledger._requests["u1"].base == 3
    late = [first.success(old, 18.0), first.success(old, 18.1)]
    effects = ledger.heard(late, 18.1) + ledger.tick(19.0)
    assert ends(effects) == []
    assert ledger.counts == {"fenced": 2}
    assert receipts(effects) == {first.boot: ["1:1"], second.boot: ["1:1"]}


def test_a_task_event_of_an_earlier_round_is_not_told() -> None:
    ledger, worker = make(), Native("a")
    old = running(ledger, worker, wants_events=True)
    ledger.heard([worker.failure(old, 0.2, "crash")], 0.2)
    event = worker.says(old, Response.event("saved", {}), 0.3)
    assert ledger.heard([event], 0.3) == []


def test_a_second_end_of_an_attempt_is_a_double() -> None:
    """It was given back, and then answered all the same."""
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    ledger.heard([worker.answer(0.1, TASK, credit=0)], 0.1)
    ledger.heard([worker.gives_back(0.2, "late", dispatch)], 0.2)
    assert ends(ledger.heard([worker.success(dispatch, 0.3)], 0.3)) == []
    assert ledger.counts == {"double": 1}
    assert ledger.state_of("u1") == WAITING


def test_a_refused_answer_ends_a_request_that_nothing_else_would_end() -> None:
    """taskflow's in any state, ours once it runs; before that its worker is asked what it has."""
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    assert ledger.heard([refused_answer("u1"), refused_answer("stranger")], 0.1) == []
    ledger.heard([worker.running(dispatch, 0.2)], 0.2)
    assert ledger.heard([refused_answer("u1", envelope.RELEASE)], 0.2) == []
    outcome = outcomes(ledger.heard([refused_answer("u1")], 0.3))["u1"]
    assert isinstance(outcome, Failed)
    assert "data must be an object" in outcome.failure["exception_str"]
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


def test_where_ours_sign_what_is_unsigned_says_nothing_of_their_requests() -> None:
    """It passes for taskflow's, and is believed about what taskflow's workers were sent."""
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    refusal = Taskflow().failure("u1")
    foreign = replace(refusal, envelope=replace(refusal.envelope, is_foreign=True))
    assert ledger.heard([foreign], 0.1) == []
    assert ledger.counts["not_sent_there"] == 1
    ledger.heard([worker.running(dispatch, 0.2)], 0.2)
    assert ledger.heard([replace(refused_answer("u1"), is_foreign=True)], 0.3) == []
    assert ledger.state_of("u1") == RUNNING


def test_a_crash_told_by_a_worker_given_up_does_not_send_it_twice() -> None:
    """It waits already: before, it stood in its lane twice and two workers got it at once."""
    ledger, lost, other = make(), Native("a"), Native("b")
    dispatch = running(ledger, lost)
    ledger.tick(LEASE)
    assert ledger.state_of("u1") == WAITING
    assert dispatches(ledger.heard([lost.failure(dispatch, 16.0, "crash")], 16.0)) == []
    assert len(dispatches(ledger.heard([other.answer(17.0, TASK, credit=5)], 17.0))) == 1
    assert sum(len(peer.open) for peer in ledger.directory) == 1


@pytest.mark.parametrize("end", ["crash", "stopped"])
def test_a_late_crash_of_an_older_attempt_leaves_the_present_one_alone(end: str) -> None:
    """Before, the present attempt vanished from its peer: no lease covered it any more."""
    ledger, first, second = make(), Native("a"), Native("b")
    old, new = lost_then_sent_again(ledger, first, second, runs=True)
    ledger.heard([second.running(new, 15.5)], 15.5)
    late = first.failure(old, 16.0, end)  # type: ignore[arg-type]
    assert ledger.heard([late], 16.0) == []
    assert ledger.counts == {"fenced": 1}
    assert [len(peer.open) for peer in ledger.directory] == [1]
    assert ends(run_dry(ledger, 16.0)) == ["u1"]


# RELEASE ------------------------------------------------------------------------------------------


def test_what_is_given_back_goes_elsewhere_at_once_and_that_is_recorded() -> None:
    ledger, worker, other = make(), Native("a"), Native("b")
    dispatch = sent(ledger, worker)
    ledger.heard([other.answer(0.1, TASK, credit=1), worker.goodbye(0.2)], 0.2)
    effects = ledger.heard([worker.gives_back(0.3, "drain", dispatch)], 0.3)
    assert lines(effects) == [Over("u1", 1, "never")]
    (again,) = dispatches(effects)
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


def test_giving_back_twice_changes_nothing() -> None:
    ledger, worker, other = make(), Native("a"), Native("b")
    dispatch = sent(ledger, worker)
    ledger.heard([other.answer(0.0, TASK), worker.answer(0.0)], 0.0)
    release = worker.gives_back(0.1, "late", dispatch)
    (again,) = dispatches(ledger.heard([release, release], 0.1))
    ledger.heard([other.running(again, 0.2)], 0.2)
    assert ledger.heard([release], 0.3) == []
    assert ledger.counts == {"release_of_unknown": 2}
    assert ledger.state_of("u1") == RUNNING


def test_a_release_of_a_superseded_attempt_leaves_the_present_one_alone() -> None:
    ledger, first, second = make(), Native("a"), Native("b")
    old, new = lost_then_sent_again(ledger, first, second)
    effects = ledger.heard([first.gives_back(16.0, "late", old)], 16.0)
    assert effects == [Record(Over("u1", 1, "never"))]
    assert ledger.state_of("u1") == PENDING
    assert ends(ledger.heard([second.success(new, 16.5)], 16.5)) == ["u1"]


@pytest.mark.parametrize("mode", ["alo", "amo"])
def test_given_back_by_its_worker_it_is_sent_again_in_either_mode(mode: str) -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker, mode=mode)
    (again,) = dispatches(ledger.heard([worker.gives_back(0.2, "late", dispatch)], 0.2))
    assert again.attempt == 2


def test_a_release_of_what_ran_says_that_nothing_is_left_of_it() -> None:
    ledger, worker = make(), Native("a")
    dispatch = running(ledger, worker)
    effects = ledger.heard([worker.gives_back(0.2, "over", dispatch)], 0.2)
    assert lines(effects) == [Over("u1", 1, "dropped")]
    assert [d.attempt for d in dispatches(effects)] == [2]
    strict, worker = make(), Native("a")
    dispatch = running(strict, worker, mode="amo")
    effects = strict.heard([worker.gives_back(0.2, "over", dispatch)], 0.2)
    assert isinstance(error(effects), ResultLost)


def test_a_release_from_nobody_we_know_is_counted() -> None:
    ledger = make()
    assert ledger.heard([Native("a").gives_back(0.1, "late", "1:1")], 0.1) == []
    assert ledger.counts == {"release_of_unknown": 1}


# DROPPED ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runs", [False, True])
def test_a_result_thrown_away_is_recorded_receipted_and_the_task_run_again(runs: bool) -> None:
    ledger, worker = make(), Native("a")
    dispatch = (running if runs else sent)(ledger, worker)
    effects = ledger.heard([worker.drops(0.2, dispatch)], 0.2)
    assert lines(effects) == [Over("u1", 1, "dropped")]
    (again,) = dispatches(effects)
    assert (Begin("u1") in effects) is not runs
    assert receipts(ledger.tick(0.2 + RECEIPT_DELAY)) == {worker.boot: ["1:1"]}  # of this alone
    assert again.parcel.envelope.header is not None
    assert again.parcel.envelope.header.tickets == "1:1-2"


def test_a_result_thrown_away_is_lost_where_the_task_may_not_run_again() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker, mode="amo")
    lost = error(ledger.heard([worker.drops(0.2, dispatch)], 0.2))
    assert isinstance(lost, ResultLost)
    assert lost.request_uuid == "u1"


def test_dropped_again_is_receipted_again() -> None:
    """The receipt was lost; a marker at the worker stays until one arrives."""
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    ledger.heard([worker.drops(0.2, dispatch)], 0.2)
    ledger.tick(1.0)
    ledger.heard([worker.drops(2.0, dispatch)], 2.0)
    assert receipts(ledger.tick(3.0)) == {worker.boot: ["1:1"]}
    assert ledger.counts == {"late_or_unknown": 1}
    ledger.heard([worker.held(4.0, queued="1:2", dropped=dispatch)], 4.0)
    assert receipts(ledger.tick(5.0)) == {worker.boot: ["1:1"]}


def test_dropped_at_a_superseded_attempt_leaves_the_present_one_alone() -> None:
    ledger, first, second = make(), Native("a"), Native("b")
    old, _ = lost_then_sent_again(ledger, first, second)
    effects = ledger.heard([first.drops(16.0, old)], 16.0)
    assert effects == [Record(Over("u1", 1, "dropped"))]
    assert ledger.state_of("u1") == PENDING
    assert ledger.counts == {"fenced": 1}


# HELD ---------------------------------------------------------------------------------------------


def test_listed_as_running_it_runs() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    effects = ledger.heard([worker.held(1.0, running=dispatch)], 1.0)
    assert effects == [Record(Running("u1", 1)), Begin("u1")]
    assert ledger.heard([worker.held(2.0, running=dispatch)], 2.0) == []
    assert ledger.state_of("u1") == RUNNING


def test_listed_as_ended_it_ran_and_its_result_is_on_its_way() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    ledger.heard([worker.held(100.0, ended=dispatch)], 1.0)
    assert ledger.state_of("u1") == RUNNING
    assert outcomes(ledger.heard([worker.success(dispatch, 2.0)], 2.0)) == {"u1": Value("done")}


def test_listed_as_dropped_it_is_dropped() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    effects = ledger.heard([worker.held(1.0, dropped=dispatch)], 1.0)
    assert lines(effects) == [Over("u1", 1, "dropped")]
    assert [d.attempt for d in dispatches(effects)] == [2]


def test_listed_as_queued_nothing_happens_though_its_start_by_has_passed() -> None:
    """A worker that could not start it in time gives it back itself."""
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    beats(ledger, worker, 5.0, 75.0)
    assert ledger.heard([worker.held(70.0, queued=dispatch)], 70.0) == []
    assert ledger.state_of("u1") == PENDING


def test_listed_as_queued_after_it_ran_is_old_news() -> None:
    """Its RUNNING has overtaken the digest."""
    ledger, worker = make(), Native("a")
    dispatch = running(ledger, worker)
    assert ledger.heard([worker.held(1.0, queued=dispatch)], 1.0) == []
    assert ledger.state_of("u1") == RUNNING
    assert not ledger.counts


@pytest.mark.parametrize("mode", ["alo", "amo"])
def test_lacking_it_after_its_start_by_proves_that_it_never_was(mode: str) -> None:
    ledger, worker = make(), Native("a")
    sent(ledger, worker, mode=mode)
    beats(ledger, worker, 5.0, 60.0)
    effects = ledger.heard([worker.held(59.99)], 60.0)
    assert dispatches(effects) == []
    effects = ledger.heard([worker.held(60.01)], 60.0)
    assert lines(effects) == [Over("u1", 1, "never")]
    assert [d.attempt for d in dispatches(effects)] == [2]


@pytest.mark.parametrize(("mode", "ends_as"), [("alo", None), ("amo", ResultLost)])
def test_lacking_what_ran_says_that_nothing_is_left_of_it(
    mode: str, ends_as: type[Exception] | None
) -> None:
    ledger, worker = make(), Native("a")
    running(ledger, worker, mode=mode)
    beats(ledger, worker, 5.0, 60.0)
    assert ledger.heard([worker.held(59.0)], 59.5) == []  # perhaps from before it was there
    effects = ledger.heard([worker.held(61.0)], 61.0)
    assert lines(effects) == [Over("u1", 1, "dropped")]
    if ends_as is None:
        assert [d.attempt for d in dispatches(effects)] == [2]
    else:
        assert isinstance(error(effects), ends_as)


def again(effects: list[Effect]) -> list[tuple[str | None, int | None]]:
    """Requests sent again under the same attempt: tickets and start-by."""
    found = [letter.envelope.header for letter in letters(effects, envelope.REQUEST)]
    return [(header.tickets, header.start_by) for header in found if header is not None]


def test_lacking_it_a_beat_after_it_was_sent_has_the_same_sent_again_ever_more_rarely() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    header = dispatch.parcel.envelope.header
    assert header is not None
    when = []
    for now in range(1, 60):
        effects = ledger.heard([worker.answer(now, TASK), worker.held(now)], now)
        assert dispatches(effects) == []
        if found := again(effects):
            when.append(now)
            assert found == [(header.tickets, header.start_by)]
    assert when == [5, 10, 20, 40]
    assert ledger.counts == {"request_sent_again": 4}


def test_what_is_listed_or_runs_is_not_sent_again() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    assert ledger.heard([worker.held(6.0, queued=dispatch)], 6.0) == []
    ledger.heard([worker.running(dispatch, 7.0)], 7.0)
    assert ledger.heard([worker.held(8.0)], 8.0) == []


def test_what_was_cancelled_is_not_sent_again_but_its_cancel() -> None:
    ledger, worker = make(), Native("a")
    sent(ledger, worker)
    assert len(cancels(ledger.cancelled("u1", False, 1.0))) == 1
    assert again(ledger.heard([worker.held(6.0)], 6.0)) == []


def test_without_a_digest_nothing_is_sent_again() -> None:
    """A silent worker is the lease's business."""
    ledger, worker = make(), Native("a")
    sent(ledger, worker)
    assert again(beats(ledger, worker, 1.0, 100.0)) == []


def test_an_older_digest_than_the_last_tells_nothing() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    ledger.heard([worker.held(7.0, queued=dispatch)], 7.0)
    assert ledger.heard([worker.held(6.0)], 7.0) == []
    assert ledger.counts == {"held_overtaken": 1}


def test_a_digest_may_end_a_request_that_has_several_attempts_there() -> None:
    ledger, worker = make(), Native("a")
    sent(ledger, worker)
    ledger.tick(LEASE)
    assert len(dispatches(ledger.heard([worker.answer(20.0, TASK)], 20.0))) == 1
    ledger.cancelled("u1", False, 21.0)
    assert ends(ledger.heard([worker.held(90.0)], 22.0)) == ["u1"]


def test_a_digest_of_nobody_we_know_and_one_of_nonsense_are_counted() -> None:
    ledger, worker = make(), Native("a")
    assert ledger.heard([worker.held(1.0)], 1.0) == []
    sent(ledger, worker)
    assert ledger.heard([worker.held(2.0, queued="1:5-2")], 2.0) == []
    assert ledger.counts == {"held_of_unknown": 1, "tickets": 1}


def test_a_worker_thawed_before_anybody_else_had_room_keeps_what_it_runs() -> None:
    """Given up, and not sent elsewhere yet: its worker's lease decides again."""
    ledger, worker = make(), Native("a")
    dispatch = running(ledger, worker)
    ledger.tick(LEASE)
    assert ledger.state_of("u1") == WAITING
    thawed = [worker.answer(20.0, TASK), worker.held(20.0, running=dispatch)]
    assert dispatches(ledger.heard(thawed, 20.0)) == []
    assert ledger.state_of("u1") == RUNNING
    assert ledger._requests["u1"].lost == 0
    ledger.tick(20.0 + LEASE)
    assert ledger.state_of("u1") == WAITING  # silent again, lost again


def test_the_same_of_what_is_queued_there() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    ledger.tick(LEASE)
    ledger.heard([worker.held(20.0, queued=dispatch)], 20.0)
    assert ledger.state_of("u1") == PENDING
    ledger.tick(20.0 + LEASE)
    assert ledger.state_of("u1") == WAITING


# receipts -----------------------------------------------------------------------------------------


def test_an_end_is_receipted_a_moment_later_with_others_of_that_worker() -> None:
    ledger, worker = make(), Native("a")
    ledger.heard([worker.answer(0.0, TASK, credit=9)], 0.0)
    found = dispatches(ledger.submitted([order(f"u{n}") for n in range(3)], 0.0))
    first = ledger.heard([worker.success(found[0], 1.0), worker.failure(found[1], 1.0)], 1.0)
    second = ledger.heard([worker.success(found[2], 1.2)], 1.2)
    assert letters(first + second, envelope.RECEIPT) == []
    assert ledger.next_deadline() <= 1.0 + RECEIPT_DELAY
    (letter,) = letters(ledger.tick(1.0 + RECEIPT_DELAY), envelope.RECEIPT)
    assert letter.envelope.header is not None
    assert letter.envelope.header.boot == worker.boot
    assert letter.message.tickets == "1:1-3"  # type: ignore[union-attr]


def test_many_ends_are_receipted_at_once() -> None:
    ledger, worker = make(), Native("a")
    ledger.heard([worker.answer(0.0, TASK, credit=1000)], 0.0)
    found = dispatches(ledger.submitted([order(f"u{n}") for n in range(300)], 0.0))
    effects = ledger.heard([worker.success(d, 1.0) for d in found], 1.0)
    assert len(receipts(effects)[worker.boot]) == 300 > RECEIPTS_AT_ONCE


def test_an_end_that_ends_it_receipts_all_its_tickets_wherever_it_was_sent() -> None:
    ledger, first, second = make(), Native("a"), Native("b")
    old, _ = lost_then_sent_again(ledger, first, second)
    ledger.heard([first.success(old, 16.0)], 16.0)
    assert receipts(ledger.tick(17.0)) == {first.boot: ["1:1"], second.boot: ["1:1"]}


def test_an_end_that_does_not_end_it_receipts_the_tickets_it_names_alone() -> None:
    """Receipting all would delete the result of the next attempt there, unread."""
    ledger, worker = make(), Native("a")
    sent(ledger, worker)
    ledger.tick(LEASE)
    (second,) = dispatches(ledger.heard([worker.answer(20.0, TASK)], 20.0))
    ledger.heard([worker.failure(second, 21.0, "crash")], 21.0)
    assert receipts(ledger.tick(22.0)) == {worker.boot: ["1:2"]}


def test_a_late_end_of_what_is_over_is_receipted_again() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    ledger.heard([worker.success(dispatch, 1.0)], 1.0)
    ledger.tick(2.0)
    ledger.heard([worker.success(dispatch, 3.0), worker.running(dispatch, 3.0)], 3.0)
    assert receipts(ledger.tick(4.0)) == {worker.boot: ["1:1"]}


def test_a_worker_that_was_forgotten_is_receipted_too() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    ledger.tick(LEASE)
    assert len(ledger.directory) == 0
    ledger.heard([worker.success(dispatch, 17.0)], 17.0)
    assert receipts(ledger.tick(18.0)) == {worker.boot: ["1:1"]}


@pytest.mark.parametrize("tickets", ["1:7", "1:100000", "2:1", "999:1"])
def test_tickets_that_were_never_given_are_not_receipted(tickets: str) -> None:
    """Its worker would take all below them for over, and be deaf to what is sent next."""
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    forged = replace(dispatch, uuid="nobody's")
    ledger.heard([worker.says(forged, Response.success(1), 1.0, tickets=tickets)], 1.0)
    ledger.heard([worker.drops(1.0, tickets), worker.held(1.0, queued=dispatch)], 1.0)
    ledger.heard([worker.held(1.1, queued=dispatch, dropped=tickets)], 1.1)
    assert receipts(ledger.tick(3.0)) == {}
    assert ledger.counts["receipt_not_due"] == 2


def test_of_a_span_that_was_thrown_away_what_was_given_is_receipted() -> None:
    ledger, worker = make(incarnation=2), Native("a")
    running(ledger, worker)
    ledger.heard([worker.held(1.0, dropped="1:5-6 2:1-900 3:1-4")], 1.0)
    assert receipts(ledger.tick(3.0)) == {worker.boot: ["1:5", "1:6", "2:1"]}


def test_an_end_of_nobodys_costs_no_other_request_its_result() -> None:
    """It names the ticket of one that is waited for: that may not be forgotten over there."""
    ledger, worker = make(), Native("a")
    dispatch = running(ledger, worker)
    forged = replace(dispatch, uuid="nobody's")
    effects = ledger.heard([worker.success(forged, 1.0, "forged")], 1.0)
    assert receipts(effects + ledger.tick(3.0)) == {}
    assert outcomes(ledger.heard([worker.success(dispatch, 3.5)], 3.5)) == {"u1": Value("done")}


def test_a_worker_that_announced_no_receipts_is_sent_none() -> None:
    ledger, worker = make(), Native("a", caps=("release", "held"))
    dispatch = sent(ledger, worker)
    ledger.heard([worker.success(dispatch, 1.0)], 1.0)
    assert receipts(ledger.tick(2.0)) == {}


def test_a_late_end_from_nobody_we_can_reach_is_counted_only() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    other = make()
    assert other.heard([worker.success(dispatch, 1.0)], 1.0) == []
    assert other.counts == {"late_or_unknown": 1}


# last words ---------------------------------------------------------------------------------------


def test_an_answer_of_a_forgotten_worker_still_counts() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    ledger.tick(LEASE)
    assert outcomes(ledger.heard([worker.success(dispatch, 17.0)], 17.0)) == {"u1": Value("done")}
    assert [len(lane.waiting) for lane in ledger._lanes] in ([], [0])


def test_a_release_of_a_forgotten_worker_counts_too() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    ledger.tick(LEASE)
    effects = ledger.heard([worker.gives_back(16.0, "late", dispatch)], 16.0)
    assert lines(effects) == [Over("u1", 1, "never")]
    assert ledger.state_of("u1") == WAITING


# what the broker does not take --------------------------------------------------------------------

WHY = "amqp://somewhere refuses it: message size 9 is larger than configured max size 8"


def test_a_request_the_broker_does_not_take_fails_and_says_so() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    effects = ledger.undeliverable(dispatch.parcel, WHY, 1.0)
    refusal = error(effects)
    assert isinstance(refusal, MessageUndeliverable)
    assert "request u1 (m.task) of " in str(refusal)
    assert WHY in str(refusal)
    assert len(ledger) == 0
    assert ledger.undeliverable(dispatch.parcel, WHY, 1.0) == []


def test_the_credit_of_a_refused_request_is_free_again() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    (second,) = dispatches(ledger.submitted([order("u2"), order("u3")], 0.5))
    (third,) = dispatches(ledger.undeliverable(dispatch.parcel, WHY, 1.0))
    assert (second.uuid, third.uuid) == ("u2", "u3")


def test_a_request_that_taskflows_workers_should_have_had_fails_likewise() -> None:
    ledger, worker = make("taskflow"), Taskflow()
    ledger.heard([worker.answer(TASK)], 0.0)
    (dispatch,) = dispatches(ledger.submitted([order("u1")], 0.0))
    assert isinstance(error(ledger.undeliverable(dispatch.parcel, WHY, 1.0)), MessageUndeliverable)


def test_one_that_has_been_started_goes_on_though_it_could_not_be_sent_again() -> None:
    ledger, worker = make(), Native("a")
    dispatch = running(ledger, worker)
    assert ledger.undeliverable(dispatch.parcel, WHY, 1.0) == []
    assert ledger.state_of("u1") == RUNNING


def test_one_that_may_have_arrived_before_is_left_to_its_worker_to_tell_of() -> None:
    ledger, worker = make(), Native("a")
    sent(ledger, worker)
    effects = ledger.heard([worker.held(6.0)], 6.0)
    (again,) = [e.parcel for e in effects if isinstance(e, Publish) and e.parcel.body]
    assert again.envelope.kind == envelope.REQUEST
    assert ledger.undeliverable(again, WHY, 7.0) == []
    assert ledger.state_of("u1") == PENDING


def test_a_cancelled_request_that_was_not_taken_is_settled_by_that() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    ledger.cancelled("u1", False, 0.5)
    effects = ledger.undeliverable(dispatch.parcel, WHY, 1.0)
    assert outcomes(effects) == {"u1": Withdrawn()}


def test_nothing_comes_of_another_message_that_was_not_taken() -> None:
    ledger, worker = make(), Native("a")
    sent(ledger, worker)
    effects = ledger.cancelled("u1", False, 0.5)
    (cancel,) = [e.parcel for e in effects if isinstance(e, Publish)]
    assert ledger.undeliverable(cancel, WHY, 1.0) == []
    assert len(ledger) == 1
