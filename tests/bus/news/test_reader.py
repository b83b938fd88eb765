"""Reading without writing: once through, the last lines, on and on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import pytest

from bus.news import Damage, Journal, follow, read, tail
from bus.news.line import Header, header_bytes
from protocol.errors import JournalError
from protocol.events import Closed, Event, Opened, Running
from protocol.history import Entry
from tests.bus.news.writing import (
    a_life,
    dispatched,
    entries,
    file_of,
    line_of,
    resealed,
    submitted,
)
from tests.processes import wait_until

SMALL = 4000  # bytes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.journal"


def shown(found: Iterator[Entry | Damage] | list[Entry | Damage]) -> list[int | str]:
    """Numbers of entries, reasons of damage."""
    return [each.number if isinstance(each, Entry) else each.reason for each in found]


def newer(path: Path, first: int, copied: list[Entry], events: list[Event]) -> bytes:
    """A file that came after another one."""
    head = header_bytes(Header("x", 1, first, len(copied), 100.0))
    return head + b"".join(map(line_of, [*copied, *entries(events, first)]))


class TestRead:
    """Once through."""

    def test_all_that_is_kept_is_read_oldest_first_and_once(self, path: Path) -> None:
        """However often a line went along."""
        with Journal(path, "x", segment_bytes=SMALL) as journal:
            journal.append([submitted("a")])
            for number in range(25):
                journal.append(a_life(f"u{number}"))
            assert shown(read(path)) == list(range(1, 103))
            newest = shown(read(path, older=False))
            assert newest[:2] == [1, 2]
            assert 2 < len(newest) < 50
            assert newest[-1] == 102

    def test_it_can_be_read_while_it_is_written(self, path: Path) -> None:
        """What is not whole yet comes as torn."""
        with Journal(path, "x") as journal:
            assert shown(read(path)) == [1]
            journal.append([submitted("u")])
            with path.open("ab") as file:
                file.write(line_of(Entry(3, 1.0, dispatched("u")))[:40])
            assert shown(read(path)) == [1, 2, "torn"]

    def test_what_is_not_known_or_makes_no_sense_is_told_with_its_number(self, path: Path) -> None:
        later = line_of(Entry(2, 1.0, dispatched("u"))).replace(b'"dispatched"', b'"paused"')
        senseless = line_of(Entry(3, 1.0, dispatched("u"))).replace(b'"attempt":1', b'"attempt":[]')
        data = file_of([Opened("x", 1)])
        end = line_of(Entry(4, 104.0, Closed()))
        path.write_bytes(data + resealed(later) + resealed(senseless) + end)
        found = list(read(path))
        assert shown(found) == [1, "word", "field", 4]
        assert str(found[1]) == (
            f"{path}, byte {len(data)}: line 2: 'paused' is no event that is known "
            "here; a newer Taskline may have written it"
        )
        assert str(found[2]).endswith("line 3 makes no sense: dispatched: attempt cannot be []")

    def test_files_that_do_not_join_tell_what_is_missing(self, path: Path) -> None:
        """Somebody has removed one."""
        first = [Opened("x", 1), *a_life("u")]
        path.with_name("x.journal.2").write_bytes(file_of(first))
        path.write_bytes(newer(path, 9, entries(first)[:1], [Closed()]))
        found = list(read(path))
        assert shown(found) == [1, 2, 3, 4, 5, "gap", 9]
        assert str(found[5]) == f"{path}, byte 0: 3 lines are missing before it, from 6 on"

    def test_a_file_that_moves_while_it_is_opened_is_read_once(self, path: Path) -> None:
        """It is met under two names."""
        path.write_bytes(file_of([Opened("x", 1), submitted("u")]))
        path.with_name("x.journal.1").hardlink_to(path)
        assert shown(read(path)) == [1, 2]

    def test_it_can_be_read_while_it_is_rotated_again_and_again(self, path: Path) -> None:
        """In order, and nothing is damaged; what has gone meanwhile is a gap."""
        stop = threading.Event()

        def write() -> None:
            with Journal(path, "x", segment_bytes=1500) as journal:
                while not stop.is_set():
                    journal.append(a_life("u"))

        thread = threading.Thread(target=write)
        thread.start()
        try:
            wait_until(path.with_name("x.journal.4").exists, "some rotations")
            for _ in range(30):
                found = shown(read(path))
                numbers = [each for each in found if isinstance(each, int)]
                assert numbers == sorted(set(numbers))
                assert {each for each in found if isinstance(each, str)} <= {"gap", "torn"}
        finally:
            stop.set()
            thread.join()

    def test_nothing_is_written_and_no_lock_is_taken(self, path: Path) -> None:
        path.write_bytes(file_of([Opened("x", 1)]) + b"torn")
        path.chmod(0o400)
        assert shown(read(path)) == [1, "torn"]
        assert [each.name for each in path.parent.iterdir()] == ["x.journal"]

    @pytest.mark.parametrize("reading", [read, lambda path: tail(path, 5)], ids=["read", "tail"])
    def test_what_cannot_be_read_says_so(
        self, path: Path, reading: Callable[[Path], Iterator[Entry | Damage]]
    ) -> None:
        with pytest.raises(JournalError, match=r"there is no journal .*x\.journal: is that"):
            reading(path)
        with pytest.raises(JournalError, match="that is no file; name one"):
            reading(path.parent)
        path.write_bytes(b"Dear diary,\n")
        with pytest.raises(JournalError, match="is no journal, and was left as it is"):
            list(reading(path))
        path.write_bytes(header_bytes(Header("x", 0, 1, 0, 1.0, version="2.0")))
        with pytest.raises(JournalError, match=r"version 2\.0"):
            list(reading(path))

    def test_files_are_closed_with_the_reading(self, path: Path) -> None:
        """Also if it was not read to its end."""
        path.write_bytes(file_of([Opened("x", 1), submitted("u")]))
        before = sorted(os.listdir("/dev/fd"))  # noqa: PTH208 - the listing itself opens one
        reading = read(path)
        next(reading)
        del reading
        read(path)
        assert sorted(os.listdir("/dev/fd")) == before  # noqa: PTH208


class TestTail:
    """The last lines."""

    def test_as_many_as_there_are_from_as_many_files_as_it_takes(self, path: Path) -> None:
        with Journal(path, "x", segment_bytes=SMALL) as journal:
            for number in range(30):
                journal.append(a_life(f"u{number}"))
            for count in (0, 1, 5, 60, 100):
                assert shown(tail(path, count)) == list(range(122 - count, 122))
            assert shown(tail(path, 1000)) == list(range(1, 122))

    def test_damage_is_among_them(self, path: Path) -> None:
        path.write_bytes(file_of([Opened("x", 1)]) + b"?\n" + line_of(Entry(2, 1.0, Closed())))
        assert shown(tail(path, 2)) == ["bytes", 2]
        assert shown(tail(path, 10)) == [1, "bytes", 2]


def followed(path: Path, *steps: Callable[[], object], last: int = 0) -> list[list[int | str]]:
    """What is found before the first step, after it, after the second, and so on."""
    found: list[list[int | str]] = [[]]
    waiting = list(steps)

    def pause() -> bool:
        if not waiting:
            return False
        waiting.pop(0)()
        found.append([])
        return True

    for each in follow(path, pause, last=last):
        found[-1] += shown([each])
    return found


class TestFollow:
    """On and on."""

    def test_what_is_written_comes_after_the_last_lines(self, path: Path) -> None:
        with Journal(path, "x") as journal:
            journal.append([submitted("u"), submitted("v")])
            steps = (
                lambda: journal.append([dispatched("u"), Running("u", 1)]),
                lambda: None,
                lambda: journal.append([dispatched("v")]),
            )
            assert followed(path, *steps, last=2) == [[2, 3], [4, 5], [], [6]]
            assert followed(path) == [[]]

    def test_it_goes_on_in_the_next_file_with_the_next_number(self, path: Path) -> None:
        """Nothing twice, nothing left out, though lines went along and files have moved."""
        with Journal(path, "x", segment_bytes=SMALL) as journal:
            journal.append([submitted("a")])
            numbers = iter(range(1000))

            def some() -> None:
                for _ in range(15):
                    journal.append(a_life(f"u{next(numbers)}"))

            found = followed(path, *[some] * 12, last=100)
            assert path.with_name("x.journal.4").exists()
            assert [*chain.from_iterable(found)] == list(range(1, 3 + 12 * 15 * 4))
            assert all(len(each) == 60 for each in found[1:])

    def test_what_was_rotated_away_unread_is_a_gap(self, path: Path) -> None:
        with Journal(path, "x", segment_bytes=SMALL) as journal:

            def much() -> None:
                for number in range(200):
                    journal.append(a_life(f"u{number}"))

            (_, found) = followed(path, much)
            gap = found.index("gap")
            assert found[:gap] == list(range(2, 2 + gap))  # of the file that was open here
            assert found[gap + 1 :] == list(range(802 - len(found[gap + 1 :]), 802))

    def test_what_is_being_written_is_waited_for(self, path: Path) -> None:
        """And is told as torn when its writer has gone on in another file."""
        path.write_bytes(file_of([Opened("x", 1)]))
        raw = line_of(Entry(2, 102.0, submitted("u")))

        def append(data: bytes) -> Callable[[], object]:
            def step() -> None:
                with path.open("ab") as file:
                    file.write(data)

            return step

        def rotate() -> None:
            path.rename(path.with_name("x.journal.1"))
            path.write_bytes(newer(path, 3, entries([Opened("x", 1)]), [Closed()]))

        steps = (append(raw[:30]), append(raw[30:]), append(raw[:20]), rotate)
        assert followed(path, *steps) == [[], [], [2], [], ["torn", 3]]

    def test_damage_is_told_when_it_is_there(self, path: Path) -> None:
        path.write_bytes(file_of([Opened("x", 1)]))

        def spoil() -> None:
            with path.open("ab") as file:
                file.write(b"?\n")

        def go_on() -> None:
            with path.open("ab") as file:
                file.write(line_of(Entry(3, 103.0, Closed())))

        assert followed(path, spoil, go_on) == [[], ["bytes"], ["gap", 3]]

    def test_lines_that_were_cut_off_again_come_again(self, path: Path) -> None:
        """Of an append that failed half way."""
        whole = file_of([Opened("x", 1)])
        path.write_bytes(whole + line_of(Entry(2, 102.0, submitted("u"))))

        def cut() -> None:
            os.truncate(path, len(whole))

        def write() -> None:
            with path.open("ab") as file:
                file.write(line_of(Entry(2, 102.0, submitted("v"))))

        assert followed(path, cut, write, last=5) == [[1, 2], [], [2]]

    def test_another_journal_of_the_same_name_begins_anew(self, path: Path) -> None:
        path.write_bytes(file_of([Opened("x", 1), *a_life("u")]))

        def replace() -> None:
            path.unlink()
            path.write_bytes(file_of([Opened("x", 1), Closed()]))

        assert followed(path, path.unlink, lambda: None, last=1) == [[5], [], []]
        path.write_bytes(file_of([Opened("x", 1), *a_life("u")]))
        assert followed(path, replace, last=1) == [[5], [1, 2]]

    def test_what_is_no_journal_is_not_waited_for(self, path: Path) -> None:
        path.write_bytes(b"Dear diary,")
        with pytest.raises(JournalError, match="is no journal"):
            followed(path)
