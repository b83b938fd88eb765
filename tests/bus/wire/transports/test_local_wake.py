"""Waking sleepers, and noticing that a peer is gone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.wire.transports.local.wake import Bell, Ringer


@pytest.fixture
def ringer(tmp_path: Path) -> Iterator[Ringer]:
    """A ringer in the folder of the bells."""
    ringer = Ringer(str(tmp_path))
    yield ringer
    ringer.close()


def test_a_ring_before_the_sleep_ends_it_at_once(tmp_path: Path, ringer: Ringer) -> None:
    """Many rings are one, and the next sleep is a real one."""
    bell = Bell(str(tmp_path), 1)
    ringer.ring([1, 1, 1])
    begun = time.monotonic()
    assert bell.wait(60) is False
    assert time.monotonic() - begun < 30
    begun = time.monotonic()
    bell.wait(0.02)
    assert time.monotonic() - begun >= 0.02
    bell.close()


def test_ringing_the_deaf_and_the_dead_is_fine(tmp_path: Path, ringer: Ringer) -> None:
    """A full FIFO means its reader is awake; a missing or abandoned one is none of our business."""
    bell = Bell(str(tmp_path), 1)
    for _ in range(70_000):
        ringer.ring([1])
    bell.ring_self()
    bell.close()
    ringer.ring([1, 2])
    ringer.forget([1, 2])


def test_the_end_of_a_watched_peer_ends_the_sleep(tmp_path: Path) -> None:
    """Once: it is not watched any more then."""
    bell, peer = Bell(str(tmp_path), 1), Bell(str(tmp_path), 2)
    bell.watch([2, 3])
    assert bell.wait(0) is False
    peer.close()
    assert bell.wait(10) is True
    assert bell.wait(0) is False
    bell.close()


def test_a_fifo_left_behind_is_replaced(tmp_path: Path) -> None:
    """Its process was killed before anybody could know its id."""
    left = Bell(str(tmp_path), 1)
    bell = Bell(str(tmp_path), 1)
    bell.close()
    left.close()
    assert list(tmp_path.iterdir()) == []


def test_who_has_gone_costs_no_descriptor_once_another_comes(
    tmp_path: Path, ringer: Ringer
) -> None:
    """A connection that only publishes hears of nobody's death; a worker a minute adds up."""
    before = len(list(Path("/dev/fd").iterdir()))
    for owner in range(1, 30):
        bell = Bell(str(tmp_path), owner)
        ringer.ring([owner])
        bell.close()
    assert len(list(Path("/dev/fd").iterdir())) <= before + 1
    bell = Bell(str(tmp_path), 99)
    ringer.ring([99])
    began = time.monotonic()
    bell.wait(60)  # the living is rung all the same
    assert time.monotonic() - began < 30
    bell.close()
