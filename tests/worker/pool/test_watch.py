"""What the pool's thread is told of hosts, and of nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.samples.inbox import DEADLINE, work
from worker.pool.seat import Seat
from worker.pool.watch import Happening, Watch

TASKS = "tests.samples.tasks"


@pytest.fixture
def wake() -> Iterator[tuple[int, int]]:
    """The pipe that is written to when there are notes."""
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


@pytest.fixture
def watch(wake: tuple[int, int]) -> Iterator[Watch]:
    """A watch over that pipe."""
    watch = Watch(wake[0])
    yield watch
    watch.close()


@pytest.fixture
def seat() -> Iterator[Seat]:
    """A host that loads something."""
    seat = Seat(0)
    seat.start([f"{TASKS}:add"])
    yield seat
    if seat.process is not None:
        seat.kill(0.0)
        seat.clear()


def wait_for(watch: Watch, happening: Happening, seat: Seat | None) -> None:
    """Wait until it is told of this; what else there is to read is read on the way."""
    for _ in range(100):
        for told, about in watch.wait(DEADLINE):
            if (told, about) == (happening, seat):
                return
            if about is not None:
                about.hear()
                about.read()
    raise AssertionError(f"{happening} was never told")


def test_a_byte_in_the_pipe_means_notes(watch: Watch, wake: tuple[int, int]) -> None:
    assert list(watch.wait(0.0)) == []
    os.write(wake[1], b"!")
    assert list(watch.wait(float("inf"))) == [("notes", None)]


def test_a_host_that_says_something_is_told(watch: Watch, seat: Seat) -> None:
    watch.add(seat)
    wait_for(watch, "rings", seat)


def test_room_in_the_pipe_is_told_only_while_there_is_something_to_write(
    watch: Watch, seat: Seat
) -> None:
    watch.add(seat)
    wait_for(watch, "rings", seat)
    seat.run([work(1, f"{TASKS}.add", "x" * 3_000_000, "y")], 0.0)
    watch.see_to(seat)
    while seat.has_outgoing:
        wait_for(watch, "writable", seat)
        seat.flush()
    watch.see_to(seat)
    assert ("writable", seat) not in list(watch.wait(0.0))


def test_the_end_of_a_process_is_told_until_it_is_dropped(watch: Watch, seat: Seat) -> None:
    watch.add(seat)
    assert watch.tells_end_of(seat)
    watch.drop_pipe(seat)
    seat.kill(0.0)
    wait_for(watch, "ended", seat)
    watch.drop(seat)
    watch.drop(seat)
    assert list(watch.wait(0.0)) == []
    assert not watch.tells_end_of(seat)


def test_without_descriptors_of_processes_somebody_has_to_look(
    watch: Watch, seat: Seat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    watch.add(seat)
    assert not watch.tells_end_of(seat)
    wait_for(watch, "rings", seat)
