from __future__ import annotations

from benchmarks.calls.joined import count


def test_it_counts_the_same_to_a_call_each_time() -> None:
    first, second = count(7, 3), count(7, 3)
    assert {side: calls.places for side, calls in first.items()} == {
        side: calls.places for side, calls in second.items()
    }


def test_each_side_is_counted_by_itself() -> None:
    found = count(1, 3)
    rooms = {side: set(calls.rooms()) for side, calls in found.items()}
    assert {"executor.ledger", "executor.directory", "bus.wire.dispatcher"} <= rooms["submitter"]
    assert {"worker.shift", "worker.runner", "bus.wire.dispatcher"} <= rooms["worker"]
    assert not any(room.startswith("worker") for room in rooms["submitter"])
    assert not any(room.startswith("executor") for room in rooms["worker"])


def test_messages_are_counted_too() -> None:
    """Of a lone request: REQUEST and RECEIPT; its end, which says as much as RUNNING; and beats."""
    found = count(1, 10)
    assert 2.0 <= found["submitter"].messages < 3.0
    assert 1.0 <= found["worker"].messages < 2.0
    assert count(100, 1)["worker"].messages < 0.1


def test_a_request_among_many_costs_less_than_one_alone() -> None:
    alone, many = count(1, 5), count(100, 1)
    for side in ("submitter", "worker"):
        assert many[side].total < alone[side].total
