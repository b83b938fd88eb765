"""``journal replay``: every request and job, as far as it has come."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bus.news import Journal
from executor.cli import main
from protocol.events import Ended, Progress, Running
from protocol.jobs import (
    JobAnnotated,
    JobCompleted,
    JobIssued,
    JobKilled,
    JobMissing,
    JobPlaced,
    JobStarted,
    QueueSize,
)
from tests.bus.news.toil.samples import MESSAGES, REPLAYED
from tests.bus.news.writing import a_life, dispatched, submitted
from tests.processes import PROJECT


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "nightly.journal"


def replay(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
    """The lines that are printed."""
    assert main(["journal", "replay", *options, str(path)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out.splitlines()


def replay_json(path: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in replay(path, capsys, "--json")]


def test_each_is_a_line_in_the_order_they_were_heard_of(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Journal(path, "nightly") as journal:
        journal.append([submitted("waits"), *a_life("u")])
        journal.append([submitted("runs"), dispatched("runs"), Running("runs", 1)])
        journal.append([Progress("runs", 0.25), JobIssued("j", "align", 1), JobStarted(1)])
        journal.append([JobIssued("k", "align", 2), JobCompleted("k", "align", 1)])
        journal.append([JobIssued("k", "align", 3), JobMissing("k"), JobKilled(3), QueueSize(1)])
        journal.append([JobPlaced(3, "4711", "Slurm"), JobAnnotated("k", "queue", "long\n")])
    assert replay(path, capsys) == [
        "WAITING    request waits: t, 0 attempts",
        "SUCCESS    request u: t, at hare, 1 attempt",
        "RUNNING    request runs: t, at hare, 1 attempt, 25% done",
        "RUNNING    job j: align",
        "FAILURE    job k: align, 4711 at Slurm, missing, killed, issued 2 times, queue=long\\n",
    ]


def test_as_json_with_times(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Journal(path, "nightly", now=lambda: 100.0) as journal:
        journal.append([submitted("u", "key"), Ended("u", "cancelled"), JobIssued("j", "align", 1)])
    path.write_bytes(path.read_bytes() + b"torn")
    request, job, damage = sorted(replay_json(path, capsys), key=lambda each: "damage" in each)
    assert request == {
        "request": "u",
        "task": "t",
        "state": "CANCELLED",
        "submitted": 100.0,
        "ended": 100.0,
        "worker": None,
        "attempts": 0,
        "retries": 0,
        "key": "key",
        "progress": None,
    }
    assert job == {
        "job": "j",
        "kind": "align",
        "state": "PENDING",
        "exit_code": None,
        "annotations": {},
        "tries": [
            {
                "batch_id": 1,
                "external_id": None,
                "system": None,
                "issued": 100.0,
                "started": None,
                "ended": None,
                "exit_code": None,
                "killed": False,
                "missing": False,
            }
        ],
    }
    assert (damage["reason"], damage["length"]) == ("torn", 4)


def test_of_a_leader_of_toils_it_says_what_toils_replay_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = replay_json(MESSAGES, capsys)
    assert [each["job"] for each in found] == list(REPLAYED)
    for each, known in zip(found, REPLAYED.values(), strict=True):
        last = each["tries"][-1]
        assert (each["kind"], last["batch_id"]) == (known["name"], known["toil_batch_id"])
        assert last["external_id"] == known["external_batch_id"]
        assert last["system"] == known["batch_system"]
        assert last["issued"] is None
        assert (each["state"] == "SUCCESS") == (known["exit_code"] == 0)


def test_following_it_prints_one_again_when_it_has_come_further(path: Path) -> None:
    with Journal(path, "nightly") as journal:
        journal.append([submitted("u"), submitted("v")])
        process = subprocess.Popen(
            [sys.executable, "-m", "executor", "journal", "replay", "-f", str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=PROJECT,
            text=True,
        )
        assert process.stdout is not None
        try:
            seen = [process.stdout.readline() for _ in range(2)]
            journal.append([dispatched("v")])
            seen.append(process.stdout.readline())
            journal.append([Running("v", 1), JobIssued("j", "align", 1)])
            seen += [process.stdout.readline() for _ in range(2)]
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate(timeout=30)
        finally:
            process.kill()
            process.communicate()
    states = [line.split(",")[0].split() for line in seen]
    assert [(words[0], words[2].rstrip(":")) for words in states] == [
        *(("WAITING", "u"), ("WAITING", "v"), ("PENDING", "v"), ("RUNNING", "v"), ("PENDING", "j"))
    ]
    assert (rest, errors, process.returncode) == ("", "", 130)
