"""What a worker process takes, runs, gives back and answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from protocol import envelope, messages
from protocol.failure import from_text
from protocol.messages import Answer, Request, Response
from protocol.parcel import Received, Refused
from protocol.resources import NodeReport, Resources, report_from_json
from protocol.size import MAX_BODY
from protocol.timing import (
    BEAT,
    CATCHING_UP,
    CREDIT_MAX,
    KEEP,
    KEEP_JOURNALED,
    LEASE,
    QUEUE_PATIENCE,
    RESULT_RESENDS,
    lease,
    pace,
)
from protocol.topology import Names
from tests.worker.executors import (
    BOOT,
    TASK,
    Native,
    Taskflow,
    done,
    header,
    parcels,
    read,
    runs,
    told,
)
from tests.worker.prompt import Prompt
from worker import known as executors_room
from worker import outbox as results_room
from worker import tombstones as tickets_room
from worker.effects import Done, Effect, End, Run, Send
from worker.known import SILENCE
from worker.outbox import PROBE
from worker.shift import LAST_WORDS, Shift
from worker.work import Ended, Offer, Offers, PoolEnded, Report, Started, TaskEvent

EX = Native()
FLOW = Taskflow()


def make(
    slots: int = 1,
    *,
    dialect: Any = "native",
    topics: tuple[str, ...] = ("default",),
    **settings: Any,
) -> Shift:
    """A worker that offers one task and has begun to consume."""
    names = Names(dialect, "test")
    shift = Prompt(names, topics, worker="w", boot=BOOT, slots=slots, **settings)
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
    assert (work.args, work.arguments, work.attempt) == ((1,), {"k": 2}, 1)
    effects = shift.reported([Started(work.key), Ended(work.key, {"x": 1})], 2.0)
    assert told(effects) == ["SUCCESS u1"]
    (parcel,) = parcels(effects)
    said = header(parcel)
    assert (said.boot, said.clock, said.tickets, said.end) == (BOOT, 2000, "1:1", "done")
    assert said.credit == 2  # one slot, and one task finished within the last second
    assert parcel.address.routing_key == "test.native_ex-1"


@pytest.mark.parametrize("caps", [None, envelope.CAPS], ids=["an older one", "one of ours"])
def test_who_says_in_a_request_that_he_reads_batches_is_answered_in_them(
    caps: tuple[str, ...] | None,
) -> None:
    """Who came after the question who is there has heard of nobody what he understands."""
    shift = make(slots=2)
    first = shift.heard([EX.request("u1", 1, caps=caps)], 1.0)
    later = shift.heard([EX.request("u2", 2)], 2.0)
    takes = {parcel.address.takes_batches for parcel in parcels(first + later)}
    assert takes == {caps is not None}


def test_as_many_run_as_there_are_slots_and_running_is_told_when_one_has_begun() -> None:
    shift = make(slots=2)
    effects = shift.heard([EX.request("u1", 1), EX.request("u2", 2), EX.request("u3", 3)], 1.0)
    assert done(effects) == ["RUN 1", "RUN 1", "RUNNING u1", "RUNNING u2"]
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
    assert header(parcels(effects)[0]).end == end


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
    again = shift.heard([EX.request("u1", 1, task="m.tt")], 1.1)
    assert failure_text(again) == failure_text(effects)  # kept until it is receipted, as any end is


@pytest.mark.parametrize(
    ("delivery", "reason"),
    [
        (EX.request("u1", 1, boot="c" * 16), "wrong_boot"),
        (EX.request("u1", "1:5-4"), "tickets"),
        (EX.request("u1", 1, reply_to="a b/../c"), "reply_to_not_addressable"),
        (EX.request("u1", 1, reply_to=f"x.{'0' * 16}"), "reply_to_not_addressable"),
        (EX.request("u1", 1, reply_to="ex-1.hello"), "reply_to_not_addressable"),
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
    assert told(shift.heard([request], 1.1)) == ["RELEASE late 1:1"]  # the first may be lost
    assert told(shift.heard([EX.request("u1", 1, start_by=9.0)], 1.2)) == ["RELEASE full 1:1"]
    assert shift.counts == {"given_back_late": 1, "double": 2}


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


STOOD_STILL = LEASE - pace(BEAT) + 0.1  # seconds


def stood_still(shift: Shift, now: float) -> list[Effect]:
    """One runs and one waits; then nothing moves for almost a lease. What the next turn comes to.

    That is the end of the run: a slot is free.
    """
    shift.heard([EX.request("u1", 1), EX.request("u2", 2)], now - STOOD_STILL)
    return shift.reported([Ended(1)], now)


def test_the_pool_does_not_begin_what_it_was_handed_before_a_standstill() -> None:
    """Its processes may wake up before this one does, and find works that others have by now."""
    shift = make(slots=3)
    shift.heard([EX.question()], 0.5)
    asked = [EX.request("u1", 1), EX.request("u2", 2, start_by=2.5), Taskflow().request("u3")]
    handed = [each.work for each in shift.heard(asked, 2.0) if isinstance(each, Run)]
    begin_by = int((2.0 + LEASE - pace(BEAT)) * 1000)
    assert [(work.uuid, work.start_by) for work in handed] == [
        ("u1", begin_by),
        ("u2", 2500),
        ("u3", None),
    ]


def test_after_a_standstill_nothing_is_started_that_was_queued_before_it() -> None:
    """Before, it was started as soon as a slot was free, though somebody else had it by then."""
    effects = stood_still(shift := make(), 10.0)
    assert told(effects) == ["RELEASE full 1:2", "SUCCESS u1"]
    assert [header(parcel).credit for parcel in parcels(effects)] == [0, 0]
    assert shift.held == (0, 0)
    assert shift.counts["stood_still"] == 1


def test_nor_what_was_sent_before_its_end_and_comes_in_now() -> None:
    stood_still(shift := make(), 10.0)
    assert told(shift.heard([EX.request("u3", 3)], 10.9)) == ["RELEASE full 1:3"]
    assert told(shift.heard([EX.request("u3", 3)], 10.9)) == ["RELEASE full 1:3"]  # it is over
    assert told(shift.heard([EX.question()], 10.9))[0].startswith("ANSWER")


def test_a_moment_later_everybody_is_told_that_there_is_room_again() -> None:
    stood_still(shift := make(), 10.0)
    shift.tick(10.0)
    assert shift.next_deadline() == 10.0 + CATCHING_UP
    effects = shift.tick(10.0 + CATCHING_UP)
    assert [header(parcel).credit for parcel in parcels(effects) if header(parcel).slots] == [2]
    assert shift.next_deadline() > 10.0 + CATCHING_UP
    assert told(shift.heard([EX.request("u4", 4)], 11.1)) == ["RUNNING u4"]


def test_the_moment_begins_when_what_was_sent_can_come_in() -> None:
    """The broker has cut our line meanwhile."""
    stood_still(shift := make(), 10.0)
    shift.consuming(10.8)
    assert told(shift.heard([EX.request("u3", 3)], 11.7)) == ["RELEASE full 1:3"]
    assert told(shift.heard([EX.request("u4", 4)], 10.8 + CATCHING_UP))[-1] == "RUNNING u4"


def test_what_is_shorter_than_that_has_cost_nobody_a_lease() -> None:
    shift = make()
    shift.heard([EX.request("u1", 1), EX.request("u2", 2)], 2.0)
    effects = shift.reported([Ended(1)], 2.0 + LEASE - pace(BEAT) - 0.1)
    assert told(effects) == ["SUCCESS u1", "RUNNING u2"]


def test_the_more_often_a_worker_beats_the_sooner_it_counts_as_given_up() -> None:
    shift = make(beat=1.0)
    shift.heard([EX.request("u1", 1), EX.request("u2", 2)], 1.0)
    effects = shift.reported([Ended(1)], 1.0 + lease(1.0) - pace(1.0) + 0.1)
    assert told(effects)[0] == "RELEASE full 1:2"


def test_what_taskflows_engines_sent_stays_for_they_have_no_leases() -> None:
    shift = make()
    shift.heard([FLOW.request("u1"), FLOW.request("u2")], 1.0)
    effects = shift.reported([Ended(1)], 30.0)
    assert told(effects) == ["SUCCESS u1", "RUNNING u2"]


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
    assert told(shift.heard([request], 1.3)) == ["SUCCESS u1"]
    shift.heard([EX.receipt(1)], 1.4)
    assert shift.heard([request], 1.5) == []
    assert shift.counts == {"double": 4}


def test_a_newer_attempt_is_served_by_the_run_that_is_held() -> None:
    shift = make()
    shift.heard([EX.request("u1", 1)], 1.0)
    newer = EX.request("u1", "1:1-2", attempt=2)
    effects = shift.heard([newer], 2.0)
    assert told(effects) == ["RUNNING u1"]
    assert runs(effects) == []
    effects = shift.reported([Ended(1)], 3.0)
    said = header(parcels(effects)[0])
    assert (said.tickets, said.attempt) == ("1:2", 2)
    assert told(shift.heard([newer, EX.request("u1", 1)], 4.0)) == ["SUCCESS u1", "SUCCESS u1"]


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
    shift.heard([EX.receipt(2)], 4.5)
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
        "HELD queued 1:2, running 1:1",
        "ANSWER x to test.native_ex-2",
        "ANSWER y to test.native_ex-2",
        "HELD nothing",
    ]
    said = header(parcels(effects)[0])
    assert (said.worker, said.boot, said.clock) == ("w", BOOT, 1500)
    assert (said.slots, said.credit, said.inbox) == (1, 1, f"x.{BOOT}")
    assert said.caps == (*envelope.CAPS, envelope.STOPS)
    assert (said.beat, said.replaces) == (None, None)
    held = parcels(effects)[2]
    assert (header(held).boot, header(held).clock) == (BOOT, 1500)
    assert held.address.routing_key == "test.native_ex-1"


def test_an_answer_says_what_is_unusual_about_this_worker() -> None:
    shift = make(beat=1.0, can_stop=False, replaces="a" * 16)
    said = header(parcels(shift.heard([EX.question()], 1.5))[0])
    assert (said.beat, said.caps, said.replaces) == (1000, envelope.CAPS, "a" * 16)


def test_everybody_is_told_when_we_come_and_when_more_is_offered() -> None:
    shift = Shift(Names("native", "test"), ("default",), worker="w", boot=BOOT, slots=1)
    shift.offering([Offer(TASK)], 0.0)
    assert told(shift.consuming(0.0)) == ["ANSWER default to all"]
    effects = shift.reported([Offers((Offer(TASK), Offer("m.more")))], 1.0)
    assert told(effects) == ["ANSWER default to all"]
    answer = read(parcels(effects)[0]).message
    assert answer == Answer("default", ("m.more", TASK))


def beats(effects: list[Effect], name: str = "ex-1") -> int:
    """How often this executor is told that we live."""
    return told(effects).count(f"ANSWER default to test.native_{name}")


@pytest.mark.parametrize("beat", [1.0, BEAT, 20.0])
def test_whoever_asked_or_sent_hears_from_us_every_beat_until_silent_for_too_long(
    beat: float,
) -> None:
    """Before, only those with work here did: an idle worker was forgotten between questions.

    A little more often than announced, so that a beat may be late.
    """
    shift = make(beat=beat)
    shift.heard([Native("idle").question()], 0.0)
    shift.heard([EX.request("u1", 1)], 0.0)
    at: dict[str, list[float]] = {"idle": [], "ex-1": []}
    while shift.next_deadline() <= 200:
        now = shift.next_deadline()
        effects = shift.tick(now)
        for name, times in at.items():
            times.extend([now] * beats(effects, name))
    expected = pytest.approx([n * pace(beat) for n in range(1, int(KEEP / pace(beat)) + 1)])
    assert at == {"idle": expected, "ex-1": expected}
    assert beats(shift.heard([EX.question()], 200.0)) == 1
    assert beats(shift.tick(200.0 + pace(beat))) == 1


def test_what_an_executor_is_told_within_a_beat_counts_as_the_beat() -> None:
    shift = make()
    shift.heard([EX.question()], 1.0)
    shift.heard([EX.question()], 4.0)
    assert beats(shift.tick(3.9 + pace(BEAT))) == 0
    assert beats(shift.tick(4.0 + pace(BEAT))) == 1


def test_a_beat_says_what_is_held_only_if_something_is() -> None:
    shift = make()
    shift.heard([EX.question()], 1.0)
    assert told(shift.tick(6.0)) == ["ANSWER default to test.native_ex-1"]
    shift.heard([EX.request("u1", 1)], 7.0)
    assert told(shift.tick(11.0)) == ["ANSWER default to test.native_ex-1", "HELD running 1:1"]


def test_beats_and_reminders_need_not_wait_for_a_broker_that_is_away() -> None:
    """They are said again later, and would pile up; a first word is said but once."""
    shift = make()
    effects = shift.heard([EX.request("u1", 1)], 1.0) + shift.reported([Ended(1)], 2.0)
    assert not any(effect.is_repeated for effect in effects if isinstance(effect, Send))
    for now in (4.0, 6.0):
        effects = shift.tick(now)
        assert effects
        assert all(effect.is_repeated for effect in effects if isinstance(effect, Send))


def test_nothing_is_sent_that_an_executor_does_not_understand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that knows RELEASE alone: its results are not kept, for nobody receipts them."""
    monkeypatch.setattr(results_room, "MAX_RESULTS", 1)
    shift = make(slots=2)
    old = EX.question(caps=("release",))
    assert told(shift.heard([old], 1.0)) == ["ANSWER default to test.native_ex-1"]
    shift.heard([EX.request("u1", 1), EX.request("u2", 2)], 1.0)
    assert told(shift.reported([Ended(1), Ended(2)], 2.0)) == ["SUCCESS u1", "SUCCESS u2"]
    assert shift.kept == (0, 0)
    assert shift.heard([EX.request("u1", 1)], 2.5) == []


