"""The door by which other threads reach the owner of a state."""

from __future__ import annotations

import threading
import time

from bus.wire import Mailbox

DEADLINE = 20.0  # seconds


def test_what_one_thread_puts_is_taken_in_that_order() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put(0)
    mailbox.put_all(range(1, 5))
    assert mailbox.take(0) == [0, 1, 2, 3, 4]


def test_an_empty_one_gives_nothing_at_once_or_at_the_deadline() -> None:
    mailbox: Mailbox[int] = Mailbox()
    assert mailbox.take(0) == []
    assert mailbox.take(-1.0) == []
    began = time.monotonic()
    assert mailbox.take(0.05) == []
    assert 0.04 < time.monotonic() - began < DEADLINE


def test_no_more_than_asked_for_is_taken_and_the_rest_stays() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put_all(range(5))
    assert mailbox.take(0, most=2) == [0, 1]
    assert mailbox.take(0, most=10) == [2, 3, 4]


def test_an_item_wakes_who_waits_without_end() -> None:
    mailbox: Mailbox[str] = Mailbox()
    taken: list[str] = []
    taker = threading.Thread(target=lambda: taken.extend(mailbox.take(None)))
    taker.start()
    mailbox.put("wake")
    taker.join(DEADLINE)
    assert taken == ["wake"]


def test_of_several_threads_each_keeps_its_own_order_and_nothing_is_lost() -> None:
    mailbox: Mailbox[tuple[int, int]] = Mailbox()
    putters = [
        threading.Thread(target=mailbox.put_all, args=([(who, n) for n in range(500)],))
        for who in range(4)
    ]
    for putter in putters:
        putter.start()
    items: list[tuple[int, int]] = []
    until = time.monotonic() + DEADLINE
    while len(items) < 2000 and time.monotonic() < until:
        items += mailbox.take(0.1)
    for putter in putters:
        putter.join(DEADLINE)
    for who in range(4):
        assert [n for owner, n in items if owner == who] == list(range(500))
