"""Where the lines of each request are."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.news import index as index_room
from bus.news.index import Index, place, spot
from bus.news.line import MAX_LINE
from bus.news.scan import Line, Scanner
from protocol.events import (
    Closed,
    Discarded,
    Ended,
    Event,
    Opened,
    Running,
    Submitted,
    WorkerGone,
    WorkerSeen,
)
from protocol.history import Entry, History
from protocol.values import Json
from tests.bus.news.writing import (
    a_life,
    dispatched,
    entries,
    file_of,
    line_of,
    resealed,
    submitted,
)
from tests.protocol.happened import some_events

PLENTY = 10**9


def indexed(events: Sequence[Event]) -> tuple[Index, bytes]:
    """An index of a file with these events, and the file."""
    index, data = Index(), file_of(events)
    for found in Scanner("FILE").feed(data):
        assert isinstance(found, Line)
        index.add(found)
    return index, data


def lines_at(places: Sequence[int], data: bytes) -> list[bytes]:
    return [data[offset : offset + length] for offset, length in map(spot, places)]


def wanted(events: Sequence[Event], *numbers: int) -> list[bytes]:
    """The lines with these numbers."""
    return [line_of(entry) for entry in entries(events) if entry.number in numbers]


@given(st.integers(0, 2**37 - 1), st.integers(0, MAX_LINE))
def test_a_place_is_an_offset_and_a_length_and_sorts_by_the_offset(
    offset: int, length: int
) -> None:
    """In 64 bits."""
    assert spot(place(offset, length)) == (offset, length)
    assert place(offset, length) < 2**64
    assert place(offset, MAX_LINE) < place(offset + 1, 0)


def test_a_request_is_found_with_all_its_lines_open_or_ended() -> None:
    events = [Opened("x", 1), *a_life("u"), submitted("v"), *a_life("w"), dispatched("v")]
    index, data = indexed(events)
    assert lines_at(index.find("u"), data) == wanted(events, 2, 3, 4, 5)
    assert lines_at(index.find("v"), data) == wanted(events, 6, 11)
    assert index.find("nobody") == ()
    assert list(index.open) == ["v"]
    assert dict(index.outcomes) == {"success": 2}
    assert (index.executor, index.incarnation) == ("x", 1)


def test_the_newest_request_of_a_key_is_found_open_or_ended() -> None:
    events = [*a_life("u", "k"), submitted("v", "other"), *a_life("w", "k")]
    events.append(submitted("z", "k"))
    index, data = indexed(events[:5])
    assert lines_at(index.find_key("k"), data) == wanted(events, 1, 2, 3, 4)
    index, data = indexed(events[:9])
    assert lines_at(index.find_key("k"), data) == wanted(events, 6, 7, 8, 9)
    index, data = indexed(events)
    assert lines_at(index.find_key("k"), data) == wanted(events, 10)
    assert lines_at(index.find_key("other"), data) == wanted(events, 5)
    assert index.find_key("none") == ()


@pytest.mark.parametrize("key", [None, "k", "", "a key", 'with "quotes" and \\', "Schlüssel"])
@pytest.mark.parametrize(
    "argument",
    [1, {"a": 1, "key": "k"}, [{"a": 1, "key": "no"}], ',"key":"no"', {"key": {"a": 1, "key": 1}}],
)
def test_a_key_is_the_requests_own_and_not_what_an_argument_calls_so(
    key: str | None, argument: Json
) -> None:
    """It is looked for in the text, which is parsed only where that is not enough."""
    event = Submitted("u", "m.task", {"args": [argument]}, ["x"], key=key)
    index, _ = indexed([event])
    assert index.open_keys == ({} if key is None else {key: "u"})


def test_a_key_is_found_before_fields_of_a_later_version() -> None:
    event = Submitted("u", "m.task", {"args": []}, ["x"], key="k")
    (line,) = Scanner("FILE").feed(file_of([event]))[-1:]
    assert isinstance(line, Line)
    end = len(',"c":"12345678"}')
    for more in (b',"later":1.5,"flag":true', b',"later":{"a":1,"key":"no"}', b',"later":"no"'):
        raw = line.raw[:-end] + more + line.raw[-end:] + b"\n"
        index = Index()
        index.add(line._replace(raw=resealed(raw)[:-1]))
        assert index.open_keys == {"k": "u"}


def test_an_older_request_of_a_key_that_ends_late_does_not_take_it_back() -> None:
    events: list[Event] = [submitted("u", "k"), submitted("v", "k"), Ended("u", "success")]
    index, data = indexed(events)
    assert lines_at(index.find_key("k"), data) == wanted(events, 2)
    events.append(Ended("v", "success"))
    index, data = indexed(events)
    assert lines_at(index.find_key("k"), data) == wanted(events, 2, 4)


def test_what_goes_along_is_what_is_open_and_who_is_there() -> None:
    hare = WorkerSeen("hare", "native", "0f", ["a"])
    tortoise = WorkerSeen("tortoise", "native", "0e", ["a"])
    events = [
        *(Opened("x", 1), WorkerSeen("old", "native", "0d", ["a"]), Closed(), Opened("x", 2)),
        *(hare, tortoise, *a_life("u"), submitted("v"), WorkerGone("hare", "0f"), dispatched("v")),
        *(Running("v", 1), dispatched("v", 2)),
    ]
    index, data = indexed(events)
    places, behind = index.needed(PLENTY)
    assert lines_at(places, data) == wanted(events, 4, 6, 11, 13, 14, 15)
    assert dict(behind) == {"success": 1}


def test_ended_requests_with_a_key_go_along_the_newest_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As many as are allowed, and as there is room for; the others are counted as left behind."""
    monkeypatch.setattr(index_room, "MAX_KEYS", 3)
    events: list[Event] = []
    for name in "abcde":
        events += a_life(name, f"key {name}")
    index, data = indexed(events)
    places, behind = index.needed(PLENTY)
    assert lines_at(places, data) == wanted(events, *range(9, 21))
    assert behind["success"] == 2
    room = sum(map(len, wanted(events, *range(13, 21))))
    places, behind = index.needed(room)
    assert lines_at(places, data) == wanted(events, *range(13, 21))
    assert behind["success"] == 3
    assert index.needed(0)[0] == []
    assert lines_at(index.find_key("key a"), data) == wanted(events, 1, 2, 3, 4)


