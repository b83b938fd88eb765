"""The same point in time is the same number, unless somebody has set the clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.moments import TOLERANCE, Moments

ETA = 2_000_000_000.0


class Machine:
    """Two clocks, and how long each of their readings takes."""

    def __init__(self, pauses: Iterator[float], ahead: float = 1_000_000.0) -> None:
        self.now = 5.0
        self.ahead = ahead
        self._pauses = pauses

    def steady(self) -> float:
        self.now += next(self._pauses)
        return self.now

    def wall(self) -> float:
        return self.steady() + self.ahead


@given(st.lists(st.floats(0, 5.0), min_size=40, max_size=40))
def test_however_long_it_takes_to_look_at_two_clocks(pauses: list[float]) -> None:
    """The first look may be a bad one; whatever came of it is kept."""
    machine = Machine(iter([*pauses, *[0.0001] * 1000]))
    moments = Moments(machine.wall, machine.steady)
    assert len({moments.of(ETA) for _ in range(20)}) <= 2


@given(st.lists(st.sampled_from([0.00001, 0.0001, 0.005, 0.5, 3.0]), min_size=1))
def test_after_a_good_look_it_stays(pauses: list[float]) -> None:
    machine = Machine(iter([0.0001] * 3 + pauses * 3000))
    moments = Moments(machine.wall, machine.steady)
    first = moments.of(ETA)
    assert first == pytest.approx(ETA - machine.ahead, abs=0.001)
    assert {moments.of(ETA) for _ in range(100)} == {first}


@pytest.mark.parametrize("step", [-3600.0, -1.0, 2 * TOLERANCE, 0.5, 86400.0])
def test_when_the_clock_is_set_it_follows(step: float) -> None:
    machine = Machine(iter([0.00001] * 1000))
    moments = Moments(machine.wall, machine.steady)
    before = moments.of(ETA)
    machine.ahead += step
    assert moments.of(ETA) - before == pytest.approx(-step, abs=0.001)


def test_what_drifts_slowly_is_followed_within_the_tolerance() -> None:
    machine = Machine(iter([0.00001] * 100_000))
    moments = Moments(machine.wall, machine.steady)
    for _ in range(1000):
        machine.ahead += TOLERANCE / 100
        assert moments.of(ETA) == pytest.approx(ETA - machine.ahead, abs=TOLERANCE + 0.001)
