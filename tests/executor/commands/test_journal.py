"""``journal status`` and ``journal tail``, from the words typed to what is printed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bus.news import Journal
from bus.news.line import Header, header_bytes
from executor.cli import main
from executor.commands import journal_files
from executor.commands.journal_status import NEWEST
from protocol.events import Ended, Opened, Running, Submitted, WorkerGone, WorkerSeen
from protocol.history import REQUEST_STATES, Entry
from protocol.job_status import JOB_STATES
from protocol.jobs import JobIssued, JobStarted, QueueSize
from tests.bus.news.toil.samples import MESSAGES as LEADER
from tests.bus.news.toil.samples import REPLAYED
from tests.bus.news.writing import a_life, dispatched, file_of, line_of, submitted
from tests.processes import PROJECT


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "nightly.journal"


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


def status(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What is printed for people."""
    assert main(["journal", "status", str(path)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def status_json(path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["journal", "status", "--json", str(path)]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def fill(journal: Journal) -> None:
    """One request in each state, and a worker."""
    journal.append([WorkerSeen("hare", "native", "0123456789abcdef", ["default"], 4)])
    journal.append([WorkerSeen("tortoise", "native", "fedcba9876543210", ["default"])])
    journal.append([WorkerGone("tortoise", "fedcba9876543210")])
    journal.append([submitted("waiting"), submitted("pending", "k"), dispatched("pending")])
    journal.append([submitted("running"), dispatched("running"), Running("running", 1)])
    journal.append([*a_life("success"), *a_life("success too")])
    journal.append([submitted("failure"), Ended("failure", "error", {"type": "WorkerLost"})])
    journal.append([submitted("gone"), Ended("gone", "cancelled")])


class TestStatus:
    """What is so now."""

    def test_of_a_journal_in_use(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with Journal(path, "nightly") as journal:
            fill(journal)
            said = status(path, capsys)
        assert f"{path}: executor nightly, incarnation 1, opened 0 s ago, at 2" in said
        assert f"workers know it as {journal.identity}\n" in said
        assert f"in use by executor nightly in process {os.getpid()} on " in said
        assert "requests: 1 waiting, 1 pending, 1 running, 2 success, 1 failure, 1 cancelled" in (
            said
        )
        rows = [line.split("│") for line in said.splitlines() if "│" in line]
        cells = [[cell.strip() for cell in row[1:-1]] for row in rows]
        assert cells == [
            ["running", "t", "RUNNING", "hare", "0 s", "1"],
            ["pending", "t", "PENDING", "hare", "0 s", "1"],
            ["waiting", "t", "WAITING", "", "0 s", "0"],
            ["hare", "0123456789abcdef", "native", "default", "4", "0 s ago", ""],
            ["tortoise", "fedcba9876543210", "native", "default", "", "0 s ago", "0 s ago"],
        ]
        assert "damage" not in said

    def test_of_one_that_was_closed_or_killed(
        self, path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Journal(path, "nightly").close()
        assert "closed in order 0 s ago" in status(path, capsys)
        path.write_bytes(file_of([Opened("nightly", 1)], "nightly"))
        assert "not in use, and not closed: it was killed, or its machine" in status(path, capsys)

    def test_as_json(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with Journal(path, "nightly", now=lambda: 1000.0) as journal:
            fill(journal)
            found = status_json(path, capsys)
        assert found["executor"] == {
            "name": "nightly",
            "identity": journal.identity,
            "incarnation": 1,
            "opened": 1000.0,
            "closed": None,
        }
        assert found["held_by"]["pid"] == os.getpid()
        assert list(found["requests"]) == list(REQUEST_STATES)
        assert list(found["requests"].values()) == [1, 1, 1, 2, 1, 1]
        assert [each["uuid"] for each in found["open"]] == ["running", "pending", "waiting"]
        age = found["open"][1].pop("age")
        assert age == pytest.approx(time.time() - 1000.0, abs=60)
        assert found["open"][1] == {
            "uuid": "pending",
            "task": "t",
            "state": "PENDING",
            "worker": "hare",
            "attempts": 1,
            "key": "k",
            "priority": 0,
            "not_before": None,
        }
        assert [each["worker"] for each in found["workers"]] == ["hare", "tortoise"]
        assert (found["damage"], found["problems"]) == ([], [])

    def test_counts_are_since_the_journal_was_begun(
        self, path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Also of what is in files that are not kept any more."""
        with Journal(path, "nightly", segment_bytes=3000) as journal:
            for number in range(100):
                journal.append(a_life(f"u{number}"))
            assert status_json(path, capsys)["requests"]["SUCCESS"] == 100

    def test_of_many_open_ones_the_newest_are_shown(
        self, path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with Journal(path, "nightly") as journal:
            journal.append([submitted(f"u{number}") for number in range(NEWEST + 5)])
            said = status(path, capsys)
            assert len(status_json(path, capsys)["open"]) == NEWEST + 5
        assert said.count("WAITING") == NEWEST
        assert "│ u24 " in said
        assert "│ u4 " not in said
        assert "and 5 older ones" in said

    def test_of_what_may_not_start_yet_it_says_when_it_may(
        self, path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        now = time.time()
        with Journal(path, "nightly") as journal:
            for uuid, when in (("u1", now + 3 * 86400 + 60), ("u2", now - 1)):
                journal.append([Submitted(uuid, "t", {}, ["a"], not_before=when, priority=2)])
            said = status(path, capsys)
            assert [each["not_before"] for each in status_json(path, capsys)["open"]][1] > now
        assert said.count("WAITING, in 3 days") == 1
        assert said.count("WAITING") == 2

    def test_damage_is_told_and_the_rest_is_too(
        self, path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        data = file_of([Opened("nightly", 1), *a_life("u"), submitted("\x1b[31m")], "nightly")
        path.write_bytes(
            data.replace(b'"of":"u"', b'"of":"?"') + line_of(Entry(7, 1.0, Running("v", 1))) + b"to"
        )
        said = status(path, capsys)
        assert f"damage: {path}, byte " in said
        assert "damaged bytes were passed over (line 5 is lost)" in said
        assert "the last 2 bytes are no whole line: b'to'" in said
        assert "does not fit: line 7: running: request v is not known" in said
        assert "\x1b[31m" not in said
        found = status_json(path, capsys)
        assert [each["reason"] for each in found["damage"]] == ["bytes", "torn"]
        assert found["problems"] == ["line 7: running: request v is not known"]

    def test_a_line_that_is_just_being_written_is_no_damage(
        self, path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with Journal(path, "nightly"):
            with path.open("ab") as file:
                file.write(b'{"n":2,')
            assert status_json(path, capsys)["damage"] == []

    def test_of_one_that_nobody_has_opened_yet(
        self, path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path.write_bytes(header_bytes(Header("nightly", 0, 1, 0, 1.0)))
        said = status(path, capsys)
        assert "no executor has opened it yet" in said
        assert "requests: none yet" in said


class TestTail:
    """The last lines."""

    def test_as_sentences(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with Journal(path, "nightly", now=lambda: 1763712345.25) as journal:
            journal.append(a_life("u"))
        assert main(["journal", "tail", "-n", "3", str(path)]) == 0
        printed = capsys.readouterr().out.splitlines()
        assert [line[23:] for line in printed] == [
            "       4  request u, attempt 1: runs",
            '       5  request u: success, by hare: {"of":"u"}',
            "       6  executor closed in order",
        ]
        assert all(line.endswith(":45.250") for line in (each[:23] for each in printed))

    def test_ten_of_them_if_nobody_says_how_many(
        self, path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with Journal(path, "nightly") as journal:
            journal.append([submitted(f"u{number}") for number in range(30)])
        assert main(["journal", "tail", str(path)]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 10

    def test_as_json_they_are_as_in_the_journal(
        self, path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with Journal(path, "nightly") as journal:
            journal.append(a_life("u"))
        path.write_bytes(path.read_bytes() + b"torn")
        assert main(["journal", "tail", "--json", "--lines=100", str(path)]) == 0
        printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        written = [json.loads(line) for line in path.read_bytes().splitlines()[1:-1]]
        for each in written:
            del each["c"]
        assert printed[:-1] == written
        damage = printed[-1].pop("damage")
        assert damage == "the last 4 bytes are no whole line: b'torn'"
        offset = path.stat().st_size - 4
        assert printed[-1] == {"reason": "torn", "path": str(path), "offset": offset, "length": 4}

    def test_damage_is_a_line_too(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path.write_bytes(file_of([Opened("nightly", 1)]) + b"?\n")
        assert main(["journal", "tail", str(path)]) == 0
        told = capsys.readouterr().out.splitlines()[1].lstrip()
        assert told.startswith(f"damage  {path}, byte ")

    def test_following_it_goes_on_over_rotations_until_ctrl_c(self, path: Path) -> None:
        with Journal(path, "nightly", segment_bytes=3000) as journal:
            journal.append([submitted("first")])
            process = subprocess.Popen(
                [sys.executable, "-m", "executor", "journal", "tail", "-f", "-n1", str(path)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=PROJECT,
                text=True,
            )
            assert process.stdout is not None
            try:
                seen = [process.stdout.readline()]
                for number in range(10):
                    journal.append(a_life(f"u{number}"))
                    seen += [process.stdout.readline() for _ in range(4)]
                process.send_signal(signal.SIGINT)
                rest, errors = process.communicate(timeout=30)
            finally:
                process.kill()
                process.communicate()
            assert path.with_name("nightly.journal.2").exists()
        assert [int(line[23:].split()[0]) for line in seen] == list(range(2, 43))
        assert (rest, errors, process.returncode) == ("", "", 130)


class TestToils:
    """A file that a Toil leader wrote."""

    def test_its_status(self, capsys: pytest.CaptureFixture[str]) -> None:
        said = status(LEADER, capsys)
        assert said.splitlines() == [
            f"{LEADER}: messages of a Toil leader, without times",
            "jobs: 4 success, 2 failure; 2 in the queue",
        ]
        found = status_json(LEADER, capsys)
        assert found["format"] == "toil"
        assert found["jobs"] == {**dict.fromkeys(JOB_STATES, 0), "SUCCESS": 4, "FAILURE": 2}
        assert (found["queue_size"], found["open_jobs"], found["damage"]) == (2, [], [])

    def test_the_status_of_one_that_is_being_written(
        self, path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        first = b"".join(LEADER.read_bytes().splitlines(keepends=True)[:18])
        machines = b"toil.bus.ClusterDesiredSizeMessage\tt4g\t3\n"
        path.write_bytes(first + machines + b"nonsense\ntoil.bus.Job")
        said = status(path, capsys)
        assert "jobs: 5 pending, 1 success; 5 in the queue" in said
        assert "machines of type t4g: ? there, 3 wanted" in said
        rows = [line.split("│") for line in said.splitlines() if "│" in line]
        assert [[cell.strip() for cell in row[2:-1]] for row in rows][-1] == [
            *("leaf", "PENDING", "2", "3326", "1")
        ]
        assert "damage: " in said
        assert "line 20 cannot be read, no message of Toil's: b'nonsense'" in said
        assert "the last 12 bytes are no whole line" in said
        assert status_json(path, capsys)["open_jobs"][-1]["tries"][0]["issued"] is None

    def test_its_last_lines_have_no_times(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["journal", "tail", "-n", "2", str(LEADER)]) == 0
        assert [line[:33].strip() for line in capsys.readouterr().out.splitlines()] == ["39", "40"]
        assert main(["journal", "tail", "-n", "1", "--json", str(LEADER)]) == 0
        (line,) = capsys.readouterr().out.splitlines()
        assert json.loads(line) == {
            "n": 40,
            "t": None,
            "e": "job_failed",
            "kind": "root",
            "job": next(iter(REPLAYED)),
        }

    def test_one_that_is_empty_yet_is_followed_when_its_leader_begins(self, path: Path) -> None:
        path.touch()
        pauses = iter([lambda: path.write_bytes(b"toil.bus.QueueSizeMessage\t1\n"), None])

        def pause() -> bool:
            step = next(pauses)
            if step is not None:
                step()
            return step is not None

        found = list(journal_files.follow(str(path), pause, 10))
        assert [each.event for each in found if isinstance(each, Entry)] == [QueueSize(1)]


class TestJobs:
    """In a journal of ours."""

    def test_they_are_beside_the_requests(
        self, path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with Journal(path, "nightly") as journal:
            journal.append([submitted("u"), JobIssued("j", "align", 7), JobStarted(7)])
            said = status(path, capsys)
            found = status_json(path, capsys)
        assert "requests: 1 waiting\njobs: 1 running\n" in said
        assert found["open_jobs"][0]["tries"][0]["started"] > 0

    def test_status_says_it_again_when_the_file_has_changed(self, path: Path) -> None:
        with Journal(path, "nightly") as journal:
            process = subprocess.Popen(
                [sys.executable, "-m", "executor", "journal", "status", "-f", "--json", str(path)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=PROJECT,
                text=True,
            )
            assert process.stdout is not None
            try:
                first = json.loads(process.stdout.readline())
                journal.append([JobIssued("j", "align", 7)])
                second = json.loads(process.stdout.readline())
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=30)
            finally:
                process.kill()
                process.communicate()
        assert (first["jobs"]["PENDING"], second["jobs"]["PENDING"]) == (0, 1)
        assert process.returncode == 130


class TestWords:
    """What is typed."""

    @pytest.mark.parametrize("command", ["status", "tail", "replay"])
    def test_what_is_no_journal_is_told_with_the_code_for_it(
        self, path: Path, command: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["journal", command, str(path)]) == 2
        assert f"taskline: there is no journal {path}" in capsys.readouterr().err
        path.write_bytes(b"Dear diary,\n")
        assert main(["journal", command, str(path)]) == 2
        assert "is no journal, and was left as it is" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "words",
        [
            *([], ["status"], ["tail"], ["replay"], ["write", "x"], ["tail", "-n", "x", "y"]),
            *(["tail", "-n", "-1", "y"], ["status", "-n", "1", "y"], ["status", "x", "y"]),
        ],
    )
    def test_what_cannot_be_understood_is_a_usage_line(
        self, words: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as caught:
            main(["journal", *words])
        assert caught.value.code == 2
        assert "usage: taskline journal" in capsys.readouterr().err

    @pytest.mark.parametrize("words", [[], ["status"], ["tail"], ["replay"]])
    def test_each_has_its_help(self, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            main(["journal", *words, "--help"])
        assert caught.value.code == 0
        assert "exit codes: 0 done" in capsys.readouterr().out
