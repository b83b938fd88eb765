from __future__ import annotations

import dataclasses

import pytest

from benchmarks.cells import Cell
from benchmarks.line import line
from benchmarks.report import page, tables
from benchmarks.report.book import Book
from benchmarks.result import Result

OURS = Cell("throughput", "redis", "taskline", "default")
THEIRS = Cell("throughput", "redis", "huey", "best")
CEILING = Cell("throughput", "redis", "sketch", "default")


def results(cell: Cell, *rates: float, size: str = "full") -> list[Result]:
    """A round for each rate."""
    costs = {"cpu": 0.3, "cpu_submitter": 0.1, "cpu_workers": 0.2, "cpu_broker": 0.05}
    of = {
        "commit": "abc",
        "date": "2026-01-02",
        "machine": "an abacus",
        "load": "0.3",
        "kombu": "5",
    }
    return [
        Result(cell, number, size, {"per_second": rate, **costs}, of=of)
        for number, rate in enumerate(rates, 1)
    ]


def book(*lists: list[Result]) -> Book:
    return Book(result for of_it in lists for result in of_it)


def test_ours_is_told_beside_theirs_with_the_spread_of_both_and_of_the_ratio() -> None:
    told = tables.main(
        book(results(OURS, 100.0, 300.0, 200.0), results(THEIRS, 50.0, 100.0, 50.0)), "redis"
    )
    cost = "0.100 + 0.200 + 0.0500"
    assert told.splitlines()[2:] == [
        f"| **taskline, default** | 200 (100 to 300) | 1 | {cost} | – | – |",
        f"| huey, best | 50.0 (50.0 to 100) | 3.00 (2.00 to 4.00) | {cost} | – | – |",
    ]


def test_a_lone_call_stands_in_the_same_row() -> None:
    alone = dataclasses.replace(OURS, measure="latency", outstanding=1)
    calls = [Result(alone, 1, "full", {"p50_ms": 1.5, "p99_ms": 9.0})]
    told = tables.main(book(results(OURS, 10.0), calls), "redis")
    assert told.splitlines()[2].endswith("| 1.50 | 9.00 |")


def test_the_fastest_setting_of_each_is_what_we_are_measured_by() -> None:
    slow = dataclasses.replace(THEIRS, setting="default")
    told = tables.against(
        book(
            results(OURS, 100.0),
            results(THEIRS, 200.0),
            results(slow, 10.0),
            results(CEILING, 400.0),
        )
    )
    assert told.splitlines()[2:] == [
        "| huey | 0.500 | – | – | – |",
        "| *sketch, default* | 0.250 | – | – | – |",
    ]


def test_a_play_that_failed_has_no_figures_and_is_told_at_the_end() -> None:
    failed = Result(THEIRS, 2, "full", {"per_second": 9e9}, problem="WrongResult: 3\ncame", of={})
    found = book(results(OURS, 100.0, 100.0), results(THEIRS, 50.0), [failed])
    assert found.by_round(THEIRS, "per_second") == {1: 50.0}
    assert tables.unplayed(found) == f"* `{THEIRS.name}`, round 2: failed: WrongResult: 3 came"
    assert tables.unplayed(book(results(OURS, 1.0))).startswith("Nothing")
    assert "| huey, best | failed | – | – | – | – |" in tables.main(book([failed]), "redis")


def test_what_was_not_played_is_not_a_gap() -> None:
    backlog = dataclasses.replace(THEIRS, measure="backlog", outstanding=10_000)
    skipped = Result(backlog, 1, "full", skipped="it would take an hour")
    told = tables.outstanding(book(results(THEIRS, 50.0), [skipped]), "redis")
    assert told.splitlines()[2] == "| huey, best | – | 50.0; 0.300 | not played | – |"


def test_memory_is_told_for_each_number_that_waits() -> None:
    backlog = dataclasses.replace(THEIRS, measure="backlog", outstanding=10_000)
    grown = {"submitter_bytes": 500.0, "broker_bytes": 250.0}
    told = tables.footprint(book([Result(backlog, 1, "full", grown)]))
    assert told.splitlines()[0] == "10,000 of them:"
    assert told.splitlines()[-1] == "| huey, best | 500; 250 |"


def test_the_microseconds_are_told_by_who_spends_them() -> None:
    spent = {"per_second": 1.0, "us_keeper": 12.0, "cpu_workers": 0.05, "cpu_broker": 0.01}
    memory = dataclasses.replace(OURS, broker="memory")
    found = book([Result(OURS, 1, "full", spent)], [Result(memory, 1, "full", spent)])
    rows = {line.split("|")[1].strip(): line for line in tables.microseconds(found).splitlines()}
    assert rows["submitter: the keeper, which decides"].endswith("| 12.0 | 12.0 |")
    assert rows["worker: its main process and its hosts"].endswith("| 50.0 | – |")
    assert rows["broker"].endswith("| 10.0 | – |")


def test_a_table_of_sizes_is_only_of_those_who_have_several() -> None:
    assert tables.workers(book(results(OURS, 1.0), results(THEIRS, 1.0)), "redis") == ""
    two = dataclasses.replace(OURS, workers=2)
    told = tables.workers(
        book(results(OURS, 1.0), results(two, 3.0), results(THEIRS, 1.0)), "redis"
    )
    assert told.splitlines()[2:] == ["| **taskline, default** | 1.00 | 3.00 | – |"]


def test_the_full_size_hides_a_first_look() -> None:
    found = book(results(OURS, 1.0, size="quick"), results(OURS, 2.0, 4.0))
    assert found.by_round(OURS, "per_second") == {1: 2.0, 2: 4.0}
    assert book(results(OURS, 1.0, size="quick")).size == "quick"


def test_the_page_says_of_what_it_is_and_leaves_no_gap() -> None:
    text = page.fill(
        page.TEMPLATE.read_text(),
        book(results(OURS, 100.0, 110.0), results(THEIRS, 50.0, 50.0)),
        ["throughput-redis.svg"],
    )
    assert "{{" not in text
    assert "Measured: commit abc; 2026-01-02; on an abacus; 2 rounds; load average" in text
    assert "Versions: kombu 5." in text
    assert "![](performance/throughput-redis.svg)" in text
    assert "### redis" in text
    assert "### amqp" not in text
    assert "Not measured yet." in text  # how it starts
    assert "a first look" not in text.partition("Versions:")[0].partition("Measured:")[2]


def test_a_first_look_says_so_on_its_page() -> None:
    text = page.fill("{{of}}", book(results(OURS, 1.0, size="quick")), [])
    assert text.endswith("**a first look, with small sizes**; load average before plays 0.3 to 0.3")


def test_a_word_of_the_template_that_means_nothing_is_a_mistake() -> None:
    with pytest.raises(KeyError, match="colours"):
        page.fill("{{colours}}", book(), [])


def test_the_terminal_is_told_figures_or_why_there_are_none() -> None:
    assert line(results(OURS, 1234.5)[0]).split()[:4] == ["1", OURS.name, "per_second", "1,230"]
    assert line(Result(OURS, 1, "full", skipped="too slow")).endswith("not played: too slow")
    assert line(Result(OURS, 1, "full", problem="it broke")).endswith("FAILED: it broke")