def test_lines_about_a_request_that_was_not_submitted_are_nothing_here() -> None:
    index, _ = indexed([dispatched("u"), Ended("u", "success")])
    assert (index.find("u"), index.needed(PLENTY)[0], dict(index.outcomes)) == ((), [], {})


@given(some_events())
@settings(deadline=None)
def test_what_was_written_is_indexed_as_what_was_read(events: list[Event]) -> None:
    """The index is made on either way, and must be the same."""
    read, data = indexed(events)
    written = Index()
    offset = data.index(b"\n") + 1
    for entry in entries(events):
        length = len(line_of(entry))
        written.note(entry.event, place(offset, length))
        offset += length
    assert written.needed(PLENTY) == read.needed(PLENTY)
    for uuid in ("u1", "u2", "u3", "u4", "u5"):
        assert list(written.find(uuid)) == list(read.find(uuid))
    for key in ("k1", "k2"):
        assert list(written.find_key(key)) == list(read.find_key(key))


@given(some_events())
@settings(deadline=None)
def test_what_is_open_is_what_the_history_says(events: list[Event]) -> None:
    """And the lines that go along come to the very same."""
    index, data = indexed(events)
    whole, along = History(), History()
    numbers = {line_of(entry): entry for entry in entries(events)}
    for entry in numbers.values():
        whole.apply(entry)
    for raw in lines_at(index.needed(PLENTY)[0], data):
        along.apply(numbers[raw])
    assert list(index.open) == [each.submitted.uuid for each in whole.open_requests()]
    assert list(along.open_requests()) == list(whole.open_requests())
    assert sum(index.outcomes.values()) == sum(whole.ended.values())
    for key, uuid in whole.by_key.items():
        found = index.find_key(key)
        assert found in (index.find(uuid), ()) or whole.requests[uuid].is_open


