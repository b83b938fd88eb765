"""Whole plays, in processes of their own, over kombu's memory."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks import runner
from benchmarks.cells import Cell, Sitting
from benchmarks.sizes import SIZES

CELL = Cell("latency", "memory", "kombu", "default", outstanding=1)


@pytest.mark.slow
def test_each_round_leaves_a_result_with_its_circumstances() -> None:
    size = dataclasses.replace(SIZES["quick"], rounds=2)
    throughput = dataclasses.replace(CELL, measure="throughput", outstanding=50)
    results = list(runner.run([Sitting("main", (CELL, throughput))], size, 2))
    assert [(result.round, result.cell) for result in results] == [
        (number, cell) for number in (1, 2) for cell in (CELL, throughput)
    ]
    for result in results:
        assert result.problem == ""
        if result.cell == CELL:
            assert result.figures["p99_ms"] >= result.figures["p50_ms"] > 0.0
        assert {"commit", "date", "machine", "load", "Python", "kombu"} <= result.of.keys()


def test_a_play_finds_what_a_default_installation_would() -> None:
    """Not what a developer has set for himself: with the second, each start takes twice as long."""
    environment = {"PATH": "/bin", "TASKLINE_SPARE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    assert runner.users(environment) == {"PATH": "/bin"}


@pytest.mark.slow
def test_a_play_that_cannot_even_begin_says_why() -> None:
    """The client of a broker that is there has no worker for memory."""
    cell = dataclasses.replace(CELL, peer="raw")
    after = dataclasses.replace(cell, measure="throughput")
    result, other = runner.run([Sitting("main", (cell, after))], SIZES["quick"], 1)
    assert result.problem.startswith(("AttributeError: ", "ModuleNotFoundError: "))
    assert "per_second" not in result.figures
    assert not result.is_good
    assert other.cell == after  # in a process of its own
    assert other.problem == result.problem
