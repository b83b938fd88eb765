"""What a worker process takes, runs, gives back and answers."""

from __future__ import annotations

from typing import Any

import pytest

from protocol import envelope
from protocol.failure import from_text
from protocol.messages import Answer, Request, Response
from protocol.parcel import Received, Refused
from protocol.timing import BEAT, CREDIT_MAX, KEEP, QUEUE_PATIENCE
from protocol.topology import Names
from tests.worker.executors import BOOT, TASK, Native, Taskflow, parcels, read, runs, told
from worker import shift as room
from worker.effects import Done, Effect, End
from worker.shift import Shift
from worker.work import Ended, Offer, Offers, Report, Started, TaskEvent

EX = Native()
FLOW = Taskflow()


def make(
    slots: int = 1, *, dialect: Any = "native", topics: tuple[str, ...] = ("default",)
) -> Shift:
    """A worker that offers one task and has begun to consume."""
    shift = Shift(Names(dialect, "test"), topics, worker="w", boot=BOOT, slots=slots)
    shift.offering([Offer(TASK)], 0.0)
    shift.consuming(0.0)
    shift.tick(0.0)
    return shift


def key(effects: list[Effect]) -> int:
    """The pool's number of the one run in these effects."""
    (run,) = runs(effects)
    return run.work.key


def responses(effects: list[Effect]) -> list[Response]:
    """The responses among what is sent."""
    messages = [read(parcel).message for parcel in parcels(effects)]
    return [message for message in messages if isinstance(message, Response)]


def failure_text(effects: list[Effect]) -> str:
    """The text of the one failure told."""
    (response,) = [one for one in responses(effects) if one.state == "FAILURE"]
    text: str = response.data["result"]["exception_str"]
    return text


# running ------------------------------------------------------------------------------------------


def test_a_request_runs_and_running_is_told_before_its_end() -> None:
    shift = make()
    effects = shift.heard([EX.request("u1", 1)], 1.0)
    assert told(effects) == ["RUNNING u1"]
    (run,) = runs(effects)
    work = run.work
    assert (work.uuid, work.task, work.name, work.action) == ("u1", TASK, TASK, "execute")
    assert (work.args, work.arguments, work.attempt) == ([1], {"k": 2}, 1)
    effects = shift.reported([Started(work.key), Ended(work.key, {"x": 1})], 2.0)
    assert told(effects) == ["SUCCESS u1"]
    (parcel,) = parcels(effects)
    header = parcel.envelope.header
    assert header is not None
    assert (header.boot, header.clock, header.tickets, header.end) == (BOOT, 2000, "1:1", "done")
    assert header.credit == 2  # one slot, and one task finished within the last second
    assert parcel.address.routing_key == "test.native_ex-1"


def test_the_keeper_may_send_first_and_run_then() -> None:
    """RUNNING stands before Run, so that no end can overtake it."""
    shift = make(slots=2)
    effects = shift.heard([EX.request("u1", 1), EX.request("u2", 2), EX.request("u3", 3)], 1.0)
    kinds = [type(effect).__name__ for effect in effects]
    assert kinds == ["Send", "Run", "Send", "Run"]
    assert shift.held == (1, 2)
    effects = shift.reported([Ended(1)], 2.0)
    assert told(effects) == ["SUCCESS u1", "RUNNING u3"]


@pytest.mark.parametrize("end", ["done", "stopped", "limit", "crash"])
def test_a_failure_says_how_the_run_ended(end: Any) -> None:
    shift = make()
    number = key(shift.heard([EX.request("u1", 1)], 1.0))
    failure = from_text(("ValueError", "Exception"), "no")
    effects = shift.reported([Ended(number, failure=failure, end=end)], 2.0)
    assert failure_text(effects) == "no"
    header = parcels(effects)[0].envelope.header
    assert header is not None
    assert header.end == end


@pytest.mark.parametrize("result", [{1, 2}, float("nan"), {"a": object()}, {1: 2}, b"x"])
def test_a_result_that_cannot_travel_becomes_a_failure_that_says_so(result: object) -> None:
    shift = make()
    number = key(shift.heard([EX.request("u1", 1)], 1.0))
    effects = shift.reported([Ended(number, result)], 2.0)
    assert told(effects) == ["FAILURE u1"]
    assert "value" in failure_text(effects) or "result" in failure_text(effects)


