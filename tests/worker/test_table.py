"""The table of section 6 of the native dialect, cell by cell, as a worker process lives it.

The worker has one slot. The request is ``u``; where it has been taken, that was as attempt 2 of its
first round, with tickets 1:1 and 1:2; its start-by is 15. A cell says what the worker does, in
order, and after the arrow what it holds of ``u`` then, as its HELD has it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from protocol.failure import from_text
from protocol.messages import Held
from protocol.parcel import Received
from protocol.timing import KEEP
from protocol.topology import Names
from tests.worker.executors import BOOT, TASK, Native, done, in_words, runs
from tests.worker.prompt import Prompt as Shift
from worker import outbox
from worker.effects import Effect
from worker.work import Ended, Offer

EX = Native()
#: Whose request takes the slot where ``u`` is not to have it.
OTHER = Native("other")
START_BY = 15.0
NOW = 10.0
LATE = 16.0


class Scene:
    """A worker process, and ``u`` in one of the states."""

    def __init__(self, state: str, *, can_stop: bool = True) -> None:
        names = Names("native", "test")
        self.shift = Shift(names, ("default",), worker="w", boot=BOOT, slots=1, can_stop=can_stop)
        self.shift.offering([Offer(TASK)], 0.0)
        self.shift.tick(0.0)
        self.key = 0
        if state in ("running", "ended", "dropped", "over, ran"):
            self.key = self._run("u", "1:1-2", attempt=2)
        if state in ("ended", "dropped", "over, ran"):
            self.shift.reported([Ended(self.key, "its result")], 2.0)
        if state == "dropped":  # the store has room for one
            second = self._run("v", 9)
            self.shift.reported([Ended(second)], 3.0)
            self.shift.heard([EX.receipt(9)], 3.0)
        if state == "over, ran":
            self.shift.heard([EX.receipt("1:1-2")], 3.0)
        if state == "over, never ran":
            cancel = EX.cancel("u", "1:1-2", attempt=2, start_by=START_BY)
            self.shift.heard([cancel], 2.0)
        if state != "running":
            (run,) = runs(self.shift.heard([OTHER.request("other", 1)], 4.0))
            self.others = run.work.key
        self.shift.tick(NOW - 0.5)  # or it would have stood still
        if state == "queued":
            request = EX.request("u", "1:1-2", attempt=2, start_by=START_BY)
            self.shift.heard([request], NOW - 0.5)

    def _run(self, uuid: str, tickets: int | str, attempt: int = 1) -> int:
        request = EX.request(uuid, tickets, attempt=attempt, start_by=START_BY)
        (run,) = runs(self.shift.heard([request], 1.0))
        return run.work.key

    @property
    def held(self) -> str:
        """What HELD says, without asking for it, which would be a word from the executor."""
        known = self.shift._executors.get(EX.name)
        return in_words(known.digest() if known else Held())

    def free_the_slot(self, now: float) -> list[Effect]:
        """The other's run ends."""
        return self.shift.reported([Ended(self.others)], now)


Act = Callable[[Scene], list[Effect]]


def _requested(attempt: int, base: int = 1, *, at: float = NOW) -> Act:
    tickets = f"1:1-{attempt}"
    request = EX.request("u", tickets, attempt=attempt, base=base, start_by=START_BY)

    def act(scene: Scene) -> list[Effect]:
        scene.shift.heard([EX.question()], at)  # it has not been silent
        return scene.shift.heard([request], at)

    return act


def _cancelled(if_started: str, attempt: int, base: int = 1) -> Act:
    tickets = f"1:1-{attempt}"
    cancel = EX.cancel("u", tickets, if_started, attempt=attempt, base=base, start_by=START_BY)  # type: ignore[arg-type]
    return lambda scene: scene.shift.heard([cancel], NOW)


def _receipted(tickets: str) -> Act:
    return lambda scene: scene.shift.heard([EX.receipt(tickets)], NOW)


def _ends(end: str = "done") -> Act:
    failure = None if end == "done" else from_text(("Ended", "Exception"), end)
    return lambda scene: scene.shift.reported(
        [Ended(scene.key, "its result", failure, end)],  # type: ignore[arg-type]
        NOW,
    )


def _store_is_full(scene: Scene) -> list[Effect]:
    """Another result of the same executor, when there is room for one."""
    scene.free_the_slot(NOW)
    key = scene._run("v", 9)
    effects = scene.shift.reported([Ended(key)], NOW)
    scene.shift.heard([EX.receipt(9)], NOW)
    return [effect for effect in effects if done([effect]) != ["SUCCESS v"]]


