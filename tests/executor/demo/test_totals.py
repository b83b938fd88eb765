"""What surveys come to, together."""

from __future__ import annotations

import json

from executor.demo.totals import add_up
from protocol.failure import from_exception, to_exception
from tests.executor.demo.surveys import made_up


def test_sums_counts_and_rates() -> None:
    surveys = [
        made_up("b.py", complexity=5, worker=22, seconds=0.2),
        made_up("a.py", complexity=7, worker=11, seconds=0.1),
        made_up("c.py", complexity=7, worker=22, seconds=0.1),
    ]
    totals = add_up(surveys, {"d.py": SyntaxError("no")}, 2.0)
    assert (totals.files, totals.bytes, totals.lines) == (3, 300, 30)
    assert (totals.functions, totals.classes, totals.complexity) == (9, 6, 19)
    assert totals.tasks_per_second == 2.0  # the failed one was a task too
    assert totals.per_worker == {11: 1, 22: 2}
    assert [survey["path"] for survey in totals.most_complex] == ["a.py", "c.py", "b.py"]
    assert totals.slowest is surveys[0]


def test_ten_files_are_listed_and_no_more() -> None:
    surveys = [made_up(f"{n}.py", complexity=n) for n in range(30)]
    listed = [survey["complexity"] for survey in add_up(surveys, {}, 1.0).most_complex]
    assert listed == list(range(29, 19, -1))


def test_the_digest_of_all_depends_on_the_files_and_not_on_who_was_faster() -> None:
    surveys = [made_up(f"{n}.py", complexity=n) for n in range(5)]
    one = add_up(surveys, {}, 1.0).sha256
    assert add_up(surveys[::-1], {}, 2.0).sha256 == one
    assert add_up(surveys[1:], {}, 1.0).sha256 != one


def test_nothing_at_all_adds_up_too() -> None:
    totals = add_up([], {}, 0.0)
    assert (totals.files, totals.tasks_per_second, totals.slowest) == (0, 0.0, None)
    assert json.loads(json.dumps(totals.as_json()))["slowest"] is None


def test_as_json_tells_of_a_failure_what_the_worker_told() -> None:
    error = to_exception(from_exception(ValueError("bad")), "hare")
    told = add_up([made_up("a.py")], {"b.py": error}, 1.0).as_json()
    assert json.loads(json.dumps(told)) == told
    assert (told["files"], told["failed"], told["tasks_per_worker"]) == (1, 1, {"1": 1})
    assert told["failures"] == [
        {"path": "b.py", "type": "ValueError", "text": "bad", "worker": "hare", "traceback": ""}
    ]