def test_events_are_told_in_order_and_an_event_that_cannot_travel_is_dropped() -> None:
    """A pool refuses it on the task's thread; if one does not, the worker goes on."""
    shift = make()
    number = key(shift.heard([EX.request("u1", 1)], 1.0))
    reports: list[Report] = [
        TaskEvent(number, "update_progress", {"progress": 0.5}),
        TaskEvent(number, "odd", {"x": object()}),
        TaskEvent(99, "nobody's", {}),
        Ended(number),
    ]
    assert told(shift.reported(reports, 2.0)) == ["EVENT u1", "SUCCESS u1"]
    assert shift.counts["event_refused"] == 1


def test_the_end_of_a_run_that_nobody_knows_is_counted() -> None:
    shift = make()
    assert shift.reported([Ended(7)], 1.0) == []
    assert shift.counts == {"ended_unasked": 1}


# refusing -----------------------------------------------------------------------------------------


def test_an_unknown_task_is_a_failure_that_names_what_is_offered() -> None:
    shift = make()
    shift.offering([Offer(f"m.t{n:02}") for n in range(12)], 0.5)
    effects = shift.heard([EX.request("u1", 1, task="m.tt")], 1.0)
    assert failure_text(effects) == (
        "worker w does not offer the task 'm.tt'; it offers m.t00, m.t01, m.t02, m.t03, m.t04, "
        "m.t05, m.t06, m.t07, m.t08, m.t09 and 2 more"
    )
    assert shift.heard([EX.request("u1", 1, task="m.tt")], 1.1) == []


@pytest.mark.parametrize(
    ("delivery", "reason"),
    [
        (EX.request("u1", 1, boot="c" * 16), "wrong_boot"),
        (EX.request("u1", "1:5-4"), "tickets"),
        (EX.request("u1", 1, reply_to="a b/../c"), "reply_to_not_addressable"),
    ],
)
def test_what_is_not_for_us_is_counted_and_the_next_is_served(
    delivery: Received, reason: str
) -> None:
    shift = make()
    effects = shift.heard([delivery, EX.request("u2", 2)], 1.0)
    assert told(effects) == ["RUNNING u2"]
    assert shift.counts == {reason: 1}


def test_a_request_from_an_older_life_of_its_executor_is_not_served() -> None:
    shift = make(slots=2)
    assert told(shift.heard([Native(incarnation=3).request("u1", 1)], 1.0)) == ["RUNNING u1"]
    assert shift.heard([Native(incarnation=2).request("u2", 1)], 1.0) == []
    assert shift.counts == {"old_incarnation": 1}


@pytest.mark.parametrize("dialect", ["native", "taskflow"])
def test_a_request_that_is_no_message_is_answered_if_it_says_whose_it_is(dialect: str) -> None:
    shift = make(dialect=dialect)
    refused = Refused("schema", "action must be one of", envelope.REQUEST, "ex-1", "u1")
    effects = shift.heard([refused], 1.0)
    assert failure_text(effects) == ("worker w refused the request (schema): action must be one of")
    (parcel,) = parcels(effects)
    assert parcel.envelope.header is None
    assert parcel.address.routing_key.endswith("ex-1")


@pytest.mark.parametrize(
    ("kind", "reply_to", "uuid"),
    [
        (envelope.NOTIFY, "ex-1", "u1"),
        (None, "ex-1", "u1"),
        (envelope.REQUEST, None, "u1"),
        (envelope.REQUEST, "ex-1", None),
        (envelope.REQUEST, "../ex", "u1"),
    ],
)
def test_what_can_be_answered_to_nobody_is_not(
    kind: str | None, reply_to: str | None, uuid: str | None
) -> None:
    assert make().heard([Refused("json", "torn", kind, reply_to, uuid)], 1.0) == []


def test_a_late_request_is_given_back_and_never_runs() -> None:
    shift = make()
    request = EX.request("u1", 1, start_by=1.0)
    assert told(shift.heard([request], 1.0)) == ["RELEASE late 1:1"]
    assert shift.heard([request], 0.9) == []
    assert shift.counts == {"given_back_late": 1, "double": 1}


def test_what_was_queued_past_its_start_by_is_given_back_when_its_turn_comes() -> None:
    shift = make()
    shift.heard([EX.request("u1", 1), EX.request("u2", 2, start_by=2.0)], 1.0)
    assert told(shift.reported([Ended(1)], 2.0)) == ["SUCCESS u1", "RELEASE late 1:2"]