def _silence(scene: Scene) -> list[Effect]:
    """Nothing is heard of the executor for longer than its results are kept, but of the other."""
    now = NOW + KEEP + 1
    scene.shift.heard([OTHER.question()], now)
    effects = scene.shift.tick(now)
    return [effect for effect in effects if "other" not in " ".join(done([effect]))]


NONE, QUEUED, RUNNING, ENDED, DROPPED, OVER, GONE = (
    *("none", "queued", "running", "ended", "dropped"),
    *("over, never ran", "over, ran"),
)
AGAIN = "SUCCESS u"

#: Row by row: what comes, and for each state the cell. What is no cell of the document's is absent.
TABLE: list[tuple[str, Act, dict[str, str]]] = [
    (
        "REQUEST, clock >= sb, at <= n",
        _requested(2, at=LATE),
        {
            NONE: "RELEASE late 1:1-2 -> nothing",
            QUEUED: "-> queued 1:1-2",
            RUNNING: "RUNNING u -> running 1:1-2",
            ENDED: f"{AGAIN} -> ended 1:1-2",
            DROPPED: "DROPPED 1:1-2 -> dropped 1:1-2",
            OVER: "RELEASE late 1:1-2 -> nothing",
            GONE: "-> nothing",
        },
    ),
    (
        "REQUEST, clock >= sb, at > n",
        _requested(3, at=LATE),
        {
            NONE: "RELEASE late 1:1-3 -> nothing",
            QUEUED: "-> queued 1:1-3",
            RUNNING: "RUNNING u -> running 1:1-3",
            ENDED: f"{AGAIN} -> ended 1:1-3",
            DROPPED: "DROPPED 1:1-3 -> dropped 1:1-3",
            OVER: "RELEASE late 1:3 -> nothing",
            GONE: "RELEASE late 1:3 -> nothing",
        },
    ),
    (
        "REQUEST, clock >= sb, base > n",
        _requested(3, 3, at=LATE),
        {
            NONE: "RELEASE late 1:1-3 -> nothing",
            QUEUED: "-> queued 1:1-3",
            RUNNING: "RELEASE late 1:3 -> nothing",
            ENDED: "RELEASE late 1:3 -> nothing",
            DROPPED: "DROPPED 1:1-3 -> dropped 1:1-3",
            OVER: "RELEASE late 1:3 -> nothing",
            GONE: "RELEASE late 1:3 -> nothing",
        },
    ),
    (
        "REQUEST at = n",
        _requested(2),
        {
            NONE: "-> queued 1:1-2",
            QUEUED: "-> queued 1:1-2",
            RUNNING: "RUNNING u -> running 1:1-2",
            ENDED: f"{AGAIN} -> ended 1:1-2",
            DROPPED: "DROPPED 1:1-2 -> dropped 1:1-2",
            OVER: "RELEASE full 1:1-2 -> nothing",
            GONE: "-> nothing",
        },
    ),
    (
        "REQUEST at < n",
        _requested(1),
        {
            NONE: "-> queued 1:1",
            QUEUED: "-> queued 1:1-2",
            RUNNING: "RUNNING u -> running 1:1-2",
            ENDED: f"{AGAIN} -> ended 1:1-2",
            DROPPED: "DROPPED 1:1-2 -> dropped 1:1-2",
            OVER: "RELEASE full 1:1 -> nothing",
            GONE: "-> nothing",
        },
    ),
    (
        "REQUEST at > n, base <= n",
        _requested(3),
        {
            NONE: "-> queued 1:1-3",
            QUEUED: "-> queued 1:1-3",
            RUNNING: "RUNNING u -> running 1:1-3",
            ENDED: f"{AGAIN} -> ended 1:1-3",
            DROPPED: "-> queued 1:3",
            OVER: "-> queued 1:3",
            GONE: "-> queued 1:3",
        },
    ),
    (
        "REQUEST at > n, base > n",
        _requested(3, 3),
        {
            NONE: "-> queued 1:1-3",
            QUEUED: "-> queued 1:1-3",
            RUNNING: "-> queued 1:3",
            ENDED: "-> queued 1:3",
            DROPPED: "-> queued 1:3",
            OVER: "-> queued 1:3",
            GONE: "-> queued 1:3",
        },
    ),
    (
        "CANCEL keep",
        _cancelled("keep", 2),
        {
            NONE: "RELEASE cancelled 1:1-2 -> nothing",
            QUEUED: "RELEASE cancelled 1:1-2 -> nothing",
            RUNNING: "RUNNING u -> running 1:1-2",
            ENDED: f"{AGAIN} -> ended 1:1-2",
            DROPPED: "DROPPED 1:1-2 -> dropped 1:1-2",
            OVER: "RELEASE cancelled 1:1-2 -> nothing",
            GONE: "RELEASE over 1:1-2 -> nothing",
        },
    ),
    (
        "CANCEL keep, at > n",
        _cancelled("keep", 3),
        {
            NONE: "RELEASE cancelled 1:1-3 -> nothing",
            QUEUED: "RELEASE cancelled 1:1-3 -> nothing",
            RUNNING: "RUNNING u -> running 1:1-3",
            ENDED: f"{AGAIN} -> ended 1:1-3",
            DROPPED: "DROPPED 1:1-3 -> dropped 1:1-3",
            OVER: "RELEASE cancelled 1:1-3 -> nothing",
            GONE: "RELEASE cancelled 1:3, RELEASE over 1:1-2 -> nothing",
        },
    ),
    (
        "CANCEL keep, at < n (stale)",
        _cancelled("keep", 1),
        {
            NONE: "RELEASE cancelled 1:1 -> nothing",
            QUEUED: "-> queued 1:1-2",
            RUNNING: "RUNNING u -> running 1:1-2",
            ENDED: f"{AGAIN} -> ended 1:1-2",
            DROPPED: "DROPPED 1:1-2 -> dropped 1:1-2",
            OVER: "RELEASE cancelled 1:1 -> nothing",
            GONE: "RELEASE over 1:1 -> nothing",
        },
    ),
    (
        "CANCEL stop",
        _cancelled("stop", 3),
        {
            NONE: "RELEASE cancelled 1:1-3 -> nothing",
            QUEUED: "RELEASE cancelled 1:1-3 -> nothing",
            RUNNING: "END -> running 1:1-3",
            ENDED: f"{AGAIN} -> ended 1:1-3",
            DROPPED: "DROPPED 1:1-3 -> dropped 1:1-3",
            OVER: "RELEASE cancelled 1:1-3 -> nothing",
            GONE: "RELEASE cancelled 1:3, RELEASE over 1:1-2 -> nothing",
        },
    ),
    (
        "CANCEL keep with base > n",
        _cancelled("keep", 3, 3),
        {
            NONE: "RELEASE cancelled 1:1-3 -> nothing",
            QUEUED: "RELEASE cancelled 1:1-3 -> nothing",
            RUNNING: "RELEASE cancelled 1:3, RELEASE over 1:1-2 -> nothing",
            ENDED: "RELEASE cancelled 1:3, RELEASE over 1:1-2 -> nothing",
            DROPPED: "RELEASE cancelled 1:3, RELEASE over 1:1-2 -> nothing",
            OVER: "RELEASE cancelled 1:1-3 -> nothing",
            GONE: "RELEASE cancelled 1:3, RELEASE over 1:1-2 -> nothing",
        },
    ),
    (
        "CANCEL stop with base > n",
        _cancelled("stop", 3, 3),
        {
            NONE: "RELEASE cancelled 1:1-3 -> nothing",
            QUEUED: "RELEASE cancelled 1:1-3 -> nothing",
            RUNNING: "END, RELEASE cancelled 1:3, RELEASE over 1:1-2 -> nothing",
            ENDED: "RELEASE cancelled 1:3, RELEASE over 1:1-2 -> nothing",
            DROPPED: "RELEASE cancelled 1:3, RELEASE over 1:1-2 -> nothing",
            OVER: "RELEASE cancelled 1:1-3 -> nothing",
            GONE: "RELEASE cancelled 1:3, RELEASE over 1:1-2 -> nothing",
        },
    ),
    (
        "RECEIPT of its tickets",
        _receipted("1:1-2"),
        dict.fromkeys((NONE, QUEUED, RUNNING, ENDED, DROPPED, OVER, GONE), "-> nothing"),
    ),
    (
        "RECEIPT of an older ticket alone",
        _receipted("1:1"),
        {
            NONE: "-> nothing",
            QUEUED: "-> queued 1:2",
            RUNNING: "-> running 1:2",
            ENDED: "-> ended 1:2",
            DROPPED: "-> dropped 1:2",
            OVER: "-> nothing",
            GONE: "-> nothing",
        },
    ),
    (
        "RECEIPT of the newest ticket",
        _receipted("1:2"),
        dict.fromkeys((NONE, QUEUED, RUNNING, ENDED, DROPPED, OVER, GONE), "-> nothing"),
    ),
    (
        "slot free, clock < sb",
        lambda scene: scene.free_the_slot(NOW),
        {QUEUED: "SUCCESS other, RUN 2, RUNNING u -> running 1:1-2"},
    ),
    (
        "slot free, clock >= sb",
        lambda scene: scene.free_the_slot(LATE),
        {QUEUED: "SUCCESS other, RELEASE late 1:1-2 -> nothing"},
    ),
    ("task ends", _ends(), {RUNNING: f"{AGAIN} -> ended 1:1-2"}),
    ("task ends its process", _ends("crash"), {RUNNING: "FAILURE u -> ended 1:1-2"}),
    ("task is ended", _ends("stopped"), {RUNNING: "FAILURE u -> ended 1:1-2"}),
    ("task is out of time", _ends("limit"), {RUNNING: "FAILURE u -> ended 1:1-2"}),
    ("store full", _store_is_full, {ENDED: "DROPPED 1:1-2 -> dropped 1:1-2"}),
    (
        "drain",
        lambda scene: scene.shift.drain(NOW, 30.0),
        {
            NONE: "ANSWER default to all -> nothing",
            QUEUED: "ANSWER default to all, RELEASE drain 1:1-2 -> nothing",
            RUNNING: "ANSWER default to all -> running 1:1-2",
            ENDED: "ANSWER default to all -> ended 1:1-2",
            DROPPED: "ANSWER default to all -> dropped 1:1-2",
        },
    ),
    (
        "executor silent > keep",
        _silence,
        {
            QUEUED: "-> nothing",
            RUNNING: "END -> nothing",
            ENDED: "-> nothing",
            DROPPED: "-> nothing",
            OVER: "-> nothing",
            GONE: "-> nothing",
        },
    ),
]

