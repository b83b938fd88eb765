"""Our executor drives an unmodified taskflow Worker, on every broker they share.

The worker is taskflow's own: its command line on Redis and RabbitMQ, its class elsewhere. The
tasks are taskflow Task classes, called by their wire names; nothing here loads a flow.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from executor import Executor, Retry
from protocol.errors import TaskFailed, TasklineError
from protocol.failure import from_exception
from tests.interop import flow_tasks as ft
from tests.interop.conftest import BROKERS
from tests.interop.ground import Ground
from tests.interop.peers import FLOW_TASKS, native_worker_running, worker_running

#: Seconds any future here may take to end.
DEADLINE = 45.0


@pytest.fixture(scope="module", params=BROKERS)
def ground(request: pytest.FixtureRequest) -> Iterator[Ground]:
    """A broker with taskflow's own worker on it."""
    ground = Ground(request.param).demand()
    with worker_running(ground, peer="taskflow"):
        yield ground


@pytest.fixture(scope="module")
def ex(ground: Ground) -> Iterator[Executor]:
    """Our executor, speaking both dialects where it can."""
    with Executor(
        ground.url,
        exchange=ground.exchange,
        topics=[ground.topic],
        dialects=ground.dialects,
    ) as executor:
        yield executor


def named(task: str) -> str:
    """The wire name of one of the flow tasks."""
    return f"{FLOW_TASKS}.{task}"


# results -------------------------------------------------------------------------------------


def test_a_task_is_executed_and_its_result_is_the_futures(ex: Executor) -> None:
    """By ``execute`` with a mapping of arguments."""
    future = ex.execute(named("Add"), {"x": 40, "y": 2})
    assert future.result(DEADLINE) == 42


def test_submit_by_name_with_keywords_is_the_same_call(ex: Executor) -> None:
    """What knows only ``concurrent.futures`` reaches a taskflow worker as well."""
    assert ex.submit(named("Add"), x="a", y="b").result(DEADLINE) == "ab"


def test_the_name_of_a_use_of_a_task_is_what_the_task_is_made_with(ex: Executor) -> None:
    """``name`` is taskflow's atom name."""
    assert ex.execute(named("OwnName"), name="this use of it").result(DEADLINE) == "this use of it"


def test_a_hundred_tasks_at_once_each_give_their_own_result(ex: Executor) -> None:
    """All of them open together; none lost, none swapped."""
    futures = [ex.execute(named("Echo"), {"value": n}) for n in range(100)]
    _done, waiting = concurrent.futures.wait(futures, timeout=DEADLINE)
    assert not waiting
    assert [future.result() for future in futures] == list(range(100))


def test_a_tuple_arrives_as_a_list_and_nothing_as_none(ex: Executor) -> None:
    """What JSON makes of a task's result, both ways."""
    value: dict[str, Any] = {
        "text": "☃ \U0001f600",
        "numbers": [2**63, 0.1],
        "nothing": None,
        "deep": [[{}]],
    }
    assert ex.execute(named("Echo"), {"value": value}).result(DEADLINE) == value
    assert ex.execute(named("Pair"), {"value": 5}).result(DEADLINE) == [4, 6]
    assert ex.execute(named("Hooked")).result(DEADLINE) is None


# events --------------------------------------------------------------------------------------


def test_progress_and_custom_events_arrive_before_the_result(ex: Executor) -> None:
    """``on_progress`` gets fractions, ``on_event`` all that the task's notifier said."""
    progress: list[tuple[float, object]] = []
    events: list[tuple[str, object]] = []
    watching = ex.options(
        on_progress=lambda fraction, details: progress.append((fraction, details)),
        on_event=lambda kind, details: events.append((kind, details)),
    )
    assert watching.execute(named("Progress"), {"steps": 3}).result(DEADLINE) == 3
    assert [fraction for fraction, _details in progress] == pytest.approx([1 / 3, 2 / 3])
    resized = [details for kind, details in events if kind == "resized"]
    assert resized == [{"step": 1, "size": [1, 2]}, {"step": 2, "size": [2, 4]}]


# failures ------------------------------------------------------------------------------------


def test_a_builtin_exception_is_raised_as_itself_with_what_is_known_of_it(ex: Executor) -> None:
    """``except ValueError`` works; arguments, types, the remote lines and the cause are there."""
    with pytest.raises(ValueError, match="boom") as caught:
        ex.execute(named("Boom")).result(DEADLINE)
    error = caught.value
    assert error.args == ("boom", 42)
    remote = error.remote  # type: ignore[attr-defined]
    assert remote.type_names[0] == "ValueError"
    assert 'raise ValueError("boom", 42) from missing' in remote.traceback
    assert [cause.type_names[0] for cause in remote.causes] == ["KeyError"]


def test_what_fails_there_is_run_again_as_its_policy_says(ex: Executor, tmp_path: Path) -> None:
    """taskflow's worker knows nothing of that: to it each round is another request."""
    again = ex.options(retries=Retry(max=3, backoff=0.1, on=(RuntimeError,)))
    future = again.execute(named("FailsUntil"), {"path": str(tmp_path / "tally"), "wanted": 3})
    assert future.result(DEADLINE) == 3
    assert [one.how for one in future.attempts] == ["failure", "failure", "success"]
    assert [one.round for one in future.attempts] == [1, 2, 3]


