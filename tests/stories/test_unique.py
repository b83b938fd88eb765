"""Keys that two programs fight over, and one that is killed while it submits with them."""

from __future__ import annotations

import signal
from collections import Counter

from tests.processes import DEADLINE, wait_until
from tests.stories.stage import Stage

KEYS = 1000

RACER = """
    import sys
    from executor import Executor
    from protocol.errors import KeyTaken

    if __name__ == "__main__":
        executor = Executor(URL, exchange=EXCHANGE, name=sys.argv[1])
        unique = executor.options(unique_for=600.0)
        print("ready", flush=True)
        sys.stdin.readline()
        lost = 0
        for n in range(1000):
            try:
                unique.options(key=f"chore {n}").submit("chores.chore", f"n{n}")
            except KeyTaken as error:
                holder = error.executor.partition(".")[0]
                assert holder in ("hare", "tortoise") and holder != sys.argv[1]
                lost += 1
        executor.shutdown()
        print("lost", lost, flush=True)
    """


def test_two_programs_race_for_a_thousand_keys_and_each_chore_is_done_once(stage: Stage) -> None:
    text = RACER.replace("URL", repr(stage.url)).replace("EXCHANGE", repr(stage.exchange))
    with (
        stage.worker(concurrency=2) as worker,
        stage.program(text, "hare", name="hare") as hare,
        stage.program(text, "tortoise", name="tortoise") as tortoise,
    ):
        worker.up()
        for racer in (hare, tortoise):
            racer.wait_for("ready")
        for racer in (hare, tortoise):
            racer.write("go\n")
        for racer in (hare, tortoise):
            assert racer.exit_code(3 * DEADLINE) == 0, racer.said
        lost = [int(racer.said.rpartition("lost ")[2]) for racer in (hare, tortoise)]
        assert sum(lost) == KEYS
        assert stage.marks() == Counter({f"n{n}": 1 for n in range(KEYS)})


KILLED = """
    from executor import Executor

    if __name__ == "__main__":
        with EXECUTOR as executor:
            unique = executor.options(unique_for=600.0)
            futures = []
            for n in range(300):
                key = f"chore {n}"
                futures.append(unique.options(key=key).submit("chores.chore", f"n{n}"))
                print("submitted", n, flush=True)
            print("all", sorted({future.result() for future in futures}) and len(futures))
    """


def test_a_program_that_is_killed_while_it_claims_does_not_stand_in_its_own_way(
    stage: Stage,
) -> None:
    """Again and again, wherever it was: between the claim and the journal's line as well."""
    with stage.worker() as worker:
        worker.up()
        for n in range(0, 250, 50):
            with stage.program(KILLED) as program:
                wait_until(
                    lambda n=n: f"submitted {n}\n" in program.said,  # type: ignore[misc]
                    "it to have got on",
                )
                program.send_signal(signal.SIGKILL)
                program.exit_code()
        with stage.program(KILLED) as program:
            assert program.exit_code(3 * DEADLINE) == 0, program.said
            assert "all 300" in program.said
        assert set(stage.marks()) == {f"n{n}" for n in range(300)}
