"""Files of Toil's, as entries and damage."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.news import Bus, Damage, Journal, read, record, toil
from protocol.errors import JournalError
from protocol.history import Entry, History
from protocol.jobs import JobIssued, QueueSize
from tests.bus.news.toil.samples import MESSAGES, line_of, some_messages

ONE, TWO = toil.QueueSizeMessage(1), toil.QueueSizeMessage(2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "messages"


def shown(found: Iterable[Entry | Damage]) -> list[Any]:
    """Number and event of entries; reason, place and length of damage."""
    return [
        (each.number, each.event)
        if isinstance(each, Entry)
        else (each.reason, each.offset, each.length)
        for each in found
    ]


def test_a_real_leaders_file_comes_to_its_jobs() -> None:
    history = History()
    for found in toil.read(MESSAGES):
        assert isinstance(found, Entry)
        assert math.isnan(found.stamp)
        history.apply(found)
    jobs = {job.job.split("/")[0]: job for job in history.jobs.by_name.values()}
    assert {name: job.state for name, job in jobs.items()} == {
        "kind-root": "FAILURE",
        "kind-leaf": "SUCCESS",
        "kind-doomed": "FAILURE",
    }
    doomed = jobs["kind-doomed"]
    assert [(each.batch_id, each.exit_code) for each in doomed.tries] == [(4, 1), (7, 1)]
    assert doomed.tries[1].system == "SingleMachineBatchSystem"
    assert doomed.tries[0].external_id != doomed.tries[1].external_id
    assert history.jobs.queue_size == 2


LINES: list[tuple[bytes, str | None]] = [
    (b"toil.bus.QueueSizeMessage\tmany\n", "line 2 cannot be read, invalid literal for int"),
    (b"toil.bus.QueueSizeMessage\tNone\n", "line 2 makes no sense: QueueSizeMessage(queue_size=N"),
    (b"toil.bus.QueueSizeMessage\n", "line 2 cannot be read, no tab: b'toil.bus"),
    (b"toil.bus.QueueSizeMessage\t1\t2\n", "line 2 cannot be read, Cannot parse ('queue_size',)"),
    (b"\xff\xfe\x00garbage\n", "line 2 cannot be read, no message of Toil's"),
    (b"garbage\n", "line 2 cannot be read, no message of Toil's: b'garbage'"),
    (b"toil.bus.JobMissingMessage\tx\\\n", "line 2 cannot be read"),
    (b"\n", None),
    (b"somebody.elses.Message\tx\n", None),
]


@pytest.mark.parametrize(("line", "words"), LINES)
def test_a_line_that_cannot_be_read_costs_itself_alone(
    path: Path, line: bytes, words: str | None
) -> None:
    path.write_bytes(line_of(ONE) + line + line_of(TWO))
    found = list(toil.read(path))
    damage = [each for each in found if isinstance(each, Damage)]
    events = [each for each in found if isinstance(each, Entry)]
    assert [(each.number, each.event) for each in events] == [(1, QueueSize(1)), (3, QueueSize(2))]
    assert len(damage) == (words is not None)
    if words is not None:
        assert str(damage[0]).startswith(f"{path}, byte {len(line_of(ONE))}: {words}")
        assert damage[0].length == len(line)


def test_a_last_line_without_an_end_is_torn_however_whole_it_looks(path: Path) -> None:
    path.write_bytes(line_of(ONE) + line_of(TWO)[:-1])
    size = len(line_of(ONE))
    assert shown(toil.read(path)) == [(1, QueueSize(1)), ("torn", size, size - 1)]


def test_what_a_second_writer_wrote_into_an_unfinished_line_is_found(path: Path) -> None:
    issued = toil.JobIssuedMessage("align", "j", 1)
    for cut in range(1, len(line_of(issued))):
        path.write_bytes(line_of(issued)[:cut] + line_of(TWO) + line_of(ONE))
        assert shown(toil.read(path)) == [(1, QueueSize(2)), (2, QueueSize(1))]


def test_the_last_lines(path: Path) -> None:
    path.write_bytes(line_of(ONE) + b"garbage\n" + line_of(TWO))
    assert shown(toil.tail(path, 2)) == [("bytes", len(line_of(ONE)), 8), (3, QueueSize(2))]
    assert toil.tail(path, 0) == []


def test_following_waits_for_what_is_being_written_and_notices_a_new_leader(path: Path) -> None:
    """Which empties the file, or replaces it."""
    issued = line_of(toil.JobIssuedMessage("align", "j", 1))

    def replace() -> None:
        path.with_name("new").write_bytes(issued)
        path.with_name("new").replace(path)

    steps = iter(
        [
            lambda: path.write_bytes(line_of(ONE) + line_of(TWO)[:-3]),
            lambda: None,
            lambda: path.write_bytes(line_of(ONE) + line_of(TWO)),
            lambda: path.write_bytes(issued),
            path.unlink,
            replace,
        ]
    )
    path.write_bytes(line_of(ONE))

    def pause() -> bool:
        step = next(steps, None)
        if step is not None:
            step()
        return step is not None

    found = shown(toil.follow(path, pause, last=5))
    event = JobIssued("j", "align", 1)
    assert found == [(1, QueueSize(1)), (2, QueueSize(2)), (1, event), (1, event)]


def test_whose_file_it_is_is_seen_at_its_beginning(path: Path, tmp_path: Path) -> None:
    assert toil.is_toil(MESSAGES)
    for content in (b"", b"garbage\n", b"no\ttabs before\n"):
        path.write_bytes(content)
        assert not toil.is_toil(path)
    for content in (b"toil.bus.Job", b"garbage\ntoil.bus.QueueSizeMessage\t1\n", b"my.Own\tx\n"):
        path.write_bytes(content)
        assert toil.is_toil(path)
    with Journal(tmp_path / "x.journal", "x") as journal:
        assert not toil.is_toil(journal.path)
    with pytest.raises(JournalError, match="cannot be read"):
        toil.is_toil(tmp_path / "nowhere")


@given(some_messages, st.data())
@settings(deadline=None, max_examples=60)
def test_any_cut_of_a_file_reads_as_a_beginning_of_it(
    tmp_path_factory: pytest.TempPathFactory, messages: list[Any], data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "cut"
    whole = b"".join(map(line_of, messages))
    path.write_bytes(whole)
    all_of_it = shown(toil.read(path))
    assert len(all_of_it) == len(messages)
    cut = data.draw(st.integers(0, len(whole)))
    os.truncate(path, cut)
    some = shown(toil.read(path))
    ends = whole[:cut].count(b"\n")
    assert some[:ends] == all_of_it[:ends]
    assert [each[0] for each in some[ends:]] == (
        [] if whole[:cut].endswith(b"\n") or not cut else ["torn"]
    )


@given(some_messages)
@settings(deadline=None, max_examples=60)
def test_a_file_of_toils_comes_to_what_a_journal_of_the_same_comes_to(
    tmp_path_factory: pytest.TempPathFactory, messages: list[Any]
) -> None:
    """But for the times."""
    folder = tmp_path_factory.mktemp("same")
    bus = Bus(now=lambda: 1.0)
    with (
        Journal(folder / "x.journal", "x") as journal,
        record(bus, journal),
        toil.connect_output_file(bus, folder / "messages"),
    ):
        for message in messages:
            bus.publish(toil.to_event(message))
    histories = []
    for found in (read(folder / "x.journal"), toil.read(folder / "messages")):
        history = History()
        for each in found:
            assert isinstance(each, Entry)
            history.apply(each._replace(stamp=0.0))
        histories.append(history.jobs)
    ours, theirs = histories
    assert ours.by_name == theirs.by_name
    assert (ours.queue_size, ours.clusters) == (theirs.queue_size, theirs.clusters)