def test_an_exception_nobody_here_knows_is_a_task_failure_that_names_it(ex: Executor) -> None:
    """A class made inside a function of the worker's."""
    with pytest.raises(TaskFailed, match="LocalError") as caught:
        ex.execute(named("RaisesNested")).result(DEADLINE)
    assert "from within" in str(caught.value)


def test_wrong_arguments_are_the_workers_type_error(ex: Executor) -> None:
    """Names are checked by the worker alone."""
    with pytest.raises(TypeError, match="y"):
        ex.execute(named("Add"), {"x": 1}).result(DEADLINE)


def test_a_task_no_constructor_can_make_fails_without_ever_running(ex: Executor) -> None:
    """taskflow answers with FAILURE and no RUNNING before it."""
    with pytest.raises(TypeError, match="colour"):
        ex.execute(named("WantsMore")).result(DEADLINE)


def test_a_task_nobody_offers_expires_and_says_who_was_heard_and_what_is_near(
    ex: Executor,
) -> None:
    """The error names the task asked for and the nearest that is offered."""
    future = ex.options(timeout=2.0).execute(named("Ad"), {"x": 1, "y": 2})
    with pytest.raises(TimeoutError) as caught:
        future.result(DEADLINE)
    assert isinstance(caught.value, TasklineError)
    assert named("Ad") in str(caught.value)
    assert named("Add") in str(caught.value)


def test_positional_arguments_which_taskflow_has_none_of_end_in_an_error(ex: Executor) -> None:
    """A taskflow request carries named arguments only: no worker can be sent this one."""
    with pytest.raises(TasklineError):
        ex.options(timeout=2.0).submit(named("Add"), 1, 2).result(DEADLINE)


# reverts -------------------------------------------------------------------------------------


def test_a_revert_is_told_the_result_and_the_failures_of_the_flow(ex: Executor) -> None:
    """Failures arrive as taskflow's own objects: its worker calls ``check`` on them."""
    failures = {"later": from_exception(ValueError("late", 1))}
    future = ex.revert(named("Undoable"), {}, result={"made": 1}, failures=failures)
    assert future.result(DEADLINE) == {
        "result": {"made": 1},
        "failures": {"later": {"failed": "('late', 1)", "as": "ValueError"}},
    }


def test_a_revert_of_what_failed_is_told_how_it_failed(ex: Executor) -> None:
    """``result`` may be the exception its future raised: execute, fail, revert."""
    error = ex.execute(named("Boom")).exception(DEADLINE)
    assert error is not None
    future = ex.revert(named("Boom"), {}, result=error)
    assert future.result(DEADLINE) == {"failed": "('boom', 42)", "as": "ValueError"}


def test_a_revert_with_no_failures_at_all_is_still_run(ex: Executor) -> None:
    """taskflow's worker wants both ``result`` and ``failures``, or its TypeError is the answer."""
    future = ex.revert(named("UndoableWithArgument"), {"x": 7}, result=None)
    assert future.result(DEADLINE) == [7, None, []]


def test_a_revert_that_fails_is_raised(ex: Executor) -> None:
    """Like any failure."""
    with pytest.raises(RuntimeError, match="it cannot be undone"):
        ex.revert(named("RevertFails"), result=1).result(DEADLINE)


# both dialects at once -----------------------------------------------------------------------


def test_one_executor_uses_a_native_worker_and_taskflows_at_once(
    ex: Executor, ground: Ground
) -> None:
    """Same broker, same exchange, same topic; each task goes to whoever offers it."""
    if "native" not in ground.dialects:
        pytest.skip("our own dialect is not spoken in a folder")
    with native_worker_running(ground, "tests.interop.plain_tasks"):
        ex.wait_for_workers(2, timeout=DEADLINE)
        theirs = [ex.execute(named("Add"), {"x": n, "y": 1}) for n in range(20)]
        ours = [ex.submit("tests.interop.plain_tasks.multiply", n, 2) for n in range(20)]
        assert [future.result(DEADLINE) for future in theirs] == [n + 1 for n in range(20)]
        assert [future.result(DEADLINE) for future in ours] == [n * 2 for n in range(20)]
        offered = {worker.dialect: worker.topics[ground.topic] for worker in ex.workers()}
        assert offered["native"] == ("tests.interop.plain_tasks.multiply",)
        assert named("Add") in offered["taskflow"]


# what would end their worker -----------------------------------------------------------------


@pytest.mark.parametrize("value", [ft.VAST, ft.FALSE_KIND], ids=["vast number", "false kind"])
def test_an_argument_that_would_end_a_taskflow_worker_is_never_sent_to_one(value: Any) -> None:
    """It cannot read such a body, and ends for it, with all that waits in its queue.

    Whether that is said at once or by the future: an error of ours says it, and the next request is
    served. Alone with a worker of its own, which would be gone for the other tests.
    """
    ground = Ground("memory")
    with (
        worker_running(ground, peer="taskflow"),
        Executor(
            ground.url, exchange=ground.exchange, topics=[ground.topic], dialects=["taskflow"]
        ) as ex,
    ):
        with pytest.raises(TasklineError):
            ex.options(timeout=3.0).execute(named("Echo"), {"value": [value]}).result(DEADLINE)
        after = ex.options(timeout=30.0).execute(named("Echo"), {"value": "alive"})
        assert after.result(DEADLINE) == "alive"