# results are kept ---------------------------------------------------------------------------------


def ended(shift: Shift, *uuids: str, now: float = 1.0) -> None:
    """Requests of these uuids, under tickets from 1, run to their end."""
    for number, uuid in enumerate(uuids, 1):
        (run,) = runs(shift.heard([EX.request(uuid, number)], now))
        shift.reported([Ended(run.work.key, uuid)], now)


def sent_again(shift: Shift, until: float, *, every: float | None = 3.0) -> list[tuple[float, str]]:
    """When a result is sent again, and which, while the executor asks so often or never."""
    found = []
    asks = float("inf") if every is None else 1.0 + every
    while min(shift.next_deadline(), asks) <= until:
        now = min(shift.next_deadline(), asks)
        effects = shift.tick(now) if now < asks else shift.heard([EX.question()], now)
        asks = now + (every or 0.0) if now == asks else asks
        found += [(now, text) for text in told(effects) if "SUCCESS" in text]
    return found


def test_a_result_is_sent_again_less_and_less_often_until_it_is_receipted() -> None:
    shift = make()
    ended(shift, "u1")
    times, at = [], 1.0
    for step in (*RESULT_RESENDS, RESULT_RESENDS[-1]):
        at += step
        times.append(at)
    assert sent_again(shift, at) == [(when, "SUCCESS u1") for when in times]
    shift.heard([EX.receipt(1)], at)
    assert shift.kept == (0, 0)
    assert sent_again(shift, at + 100) == []


