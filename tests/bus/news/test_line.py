"""A line of a journal as text."""

from __future__ import annotations

import json
import subprocess
import zlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bus.news import line
from bus.news.line import Header
from protocol.errors import MessageRefused, ValueRefused
from protocol.events import Closed, Ended, Event, Opened, Running, Submitted
from protocol.history import Entry
from protocol.values import MAX_DEPTH
from tests.protocol.happened import any_event

stamps = st.integers(0, 4 * 10**15).map(lambda micros: micros / 1e6)


def write(entry: Entry) -> bytes:
    event = entry.event
    return line.to_bytes(entry.number, entry.stamp, event.word, line.fields_text(event))


def test_a_line_looks_like_this() -> None:
    """As the module's docstring says, and for ever."""
    written = write(Entry(17, 1763712345.123456, Running("6f1", 1)))
    content = b'{"n":17,"t":1763712345.123456,"e":"running","uuid":"6f1","attempt":1'
    assert written == content + b',"c":"%08x"}\n' % zlib.crc32(content)
    assert json.loads(written)["attempt"] == 1
    assert write(Entry(1, 2.0, Closed())).startswith(b'{"n":1,"t":2.000000,"e":"closed","c":"')


def test_a_header_looks_like_this() -> None:
    header = Header("nightly", 3, 1001, 57, 1763712345.5, {"success": 640, "failure": 0})
    content = (
        b'{"taskline":"journal","version":"1.0","executor":"nightly","incarnation":3,'
        b'"first":1001,"copied":57,"ended":{"success":640},"t":1763712345.500000'
    )
    assert line.header_bytes(header) == content + b',"c":"%08x"}\n' % zlib.crc32(content)
    assert line.to_header(line.header_bytes(header)[:-1]) == Header(
        "nightly", 3, 1001, 57, 1763712345.5, {"success": 640}
    )


def test_a_header_says_what_workers_know_its_executor_by() -> None:
    header = Header("nightly", 3, 1001, 57, 1763712345.5, identity="nightly.5e6f7a8b")
    written = line.header_bytes(header)
    assert b'"executor":"nightly","identity":"nightly.5e6f7a8b","incarnation":3,' in written
    assert line.to_header(written[:-1]) == header


@given(st.integers(1, 10**18 - 1), stamps, any_event)
@example(1, 0.0, Ended("u", "success", 10**5000))
@example(1, 0.0, Ended("u", "success", "\ud800\u2028\x00\n"))
@settings(deadline=None)
def test_any_entry_comes_back_from_its_line(number: int, stamp: float, event: Event) -> None:
    """Which is one line, ASCII, JSON to anybody, and found by its beginning."""
    entry = Entry(number, stamp, event)
    written = write(entry)
    assert written.isascii()
    assert written.count(b"\n") == 1
    assert written.endswith(b"\n")
    assert line.is_whole(written[:-1])
    assert line.to_entry(written[:-1]) == entry
    match = line.PREFIX.match(written)
    assert match is not None
    assert (int(match[1]), match[2].decode()) == (number, event.word)
    if match[3] is not None:
        assert match[3].decode() == getattr(event, "uuid", None)
    if isinstance(event, Ended) and match[3] is not None:
        assert match[4].decode() == event.outcome


def test_a_value_as_deep_as_values_may_be_is_written_and_read() -> None:
    """In a line it is one deeper."""
    value: object = 10**700
    for _ in range(MAX_DEPTH):
        value = [value]
    entry = Entry(1, 1.0, Ended("u", "success", value))
    assert line.to_entry(write(entry)[:-1]) == entry


def test_what_is_no_json_is_refused_by_its_path() -> None:
    with pytest.raises(ValueRefused, match=r"body\.x: a set cannot travel"):
        line.fields_text(Submitted("u", "t", {"x": {1}}, ["a"]))


