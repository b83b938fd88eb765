"""Uuids of requests: none twice, in no thread and in no forked child."""

from __future__ import annotations

import os
import threading
import uuid

import pytest

from executor.uuids import AT_ONCE, fresh


def test_a_uuid_is_random_and_says_so() -> None:
    found = uuid.UUID(fresh())
    assert found.version == 4
    assert found.variant == uuid.RFC_4122


def test_no_two_are_the_same_whichever_thread_draws_them() -> None:
    drawn: list[list[str]] = []

    def draw() -> None:
        drawn.append([fresh() for _ in range(20 * AT_ONCE)])

    threads = [threading.Thread(target=draw) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len({one for some in drawn for one in some}) == 8 * 20 * AT_ONCE


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_does_not_draw_what_its_parent_has_at_hand() -> None:
    fresh()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, " ".join(fresh() for _ in range(AT_ONCE)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 64 * 1024).decode().split()
    os.close(reading)
    os.close(writing)
    ours = [fresh() for _ in range(AT_ONCE)]
    assert len(theirs) == AT_ONCE
    assert not set(ours) & set(theirs)