def test_what_is_sent_again_says_the_time_and_the_credit_of_the_moment() -> None:
    shift = make()
    ended(shift, "u1")
    again, *_ = [p for p in parcels(shift.tick(3.0)) if p.envelope.kind == envelope.RESPONSE]
    assert (header(again).clock, header(again).credit, header(again).end) == (3000, 1, "done")
    assert (header(again).tickets, again.envelope.correlation_id) == ("1:1", "u1")


def test_a_silent_executor_is_only_probed_and_told_all_when_it_speaks_again() -> None:
    shift = make()
    ended(shift, "u1", "u2", "u3")
    found = sent_again(shift, 50.0, every=None)
    silent = [(when, text) for when, text in found if when > 1.0 + SILENCE]
    assert silent == [(7.0 + PROBE, "SUCCESS u1")]
    effects = shift.heard([EX.question()], 50.0)
    assert told(effects) == [
        "ANSWER default to test.native_ex-1",
        "HELD ended 1:1-3",
        "SUCCESS u1",
        "SUCCESS u2",
        "SUCCESS u3",
    ]
    assert told(shift.heard([EX.question()], 50.1)) == told(effects)[:2]


def test_any_word_of_an_executor_ends_its_silence() -> None:
    shift = make()
    ended(shift, "u1", "u2")
    assert told(shift.heard([EX.receipt(1)], 30.0)) == ["SUCCESS u2"]
    assert told(shift.heard([EX.cancel("u9", 9)], 60.0)) == ["RELEASE cancelled 1:9", "SUCCESS u2"]


