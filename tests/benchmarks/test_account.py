"""Where a task's CPU goes, read from what a sampling profiler saw, and told by room."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.account import files, stacks
from benchmarks.account.files import Account
from benchmarks.ground import ROOT
from benchmarks.report import accounts

PLAY = 'process 10:"python -m benchmarks.play play.json"'
WORKER = f'{PLAY};process 11:"python -m worker benchmarks.tasks"'
#: As hosts are started: a program of several lines.
HOST = f'{WORKER};process 12:"python -c import sys\nfrom worker.host import main\nmain()"'


def seen(*records: str) -> dict[tuple[str, str], int]:
    return dict(stacks.read("\n".join(records) + "\n"))


def test_a_look_belongs_to_the_innermost_line_and_to_the_side_of_its_process() -> None:
    ledger = f"heard ({ROOT}/executor/ledger.py:20)"
    pool = f"turn ({ROOT}/worker/pool/seat.py:9)"
    run = f"main ({ROOT}/worker/host.py:7)"
    assert seen(
        f"{PLAY};run ({ROOT}/executor/keeper.py:1);{ledger} 5",
        f"{PLAY};{ledger} 2",
        f"{WORKER};run ({ROOT}/worker/keeper.py:1);{pool} 3",
        f"{HOST};{run} 4",
    ) == {
        ("submitter", "executor.ledger"): 7,
        ("worker", "worker.pool.seat"): 3,
        ("hosts", "worker.host"): 4,
    }


@pytest.mark.parametrize(
    ("frame", "room"),
    [
        ("f (/x/lib/python3.11/json/encoder.py:3)", "Python's encoder"),
        ("f (/x/lib/python3.11/json/__init__.py:3)", "Python's json"),
        ("f (/x/lib/python3.11/site-packages/redis/connection.py:3)", "redis"),
        ("f (/x/lib/python3.11/site-packages/six.py:3)", "six"),
        ("validate (<string>:12)", "protocol.schemas, compiled"),
        ("__create_fn__.<locals>.__init__ (<string>:3)", "Python's dataclasses"),
        (f"submit ({ROOT}/bus/wire/transports/redis/channel.py:3)", "bus.wire.transports"),
        (f"loads ({ROOT}/protocol/schemas/__init__.py:3)", "protocol.schemas"),
        (f"bump ({ROOT}/benchmarks/tasks.py:3)", "the caller, the task"),
    ],
)
def test_each_line_has_a_room(frame: str, room: str) -> None:
    assert seen(f"{PLAY};{frame} 1") == {("submitter", room): 1}


def test_who_imports_is_not_at_work_yet_and_what_is_no_record_is_passed_over() -> None:
    importing = "_load (<frozen importlib._bootstrap>:1)"
    assert seen("", "nothing", f"{PLAY};{importing};f (/x/lib/python3.11/re.py:1) 9") == {}


def account() -> Account:
    rows = [("submitter", "redis", 3), ("submitter", "kombu", 1)]
    inside = [("worker", "redis", 2), ("hosts", "worker.host", 2)]
    return Account("redis", {"submitter": 100.0, "workers": 80.0, "broker": 5.0}, rows + inside)


def test_a_room_has_its_share_of_what_its_side_cost_and_workers_are_one_side_with_hosts() -> None:
    assert account().microseconds() == {
        ("submitter", "redis"): 75.0,
        ("submitter", "kombu"): 25.0,
        ("worker", "redis"): 40.0,
        ("hosts", "worker.host"): 40.0,
    }


def test_an_account_is_read_as_it_was_written_and_damage_names_its_file(tmp_path: Path) -> None:
    file = files.write(account(), tmp_path)
    assert files.read_all(tmp_path) == [account()]
    file.write_text("{}")
    with pytest.raises(ValueError, match=file.name):
        files.read_all(tmp_path)


def test_the_table_has_the_dearest_room_first_and_sums() -> None:
    told = accounts.by_room([account()]).splitlines()
    assert told[0] == "|  | redis: submitter | redis: worker | redis: hosts |"
    assert [line.split("|")[1].strip() for line in told[2:]] == [
        "redis",
        "worker.host",
        "kombu",
        "all others",
        "**together**",
    ]
    assert told[2] == "| redis | 75 | 40 |  |"
    assert told[-1] == "| **together** | 100 | 40 | 40 |"
    assert accounts.by_room([]) == ""
