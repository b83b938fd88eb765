"""An executor that is killed, and started again with the same name and journal."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import time
from pathlib import Path

import pytest

from bus.news import Journal
from executor import Executor
from protocol.errors import (
    ConfigurationError,
    ExecutorClosed,
    JournalLocked,
    TaskCancelled,
    UnknownRequest,
    WorkerLost,
)
from protocol.events import Dispatched, Ended, Event, Submitted
from protocol.messages import Request
from tests.processes import DEADLINE, wait_until
from tests.stories.stage import BEAT, Stage

MANY = 30_000

NIGHTLY = """
    import sys
    from chores import chore, fail
    from executor import Executor

    if __name__ == "__main__":
        with EXECUTOR as executor:
            futures = []
            for n in range(12):
                gate = sys.argv[1] if n < 2 else None
                futures.append(executor.options(key=f"chore {n}").submit(chore, f"n{n}", gate))
            bad = executor.options(key="bad").submit(fail, "bad")
            print("submitted", flush=True)
            print(*(future.result() for future in futures), repr(bad.exception()), flush=True)
    """
ALL = " ".join(f"n{n}" for n in range(12))


def test_a_script_that_is_killed_and_run_again_submits_nothing_twice(stage: Stage) -> None:
    """Its calls have keys. Killed while two of them run, and others have ended."""
    gate = stage.gate()
    with stage.worker() as worker:
        worker.up()
        with stage.program(NIGHTLY, str(gate)) as first:
            stage.wait_for("n0", "n1")
            first.wait_for("submitted")
            first.send_signal(signal.SIGKILL)
            first.exit_code()
        with stage.program(NIGHTLY, str(gate)) as second:
            second.wait_for("submitted")
            stage.wait_for(*(f"n{n}" for n in range(2)))
            gate.touch()
            assert second.exit_code() == 0, second.said
            assert second.said.splitlines()[-1] == f"{ALL} ValueError('bad', 42)"
        with stage.program(NIGHTLY, str(gate)) as third:  # everything has ended long ago
            assert third.exit_code() == 0, third.said
            assert third.said.splitlines()[-1] == f"{ALL} ValueError('bad', 42)"
    assert set(stage.marks().values()) == {1}, stage.marks()
    assert len(stage.marks()) == 13


KILLED = """
    import sys, time
    from chores import chore, payment
    from executor import Executor

    if __name__ == "__main__":
        executor = EXECUTOR
        function = payment if "payment" in sys.argv else chore
        futures = [executor.submit(function, f"n{n}", sys.argv[1]) for n in range(4)]
        print(*(future.uuid for future in futures), flush=True)
        time.sleep(600)
    """


def killed(stage: Stage, *words: str, gate: Path, running: int = 2) -> list[str]:
    """An executor that has submitted four, of which so many run, and has been killed; the uuids."""
    with stage.program(KILLED, str(gate), *words) as program:
        wait_until(lambda: len(stage.marks()) == running, "runs", DEADLINE)
        wait_until(lambda: "\n" in program.said, "the uuids")
        program.send_signal(signal.SIGKILL)
        program.exit_code()
        return program.said.split()


def test_results_that_arrived_meanwhile_are_taken_and_nothing_runs_twice(stage: Stage) -> None:
    gate = stage.gate()
    with stage.worker() as worker:
        worker.up()
        uuids = killed(stage, gate=gate)
        gate.touch()
        wait_until(lambda: len(stage.marks()) >= 2, "runs")
        with stage.executor() as executor:
            futures = executor.open_requests()
            assert [future.uuid for future in futures] == uuids
            assert [future.task for future in futures] == ["chores.chore"] * 4
            results = [future.result(DEADLINE) for future in futures]
            assert results == ["n0", "n1", "n2", "n3"]
            assert executor.open_requests() == []
            assert executor.get(uuids[2]).result(0) == "n2"
    assert stage.marks() == {"n0": 1, "n1": 1, "n2": 1, "n3": 1}


def test_what_a_worker_held_that_has_ended_too_runs_again_on_another(stage: Stage) -> None:
    gate = stage.gate()
    with stage.worker() as worker:
        worker.up()
        killed(stage, gate=gate)
        worker.send_signal(signal.SIGKILL)
        worker.exit_code()
    gate.touch()
    with stage.worker(), stage.executor() as executor:
        futures = executor.open_requests()
        results = [future.result(DEADLINE + 60) for future in futures]
        assert results == ["n0", "n1", "n2", "n3"]
    assert stage.marks() == {"n0": 2, "n1": 2, "n2": 1, "n3": 1}


def test_what_is_to_start_at_most_once_is_not_started_again_by_a_restart(stage: Stage) -> None:
    """While its worker lives it goes on; once that has gone it ends: it may have run."""
    gate = stage.gate()
    with stage.worker() as worker:
        worker.up()
        killed(stage, "payment", gate=gate)
        with stage.executor(name="nightly") as executor:
            first, second, third, fourth = executor.open_requests()
            executor.wait_for_workers(1, DEADLINE)
            wait_until(lambda: first.running() and second.running(), "word of the runs")
            worker.send_signal(signal.SIGKILL)
            for future in (first, second):
                with pytest.raises(WorkerLost, match="may have"):
                    future.result(DEADLINE + 60)
            gate.touch()
            with stage.worker():
                assert executor.submit("chores.payment", "new").result(DEADLINE) == "new"
                left = [third, fourth]
                for future in left:
                    try:
                        assert future.result(DEADLINE + 60) in ("n2", "n3")
                    except WorkerLost:
                        pass  # it was sent there, and who knows
    assert max(stage.marks().values()) == 1, stage.marks()


def test_any_request_is_found_with_the_very_outcome_it_had(local_stage: Stage) -> None:
    with local_stage.worker(), local_stage.executor() as executor:
        good = executor.submit("chores.chore", "good")
        bad = executor.submit("chores.fail", "bad")
        endless = executor.submit("chores.spin", "endless")
        assert good.result(DEADLINE) == "good"
        wait_until(endless.running, "the run")
        assert endless.cancel(force=True)
        concurrent.futures.wait([bad, endless], DEADLINE)
        waiting = executor.submit("chores.nobody")
        assert waiting.cancel()
    with local_stage.executor() as again:
        assert again.open_requests() == []
        assert again.get(good.uuid).result(0) == "good"
        error = again.get(bad.uuid).exception(0)
        assert type(error) is ValueError
        assert error.args == ("bad", 42)
        assert error.remote.worker == bad.exception().remote.worker  # type: ignore[union-attr,attr-defined]
        with pytest.raises(TaskCancelled) as found:
            again.get(endless.uuid).result(0)
        assert found.value.request_uuid == endless.uuid
        assert str(found.value) == str(endless.exception())
        assert again.get(waiting.uuid).cancelled()
        with pytest.raises(UnknownRequest, match="not in the journal"):
            again.get("00000000-0000-0000-0000-000000000000")
    with pytest.raises(ExecutorClosed):
        again.get(good.uuid)


def test_a_cancel_that_returned_holds_over_a_kill(stage: Stage) -> None:
    """Of one that waited, and of one that had been sent: neither ever runs."""
    text = """
        import os, time
        from executor import Executor

        if __name__ == "__main__":
            executor = EXECUTOR
            held = executor.submit("chores.chore", "held", GATE)
            sent = executor.submit("chores.chore", "sent")
            waiting = executor.submit("chores.nobody", "waiting")
            while not held.running():
                time.sleep(0.01)
            print(sent.cancel(), waiting.cancel(), sent.uuid, waiting.uuid, flush=True)
            os.kill(os.getpid(), 9)
        """
    gate = stage.gate()
    with stage.worker(concurrency=1) as worker:
        worker.up()
        with stage.program(text.replace("GATE", repr(str(gate)))) as program:
            program.exit_code()
            first, second, *uuids = program.said.split()
            assert (first, second) == ("True", "True"), program.said
        with stage.executor() as executor:
            (held,) = executor.open_requests()
            assert all(executor.get(uuid).cancelled() for uuid in uuids)
            gate.touch()
            assert held.result(DEADLINE) == "held"
            assert executor.submit("chores.chore", "after").result(DEADLINE) == "after"
    assert "sent" not in stage.marks()


def test_a_journal_has_one_writer_and_a_second_is_told_who(local_stage: Stage) -> None:
    with local_stage.executor(), pytest.raises(JournalLocked) as found:
        local_stage.executor()
    assert str(os.getpid()) in found.value.holder
    local_stage.executor().shutdown()


def test_a_journal_needs_a_name(local_stage: Stage) -> None:
    with pytest.raises(ConfigurationError, match="needs a name, which is written in it"):
        local_stage.executor(name=None)
    assert not local_stage.journal.exists()


def test_a_key_joins_what_is_open_and_what_has_ended_with_a_journal_and_without(
    local_stage: Stage,
) -> None:
    gate = local_stage.gate()
    for journal in (None, local_stage.journal):
        name = "kept" if journal else "fleeting"
        with local_stage.worker(), local_stage.executor(journal=journal) as executor:
            keyed = executor.options(key=f"{name} key")
            first = keyed.submit("chores.chore", name, str(gate))
            with concurrent.futures.ThreadPoolExecutor(8) as threads:
                answers = [
                    threads.submit(keyed.submit, "chores.chore", name, str(gate)) for _ in range(64)
                ]
            assert {answer.result() for answer in answers} == {first}
            gate.touch()
            assert first.result(DEADLINE) == name
            assert keyed.submit("chores.chore", name, str(gate)).result(DEADLINE) == name
            with pytest.raises(ConfigurationError, match="a key names one call"):
                keyed.submit("chores.chore", "another")
            with pytest.raises(ConfigurationError, match="a key names one call"):
                keyed.submit("chores.fail", name, str(gate))
            nobody = executor.options(key="cancelled").submit("chores.nobody")
            assert nobody.cancel()
            again = executor.options(key="cancelled").submit("chores.chore", f"{name}-again")
            assert again.result(DEADLINE) == f"{name}-again"
        assert local_stage.marks()[name] == 1
        gate.unlink()


def test_many_threads_with_one_key_make_one_request(local_stage: Stage) -> None:
    with local_stage.executor() as executor:
        keyed = executor.options(key="one")
        with concurrent.futures.ThreadPoolExecutor(16) as threads:
            answers = [threads.submit(keyed.submit, "chores.chore", "one") for _ in range(200)]
            (future,) = {answer.result(DEADLINE) for answer in answers}
        assert executor.open_requests() == [future]
        assert future.cancel()


def test_a_full_disk_refuses_what_is_new_and_loses_nothing_of_what_is_open(
    redis_stage: Stage,
) -> None:
    """A limit on the size of files stands in for the disk; the broker's is another one."""
    text = """
        import resource, signal, sys, time
        from executor import Executor
        from protocol.errors import JournalError

        if __name__ == "__main__":
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            executor = EXECUTOR
            executor.wait_for_workers(1)
            future = executor.submit("chores.chore", "first", GATE)
            while not future.running():
                time.sleep(0.01)
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
            try:
                executor.submit("chores.chore", "refused")
            except JournalError as error:
                print("refused:", error, flush=True)
            open(GATE, "w").close()
            time.sleep(3)
            print("ended while the disk was full:", future.done(), flush=True)
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            print(future.result(30), executor.submit("chores.chore", "second").result(30))
            executor.shutdown()
        """
    text = text.replace("GATE", repr(str(redis_stage.gate())))
    with redis_stage.worker() as worker:
        worker.up()
        with redis_stage.program(text) as program:
            assert program.exit_code() == 0, program.said
    assert "refused: " in program.said
    assert "ended while the disk was full: False" in program.said
    assert program.said.splitlines()[-1] == "first second"
    assert program.said.count("nothing is sent and no future ends") == 1, program.said
    assert program.said.count("the journal is written again") == 1
    assert redis_stage.marks() == {"first": 1, "second": 1}