def test_at_the_bound_the_oldest_result_goes_and_that_it_ran_is_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(results_room, "MAX_RESULTS", 2)
    monkeypatch.setattr(executors_room, "MAX_DROPPED", 2)
    shift = make()
    ended(shift, "u1", "u2")
    (run,) = runs(shift.heard([EX.request("u3", 3)], 1.0))
    effects = shift.reported([Ended(run.work.key)], 1.0)
    assert told(effects) == ["SUCCESS u3", "DROPPED 1:1"]
    assert (shift.kept, shift.counts["dropped"]) == ((2, 1), 1)
    assert told(shift.heard([EX.request("u1", 1)], 1.5)) == ["DROPPED 1:1"]
    assert "HELD ended 1:2-3, dropped 1:1" in told(shift.heard([EX.question()], 1.5))
    shift.heard([EX.receipt(1)], 2.0)
    assert shift.kept == (2, 0)


def test_whose_results_are_dropped_by_the_dozen_gets_no_more_work_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(results_room, "MAX_RESULTS", 1)
    monkeypatch.setattr(executors_room, "MAX_DROPPED", 2)
    shift = make()
    ended(shift, "u1", "u2", "u3")
    effects = shift.heard([EX.question(), Native("other").question()], 2.0)
    assert [header(parcel).credit for parcel in parcels(effects)] == [0, None, 4, None]
    assert told(shift.heard([EX.request("u4", 4)], 2.0)) == ["RELEASE full 1:4"]
    assert told(shift.heard([EX.request("u5", 5, task="m.no")], 2.0)) == ["RELEASE full 1:5"]
    shift.heard([EX.receipt("1:1-3")], 2.0)
    assert header(parcels(shift.heard([EX.question()], 2.1))[0]).credit == 1
    assert told(shift.heard([EX.request("u6", 6)], 2.2)) == ["RUNNING u6"]


