"""The one writer: what is safe when, what is found again, what is refused."""

from __future__ import annotations

import errno
import logging
import os
import random
import re
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.news import Damage, Journal, holder, read
from bus.news import journal as journal_room
from bus.news import segment as segment_room
from bus.news.line import Header, header_bytes, to_header
from protocol.errors import JournalError, JournalLocked, ValueRefused
from protocol.events import Cancelled, Closed, Ended, Event, Opened, Running
from protocol.history import Entry, History
from tests.bus.news.writing import (
    a_life,
    dispatched,
    entries,
    file_of,
    line_of,
    resealed,
    submitted,
)
from tests.protocol.happened import some_events


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.journal"


def events_in(path: Path) -> list[Event]:
    """All that are there, which are numbered without a gap, and nothing damaged.

    Without identities, which are drawn.
    """
    found = list(read(path))
    assert [each for each in found if isinstance(each, Damage)] == []
    read_entries = [each for each in found if isinstance(each, Entry)]
    assert [each.number for each in read_entries] == list(range(1, len(read_entries) + 1))
    events = [each.event for each in read_entries]
    return [replace(each, identity=None) if isinstance(each, Opened) else each for each in events]


def _event(found: Entry | Damage) -> Event | None:
    return found.event if isinstance(found, Entry) else None


def folded(path: Path) -> History:
    history = History()
    for each in read(path):
        if isinstance(each, Entry):
            history.apply(each)
    return history


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestLife:
    """Begun, written, closed, opened again."""

    def test_it_is_begun_with_its_folder_and_nobody_else_may_read_it(self, tmp_path: Path) -> None:
        path = tmp_path / "deep" / "in" / "x.journal"
        with Journal(path, "x") as journal:
            assert (journal.incarnation, journal.damage, journal.open_requests) == (1, [], [])
            assert events_in(path) == [Opened("x", 1)]
            found = holder(path)
            assert found is not None
            assert found.pid == os.getpid()
        assert events_in(path) == [Opened("x", 1), Closed()]
        assert holder(path) is None
        assert mode_of(path.parent) == 0o700
        assert {mode_of(each) for each in path.parent.iterdir()} == {0o600}
        assert {each.name for each in path.parent.iterdir()} == {"x.journal", "x.journal.lock"}

    @pytest.mark.parametrize("umask", [0o000, 0o777])
    def test_the_umask_does_not_matter(self, path: Path, umask: int) -> None:
        before = os.umask(umask)
        try:
            with Journal(path, "x", segment_bytes=1) as journal:
                for number in range(10):
                    journal.append(a_life(f"u{number}"))
        finally:
            os.umask(before)
        assert len(list(path.parent.iterdir())) > 2
        assert {mode_of(each) for each in path.parent.iterdir()} == {0o600}

    def test_what_was_open_is_found_again_with_one_more_incarnation(self, path: Path) -> None:
        """Killed or closed in order."""
        with Journal(path, "x", now=lambda: 1.5) as journal:
            journal.append([*a_life("u"), submitted("v"), dispatched("v"), submitted("w")])
            journal.append([Running("v", 1), Cancelled("w")])
        expected = list(folded(path).open_requests())
        with Journal(path, "x") as journal:
            assert journal.incarnation == 2
            assert journal.open_requests == expected
            assert [each.state for each in expected] == ["RUNNING", "CANCELLED"]
            assert expected[0].stamp == 1.5
        assert [type(each).word for each in events_in(path)][-4:] == [
            *("cancelled", "closed"),
            *("opened", "closed"),
        ]

    def test_a_file_that_is_empty_becomes_one(self, path: Path) -> None:
        """Somebody has asked for a name to be there."""
        path.touch()
        Journal(path, "x").close()
        assert events_in(path) == [Opened("x", 1), Closed()]

    def test_closing_twice_is_fine_and_then_nothing_is_written_or_found(self, path: Path) -> None:
        journal = Journal(path, "x")
        journal.close()
        journal.close()
        for use in (
            lambda: journal.append([submitted("u")]),
            lambda: journal.find("u"),
            lambda: journal.find_key("k"),
        ):
            with pytest.raises(JournalError, match="is closed: open it anew"):
                use()

    def test_one_writer_at_a_time(self, path: Path) -> None:
        with Journal(path, "x"), pytest.raises(JournalLocked, match="this very one"):
            Journal(path, "x")
        Journal(path, "x").close()

    def test_a_link_leads_to_it_and_stays_one(self, path: Path) -> None:
        """Under both names it is the same journal, with one lock."""
        link = path.with_name("link")
        link.symlink_to(path)
        with Journal(link, "x", segment_bytes=500) as journal:
            with pytest.raises(JournalLocked):
                Journal(path, "x")
            for number in range(5):
                journal.append(a_life(f"u{number}"))
        assert link.is_symlink()
        assert path.with_name("x.journal.1").exists()
        assert [each.name for each in path.parent.iterdir() if each.name.startswith("link")] == [
            "link"
        ]


