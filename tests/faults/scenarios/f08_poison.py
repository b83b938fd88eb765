"""F8: tasks that do to their process, or to their result, what no one should have to bear."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from protocol.timing import MAX_CRASHES
from tests.faults import errands
from tests.faults.batch import Batch
from tests.faults.scenario import SHARED, Play, Scenario

LIMIT = 1.0
OVERSHOOT = 1.0  # seconds by which a limit may be missed
HUGE = 300_000_000  # characters, more than any broker of ours carries in one message

#: What is submitted, with which arguments and options, how it must end, and how often it may begin.
POISON: tuple[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], str, int], ...] = (
    (errands.segfault, (), {}, "PoisonTask", MAX_CRASHES),
    (errands.leave, (), {}, "PoisonTask", MAX_CRASHES),
    (errands.die, (), {}, "PoisonTask", MAX_CRASHES),
    (errands.eat, (), {}, "MemoryError", 1),
    (errands.spin, (), {"time_limit": LIMIT}, "TimeLimitExceeded", 1),
    (errands.ignore_sigterm, (), {"time_limit": LIMIT}, "TimeLimitExceeded", 1),
    (errands.huge, (HUGE,), {}, "ValueRefused TaskFailed", 1),
    (errands.fail_oddly, (), {}, "TaskFailed Unpicklable", 1),
    (errands.leave_system, (), {}, "TaskFailed SystemExit", 1),
)


def play(play: Play) -> None:
    executor = play.executor()
    healthy = Batch(executor)
    ended: dict[int, float] = {}
    with play.workers(2, concurrency=2, beat=1.0) as killer:
        executor.wait_for_workers(2, 60)
        poison = []
        order = list(enumerate(POISON))
        play.random.shuffle(order)
        for number, (task, extra, options, _, _) in order:
            light = executor.options(**options) if options else executor
            future = light.submit(task, play.marks.folder, -1 - number, *extra)
            future.add_done_callback(lambda _, n=number: ended.setdefault(n, time.monotonic()))
            poison.append((number, future))
            for _ in range(play.number("healthy")):
                fresh = len(healthy)
                healthy.submit(fresh, errands.work, play.marks.folder, fresh, 0.02)
        ends = Batch(executor)
        for number, future in poison:
            ends.add(number, future)
        ends.wait(play.size["deadline"] - 40)
        play.judge(healthy, 30)
        play.expect(not killer.other_ends, f"workers ended by themselves: {killer.other_ends}")
    _check(play, ends.ends(), ended)


def _check(play: Play, ends: dict[int, str], ended: dict[int, float]) -> None:
    runs = play.marks.by_number()
    crashes = sum(MAX_CRASHES - 1 for _, _, _, end, _ in POISON if end == "PoisonTask")
    play.result.again_allowed = crashes
    for number, (task, _, options, wanted, times) in enumerate(POISON):
        what, begun = task.__name__, runs.get(-1 - number, [])
        play.result.tasks += 1
        if ends[number] not in wanted.split():
            play.result.lost += ends[number] == "never"
            play.expect(False, f"{what} ended as {ends[number]}, not as {wanted}")
        play.expect(len(begun) == times, f"{what} was started {len(begun)} times, not {times}")
        if options and begun and number in ended:
            took = ended[number] - begun[-1].begin
            play.recovered_in(took)
            play.expect(took < LIMIT + OVERSHOOT, f"{what} was ended only after {took:.1f} s")


SCENARIO = Scenario(
    "F8",
    "poison",
    "A segmentation fault, os._exit, kill -9 from within, too much memory, `while True` and a task "
    "deaf to SIGTERM under a time limit of 1 s, a result of 300 MB, an exception that cannot be "
    "pickled, sys.exit; among healthy tasks. Recovery is how long a task under its limit of 1 s "
    "really ran.",
    play,
    SHARED,
    quick={"healthy": 10, "deadline": 180},
    full={"healthy": 100, "deadline": 300},
)
