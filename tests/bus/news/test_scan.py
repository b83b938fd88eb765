"""Bytes → lines, and what is damaged between them."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import accumulate, islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.news.line import HEADER_START, MAX_LINE, Header, header_bytes
from bus.news.scan import Damage, Line, Scanner
from protocol.errors import JournalError
from protocol.events import Closed, Event, Opened, Running
from protocol.history import Entry
from tests.bus.news.writing import a_life, entries, file_of, line_of, submitted
from tests.protocol.happened import some_events

HEAD = header_bytes(Header("x", 0, 1, 0, 100.0))
LINES = [line_of(entry) for entry in entries([Opened("x", 1), *a_life("u"), *a_life("v")])]


def pieces(data: bytes, generator: random.Random) -> Iterator[bytes]:
    """The same bytes as they might come."""
    at = 0
    while at < len(data):
        length = generator.choice([1, 7, 100, 10_000])
        yield data[at : at + length]
        at += length


def scan(data: bytes, seed: int = 0) -> tuple[list[bytes], list[Damage], Scanner]:
    """The lines, with their ends, and the damage; each line's place is checked."""
    scanner = Scanner("FILE")
    found = []
    for piece in pieces(data, random.Random(seed)):
        found += scanner.feed(piece)
    found += scanner.finish()
    lines = [each for each in found if isinstance(each, Line)]
    for each in lines:
        assert data[each.offset : each.offset + len(each.raw)] == each.raw
    numbers = [each.number for each in lines]
    assert numbers == sorted(set(numbers))
    assert scanner.last == (numbers[-1] if numbers else 0)
    damage = [each for each in found if isinstance(each, Damage)]
    return [each.raw + b"\n" for each in lines], damage, scanner


def test_a_file_that_is_whole_is_its_lines() -> None:
    lines, damage, scanner = scan(HEAD + b"".join(LINES))
    assert (lines, damage) == (LINES, [])
    assert scanner.header == Header("x", 0, 1, 0, 100.0)
    assert scanner.offset == len(HEAD) + sum(map(len, LINES))
    assert not scanner.lacks_end


def middle(damaged: Callable[[bytes], bytes]) -> bytes:
    """The file with its fourth line changed."""
    return HEAD + b"".join([*LINES[:3], damaged(LINES[3]), *LINES[4:]])


AT = len(HEAD) + sum(map(len, LINES[:3]))

#: What becomes of the fourth line; whether it is lost; how it is told.
DAMAGE: list[tuple[Callable[[bytes], bytes], bool, str]] = [
    (lambda line: b"garbage\n", True, "8 damaged bytes were passed over (line 4 is lost): b'garb"),
    (lambda line: line[:30] + b"\0" * 9 + line[39:], True, '(line 4 is lost): b\'{"n":4,'),
    (lambda line: b"\0" * len(line), False, "damaged bytes were passed over (line 4 is lost)"),
    (lambda line: b"\0" * 4095 + b"\n", True, "4096 damaged bytes were passed over (line 4 is "),
    (lambda line: b"", True, "line 4 is missing"),
    (lambda line: line * 3, False, "2 lines with numbers that were there before were passed over"),
    (lambda line: line + LINES[0], False, "1 lines with numbers that were there before"),
    (lambda line: line + b"\n\n", False, "2 damaged bytes were passed over: b''"),
    (lambda line: b"x\ny\nz\n" + line, False, "6 damaged bytes were passed over: b'x'"),
    (lambda line: line + HEAD, False, f"{len(HEAD)} damaged bytes were passed over: b'{{\"taskl"),
    (lambda line: line.replace(b"\n", b"\r\n"), False, "2 damaged bytes were passed over: b'\\r'"),
]


@pytest.mark.parametrize(("damaged", "is_lost", "told"), DAMAGE, ids=[row[2] for row in DAMAGE])
def test_a_damaged_line_is_told_and_costs_itself_alone(
    damaged: Callable[[bytes], bytes], is_lost: bool, told: str
) -> None:
    lines, damage, _ = scan(middle(damaged))
    lost = is_lost or LINES[3] not in lines
    assert lines == [line for line in LINES if line != LINES[3] or not lost]
    assert len(damage) == 1
    assert told in str(damage[0])
    assert str(damage[0]).startswith(f"FILE, byte {damage[0].offset}: ")
    assert AT <= damage[0].offset <= AT + len(LINES[3])
    assert damage[0].lines == lost


def test_neighbours_are_one_damage_and_others_are_not() -> None:
    """So that a thousand damaged lines are one sentence."""
    data = HEAD + LINES[0] + b"x\n" * 1000 + LINES[1] + b"y\n" + LINES[2]
    lines, damage, _ = scan(data)
    assert lines == LINES[:3]
    assert [(each.offset, each.length) for each in damage] == [
        (len(HEAD + LINES[0]), 2000),
        (len(HEAD + LINES[0]) + 2000 + len(LINES[1]), 2),
    ]


