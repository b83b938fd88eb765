"""An unmodified taskflow engine runs its flows on our worker, on every broker they share.

The engine, the flows, the retries and the notifications are taskflow's own; of ours there is only
``python -m worker --dialect taskflow`` (over memory: ``Worker(dialect="taskflow")``).
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from taskflow import retry
from taskflow.patterns import graph_flow, linear_flow, unordered_flow
from taskflow.types.failure import Failure

from tests.interop import flow_tasks as ft
from tests.interop.conftest import ONLY_OURS
from tests.interop.engines import Runner
from tests.interop.ground import Ground
from tests.interop.peers import FLOW_TASKS, worker_running
from tests.interop.strangers import Stranger

# results -------------------------------------------------------------------------------------


def test_a_linear_flow_passes_results_from_task_to_task(runner: Runner) -> None:
    """Values provided by one task arrive as arguments of the next; a tuple provides two."""
    flow = linear_flow.Flow("linear").add(
        ft.Add("three", provides="three", rebind={"x": "one", "y": "two"}),
        ft.Pair("around", provides=("below", "above"), rebind={"value": "three"}),
        ft.AddMore("six", provides="six", rebind={"x": "below", "y": "above"}),
        ft.Optional("sixty", provides="sixty", rebind={"x": "six"}),
        ft.Optional("twelve", provides="twelve", rebind={"x": "six", "by": "two"}),
        ft.OwnName("my own name", provides="name"),
    )
    run = runner.run(flow, store={"one": 1, "two": 2})
    assert run.error is None
    told = {key: run.results[key] for key in ("three", "below", "above", "six", "sixty", "twelve")}
    assert told == {"three": 3, "below": 2, "above": 4, "six": 6, "sixty": 60, "twelve": 12}
    assert run.results["name"] == "my own name"


def test_an_unordered_flow_of_sixty_tasks_loses_and_swaps_nothing(runner: Runner) -> None:
    """RUNNING and SUCCESS of sixty tasks at once stay in order, each result with its own task."""
    flow = unordered_flow.Flow("unordered").add(
        *(
            ft.Echo(f"echo {number}", provides=f"out{number}", inject={"value": [number, "x"]})
            for number in range(60)
        )
    )
    run = runner.run(flow)
    assert run.error is None
    assert [run.results[f"out{number}"] for number in range(60)] == [[n, "x"] for n in range(60)]


def test_a_graph_flow_runs_by_its_dependencies_and_deciders(runner: Runner) -> None:
    """Declared in the wrong order, linked by what is provided; a decider leaves one branch out."""
    first = ft.Add("first", provides="a", inject={"x": 1, "y": 1})
    last = ft.Add("last", provides="d", rebind={"x": "b", "y": "c"})
    taken = ft.Echo("taken", inject={"value": "taken"})
    not_taken = ft.Echo("not taken", inject={"value": "not taken"})
    flow = graph_flow.Flow("graph").add(
        last,
        ft.Optional("left", provides="b", rebind={"x": "a"}),
        ft.Optional("right", provides="c", rebind={"x": "a"}, inject={"by": 100}),
        first,
        taken,
        not_taken,
    )
    flow.link(last, taken, decider=lambda history: history["last"] == 220)
    flow.link(last, not_taken, decider=lambda history: history["last"] != 220)
    run = runner.run(flow)
    assert run.error is None
    assert run.results["d"] == 220
    assert run.state_of("taken") == "SUCCESS"
    assert run.state_of("not taken") == "IGNORE"


def test_values_of_every_json_kind_travel_there_and_back(runner: Runner) -> None:
    """Text beyond ASCII, integers beyond 64 bits, depth, and 300 kB in one value."""
    value: dict[str, Any] = {
        "text": "Ünïcödé ☃ \U0001f600 \u2028",
        "numbers": [0, -1, 2**63, 10**30, 0.1, 1e300],
        "nothing": None,
        "truth": [True, False],
        "deep": [[[[{"a": [{}]}]]]],
        "large": "x" * 300_000,
    }
    flow = linear_flow.Flow("values").add(ft.Echo("echo", provides="out"))
    run = runner.run(flow, store={"value": value})
    assert run.error is None
    assert run.results["out"] == value


# events --------------------------------------------------------------------------------------


def test_progress_and_custom_events_reach_the_tasks_own_notifier(runner: Runner) -> None:
    """In the order in which they were sent, between taskflow's own 0.0 and 1.0."""
    progressing = ft.Progress("progressing", inject={"steps": 4})
    seen: list[tuple[str, Any]] = []
    for event in ("update_progress", "resized"):
        progressing.notifier.register(event, lambda kind, details: seen.append((kind, details)))
    run = runner.run(linear_flow.Flow("events").add(progressing))
    assert run.error is None
    between = [
        pair
        for step in (1, 2, 3)
        for pair in (
            ("update_progress", {"progress": step / 4}),
            ("resized", {"step": step, "size": [step, step * 2]}),
        )
    ]
    assert seen == [
        ("update_progress", {"progress": 0.0}),
        *between,
        ("update_progress", {"progress": 1.0}),
    ]


