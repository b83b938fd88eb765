"""Names of files and folders in a folder that is a broker."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.wire.transports.filesystem.layout import (
    NotAName,
    is_ours,
    message_name,
    milliseconds_of,
    queue_of,
    table_name,
)

DESK = "0123456789abcdef"


@given(st.integers(0, 10**20), st.integers(1, 10**12))
def test_what_was_written_later_has_the_greater_name_also_as_text(at: int, later: int) -> None:
    """kombu sorts by text, and its own names change their length when 10^n ms have passed."""
    first, second = message_name(at, DESK, "q"), message_name(at + later, DESK, "q")
    assert first < second
    assert milliseconds_of(first) <= milliseconds_of(second)
    assert is_ours(first)


@pytest.mark.parametrize("queue", ["a", "a.b", ".a", "x_t1", "a.msg", "ü"])
def test_a_name_tells_its_queue_whole(queue: str) -> None:
    assert queue_of(message_name(1, DESK, queue)) == queue
    theirs = f"764702_61ad2c40-978a-4800-9282-78512d8547fd.{queue}.msg"
    assert queue_of(theirs) == queue
    assert milliseconds_of(theirs) == 764702
    assert not is_ours(theirs)


@pytest.mark.parametrize("name", ["control", "draft", "a.txt", "msg", ".msg", "1_2.msg"])
def test_what_is_no_message_has_no_queue(name: str) -> None:
    assert not queue_of(name)


@pytest.mark.parametrize("queue", ["", "a/b", "../../a", "/a", "a\0b", "x" * 250])
def test_a_queue_that_could_be_a_file_elsewhere_is_refused_for_good(queue: str) -> None:
    with pytest.raises(NotAName) as caught:
        message_name(1, DESK, queue)
    assert caught.value.code == 403


@pytest.mark.parametrize("exchange", ["..", ".", "a/b", "../a", "a b", "ü", "a\n"])
def test_an_exchange_that_could_be_a_file_elsewhere_is_refused(exchange: str) -> None:
    with pytest.raises(NotAName):
        table_name(exchange)
    assert table_name("a.b-c_D") == "a.b-c_D.exchange"