def test_the_end_of_a_program_says_that_its_journal_has_what_is_open(local_stage: Stage) -> None:
    text = """
        from executor import Executor

        if __name__ == "__main__":
            executor = EXECUTOR
            executor.submit("chores.chore", "later")
        """
    with local_stage.program(text) as program:
        assert program.exit_code() == 0
    assert "1 requests were open when the program ended" in program.said
    assert "the next executor named nightly with that journal takes them up again" in program.said
    with local_stage.worker(), local_stage.executor() as executor:
        (future,) = executor.open_requests()
        assert future.result(DEADLINE) == "later"


@pytest.mark.slow
def test_tens_of_thousands_of_open_requests_are_taken_up_within_seconds(
    local_stage: Stage,
) -> None:
    """Half have been sent to workers that are not there any more. The time is a second or two."""
    with Journal(local_stage.journal, "nightly") as journal:
        body = Request("chores.chore", args=("name",)).to_body()
        for first in range(0, MANY, 1000):
            lines: list[Event] = []
            for n in range(first, first + 1000):
                uuid = f"{n:08d}-0000-4000-8000-000000000000"
                lines.append(Submitted(uuid, "chores.chore", body, ["default"], named_only=False))
                if n % 2:
                    boot = f"{n % 40:016x}"
                    lines.append(
                        Dispatched(
                            *(uuid, 1, 1, "native", "default", f"worker-{boot}"),
                            boot=boot,
                            inbox=f"default.{boot}",
                            ticket=f"1:{n}",
                            start_by=60_000,
                        )
                    )
            journal.append(lines)
    began, worked = time.monotonic(), time.process_time()
    executor = local_stage.executor()
    try:
        futures = executor.open_requests()
        executor.counts()  # answered when the keeper has taken them all up
        took, worked = time.monotonic() - began, time.process_time() - worked
        assert len(futures) == MANY
        print(f"{MANY} open requests were taken up in {took:.2f} s, {worked:.2f} s of work")
        assert worked < 10.0  # of our own: others may be at work here, too
    finally:
        executor._engine.leave(time.monotonic() + 5.0)