def test_hooks_and_progress_of_execute_and_revert_arrive_in_order(runner: Runner) -> None:
    """``pre_``, the action itself, ``post_``: for execute and for revert, through one notifier."""
    hooked = ft.Hooked("hooked")
    called: list[str] = []
    hooked.notifier.register("called", lambda kind, details: called.append(details["hook"]))
    undoing = ft.UndoesWithProgress("undoing")
    seen: list[float] = []
    undoing.notifier.register(
        "update_progress", lambda kind, details: seen.append(details["progress"])
    )
    run = runner.run(linear_flow.Flow("hooks").add(hooked, undoing, ft.Boom("boom")))
    assert run.failure.check(ValueError)
    assert called == [
        *("pre_execute", "execute", "post_execute"),
        *("pre_revert", "revert", "post_revert"),
    ]
    assert run.state_of("undoing") == "REVERTED"
    assert 0.25 in seen


# failures and reverts ------------------------------------------------------------------------


def test_a_failure_arrives_with_its_type_arguments_cause_and_remote_traceback(
    runner: Runner,
) -> None:
    """As taskflow's own Failure: ``check`` by class, arguments, one cause, the remote lines."""
    run = runner.run(linear_flow.Flow("failing").add(ft.Boom("boom")))
    failure = run.failure
    assert failure.check(ValueError) is ValueError
    assert failure.check(KeyError) is None
    assert failure.exception_args == ("boom", 42)
    assert failure.exception_str == "('boom', 42)"
    assert "flow_tasks.py" in failure.traceback_str
    assert 'raise ValueError("boom", 42) from missing' in failure.traceback_str
    (cause,) = failure.causes
    assert cause.check(KeyError) is KeyError
    assert cause.exception_args == ("missing",)
    assert run.state_of("boom") == "REVERTED"


def test_a_failed_flow_is_reverted_in_reverse_order_with_results_and_failures(
    runner: Runner,
) -> None:
    """Each revert is given what its own execute returned and what failed, by task name."""
    flow = linear_flow.Flow("reverting").add(
        ft.Undoable("one", inject={"x": 1}),
        ft.Undoable("two", inject={"x": [2]}),
        ft.UndoableWithArgument("three", inject={"x": 3}),
        ft.Boom("boom"),
        ft.Echo("never", inject={"value": 0}),
    )
    run = runner.run(flow)
    assert run.failure.check(ValueError)
    assert run.names_in("REVERTED") == ["boom", "three", "two", "one"]
    failed = {"failed": "('boom', 42)", "as": "ValueError"}
    assert run.reverted("one") == {"result": {"made": 1}, "failures": {"boom": failed}}
    assert run.reverted("two") == {"result": {"made": [2]}, "failures": {"boom": failed}}
    assert run.reverted("three") == [3, 3, ["boom"]]
    assert run.reverted("boom") == failed
    assert run.state_of("never") == "PENDING"


def test_failures_of_several_tasks_at_once_are_all_told(runner: Runner) -> None:
    """Of two that fail side by side the engine raises two; the third's revert hears of those that
    had failed by then.
    """
    flow = unordered_flow.Flow("several").add(
        ft.Boom("boom 1"),
        ft.FailsUnless("boom 2", inject={"value": 1, "wanted": 2}),
        ft.Undoable("undone", inject={"x": 1}),
    )
    run = runner.run(flow)
    assert sorted(f.exception_str for f in run.failures) == ["('boom', 42)", "1 is not 2"]
    heard = set(run.reverted("undone")["failures"])
    assert heard
    assert heard <= {"boom 1", "boom 2"}