CELLS = [
    pytest.param(act, state, cell, id=f"{row} | {state}")
    for row, act, cells in TABLE
    for state, cell in cells.items()
]


@pytest.mark.parametrize(("act", "state", "cell"), CELLS)
def test_each_cell_of_the_table(
    act: Act, state: str, cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if state == DROPPED or act is _store_is_full:
        monkeypatch.setattr(outbox, "MAX_RESULTS", 1)
    scene = Scene(state)
    effects = act(scene)
    said = ", ".join(done(effects))
    assert f"{said} -> {scene.held}".lstrip() == cell


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(_cancelled("keep", 2), id="CANCEL before its REQUEST"),
        pytest.param(_receipted("1:1-2"), id="RECEIPT before its REQUEST"),
        pytest.param(_requested(2, at=LATE), id="refused as late"),
    ],
)
def test_what_is_over_never_starts_however_late_its_request_comes(first: Act) -> None:
    """The broker may keep a message for as long as it likes; tombstones outlive its start-by."""
    scene = Scene(NONE)
    first(scene)
    scene.free_the_slot(LATE)
    for attempt in (1, 2):
        assert "RUN" not in " ".join(done(_requested(attempt)(scene)))
    assert "RUN 3" in done(_requested(3)(scene))


# a pool that cannot end a task ----------------------------------------------------------------


