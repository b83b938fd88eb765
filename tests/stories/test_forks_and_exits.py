"""Programs that fork, and programs that end: without a shutdown, in the middle, against a wall."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bus.wire.testing import TcpProxy
from tests import brokers
from tests.processes import DEADLINE, WorkerProcess
from tests.stories.stage import Stage

#: Seconds in which any program has ended, whatever is open: about 10 s, and Python's own beginning,
#: on a busy machine.
AT_WORST = 40.0


def ended(program: WorkerProcess, within: float = AT_WORST) -> str:
    """What a program said that ends in time and well."""
    assert program.exit_code(within) == 0, program.said
    assert "Traceback" not in program.said, program.said
    return program.said


# -- forks

FORKED = """
    import concurrent.futures, gc, os, sys, time
    from executor import Executor
    from protocol.errors import ExecutorForked, JournalLocked

    if __name__ == "__main__":
        executor = EXECUTOR
        light = executor.options(timeout=60)
        executor.wait_for_workers(1)
        done = executor.submit("chores.chore", "done")
        done.result(30)
        open_one = executor.submit("chores.chore", "open", GATE)
        while not open_one.running():
            time.sleep(0.01)
        child = os.fork()
        if child == 0:
            uses = [
                lambda: executor.submit("chores.chore", "never"),
                lambda: light.submit(len, []),
                lambda: executor.execute("chores.Chore"),
                lambda: executor.options(timeout=1),
                lambda: executor.map(abs, [1]),
                lambda: executor.workers(),
                lambda: executor.wait_for_workers(1),
                lambda: executor.counts(),
                lambda: executor.open_requests(),
                lambda: executor.get(done.uuid),
                lambda: executor.shutdown(),
                lambda: light.shutdown(),
                lambda: executor.__enter__(),
                lambda: open_one.cancel(),
                lambda: open_one.cancel(force=True),
                lambda: open_one.result(),
                lambda: open_one.exception(60),
                lambda: concurrent.futures.wait([open_one]),
                lambda: list(concurrent.futures.as_completed([done, open_one])),
            ]
            for n, use in enumerate(uses):
                try:
                    use()
                except ExecutorForked as error:
                    sentence = str(error)
                else:
                    print("use", n, "was not refused", flush=True)
            print("child:", sentence, "|", done.result(), open_one.done(), flush=True)
            LEAVE
        _, status = os.waitpid(child, 0)
        try:
            EXECUTOR
        except JournalLocked:
            print("journal: still locked", flush=True)
        open(GATE, "w").close()
        print("parent:", status, open_one.result(30), flush=True)
        print("after:", executor.submit("chores.chore", "after").result(30), flush=True)
        executor.shutdown()
    """

LEAVES = {
    "exit": "sys.exit(0)",
    "collected": "del uses, use, executor, light, open_one, done; gc.collect(); sys.exit(0)",
    "at once": "os._exit(0)",
}


@pytest.fixture(
    params=[
        "local",
        pytest.param("redis", marks=pytest.mark.redis),
        pytest.param("amqp", marks=pytest.mark.rabbitmq),
    ]
)
def any_stage(request: pytest.FixtureRequest, tmp_path: Path, exchange: str) -> Stage:
    """On each broker that processes can meet at."""
    if request.param == "local":
        return Stage(f"local://{tmp_path}/broker", exchange, tmp_path)
    url = brokers.REDIS_URL if request.param == "redis" else brokers.AMQP_URL
    return Stage(brokers.demand(url), exchange, tmp_path)


@pytest.mark.parametrize("leave", LEAVES)
def test_a_forked_child_is_told_so_by_every_use_and_its_end_touches_nothing(
    any_stage: Stage, leave: str
) -> None:
    """Neither the parent's connections nor its journal; and its workers go on."""
    text = FORKED.replace("LEAVE", LEAVES[leave]).replace("GATE", repr(str(any_stage.gate())))
    with any_stage.worker() as worker:
        worker.up()
        with any_stage.program(text) as program:
            said = ended(program)
    assert "was not refused" not in said
    lines = {line.split(":")[0]: line for line in said.splitlines()}
    assert "into which its threads and connections do not go along" in lines["child"]
    assert lines["child"].endswith("| done False")
    assert lines["journal"] == "journal: still locked"
    assert lines["parent"] == "parent: 0 open"
    assert lines["after"] == "after: after"
    assert "no connection" not in said  # the parent's was never lost
    assert max(any_stage.marks().values()) == 1


def test_leaving_the_block_in_a_child_that_was_forked_inside_it_is_quiet(
    local_stage: Stage,
) -> None:
    text = """
        import os, sys
        from executor import Executor

        if __name__ == "__main__":
            with EXECUTOR as executor:
                child = os.fork()
                if child:
                    print(os.waitpid(child, 0)[1], flush=True)
                    print(executor.submit("chores.chore", "after").result(30), flush=True)
            if not child:
                print("left", flush=True)
        """
    with local_stage.worker(), local_stage.program(text) as program:
        said = ended(program, DEADLINE).splitlines()
    # A newer Python has something to say of forks itself.
    assert [line for line in said if line in ("left", "0", "after")] == ["left", "0", "after"]


def test_a_child_that_outlives_its_parent_holds_neither_the_journal_nor_private_workers(
    local_stage: Stage,
) -> None:
    text = """
        import os, sys, time
        from chores import chore
        from executor import Executor

        if __name__ == "__main__":
            executor = PRIVATE
            print(executor.submit(chore, "first").result(30), flush=True)
            if os.fork() == 0:
                os.close(1), os.close(2)
                while not os.path.exists(GATE):
                    time.sleep(0.01)
                os._exit(0)
            os.kill(os.getpid(), 9)
        """
    made = (
        f"Executor({local_stage.url!r}, name='nightly', workers=1, "
        f"journal={str(local_stage.journal)!r})"
    )
    text = text.replace("PRIVATE", made).replace("GATE", repr(str(local_stage.gate())))
    with local_stage.program(text) as program:
        program.exit_code()
        assert "first" in program.said, program.said
        local_stage.executor().shutdown()  # the journal is free at once
        began = time.monotonic()
        while _runs(local_stage) and time.monotonic() - began < DEADLINE:
            threading.Event().wait(0.05)
        assert not _runs(local_stage)
        local_stage.gate().touch()


