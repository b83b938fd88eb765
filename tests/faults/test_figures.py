"""The figures of the proof: that they are counted rightly, and the page written from them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bus.wire.testing.processes.killer import Killed
from protocol.events import Dispatched, Ended, Over, Round, Running
from protocol.history import Entry
from tests.faults import failover, report, submitter
from tests.faults.marks import Marks
from tests.faults.result import Result, read_all
from tests.faults.scenario import Scenario
from tests.faults.scenarios import SCENARIOS
from tests.faults.stage import BROKERS


def result(**found: object) -> Result:
    return Result("F1", "either", "redis", 1, "full", **found)  # type: ignore[arg-type]


@pytest.fixture
def marks(tmp_path: Path) -> Marks:
    """Three requests: 1 ran to its end, 2 was cut off and ran again, 3 was cut off."""
    found = Marks(tmp_path / "marks")
    Path(found.folder, "100").write_text(
        "begin 1 10.0 50\nend 1 11.0 50\nbegin 2 11.5 50\nbegin 3 11.6 50\n"
    )
    Path(found.folder, "200").write_text("begin 2 14.0 60\nend 2 15.0 60\n")
    return found


def test_executions_are_counted_from_what_the_tasks_wrote(marks: Marks) -> None:
    assert {number: len(runs) for number, runs in marks.by_number().items()} == {1: 1, 2: 2, 3: 1}
    assert marks.executed_again() == 1
    assert [run.end for run in marks.by_number()[2]] == [None, 15.0]
    assert marks.first_begin_after(11.6) == 14.0
    assert marks.first_begin_after(14.0) is None


@pytest.mark.parametrize("process", [50, 100])
def test_the_time_until_it_ran_again_is_from_the_end_of_worker_or_host(
    marks: Marks, process: int
) -> None:
    assert marks.until_run_again([(process, 12.0)]) == [2.0]
    assert marks.until_run_again([(process, 11.0)]) == []  # it was not there any more


def test_a_failover_is_from_the_kill_or_from_the_dispatch_if_that_was_later() -> None:
    sent = [
        (1001.0, "a", 1, 7),
        (1006.0, "b", 1, 7),
        (1018.0, "a", 2, 8),
        (1018.0, "b", 2, 8),
        (1020.0, "a", 3, 9),  # given back by 8, which lives on
    ]
    entries = [
        Entry(n, at, Dispatched(uuid, attempt, 1, "native", "default", f"host-{worker}", "0" * 16))
        for n, (at, uuid, attempt, worker) in enumerate(sent)
    ]
    killed = [Killed(pid=7, worker=7, moment=3.0), Killed(pid=88, worker=8, moment=19.0)]
    assert sorted(failover.of_entries(entries, killed, 1000.0)) == [12.0, 15.0]


def test_what_was_sent_though_it_was_known_to_run_is_counted_and_no_other_dispatch() -> None:
    def dispatched(uuid: str, attempt: int) -> Dispatched:
        return Dispatched(uuid, attempt, 1, "native", "default", "host-7", "0" * 16)

    fine = [dispatched("a", 1), dispatched("a", 2), Running("a", 2), Over("a", 2, "lost")]
    fine += [dispatched("a", 3), Running("a", 3), Round("a", 4, 1), dispatched("a", 4)]
    assert submitter.sent_though_known(fine) == 0
    assert submitter.sent_though_known([*fine, Running("a", 4), dispatched("b", 1)]) == 0
    assert submitter.sent_though_known([*fine, Running("a", 4), dispatched("a", 5)]) == 1


def test_a_request_with_two_ends_is_counted_once() -> None:
    end = Ended("a", "success", 1)
    assert submitter.ended_twice([end, Ended("b", "success", 1)]) == 0
    assert submitter.ended_twice([end, end, end, Ended("b", "success", 1)]) == 1


def test_a_result_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    kept = result(tasks=3, problems=["one"], notes={"kills": 4}, of={"commit": "abc"})
    kept.write(tmp_path)
    (tmp_path / "F2.either.redis.1.full.json").write_text(
        json.dumps({**json.loads((tmp_path / kept.file_name).read_text()), "scenario": "F2"})
    )
    first, second = read_all(tmp_path)
    assert first == kept
    assert second.scenario == "F2"


def test_of_several_seeds_the_worst_is_shown() -> None:
    row = report.row(
        "redis",
        "either",
        "full",
        [
            result(tasks=10, again=3, again_allowed=8, recover=1.0, notes={"kills": 4}),
            result(
                tasks=10,
                lost=1,
                again=5,
                again_allowed=6,
                recover=3.04,
                problems=["lost"],
                notes={"kills": 6, "ends": {"right": 9}},
            ),
        ],
    )
    assert row == "| redis | either | 2 | 10 | 1 | 0 | 5 (≤ 6) | 3.0 s | 1 of 2 | kills 4 to 6 |"


def test_the_page_tells_every_play_and_what_did_not_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "PAGE", tmp_path / "page.md")
    of = {"commit": "abc", "date": "2026-01-02"}
    small = Result("F1", "either", "redis", 1, "quick", tasks=3, lost=9, of=of)
    report.write([result(of=of, tasks=10, problems=["a task was lost\nand more"]), small])
    page = (tmp_path / "page.md").read_text()
    assert "{{" not in page
    assert "commit abc; date 2026-01-02" in page
    assert "**1 of 2 failed**" in page
    assert "| redis | either | 1 | 10 | 0 |" in page
    assert "| redis | either | 1 (quick) | 3 | 9 |" in page
    assert "* redis, either 1: a task was lost\n" in page
    assert "not played" in page


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_each_scenario_is_complete(scenario: Scenario) -> None:
    assert scenario.quick.keys() == scenario.full.keys() >= {"deadline"}
    assert set(scenario.brokers) <= set(BROKERS)
    assert scenario.words.endswith(".")


def test_there_is_one_for_each_fault_of_the_list() -> None:
    assert list(SCENARIOS) == [f"F{number}" for number in range(1, 17)]
