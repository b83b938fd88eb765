from __future__ import annotations

import dataclasses

from benchmarks.cells import Cell
from benchmarks.report import targets
from benchmarks.report.book import Book
from benchmarks.result import Result

OURS = Cell("throughput", "redis", "taskline", "default")


def result(cell: Cell, **figures: float) -> Result:
    return Result(cell, 1, "full", figures)


def rows(*results: Result) -> dict[str, list[str]]:
    """By what each is about."""
    lines = targets.judged(Book(results)).splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {cell[0]: cell[1:] for cell in cells}


def test_we_are_judged_by_the_fastest_setting_of_a_peer() -> None:
    huey = Cell("throughput", "redis", "huey", "best")
    slow = dataclasses.replace(huey, setting="default")
    found = rows(
        result(OURS, per_second=1000.0),
        result(huey, per_second=500.0),
        result(slow, per_second=1.0),
    )
    assert found["redis: tasks/s over those of huey"] == [
        *("≥ 4.00", "2.00", "**missed** (0.500 of it)"),
    ]


def test_what_may_be_small_and_what_must_be_large() -> None:
    alone = dataclasses.replace(OURS, measure="latency", outstanding=1)
    start = dataclasses.replace(OURS, measure="start", outstanding=1)
    found = rows(
        result(OURS, per_second=1.0, cpu=0.1),
        result(alone, p50_ms=3.0),
        result(start, first_result_seconds=0.3),
    )
    assert found["redis: CPU s/1000, submitter and worker"][2].startswith("reached")
    assert found["redis: a lone call, p50, ms"][2] == "**missed** (1.50 of it)"
    assert found["redis: a first result, s"][2].startswith("reached")


def test_cost_is_to_be_flat_however_many_are_open() -> None:
    few = dataclasses.replace(OURS, outstanding=100)
    many = dataclasses.replace(OURS, measure="backlog", outstanding=100_000)
    found = rows(
        result(few, per_second=1.0, cpu=0.1),
        result(OURS, per_second=1.0, cpu=0.105),
        result(many, per_second=1.0, cpu=0.2, submitter_bytes=2000.0),
    )
    assert found["redis: the same with 1,000 open, over that with 100"][2].startswith("reached")
    assert found["redis: the same with 100,000 open, over that with 100"][1] == "2.00"
    assert found["redis: bytes of a request that waits, of 100,000"][2].startswith("reached")


def test_our_own_broker_is_measured_by_huey_on_redis() -> None:
    local = dataclasses.replace(OURS, broker="local")
    huey = Cell("throughput", "redis", "huey", "best")
    found = rows(result(local, per_second=400.0), result(huey, per_second=200.0))
    assert found == {
        "local: tasks/s over those of huey on redis": ["≥ 1.00", "2.00", "reached (2.00 of it)"]
    }


def test_what_was_not_measured_is_not_judged() -> None:
    assert targets.judged(Book([])) == ""