def test_what_waits_too_long_for_a_slot_is_given_back_for_an_idle_worker() -> None:
    shift = make()
    shift.heard([EX.request("u1", 1), EX.request("u2", 2), EX.request("u3", 3)], 1.0)
    assert shift.next_deadline() == 1.0 + QUEUE_PATIENCE
    effects = shift.tick(1.0 + QUEUE_PATIENCE)
    assert told(effects) == ["RELEASE full 1:2", "RELEASE full 1:3"]
    assert shift.held == (0, 1)
    assert shift.next_deadline() > 1.0 + QUEUE_PATIENCE


def test_more_than_a_worker_can_hold_is_given_back_at_once() -> None:
    shift = make()
    requests = [EX.request(f"u{n}", n + 1) for n in range(CREDIT_MAX + 1)]
    effects = shift.heard(requests, 1.0)
    assert told(effects) == [f"RELEASE full 1:{CREDIT_MAX + 1}", "RUNNING u0"]


# doubles and newer attempts -----------------------------------------------------------------------


def test_a_double_never_runs_again_whenever_it_comes() -> None:
    shift = make()
    request = EX.request("u1", 1)
    assert told(shift.heard([request, request], 1.0)) == ["RUNNING u1"]
    assert told(shift.heard([request], 1.1)) == ["RUNNING u1"]  # the first may have been lost
    shift.reported([Ended(1)], 1.2)
    assert shift.heard([request], 1.3) == []
    assert shift.counts == {"double": 3}


def test_a_newer_attempt_is_served_by_the_run_that_is_held() -> None:
    shift = make()
    shift.heard([EX.request("u1", 1)], 1.0)
    newer = EX.request("u1", 2, attempt=2)
    effects = shift.heard([newer], 2.0)
    assert told(effects) == ["RUNNING u1"]
    assert runs(effects) == []
    effects = shift.reported([Ended(1)], 3.0)
    header = parcels(effects)[0].envelope.header
    assert header is not None
    assert (header.tickets, header.attempt) == ("1:2", 2)
    assert shift.heard([newer, EX.request("u1", 1)], 4.0) == []


def test_a_double_of_a_newer_attempt_does_not_run_beside_the_first() -> None:
    """Before, taking over the newer ticket made the worker forget that it held the request."""
    shift = make(slots=2)
    shift.heard([EX.request("u1", 1)], 1.0)
    newer = EX.request("u1", 2, attempt=2)
    assert runs(shift.heard([newer, newer], 2.0)) == []
    assert runs(shift.heard([newer], 2.5)) == []
    assert shift.held == (0, 1)


def test_a_newer_attempt_of_what_is_queued_keeps_its_place() -> None:
    shift = make()
    shift.heard([EX.request("u1", 1), EX.request("u2", 2), EX.request("u3", 3)], 1.0)
    assert shift.heard([EX.request("u2", 4, attempt=2)], 1.5) == []
    effects = shift.reported([Ended(1)], 1.6)
    assert told(effects) == ["SUCCESS u1", "RUNNING u2"]
    assert runs(effects)[0].work.attempt == 2


def test_a_new_round_runs_anew_and_the_end_of_the_old_one_is_not_told() -> None:
    shift = make(slots=2)
    shift.heard([EX.request("u1", 1)], 1.0)
    effects = shift.heard([EX.request("u1", 2, attempt=2, base=2)], 2.0)
    assert key(effects) == 2
    assert shift.reported([TaskEvent(1, "late", {}), Ended(1)], 3.0) == []
    assert told(shift.reported([Ended(2)], 4.0)) == ["SUCCESS u1"]
    # Before, the ticket of the old round was not over: its double ran.
    assert shift.heard([EX.request("u1", 1), EX.request("u1", 2, attempt=2, base=2)], 5.0) == []


# asking and beats ---------------------------------------------------------------------------------


