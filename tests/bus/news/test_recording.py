"""What is said on a bus, in a journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.news import Bus, Journal, follow, read, record
from bus.news.recording import MOST
from protocol.errors import BusError
from protocol.events import Ended, Opened, Progress
from protocol.history import Entry
from protocol.jobs import JobIssued, JobPlaced
from tests.bus.news.test_events import elsewhere


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "x.journal", "x", now=lambda: 1.0) as journal:
        yield journal


def lines(journal: Journal) -> list[Entry]:
    """What is in it, but for its opening."""
    found = [each for each in read(journal.path) if isinstance(each, Entry)]
    return [entry for entry in found if not isinstance(entry.event, Opened)]


def test_a_line_is_there_before_a_subscriber_is_called_with_the_time_of_its_publishing(
    journal: Journal,
) -> None:
    now = [100.0]
    bus = Bus(now=lambda: now[0])
    found: list[Entry] = []
    bus.subscribe(JobIssued, lambda event: found.extend(lines(journal)))
    record(bus, journal)
    elsewhere(lambda: bus.publish(JobIssued("j", "align", 1)))
    now[0] = 200.0
    bus.publish("no event")
    bus.publish(Progress("u", 0.5))
    assert found == [Entry(2, 100.0, JobIssued("j", "align", 1))]
    assert lines(journal)[1:] == [Entry(3, 200.0, Progress("u", 0.5))]


def test_grouped_lines_are_written_by_a_check_when_many_are_held_and_at_the_end(
    journal: Journal,
) -> None:
    bus = Bus()
    recording = record(bus, journal, grouped=True)
    bus.publish(JobIssued("j", "align", 1))
    assert lines(journal) == []
    bus.check()
    assert len(lines(journal)) == 1
    for number in range(MOST - 1):
        bus.publish(JobPlaced(1, str(number), "Slurm"))
    assert len(lines(journal)) == 1
    bus.publish(JobPlaced(1, "last", "Slurm"))
    assert len(lines(journal)) == MOST + 1
    bus.publish(JobPlaced(1, "more", "Slurm"))
    assert isinstance(elsewhere(recording.close), BusError)
    recording.close()
    recording.close()
    bus.publish(JobPlaced(1, "nobody listens", "Slurm"))
    assert len(lines(journal)) == MOST + 2


def test_what_is_no_json_costs_itself_alone(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    bus = Bus()
    record(bus, journal, grouped=True)
    bus.publish(Ended("u", "success", 1))
    bus.publish(Ended("v", "success", object()))
    bus.publish(Ended("w", "success", 2))
    bus.check()
    assert [entry.event.uuid for entry in lines(journal)] == ["u", "w"]  # type: ignore[union-attr]
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_a_journal_that_cannot_be_written_is_told_once(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    bus = Bus()
    record(bus, journal)
    journal.close()
    for number in range(3):
        bus.publish(JobIssued("j", "align", number))
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "is closed: open it anew" in caplog.text


def test_what_is_recorded_can_be_followed(journal: Journal) -> None:
    bus = Bus()
    record(bus, journal)
    pauses = iter([True, False])

    def pause() -> bool:
        bus.publish(JobPlaced(1, "4711", "Slurm"))
        return next(pauses)

    events = [each.event for each in follow(journal.path, pause) if isinstance(each, Entry)]
    assert events == [JobPlaced(1, "4711", "Slurm")]