def test_a_revert_that_fails_ends_the_run_as_a_failed_revert(runner: Runner) -> None:
    """REVERT_FAILURE for that task, and the run tells of it."""
    flow = linear_flow.Flow("stuck").add(ft.RevertFails("stuck"), ft.Boom("boom"))
    run = runner.run(flow)
    assert run.state_of("stuck") == "REVERT_FAILURE"
    assert "it cannot be undone" in [f.exception_str for f in run.failures]


# retries -------------------------------------------------------------------------------------


def test_a_task_is_run_again_until_the_retry_is_content(runner: Runner, tmp_path: Path) -> None:
    """``Times``: the same atom, with the same uuid on the wire, executed and reverted thrice."""
    flow = linear_flow.Flow("times", retry=retry.Times(3, "thrice")).add(
        ft.Undoable("before", inject={"x": 1}),
        ft.FailsUntil("flaky", provides="runs"),
    )
    run = runner.run(flow, store={"path": str(tmp_path / "tally"), "wanted": 3})
    assert run.error is None
    assert run.results["runs"] == 3
    assert run.names_in("REVERTED") == ["flaky", "before", "flaky", "before"]
    assert run.names_in("SUCCESS").count("before") == 3


def test_a_retry_that_gives_up_lets_the_flow_fail_with_the_last_failure(
    runner: Runner, tmp_path: Path
) -> None:
    """Two attempts of three: the second failure is the run's, and what came before is undone."""
    twice = retry.Times(2, "twice", revert_all=True)
    inner = linear_flow.Flow("inner", retry=twice).add(ft.FailsUntil("flaky"))
    flow = linear_flow.Flow("outer").add(ft.Undoable("before", inject={"x": 1}), inner)
    run = runner.run(flow, store={"path": str(tmp_path / "tally"), "wanted": 3})
    assert run.failure.exception_str == "run 2 of 3"
    assert run.failure.check(RuntimeError) is RuntimeError
    assert [name for name in run.names_in("REVERTED") if name != "twice"][-1] == "before"


def test_for_each_tries_one_value_after_another(runner: Runner) -> None:
    """``ForEach``: each attempt's argument is the retry's next value."""
    flow = linear_flow.Flow(
        "each", retry=retry.ForEach([1, 2, 3], name="each", provides="value")
    ).add(ft.FailsUnless("picky", provides="found", inject={"wanted": 3}))
    run = runner.run(flow)
    assert run.error is None
    assert run.results["found"] == 3


# nothing hangs -------------------------------------------------------------------------------


FailureOf = Callable[[str], Failure]


@pytest.fixture(scope="module")
def failure_of(runner: Runner) -> FailureOf:
    """What became of each misbehaving task, each in a flow of its own, all run side by side."""
    misbehaving = [
        ft.ReturnsAnObject(),
        ft.ReturnsNotANumber(),
        ft.RaisesAnObject(),
        ft.RaisesAnObjectDeepDown(),
        ft.RaisesUnprintable(),
        ft.RaisesAChain(),
        ft.Exits(),
        ft.Interrupts(),
        ft.ReturnsAVastNumber(),
        ft.RaisesAVastNumber(),
        ft.ReturnsAFalseKind(),
        ft.RaisesAFalseKind(),
    ]
    flows = [linear_flow.Flow("misbehaving").add(task) for task in misbehaving]
    names = [type(task).__name__ for task in misbehaving]
    runs = dict(zip(names, runner.run_together(flows), strict=True))
    return lambda name: runs[name].wait(0.0).failure


@ONLY_OURS
@pytest.mark.parametrize(
    "name",
    ["ReturnsAnObject", "ReturnsNotANumber", "ReturnsAVastNumber", "ReturnsAFalseKind"],
)
def test_a_result_that_cannot_travel_is_a_failure_that_names_it(
    failure_of: FailureOf, name: str
) -> None:
    """RUNNING and then silence, with taskflow's own worker; or an answer that ends its engine."""
    assert f"flow_tasks.{name}" in failure_of(name).exception_str