def test_questions_are_answered_while_every_slot_is_busy_and_once_for_each_who_asks() -> None:
    shift = make(topics=("x", "y"))
    shift.heard([EX.request("u1", 1), EX.request("u2", 2)], 1.0)
    other = Native("ex-2")
    effects = shift.heard([EX.question()] * 20 + [other.question()] * 7, 1.5)
    assert told(effects) == [
        "ANSWER x to test.native_ex-1",
        "ANSWER y to test.native_ex-1",
        "ANSWER x to test.native_ex-2",
        "ANSWER y to test.native_ex-2",
    ]
    header = parcels(effects)[0].envelope.header
    assert header is not None
    assert (header.worker, header.boot, header.clock) == ("w", BOOT, 1500)
    assert (header.slots, header.credit, header.inbox) == (1, 1, f"x.{BOOT}")
    assert header.caps == envelope.CAPS


def test_everybody_is_told_when_we_come_and_when_more_is_offered() -> None:
    shift = Shift(Names("native", "test"), ("default",), worker="w", boot=BOOT, slots=1)
    shift.offering([Offer(TASK)], 0.0)
    assert told(shift.consuming(0.0)) == ["ANSWER default to all"]
    effects = shift.reported([Offers((Offer(TASK), Offer("m.more")))], 1.0)
    assert told(effects) == ["ANSWER default to all"]
    answer = read(parcels(effects)[0]).message
    assert answer == Answer("default", ("m.more", TASK))


def test_who_has_work_here_hears_from_us_every_beat_until_silent_for_too_long() -> None:
    shift = make()
    shift.heard([Native("idle").question()], 1.0)
    shift.heard([EX.request("u1", 1)], 1.0)
    beats = []
    for now in range(1, 200):
        if now == 20:
            shift.heard([EX.question()], float(now))
        if told(shift.tick(float(now))):
            beats.append(now)
    assert beats == list(range(5, 81, int(BEAT)))
    assert beats[-1] == 20 + KEEP
    assert told(shift.heard([EX.question()], 200.0)) == ["ANSWER default to test.native_ex-1"]
    assert told(shift.tick(205.0)) == ["ANSWER default to test.native_ex-1"]


def test_credit_follows_what_was_finished_within_the_last_second() -> None:
    shift = make(slots=2)
    assert shift.credit(0.0) == 2
    shift.heard([EX.request(f"u{n}", n + 1) for n in range(30)], 1.0)
    for number in range(1, 21):
        shift.reported([Ended(number)], 1.0 + number / 100)
    assert shift.credit(1.2) == 22
    assert shift.credit(2.1) == 2 + 11
    assert shift.credit(3.0) == 2


# going down ---------------------------------------------------------------------------------------


def dones(effects: list[Effect]) -> int:
    """How often it is said that all is over."""
    return sum(isinstance(effect, Done) for effect in effects)


def test_a_drain_gives_back_what_is_queued_and_waits_for_what_runs() -> None:
    shift = make()
    shift.heard([EX.request("u1", 1), EX.request("u2", 2), EX.request("u3", 3)], 1.0)
    effects = shift.drain(2.0, 30.0)
    assert told(effects) == ["ANSWER default to all", "RELEASE drain 1:2", "RELEASE drain 1:3"]
    goodbye = read(parcels(effects)[0])
    assert goodbye.message == Answer("default", ())
    assert goodbye.envelope.header is not None
    assert goodbye.envelope.header.credit == 0
    assert told(shift.heard([EX.request("u4", 4)], 3.0)) == ["RELEASE drain 1:4"]
    assert shift.heard([EX.request("u3", 3)], 3.0) == []
    effects = shift.reported([Ended(1)], 4.0)
    assert told(effects) == ["SUCCESS u1", "ANSWER default to all"]
    assert dones(effects) == 1
    later = shift.tick(99.0) + shift.drain(99.0, 0.0) + shift.reported([Ended(1)], 99.0)
    assert dones(later) == 0


def test_what_still_runs_at_the_limit_is_told_as_stopped_then_ended() -> None:
    shift = make()
    shift.heard([EX.request("u1", 1)], 1.0)
    shift.drain(2.0, 3.0)
    assert shift.next_deadline() == 5.0
    assert dones(shift.tick(4.9)) == 0
    effects = shift.tick(5.0)
    _beat, stopped, goodbye = parcels(effects)
    assert "went down" in failure_text(effects)
    assert stopped.envelope.header is not None
    assert stopped.envelope.header.end == "stopped"
    assert read(goodbye).message == Answer("default", ())
    assert [effect for effect in effects if isinstance(effect, End)] == [End(1)]
    assert isinstance(effects[-1], Done)
    assert shift.reported([Ended(1, end="stopped")], 5.1) == []


