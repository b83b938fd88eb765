"""Moments to look again."""

from __future__ import annotations

from executor.timers import CANCEL, EXPIRY, SPARE, Timers


def test_they_are_taken_in_order_and_those_of_one_moment_as_they_were_set() -> None:
    timers = Timers({"a": 1, "b": 1})
    timers.set(3.0, "a")
    timers.set(1.0, "b", 7)
    timers.set(3.0, "b", CANCEL)
    assert timers.next == 1.0
    assert list(timers.take_due(0.9)) == []
    assert list(timers.take_due(3.0)) == [("b", 7), ("a", EXPIRY), ("b", CANCEL)]
    assert timers.next is None


def test_what_is_set_meanwhile_may_be_among_them() -> None:
    timers = Timers({"a": 1})
    timers.set(1.0, "a", 1)
    taken = []
    for uuid, about in timers.take_due(2.0):
        taken.append(about)
        if about < 3:
            timers.set(2.0, uuid, about + 1)
    assert taken == [1, 2, 3]


def test_those_of_what_is_over_are_swept_away() -> None:
    requests = dict.fromkeys(range(1000))
    timers = Timers({str(n): n for n in requests})  # none of which is the one below
    few = Timers({"a": 1})
    for n in range(10 * SPARE):
        few.set(float(n), "over")
    assert len(few) <= SPARE + 4
    assert len(timers) == 0


def test_those_of_what_is_open_are_not_swept_over_and_over() -> None:
    """Each sweep costs what there is: it is worth it only when there is twice as much."""
    timers = Timers({"a": 1})
    sizes = []
    for n in range(20 * SPARE):
        timers.set(float(n), "a", n)
        sizes.append(timers._swept)
    assert len(timers) == 20 * SPARE
    assert len(set(sizes)) < 8
