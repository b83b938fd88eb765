"""Toil's bus under its own names. What both buses have is tested in ``test_events``."""

from __future__ import annotations

import gc
import io
import threading
from pathlib import Path
from typing import NamedTuple

import pytest

from bus.news.toil import (
    JobIssuedMessage,
    MessageBus,
    MessageBusConnection,
    MessageInbox,
    MessageOutbox,
    QueueSizeMessage,
)
from tests.bus.news.test_events import elsewhere
from tests.bus.news.toil.samples import MESSAGES, line_of

ONE, TWO = QueueSizeMessage(1), QueueSizeMessage(2)


class Truth(NamedTuple):
    is_so: bool


def test_messages_from_other_threads_reach_handler_and_inbox_on_the_buss_own() -> None:
    bus = MessageBus()
    threads: list[threading.Thread] = []
    bus.subscribe(QueueSizeMessage, lambda message: threads.append(threading.current_thread()))
    gc.collect()  # nobody refers to the subscription
    box = bus.connect([QueueSizeMessage])
    bus.publish(ONE)
    assert elsewhere(lambda: bus.publish(TWO)) is None
    assert elsewhere(bus.check) is None
    assert len(threads) == 1
    assert box.count(QueueSizeMessage) == 2
    assert threads == [threading.current_thread()] * 2


def test_an_inbox_may_be_read_on_another_thread_where_it_does_not_deliver() -> None:
    bus = MessageBus()
    box = bus.connect([QueueSizeMessage])
    bus.publish(ONE)
    counted: list[int] = []

    def read() -> None:
        bus.publish(TWO)
        counted.append(box.count(QueueSizeMessage))

    assert elsewhere(read) is None
    assert counted == [1]
    assert not box.empty()
    assert list(box.for_each(QueueSizeMessage)) == [ONE, TWO]
    assert box.empty()


def test_unconnected_and_of_other_types_they_say_so() -> None:
    with pytest.raises(RuntimeError, match="Cannot receive message when not connected to a bus"):
        MessageInbox().empty()
    with pytest.raises(RuntimeError, match="Cannot send message when not connected to a bus"):
        MessageOutbox().publish(ONE)
    with pytest.raises(RuntimeError):
        list(MessageBusConnection().for_each(QueueSizeMessage))
    box = MessageBus().connect([QueueSizeMessage])
    with pytest.raises(KeyError):
        box.count(JobIssuedMessage)


def test_an_outbox_and_a_connection_publish() -> None:
    bus = MessageBus()
    box = bus.connect([QueueSizeMessage])
    box.publish(ONE)
    bus.outbox().publish(TWO)
    assert box.count(QueueSizeMessage) == 2


def test_an_inbox_that_nobody_has_any_more_gathers_no_more() -> None:
    bus = MessageBus()
    box = bus.connect([QueueSizeMessage])
    inner = box._box
    assert inner is not None
    kept = inner._boxes[QueueSizeMessage]
    del box, inner
    gc.collect()
    bus.publish(ONE)
    assert not kept


@pytest.mark.parametrize("grouped", [False, True])
def test_a_file_is_written_as_long_as_somebody_refers_to_what_was_returned(
    tmp_path: Path, grouped: bool
) -> None:
    bus = MessageBus()
    path = tmp_path / "messages"
    output = bus.connect_output_file(str(path), grouped=grouped)
    bus.publish(ONE)
    bus.publish(Truth(False))
    assert path.read_bytes().startswith(b"" if grouped else line_of(ONE))
    del output
    gc.collect()
    bus.publish(TWO)
    bus.check()
    assert not bus.bus.is_heard
    assert path.read_bytes() == line_of(ONE) + b"tests.bus.news.toil.test_leader.Truth\tFalse\n"
    with path.open("rb") as stream:
        assert list(MessageBus.scan_bus_messages(stream, [Truth])) == [Truth(False)]


class Trickle(io.RawIOBase):
    """Gives a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._rest = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._rest.read(3)


def test_a_scan_is_the_same_however_the_file_gives_its_bytes() -> None:
    data = MESSAGES.read_bytes()
    whole, trickled = (
        list(MessageBus.scan_bus_messages(stream, [JobIssuedMessage, QueueSizeMessage]))  # type: ignore[arg-type]
        for stream in (io.BytesIO(data), Trickle(data + b"toil.bus.QueueSizeMessage\t7"))
    )
    assert trickled == whole
    assert len(whole) == 16


def test_a_scan_finds_the_types_it_is_asked_for_and_passes_over_what_cannot_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with MESSAGES.open("rb") as stream:
        issued = list(MessageBus.scan_bus_messages(stream, [JobIssuedMessage]))
    assert [message.toil_batch_id for message in issued] == list(range(1, 9))
    path = tmp_path / "messages"
    path.write_bytes(b"toil.bus.QueueSizeMessage\tmany\n" + line_of(ONE) + line_of(TWO)[:-1])
    with path.open("rb") as stream:
        assert list(MessageBus.scan_bus_messages(stream, [QueueSizeMessage])) == [ONE]
    assert "a message was passed over" in caplog.text