def test_a_speaking_executor_is_told_again_of_what_was_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(results_room, "MAX_RESULTS", 1)
    shift = make()
    ended(shift, "u1", "u2", "u3")
    effects = shift.heard([EX.question()], 40.0)
    assert told(effects)[-2:] == ["SUCCESS u3", "DROPPED 1:1-2"]


# executors that fall silent -----------------------------------------------------------------------


def test_results_are_kept_for_as_long_as_the_executor_asked() -> None:
    shift = make()
    shift.heard([EX.question(keep=int(KEEP_JOURNALED))], 0.0)
    ended(shift, "u1")
    shift.tick(KEEP + 2 * BEAT)
    assert shift.kept == (1, 0)
    now = shift.next_deadline()
    while now < KEEP_JOURNALED:
        shift.tick(now)
        now = shift.next_deadline()
    assert shift.kept == (1, 0)
    shift.tick(KEEP_JOURNALED + 1 + BEAT)
    assert shift.kept == (0, 0)


@pytest.mark.parametrize(("asked", "kept"), [(0, LEASE), (30, 30.0), (10**15, KEEP_JOURNALED)])
def test_how_long_results_are_kept_stays_within_reason(asked: int, kept: float) -> None:
    """Never for less than its lease: it would lose what runs; nor for ever."""
    shift = make()
    later = Native(incarnation=2)
    shift.heard([later.question(keep=asked), EX.question(keep=77)], 0.0)
    known = shift._executors.get("ex-1")
    assert known is not None
    assert known.keep == kept


def test_who_comes_back_after_too_long_finds_nothing_and_can_begin_again() -> None:
    shift = make(slots=2)
    ended(shift, "u1")
    shift.heard([EX.request("u2", 2), Native("other").question()], 1.0)
    for now in range(2, 80):
        shift.heard([Native("other").question()], float(now))
        effects = shift.tick(float(now))
        if "END" in done(effects):
            break
    assert now == pytest.approx(1 + KEEP, abs=BEAT + 1)
    assert shift.counts["given_up"] == 2
    later = now + 1.0
    assert shift.reported([Ended(1, end="stopped"), Ended(2, end="stopped")], later) == []
    effects = shift.heard([EX.question()], later)
    assert told(effects) == ["ANSWER default to test.native_ex-1", "HELD nothing"]
    assert shift.heard([EX.request("u2", 2, start_by=140.0)], later) == []  # it ran: over
    again = EX.request("u2", "1:2-3", attempt=2, start_by=140.0)
    assert told(shift.heard([again], later)) == ["RUNNING u2"]


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


def test_a_drain_waits_a_moment_for_the_receipts_of_the_last_results() -> None:
    shift = make()
    shift.heard([EX.request("u1", 1)], 1.0)
    shift.drain(2.0, 30.0)
    assert dones(shift.reported([Ended(1)], 3.0)) == 0
    assert shift.next_deadline() == 3.0 + LAST_WORDS
    effects = shift.heard([EX.receipt(1)], 3.5)
    assert told(effects) == ["ANSWER default to all"]
    assert dones(effects) == 1


def test_results_nobody_receipted_are_sent_once_more_before_the_end() -> None:
    shift = make()
    ended(shift, "u1")
    (run,) = runs(shift.heard([Native("gone").request("u2", 1)], 1.0))
    shift.reported([Ended(run.work.key)], 1.0)
    for now in (8.0, 16.0, 24.0, 32.0):
        shift.heard([EX.question()], now)
        shift.tick(now)
    assert dones(shift.drain(32.1, 30.0)) == 0
    effects = shift.tick(32.1 + LAST_WORDS)  # who is silent would not hear it
    assert told(effects) == ["SUCCESS u1", "ANSWER default to all"]
    assert dones(effects) == 1


