"""F14: everything is cancelled, at whatever moment it is caught, while workers are killed."""

from __future__ import annotations

import threading
import time

from protocol.errors import CannotStop
from tests.faults import errands
from tests.faults.batch import Batch
from tests.faults.scenario import SHARED, Play, Scenario

WORKERS, SLOTS = 3, 2


def play(play: Play) -> None:
    executor = play.executor()
    batch = Batch(executor)
    said: dict[int, tuple[bool, bool]] = {}  # what was asked (force) and answered
    with play.workers(
        WORKERS, concurrency=SLOTS, beat=1.0, every=play.size["every"], seed=play.seed
    ) as killer:
        executor.wait_for_workers(1, 60)
        threads = []
        for number in range(play.number("tasks")):
            batch.submit(number, errands.work, play.marks.folder, number, 0.05)
            if number % 100 == 99:
                threads.append(_canceller(play, batch, said, range(number - 99, number + 1)))
            time.sleep(0.002)
        for thread in threads:
            thread.join(120)
        killer.spare()
        ends = play.judge(
            batch,
            90,
            again_allowed=killer.kills * SLOTS,
            fine="right cancelled TaskCancelled",
        )
    for number, (force, answer) in said.items():
        wanted = ("cancelled", "TaskCancelled", "right") if force else ("cancelled",)
        if answer and ends[number] not in wanted:
            play.expect(False, f"cancel(force={force}) said True, and {number} is {ends[number]}")
    for number in ends.keys() - said.keys():
        play.expect(ends[number] == "right", f"{number} was not cancelled and is {ends[number]}")
    counted = {end: list(ends.values()).count(end) for end in sorted(set(ends.values()))}
    play.note(kills=killer.kills, ends=counted, asked=len(said))


def _canceller(
    play: Play, batch: Batch, said: dict[int, tuple[bool, bool]], numbers: range
) -> threading.Thread:
    """Cancels nine of ten, each at a moment of its own, some of them with force."""
    plan = [
        (play.random.uniform(0.0, 2.0), number, play.random.random() < 0.5)
        for number in numbers
        if play.random.random() < 0.9
    ]

    def cancel_all() -> None:
        began = time.monotonic()
        for moment, number, force in sorted(plan):
            time.sleep(max(0.0, began + moment - time.monotonic()))
            try:
                said[number] = force, batch.futures[number].cancel(force=force)
            except CannotStop:
                said[number] = force, False

    thread = threading.Thread(target=cancel_all)
    thread.start()
    return thread


SCENARIO = Scenario(
    "F14",
    "cancel storm",
    "Nine of ten requests are cancelled, half of them with force, each at a random moment between "
    "submit and end, while workers are killed. Each must have one end, the one that cancel() said.",
    play,
    SHARED,
    quick={"tasks": 500, "every": 2.0, "deadline": 240},
    full={"tasks": 10_000, "every": 2.0, "deadline": 600},
)