def test_numbers_that_are_missing_are_told_from_and_to() -> None:
    lines, damage, _ = scan(HEAD + LINES[0] + LINES[4] + b"?\n" + LINES[7])
    assert lines == [LINES[0], LINES[4], LINES[7]]
    assert [each.what for each in damage] == [
        "lines 2 to 4 are missing",
        "2 damaged bytes were passed over (lines 6 to 7 are lost): b'?'",
    ]
    assert [each.lines for each in damage] == [3, 2]


def test_an_end_without_a_line_end_is_torn_unless_it_is_whole() -> None:
    """Where the next line may be written is said either way."""
    whole = HEAD + LINES[0]
    lines, damage, scanner = scan(whole + LINES[1][:-5])
    assert lines == LINES[:1]
    assert (damage[0].reason, damage[0].offset, damage[0].length) == (
        *("torn", len(whole)),
        len(LINES[1]) - 5,
    )
    assert (scanner.offset, scanner.lacks_end) == (len(whole), False)
    lines, damage, scanner = scan(whole + LINES[1][:-1])
    assert (lines, damage) == (LINES[:2], [])
    assert (scanner.offset, scanner.lacks_end) == (len(whole + LINES[1]) - 1, True)
    lines, damage, scanner = scan(whole + LINES[1][:-1] + b"\0\0")
    assert (lines, [each.reason for each in damage]) == (LINES[:2], ["torn"])
    assert (scanner.offset, scanner.lacks_end) == (len(whole + LINES[1]) - 1, True)


class TestTakenOver:
    """A file that is not the first."""

    HEAD = header_bytes(Header("x", 1, 8, 3, 100.0, {"success": 4}))
    COPIED = (LINES[0], LINES[2], LINES[5])

    def test_its_first_lines_have_their_own_numbers(self) -> None:
        """So there are gaps, which are none."""
        lines, damage, _ = scan(self.HEAD + b"".join([*self.COPIED, *LINES[7:]]))
        assert (lines, damage) == ([*self.COPIED, *LINES[7:]], [])

    @pytest.mark.parametrize("after", [LINES[7:], []])
    def test_one_that_is_missing_is_told(self, after: list[bytes]) -> None:
        """By their number; also if nothing new has been written yet."""
        lines, damage, _ = scan(self.HEAD + b"".join([*self.COPIED[:2], *after]))
        assert lines == [*self.COPIED[:2], *after]
        assert [each.what for each in damage] == [
            "of 3 lines taken over from the file before, 1 are missing"
        ]

    def test_one_that_is_damaged_is_told_once(self) -> None:
        copied = [self.COPIED[0], b"?" + self.COPIED[1][1:], self.COPIED[2]]
        lines, damage, _ = scan(self.HEAD + b"".join([*copied, *LINES[7:]]))
        assert lines == [copied[0], copied[2], *LINES[7:]]
        assert [(each.reason, each.lines) for each in damage] == [("bytes", 1)]

    def test_a_gap_before_the_first_new_line_is_told(self) -> None:
        _, damage, _ = scan(self.HEAD + b"".join([*self.COPIED, LINES[8]]))
        assert [each.what for each in damage] == ["line 8 is missing"]

    def test_an_old_number_after_a_new_one_was_there_before(self) -> None:
        """Though it was not there in this file."""
        lines, damage, _ = scan(self.HEAD + b"".join([*self.COPIED, LINES[7], LINES[6]]))
        assert lines == [*self.COPIED, LINES[7]]
        assert [each.reason for each in damage] == ["again"]


class TestHeader:
    """The first line."""

    def test_a_damaged_one_costs_itself_and_gaps_are_not_known(self) -> None:
        """Because nobody says which lines were taken over."""
        data = HEAD.replace(b'"x"', b'"y"') + LINES[0] + LINES[5]
        lines, damage, scanner = scan(data)
        assert lines == [LINES[0], LINES[5]]
        assert [(each.reason, each.offset, each.length) for each in damage] == [
            ("bytes", 0, len(HEAD))
        ]
        assert scanner.header is None
        assert scanner.is_journal

    def test_one_of_a_later_version_that_can_be_read_is_read(self) -> None:
        lines, damage, _ = scan(header_bytes(Header("x", 0, 1, 0, 1.0, version="1.7")) + LINES[0])
        assert (lines, damage) == (LINES[:1], [])

    def test_one_of_a_version_that_cannot_be_read_says_what_to_do(self) -> None:
        with pytest.raises(JournalError, match=r"FILE is a journal of version 2\.0, and .* newer"):
            scan(header_bytes(Header("x", 0, 1, 0, 1.0, version="2.0")) + LINES[0])

    @pytest.mark.parametrize(
        ("data", "is_journal"),
        [
            (b"", True),
            (HEAD, True),
            (HEAD[:-1], True),
            (HEAD[:5], True),
            (HEAD[:50], True),
            (HEAD[:50] + b"\n", True),
            (LINES[0], True),
            (b"text\n" + LINES[0], True),
            (b"text", False),
            (b"text\n", False),
            (b"\0" * 5000, False),
            (b'{"taskline":"something else"}\n', False),
            (b"\x7fELF\n\n\n", False),
        ],
        ids=lambda value: repr(value)[:24],
    )
    def test_what_is_a_journals_file_shows(self, data: bytes, is_journal: bool) -> None:
        """A header's beginning, or one whole line."""
        assert scan(data)[2].is_journal is is_journal