@ONLY_OURS
def test_a_result_that_cannot_travel_is_named_by_its_path(failure_of: FailureOf) -> None:
    """Deep within what was returned, in words its author can act on."""
    assert ".deep[1].thing: " in failure_of("ReturnsAnObject").exception_str


@ONLY_OURS
def test_exception_arguments_that_cannot_travel_are_dropped_at_every_depth(
    failure_of: FailureOf,
) -> None:
    """The class, the text and the causes arrive; only the arguments stay behind."""
    outer = failure_of("RaisesAnObject")
    assert outer.check(ValueError) is ValueError
    assert outer.exception_args == ()
    deep = failure_of("RaisesAnObjectDeepDown")
    assert deep.exception_args == ("outer",)
    assert deep.causes[0].check(KeyError) is KeyError
    assert deep.causes[0].exception_args == ()


@ONLY_OURS
@pytest.mark.parametrize("name", ["RaisesAVastNumber", "RaisesAFalseKind"])
def test_exception_arguments_that_taskflow_could_not_read_are_dropped(
    failure_of: FailureOf, name: str
) -> None:
    """One such answer ends the only thread of taskflow's executor, and ``run()`` never returns."""
    failure = failure_of(name)
    assert failure.check(ValueError) is ValueError
    assert failure.exception_args == ()
    assert all(cause.exception_args == () for cause in failure.causes)


@ONLY_OURS
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("Exits", "SystemExit"),
        ("Interrupts", "KeyboardInterrupt"),
        ("RaisesUnprintable", "tests.interop.flow_tasks.UnprintableError"),
    ],
)
def test_leaving_a_task_in_any_other_way_is_a_failure_of_that_name(
    failure_of: FailureOf, name: str, error: str
) -> None:
    """Nothing that a task raises is more than its own failure."""
    assert next(iter(failure_of(name))) == error


@ONLY_OURS
def test_a_long_chain_of_causes_arrives_bounded(failure_of: FailureOf) -> None:
    """Forty links would be 2**39 dicts as taskflow writes them."""
    failure = failure_of("RaisesAChain")
    assert failure.exception_str == "link 39"
    assert [cause.exception_str for cause in failure.causes][:2] == ["link 38", "link 37"]
    assert len(str(failure.to_dict())) < 200_000


def test_an_exception_of_a_class_nobody_can_import_is_told_by_its_bases(stranger: Stranger) -> None:
    """A class made inside a function: ``check`` by its base class works."""
    state, data = stranger.ask(f"{FLOW_TASKS}.RaisesNested")[-1]
    assert state == "FAILURE"
    failure = Failure.from_dict(data["result"])
    assert failure.check(ValueError) is ValueError
    assert failure.exception_str == "from within"


def test_a_task_no_worker_can_construct_is_a_type_error(stranger: Stranger) -> None:
    """A worker knows a task's name and nothing else."""
    state, data = stranger.ask(f"{FLOW_TASKS}.WantsMore")[-1]
    assert state == "FAILURE"
    failure = Failure.from_dict(data["result"])
    assert failure.check(TypeError) is TypeError
    assert "colour" in failure.exception_str


@ONLY_OURS
def test_events_that_cannot_travel_are_lost_alone(runner: Runner) -> None:
    """What comes after them arrives, and the task ends with its result all the same."""
    speaking = ft.EventsThatCannotTravel("speaking", provides="out")
    said: list[Any] = []
    speaking.notifier.register("said", lambda kind, details: said.append(details["note"]))
    run = runner.run(linear_flow.Flow("speaking").add(speaking))
    assert run.error is None
    assert run.results["out"] == "done"
    assert said == ["still here"]


@ONLY_OURS
def test_a_task_that_ends_its_process_is_a_failure_and_the_worker_lives(
    ground: Ground, runner: Runner, stranger: Stranger
) -> None:
    """``os._exit`` in a task: its own process alone is gone, the next request is served."""
    if ground.pool == "threads":
        pytest.skip("a pool of threads has no process of its own to lose")
    run = runner.run(linear_flow.Flow("dying").add(ft.Dies("dies")))
    assert run.failure.exception_str
    after = stranger.ask(f"{FLOW_TASKS}.Echo", arguments={"value": "alive"})
    assert after[-1] == ("SUCCESS", {"result": "alive"})


