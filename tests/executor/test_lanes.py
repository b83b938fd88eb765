"""In which order requests wait, and since when nobody offers what they need."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from executor.directory import Directory
from executor.lanes import Lanes, key_of
from executor.request import Request
from protocol.envelope import CAPS, STOPS, Header
from protocol.timing import REQUEST_TIMEOUT
from tests.executor.peers import order


@pytest.fixture
def directory() -> Directory:
    """Nobody is there yet."""
    return Directory()


@pytest.fixture
def lanes(directory: Directory) -> Lanes:
    """Nothing waits yet."""
    return Lanes(directory)


def there(directory: Directory, tasks: Iterable[str], caps: tuple[str, ...] = CAPS) -> None:
    """One native worker offers these from now on."""
    said = max((peer.said for peer in directory), default=0) + 1
    inbox = "native_default." + "a" * 16
    header = Header(boot="a" * 16, clock=said, inbox=inbox, credit=1, caps=caps)
    directory.heard("default", tasks, header, 0.0)


def request_(uuid: str, now: float = 0.0, **how: object) -> Request:
    """One that has just been submitted."""
    return Request(order(uuid, **how), now)  # type: ignore[arg-type]


def waiting(lanes: Lanes) -> list[list[str]]:
    """Who waits, lane by lane."""
    return [list(lane.waiting) for lane in lanes]


def test_they_wait_in_order_but_those_that_waited_already_in_front(lanes: Lanes) -> None:
    requests = [request_(f"u{n}") for n in range(3)]
    for request in requests:
        lanes.enter(request, 0.0)
    lanes.leave(requests[1])
    lanes.enter(requests[1], 1.0, in_front=True)
    lanes.enter(requests[2], 1.0)  # it waits already
    assert waiting(lanes) == [["u1", "u0", "u2"]]
    assert "u1" in lanes
    lanes.leave(requests[1])
    assert "u1" not in lanes
    lanes.leave(requests[1])


def test_what_one_worker_can_take_and_another_cannot_waits_apart(lanes: Lanes) -> None:
    for n, how in enumerate(
        ({}, {"named_only": False}, {"time_limit": 1.0}, {"soft_time_limit": 1.0}, {"task": "m.b"})
    ):
        lanes.enter(request_(f"u{n}", **how), 0.0)
    timed = request_("u9")
    timed.deadline = 5.0
    lanes.enter(timed, 0.0)
    assert waiting(lanes) == [["u0"], ["u1"], ["u2", "u3"], ["u4"], ["u9"]]


def test_one_whose_clock_was_stopped_meanwhile_leaves_the_lane_it_is_in(lanes: Lanes) -> None:
    request = request_("u1")
    request.deadline = 5.0
    lanes.enter(request, 0.0)
    request.deadline = None
    lanes.enter(request, 1.0)
    assert waiting(lanes) == [["u1"]]
    assert lanes.next_expiry() == 1.0 + REQUEST_TIMEOUT
    lanes.leave(request)
    assert len(lanes) == 0


def test_the_clock_of_a_lane_runs_while_nobody_offers_what_it_needs(
    lanes: Lanes, directory: Directory
) -> None:
    lanes.enter(request_("u1", 3.0), 3.0)
    assert lanes.next_expiry() == 3.0 + REQUEST_TIMEOUT
    there(directory, ["m.task"])
    lanes.note_offers(10.0)
    assert lanes.next_expiry() is None
    there(directory, ["m.other"])
    lanes.note_offers(20.0)
    assert lanes.next_expiry() == 20.0 + REQUEST_TIMEOUT
    assert lanes.overdue(79.9) == []
    assert len(lanes.overdue(80.0)) == 1


def test_what_has_a_limit_is_offered_by_who_can_end_a_run(
    lanes: Lanes, directory: Directory
) -> None:
    there(directory, ["m.task"])
    key = lanes.enter(request_("u1", time_limit=1.0), 0.0)
    assert lanes.next_expiry() == REQUEST_TIMEOUT
    assert lanes.only_unstoppable() == [key]
    there(directory, ["m.task"], (*CAPS, STOPS))
    lanes.note_offers(1.0)
    assert lanes.next_expiry() is None
    there(directory, ["m.task"])
    lanes.note_offers(2.0)
    assert lanes.only_unstoppable() == []  # somebody could keep it, and may be back


def test_a_lane_nobody_needs_or_offers_is_forgotten(lanes: Lanes, directory: Directory) -> None:
    there(directory, ["m.task"])
    request = request_("u1")
    lanes.enter(request, 0.0)
    lanes.leave(request)
    assert len(lanes) == 1
    there(directory, [])
    lanes.note_offers(1.0)
    assert len(lanes) == 0


def test_lanes_take_turns(lanes: Lanes) -> None:
    first, second = request_("u1"), request_("u2", task="m.b")
    keys = [lanes.enter(first, 0.0), lanes.enter(second, 0.0)]
    assert lanes.occupied() == keys == [key_of(first), key_of(second)]
    lanes.had_turn(keys[0])
    assert lanes.occupied() == [keys[1], keys[0]]


def test_higher_priorities_have_their_turn_first_and_equal_ones_take_turns(lanes: Lanes) -> None:
    requests = [
        request_("low", priority=-1),
        request_("a"),
        request_("high", priority=7),
        request_("b", task="m.b"),
    ]
    low, a, high, b = (lanes.enter(request, 0.0) for request in requests)
    assert lanes.occupied() == [high, a, b, low]
    lanes.had_turn(high)
    lanes.had_turn(a)
    assert lanes.occupied() == [high, b, a, low]
    lanes.leave(requests[2])
    assert lanes.occupied() == [b, a, low]


def test_nobody_is_blamed_for_the_time_before_one_could_start(lanes: Lanes) -> None:
    lanes.enter(request_("u1", 0.0, not_before=100.0), 100.5)
    assert lanes.next_expiry() == 100.5 + REQUEST_TIMEOUT
    lanes.note_offers(101.0)
    lanes.enter(request_("u2", 0.0, not_before=130.0), 130.0)
    lanes.leave(next(iter(lanes)).first)
    assert lanes.next_expiry() == 130.0 + REQUEST_TIMEOUT