def test_a_second_drain_can_only_shorten_the_first() -> None:
    shift = make()
    shift.heard([EX.request("u1", 1)], 1.0)
    shift.drain(2.0, 30.0)
    assert dones(shift.drain(3.0, 100.0)) == 0
    assert dones(shift.tick(31.9)) == 0
    assert dones(shift.drain(31.9, 0.0)) == 1


def test_an_idle_worker_is_done_at_once() -> None:
    assert dones(make().drain(1.0, 30.0)) == 1


def test_a_run_whose_round_is_past_is_ended_at_the_limit_and_not_told() -> None:
    shift = make(slots=2)
    shift.heard([EX.request("u1", 1), EX.request("u1", 2, attempt=2, base=2)], 1.0)
    shift.heard([EX.request("u2", 3)], 1.0)
    shift.heard([EX.request("u2", 4, attempt=2, base=2)], 1.0)
    effects = shift.drain(2.0, 0.0) + shift.tick(2.0)
    assert sorted(text for text in told(effects) if "FAILURE" in text) == ["FAILURE u1"]
    assert dones(effects) == 1


# taskflow's peers ---------------------------------------------------------------------------------


def everything_of_a_life(shift: Shift) -> list[Effect]:
    """Whatever a taskflow engine can bring this worker to say."""
    effects = shift.consuming(0.0)
    effects += shift.offering([Offer(TASK)], 0.0)
    effects += shift.heard([FLOW.question(), FLOW.question()], 0.5)
    effects += shift.heard([FLOW.request("u1"), FLOW.request("u2"), FLOW.request("u3")], 1.0)
    effects += shift.heard([FLOW.request("u4", "m.unknown")], 1.0)
    effects += shift.heard([EX.question(), EX.request("u5", 1)], 1.0)
    effects += shift.reported([TaskEvent(1, "update_progress", {"progress": 1.0})], 2.0)
    effects += shift.reported([Ended(1, {1, 2})], 2.0)
    effects += shift.reported([Ended(2, "fine")], 2.0)
    effects += shift.tick(100.0)
    effects += shift.drain(100.0, 1.0)
    effects += shift.heard([FLOW.request("u6")], 100.5)
    return effects + shift.tick(101.0)


def test_nothing_a_taskflow_engine_does_not_know_is_ever_sent_to_it() -> None:
    effects = everything_of_a_life(make(dialect="taskflow"))
    sent = parcels(effects)
    assert len(sent) > 10
    assert all(parcel.envelope.header is None for parcel in sent)
    assert {parcel.envelope.kind for parcel in sent} <= {"NOTIFY", "REQUEST", "RESPONSE"}
    assert all(parcel.address.exchange == "test" for parcel in sent)
    assert dones(effects) == 1


def test_a_taskflow_success_always_follows_its_running() -> None:
    heard = told(everything_of_a_life(make(dialect="taskflow")))
    ended = [text.split()[1] for text in heard if text.startswith("SUCCESS")]
    assert ended == ["u2"]
    assert all(heard.index(f"RUNNING {uuid}") < heard.index(f"SUCCESS {uuid}") for uuid in ended)
    assert heard.index("RUNNING u1") < heard.index("EVENT u1") < heard.index("FAILURE u1")
    assert "FAILURE u4" in heard


def test_a_taskflow_engine_is_answered_once_however_often_it_asked() -> None:
    effects = make(dialect="taskflow").heard([FLOW.question()] * 50, 1.0)
    assert told(effects) == [f"ANSWER default to {FLOW.name}"]


def test_taskflows_request_is_put_back_on_the_topic_just_as_it_came() -> None:
    shift = make(dialect="taskflow")
    request = FLOW.request("u2")
    shift.heard([FLOW.request("u1"), request], 1.0)
    (parcel,) = parcels(shift.drain(2.0, 30.0))
    assert parcel.address == Names("taskflow", "test").to_topic("default")
    assert read(parcel) == request