class TestAppend:
    """Written when it returns."""

    def test_all_of_it_is_in_one_piece_in_its_order(self, path: Path) -> None:
        """And nothing is nothing."""
        with Journal(path, "x") as journal:
            journal.append([])
            journal.append(tuple(a_life("u")))
            assert events_in(path) == [Opened("x", 1), *a_life("u")]

    def test_any_thread_may_write(self, path: Path) -> None:
        """What was appended together stays together."""
        with Journal(path, "x", segment_bytes=20_000) as journal:

            def write(name: str) -> None:
                for number in range(50):
                    journal.append(a_life(f"{name}{number}"))

            threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            newest = [each for each in read(path, older=False) if isinstance(each, Entry)]
            about = [getattr(each.event, "uuid", None) for each in newest]
            uuids = list(dict.fromkeys(each for each in about if each))
            assert [each for each in about if each] == [u for u in uuids for _ in range(4)]
            assert all(journal.find(f"{name}{number}") for name in "abcd" for number in (40, 49))

    def test_fsync_is_for_every_append_and_else_for_what_opens_and_closes(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced: list[int] = []
        monkeypatch.setattr(segment_room, "sync", synced.append)
        with Journal(path, "x") as journal:
            journal.append([submitted("u")])
            assert len(synced) == 1
        assert len(synced) == 2
        with Journal(path, "x", fsync=True) as journal:
            journal.append([submitted("v")])
            journal.append(a_life("w"))
            assert len(synced) == 5

    def test_what_is_no_json_is_refused_and_nothing_of_it_is_written(self, path: Path) -> None:
        with Journal(path, "x") as journal:
            with pytest.raises(ValueRefused):
                journal.append([submitted("u"), Ended("u", "success", {1, 2})])
            assert events_in(path) == [Opened("x", 1)]

    def test_a_line_that_would_be_too_long_is_refused(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It could not be read again."""
        monkeypatch.setattr(journal_room, "MAX_LINE", 1000)
        with Journal(path, "x") as journal:
            with pytest.raises(JournalError, match="no line of more than 1000 bytes") as caught:
                journal.append([submitted("u"), Ended("u", "success", "x" * 2000)])
            assert "pass what is large by name" in str(caught.value)
            journal.append([submitted("v")])
            assert events_in(path) == [Opened("x", 1), submitted("v")]

    def test_a_full_disk_costs_nothing_but_what_was_to_be_written(self, path: Path) -> None:
        """The next append works when there is room."""
        with Journal(path, "x") as journal:
            journal.append([submitted("u")])
            size = path.stat().st_size
            with file_size_limit(size + 150):
                for _ in range(2):
                    with pytest.raises(JournalError, match="cannot be written: File too large"):
                        journal.append([submitted("v"), submitted("w")])
                    assert path.stat().st_size == size
            assert journal.find("v") is None
            journal.append([submitted("w")])
            assert events_in(path) == [Opened("x", 1), submitted("u"), submitted("w")]

    def test_a_disk_that_is_full_and_failing_is_mended_by_the_next_append(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What could not be cut off at once is cut off before anything else is written."""
        with Journal(path, "x") as journal:
            size = path.stat().st_size
            with monkeypatch.context() as patch:
                patch.setattr(os, "ftruncate", fail(errno.EIO))
                with (
                    file_size_limit(size + 150),
                    pytest.raises(JournalError, match="File too large"),
                ):
                    journal.append([submitted("v"), submitted("w")])
                assert path.stat().st_size == size + 150
                with pytest.raises(JournalError, match="cannot be mended after a write that"):
                    journal.append([submitted("w")])
            journal.append([submitted("w")])
            assert events_in(path) == [Opened("x", 1), submitted("w")]

    def test_a_line_that_cannot_be_synced_does_not_count(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Journal(path, "x", fsync=True) as journal:
            with monkeypatch.context() as patch:
                patch.setattr(segment_room, "sync", fail(errno.EIO))
                with pytest.raises(JournalError, match="the disk may be failing"):
                    journal.append([submitted("v")])
            assert events_in(path) == [Opened("x", 1)]

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_an_interrupt_in_the_middle_leaves_it_whole(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, when: str
    ) -> None:
        """Ctrl-C in a caller's thread: its line is there or not, and all goes on."""
        with Journal(path, "x") as journal:
            journal.append([submitted("u")])
            append = segment_room.Segment.append

            def interrupted(self: segment_room.Segment, data: bytes, *, synced: bool) -> None:
                if when == "after":
                    append(self, data, synced=synced)
                raise KeyboardInterrupt

            with monkeypatch.context() as patch:
                patch.setattr(segment_room.Segment, "append", interrupted)
                with pytest.raises(KeyboardInterrupt):
                    journal.append([submitted("v")])
            journal.append([submitted("w")])
            expected = [submitted("v")] if when == "after" else []
            assert events_in(path) == [
                *(Opened("x", 1), submitted("u")),
                *(*expected, submitted("w")),
            ]
            assert (journal.find("v") is not None) is bool(expected)
            assert journal.find("w") is not None

    def test_a_forked_child_may_not_write(self, path: Path) -> None:
        """Nor close it for its parent."""
        with Journal(path, "x") as journal:
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                try:
                    journal.append([submitted("u")])
                except JournalError as error:
                    os.write(writing, str(error).encode())
                journal.close()
                os._exit(0)
            os.waitpid(child, 0)
            os.close(writing)
            said = os.read(reading, 1000).decode()
            os.close(reading)
            assert f"belongs to process {os.getpid()}, and this one was forked from it" in said
            with pytest.raises(JournalLocked):
                Journal(path, "x")
            journal.append([submitted("v")])
            assert events_in(path) == [Opened("x", 1), submitted("v")]


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file may grow beyond it: the system's own way to run out of room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fail(number: int) -> Callable[..., None]:
    """A call of the system's that fails."""

    def failing(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return failing


class TestFind:
    """Any request whose lines are kept."""

    def test_open_and_ended_ones_with_their_values(self, path: Path) -> None:
        with Journal(path, "x") as journal:
            journal.append([*a_life("u"), submitted("v"), dispatched("v")])
            found = journal.find("u")
            assert found is not None
            assert found.state == "SUCCESS"
            assert found.ended == Ended("u", "success", {"of": "u"}, "hare")
            assert [found, journal.find("v")] == list(folded(path).requests.values())
            assert journal.find("nobody") is None

    def test_by_key(self, path: Path) -> None:
        """The newest of that key, before and after it was opened again."""
        with Journal(path, "x") as journal:
            journal.append([*a_life("u", "k"), submitted("v", "l"), *a_life("w", "k")])
            assert [journal.find_key(key) for key in ("k", "l", "m")] == ["w", "v", None]
        with Journal(path, "x") as journal:
            assert [journal.find_key(key) for key in ("k", "l", "m")] == ["w", "v", None]

    def test_it_is_known_of_which_incarnations_all_is_kept(self, path: Path) -> None:
        """Of those that were opened within the files that are there, and in no other."""
        for _ in range(3):
            with Journal(path, "x", segment_bytes=2000) as journal:
                assert journal.incarnation < 3 or journal.keeps_all_of(1)
                journal.append([submitted(f"u{journal.incarnation}")])
                assert journal.keeps_all_of(journal.incarnation)
        with Journal(path, "x", segment_bytes=2000) as journal:
            assert not journal.keeps_all_of(0)
            for n in range(200):
                journal.append(a_life(f"v{n}"))
            assert not any(journal.keeps_all_of(n) for n in range(1, 5))
            assert journal.find("v0") is None
        with Journal(path, "x", segment_bytes=2000) as journal:
            assert [n for n in range(6) if journal.keeps_all_of(n)] == [5]

    def test_of_what_is_damaged_not_all_is_kept(self, path: Path) -> None:
        with Journal(path, "x") as journal:
            journal.append([submitted("u"), submitted("v")])
        data = path.read_bytes()
        path.write_bytes(data.replace(b'"uuid":"u"', b'"uuid":"w"'))
        with Journal(path, "x") as journal:
            assert journal.damage
            assert not journal.keeps_all_of(1)
            assert not journal.keeps_all_of(journal.incarnation)

    def test_a_key_of_any_text_is_found(self, path: Path) -> None:
        keys = ["", "thumbnail ä.png", '","key":"', "\ud800\n", "x" * 10_000]
        with Journal(path, "x") as journal:
            for key in keys:
                journal.append(a_life(f"uuid of {key}"[:30], key))
        with Journal(path, "x") as journal:
            for key in keys:
                assert journal.find_key(key) == f"uuid of {key}"[:30]

    def test_a_line_that_has_changed_on_the_disk_is_left_out(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """While it was open, behind its back."""
        with Journal(path, "x") as journal:
            journal.append(a_life("u"))
            data = path.read_bytes()
            path.write_bytes(data.replace(b'"of":"u"', b'"of":"v"'))
            found = journal.find("u")
            assert found is not None
            assert found.ended is None
            assert "cannot be read back, it has changed on the disk" in caplog.text


class TestDamage:
    """What opening one finds, and survives."""

    def test_a_torn_end_is_told_cut_off_and_written_over_by_a_clean_line(self, path: Path) -> None:
        whole = file_of([Opened("x", 1), *a_life("u"), submitted("v")])
        torn = line_of(Entry(7, 107.0, dispatched("v")))[:-20]
        path.write_bytes(whole + torn)
        with Journal(path, "x") as journal:
            assert journal.damage == [
                f"{path}, byte {len(whole)}: the last {len(torn)} bytes are no whole line: {torn!r}"
            ]
            assert [each.submitted.uuid for each in journal.open_requests] == ["v"]
            journal.append([dispatched("v")])
        assert path.read_bytes().startswith(whole)
        assert [each.number for each in read(path) if isinstance(each, Entry)] == [*range(1, 10)]
        assert events_in(path)[6:] == [Opened("x", 3), dispatched("v"), Closed()]

    def test_a_last_line_that_lacks_only_its_end_counts(self, path: Path) -> None:
        path.write_bytes(file_of([Opened("x", 1), submitted("v")])[:-1])
        with Journal(path, "x") as journal:
            assert journal.damage == []
            assert [each.submitted.uuid for each in journal.open_requests] == ["v"]
        assert events_in(path) == [Opened("x", 1), submitted("v"), Opened("x", 2), Closed()]

    def test_damage_in_the_middle_is_told_and_left_as_it_is(self, path: Path) -> None:
        events = [Opened("x", 1), *a_life("u"), *a_life("v"), submitted("w")]
        data = file_of(events)
        at = data.index(b'"of":"u"')
        damaged = data[:at] + b"\0" * 5 + data[at + 5 :]
        path.write_bytes(damaged)
        with Journal(path, "x") as journal:
            assert len(journal.damage) == 1
            assert "damaged bytes were passed over (line 5 is lost)" in journal.damage[0]
            assert [each.submitted.uuid for each in journal.open_requests] == ["u", "w"]
            assert journal.incarnation == 3  # the lost line may have opened one
        assert path.read_bytes().startswith(damaged)

    def test_a_lost_line_that_opened_an_incarnation_does_not_bring_it_back(
        self, path: Path
    ) -> None:
        """Tickets have its number, and no ticket may be given twice."""
        for incarnation in (1, 2, 3):
            with Journal(path, "x") as journal:
                assert journal.incarnation == incarnation
        data = path.read_bytes()
        path.write_bytes(data.replace(b'"incarnation":3,"c"', b'"incarnation":0,"c"'))
        with Journal(path, "x") as journal:
            assert journal.incarnation == 4

    def test_what_does_not_fit_is_told_with_what_is_open(self, path: Path) -> None:
        later = line_of(Entry(3, 1.0, dispatched("u"))).replace(b'"dispatched"', b'"paused"')
        senseless = line_of(Entry(4, 1.0, dispatched("u"))).replace(
            b'"attempt":1', b'"attempt":"1"'
        )
        path.write_bytes(
            file_of([Opened("x", 1), submitted("u")])
            + resealed(later)
            + resealed(senseless)
            + line_of(Entry(5, 1.0, Running("u", 1)))
        )
        with Journal(path, "x") as journal:
            assert [each.state for each in journal.open_requests] == ["WAITING"]
            assert [each.rpartition(": ")[2] for each in journal.damage] == [
                "'paused' is no event that is known here",
                "attempt cannot be '1'",
                "request u has no attempt 1",
            ]

    def test_a_damaged_header_is_survived(self, path: Path) -> None:
        path.write_bytes(
            file_of([Opened("x", 7), submitted("u")]).replace(b'"first":1', b'"first":9')
        )
        with Journal(path, "x") as journal:
            assert journal.incarnation == 9
            assert len(journal.damage) == 1
            journal.append([submitted("v")])
            assert len(list(read(path))) == 5

    def test_a_hundred_megabytes_of_nothing_are_passed_over(self, path: Path) -> None:
        """A hole in the file, as a file system may leave it."""
        whole = file_of([Opened("x", 1), submitted("u")])
        with path.open("wb") as file:
            file.write(whole)
            file.seek(100 * 2**20, os.SEEK_CUR)
            file.write(b"\n" + line_of(Entry(3, 1.0, submitted("v"))))
        with Journal(path, "x") as journal:
            assert [each.submitted.uuid for each in journal.open_requests] == ["u", "v"]
            assert f"{100 * 2**20 + 1} damaged bytes were passed over" in journal.damage[0]


class TestIdentity:
    """Whoever opens a journal is who opened it before, and nobody else is."""

    def test_two_of_one_name_are_two(self, tmp_path: Path) -> None:
        with Journal(tmp_path / "a", "x") as one, Journal(tmp_path / "b", "x") as other:
            assert one.identity != other.identity
            for each in (one, other):
                assert re.fullmatch(r"x\.[0-9a-f]{8}", each.identity)

    def test_a_long_name_leaves_room_for_chance(self, path: Path) -> None:
        with Journal(path, "n" * 64) as journal:
            assert re.fullmatch(r"n{55}\.[0-9a-f]{8}", journal.identity)

    def test_it_is_the_same_each_time(self, path: Path) -> None:
        with Journal(path, "x") as journal:
            begun = journal.identity
        for incarnation in (2, 3):
            with Journal(path, "x") as journal:
                assert (journal.identity, journal.incarnation) == (begun, incarnation)
        opened = [each for each in map(_event, read(path)) if isinstance(each, Opened)]
        assert [each.identity for each in opened] == [begun] * 3

    def test_it_goes_along_into_each_file(self, path: Path) -> None:
        with Journal(path, "x", segment_bytes=2000) as journal:
            begun = journal.identity
            for number in range(40):
                journal.append(a_life(f"u{number}"))
        names = [path, *(path.with_name(f"{path.name}.{age}") for age in (1, 2, 3, 4))]
        heads = [to_header(each.read_bytes().split(b"\n")[0]) for each in names]
        assert [head and head.identity for head in heads] == [begun] * 5
        with Journal(path, "x") as journal:
            assert journal.identity == begun

    def test_of_a_journal_from_before_there_were_any_it_is_the_name(self, path: Path) -> None:
        path.write_bytes(file_of([Opened("x", 1), submitted("u")]))
        for _ in range(2):
            with Journal(path, "x", segment_bytes=2000) as journal:
                assert journal.identity == "x"
                while not path.with_name("x.journal.1").exists():
                    journal.append(a_life(str(uuid.uuid4())))

    def test_a_journal_that_was_begun_and_never_opened_from_before_has_the_name(
        self, path: Path
    ) -> None:
        path.write_bytes(file_of([]))
        with Journal(path, "x") as journal:
            assert journal.identity == "x"

    def test_a_damaged_header_does_not_change_it(self, path: Path) -> None:
        """The line of who opened it last says it as well."""
        with Journal(path, "x") as journal:
            begun = journal.identity
        path.write_bytes(path.read_bytes().replace(b'"journal"', b'"journey"', 1))
        with Journal(path, "x") as journal:
            assert journal.damage
            assert journal.identity == begun

    def test_where_nothing_that_says_it_can_be_read_it_is_drawn_anew(self, path: Path) -> None:
        with Journal(path, "x") as journal:
            begun = journal.identity
            journal.append([submitted("u")])
        damaged = path.read_bytes().replace(b'"executor":"x"', b'"executor":"y"')
        path.write_bytes(damaged)
        with Journal(path, "x") as journal:
            assert journal.identity not in (begun, "x")
            drawn = journal.identity
        with Journal(path, "x") as journal:
            assert journal.identity == drawn

    def test_a_file_that_was_emptied_is_another_journal(self, path: Path) -> None:
        with Journal(path, "x") as journal:
            begun = journal.identity
        path.write_bytes(b"")
        with Journal(path, "x") as journal:
            assert journal.identity != begun


class TestRefused:
    """What is no journal of ours is left as it is."""

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (b"Dear diary,\n", "is no journal, and was left as it is: name another"),
            (b"\0" * 20_000_000, "is no journal, and was left as it is"),
            (
                header_bytes(Header("x", 0, 1, 0, 1.0, version="2.0")) + b"?",
                "is a journal of version 2.0, and this Taskline reads version 1: use the newer",
            ),
            (
                file_of([Opened("other", 3)], "other") + b"torn",
                "is executor other's, and this one is called x: .* call it other, or name another",
            ),
        ],
        ids=["text", "zeros", "newer version", "other executor"],
    )
    def test_a_file_of_something_else(self, path: Path, content: bytes, told: str) -> None:
        path.write_bytes(content)
        for _ in range(2):
            with pytest.raises(JournalError, match=told):
                Journal(path, "x")
        assert path.read_bytes() == content
        assert holder(path) is None

    def test_a_folder_a_pipe_and_a_file_for_a_folder(self, path: Path) -> None:
        with pytest.raises(JournalError, match="is a folder: name a file in it"):
            Journal(path.parent, "x")
        os.mkfifo(path)
        with pytest.raises(JournalError, match="that is no file"):
            Journal(path, "x")
        path.with_name("file").touch()
        with pytest.raises(JournalError, match="name a file in a folder"):
            Journal(path.with_name("file") / "x.journal", "x")
        with pytest.raises(JournalError, match="no journal can be called"):
            Journal("a\0b", "x")
        ring = path.with_name("ring")
        ring.symlink_to(ring)
        with pytest.raises(JournalError):
            Journal(ring, "x")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
    def test_where_we_may_not_write(self, path: Path) -> None:
        path.parent.chmod(0o500)
        try:
            with pytest.raises(JournalError, match=r"Permission denied; .* name another"):
                Journal(path, "x")
        finally:
            path.parent.chmod(0o700)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
    def test_a_file_of_somebody_else(self, path: Path) -> None:
        Journal(path, "x").close()
        os.chown(path, 12345, -1)
        with pytest.raises(JournalError, match="belongs to user 12345, and this process is user 0"):
            Journal(path, "x")

    def test_a_file_that_others_may_read_is_mended_with_a_word(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        Journal(path, "x").close()
        path.chmod(0o644)
        caplog.set_level(logging.WARNING)
        Journal(path, "x").close()
        assert mode_of(path) == 0o600
        assert f"{path} could be used by others (mode 0644); now it is 0600" in caplog.text


#: argv: the journal. Says each request once its append has returned.
WRITER = """
import itertools, os, sys, uuid
from bus.news import Journal
from tests.bus.news.writing import a_life, submitted
journal = Journal(sys.argv[1], "x", segment_bytes=30_000)
for number in itertools.count():
    name = f"{journal.incarnation}.{number}"
    journal.append([submitted(name)] if number % 5 else a_life(name))
    os.write(1, f"{name}\\n".encode())
"""


@pytest.mark.slow
def test_nothing_that_was_written_is_lost_over_many_kills(path: Path, task_folder: Path) -> None:
    """Of a process that writes and rotates as fast as it can."""
    generator = random.Random(5)
    said: list[str] = []
    for _ in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(task_folder)])},
        )
        assert process.stdout is not None
        lines = generator.randrange(1, 80)
        said += [process.stdout.readline().strip() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        said += process.stdout.read().split()
        process.wait()
    with Journal(path, "x") as journal:
        assert journal.incarnation == 9
        still_open = [each.submitted.uuid for each in journal.open_requests]
        opened = [name for name in said if int(name.partition(".")[2]) % 5]
        assert [name for name in still_open if name in said] == opened
        assert len(still_open) - len(opened) <= 8  # written, and killed before it could say so


@given(some_events(), st.lists(st.integers(1, 6), max_size=30), st.integers(0, 3000))
@settings(deadline=None, max_examples=40)
def test_what_was_appended_is_what_is_read_and_found(
    events: list[Event], groups: list[int], segment_bytes: int
) -> None:
    """In groups of any size, rotated wherever it may be, and opened again in between."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        model = History()
        journal = Journal(path, "x", segment_bytes=segment_bytes + 1, now=lambda: 100.0)
        number, rest = 2, list(events)
        for size in [*groups, 100]:
            group, rest = rest[:size], rest[size:]
            journal.append(group)
            for each in group:
                model.apply(Entry(number, 100.0, each))
                number += 1
            if size == 6:
                journal.close()
                journal = Journal(path, "x", segment_bytes=segment_bytes + 1, now=lambda: 100.0)
                number += 2
                assert journal.open_requests == list(model.open_requests())
        for name, request in model.requests.items():
            assert journal.find(name) in (request, None if request.ended else request)
        for key, name in model.by_key.items():
            if model.requests[name].is_open:
                assert journal.find_key(key) == name
        assert all(each.startswith("line ") for each in journal.damage)  # what does not fit
        journal.close()


def test_a_journal_may_be_as_old_as_its_first_number(path: Path) -> None:
    """Numbers go on from the last, whatever it is."""
    head = header_bytes(Header("x", 4, 10**12, 0, 1.0))
    path.write_bytes(head + line_of(entries([Opened("x", 5)], 10**12)[0]))
    with Journal(path, "x") as journal:
        name = str(uuid.uuid4())
        journal.append([submitted(name)])
        assert journal.incarnation == 6
    assert [each.number for each in read(path) if isinstance(each, Entry)] == [
        10**12 + n for n in range(4)
    ]