def test_a_pool_that_has_ended_ends_the_worker() -> None:
    shift = make(slots=2)
    shift.heard([EX.request("u1", 1), EX.request("u2", 2)], 1.0)
    shift.heard([EX.request("u3", 3)], 1.5)
    crash = from_text(("Crash", "Exception"), "x")
    reports: list[Report] = [
        Ended(1, failure=crash, end="crash"),
        Ended(2, failure=crash, end="crash"),
        PoolEnded("a bug"),
    ]
    effects = shift.reported(reports, 2.0)
    assert told(effects) == [
        *("FAILURE u1", "FAILURE u2", "ANSWER default to all", "RELEASE drain 1:3"),
    ]
    assert dones(shift.tick(2.0 + LAST_WORDS)) == 1


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
    assert told(shift.heard([EX.request("u3", 3)], 3.0)) == ["RELEASE full 1:3"]
    assert told(shift.reported([Ended(1)], 4.0)) == ["SUCCESS u1"]
    effects = shift.heard([EX.receipt(1)], 4.2)
    assert told(effects) == ["ANSWER default to all"]
    assert dones(effects) == 1
    later = shift.tick(99.0) + shift.drain(99.0, 0.0) + shift.reported([Ended(1)], 99.0)
    assert dones(later) == 0


def test_what_still_runs_at_the_limit_is_told_as_stopped_then_ended() -> None:
    shift = make()
    shift.heard([EX.request("u1", 1)], 1.0)
    shift.drain(2.0, 2.0)
    assert shift.next_deadline() == 4.0
    assert dones(shift.tick(3.9)) == 0
    effects = shift.tick(4.0)
    *_beat, stopped, goodbye = parcels(effects)
    assert "went down" in failure_text(effects)
    assert stopped.envelope.header is not None
    assert stopped.envelope.header.end == "stopped"
    assert read(goodbye).message == Answer("default", ())
    assert [effect for effect in effects if isinstance(effect, End)] == [End(1)]
    assert isinstance(effects[-1], Done)
    assert shift.reported([Ended(1, end="stopped")], 4.1) == []
    assert shift.next_deadline() > 4.1


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


def test_a_worker_of_taskflows_dialect_speaks_no_other() -> None:
    shift = make(dialect="taskflow")
    shift.heard([FLOW.request("u1")], 1.0)
    assert shift.heard([EX.cancel("u1", 1, "stop"), EX.receipt(1)], 1.0) == []
    assert shift.counts == {"not_spoken_here": 2}
    assert (shift.held, len(shift._executors)) == ((0, 1), 0)


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
    assert (work.action, work.name, work.result) == ("revert", "an atom", ("success", 5))
    assert work.failures is not None
    assert work.failures["other"]["exception_str"] == "x"


def test_execute_leaves_out_what_only_a_revert_has() -> None:
    (run,) = runs(make().heard([EX.request("u1", 1)], 1.0))
    assert (run.work.result, run.work.failures) == (None, None)


# bounds -------------------------------------------------------------------------------------------


def test_as_many_executors_are_known_as_there_is_room_for() -> None:
    """Before, those who only asked were not remembered: now they are, for they hear every beat."""
    shift = make()
    questions = [Native(f"ex-{n}").question() for n in range(executors_room.MAX_EXECUTORS + 1)]
    effects = shift.heard(questions, 1.0)
    assert shift.counts == {"too_many_executors": 1}
    refused, its_held = parcels(effects)[-2:]
    assert header(refused).credit == 0
    assert told(effects)[-1] == "HELD nothing"
    assert header(its_held).clock == 1000
    stranger = Native("one-more")
    assert shift.heard([stranger.request("u", 1), stranger.cancel("u", 1)], 1.0) == []
    assert len(shift._executors) == executors_room.MAX_EXECUTORS


def test_silent_executors_make_room_but_never_one_with_something_here_or_to_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(executors_room, "MAX_EXECUTORS", 3)
    shift = make()
    ended(shift, "u1")
    expected = Native("to-come").cancel("u", 1, start_by=30.0)
    shift.heard([expected, Native("idle").question()], 1.0)
    assert told(shift.heard([Native("a").question()], 1.0 + SILENCE))[-1] == "HELD nothing"
    assert shift.counts["too_many_executors"] == 1
    shift.heard([Native("b").question()], 12.1 + SILENCE)
    assert shift.counts["too_many_executors"] == 1
    assert [known.reply_to for known in shift._executors] == ["ex-1", "to-come", "b"]
    assert shift.kept == (1, 0)
    shift.heard([Native("c").question()], 30.1 + SILENCE)
    assert [known.reply_to for known in shift._executors] == ["ex-1", "b", "c"]


