"""One request taken: whether it is late, whose it is, in which round it was asked."""

from __future__ import annotations

import pytest

from protocol.envelope import Header
from protocol.messages import Request
from worker.record import Record


def record(header: Header | None) -> Record:
    """With this header."""
    return Record("u", "ex-1", Request("m.task"), header, 0.0)


@pytest.mark.parametrize(("now", "is_late"), [(1.4, False), (1.4999, False), (1.5, True)])
def test_it_is_late_once_our_clock_reads_its_start_by_in_milliseconds(
    now: float, is_late: bool
) -> None:
    """The clock that HELD tells is cut to milliseconds: it must not read later than this does."""
    assert record(Header(start_by=1500)).is_late(now) is is_late
    assert (int(now * 1000) >= 1500) is is_late


def test_without_a_start_by_it_is_late_and_without_a_header_never() -> None:
    assert record(Header()).is_late(0.0)
    assert not record(None).is_late(1e9)


def test_attempt_and_base_are_one_where_they_are_not_said() -> None:
    for header in (None, Header()):
        assert (record(header).attempt, record(header).base) == (1, 1)
    said = record(Header(attempt=3, base=2))
    assert (said.attempt, said.base) == (3, 2)
