"""Results kept until they are receipted: which are sent again when, and which go at the bound."""

from __future__ import annotations

import math

import pytest

from protocol.messages import Request
from protocol.timing import RESULT_RESENDS
from worker import outbox as room
from worker.outbox import PACE, PROBE, Outbox
from worker.record import Record


def record(uuid: str) -> Record:
    """One that has ended."""
    return Record(uuid, "ex-1", Request("m.task"), None, 0.0)


def filled(*uuids: str, now: float = 0.0) -> tuple[Outbox, dict[str, Record]]:
    """An outbox with these results."""
    outbox, records = Outbox(), {uuid: record(uuid) for uuid in uuids}
    for uuid in uuids:
        assert outbox.keep(records[uuid], uuid.encode(), now) == []
    return outbox, records


def uuids(records: list[Record]) -> list[str]:
    """Whose they are."""
    return [one.uuid for one in records]


def test_each_result_follows_the_schedule_from_when_it_was_kept() -> None:
    outbox = Outbox()
    for n in range(3):
        outbox.keep(record(f"u{n}"), b"", float(n))
    sent: dict[str, list[float]] = {f"u{n}": [] for n in range(3)}
    while (now := outbox.next_due(is_silent=False)) < 130.0:
        for one in outbox.take_due(now):
            sent[one.uuid].append(now)
    for n in range(3):
        steps = [b - a for a, b in zip([float(n), *sent[f"u{n}"]], sent[f"u{n}"], strict=False)]
        assert steps[:5] == list(RESULT_RESENDS)
        assert set(steps[5:]) == {RESULT_RESENDS[-1]}


@pytest.mark.parametrize(
    ("size", "seconds"),
    [(0, 2.0), (2 * PACE, 2.0), (2 * PACE + 1, 4.0), (10 * PACE, 16.0), (64 * PACE, 30.0)],
)
def test_a_large_result_is_given_a_second_for_each_mib_to_arrive(size: int, seconds: float) -> None:
    outbox = Outbox()
    outbox.keep(record("u0"), bytes(size), 1.0)
    assert outbox.next_due(is_silent=False) == 1.0 + seconds
    assert uuids(outbox.take_due(1.0 + seconds)) == ["u0"]
    assert uuids(outbox.all_again(200.0)) == ["u0"]
    assert outbox.next_due(is_silent=False) == 200.0 + seconds, "from the beginning, at its pace"


def test_what_was_not_asked_for_in_time_is_sent_once_and_not_for_each_step() -> None:
    outbox, _ = filled("a", "b")
    assert uuids(outbox.take_due(100.0)) == ["a", "b"]
    assert outbox.take_due(100.0) == []
    assert outbox.next_due(is_silent=False) == 100.0 + RESULT_RESENDS[1]


def test_a_silent_executor_gets_the_oldest_now_and_then() -> None:
    outbox, records = filled("a", "b")
    assert outbox.take_probe(PROBE - 0.1) is None
    assert outbox.take_probe(PROBE) is records["a"]
    assert outbox.take_probe(PROBE + 1) is None
    assert outbox.next_due(is_silent=True) == 2 * PROBE
    outbox.forget(records["a"])
    assert outbox.take_probe(2 * PROBE - 0.1) is None  # no more often, whichever it is
    assert outbox.take_probe(2 * PROBE) is records["b"]


def test_all_again_is_all_that_was_not_sent_just_now() -> None:
    outbox, records = filled("a", "b", "c")
    outbox.take_body(records["b"], 49.0)
    assert uuids(outbox.all_again(50.0)) == ["a", "c"]
    assert outbox.all_again(50.0) == []
    assert outbox.next_due(is_silent=False) == RESULT_RESENDS[0]  # b's own step
    assert uuids(outbox.take_due(52.0)) == ["b", "a", "c"]


def test_what_is_receipted_is_never_sent_again() -> None:
    outbox, records = filled("a", "b")
    outbox.forget(records["a"])
    outbox.forget(records["a"])
    outbox.forget(record("b"))  # another request of that uuid
    assert (len(outbox), outbox.size_bytes) == (1, 1)
    assert uuids(outbox.take_due(99.0)) == ["b"]
    assert uuids(outbox.all_again(199.0)) == ["b"]
    outbox.forget(records["b"])
    assert (len(outbox), outbox.size_bytes) == (0, 0)
    assert outbox.next_due(is_silent=False) == outbox.next_due(is_silent=True) == math.inf
    assert outbox.take_probe(999.0) is None


def test_at_the_bound_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_RESULTS", 2)
    outbox, records = filled("a", "b")
    assert outbox.keep(record("c"), b"", 1.0) == [records["a"]]
    assert outbox.keep(record("d"), b"", 1.0) == [records["b"]]
    assert uuids(outbox.take_due(9.0)) == ["c", "d"]


def test_at_the_bound_of_bytes_as_many_go_as_must_but_never_the_newest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "MAX_BYTES", 100)
    outbox, records = Outbox(), {uuid: record(uuid) for uuid in "abcd"}
    for uuid, size in (("a", 40), ("b", 40), ("c", 20)):
        assert outbox.keep(records[uuid], b"x" * size, 0.0) == []
    assert uuids(outbox.keep(records["d"], b"x" * 70, 0.0)) == ["a", "b"]
    assert outbox.size_bytes == 90
    giant = record("giant")
    assert uuids(outbox.keep(giant, b"x" * 1000, 0.0)) == ["c", "d"]
    assert outbox.take_body(giant, 1.0) == b"x" * 1000


def test_it_knows_the_very_body_it_keeps() -> None:
    outbox, records = filled("a")
    body = outbox.take_body(records["a"], 1.0)
    assert outbox.holds(records["a"], body)
    assert not outbox.holds(records["a"], bytes(bytearray(body)))
    assert not outbox.holds(record("a"), body)
    outbox.forget(records["a"])
    assert not outbox.holds(records["a"], body)
