from __future__ import annotations

from benchmarks.calls.counter import Calls, Counter
from protocol import messages, tickets


def test_what_is_counted_is_each_call_in_its_room_for_one_task() -> None:
    counter = Counter()
    with counter:
        for _ in range(10):
            messages.demand_length(5)
    tickets.parse("1:2")  # after it
    found = counter.take(10)
    assert found.places["protocol.messages", "demand_length"] == 1.0
    assert not any(room == "protocol.tickets" for room, _ in found.places)
    assert counter.take(1).places == {}  # taken once


def test_a_function_of_cs_is_counted_where_it_is_called_from() -> None:
    counter = Counter()
    with counter:
        tickets.to_text([tickets.Ticket(1, 2)])
    rooms = {room for room, what in counter.take(1).places if what.endswith("(C)")}
    assert "protocol.tickets" in rooms


def test_a_comprehension_is_no_function_on_any_python() -> None:
    counter = Counter()
    with counter:
        made = [number for number in range(3)] + sorted({number for number in range(3)})  # noqa: C416
    assert len(made) == 6
    assert [what for _, what in counter.take(1).places] == ["sorted (C)"]


def test_rooms_are_told_dearest_first() -> None:
    calls = Calls({("a", "f"): 1.0, ("b", "g"): 2.0, ("b", "h"): 3.0})
    assert list(calls.rooms().items()) == [("b", 5.0), ("a", 1.0)]
    assert calls.total == 6.0
