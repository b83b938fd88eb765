"""Who notices that a thread hangs."""

from __future__ import annotations

import os
import threading

import pytest

from bus.wire import Mailbox, deadlines
from bus.wire.watch import WATCH, Life, Watch
from tests.bus.wire.servers import until


class Patient:
    """Somebody who is looked after."""

    def __init__(self) -> None:
        self.looks = 0

    def look_after(self) -> None:
        """Count."""
        self.looks += 1


def test_a_thread_hangs_that_has_not_come_round_over_several_looks() -> None:
    life = Life()
    life.turns = 5
    assert [life.look() for _ in range(deadlines.LOOKS_IN_VAIN)] == [False] * 6
    assert life.is_late
    assert life.look()


def test_who_comes_round_however_seldom_does_not() -> None:
    """Also after the process was stopped for an hour: there were no looks meanwhile."""
    life = Life()
    for _ in range(20):
        life.turns += 1
        assert not any(life.look() for _ in range(deadlines.LOOKS_IN_VAIN - 1))
    life.turns += 1
    assert not life.look()
    assert not life.is_late


def test_looks_are_seldom_whoever_asks_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, patient = Watch(), Patient()
    watch.add(patient)
    for _ in range(10):
        watch.look()
    assert patient.looks == 1
    monkeypatch.setattr(deadlines, "LOOK", 0.0)
    watch._next = 0.0
    for _ in range(10):
        watch.look()
    assert patient.looks == 11
    watch.discard(patient)
    watch.look()
    assert patient.looks == 11


def test_who_waits_at_a_mailbox_looks_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "LOOK", 0.02)
    monkeypatch.setattr(WATCH, "_next", 0.0)
    patient = Patient()
    WATCH.add(patient)
    mailbox: Mailbox[str] = Mailbox()
    taker = threading.Thread(target=mailbox.take, args=(None,))
    taker.start()
    try:
        assert until(lambda: patient.looks > 3)
    finally:
        WATCH.discard(patient)
        mailbox.put("the end")
        taker.join(20.0)


def test_a_forked_child_looks_after_nobody() -> None:
    """Its parent's threads are not there, and would seem to hang."""
    patient = Patient()
    WATCH.add(patient)
    try:
        child = os.fork()
        if not child:
            os._exit(len(WATCH._watched))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert patient in WATCH._watched
    finally:
        WATCH.discard(patient)