def test_what_comes_from_the_topic_while_we_go_down_does_not_go_round_and_round() -> None:
    """We still listen: put back at once, it would come to us again, at the broker's speed."""
    shift = make(dialect="taskflow")
    shift.heard([FLOW.request("u1")], 1.0)
    shift.drain(2.0, 30.0)
    assert shift.heard([FLOW.request("u2"), FLOW.request("u3")], 2.1) == []
    back = ["REQUEST u2 to default", "REQUEST u3 to default"]
    assert told(shift.tick(shift.next_deadline())) == back
    assert shift.heard([FLOW.request("u2")], 6.0) == []
    effects = shift.reported([Ended(1)], 7.0)
    assert told(effects) == ["SUCCESS u1", "REQUEST u2 to default"]
    assert isinstance(effects[-1], Done)
    assert told(shift.heard([FLOW.request("u4")], 7.1)) == ["REQUEST u4 to default"]


def test_a_plain_request_on_a_native_topic_is_served_plainly() -> None:
    shift = make()
    effects = shift.heard([FLOW.request("u1")], 1.0)
    effects += shift.reported([Ended(key(effects), 1)], 2.0)
    assert told(effects) == ["RUNNING u1", "SUCCESS u1"]
    assert all(parcel.envelope.header is None for parcel in parcels(effects))


def test_a_revert_brings_all_that_a_task_class_needs() -> None:
    (run,) = runs(make(dialect="taskflow").heard([FLOW.request("u1")], 1.0))
    work = run.work
    assert (work.action, work.name, work.result) == ("revert", "an atom", ["success", 5])
    assert work.failures is not None
    assert work.failures["other"]["exception_str"] == "x"


def test_execute_leaves_out_what_only_a_revert_has() -> None:
    (run,) = runs(make().heard([EX.request("u1", 1)], 1.0))
    assert (run.work.result, run.work.failures) == (None, None)


# bounds -------------------------------------------------------------------------------------------


def test_strangers_who_only_ask_are_not_remembered() -> None:
    shift = make()
    shift.heard([Native(f"ex-{n}").question() for n in range(3000)], 1.0)
    assert shift._executors == {}


def test_executors_are_remembered_up_to_a_bound_but_never_at_the_cost_of_one_with_work_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before, whoever had been silent longest went, and got no beats for what it had here."""
    monkeypatch.setattr(room, "MAX_EXECUTORS", 10)
    shift = make()
    shift.heard([EX.request("u1", 1)], 1.0)
    for n in range(50):
        stranger = Native(f"stranger-{n}")
        shift.heard([stranger.request("u", 1, start_by=0.0)], 2.0 + n / 100)
    assert len(shift._executors) == 10
    assert told(shift.tick(BEAT)) == ["ANSWER default to test.native_ex-1"]
    shift.reported([Ended(1)], 6.0)
    assert shift.heard([EX.request("u1", 1)], 7.0) == []


def test_the_memory_of_tickets_is_bounded_on_the_safe_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_GAPS", 100)
    monkeypatch.setattr(room, "MAX_INCARNATIONS", 3)
    shift = make()
    for n in range(1000):  # every second one was lost on its way
        shift.heard([EX.request(f"u{n}", 2 * n + 1, start_by=0.0)], 1.0)
    over = shift._executors["ex-1"].over[1]
    assert len(over.tickets) <= 100
    again = [EX.request(f"u{n}", 2 * n + 1) for n in range(1000)]
    assert runs(shift.heard(again, 1.0)) == []
    assert told(shift.heard([EX.request("new", 2001)], 1.0)) == ["RUNNING new"]
    for incarnation in range(2, 10):
        later = Native(incarnation=incarnation)
        shift.heard([later.request("v", 1, start_by=0.0)], 1.0)
    assert sorted(shift._executors["ex-1"].over) == [7, 8, 9]


def test_tables_are_empty_when_everything_is_over() -> None:
    shift = make(slots=4)
    for n in range(500):
        effects = shift.heard([EX.request(f"u{n}", n + 1)], n / 100)
        shift.reported([Ended(key(effects))], n / 100)
    assert (shift._held, shift._running, len(shift._queue)) == ({}, {}, 0)
    assert len(shift._executors["ex-1"].over[1].tickets) == 1
    shift.tick(100.0)
    assert shift._executors == {}


def test_a_body_that_is_put_back_reads_as_the_same_request() -> None:
    request = FLOW.request("u1")
    assert isinstance(request.message, Request)
    shift = make(dialect="taskflow")
    shift.drain(1.0, 0.0)
    (parcel,) = parcels(shift.heard([request], 2.0))
    assert read(parcel).message == request.message