def test_jq_reads_it() -> None:
    """Each line is an object of its own, to every tool."""
    written = write(Entry(1, 1.5, Opened("x", 1))) + write(Entry(2, 2.5, Closed()))
    try:
        done = subprocess.run(
            ["jq", "-c", "[.n,.t,.e]"], input=written, stdout=subprocess.PIPE, check=True
        )
    except FileNotFoundError:
        pytest.skip("there is no jq here")
    assert done.stdout == b'[1,1.5,"opened"]\n[2,2.5,"closed"]\n'


def checked(content: bytes) -> bytes:
    return b'%b,"c":"%08x"}' % (content, zlib.crc32(content))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"n":1,"t":1.0,"e":"paused"', "event_word"),
        (b'{"n":1,"t":1.0,"e":"running"', "event_field"),
        (b'{"n":1,"t":1.0', "event_line"),
        (b'{"n":"1","t":1.0,"e":"closed"', "event_line"),
        (b'{"n":true,"t":1.0,"e":"closed"', "event_line"),
        (b'{"n":1,"t":1,"e":"closed"', "event_line"),
        (b'{"n":1,"t":NaN,"e":"closed"', "event_line"),
        (b'{"n":1,"t":1.0,"e":["closed"]', "event_line"),
        (b'{"n":1,"t":1.0,"e":"closed"}}', "event_line"),
        (b'"n":1', "event_line"),
        (b"\xff", "event_line"),
        (b"[" * 5000, "event_line"),
        (b"", "event_line"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_whole_line_that_makes_no_sense_is_refused_and_nothing_else(
    content: bytes, reason: str
) -> None:
    """The checksum fits: somebody has written that."""
    with pytest.raises(MessageRefused) as caught:
        line.to_entry(checked(content))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b'{"taskline":"journal"}',
        line.header_bytes(Header("x", 1, 1, 0, 1.0))[:-2],
        line.header_bytes(Header("x", 1, 1, 0, 1.0)).replace(b'"x"', b'"y"')[:-1],
        line.header_bytes(Header("x", 1, 1, 0, 1.0, version="zero"))[:-1],
        line.header_bytes(Header("x", 1, 1, 0, 1.0, version="0.9"))[:-1],
        checked(b'{"taskline":"journal","version":"1.0"'),
        checked(b'{"taskline":"journal","version":"1.0","executor":"x","incarnation":[]'),
        write(Entry(1, 1.0, Closed()))[:-1],
    ],
)
def test_what_is_no_header_is_none(raw: bytes) -> None:
    assert line.to_header(raw) is None


class TestSalvage:
    """Whole lines in a damaged text."""

    A = write(Entry(1, 1.0, Running("u", 1)))[:-1]
    B = write(Entry(2, 2.123456, Running("u", 2)))[:-1]

    def found(self, raw: bytes, *, is_torn: bool = False) -> list[bytes]:
        return [raw[start:end] for start, end in line.salvage(raw, is_torn=is_torn)]

    def test_two_lines_whose_end_was_hit_are_both_found(self) -> None:
        assert self.found(self.A + b"\x8a" + self.B) == [self.A, self.B]

    def test_a_line_after_garbage_or_before_it_is_found(self) -> None:
        assert self.found(b"\0" * 512 + self.B) == [self.B]
        assert self.found(self.A + b"\0" * 512) == [self.A]
        assert self.found(self.A[:20] + self.B) == [self.B]

    def test_one_in_the_middle_is_not_looked_for(self) -> None:
        """It may be something a caller has sent: a line is JSON, and JSON may be an argument."""
        smuggled = json.loads(self.B)
        event = Submitted("u", "t", {"args": [smuggled]}, ["a"])
        carrier = write(Entry(1, 1.0, event))[:-1]
        assert self.B in carrier
        at = carrier.index(self.B) + len(self.B)
        assert self.found(carrier[:50] + b"?" + carrier[51:]) == []
        assert self.found(carrier[:at], is_torn=True) == []

    def test_the_tries_are_bounded(self) -> None:
        """A text made to look like many lines costs a few checksums."""
        assert self.found((b'{"n":1,"c":"00000000"}' * 100_000) + b"?") == []
