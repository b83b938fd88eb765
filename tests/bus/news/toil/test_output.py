"""A bus, written to a file as Toil writes it."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings

from bus.news import Bus, toil
from bus.news.toil.output import MOST
from protocol.jobs import JobIssued, JobStarted
from tests.bus.news.toil.samples import line_of, some_messages

ONE, TWO = toil.QueueSizeMessage(1), toil.QueueSizeMessage(2)


class Own(NamedTuple):
    words: str


class Unwritable(NamedTuple):
    things: list[str]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "messages"


def test_each_line_is_there_before_a_subscriber_is_called(path: Path) -> None:
    path.write_bytes(b"of a leader before\n")
    bus = Bus()
    found: list[bytes] = []
    bus.subscribe(toil.QueueSizeMessage, lambda message: found.append(path.read_bytes()))
    with toil.connect_output_file(bus, path):
        bus.publish(ONE)
        bus.publish(TWO)
    bus.publish(ONE)
    assert found[:2] == [line_of(ONE), line_of(ONE) + line_of(TWO)]
    assert path.read_bytes() == line_of(ONE) + line_of(TWO)


def test_our_events_are_written_as_toils_and_what_toil_has_no_word_for_is_not(path: Path) -> None:
    bus = Bus()
    with toil.connect_output_file(bus, path):
        for message in (JobIssued("j", "align", 1), JobStarted(1), "text", ("a",), Own("a\tb")):
            bus.publish(message)
        bus.publish(JobIssued("k", "align", 2))
    assert path.read_bytes() == (
        b"toil.bus.JobIssuedMessage\talign\tj\t1\n"
        b"tests.bus.news.toil.test_output.Own\ta\\tb\n"
        b"toil.bus.JobIssuedMessage\talign\tk\t2\n"
    )


def test_grouped_lines_are_written_by_a_check_when_many_are_held_and_at_the_end(
    path: Path,
) -> None:
    bus = Bus()
    with toil.connect_output_file(bus, path, grouped=True):
        bus.publish(ONE)
        assert path.read_bytes() == b""
        bus.check()
        assert path.read_bytes() == line_of(ONE)
        for _ in range(MOST):
            bus.publish(TWO)
        assert path.read_bytes() == line_of(ONE) + MOST * line_of(TWO)
        bus.publish(ONE)
    assert path.read_bytes().count(b"\n") == MOST + 2


@given(some_messages)
@settings(deadline=None, max_examples=50)
def test_grouped_or_not_the_file_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, messages: list[tuple[object, ...]]
) -> None:
    folder = tmp_path_factory.mktemp("output")
    bus = Bus()
    with (
        toil.connect_output_file(bus, folder / "one"),
        toil.connect_output_file(bus, folder / "two", grouped=True),
    ):
        for message in messages:
            bus.publish(message)
    wanted = b"".join(map(line_of, messages))
    assert (folder / "one").read_bytes() == (folder / "two").read_bytes() == wanted


@pytest.mark.parametrize("grouped", [False, True])
def test_a_message_that_cannot_be_written_costs_itself_alone(
    path: Path, caplog: pytest.LogCaptureFixture, grouped: bool
) -> None:
    bus = Bus()
    with toil.connect_output_file(bus, path, grouped=grouped):
        for message in (ONE, Unwritable([]), TWO):
            bus.publish(message)
    assert path.read_bytes() == line_of(ONE) + line_of(TWO)
    assert "Cannot store message argument of type <class 'list'>" in caplog.text


def test_a_full_disk_leaves_no_half_line_and_is_told_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A limit on the size of files, in the place of a disk."""
    bus = Bus()
    output = toil.connect_output_file(bus, path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    bus.publish(ONE)
    size = len(line_of(ONE))
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + size // 2, before[1]))
        for _ in range(3):
            bus.publish(TWO)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    bus.publish(ONE)
    output.close()
    assert path.read_bytes() == line_of(ONE) * 2
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "written again; 3 are missing" in caplog.text


def test_it_writes_to_a_descriptor_as_well_and_one_that_cannot_be_opened_is_an_error(
    tmp_path: Path,
) -> None:
    bus = Bus()
    reading, writing = os.pipe()
    output = toil.connect_output_file(bus, writing)
    bus.publish(ONE)
    output.close()
    with open(reading, "rb") as pipe:  # noqa: PTH123 - a descriptor
        assert pipe.read() == line_of(ONE)
    with pytest.raises(FileNotFoundError):
        toil.connect_output_file(bus, tmp_path / "nowhere" / "messages")