def test_an_unknown_task_is_answered_with_a_failure(runner: Runner, stranger: Stranger) -> None:
    """An engine never asks for one, but two workers of one topic may differ."""
    answers = stranger.ask(f"{FLOW_TASKS}.Ad", arguments={"x": 1, "y": 2})
    state, data = answers[-1]
    assert state == "FAILURE"
    failure = Failure.from_dict(data["result"])
    assert "flow_tasks.Ad" in failure.exception_str


def test_only_what_was_offered_can_be_run(runner: Runner, stranger: Stranger) -> None:
    """Neither a function of another module nor a private name is reached through a request."""
    for name in ("os.getcwd", "builtins.print", f"{FLOW_TASKS}._describe", f"{FLOW_TASKS}.Path"):
        assert stranger.ask(name)[-1][0] == "FAILURE"


def test_wrong_arguments_are_answered_with_a_type_error(runner: Runner, stranger: Stranger) -> None:
    """One too few, and one too many."""
    for arguments in ({"x": 1}, {"x": 1, "y": 2, "z": 3}):
        state, data = stranger.ask(f"{FLOW_TASKS}.Add", arguments=arguments)[-1]
        assert state == "FAILURE"
        assert Failure.from_dict(data["result"]).check(TypeError)


def test_answers_are_exactly_what_taskflow_reads(runner: Runner, stranger: Stranger) -> None:
    """RUNNING with nothing, events, one end; NOTIFY with topic and names and no word more."""
    said = stranger.notify()
    assert said["topic"] == runner.ground.topic
    assert f"{FLOW_TASKS}.Add" in said["tasks"]
    assert set(said) == {"topic", "tasks"}
    assert stranger.ask(f"{FLOW_TASKS}.Progress", arguments={"steps": 2}) == [
        ("RUNNING", {}),
        ("EVENT", {"event_type": "update_progress", "details": {"progress": 0.5}}),
        ("EVENT", {"event_type": "resized", "details": {"step": 1, "size": [1, 2]}}),
        ("SUCCESS", {"result": 2}),
    ]
    assert stranger.ask(f"{FLOW_TASKS}.Echo", arguments={"value": None}) == [
        ("RUNNING", {}),
        ("SUCCESS", {"result": None}),
    ]


@ONLY_OURS
def test_notify_is_answered_while_every_slot_is_busy(ground: Ground, tmp_path: Path) -> None:
    """A worker of one slot, and that one taken: asked, it says at once what it offers."""
    alone = Ground(ground.broker, ground.pool).demand()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with worker_running(alone, concurrency=1), Stranger(alone) as asking:
        asked = asking.send(f"{FLOW_TASKS}.Hold", arguments={"fifo": str(fifo)})
        with _opened_by_the_task(fifo) as release:
            assert f"{FLOW_TASKS}.Hold" in asking.notify()["tasks"]
            release.write("released")
        assert asking.answers(asked)[-1] == ("SUCCESS", {"result": "released"})


@ONLY_OURS
def test_an_engine_that_forgets_fast_hears_from_a_busy_worker_again(tmp_path: Path) -> None:
    """It forgets after 1 s and asks every 5 s: what it must know again comes while the slot is
    taken, or its second task would wait for the third question.
    """
    alone = Ground("memory", "threads")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    flow = linear_flow.Flow("busy").add(
        ft.Hold("hold", provides="said"), ft.Echo("after", provides="out", rebind=["said"])
    )
    with worker_running(alone, concurrency=1):
        running = Runner(alone).start(flow, store={"fifo": str(fifo)}, worker_expiry=1)
        finder = running.engine._task_executor._finder
        with _opened_by_the_task(fifo) as release:
            until = time.monotonic() + 10.0
            while finder.messages_processed < 2 and time.monotonic() < until:
                threading.Event().wait(0.02)
            assert finder.messages_processed >= 2
            release.write("released")
        assert running.wait().results["out"] == "released"


def _opened_by_the_task(fifo: Path, timeout: float = 20.0) -> Any:
    """The FIFO's writing end, as soon as somebody has opened the other one."""
    until = time.monotonic() + timeout
    while True:
        try:
            descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO or time.monotonic() > until:
                raise
            threading.Event().wait(0.02)
        else:
            return os.fdopen(descriptor, "w")