def test_the_memory_of_tickets_is_bounded_on_the_safe_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets_room, "MAX_GAPS", 100)
    shift = make(slots=2)
    for n in range(101):  # every second one was lost on its way
        shift.heard([EX.request(f"u{n}", 2 * n + 1, start_by=0.0)], 1.0)
    assert header(parcels(shift.heard([EX.question()], 1.0))[0]).credit == 0
    assert told(shift.heard([EX.request("new", 501)], 1.0)) == ["RELEASE full 1:501"]
    shift.heard([Native("other").request("v", 1)], 1.0)  # the worker has room for others
    assert shift.held == (0, 1)
    again = [EX.request(f"u{n}", 2 * n + 1) for n in range(101)]
    assert runs(shift.heard(again, 1.0)) == []
    for now in range(2, 72, 5):
        shift.heard([EX.question()], float(now))
        shift.tick(float(now) + 4.9)
    assert header(parcels(shift.heard([EX.question()], 72.0))[0]).credit == 2
    assert told(shift.heard([EX.request("newer", 502, start_by=99.0)], 72.0)) == ["RUNNING newer"]


def test_tables_are_empty_when_everything_is_over() -> None:
    shift = make(slots=4)
    for n in range(500):
        effects = shift.heard([EX.request(f"u{n}", n + 1)], n / 100)
        shift.reported([Ended(key(effects))], n / 100)
        shift.heard([EX.receipt(n + 1)], n / 100)
    assert (shift.held, shift.kept) == ((0, 0), (0, 0))
    known = shift._executors.get("ex-1")
    assert known is not None
    assert (known.records, known.by_ticket) == ({}, {})
    assert len(known.over) == 1
    while shift.next_deadline() < 200.0:
        shift.tick(shift.next_deadline())
    assert len(shift._executors) == 0


def test_a_body_that_is_put_back_reads_as_the_same_request() -> None:
    request = FLOW.request("u1")
    assert isinstance(request.message, Request)
    shift = make(dialect="taskflow")
    shift.drain(1.0, 0.0)
    (parcel,) = parcels(shift.heard([request], 2.0))
    assert read(parcel).message == request.message


# what the broker does not take --------------------------------------------------------------------

WHY = "amqp://somewhere refuses it: message size 9 is larger than configured max size 8"
LONG = "x" * 10_000


def ended_with(shift: Shift, value: Any, **ended: Any) -> list[Effect]:
    """What is sent when u1, under ticket 1, has come to this."""
    effects = shift.heard([EX.request("u1", 1)], 1.0)
    return shift.reported([Ended(key(effects), value, **ended)], 2.0)


def test_a_result_the_broker_does_not_take_is_a_failure_that_says_so_until_its_receipt() -> None:
    shift = make()
    (refused,) = parcels(ended_with(shift, LONG))
    effects = shift.undeliverable(refused, WHY, 3.0)
    text = failure_text(effects)
    assert "request u1 has run on worker w" in text
    assert f"result of {len(refused.body):,} bytes cannot be delivered: {WHY}" in text
    (instead,) = parcels(effects)
    assert header(instead).end == "done"
    assert header(instead).tickets == "1:1"
    assert shift.kept == (1, 0)
    again = shift.tick(3.0 + RESULT_RESENDS[0])
    assert "FAILURE u1" in told(again)
    assert "SUCCESS u1" not in told(again)
    shift.heard([EX.receipt(1)], 6.0)
    assert shift.kept == (0, 0)
    assert shift.counts["undeliverable"] == 1


def test_a_result_refused_late_or_twice_is_replaced_once() -> None:
    shift = make()
    (refused,) = parcels(ended_with(shift, LONG))
    (instead,) = parcels(shift.undeliverable(refused, WHY, 3.0))
    assert shift.undeliverable(refused, WHY, 3.1) == []
    assert shift.undeliverable(instead, WHY, 3.2) == [], "there is nothing shorter to say"
    shift.heard([EX.receipt(1)], 4.0)
    assert shift.undeliverable(refused, WHY, 5.0) == []
    assert shift.kept == (0, 0)


def test_a_result_that_is_short_was_not_refused_for_its_length() -> None:
    shift = make()
    (refused,) = parcels(ended_with(shift, 5))
    assert shift.undeliverable(refused, WHY, 3.0) == []
    assert shift.kept == (1, 0)


def test_nobody_waits_for_anything_else_that_is_refused() -> None:
    shift = make()
    effects = shift.heard([EX.request("u1", 1)], 1.0)
    effects += shift.reported([TaskEvent(key(effects), "e", {"x": LONG})], 1.5)
    effects += shift.tick(BEAT + 1.0)
    others = parcels(effects)
    assert {read(one).envelope.kind for one in others} == {"RESPONSE", "NOTIFY", "HELD"}
    assert [shift.undeliverable(one, WHY, 9.0) for one in others] == [[]] * len(others)


def test_a_taskflow_engine_is_told_of_a_refused_result_as_well() -> None:
    shift = make(dialect="taskflow")
    effects = shift.heard([FLOW.request("u1")], 1.0)
    (refused,) = parcels(shift.reported([Ended(key(effects), LONG)], 2.0))
    effects = shift.undeliverable(refused, WHY, 3.0)
    assert WHY in failure_text(effects)
    (instead,) = parcels(effects)
    assert instead.address == refused.address
    assert shift.undeliverable(instead, WHY, 4.0) == []


