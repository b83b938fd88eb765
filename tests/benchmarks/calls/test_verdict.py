from __future__ import annotations

from benchmarks.calls import verdict
from benchmarks.calls.baseline import Known
from benchmarks.calls.counter import Calls

KNOWN = Known(100.0, {("room", "f"): 60.0, ("room", "g"): 10.0})


def test_a_quarter_more_is_allowed_and_less_is_welcome() -> None:
    assert verdict.words("part", KNOWN, Calls({("room", "f"): 125.0})) == ""
    assert verdict.words("part", KNOWN, Calls({("room", "f"): 1.0})) == ""


def test_it_says_what_grew_from_what_to_what_where_mostly_and_what_to_do() -> None:
    found = Calls({("room", "f"): 61.0, ("room", "g"): 55.0, ("new.room", "h"): 30.0})
    said = verdict.words("joined, worker", KNOWN, found).splitlines()
    assert said[0] == (
        "joined, worker: a task makes 146 function calls, 46% more than the 100 of "
        "benchmarks/calls/baseline.txt; up to 25% more are allowed. Mostly:"
    )
    assert said[1].split() == ["+45.0", "room", "g:", "10.0", "before,", "55.0"]
    # What is not among those that were kept was called less often than any of them.
    assert said[2].split() == ["+20.0", "new.room", "h:", "at", "most", "10.0", "before,", "30.0"]
    assert said[3].split() == ["+1.0", "room", "f:", "60.0", "before,", "61.0"]
    assert said[4].endswith("python -m benchmarks.calls --renew")


def test_more_messages_are_a_problem_however_few_calls_they_cost() -> None:
    known = Known(100.0, messages=0.03)
    assert verdict.words("part", known, Calls({("a", "f"): 100.0}, messages=0.037)) == ""
    said = verdict.words("part", known, Calls({("a", "f"): 100.0}, messages=1.03))
    assert said.startswith("part: a task takes 1.030 broker messages, and 0.030 according to ")


def test_many_that_grow_a_little_are_growth_too() -> None:
    found = Calls({("room", f"f{n}"): 1.0 for n in range(200)})
    assert "many functions, a little each" in verdict.words("part", KNOWN, found)


def test_a_part_that_is_not_known_is_a_problem() -> None:
    assert verdict.words("part", None, Calls()).startswith("part: nothing is known of it")
