"""Tickets: dense numbers of dispatches, and sets of them as intervals.

An executor numbers what it sends to one worker process 1, 2, 3 …, per incarnation of its own.
Because the numbers are dense, thousands of them are a few ranges, as text (``"3:17-20,25 4:2"``:
of incarnation 3 the tickets 17 to 20 and 25, of incarnation 4 ticket 2) and in memory.

Source: the native dialect, section 1. Nothing here knows what a ticket stands for.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from protocol.errors import MessageRefused

#: Most tickets one text may name if it is unfolded: ranges are short, what they unfold to is not.
#: More than any worker holds unfinished, or an executor receipts at once.
MAX_NAMED = 16_384
#: Most digits of a number in a text: more than any executor counts to, and quick to read.
MAX_DIGITS = 16


class Ticket(NamedTuple):
    """One dispatch, within (executor, worker process)."""

    #: The executor's incarnation, from 1.
    incarnation: int
    #: The dense number within it, from 1.
    number: int

    def __str__(self) -> str:
        return f"{self.incarnation}:{self.number}"


def parse(text: str) -> list[Ticket]:
    """The tickets a text names, in its order.

    For the few tickets of one message; a digest is not unfolded, see :func:`ranges`. Raises
    ``MessageRefused`` (reason ``tickets``) for what the schema's pattern refuses, and for what it
    lets through and makes no sense all the same: number 0, more than :data:`MAX_DIGITS`, a range
    that runs backwards, or more than :data:`MAX_NAMED` tickets.
    """
    before, _, listed = text.partition(":")
    if listed.isdigit():  # nearly always it names but one
        if len(text) <= MAX_DIGITS and before.isdigit() and text.isascii():
            ticket = Ticket(int(before), int(listed))
            if ticket.incarnation and ticket.number:
                return [ticket]
        return [Ticket(_number(before), _number(listed))]
    found: list[Ticket] = []
    for group in text.split(" "):
        before, _, listed = group.partition(":")
        incarnation = _number(before)
        for span in listed.split(","):
            low, high = _span(span)
            if len(found) + high - low >= MAX_NAMED:
                raise MessageRefused("tickets", f"the range {span[:60]!r} names too many")
            found.extend(Ticket(incarnation, number) for number in range(low, high + 1))
    return found


def ranges(text: str) -> dict[int, TicketSet]:
    """What a text names, by incarnation, without unfolding it.

    For a digest (HELD) that is asked about a few tickets: reading costs what the text is long,
    however many its ranges name, and ``number in ranges(text).get(incarnation, ())`` the logarithm.
    ``{}`` for an empty text, which names none. Raises ``MessageRefused`` as :func:`parse` does, but
    for the number of tickets: no range is too long.
    """
    spans: dict[int, list[tuple[int, int]]] = {}
    for group in text.split(" ") if text else ():
        before, _, listed = group.partition(":")
        spans.setdefault(_number(before), []).extend(map(_span, listed.split(",")))
    return {incarnation: TicketSet.of_spans(found) for incarnation, found in spans.items()}


def _span(text: str) -> tuple[int, int]:
    first, to, last = text.partition("-")
    low = _number(first)
    high = _number(last) if to else low
    if high < low:
        raise MessageRefused("tickets", f"the range {text[:60]!r} runs backwards")
    return low, high


def _number(text: str) -> int:
    if len(text) <= MAX_DIGITS and text.isascii() and text.isdigit() and text.strip("0"):
        return int(text)
    raise MessageRefused("tickets", f"{text[:60]!r} is not a number from 1, in digits")


def to_text(tickets: Iterable[Ticket]) -> str:
    """The shortest text that names these tickets, whatever their order, once each."""
    sets: dict[int, TicketSet] = {}
    for incarnation, number in tickets:
        sets.setdefault(incarnation, TicketSet()).add(number)
    return " ".join(f"{incarnation}:{sets[incarnation]}" for incarnation in sorted(sets))


class TicketSet:
    """A set of ticket numbers kept as intervals: small when the numbers are dense.

    Owner's thread only. ``add`` and ``in`` take O(log intervals), plus the shift of a short list.
    """

    __slots__ = ("_ends", "_starts")

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []  # inclusive; _ends[i] + 1 < _starts[i + 1]
        for number in numbers:
            self.add(number)

    @classmethod
    def of_spans(cls, spans: Iterable[tuple[int, int]]) -> TicketSet:
        """All numbers of these (first, last) spans, in any order, which may meet and overlap."""
        made = cls()
        starts, ends = made._starts, made._ends
        for low, high in sorted(spans):
            if ends and low <= ends[-1] + 1:
                ends[-1] = max(ends[-1], high)
            else:
                starts.append(low)
                ends.append(high)
        return made

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._starts, number) - 1
        return at >= 0 and number <= self._ends[at]

    def __len__(self) -> int:
        """How many intervals, which is what this set costs."""
        return len(self._starts)

    def __iter__(self) -> Iterator[int]:
        for start, end in zip(self._starts, self._ends, strict=True):
            yield from range(start, end + 1)

    def __str__(self) -> str:
        spans = zip(self._starts, self._ends, strict=True)
        return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)

    @property
    def spans(self) -> list[tuple[int, int]]:
        """The intervals, each with its first and its last number, in order."""
        return list(zip(self._starts, self._ends, strict=True))

    def add(self, number: int) -> None:
        """Put one number in; joins the intervals it closes the gap between."""
        starts, ends = self._starts, self._ends
        at = bisect_right(starts, number)  # the interval after the number
        if at and number <= ends[at - 1]:
            return
        meets_left = at > 0 and ends[at - 1] + 1 == number
        meets_right = at < len(starts) and starts[at] - 1 == number
        if meets_left and meets_right:
            ends[at - 1] = ends.pop(at)
            del starts[at]
        elif meets_left:
            ends[at - 1] = number
        elif meets_right:
            starts[at] = number
        else:
            starts.insert(at, number)
            ends.insert(at, number)

    def drop_up_to(self, number: int) -> None:
        """Take this number out, and all below it."""
        starts, ends = self._starts, self._ends
        gone = bisect_right(starts, number)  # how many intervals begin at or below it
        if gone and ends[gone - 1] > number:
            gone -= 1
            starts[gone] = number + 1
        del starts[:gone], ends[:gone]
