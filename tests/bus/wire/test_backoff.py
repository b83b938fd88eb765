"""How long to wait before the next try."""

from __future__ import annotations

from bus.wire.backoff import FIRST, LONGEST, Backoff


def test_waits_double_up_to_the_longest_and_half_of_each_is_chance() -> None:
    backoff = Backoff()
    full = FIRST
    for _ in range(12):
        assert full / 2 <= backoff.next() <= full
        full = min(full * 2, LONGEST)
    assert full == LONGEST


def test_two_that_begin_together_do_not_stay_together() -> None:
    one, other = Backoff(), Backoff()
    assert [one.next() for _ in range(8)] != [other.next() for _ in range(8)]


def test_after_a_success_the_shortest_comes_first_again() -> None:
    backoff = Backoff()
    for _ in range(8):
        backoff.next()
    backoff.reset()
    assert backoff.next() <= FIRST
