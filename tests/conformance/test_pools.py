"""What every pool promises, whatever its works run in: the contract of ``worker.work.Pool``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protocol.errors import ConfigurationError, TasksUnloadable
from protocol.failure import from_exception
from tests.samples.inbox import Inbox, work
from worker.clock import clock
from worker.pool import KINDS, make_pool
from worker.work import Ended, Offers, Pool, PoolEnded, Report, Returned, Started, TaskEvent

TASKS = "tests.samples.tasks"
FLOW = "tests.samples.flow_tasks"
LIMITED = "tests.samples.limited"


@pytest.fixture(scope="module", params=sorted(KINDS))
def running(request: pytest.FixtureRequest) -> Iterator[tuple[Pool, Inbox]]:
    """A pool of two slots with the samples on offer, for all tests that leave it as it is."""
    specs = [TASKS, FLOW, LIMITED, "builtins:pow"]
    pool, inbox = make_pool(request.param, specs, 2), Inbox()
    pool.start(inbox)
    yield pool, inbox
    pool.stop()


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    """The name of each kind of pool, for tests that make their own."""
    return str(request.param)


_keys = iter(range(1, 10**6))


def run(running: tuple[Pool, Inbox], task: str, *args: Any, **fields: Any) -> tuple[Ended, Inbox]:
    """Run one work to its end."""
    pool, inbox = running
    name = task if "." in task else f"{TASKS}.{task}"
    key = next(_keys)
    inbox.reports.clear()
    pool.run(work(key, name, *args, **fields))
    return inbox.ended(key), inbox


def result(running: tuple[Pool, Inbox], task: str, *args: Any, **fields: Any) -> Any:
    """What a work comes to, which must not be a failure."""
    ended, _ = run(running, task, *args, **fields)
    assert ended.failure is None, ended.failure
    assert ended.end == "done"
    return ended.result


def failure(running: tuple[Pool, Inbox], task: str, *args: Any, **fields: Any) -> dict[str, Any]:
    """How a work fails, which it must."""
    ended, _ = run(running, task, *args, **fields)
    assert ended.end == "done"
    assert ended.failure is not None, ended
    return ended.failure


# -- results


def test_a_function_runs_with_arguments_by_position_and_by_name(running: Any) -> None:
    assert result(running, "add", 1, arguments={"y": 2}) == 3


def test_any_arguments_arrive_as_they_were(running: Any) -> None:
    odd = ["ümläut \ud800", 10**6000, 0.1, None, {"a\nb": [True]}]
    assert result(running, "echo", *odd, arguments={"ключ": odd}) == [odd, {"ключ": odd}]


def test_a_coroutine_function_runs_in_an_event_loop_and_its_tasks_can_speak(running: Any) -> None:
    ended, inbox = run(running, "add_slowly", 1, 2)
    assert ended.result == 3
    told = [r.details["number"] for r in inbox.reports if isinstance(r, TaskEvent)]
    assert told == [0, 1]


def test_a_tuple_arrives_as_a_list_and_an_int_of_any_size_as_itself(running: Any) -> None:
    assert result(running, "a_tuple") == [1, 2]
    assert result(running, "huge_int") == 10**5000


def test_a_builtin_that_was_named_runs(running: Any) -> None:
    assert result(running, "builtins.pow", 2, 10) == 1024


def test_a_renamed_task_runs_under_its_new_name_only(running: Any) -> None:
    assert result(running, f"{TASKS}.add", 1) == 1
    pool, inbox = running
    inbox.reports.clear()
    pool.run(work(0, "renamed", 7))
    assert inbox.ended(0).result == 7
    assert "UnknownTask" in failure(running, "called_otherwise", 7)["exc_type_names"][0]


def test_a_result_of_megabytes_arrives(running: Any) -> None:
    assert len(result(running, "large", 5_000_000)) == 5_000_000


def test_a_context_variable_set_by_a_task_is_not_seen_by_the_next(running: Any) -> None:
    assert [result(running, "leave_something") for _ in range(4)] == ["clean"] * 4


# -- classes


def test_a_class_is_constructed_with_its_name_and_executed(running: Any) -> None:
    assert result(running, "Twice", 4, name="doubler") == {"name": "doubler", "x": 8}


def test_a_class_that_takes_no_name_is_constructed_without(running: Any) -> None:
    assert result(running, "Nameless") == "nameless"


def test_a_revert_gets_the_result_and_failures_it_can_ask(running: Any) -> None:
    said = from_exception(ValueError("boom"))
    reverted = result(
        running, "Twice", action="revert", result=["success", {"x": 8}], failures={"other": said}
    )
    assert reverted == {"result": {"x": 8}, "failures": {"other": ["boom", True]}}


def test_a_revert_of_a_failed_task_gets_its_failure(running: Any) -> None:
    said = from_exception(ValueError("boom"))
    reverted = result(running, "Twice", action="revert", result=["failure", said], failures={})
    assert reverted == {"result": "ValueError: boom", "failures": {}}


@pytest.mark.parametrize("task", ["Nameless", "add"])
def test_what_has_nothing_to_undo_is_reverted_at_once(running: Any, task: str) -> None:
    assert result(running, task, action="revert", result=["success", 1]) is None


@pytest.mark.parametrize("is_broken", [False, True])
def test_hooks_run_around_execute_even_if_it_raises(running: Any, is_broken: bool) -> None:
    ended, inbox = run(running, "Hooked", arguments={"broken": is_broken})
    assert (ended.failure is not None) == is_broken
    assert inbox.first(TaskEvent).details == {"order": ["pre", "execute", "post"]}


def test_what_cannot_be_constructed_fails(running: Any) -> None:
    assert failure(running, "Demanding")["exc_type_names"][0] == "TypeError"


# -- taskflow's own classes


def test_a_taskflow_task_executes_with_its_progress(running: Any) -> None:
    ended, inbox = run(running, f"{FLOW}.Add", name="adder", arguments={"x": 1, "y": 2})
    assert ended.result == 3
    assert inbox.of(ended.key) == [
        Started(ended.key),
        TaskEvent(ended.key, "update_progress", {"progress": 0.25}),
        ended,
    ]


def test_a_taskflow_task_reverts_with_failures_of_taskflows_own_class(running: Any) -> None:
    said = {
        "exception_str": "x",
        "traceback_str": "",
        "exc_type_names": ["ValueError", "Exception"],
    }
    reverted = result(
        running,
        f"{FLOW}.Add",
        action="revert",
        arguments={"x": 1},
        result=["failure", {**said, "unknown_key": 1}],
        failures={"adder": said, "other": from_exception(KeyError("y"))},
    )
    assert reverted == {
        "x": 1,
        "result": "taskflow.types.failure",
        "kinds": [True, True],
        "values": [True, False],
    }


def test_a_taskflow_task_that_does_not_say_how_is_reverted_to_none(running: Any) -> None:
    assert result(running, f"{FLOW}.Silent", name="silent") == "silent"
    assert result(running, f"{FLOW}.Silent", action="revert", result=["success", 1]) is None


def test_a_taskflow_task_says_what_its_notifier_allows(running: Any) -> None:
    ended, inbox = run(running, f"{FLOW}.Speaking")
    assert TaskEvent(ended.key, "my_event", {"note": "hi"}) in inbox.of(ended.key)
    ended, inbox = run(running, f"{FLOW}.Open")
    assert inbox.first(TaskEvent).event_type == "anything"


def test_a_failure_that_is_returned_counts_and_its_causes_are_bounded(running: Any) -> None:
    said = failure(running, f"{FLOW}.ReturnsFailure")
    assert said["exc_type_names"] == ["ValueError", "Exception"]
    assert said["exc_args"] == []
    assert len(said["causes"]) == 16
    assert not any(cause["causes"] for cause in said["causes"])


# -- failures


def test_an_exception_becomes_a_failure_with_the_tasks_own_traceback(running: Any) -> None:
    said = failure(running, "fail", "boom")
    assert said["exc_type_names"] == ["ValueError", "Exception"]
    assert said["exc_args"] == ["boom", 42]
    assert "raise ValueError(text, 42) from error" in said["traceback_str"]
    assert "runner.py" not in said["traceback_str"]
    assert said["causes"][0]["exc_type_names"][0] == "KeyError"


@pytest.mark.parametrize(
    ("task", "type_name"),
    [
        ("exit_system", "SystemExit"),
        ("interrupt", "KeyboardInterrupt"),
        ("end_a_generator", "GeneratorExit"),
        ("fail_with_a_set", "ValueError"),
        ("say_a_set", "protocol.errors.ValueRefused"),
    ],
)
def test_whatever_is_raised_becomes_a_failure(running: Any, task: str, type_name: str) -> None:
    assert failure(running, task)["exc_type_names"][0] == type_name


def test_wrong_arguments_are_the_ordinary_type_error(running: Any) -> None:
    said = failure(running, "add", arguments={"z": 1})
    assert said["exc_type_names"][0] == "TypeError"
    assert "unexpected keyword argument 'z'" in said["exception_str"]


def test_a_result_that_cannot_travel_is_a_failure_that_names_its_path(running: Any) -> None:
    said = failure(running, "a_set")
    assert f"the result of {TASKS}.a_set.images[1].size" in said["exception_str"]


def test_a_result_has_room_for_as_many_levels_as_an_answer_leaves(running: Any) -> None:
    assert result(running, "nested", 198)
    assert "198 levels" in failure(running, "nested", 199)["exception_str"]


def test_an_unknown_task_fails_with_the_nearest_names(running: Any) -> None:
    ended, inbox = run(running, f"{TASKS}.ad")
    assert ended.failure is not None
    assert "KeyError" in ended.failure["exc_type_names"]
    assert f"nearest: {TASKS}.add" in ended.failure["exception_str"]
    assert inbox.of(ended.key)[-1] == ended


@pytest.mark.parametrize("name", ["join", "_private", "count_up", "NoTask", "os.getcwd"])
def test_only_what_was_offered_can_be_run(running: Any, name: str) -> None:
    assert failure(running, f"{TASKS}.{name}")["exc_type_names"][0].endswith("UnknownTask")


# -- events


def test_reports_come_in_order(running: Any) -> None:
    ended, inbox = run(running, "say", [-1, 0.5, 7], "saved")
    assert inbox.of(ended.key) == [
        Started(ended.key),
        TaskEvent(ended.key, "update_progress", {"of": "work", "progress": 0.0}),
        TaskEvent(ended.key, "update_progress", {"of": "work", "progress": 0.5}),
        TaskEvent(ended.key, "update_progress", {"of": "work", "progress": 1.0}),
        TaskEvent(ended.key, "saved", {"note": "hello"}),
        Ended(ended.key, "said"),
    ]


def test_a_thread_in_the_tasks_context_can_speak(running: Any) -> None:
    ended, inbox = run(running, "say_from_a_thread")
    assert TaskEvent(ended.key, "update_progress", {"progress": 0.5}) in inbox.of(ended.key)


# -- slots


def test_as_many_works_run_at_once_as_there_are_slots(running: Any, tmp_path: Path) -> None:
    pool, inbox = running
    first, second = next(_keys), next(_keys)
    inbox.reports.clear()
    for key in (first, second):
        pool.run(work(key, f"{TASKS}.wait_for_file", str(tmp_path / "go")))
    inbox.wait(lambda reports: {Started(first), Started(second)} <= set(reports))
    (tmp_path / "go").touch()
    assert inbox.ended(first).result == inbox.ended(second).result == "found"


def test_many_quick_works_end_in_their_order_in_each_slot_and_each_once(running: Any) -> None:
    pool, inbox = running
    keys = [next(_keys) for _ in range(300)]
    inbox.reports.clear()
    pool.run(*(work(key, f"{TASKS}.add", key, 1) for key in keys))
    ends = {key: inbox.ended(key).result for key in keys}
    assert ends == {key: key + 1 for key in keys}
    assert sum(isinstance(report, Ended) for report in inbox.reports) == len(keys)


def test_what_has_not_begun_is_returned_and_what_has_is_not(running: Any, tmp_path: Path) -> None:
    pool, inbox = running
    first, second, *others = [next(_keys) for _ in range(6)]
    inbox.reports.clear()
    go = str(tmp_path / "go")
    pool.run(*(work(key, f"{TASKS}.wait_for_file", go) for key in (first, second, *others)))
    inbox.wait(lambda reports: {Started(first), Started(second)} <= set(reports))
    pool.take_back(first, *others[:3], 10**9)
    inbox.wait(lambda reports: {Returned(key) for key in others[:3]} <= set(reports))
    (tmp_path / "go").touch()
    ends = [inbox.ended(key).result for key in (first, second, others[3])]
    assert ends == ["found"] * 3
    assert [type(one) for key in others[:3] for one in inbox.of(key)] == [Returned] * 3


def test_nothing_waits_behind_a_long_work_while_another_slot_is_free(
    running: Any, tmp_path: Path
) -> None:
    """Quick ones before it have the pool hand over several at once."""
    pool, inbox = running
    quick = [next(_keys) for _ in range(200)]
    long, *behind = [next(_keys) for _ in range(100)]
    inbox.reports.clear()
    pool.run(
        *(work(key, f"{TASKS}.add", key) for key in quick),
        work(long, f"{TASKS}.wait_for_file", str(tmp_path / "go")),
        *(work(key, f"{TASKS}.add", key) for key in behind),
    )
    for key in behind:
        inbox.ended(key)
    (tmp_path / "go").touch()
    assert inbox.ended(long).result == "found"


def test_a_work_whose_time_to_start_has_passed_is_returned(running: Any) -> None:
    pool, inbox = running
    key = next(_keys)
    inbox.reports.clear()
    pool.run(work(key, f"{TASKS}.add", 1, start_by=int(clock() * 1000)))
    inbox.wait(lambda reports: Returned(key) in reports)
    later = int((clock() + 60) * 1000)
    assert result(running, "add", 1, arguments={"y": 1}, start_by=later) == 2


def test_what_has_not_begun_can_be_ended_in_every_pool(running: Any, tmp_path: Path) -> None:
    pool, inbox = running
    first, second, third = [next(_keys) for _ in range(3)]
    inbox.reports.clear()
    go = str(tmp_path / "go")
    pool.run(*(work(key, f"{TASKS}.wait_for_file", go) for key in (first, second, third)))
    inbox.wait(lambda reports: {Started(first), Started(second)} <= set(reports))
    pool.end(third)
    assert inbox.ended(third).end == "stopped"
    (tmp_path / "go").touch()
    assert inbox.ended(first).result == inbox.ended(second).result == "found"


# -- limits


def test_a_pool_says_whether_it_can_end_a_task_that_runs(running: Any) -> None:
    pool, _ = running
    assert pool.can_stop is (pool.kind == "processes")


@pytest.mark.parametrize("task", [f"{LIMITED}.both", f"{LIMITED}.Hard", "limited.softly"])
def test_a_work_that_ends_within_its_limits_is_as_any_other(running: Any, task: str) -> None:
    assert result(running, task, time_limit=50, soft_time_limit=40.5) == "in time"


def test_an_end_asked_for_is_told_only_where_it_can_be_had(running: Any, tmp_path: Path) -> None:
    pool, inbox = running
    key = next(_keys)
    inbox.reports.clear()
    pool.run(work(key, f"{TASKS}.wait_for_file", str(tmp_path / "go")))
    inbox.wait(lambda reports: Started(key) in reports)
    pool.end(key)
    if not pool.can_stop:
        (tmp_path / "go").touch()
    assert inbox.ended(key).end == ("stopped" if pool.can_stop else "done")


# -- what is offered


def test_start_returns_what_is_offered(kind: str) -> None:
    pool = make_pool(kind, [TASKS], 1)
    try:
        offers = {offer.name: offer for offer in pool.start(Inbox())}
        assert offers[f"{TASKS}.add"].doc == "Add two numbers."
        assert offers["renamed"].version == (2, 1)
        assert {f"{TASKS}.{name}" for name in ("Twice", "cached", "add_slowly")} <= set(offers)
        assert not {f"{TASKS}.{name}" for name in ("join", "_private", "NoTask")} & set(offers)
    finally:
        pool.stop()


def test_offers_say_which_limits_their_tasks_have(kind: str) -> None:
    pool, inbox = make_pool(kind, [LIMITED], 1), Inbox()
    try:
        limits = {
            offer.name.rpartition(".")[2]: (offer.time_limit, offer.soft_time_limit)
            for offer in pool.start(inbox)
        }
        assert limits == {
            "both": (60.0, 50.0),
            "Hard": (60, None),
            "softly": (None, 50.0),
            "free": (None, None),
        }
        pool.offer(f"{TASKS}:add")
        assert {offer.time_limit for offer in inbox.first(Offers).tasks} == {60, None}
    finally:
        pool.stop()


def test_more_is_offered_on_demand_and_what_cannot_be_is_refused(kind: str) -> None:
    pool, inbox = make_pool(kind, [f"{TASKS}:add"], 1), Inbox()
    try:
        assert [offer.name for offer in pool.start(inbox)] == [f"{TASKS}.add"]
        pool.offer("math:factorial")
        assert [o.name for o in inbox.first(Offers).tasks] == [f"{TASKS}.add", "math.factorial"]
        pool.run(work(1, "math.factorial", 5))
        assert inbox.ended(1).result == 120
        inbox.reports.clear()
        pool.offer("no_such_module_anywhere")
        answer = inbox.first(Offers)
        assert len(answer.tasks) == 2
        assert "No module named 'no_such_module_anywhere'" in answer.refused[0]
        inbox.reports.clear()
        pool.offer("math:factorial")
        assert len(inbox.first(Offers).tasks) == 2
    finally:
        pool.stop()


def test_tasks_that_cannot_be_imported_are_told_with_their_traceback(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"broken_{kind}"
    (tmp_path / f"{name}.py").write_text("def of_mine():\n    1 / 0\n\nof_mine()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    pool = make_pool(kind, [name], 2)
    with pytest.raises(TasksUnloadable, match="ZeroDivisionError") as caught:
        pool.start(Inbox())
    assert "in of_mine" in str(caught.value)
    pool.stop()


# -- life


def test_a_pool_may_be_stopped_twice_and_before_it_was_started(kind: str) -> None:
    pool = make_pool(kind, [TASKS], 1)
    pool.stop()
    pool.stop()
    with pytest.raises(TasksUnloadable, match="stopped before it was started"):
        pool.start(Inbox())


def test_an_unknown_key_cannot_be_ended_and_that_is_no_matter(running: Any) -> None:
    running[0].end(10**9)
    assert result(running, "add", 1, 1) == 2


def test_a_work_after_the_stop_is_ignored(kind: str) -> None:
    pool, inbox = make_pool(kind, [TASKS], 1), Inbox()
    pool.start(inbox)
    pool.stop()
    pool.run(work(1, f"{TASKS}.add", 1))


def test_a_fault_of_the_pool_ends_what_is_open_and_the_pool_and_is_told(
    kind: str, tmp_path: Path
) -> None:
    inbox, faults = Inbox(), iter([ZeroDivisionError("a fault of the worker's own")])

    def faulty_inbox(reports: list[Report]) -> None:
        if any(isinstance(report, Ended) for report in reports):
            for fault in faults:
                raise fault
        inbox(reports)

    pool = make_pool(kind, [TASKS], 2)
    pool.start(faulty_inbox)
    try:
        pool.run(work(1, f"{TASKS}.wait_for_file", str(tmp_path / "go")))
        inbox.wait(lambda reports: Started(1) in reports)
        pool.run(work(2, f"{TASKS}.add", 1))
        assert "a fault of the worker's own" in inbox.first(PoolEnded).reason
        assert inbox.ended(1).end == "crash"
        assert inbox.ended(2)
        assert isinstance(inbox.reports[-1], PoolEnded)
        pool.run(work(3, f"{TASKS}.add", 1))
        refused = inbox.ended(3)
        assert refused.end == "crash"
        assert refused.failure is not None
        assert "a fault of the worker's own" in refused.failure["exception_str"]
    finally:
        (tmp_path / "go").touch()
        pool.stop()
    assert sum(isinstance(report, Ended) for report in inbox.of(1)) == 1


def test_a_kind_there_is_not_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match=r"'fibres'.*processes, threads"):
        make_pool("fibres", [TASKS], 1)