def test_an_end_in_the_journal_is_an_end_even_if_nobody_was_told(local_stage: Stage) -> None:
    """Killed between the line and the future: the same outcome is told again, nothing is sent."""
    uuid = "11111111-0000-4000-8000-000000000000"
    with Journal(local_stage.journal, "nightly") as journal:
        body = Request("chores.chore", args=("name",)).to_body()
        journal.append([Submitted(uuid, "chores.chore", body, ["default"], key="key")])
        journal.append([Ended(uuid, "success", "told again", "hare")])
    with local_stage.executor() as executor:
        assert executor.open_requests() == []
        assert executor.get(uuid).result(0) == "told again"
        joined = executor.options(key="key").submit("chores.chore", "name")
        assert (joined.uuid, joined.result(0)) == (uuid, "told again")


def test_who_joins_by_key_after_a_restart_hears_what_the_task_says(local_stage: Stage) -> None:
    """A script that is run again shows its progress again."""
    first = local_stage.executor()
    first.options(key="talk").submit("chores.talk", "talk", 4)
    first._engine.leave(time.monotonic() + 5.0)  # as when the program ends
    seen: list[float] = []
    with local_stage.executor() as executor:
        listening = executor.options(key="talk", on_progress=lambda done, more: seen.append(done))
        future = listening.submit("chores.talk", "talk", 4)
        assert executor.open_requests() == [future]
        with local_stage.worker():
            assert future.result(DEADLINE) == 4
    assert seen == [0.0, 0.25, 0.5, 0.75]
    assert local_stage.marks() == {"talk": 1}


def test_a_restored_executor_is_an_executor_like_any_other(local_stage: Stage) -> None:
    """Its options, its callbacks, its own shutdown."""
    first = local_stage.executor()
    lost = first.submit("chores.chore", "from before")
    first._engine.leave(time.monotonic() + 5.0)  # as when the program ends
    first.shutdown()
    assert not lost.done()
    called: list[object] = []
    with local_stage.worker(), local_stage.executor() as executor:
        assert isinstance(executor, Executor)
        (future,) = executor.open_requests()
        future.add_done_callback(called.append)
        light = executor.options(timeout=DEADLINE)
        assert light.open_requests() == [future]
        assert light.submit("chores.chore", "new").result(DEADLINE) == "new"
        assert future.result(DEADLINE + BEAT) == "from before"
    assert called == [future]