def test_a_text_longer_than_a_line_may_be_is_passed_over_and_never_held() -> None:
    """A hundred megabytes between two lines, as they come from a disk."""
    scanner = Scanner("FILE")
    found = scanner.feed(HEAD + LINES[0])
    half = MAX_LINE // 2**20 // 2
    tracemalloc.start()
    for _ in range(half):
        found += scanner.feed(bytes(2**20))
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(100 - half):
        found += scanner.feed(bytes(2**20))
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 2**20 < before
    found += scanner.feed(b"x\n" + LINES[1])
    found += scanner.finish()
    assert [each.raw + b"\n" for each in found if isinstance(each, Line)] == LINES[:2]
    damage = [each for each in found if isinstance(each, Damage)]
    assert [(each.offset, each.length) for each in damage] == [
        (len(HEAD + LINES[0]), 100 * 2**20 + 2)
    ]


def test_damage_is_held_back_while_it_may_go_on() -> None:
    """Who follows asks for it whenever there is nothing more to read."""
    scanner = Scanner("FILE")
    scanner.feed(HEAD)
    assert scanner.feed(b"x\ny\n") == []
    told = scanner.flush()
    assert [each.length for each in told if isinstance(each, Damage)] == [4]
    assert scanner.flush() == []
    assert [type(each) for each in scanner.feed(LINES[0])] == [Line]


def file_and_lines(events: list[Event]) -> tuple[bytes, list[bytes]]:
    return file_of(events), list(map(line_of, entries(events)))


@given(some_events(), st.data())
@settings(deadline=None)
def test_any_cut_of_the_file_replays_to_a_prefix(events: list[Event], data: st.DataObject) -> None:
    """Of which nothing is missing but what was cut off."""
    whole, lines = file_and_lines(events)
    cut = data.draw(st.integers(0, len(whole)))
    found, damage, scanner = scan(whole[:cut], seed=cut)
    ends = accumulate(map(len, lines), initial=len(HEAD))
    assert found == [
        line for line, end in zip(lines, islice(ends, 1, None), strict=True) if end - 1 <= cut
    ]
    assert [each.reason for each in damage] in ([], ["torn"])
    assert scanner.is_journal
    assert scanner.offset <= cut


@given(some_events(), st.integers(1, 255), st.data())
@settings(deadline=None)
def test_any_flipped_byte_is_found_and_costs_its_line_at_the_most(
    events: list[Event], mask: int, data: st.DataObject
) -> None:
    """Line ends and the header too."""
    whole, lines = file_and_lines([Opened("x", 1), *events])
    at = data.draw(st.integers(0, len(whole) - 1))
    flipped = whole[:at] + bytes([whole[at] ^ mask]) + whole[at + 1 :]
    found, damage, scanner = scan(flipped, seed=at)
    assert len(damage) == 1
    assert damage[0].offset <= at < damage[0].offset + damage[0].length
    hit = [line for line in lines if line not in found]
    assert len(hit) <= 1
    assert found == [line for line in lines if line not in hit]
    assert scanner.is_journal


@given(st.binary(max_size=300), some_events(), st.data())
@settings(deadline=None)
def test_any_bytes_anywhere_cost_no_line_but_the_one_they_are_in(
    garbage: bytes, events: list[Event], data: st.DataObject
) -> None:
    whole, lines = file_and_lines(events)
    at = data.draw(st.integers(len(HEAD), len(whole)))
    found, _, _ = scan(whole[:at] + garbage + whole[at:], seed=at)
    assert len([line for line in lines if line not in found]) <= 1
    assert [line for line in found if line not in lines] == []


def test_the_first_bytes_of_a_header_never_change() -> None:
    """By them a file is known, whatever its version."""
    assert HEADER_START == b'{"taskline":"journal",'
    assert line_of(Entry(1, 1.0, Closed())).startswith(b'{"n":1,"t":1.000000,"e":"closed"')
    assert line_of(Entry(2, 1.0, Running("u", 1))) != line_of(Entry(2, 1.0, submitted("u")))
