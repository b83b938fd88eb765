"""Time that passes when the test says so."""

from __future__ import annotations

import pytest

from bus.wire.testing import ManualClock


def test_it_stands_still_until_it_is_advanced() -> None:
    clock = ManualClock(100.0)
    assert (clock(), clock()) == (100.0, 100.0)
    assert clock.advance(0.5) == 100.5
    assert clock() == 100.5
    assert clock.advance(0) == 100.5
    assert repr(clock) == "<ManualClock at 100.5>"


def test_it_does_not_go_back() -> None:
    clock = ManualClock()
    with pytest.raises(ValueError, match="monotonic"):
        clock.advance(-1)
    assert clock() == 0.0
