"""Tasks that take too long, and tasks that end the process that runs them."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Iterator

import pytest

from executor import Executor
from protocol.errors import (
    ConfigurationError,
    LimitRefused,
    PoisonTask,
    SoftTimeLimitExceeded,
    TimeLimitExceeded,
    WorkerLost,
)
from protocol.timing import MAX_CRASHES
from tests.processes import DEADLINE, is_alive, wait_until
from tests.stories.stage import Stage


@pytest.fixture
def executor(stage: Stage) -> Iterator[Executor]:
    with stage.worker(concurrency=1) as worker, stage.executor() as made:
        worker.up()
        made.wait_for_workers(1, DEADLINE)
        yield made
        made.shutdown(wait=False, cancel_futures=True)


@pytest.mark.parametrize("chore", ["spin", "block"])
def test_a_run_is_ended_at_its_limit_whatever_it_is_doing(
    stage: Stage, executor: Executor, chore: str
) -> None:
    future = executor.options(time_limit=1.5).submit(f"chores.{chore}", "long")
    wait_until(future.running, "the run")
    with pytest.raises(TimeLimitExceeded, match=r"1\.5 s") as found:
        future.result(DEADLINE)
    assert found.value.request_uuid == future.uuid
    (process,) = stage.processes("long")
    wait_until(lambda: not is_alive(process), "the end of the process")
    assert executor.submit("chores.chore", "after").result(DEADLINE) == "after"
    assert stage.marks() == {"long": 1, "after": 1}  # it is not run again


def test_a_run_is_told_at_its_soft_limit_and_may_clean_up(stage: Stage, executor: Executor) -> None:
    soft = executor.options(soft_time_limit=1.0)
    assert soft.submit("chores.tidy", "one").result(DEADLINE) == "one was tidied up"
    with pytest.raises(SoftTimeLimitExceeded):
        soft.submit("chores.careless", "two").result(DEADLINE)
    both = executor.options(soft_time_limit=1.0, time_limit=1.5)
    with pytest.raises(TimeLimitExceeded):
        both.submit("chores.spin_on", "three").result(DEADLINE)


def test_what_the_task_says_of_itself_holds_unless_options_say_otherwise(
    stage: Stage, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a function that is submitted; of a name nothing is known here."""
    monkeypatch.syspath_prepend(str(stage.folder))
    chores = importlib.import_module("chores")
    try:
        with pytest.raises(TimeLimitExceeded):
            executor.submit(chores.limited, "limited").result(DEADLINE)
        assert executor.submit(chores.tidy, "tidy").result(DEADLINE) == "tidy was tidied up"
        began = time.monotonic()
        with pytest.raises(TimeLimitExceeded, match=r"1\.5 s"):
            executor.options(time_limit=1.5).submit(chores.limited, "longer").result(DEADLINE)
        assert time.monotonic() - began > 1.5
        with pytest.raises(ConfigurationError, match="would never come before"):
            executor.options(time_limit=0.2).submit(chores.tidy, "never sent")
        kept = executor.submit(chores.payment, "payment")
        assert kept.result(DEADLINE) == "payment"
    finally:
        del sys.modules["chores"]
    assert "never" not in " ".join(stage.marks())


def test_where_no_limit_can_be_kept_the_request_is_refused(local_stage: Stage) -> None:
    with (
        local_stage.worker("--pool", "threads") as worker,
        local_stage.executor() as executor,
    ):
        worker.up()
        executor.wait_for_workers(1, DEADLINE)
        with pytest.raises(LimitRefused, match="--pool processes"):
            executor.options(time_limit=5).submit("chores.chore", "limited").result(DEADLINE)
        assert executor.submit("chores.chore", "unlimited").result(DEADLINE) == "unlimited"


def test_a_task_that_ends_its_process_is_poison_after_three_times(
    stage: Stage, executor: Executor
) -> None:
    """It costs those attempts and nobody else's."""
    crashing = executor.submit("chores.crash", "crash")
    others = [executor.submit("chores.chore", f"n{n}") for n in range(5)]
    with pytest.raises(PoisonTask) as found:
        crashing.result(DEADLINE)
    assert found.value.request_uuid == crashing.uuid
    assert [other.result(DEADLINE) for other in others] == [f"n{n}" for n in range(5)]
    assert stage.marks()["crash"] == MAX_CRASHES


def test_one_that_is_to_start_at_most_once_is_not_started_again_when_it_crashes(
    stage: Stage, executor: Executor
) -> None:
    future = executor.options(delivery="at_most_once").submit("chores.crash", "crash")
    error = future.exception(DEADLINE)
    assert error is not None
    assert not isinstance(error, (PoisonTask, WorkerLost))
    assert executor.submit("chores.chore", "after").result(DEADLINE) == "after"
    assert stage.marks()["crash"] == 1


@pytest.mark.parametrize("limits", [{"time_limit": 0}, {"soft_time_limit": 2, "time_limit": 1}])
def test_limits_that_cannot_be_kept_are_refused_where_they_are_given(
    local_stage: Stage, limits: dict[str, float]
) -> None:
    with local_stage.executor() as executor, pytest.raises(ConfigurationError):
        executor.options(**limits)  # type: ignore[arg-type]