def test_a_request_that_has_ended_takes_some_fifty_bytes() -> None:
    """Forty for four lines, sixteen for the hash of the uuid, and what arrays keep in hand."""
    count = 16_400
    lives = [f"{number:036}" for number in range(count)]
    index = Index()
    tracemalloc.start()
    for number, uuid in enumerate(lives):
        for step, event in enumerate(a_life(uuid)):
            index.note(event, place(1000 * number + 200 * step, 200))
    taken = tracemalloc.get_traced_memory()[0] / count
    tracemalloc.stop()
    assert taken < 80
    assert len(index.find(lives[0])) == len(index.find(lives[-1])) == 4


def test_a_line_of_a_later_version_goes_along_with_its_request() -> None:
    """Whatever it says: the version that wrote it can read it in the next file."""
    later = line_of(Entry(2, 1.0, dispatched("u"))).replace(b'"dispatched"', b'"paused"')
    index = Index()
    data = file_of([submitted("u")])
    for found in Scanner("FILE").feed(data + resealed(later)):
        assert isinstance(found, Line)
        index.add(found)
    assert [spot(where)[0] for where in index.needed(PLENTY)[0]] == [
        data.index(b"\n") + 1,
        len(data),
    ]


# dead letters -------------------------------------------------------------------------------------


def a_death(uuid: str, key: str | None = None) -> list[Event]:
    """All that happens to a request that ends as a dead letter."""
    return [submitted(uuid, key), dispatched(uuid), Ended(uuid, "failure", {}, "hare", dead=True)]


def repeating(uuid: str, dead: str) -> Submitted:
    return Submitted(uuid, "t", {"args": []}, ["default"], repeats=dead)


def test_dead_letters_go_along_until_they_are_repeated_or_dropped() -> None:
    events = [*a_death("u"), *a_death("v"), *a_death("w"), *a_life("x")]
    index, data = indexed(events)
    places, behind = index.needed(0)
    assert lines_at(places, data) == wanted(events, *range(1, 10))
    assert +behind == {"success": 1}
    events += [Discarded("u"), repeating("y", "w")]
    index, data = indexed(events)
    places, behind = index.needed(0)
    assert lines_at(places, data) == wanted(events, 4, 5, 6, 15)
    assert +behind == {"success": 1, "failure": 2}


def test_a_dead_letter_with_a_key_goes_along_once() -> None:
    events = a_death("u", "k")
    index, data = indexed(events)
    places, behind = index.needed(PLENTY)
    assert lines_at(places, data) == wanted(events, 1, 2, 3)
    assert not +behind


@pytest.mark.parametrize("value", [{"dead": True}, ',"dead":true', [{"a": 1, "dead": True}]])
def test_a_dead_letter_is_what_the_end_says_and_not_what_its_value_calls_so(value: Json) -> None:
    index, _ = indexed([submitted("u"), Ended("u", "failure", value)])
    assert index.needed(0)[0] == []
    index, _ = indexed([submitted("u"), Ended("u", "failure", value, None, dead=True)])
    assert len(index.needed(0)[0]) == 2


@settings(max_examples=200)
@given(some_events())
def test_the_dead_letters_that_go_along_are_those_of_the_history(events: list[Event]) -> None:
    """Where nothing is submitted twice, and nothing dropped or repeated before it is dead."""
    index, data = indexed(events)
    places, _ = index.needed(PLENTY)
    kept = History()
    history = History()
    for entry in entries(events):
        history.apply(entry)
        if line_of(entry) in lines_at(places, data):
            kept.apply(entry)
    alive = {letter.submitted.uuid for letter in history.dead_letters()}
    assert alive <= {letter.submitted.uuid for letter in kept.dead_letters()}


def test_a_dead_letter_is_found_with_the_line_that_says_what_became_of_it() -> None:
    events = [*a_death("u"), *a_death("v"), Discarded("u"), repeating("w", "v"), Discarded("u")]
    index, data = indexed(events)
    assert lines_at(index.find("u"), data) == wanted(events, 1, 2, 3, 7)
    assert lines_at(index.find("v"), data) == wanted(events, 4, 5, 6, 8)
    assert lines_at(index.find("w"), data) == wanted(events, 8)