def test_where_no_task_can_be_ended_a_cancel_with_stop_is_one_with_keep() -> None:
    scene = Scene(RUNNING, can_stop=False)
    assert done(_cancelled("stop", 3)(scene)) == ["RUNNING u"]
    assert scene.held == "running 1:1-3"
    effects = _cancelled("stop", 4, 4)(scene)
    assert done(effects) == ["RELEASE cancelled 1:4", "RELEASE over 1:1-3"]
    assert scene.held == "nothing"


def test_a_run_of_nobody_is_left_where_it_cannot_be_ended() -> None:
    scene = Scene(RUNNING, can_stop=False)
    assert done(_silence(scene)) == []
    assert scene.held == "nothing"
    assert scene.shift.held == (0, 1)
    assert done(_ends()(scene)) == []
    assert scene.shift.counts["discarded"] == 1


# a run that is to be ended ----------------------------------------------------------------------


def test_a_run_is_ended_once_and_answered_when_it_has_ended() -> None:
    scene = Scene(RUNNING)
    assert done(_cancelled("stop", 2)(scene)) == ["END"]
    assert done(_cancelled("stop", 2)(scene)) == []  # its end is on its way
    assert done(_cancelled("keep", 2)(scene)) == ["RUNNING u"]
    assert done(_ends("stopped")(scene)) == ["FAILURE u"]
    assert done(_cancelled("stop", 2)(scene)) == ["FAILURE u"]


