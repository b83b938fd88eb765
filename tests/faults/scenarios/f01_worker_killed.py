"""F1: workers are killed with -9 in the middle of their tasks."""

from __future__ import annotations

import statistics

from bus.wire.testing.processes.killer import Victim
from tests.faults import errands
from tests.faults.batch import Batch
from tests.faults.failover import failovers
from tests.faults.scenario import SHARED, Play, Scenario

WORKERS, SLOTS = 4, 2

UNLOADABLE = {("child", 3), ("both", 3)}  # worker.cli.EXIT_TASKS

#: Of what is killed, how often workers say that they live, and the part of the tasks.
VARIANTS: dict[str, tuple[Victim, float, float]] = {
    "worker, 5 s beat": ("parent", 5.0, 1.0),
    "worker, 1 s beat": ("parent", 1.0, 0.3),
    "task process": ("child", 5.0, 0.3),
    "either": ("both", 1.0, 0.3),
}


def play(play: Play) -> None:
    victim, beat, part = VARIANTS[play.variant]
    journal = play.folder / "journal"
    executor = play.executor(name="witness", journal=journal)
    batch = Batch(executor)
    with play.workers(
        WORKERS, concurrency=SLOTS, beat=beat, every=play.size["every"], seed=play.seed,
        victim=victim,
    ) as killer:  # fmt: skip
        for number in range(int(play.number("tasks") * part)):
            seconds = play.random.uniform(0.0, 2 * play.size["seconds"])
            batch.submit(number, errands.work, play.marks.folder, number, seconds)
        batch.wait(play.size["deadline"] - 60)
        killer.spare()
        # Only what was running can run again; what was queued in a killed worker never began.
        allowed = killer.parent_kills * SLOTS + killer.child_kills
        play.judge(batch, 30, again_allowed=allowed)
    times = failovers(journal, killer.killed)
    if times:
        play.recovered_in(max(times), within=3 * beat)
        play.note(half_within=round(statistics.median(times), 2))
    until_run_again = play.marks.until_run_again((k.pid, k.moment) for k in killer.killed)
    play.note(
        kills=killer.kills,
        sent_again_after_a_kill=len(times),
        run_again_after_a_kill=len(until_run_again),
        # Longer where the next worker was killed, too, before it came to that.
        until_run_again=round(max(until_run_again, default=0.0), 1),
    )
    play.expect(killer.kills > 0, "nobody was killed")
    # A task process that is killed while it imports the tasks cannot be told from one that the
    # import has killed: a worker that is only just starting ends then, and says that it cannot.
    others = [c for c in killer.other_ends if (victim, c) not in UNLOADABLE]
    play.expect(not others, f"workers ended by themselves: {others}")


SCENARIO = Scenario(
    "F1",
    "worker killed",
    "Four workers of two task processes each; every 2 s one of them, or a task process, is killed "
    "with -9 and a new worker started. Recovery is the time from the kill to when the next "
    "worker was sent what the dead one had.",
    play,
    SHARED,
    quick={"tasks": 600, "seconds": 0.1, "every": 2.0, "deadline": 180},
    full={"tasks": 10_000, "seconds": 0.03, "every": 2.0, "deadline": 900},
    variants=tuple(VARIANTS),
)
