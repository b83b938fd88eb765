"""Requests whose time has not come: who is due, and who has left."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from executor.later import SPARE, Later
from executor.request import Request
from tests.executor.peers import order


def held(uuid: str, not_before: float) -> Request:
    """One that may start at this time."""
    return Request(order(uuid, not_before=not_before), 0.0)


def due(later: Later, now: float) -> list[str]:
    """Whose time has come."""
    return [request.order.uuid for request in later.take_due(now)]


def test_they_are_due_by_their_time_and_those_of_one_moment_as_they_were_held() -> None:
    later = Later()
    for uuid, when in (("a", 3.0), ("b", 1.0), ("c", 3.0), ("d", 2.0)):
        later.hold(held(uuid, when))
    assert later.next_due() == 1.0
    assert "c" in later
    assert due(later, 0.9) == []
    assert due(later, 3.0) == ["b", "d", "a", "c"]
    assert later.next_due() is None
    assert len(later) == 0


def test_who_leaves_is_not_due_and_wakes_nobody() -> None:
    later = Later()
    first, second = held("a", 1.0), held("b", 2.0)
    later.hold(first)
    later.hold(second)
    later.leave(first)
    later.leave(first)
    assert later.next_due() == 2.0
    assert "a" not in later
    assert due(later, 9.0) == ["b"]


def test_one_that_is_held_again_is_due_by_its_new_time_alone() -> None:
    later = Later()
    request = held("a", 1.0)
    later.hold(request)
    request.not_before = 5.0
    later.hold(request)
    assert due(later, 4.9) == []
    assert due(later, 5.0) == ["a"]
    request.not_before = 6.0
    later.hold(request)
    assert due(later, 6.0) == ["a"]


def test_the_places_of_those_that_left_are_swept_away() -> None:
    later = Later()
    requests = [held(f"u{n}", float(n)) for n in range(10 * SPARE)]
    for request in requests:
        later.hold(request)
    for request in requests[1:]:
        later.leave(request)
    assert len(later._heap) <= SPARE + 2
    assert due(later, 1e9) == ["u0"]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("hold"), st.integers(0, 5), st.integers(0, 20)),
            st.tuples(st.just("leave"), st.integers(0, 5), st.just(0)),
            st.tuples(st.just("due"), st.just(0), st.integers(0, 20)),
        ),
        max_size=60,
    )
)
def test_whatever_happens_each_that_stays_is_due_once_and_in_order(
    steps: list[tuple[str, int, int]],
) -> None:
    later = Later()
    requests = [held(str(n), 0.0) for n in range(6)]
    there: dict[str, tuple[float, int]] = {}
    for number, (what, who, when) in enumerate(steps):
        if what == "hold":
            requests[who].not_before = float(when)
            later.hold(requests[who])
            there[str(who)] = (float(when), number)
        elif what == "leave":
            later.leave(requests[who])
            there.pop(str(who), None)
        else:
            expected = sorted((place, uuid) for uuid, place in there.items() if place[0] <= when)
            assert due(later, float(when)) == [uuid for _, uuid in expected]
            for _, uuid in expected:
                del there[uuid]
        assert len(later) == len(there)
        assert later.next_due() == min((place[0] for place in there.values()), default=None)
