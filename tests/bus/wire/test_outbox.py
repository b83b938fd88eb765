"""What waits to be sent: in order, and what gives way at the bound."""

from __future__ import annotations

import threading
import time

import pytest

from bus.wire import outbox
from bus.wire.outbox import Outbox
from protocol import messages
from protocol.envelope import HELD, NOTIFY, RECEIPT, REQUEST, RESPONSE, Envelope, Header
from protocol.messages import Response
from protocol.parcel import Parcel
from protocol.topology import Address

DEADLINE = 20.0  # seconds
TO = Address("", "queue")
NATIVE = Header(executor="ex", incarnation=1)


def native(kind: str, number: int = 0, size: int = 2) -> Parcel:
    """A message to a peer of ours."""
    return Parcel(TO, Envelope(kind, reply_to=str(number), header=NATIVE), b"x" * size)


def plain(kind: str, number: int = 0) -> Parcel:
    """The same to taskflow's."""
    return Parcel(TO, Envelope(kind, reply_to=str(number)), b"{}")


def running(header: Header | None = NATIVE) -> Parcel:
    """RUNNING."""
    return Parcel(TO, Envelope(RESPONSE, header=header), messages.encode(Response.running()))


def kinds(box: Outbox) -> list[str]:
    """What is in it, all of it."""
    items = box.take(0.0, most=10_000)
    return [item.envelope.kind for item in items if isinstance(item, Parcel)]


def test_what_is_put_is_taken_in_that_order_and_no_more_than_asked_for() -> None:
    box = Outbox()
    sent = [native(REQUEST, n) for n in range(5)]
    assert box.put(sent[:3]) == 0
    box.put(sent[3:])
    assert len(box) == 5
    assert box.take(0.0, most=2) == sent[:2]
    assert box.take(0.0, most=10) == sent[2:]
    assert box.take(0.0, most=10) == []


def test_who_waits_until_all_before_it_has_left_keeps_its_place() -> None:
    box = Outbox()
    mark = threading.Event()
    first, last = native(REQUEST, 1), native(REQUEST, 2)
    box.put([first])
    box.put([mark])
    box.put([last])
    assert box.take(0.0, most=10) == [first, mark, last]


def test_a_taker_that_waits_is_woken() -> None:
    box = Outbox()
    taken: list[outbox.Item] = []
    taker = threading.Thread(target=lambda: taken.extend(box.take(DEADLINE, most=10)))
    taker.start()
    parcel = native(REQUEST)
    box.put([parcel])
    taker.join(DEADLINE)
    assert taken == [parcel]


def test_running_waits_for_a_moment_and_then_goes_alone() -> None:
    box = Outbox()
    box.put([running()])
    began = time.monotonic()
    assert box.take(DEADLINE, most=10) == [running()]
    assert time.monotonic() - began >= outbox.LINGER


@pytest.mark.parametrize(
    "other",
    [native(RESPONSE), native(REQUEST), plain(RESPONSE), running(header=None), threading.Event()],
    ids=["an end", "a request", "to taskflow", "running, to taskflow", "who waits for a flush"],
)
def test_running_goes_with_whatever_comes_meanwhile(
    other: outbox.Item, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "LINGER", 10 * DEADLINE)
    box = Outbox()
    taken: list[outbox.Item] = []
    taker = threading.Thread(target=lambda: taken.extend(box.take(DEADLINE, most=10)))
    taker.start()
    box.put([running()])
    box.put([running()])
    box.put([other])
    taker.join(DEADLINE)
    assert taken == [running(), running(), other]


def test_running_that_waited_while_others_left_waits_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "LINGER", 10 * DEADLINE)
    box = Outbox()
    box.put([native(REQUEST), running()])
    assert box.take(0.0, most=1) == [native(REQUEST)]
    assert box.take(0.0, most=1) == [running()]


def test_large_messages_are_taken_few_at_once_but_one_at_least(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "MOST_BYTES_AT_ONCE", 10_000)
    box = Outbox()
    box.put([native(RESPONSE, size=50_000), *(native(RESPONSE, size=4_000) for _ in range(3))])
    assert [len(box.take(0.0, most=100)) for _ in range(4)] == [1, 2, 1, 0]


def test_at_the_bound_beats_give_way_first_the_oldest_first() -> None:
    box = Outbox(most=10)
    box.put([native(NOTIFY, 1), native(REQUEST, 2), native(HELD, 3), native(NOTIFY, 4)])
    box.put(native(RESPONSE, n) for n in range(6))
    assert box.dropped == 0
    assert box.put([native(RESPONSE, 6)]) == 2
    items = box.take(0.0, most=100)
    assert [item.envelope.kind for item in items if isinstance(item, Parcel)] == (
        [REQUEST, NOTIFY] + [RESPONSE] * 7
    )
    assert box.dropped == 2


def test_then_whatever_is_said_again_and_never_what_is_meant_for_taskflow() -> None:
    box = Outbox(most=10)
    box.put([plain(NOTIFY), native(RECEIPT), plain(REQUEST), native(REQUEST), native(NOTIFY)])
    box.put(plain(RESPONSE, n) for n in range(6))
    assert box.dropped == 2  # the beat, and the oldest of the others
    assert kinds(box) == [NOTIFY, REQUEST, REQUEST] + [RESPONSE] * 6


def test_where_nothing_may_give_way_nothing_does() -> None:
    box = Outbox(most=10)
    for n in range(100):
        box.put([plain(REQUEST, n)])
    assert box.dropped == 0
    assert len(box) == 100


def test_who_waits_is_never_dropped() -> None:
    box = Outbox(most=10)
    marks = [threading.Event() for _ in range(5)]
    for mark in marks:
        box.put([mark, *(native(NOTIFY) for _ in range(5))])
    assert [item for item in box.take(0.0, most=100) if item in marks] == marks
    assert box.dropped > 0


def test_bytes_are_bounded_as_well() -> None:
    box = Outbox(most=1_000, most_bytes=100_000)
    for n in range(500):
        box.put([native(RESPONSE, n, size=1_000)])
    items = [item for item in box.take(0.0, most=1_000) if isinstance(item, Parcel)]
    assert 50 <= len(items) <= 70
    numbers = [int(item.envelope.reply_to or 0) for item in items]
    assert numbers == sorted(numbers)
    assert numbers[-1] == 499  # the newest stay
    assert box.dropped == 500 - len(items)


def test_after_it_has_been_emptied_the_bound_is_where_it_was() -> None:
    box = Outbox(most=10)
    for _ in range(30):
        box.put([plain(REQUEST)])  # nothing gives way
    box.take(0.0, most=100)
    for n in range(12):
        box.put([native(RESPONSE, n)])
    assert len(box) <= 10
    assert box.dropped > 0


def test_at_the_real_bound_a_message_costs_little() -> None:
    """Half a million messages while the broker is away: seconds if each of them walked over all."""
    box = Outbox()
    beats, rest = native(NOTIFY), native(REQUEST)
    for _ in range(500):
        box.put([beats, rest] * 500)
    assert len(box) <= outbox.MOST_MESSAGES
    assert box.dropped >= 500_000 - outbox.MOST_MESSAGES
    assert set(kinds(box)) == {REQUEST}
