"""From one file to the next: nothing that is open is lost, wherever it is broken off."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bus.news import Damage, Journal, read, segment
from bus.news.line import HEADER_START
from protocol.errors import JournalError
from protocol.events import Closed, Discarded, Ended, Event, Opened, Running, WorkerSeen
from protocol.history import Entry, History
from tests.bus.news.writing import a_life, dispatched, file_of, submitted

SMALL = 4000  # bytes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.journal"


def older(path: Path, age: int) -> Path:
    return path.with_name(f"{path.name}.{age}")


def names(path: Path) -> set[str]:
    """What is there beside the lock, without the journal's own name."""
    found = {each.name.removeprefix(path.name) for each in path.parent.iterdir()}
    return found - {".lock"}


def present(path: Path) -> tuple[History, list[Damage]]:
    """What the file that is written to comes to."""
    history, damage = History(), []
    for each in read(path, older=False):
        if isinstance(each, Damage):
            damage.append(each)
        else:
            history.apply(each)
    return history, damage


def open_files() -> int:
    """Of this process, where that can be seen."""
    seen = Path("/proc/self/fd")
    return len(list(seen.iterdir())) if seen.exists() else 0


def numbers(path: Path) -> list[int]:
    found = list(read(path))
    assert [each for each in found if isinstance(each, Damage)] == []
    return [each.number for each in found if isinstance(each, Entry)]


