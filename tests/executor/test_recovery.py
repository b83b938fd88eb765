"""Taking up what a journal holds open: futures, and what the ledger is handed."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bus.news import Journal
from executor import recovery
from executor.deliverer import Deliverer
from executor.future import Future
from executor.keeper import Keeper
from executor.ledger import Ledger
from executor.turn import Requests
from protocol.events import Cancelled, Dispatched, Ended, Event, Running, Submitted
from protocol.messages import Request
from tests.executor.test_future import House
from tests.executor.test_keeper import Outbox
from tests.processes import wait_until

HOUSE = House()
BODY = Request("m.task", arguments={"n": 1}).to_body()
BOOT = "a" * 16


def submitted(uuid: str) -> Submitted:
    return Submitted(uuid, "m.task", BODY, ["default"])


def dispatched(uuid: str, number: int) -> Dispatched:
    return Dispatched(
        *(uuid, 1, 1, "native", "default", "hare"),
        boot=BOOT,
        inbox=f"default.{BOOT}",
        ticket=f"1:{number}",
        start_by=1000,
    )


LINES: list[Event] = [
    submitted("waits"),
    submitted("sent"),
    dispatched("sent", 1),
    submitted("runs"),
    dispatched("runs", 2),
    Running("runs", 1),
    submitted("cancelled"),
    dispatched("cancelled", 3),
    Cancelled("cancelled"),
    submitted("to be stopped"),
    dispatched("to be stopped", 4),
    Running("to be stopped", 1),
    Cancelled("to be stopped", force=True),
    submitted("ended"),
    Ended("ended", "success", 1),
]


class Taken:
    """A journal that was taken up by a keeper which has not started."""

    def __init__(self, path: Path) -> None:
        self.journal = recovery.open_journal(path, "me")
        self.requests = Requests()
        self.ledger = Ledger(
            "me",
            "ex",
            ("default",),
            incarnation=self.journal.incarnation,
            keeps_journal=True,
        )
        self.outbox = Outbox()
        self.deliverer = Deliverer("taskline-deliverer-test")
        self.keeper = Keeper(
            self.ledger,
            self.requests,
            self.outbox,
            self.deliverer,
            name="taskline-keeper-test",
            on_crowd=lambda workers: None,
            is_listening=lambda: True,
            stood_still=lambda: (0.0, 0.0),
            journal=self.journal,
        )
        self.uuids = recovery.take_up(
            self.journal,
            self.requests,
            self.keeper,
            lambda uuid, task: Future(uuid, task, HOUSE),
        )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Journal(tmp_path / "journal", "me") as journal:
        journal.append(LINES)
    return tmp_path / "journal"


@pytest.fixture
def taken(path: Path) -> Iterator[Taken]:
    made = Taken(path)
    yield made
    made.journal.close()


def test_each_open_request_gets_a_future_as_it_was(taken: Taken) -> None:
    assert taken.uuids == ["waits", "sent", "runs", "to be stopped"]
    assert list(taken.requests.open) == taken.uuids
    futures: dict[str, Future[Any]] = {u: e.future for u, e in taken.requests.open.items()}
    assert [u for u, future in futures.items() if future.running()] == ["runs", "to be stopped"]
    assert futures["sent"].task == "m.task"
    assert list(taken.requests.unsettled) == ["cancelled"]
    assert taken.requests.unsettled["cancelled"].cancelled()


def test_the_ledger_has_them_all_before_the_keeper_starts(taken: Taken) -> None:
    assert len(taken.ledger) == 5
    assert taken.ledger.state_of("waits") == "WAITING"
    assert taken.ledger.state_of("ended") is None
    assert taken.journal.incarnation > 1
    assert taken.journal.open_requests == []  # nobody holds them twice


def test_nothing_is_sent_anew_because_of_it(taken: Taken) -> None:
    taken.deliverer.start()
    taken.keeper.start()
    taken.keeper.stop(fails=False)
    taken.deliverer.stop()
    kinds = {parcel.envelope.kind for parcel in taken.outbox.sent}
    assert kinds <= {"NOTIFY", "CANCEL"}
    assert list(taken.requests.open) == taken.uuids


def test_the_collector_of_garbage_is_left_as_it_was(path: Path) -> None:
    was_enabled = gc.isenabled()
    try:
        for enabled in (True, False):
            gc.enable() if enabled else gc.disable()
            with recovery.collector_paused():
                assert not gc.isenabled()
                Taken(path).journal.close()
            assert gc.isenabled() is enabled
    finally:
        gc.enable() if was_enabled else gc.disable()


def test_damage_is_said_in_the_log(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And the rest is taken up."""
    text = path.read_bytes()
    path.write_bytes(text.replace(b'"uuid":"waits"', b'"uuid":"wAits"'))
    with caplog.at_level(logging.WARNING, "taskline.executor.recovery"):
        taken = Taken(path)
        taken.journal.close()
    assert taken.uuids == ["sent", "runs", "to be stopped"]
    assert "is damaged: " in caplog.text


def test_no_incarnation_comes_twice_though_the_journal_was_deleted_or_put_back(
    tmp_path: Path,
) -> None:
    """No process starts as quickly as this one opens: the clock goes on in between."""
    path = tmp_path / "journal"
    seen: list[int] = []

    def opened() -> None:
        wait_until(lambda: not seen or time.time() * 1000 > seen[-1] + 1, "the clock to go on")
        with recovery.open_journal(path, "me") as journal:
            seen.append(journal.incarnation)

    opened()
    kept = path.read_bytes()
    opened()
    path.unlink()
    opened()
    path.write_bytes(kept)
    opened()
    assert seen == sorted(set(seen))
