"""A request found again by uuid and by key, in memory and in a journal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bus.news.journal import Journal
from executor import outcomes
from executor.future import Future
from executor.memory import Memory
from executor.recall import Recall, fingerprint
from executor.turn import Open, Requests
from protocol.errors import ConfigurationError, TaskCancelled, UnknownRequest
from protocol.events import Cancelled, Ended, Submitted
from protocol.messages import Request
from protocol.values import Json
from tests.executor.test_future import House

HOUSE = House()
TASK = "m.task"


def body(*args: Any, task: str = TASK, **arguments: Any) -> Json:
    return Request(task, args=args, arguments=arguments).to_body()


class Place:
    """Where requests are submitted and end, with a journal or without."""

    def __init__(self, journal: Journal | None) -> None:
        self.journal = journal
        self.memory = Memory()
        self.requests = Requests()
        self.recall = Recall(
            self.requests, journal, self.memory, lambda uuid, task: Future(uuid, task, HOUSE)
        )

    def submit(self, uuid: str, asked: Json, key: str | None = None) -> Future[Any]:
        future: Future[Any] = Future(uuid, TASK, HOUSE)
        if self.journal is not None:
            self.journal.append([Submitted(uuid, TASK, asked, ["default"], key=key)])
        if key is not None:
            self.recall.submitted(uuid, key, asked)
        self.requests.open[uuid] = Open(future)
        return future

    def end(self, uuid: str, outcome: Any = "success", value: Json = 1) -> None:
        """It ends."""
        ended = Ended(uuid, outcome, value, "hare")
        future = self.requests.open.pop(uuid).future
        outcomes.settle(future, outcomes.from_event(ended))
        if self.journal is not None:
            self.journal.append([ended])
        else:
            self.memory.ended(ended, future)


@pytest.fixture(params=["memory", "journal"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "memory":
        yield Place(None)
        return
    journal = Journal(tmp_path / "journal", "me")
    yield Place(journal)
    journal.close()


def test_an_open_one_is_found_as_itself(place: Place) -> None:
    future = place.submit("u1", body(1))
    assert place.recall.future("u1") is future


def test_one_that_ended_is_found_with_its_outcome(place: Place) -> None:
    for uuid, outcome, value in (
        ("u1", "success", [1, {"a": None}]),
        ("u2", "error", {"type": "TaskCancelled", "message": "ended"}),
        ("u3", "cancelled", None),
    ):
        place.submit(uuid, body(uuid))
        place.end(uuid, outcome, value)
    found = place.recall.future("u1")
    assert (found.uuid, found.task, found.result(0)) == ("u1", TASK, [1, {"a": None}])
    assert isinstance(place.recall.future("u2").exception(0), TaskCancelled)
    assert place.recall.future("u3").cancelled()


def test_one_nobody_knows_is_said_to_be_unknown(place: Place) -> None:
    with pytest.raises(UnknownRequest, match="request u9 is not known here"):
        place.recall.future("u9")


def test_a_key_stands_for_its_request_open_or_ended(place: Place) -> None:
    assert place.recall.join("key", TASK, body(1, x=2, y=3)) is None
    future = place.submit("u1", body(1, x=2, y=3), "key")
    assert place.recall.join("key", TASK, body(1, y=3, x=2)) is future
    place.end("u1", value="the result")
    joined = place.recall.join("key", TASK, body(1, x=2, y=3))
    assert joined is not None
    assert (joined.uuid, joined.result(0)) == ("u1", "the result")


def test_a_failure_keeps_its_key(place: Place) -> None:
    place.submit("u1", body(1), "key")
    place.end("u1", "error", {"type": "PoisonTask", "message": "crashed"})
    joined = place.recall.join("key", TASK, body(1))
    assert joined is not None
    assert "crashed" in str(joined.exception(0))


@pytest.mark.parametrize(
    "other",
    [body(2), body(1, x=1), body(1, task="m.other"), body(True), body(1.5), body("1"), body()],
)
def test_a_key_names_one_call(place: Place, other: Json) -> None:
    place.submit("u1", body(1), "key")
    for ended in (False, True):
        if ended:
            place.end("u1")
        with pytest.raises(ConfigurationError, match="key='key' stands for request u1 already"):
            place.recall.join("key", TASK, other)


@pytest.mark.parametrize(
    ("outcome", "value"),
    [("cancelled", None), ("error", {"type": "TaskCancelled", "message": "ended"})],
)
def test_a_cancelled_one_leaves_its_key_to_the_next(
    place: Place, outcome: str, value: Json
) -> None:
    """Whatever that calls."""
    place.submit("u1", body(1), "key")
    place.end("u1", outcome, value)
    assert place.recall.join("key", TASK, body(2)) is None
    second = place.submit("u2", body(2), "key")
    assert place.recall.join("key", TASK, body(2)) is second


def test_one_whose_cancel_is_not_settled_yet_leaves_its_key_as_well(place: Place) -> None:
    future = place.submit("u1", body(1), "key")
    future.cancel()
    if place.journal is not None:
        place.journal.append([Cancelled("u1")])
    place.requests.unsettled["u1"] = place.requests.open.pop("u1").future
    assert place.recall.future("u1") is future
    assert place.recall.join("key", TASK, body(2)) is None


def test_after_a_restart_the_journal_knows_uuids_and_keys(tmp_path: Path) -> None:
    first = Place(Journal(tmp_path / "journal", "me"))
    first.submit("u1", body(1), "key")
    first.end("u1", value=7)
    first.submit("u2", body(2), "cancelled")
    assert first.journal is not None
    first.journal.append([Cancelled("u2")])
    first.journal.close()
    journal = Journal(tmp_path / "journal", "me")
    later = Place(journal)
    assert later.recall.future("u1").result(0) == 7
    assert later.recall.future("u2").cancelled()
    joined = later.recall.join("key", TASK, body(1))
    assert joined is not None
    assert joined.result(0) == 7
    assert later.recall.join("cancelled", TASK, body(2)) is None
    journal.close()


_SAME: list[tuple[Json, Json]] = [
    (body(1, (2, 3)), body(1, [2, 3])),
    (body(x={"a": 1, "b": 2}), body(x={"b": 2, "a": 1})),
    (
        Request(TASK, version=(1, 0), args=(1,)).to_body(),
        Request(TASK, version=(2, 0), args=(1,)).to_body(),
    ),
]


@pytest.mark.parametrize(("one", "other"), _SAME)
def test_the_same_call_has_the_same_fingerprint(one: Json, other: Json) -> None:
    assert fingerprint(one) == fingerprint(other)


def _deep(depth: int, value: Json = 1) -> Json:
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("make", [lambda: body(_deep(190)), lambda: body(10**5000)])
def test_whatever_may_travel_has_one(make: Callable[[], Json]) -> None:
    assert len(fingerprint(make())) == 32