def test_an_end_that_wins_the_race_against_a_cancel_is_told_as_it_is() -> None:
    scene = Scene(RUNNING)
    _cancelled("stop", 2)(scene)
    assert done(_ends()(scene)) == [AGAIN]


# a run that is receipted ------------------------------------------------------------------------


@pytest.fixture
def receipted() -> Scene:
    """It runs, and its executor has the result of another attempt."""
    scene = Scene(RUNNING)
    _receipted("1:1-2")(scene)
    return scene


def test_a_receipted_run_runs_on_and_its_end_is_told_to_nobody(receipted: Scene) -> None:
    assert done(_requested(2)(receipted)) == []
    assert done(_cancelled("keep", 2)(receipted)) == ["RELEASE over 1:1-2"]
    assert receipted.shift.held == (0, 1)
    assert done(_ends()(receipted)) == []
    assert receipted.shift.counts["discarded"] == 1
    assert done(_requested(2)(receipted)) == []


def test_a_receipted_run_serves_who_asks_again(receipted: Scene) -> None:
    assert done(_requested(3)(receipted)) == ["RUNNING u"]
    assert receipted.held == "running 1:3"
    assert done(_ends()(receipted)) == [AGAIN]
    assert receipted.held == "ended 1:3"


def test_a_receipted_run_does_not_serve_a_new_round(receipted: Scene) -> None:
    assert done(_requested(3, 3)(receipted)) == []
    assert receipted.held == "queued 1:3"
    assert done(_ends()(receipted)) == ["RUN 3", "RUNNING u"]


def test_a_receipted_run_can_be_ended(receipted: Scene) -> None:
    effects = _cancelled("stop", 3)(receipted)
    assert done(effects) == ["END", "RELEASE cancelled 1:3", "RELEASE over 1:1-2"]
    assert done(_ends("stopped")(receipted)) == []


# nonsense ---------------------------------------------------------------------------------------

_SECOND = Native(incarnation=2)
#: What comes to a worker that has heard the executor's second incarnation, and its counter.
NONSENSE = [
    (EX.request("u", 7, boot="c" * 16), "wrong_boot"),
    (EX.cancel("u", 7, boot="c" * 16), "wrong_boot"),
    (EX.receipt(7, boot="c" * 16), "wrong_boot"),
    (EX.request("u", 7), "old_incarnation"),
    (EX.cancel("u", 7), "old_incarnation"),
    (_SECOND.request("u", "2:5-4"), "tickets"),
    (_SECOND.cancel("u", "2:0"), "tickets"),
    (_SECOND.receipt("2:1-200000"), "tickets"),
    (_SECOND.request("u", "2:1-65"), "too_many_tickets"),
    (_SECOND.cancel("u", "2:1-65"), "too_many_tickets"),
    (_SECOND.request("u", "2:7", attempt=2, base=3), "base_above_attempt"),
    (_SECOND.cancel("u", "2:7", base=2), "base_above_attempt"),
    (_SECOND.request("w", "1:2"), "ticket_of_another"),
    (_SECOND.cancel("w", "1:1 2:7", "stop"), "ticket_of_another"),
    (_SECOND.request("u", "1:1-2", attempt=3), "ticket_of_another"),
    (_SECOND.request("u", "1:1-2", attempt=3, base=3), "ticket_of_another"),
]


@pytest.mark.parametrize(("delivery", "reason"), NONSENSE)
def test_nonsense_is_counted_and_changes_nothing(delivery: Received, reason: str) -> None:
    scene = Scene(RUNNING)
    scene.shift.heard([_SECOND.question()], NOW)
    before = scene.shift.counts.copy()
    assert done(scene.shift.heard([delivery], NOW)) == []
    assert scene.held == "running 1:1-2"
    assert scene.shift.counts - before == {reason: 1}


def test_a_receipt_of_an_earlier_life_is_a_receipt() -> None:
    """Its line was written before it was sent; a ticket keeps its incarnation."""
    scene = Scene(ENDED)
    scene.shift.heard([_SECOND.question()], NOW)
    _receipted("1:1-2")(scene)
    assert scene.held == "nothing"


def test_a_later_life_asks_for_what_an_earlier_one_sent() -> None:
    scene = Scene(ENDED)
    again = _SECOND.request("u", "1:1-2", attempt=2, start_by=START_BY)
    assert done(scene.shift.heard([again], NOW)) == [AGAIN]
