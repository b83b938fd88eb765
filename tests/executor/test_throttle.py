"""How often a task is started, and how many of it are out: alone, and in a ledger."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.effects import Dispatch, Effect, Resolve
from executor.lanes import key_of
from executor.ledger import Ledger
from executor.request import Request
from executor.throttle import IDLE, SPARE, Throttle
from protocol.envelope import CAPS, STOPS
from protocol.errors import RequestTimeout
from protocol.rate import parse_rate
from tests.executor.peers import Native, dispatches, order
from tests.executor.scenes import TASK, ends, error, make, running, sent, until

# alone --------------------------------------------------------------------------------------------


def request_(uuid: str = "u", **how: object) -> Request:
    """One that waits."""
    return Request(order(uuid, **how), 0.0)  # type: ignore[arg-type]


def test_a_rate_lets_so_many_go_together_and_then_wakes_when_the_next_may() -> None:
    throttle = Throttle()
    requests = [request_(f"u{n}", rate="2/m") for n in range(3)]
    key = key_of(requests[0])
    for request, now in zip(requests[:2], (0.0, 10.0), strict=True):
        assert throttle.admits(key, now)
        throttle.goes(request, now)
    assert not throttle.admits(key, 59.9)
    assert throttle.next_wake() == 60.0
    assert throttle.obstacle(key, 59.5) == "rate='2/m' is used up for 0.5 s more"
    assert throttle.admits(key, 60.0)
    assert throttle.next_wake() is None
    throttle.goes(requests[2], 60.0)
    assert not throttle.admits(key, 60.0)
    assert throttle.next_wake() == 70.0
    throttle.forget_wakes()
    assert throttle.next_wake() is None


def test_max_running_counts_what_is_out_and_wakes_nobody() -> None:
    throttle = Throttle()
    first, second = request_("u1", max_running=1), request_("u2", max_running=1)
    throttle.goes(first, 0.0)
    throttle.occupies(first)
    assert not throttle.admits(key_of(second), 1.0)
    assert throttle.next_wake() is None
    found = throttle.obstacle(key_of(second), 1.0)
    assert found == "max_running=1 is reached, with 1 of this task out"
    throttle.frees(first)
    throttle.frees(first)
    assert throttle.admits(key_of(second), 1.0)
    assert throttle.obstacle(key_of(second), 1.0) is None


def test_all_of_the_task_count_whatever_their_own_limits_are() -> None:
    throttle = Throttle()
    throttle.goes(request_("u1"), 0.0)
    throttle.goes(request_("u2", rate="3/m"), 0.0)
    throttle.goes(request_("u3"), 0.0)
    assert not throttle.admits(key_of(request_("u4", max_running=3)), 0.0)
    assert throttle.admits(key_of(request_("u4", max_running=4)), 0.0)
    assert throttle.admits(key_of(request_("u4", rate="3/m")), 0.0)
    throttle.goes(request_("u5"), 0.0)
    assert not throttle.admits(key_of(request_("u4", rate="3/m")), 0.0)
    assert throttle.admits(key_of(request_("u4", task="m.other", rate="1/m")), 0.0)
    assert throttle.admits(key_of(request_("u4")), 0.0)


def test_tasks_that_are_not_called_any_more_are_forgotten() -> None:
    throttle = Throttle()
    stays = request_("u", task="m.stays")
    throttle.goes(stays, 0.0)
    for n in range(20 * SPARE):
        once = Request(order("u", f"m.task{n}", rate="1/h"), n * IDLE)
        throttle.goes(once, n * IDLE)
        throttle.frees(once)
    assert len(throttle._uses) <= 3 * SPARE
    assert not throttle.admits(key_of(request_("v", task="m.stays", max_running=1)), 0.0)


# in a ledger --------------------------------------------------------------------------------------


def test_what_its_rate_holds_back_goes_at_its_very_time_and_others_go_meanwhile() -> None:
    ledger, worker = make(), Native("a")
    ledger.heard([worker.answer(0.0, TASK, "m.other", credit=9)], 0.0)
    effects = ledger.submitted([order(f"u{n}", rate="1/s") for n in range(3)], 0.0)
    effects += ledger.submitted([order("other", "m.other")], 0.0)
    assert [d.uuid for d in dispatches(effects)] == ["u0", "other"]
    assert ledger.next_deadline() <= 1.0
    assert dispatches(until(ledger, 0.0, 0.999)) == []
    assert [d.uuid for d in dispatches(ledger.tick(1.0))] == ["u1"]
    assert [d.uuid for d in dispatches(until(ledger, 1.0, 2.0))] == ["u2"]


def test_the_higher_priority_gets_what_the_rate_allows_though_another_came_first() -> None:
    """Just before the ledger wakes for it, one of a lower priority is submitted."""
    ledger, worker = make(), Native("a")
    ledger.heard([worker.answer(0.0, TASK, credit=9)], 0.0)
    ledger.submitted([order(f"u{n}", rate="1/s", priority=1) for n in range(2)], 0.0)
    effects = ledger.submitted([order("late", rate="1/s")], 1.0)
    assert [d.uuid for d in dispatches(effects)] == ["u1"]


@pytest.mark.parametrize("end", ["success", "cancelled", "gone", "given back"])
def test_a_place_is_free_again_when_one_has_ended_or_waits_again(end: str) -> None:
    ledger, worker, other = make(), Native("a"), Native("b")
    dispatch = (sent if end == "given back" else running)(ledger, worker, max_running=1)
    ledger.heard([other.answer(0.0, TASK, credit=9)], 0.0)
    assert ledger.submitted([order("u2", max_running=1)], 0.1) == []
    if end == "success":
        effects = ledger.heard([worker.success(dispatch, 0.2)], 0.2)
    elif end == "cancelled":
        ledger.cancelled("u1", True, 0.2)
        effects = ledger.heard([worker.failure(dispatch, 0.3, "stopped")], 0.3)
    elif end == "gone":
        effects = ledger.gone(worker.name, 0.2)
    else:
        effects = ledger.heard([worker.gives_back(0.2, "full", dispatch)], 0.2)
    assert len(dispatches(effects)) == 1


def test_what_expires_while_its_own_limit_holds_it_back_says_so() -> None:
    ledger, worker = make(), Native("a")
    running(ledger, worker, max_running=1)
    ledger.submitted([order("u2", max_running=1, timeout=2.0)], 0.0)
    effects = ledger.tick(2.0)
    assert ends(effects) == ["u2"]
    assert isinstance(error(effects), RequestTimeout)
    assert "offers it, but max_running=1 is reached, with 1 of this task out" in str(error(effects))


def test_the_wake_for_one_that_was_cancelled_is_not_repeated() -> None:
    ledger, worker = make(), Native("a")
    ledger.heard([worker.answer(0.0, TASK, credit=9)], 0.0)
    ledger.submitted([order(f"u{n}", rate="1/s") for n in range(2)], 0.0)
    ledger.cancelled("u1", False, 0.1)
    ledger.tick(1.0)
    assert ledger.next_deadline() > 1.0


# whatever happens ---------------------------------------------------------------------------------

RATES = ("1/s", "3/s", "2/m")

_steps = st.one_of(
    st.tuples(st.just("submit"), st.integers(0, 5), st.integers(0, 3)),
    st.tuples(st.just("pass"), st.floats(0.0, 3.0), st.just(0)),
    st.tuples(st.just("end"), st.integers(0, 9), st.integers(0, 2)),
    st.tuples(st.just("cancel"), st.integers(0, 9), st.just(0)),
    st.tuples(st.just("turn"), st.just(0), st.just(0)),
)


@dataclass
class Play:
    """A ledger, a worker with much room, and what was sent when."""

    rate: str | None
    ledger: Ledger = field(default_factory=make)
    worker: Native = field(default_factory=lambda: Native("a", caps=(*CAPS, STOPS)))
    now: float = 0.0
    submitted: dict[str, int | None] = field(default_factory=dict)
    out: dict[str, Dispatch] = field(default_factory=dict)
    starts: list[float] = field(default_factory=list)
    sent: set[str] = field(default_factory=set)

    def did(self, effects: list[Effect]) -> None:
        """Nothing of it breaks a promise."""
        for effect in effects:
            if isinstance(effect, Resolve):
                self.out.pop(effect.uuid, None)
            elif isinstance(effect, Dispatch):
                most = self.submitted[effect.uuid]
                assert most is None or len(self.out) < most
                self.out[effect.uuid] = effect
                self.sent.add(effect.uuid)
                self.starts.append(self.now)
                if self.rate is not None:
                    rate = parse_rate("here", self.rate)
                    if len(self.starts) > rate.most:
                        assert self.now >= self.starts[-1 - rate.most] + rate.period

    def hears(self) -> None:
        """From its worker, that it is there."""
        self.did(self.ledger.heard([self.worker.answer(self.now, TASK, credit=7)], self.now))

    def passes(self, seconds: float) -> None:
        """Time, with the ledger woken whenever it wants to be."""
        end = self.now + seconds
        while self.ledger.next_deadline() <= end:
            self.now = max(self.now, self.ledger.next_deadline())
            self.did(self.ledger.tick(self.now))
        self.now = end
        self.hears()

    def ends(self, which: int, how: int) -> None:
        """One that is out ends, or is given back."""
        if self.out:
            uuid = list(self.out)[which % len(self.out)]
            dispatch = self.out[uuid]
            if how == 0:
                del self.out[uuid]
                said = self.worker.gives_back(self.now, "full", dispatch)
            else:
                said = self.worker.success(dispatch, self.now)
                self.out.pop(uuid)
            self.did(self.ledger.heard([said], self.now))


@given(st.sampled_from((None, *RATES)), st.lists(_steps, max_size=40))
@settings(max_examples=150, deadline=None)
def test_whatever_happens_no_limit_is_passed_and_everything_goes_in_the_end(
    rate: str | None, steps: list[tuple[str, float, int]]
) -> None:
    play = Play(rate)
    play.hears()
    cancelled: set[str] = set()
    for what, first, second in steps:
        if what == "submit":
            for _ in range(int(first)):
                uuid = f"u{len(play.submitted)}"
                most = second or None
                play.submitted[uuid] = most
                one = order(uuid, rate=rate, max_running=most, priority=second % 2)
                play.did(play.ledger.submitted([one], play.now))
        elif what == "pass":
            play.passes(first)
        elif what == "end":
            play.ends(int(first), second)
        elif what == "cancel" and play.submitted:
            uuid = f"u{int(first) % len(play.submitted)}"
            if uuid not in play.out:
                cancelled.add(uuid)
                play.did(play.ledger.cancelled(uuid, False, play.now))
        else:
            play.hears()
    for _ in range(60 * len(play.submitted) + 1):
        if not len(play.ledger):
            break
        while play.out:
            play.ends(0, 1)
        play.passes(1.0)
    assert len(play.ledger) == 0
    assert play.sent >= set(play.submitted) - cancelled
