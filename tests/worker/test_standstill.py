"""When a process that stood still finds out, and when it has caught up."""

from __future__ import annotations

import pytest

from protocol.timing import BEAT, CATCHING_UP, lease, pace
from worker.standstill import Standstill


@pytest.mark.parametrize("beat", [0.1, 1.0, BEAT, 60.0])
def test_one_that_comes_round_each_beat_never_stood_still(beat: float) -> None:
    standstill = Standstill(beat)
    assert not any(standstill.ends(turn * beat) for turn in range(100))
    assert not standstill.is_catching_up


@pytest.mark.parametrize("beat", [0.1, 1.0, BEAT, 60.0])
def test_whoever_may_have_been_silent_for_a_lease_stood_still(beat: float) -> None:
    """Its last words may be a pace older than its last turn."""
    standstill = Standstill(beat)
    standstill.ends(10.0)
    assert standstill.ends(10.0 + lease(beat) - pace(beat) + 0.01)
    assert standstill.is_catching_up


def test_the_first_turn_follows_nothing() -> None:
    assert not Standstill(BEAT).ends(1e9)


def test_it_has_caught_up_a_moment_later_which_is_said_once() -> None:
    standstill = Standstill(1.0)
    standstill.ends(0.0)
    standstill.ends(10.0)
    assert not standstill.is_caught_up(10.0 + CATCHING_UP - 0.01)
    assert standstill.until == 10.0 + CATCHING_UP
    assert standstill.is_caught_up(10.0 + CATCHING_UP)
    assert not standstill.is_caught_up(20.0)
    assert standstill.until == float("inf")


def test_the_moment_begins_again_when_we_consume_again_or_stand_still_again() -> None:
    standstill = Standstill(1.0)
    standstill.consumes(0.0)
    assert not standstill.is_catching_up
    standstill.ends(0.0)
    standstill.ends(10.0)
    standstill.consumes(10.5)
    assert standstill.until == 10.5 + CATCHING_UP
    assert standstill.ends(20.0)
    assert standstill.until == 20.0 + CATCHING_UP