class TestGoingOn:
    """In a new file."""

    def test_four_older_files_are_kept_and_what_is_in_them_is_found(self, path: Path) -> None:
        """By the one that wrote them, and by the next."""
        with Journal(path, "x", segment_bytes=SMALL) as journal:
            for number in range(100):
                journal.append(a_life(f"u{number}"))
            assert names(path) == {"", ".1", ".2", ".3", ".4"}
            kept = [number for number in range(100) if journal.find(f"u{number}")]
            assert kept == list(range(kept[0], 100))
            assert 0 < kept[0] < 90
        with Journal(path, "x", segment_bytes=SMALL) as journal:
            assert [n for n in range(100) if journal.find(f"u{n}")] == kept
            found = journal.find(f"u{kept[0]}")
            assert found is not None
            assert found.ended == Ended(f"u{kept[0]}", "success", {"of": f"u{kept[0]}"}, "hare")
        opened, *seen = numbers(path)  # the line that opened it has come along until now
        assert (opened, seen) == (1, list(range(seen[0], 405)))

    def test_dead_letters_go_along_however_often_until_somebody_sees_to_them(
        self, path: Path
    ) -> None:
        dead = Ended("d", "failure", {"why": "x"}, "hare", dead=True)
        with Journal(path, "x", segment_bytes=SMALL) as journal:
            journal.append([submitted("d"), dispatched("d"), dead])
            for number in range(100):
                journal.append(a_life(f"u{number}"))
        history, damage = present(path)
        assert damage == []
        (letter,) = history.dead_letters()
        assert (letter.ended, len(letter.attempts)) == (dead, 1)
        with Journal(path, "x", segment_bytes=SMALL) as journal:
            journal.append([Discarded("d")])
            for number in range(100):
                journal.append(a_life(f"v{number}"))
        assert "d" not in present(path)[0].requests

    def test_what_is_open_goes_along_exactly_as_it_was(self, path: Path) -> None:
        """With its own numbers and stamps, however often."""
        clock = iter(range(100, 10_000))
        hare = WorkerSeen("hare", "native", "0f", ["default"], 4)
        some: list[Event] = [submitted("a", "k"), dispatched("a"), Running("a", 1), submitted("b")]
        model = History()
        with Journal(path, "x", segment_bytes=SMALL, now=lambda: float(next(clock))) as journal:
            journal.append([hare, *some])
            for number in range(60):
                journal.append(a_life(f"u{number}"))
                if number % 20 == 0:
                    journal.append([dispatched("b", number + 1)])
            assert journal.find_key("k") == "a"
            for name in "ab":
                request = journal.find(name)
                assert request is not None
                model.requests[name] = request
        history, damage = present(path)
        assert damage == []
        assert {each.submitted.uuid for each in history.open_requests()} == {"a", "b"}
        assert {name: history.requests[name] for name in "ab"} == model.requests
        assert history.requests["a"].stamp == 102.0
        assert [each.event.attempt for each in history.requests["b"].attempts] == [1, 21, 41]
        assert [each.event for each in history.workers.values()] == [hare]
        assert history.executor is not None
        assert history.executor.opened == 101.0
        with Journal(path, "x") as journal:
            assert journal.incarnation == 2
            assert journal.open_requests == list(model.requests.values())

    def test_the_header_counts_what_is_left_behind(self, path: Path) -> None:
        """So that with what is in the file it is everything, since the journal was begun."""
        with Journal(path, "x", segment_bytes=SMALL) as journal:
            for number in range(50):
                journal.append(a_life(f"u{number}", f"key {number}"))
                journal.append([submitted(f"v{number}"), Ended(f"v{number}", "error", {})])
        header = read(path, older=False).header
        assert header is not None
        history, _ = present(path)
        assert header.ended["success"] + history.ended["SUCCESS"] == 50
        assert header.ended["error"] + history.ended["FAILURE"] == 50
        assert header.copied > 0
        assert header.incarnation == 1

    def test_a_key_is_known_as_long_as_its_request_and_longer(self, path: Path) -> None:
        """The newest ones go along from file to file, others stay where they are."""
        with Journal(path, "x", segment_bytes=20_000) as journal:
            for number in range(40):
                journal.append(a_life(f"u{number}", f"key {number}"))
            for number in range(600):
                journal.append(a_life(f"v{number}"))
            kept = [number for number in range(40) if journal.find_key(f"key {number}")]
            assert kept == list(range(kept[0], 40))
            assert len(kept) >= 5
            assert all(journal.find(f"u{number}") for number in kept)
        with Journal(path, "x") as journal:
            assert [n for n in range(40) if journal.find_key(f"key {n}") == f"u{n}"] == kept

    def test_a_file_of_which_more_than_half_is_open_is_not_copied_again_and_again(
        self, path: Path
    ) -> None:
        with Journal(path, "x", segment_bytes=SMALL) as journal:
            for number in range(1000):
                journal.append([submitted(f"u{number}"), dispatched(f"u{number}")])
            assert names(path) == {""}
            for number in range(1000):
                journal.append([Ended(f"u{number}", "success")])
            size = path.stat().st_size
            while names(path) == {""}:
                journal.append(a_life("v"))
            assert older(path, 1).stat().st_size < 2 * size
        assert path.stat().st_size < SMALL

    def test_a_large_journal_is_rotated_when_it_is_opened_with_a_smaller_bound(
        self, path: Path
    ) -> None:
        with Journal(path, "x") as journal:
            for number in range(100):
                journal.append(a_life(f"u{number}"))
        with Journal(path, "x", segment_bytes=SMALL) as journal:
            journal.append([submitted("u")])
            assert names(path) == {"", ".1"}
            assert journal.find("u3") is not None

    def test_killed_before_anything_new_is_written_the_numbers_go_on(self, path: Path) -> None:
        """From what the header says, not from the last line that went along."""
        with Journal(path, "x", segment_bytes=SMALL) as journal:
            journal.append([submitted("a")])
            while names(path) == {""}:
                journal.append(a_life("u"))
            files = {name: path.with_name(path.name + name).read_bytes() for name in names(path)}
        for name, contents in files.items():
            path.with_name(path.name + name).write_bytes(contents)
        before = numbers(path)
        with Journal(path, "x") as journal:
            journal.append([submitted("b")])
            assert journal.damage == []
            assert numbers(path) == [*before, before[-1] + 1, before[-1] + 2]

    def test_a_file_that_is_gone_is_not_held_open(self, path: Path) -> None:
        with Journal(path, "x", segment_bytes=SMALL) as journal:
            before = open_files()
            for number in range(300):
                journal.append(a_life(f"u{number}"))
            assert open_files() <= before + 4


