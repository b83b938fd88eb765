"""Events and their JSON form, which is read for as long as there are journals."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import events, jobs
from protocol.errors import MessageRefused
from protocol.events import EVENTS, Dispatched, Ended, Event, Running, Submitted, from_fields
from protocol.values import dumps, loads
from tests.protocol.arbitrary import nearly
from tests.protocol.happened import any_event

#: Each event as it is written: this form never changes its meaning.
WRITTEN: list[tuple[Event, str]] = [
    (events.Opened("nightly", 3), '{"executor":"nightly","incarnation":3}'),
    (events.Closed(), "{}"),
    (
        Submitted("u", "t", {"args": [1]}, ["a", "b"]),
        '{"uuid":"u","task":"t","body":{"args":[1]},"topics":["a","b"]}',
    ),
    (
        Submitted("u", "t", None, [], False, 1.5, "amo", 2, 1.0, "k"),
        (
            '{"uuid":"u","task":"t","body":null,"topics":[],"named_only":false,"timeout":1.5,'
            '"mode":"amo","time_limit":2,"soft_time_limit":1.0,"key":"k"}'
        ),
    ),
    (
        Dispatched("u", 2, 1, "native", "a", "hare", "0f", "inbox", "3:17", 9000),
        (
            '{"uuid":"u","attempt":2,"base":1,"dialect":"native","topic":"a","worker":"hare",'
            '"boot":"0f","inbox":"inbox","ticket":"3:17","start_by":9000}'
        ),
    ),
    (
        Dispatched("u", 1, 1, "taskflow", "a", "hare"),
        '{"uuid":"u","attempt":1,"base":1,"dialect":"taskflow","topic":"a","worker":"hare"}',
    ),
    (Running("u", 2), '{"uuid":"u","attempt":2}'),
    (events.Progress("u", 0.5), '{"uuid":"u","fraction":0.5}'),
    (events.Progress("u", 1.0, {"a": 1}), '{"uuid":"u","fraction":1.0,"details":{"a":1}}'),
    (events.Over("u", 2, "lost"), '{"uuid":"u","attempt":2,"reason":"lost"}'),
    (events.Round("u", 3), '{"uuid":"u","base":3}'),
    (events.Round("u", 3, 2), '{"uuid":"u","base":3,"crashes":2}'),
    (
        events.Round("u", 3, 0, 2, "failure", 2, {"exception_str": "x"}, 1.5),
        (
            '{"uuid":"u","base":3,"retries":2,"cause":"failure","attempt":2,'
            '"failure":{"exception_str":"x"},"delay":1.5}'
        ),
    ),
    (events.Cancelled("u"), '{"uuid":"u"}'),
    (events.Cancelled("u", True), '{"uuid":"u","force":true}'),
    (Ended("u", "success"), '{"uuid":"u","outcome":"success"}'),
    (
        Ended("u", "failure", {"a": 1}, "hare"),
        '{"uuid":"u","outcome":"failure","value":{"a":1},"worker":"hare"}',
    ),
    (
        Ended("u", "failure", {"a": 1}, "hare", True),
        '{"uuid":"u","outcome":"failure","value":{"a":1},"worker":"hare","dead":true}',
    ),
    (events.Discarded("u"), '{"uuid":"u"}'),
    (
        Submitted("v", "t", None, [], repeats="u"),
        '{"uuid":"v","task":"t","body":null,"topics":[],"repeats":"u"}',
    ),
    (
        events.WorkerSeen("hare", "native", None, ["a"]),
        '{"worker":"hare","dialect":"native","boot":null,"topics":["a"]}',
    ),
    (events.WorkerGone("hare", "0f"), '{"worker":"hare","boot":"0f"}'),
    (jobs.JobIssued("j", "align", 7), '{"job":"j","kind":"align","batch_id":7}'),
    (jobs.JobPlaced(7, "4711", "Slurm"), '{"batch_id":7,"external_id":"4711","system":"Slurm"}'),
    (jobs.JobStarted(7), '{"batch_id":7}'),
    (jobs.JobKilled(7), '{"batch_id":7}'),
    (jobs.JobCompleted("j", "align", -9), '{"job":"j","kind":"align","exit_code":-9}'),
    (jobs.JobUpdated("j", 1), '{"job":"j","status":1}'),
    (jobs.JobFailed("j", "align"), '{"job":"j","kind":"align"}'),
    (jobs.JobMissing("j"), '{"job":"j"}'),
    (jobs.JobAnnotated("j", "a", "b"), '{"job":"j","name":"a","value":"b"}'),
    (jobs.QueueSize(3), '{"size":3}'),
    (jobs.ClusterSize("t4g", 3), '{"instance_type":"t4g","size":3}'),
    (jobs.ClusterDesired("t4g", 4), '{"instance_type":"t4g","size":4}'),
]


@pytest.mark.parametrize(("event", "written"), WRITTEN, ids=[each.word for each, _ in WRITTEN])
def test_each_event_is_written_like_this(event: Event, written: str) -> None:
    """In this order too; what has its default is left out."""
    assert dumps(events.to_fields(event)) == written
    assert from_fields(event.word, loads(written)) == event


def test_the_table_above_has_every_event() -> None:
    assert {type(event) for event, _ in WRITTEN} == set(EVENTS.values())
    assert [event.word for event in EVENTS.values()] == list(EVENTS)


@given(any_event)
@settings(deadline=None)
def test_any_event_comes_back_from_its_json(event: Event) -> None:
    assert from_fields(event.word, loads(dumps(events.to_fields(event)))) == event


@pytest.mark.parametrize("event", EVENTS.values(), ids=lambda event: event.word)
def test_the_uuid_comes_first_and_no_field_is_called_like_a_part_of_a_line(
    event: type[Event],
) -> None:
    """A reader finds the request without parsing the rest."""
    names = [field.name for field in dataclasses.fields(event)]
    assert "uuid" not in names[1:]
    assert not {"n", "t", "e", "c"} & set(names)


def test_fields_of_a_later_version_are_passed_over() -> None:
    assert from_fields("running", {"uuid": "u", "attempt": 1, "mood": "good"}) == Running("u", 1)


def test_a_word_of_a_later_version_is_refused_by_name() -> None:
    with pytest.raises(MessageRefused, match="'paused' is no event") as caught:
        from_fields("paused", {"uuid": "u"})
    assert caught.value.reason == "event_word"


@pytest.mark.parametrize(
    ("word", "written", "what"),
    [
        ("running", {"uuid": "u"}, "running: attempt is missing"),
        ("running", {"attempt": 1}, "running: uuid is missing"),
        ("running", {"uuid": 1, "attempt": 1}, "uuid cannot be 1"),
        ("running", {"uuid": "u", "attempt": "1"}, "attempt cannot be '1'"),
        ("running", {"uuid": "u", "attempt": True}, "attempt cannot be True"),
        ("running", {"uuid": "u", "attempt": 1.0}, "attempt cannot be 1.0"),
        ("over", {"uuid": "u", "attempt": 1, "reason": "bored"}, "reason cannot be 'bored'"),
        ("ended", {"uuid": "u", "outcome": "SUCCESS"}, "outcome cannot be 'SUCCESS'"),
        ("submitted", {"uuid": "u", "task": "t", "topics": []}, "body is missing"),
        ("submitted", {"uuid": "u", "task": "t", "body": 1, "topics": "a"}, "topics cannot be"),
        ("submitted", {"uuid": "u", "task": "t", "body": 1, "topics": [1]}, "topics cannot be"),
        (
            "submitted",
            {"uuid": "u", "task": "t", "body": 1, "topics": [], "timeout": False},
            "timeout cannot be False",
        ),
        ("closed", None, None),
    ],
)
def test_what_a_field_cannot_be_is_told(
    word: str, written: dict[str, Any] | None, what: str | None
) -> None:
    """A bool is no number, a float no count; the last row: an event without fields takes any."""
    if written is None or what is None:
        assert from_fields(word, {"anything": 1}) == events.Closed()
        return
    with pytest.raises(MessageRefused, match=what) as caught:
        from_fields(word, written)
    assert caught.value.reason == "event_field"
    assert len(str(caught.value)) < 200


@given(st.sampled_from(WRITTEN).map(lambda row: row[0].word), st.data())
@settings(deadline=None)
def test_whatever_is_written_is_an_event_or_refused(word: str, data: st.DataObject) -> None:
    """Nothing else is raised, and what is taken can be written again."""
    valid = [loads(written) for event, written in WRITTEN if event.word == word]
    written = data.draw(nearly(valid))
    if not isinstance(written, dict):
        return
    try:
        event = from_fields(word, written)
    except MessageRefused as refusal:
        assert refusal.reason == "event_field"
        return
    assert from_fields(word, events.to_fields(event)) == event
