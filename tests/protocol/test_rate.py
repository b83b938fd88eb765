"""How often a task may be started."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.errors import ConfigurationError
from protocol.rate import MAX_COUNT, Rate, parse_rate


@pytest.mark.parametrize(
    ("text", "most", "period"),
    [("10/s", 10, 1.0), ("100/m", 100, 60.0), ("1/h", 1, 3600.0), ("007/s", 7, 1.0)],
)
def test_how_many_in_how_long(text: str, most: int, period: float) -> None:
    rate = parse_rate("here", text)
    assert rate == Rate(most, period)
    assert parse_rate("here", str(rate)) == rate


@pytest.mark.parametrize(
    "text",
    [
        *("", "10", "/s", "10/", "10/d", "10/min", "1.5/s", "-1/s", "10 /s", "10/s ", "10/S"),
        *("١/s", "10/s\n", 10, None, ["10/s"], b"10/s"),
    ],
)
def test_anything_else_is_refused_with_what_is_meant(text: Any) -> None:
    with pytest.raises(ConfigurationError, match=r'^here: rate=.*"10/s", "100/m" or "2000/h"'):
        parse_rate("here", text)


@pytest.mark.parametrize("text", ["0/s", f"{MAX_COUNT + 1}/h"])
def test_none_at_all_and_too_many_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="from 1 to 100000 starts"):
        parse_rate("here", text)


def test_the_next_may_start_one_period_after_the_one_so_many_back() -> None:
    rate = Rate(2, 60.0)
    assert rate.next_start([]) is None
    assert rate.next_start([1.0]) is None
    assert rate.next_start([1.0, 5.0]) == 61.0
    assert rate.next_start([1.0, 5.0, 70.0]) == 65.0