def _runs(stage: Stage) -> bool:
    """Whether a private worker of this stage still runs: it has the broker in its environment."""
    mark = f"TASKLINE_URL={stage.url}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                return True
        except OSError:
            continue
    return False


# -- exits


def test_without_a_shutdown_a_program_ends_and_says_what_was_left(stage: Stage) -> None:
    text = """
        import time
        from executor import Executor

        if __name__ == "__main__":
            executor = Executor(URL, exchange=EXCHANGE)
            executor.wait_for_workers(1)
            running = executor.submit("chores.chore", "running", GATE)
            while not running.running():
                time.sleep(0.01)
            executor.submit("chores.nobody")
        """
    text = _filled(text, stage)
    with stage.worker() as worker:
        worker.up()
        with stage.program(text) as program:
            said = ended(program)
    assert len(re.findall("2 requests were open when the program ended", said)) == 1
    assert "nobody will hear what becomes of them" in said


def _filled(text: str, stage: Stage) -> str:
    text = text.replace("URL", repr(stage.url)).replace("EXCHANGE", repr(stage.exchange))
    return text.replace("GATE", repr(str(stage.gate())))


@pytest.mark.slow
def test_after_a_shutdown_without_waiting_what_never_ends_is_left_after_a_while(
    local_stage: Stage,
) -> None:
    text = """
        import time
        from executor import Executor

        if __name__ == "__main__":
            executor = EXECUTOR
            executor.wait_for_workers(1)
            quick = executor.submit("chores.chore", "quick")
            quick.add_done_callback(lambda done: print("callback:", done.result(), flush=True))
            executor.submit("chores.chore", "endless", GATE)
            executor.submit("chores.nobody")
            executor.shutdown(wait=False)
        """
    with local_stage.worker() as worker:
        worker.up()
        with local_stage.program(_filled(text, local_stage)) as program:
            said = ended(program)
    assert "callback: quick" in said
    assert "2 requests were open when the program ended" in said
    assert "takes them up again" in said


@pytest.mark.slow
def test_a_callback_that_blocks_does_not_keep_the_program(local_stage: Stage) -> None:
    text = """
        import threading, time
        from executor import Executor

        if __name__ == "__main__":
            executor = EXECUTOR
            blocked = threading.Event()

            def block(done):
                blocked.set()
                threading.Event().wait()

            executor.submit("chores.chore", "one").add_done_callback(block)
            executor.submit("chores.chore", "two")
            blocked.wait(30)
            executor.shutdown(WAIT)
        """
    for n, wait in enumerate(("wait=False", "wait=False, cancel_futures=True")):
        with local_stage.worker() as worker:
            worker.up()
            with local_stage.program(text.replace("WAIT", wait), name=f"blocked{n}") as program:
                ended(program)
            if n == 0:
                local_stage.journal.rename(local_stage.journal.with_suffix(".first"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broker", "ending"),
    [
        pytest.param("redis", "executor.shutdown(wait=False)", marks=pytest.mark.redis),
        pytest.param("amqp", "", marks=pytest.mark.rabbitmq),
    ],
)
def test_a_broker_that_swallows_everything_does_not_keep_the_program(
    tmp_path: Path, exchange: str, broker: str, ending: str
) -> None:
    """Its connections stand, and nothing comes back: a black hole."""
    url = brokers.demand(brokers.REDIS_URL if broker == "redis" else brokers.AMQP_URL)
    parts = urlsplit(url)
    with TcpProxy(parts.hostname or "127.0.0.1", parts.port or 0) as proxy:
        stage = Stage(proxy.url(url), exchange, tmp_path)
        text = f"""
            import os, sys, time
            from executor import Executor

            if __name__ == "__main__":
                executor = EXECUTOR
                executor.submit("chores.chore", "one")
                print("ready", flush=True)
                while not os.path.exists(GATE):
                    time.sleep(0.01)
                executor.submit("chores.chore", "two")
                {ending}
                print("ending", flush=True)
            """
        with stage.program(_filled(text, stage)) as program:
            program.wait_for("ready")
            proxy.blackhole()
            stage.gate().touch()
            program.wait_for("ending")
            said = ended(program)
    assert "2 requests were open when the program ended" in said
    assert "takes them up again" in said


@pytest.mark.slow
def test_many_executors_in_one_program_end_together(local_stage: Stage) -> None:
    text = """
        import threading
        from executor import Executor

        if __name__ == "__main__":
            executors = [Executor(URL, exchange=f"many-{n}") for n in range(6)]
            for executor in executors:
                executor.submit("nobody.offers.this")
                executor.shutdown(wait=False)
        """
    with local_stage.program(_filled(text, local_stage)) as program:
        said = ended(program)
    assert said.count("1 requests were open when the program ended") == 6


def test_the_end_of_a_thread_that_waits_is_not_waited_for(local_stage: Stage) -> None:
    """A daemon thread in ``result()``, as a web server would have."""
    text = """
        import threading, time
        from executor import Executor

        if __name__ == "__main__":
            executor = EXECUTOR
            future = executor.submit("chores.nobody")
            threading.Thread(target=future.result, daemon=True).start()
        """
    with local_stage.program(text) as program:
        ended(program)