class TestFailing:
    """When there can be no new file, the old one goes on."""

    def test_it_is_told_and_tried_again_later(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        with Journal(path, "x", segment_bytes=SMALL) as journal:
            older(path, 1).with_name("x.journal.new").mkdir()
            for number in range(20):
                journal.append(a_life(f"u{number}"))
            assert names(path) == {"", ".new"}
            told = [r for r in caplog.records if "cannot be rotated now, and goes on" in r.message]
            assert 2 <= len(told) < 15
            older(path, 1).with_name("x.journal.new").rmdir()
            for number in range(20, 30):
                journal.append(a_life(f"u{number}"))
            assert names(path) >= {"", ".1"}
            assert all(journal.find(f"u{number}") for number in range(30))
        assert numbers(path) == list(range(1, 123))

    @pytest.mark.parametrize("failing", ["hardlink_to", "rename"])
    def test_when_names_cannot_be_changed(
        self,
        path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        failing: str,
    ) -> None:
        with Journal(path, "x", segment_bytes=SMALL) as journal:
            with monkeypatch.context() as patch:
                patch.setattr(Path, failing, fail(errno.EACCES))
                for number in range(20):
                    journal.append(a_life(f"u{number}"))
            assert "cannot be rotated now" in caplog.text
            assert ".new" not in names(path)
            for number in range(20, 30):
                journal.append(a_life(f"u{number}"))
            assert all(journal.find(f"u{number}") for number in range(30))
        assert numbers(path) == list(range(1, 123))

    def test_where_a_file_can_have_one_name_only(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Path, "hardlink_to", fail(errno.EPERM))
        with Journal(path, "x", segment_bytes=SMALL) as journal:
            for number in range(30):
                journal.append(a_life(f"u{number}"))
            assert names(path) >= {"", ".1", ".2"}
        assert numbers(path) == list(range(1, 123))

    def test_an_open_line_that_has_rotted_is_told_and_the_others_go_along(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with Journal(path, "x", segment_bytes=SMALL) as journal:
            journal.append([submitted("a"), submitted("b")])
            data = path.read_bytes()
            with path.open("r+b") as file:
                file.seek(data.index(b'"a"'))
                file.write(b'"?"')
            for number in range(20):
                journal.append(a_life(f"u{number}"))
            assert names(path) >= {"", ".1"}
            assert "lost in the rotation of the journal" in caplog.text
        history, damage = present(path)
        assert (list(history.requests), damage)[0][0] == "b"
        assert damage == []


def fail(number: int) -> Callable[..., Any]:
    def failing(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return failing


class TestTidying:
    """What a death in the middle leaves."""

    @pytest.fixture
    def contents(self, path: Path) -> bytes:
        """A journal with an open request, and its bytes."""
        with Journal(path, "x") as journal:
            journal.append([submitted("u")])
        return path.read_bytes()

    def is_whole(self, path: Path, contents: bytes) -> None:
        with Journal(path, "x", segment_bytes=SMALL) as journal:
            assert [each.submitted.uuid for each in journal.open_requests] == ["u"]
            assert path.read_bytes().startswith(contents)
            for number in range(20):
                journal.append(a_life(f"u{number}"))
            assert names(path) >= {"", ".1"}
            assert journal.find("u") is not None

    @pytest.mark.parametrize("half", [b"", HEADER_START[:7], HEADER_START + b'"version":"1.0"'])
    def test_a_next_file_half_made_is_removed(
        self, path: Path, contents: bytes, half: bytes
    ) -> None:
        older(path, 1).with_name("x.journal.new").write_bytes(half)
        self.is_whole(path, contents)

    def test_a_second_name_is_taken_back(self, path: Path, contents: bytes) -> None:
        older(path, 1).hardlink_to(path)
        older(path, 1).with_name("x.journal.new").write_bytes(contents)
        assert numbers(path) == [1, 2, 3]
        Journal(path, "x").close()
        assert names(path) == {""}
        self.is_whole(path, contents)

    def test_an_only_name_is_taken_back(self, path: Path, contents: bytes) -> None:
        """And until then it is read under the other one."""
        path.rename(older(path, 1))
        older(path, 1).with_name("x.journal.new").write_bytes(contents[:50])
        assert numbers(path) == [1, 2, 3]
        self.is_whole(path, contents)

    def test_an_age_that_is_free_is_filled(self, path: Path, contents: bytes) -> None:
        older(path, 2).write_bytes(file_of([Opened("x", 1), Closed()]))
        older(path, 3).write_bytes(file_of([Opened("x", 1)]))
        self.is_whole(path, contents)
        assert file_of([Opened("x", 1)]) in (
            *(older(path, 3).read_bytes(), older(path, 4).read_bytes()),
        )

    @pytest.mark.parametrize("name", [".new", ".1", ".4"])
    @pytest.mark.parametrize("kind", ["text", "folder", "link"])
    def test_what_is_somebody_elses_is_in_the_way_and_left_alone(
        self, path: Path, contents: bytes, name: str, kind: str
    ) -> None:
        strange = path.with_name(path.name + name)
        if kind == "text":
            strange.write_bytes(b"Dear diary,\n")
        elif kind == "folder":
            strange.mkdir()
        else:
            strange.symlink_to("nowhere")
        with pytest.raises(JournalError, match=rf"x\.journal\{name}"):
            Journal(path, "x")
        assert path.read_bytes() == contents
        assert kind != "text" or strange.read_bytes() == b"Dear diary,\n"
        assert kind != "link" or strange.is_symlink()


#: argv: an empty folder. Rotates a journal in a child, which is killed as it comes to a line of
#: ours: for each such line at its first and at its last time. Then says in how many ways.
DEATHS = """
import json, os, pathlib, shutil, signal, sys
os.fsync = os.fdatasync = lambda descriptor: None  # what dies is a process, and not the machine
from bus.news import Journal
from tests.bus.news.writing import a_life, dispatched, submitted

folder = pathlib.Path(sys.argv[1])
ONE_NAME = len(sys.argv) > 2

def no_links(*_):
    raise OSError(1, "Operation not permitted")

if ONE_NAME:
    pathlib.Path.hardlink_to = no_links

def prepare(where):
    journal = Journal(where / "x.journal", "x", segment_bytes=1500)
    for number in range(6):
        journal.append(a_life(f"u{number}"))
    journal.append([submitted("a", "k"), dispatched("a"), submitted("b")])
    return journal

def rotating(journal, tracer):
    journal._rotate_at = journal._segment.end + 1
    sys.settrace(tracer)
    try:
        journal.append(a_life("last"))
    finally:
        sys.settrace(None)

def child(number, fatal):
    count = 0
    def tracer(frame, event, _):
        nonlocal count
        if f"{os.sep}bus{os.sep}news{os.sep}" not in frame.f_code.co_filename:
            return None
        if event == "line":
            if count == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            steps.append((frame.f_code.co_filename, frame.f_lineno))
            count += 1
        return tracer
    steps = []
    where = folder / str(number)
    where.mkdir()
    rotating(prepare(where), tracer)
    return steps

def in_a_child(number, fatal):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        steps = child(number, fatal)
        with os.fdopen(writing, "w") as pipe:
            json.dump(steps, pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(said) if said else None

steps = [tuple(step) for step in in_a_child(0, -1)]
fatal = sorted({steps.index(step) for step in steps}
               | {len(steps) - 1 - steps[::-1].index(step) for step in steps})
for number, each in enumerate(fatal, 1):
    assert in_a_child(number, each) is None, "it should have been killed"
print(json.dumps(len(fatal)))
"""


@pytest.mark.slow
@pytest.mark.timeout(400)  # 500 ways to die, each with files of its own: minutes on a busy disk
@pytest.mark.parametrize("words", [(), ("one name",)], ids=["two names", "one name"])
def test_killed_at_any_line_of_a_rotation_nothing_that_is_open_is_lost(
    tmp_path: Path,
    task_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
) -> None:
    """Nor the appended lines' neighbours; the next one opens it, writes, rotates and finds."""
    done = subprocess.run(
        [sys.executable, "-c", DEATHS, str(tmp_path), *words],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(task_folder)])},
    )
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(segment, "sync", lambda descriptor: None)
    ways = json.loads(done.stdout)
    assert ways > 150
    left = set()
    for number in range(ways + 1):
        path = tmp_path / str(number) / "x.journal"
        left |= names(path)
        assert numbers(path)[-1] in (28, 32)  # with or without the last append
        with Journal(path, "x", segment_bytes=1500) as journal:
            assert [each.submitted.uuid for each in journal.open_requests] == ["a", "b"]
            assert journal.damage == []
            assert journal.incarnation == 2
            assert [each.state for each in journal.open_requests] == ["PENDING", "WAITING"]
            assert journal.find_key("k") == "a"
            assert journal.find("u5") is not None
            for more in range(5):
                journal.append(a_life(f"v{more}"))
            assert journal.find("a") is not None
            assert journal.find("v4") is not None
        assert ".new" not in names(path)
    assert ".new" in left  # some of them died while it was made