def test_a_request_that_we_would_write_longer_than_a_body_may_be_is_not_put_back() -> None:
    """A peer may send plain UTF-8, of which each character takes six bytes as we write it."""
    shift = make(dialect="taskflow")
    body = {
        "task_cls": TASK, "task_name": TASK, "task_version": [1, 0],
        "action": "execute", "arguments": {"text": "é" * (MAX_BODY // 3)},
    }  # fmt: skip
    raw = json.dumps(body, ensure_ascii=False).encode()
    message = messages.decode(envelope.REQUEST, raw, at_worker=True)
    around = envelope.Envelope(envelope.REQUEST, FLOW.name, "u2")
    shift.heard([FLOW.request("u1"), Received(around, message)], 1.0)
    effects = shift.drain(2.0, 10.0)
    assert "FAILURE u2" in told(effects)
    assert "16 MiB" in failure_text(effects)


# what is needed of the machine ------------------------------------------------------------------


MACHINE = NodeReport("n1", Resources(cores=2, memory=1000), preemptible=True)


def nodes(effects: list[Effect]) -> list[NodeReport | None]:
    """What answers among these effects tell of the machine."""
    found = [parcel for parcel in parcels(effects) if parcel.envelope.kind == envelope.NOTIFY]
    return [report_from_json(parcel.envelope.header.node) for parcel in found]  # type: ignore[union-attr]


def test_an_answer_tells_of_the_machine_and_that_it_is_heeded() -> None:
    shift = make(machine=MACHINE)
    shift.measured(0.5, 0.25)
    effects = shift.heard([EX.question()], 1.0)
    assert nodes(effects) == [
        NodeReport(
            "n1", MACHINE.have, True, free=MACHINE.have, busy=0, cores_used=0.5, memory_used=0.25
        )
    ]
    caps = [header(p).caps for p in parcels(effects) if p.envelope.kind == envelope.NOTIFY]
    assert envelope.RESOURCES in (caps[0] or ())
    assert nodes(make().heard([EX.question()], 1.0)) == [None]


def test_everybody_hears_what_there_is_and_nobody_what_is_free_for_somebody() -> None:
    shift = make(machine=MACHINE)
    (told_all,) = nodes(shift.offering([Offer(TASK)], 1.0))
    assert told_all is not None
    assert (told_all.have, told_all.free) == (MACHINE.have, None)


def test_what_another_executor_has_is_not_free() -> None:
    shift = make(machine=MACHINE, slots=4)
    other = Native("ex-2")
    shift.heard([EX.question(), other.question()], 0.0)
    effects = shift.heard([EX.request("u1", 1, need={"cores": 1.5})], 1.0)
    assert len(runs(effects)) == 1
    (to_us,) = nodes(shift.heard([EX.question()], 2.0))
    (to_other,) = nodes(shift.heard([other.question()], 2.0))
    assert to_us is not None
    assert to_other is not None
    assert (to_us.free, to_us.busy) == (MACHINE.have, 1)
    assert (to_other.free, to_other.busy) == (Resources(cores=0.5, memory=1000), 1)


def test_what_has_no_room_for_too_long_goes_back_and_why_is_told_first() -> None:
    shift = make(machine=MACHINE, slots=4)
    other = Native("ex-2")
    shift.heard([other.request("u1", 1, need={"cores": 2})], 0.0)
    effects = shift.heard([EX.request("u2", 1, need={"cores": 1})], 0.5)
    assert runs(effects) == []
    effects = shift.tick(0.5 + QUEUE_PATIENCE)
    mine = [parcel for parcel in parcels(effects) if parcel.address.routing_key.endswith("ex-1")]
    kinds = [parcel.envelope.kind for parcel in mine]
    assert kinds[0] == envelope.NOTIFY
    assert kinds[-1] == envelope.RELEASE
    (report,) = nodes([Send(parcel) for parcel in mine])
    assert report is not None
    assert report.free == Resources(memory=1000)


def test_what_did_not_fit_is_started_when_another_ends() -> None:
    shift = make(machine=MACHINE, slots=4)
    (first,) = runs(shift.heard([EX.request("u1", 1, need={"cores": 2})], 0.0))
    assert runs(shift.heard([EX.request("u2", 2, need={"cores": 1})], 0.1)) == []
    effects = shift.reported([Ended(first.work.key, 5)], 0.2)
    assert [run.work.uuid for run in runs(effects)] == ["u2"]
