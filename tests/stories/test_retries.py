"""A task that fails is run again, as its policy says, whoever is killed meanwhile."""

from __future__ import annotations

import json
import re
import signal
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from executor import Executor, Future, Retry
from executor.cli import main
from protocol.errors import ConfigurationError, PoisonTask
from tests.processes import DEADLINE, PROJECT, WorkerProcess, wait_until
from tests.stories.stage import Stage

SOON = Retry(max=2, backoff=0.2)
#: Longer than a story: what waits so long waits until somebody looks.
LATER = Retry(max=2, backoff=600.0)

NIGHTLY = """
    import sys, time
    from executor import Executor, Retry

    if __name__ == "__main__":
        executor = EXECUTOR
        policy = Retry(max=3, backoff=float(sys.argv[2]), jitter=0.0)
        future = executor.options(retries=policy).submit("chores.settled", "one", sys.argv[1])
        while not any(one.what == "round" for one in future.history):
            time.sleep(0.01)
        print("it waits", flush=True)
        future.result()
    """


@pytest.fixture
def executor(stage: Stage) -> Iterator[Executor]:
    with stage.worker() as worker, stage.executor() as made:
        worker.up()
        made.wait_for_workers(1, DEADLINE)
        yield made
        made.shutdown(wait=False, cancel_futures=True)


def rests(future: Future[object]) -> None:
    """Until it has failed once, and waits."""
    wait_until(lambda: any(one.what == "round" for one in future.history), "the first failure")


def test_a_failure_is_followed_by_another_run_and_nobody_sees_it(
    stage: Stage, executor: Executor
) -> None:
    gate = stage.gate()
    ends: list[Future[object]] = []
    often = Retry(max=9, backoff=0.2)  # more often than it can fail before there is the file
    future = executor.options(retries=often).submit("chores.settled", "one", str(gate))
    future.add_done_callback(ends.append)  # type: ignore[arg-type]
    rests(future)
    assert not future.done()
    assert not ends
    gate.touch()
    assert future.result(DEADLINE) == "one"
    first, last = future.attempts[0], future.attempts[-1]
    assert (first.how, first.error) == ("failure", "ConnectionError: one is not answered")
    assert (last.how, last.error, last.worker) == ("success", None, future.worker)
    assert [one.round for one in future.attempts] == [one.number for one in future.attempts]
    assert stage.marks()["one"] == len(future.attempts)
    words = [one.what for one in future.history]
    assert words[:4] == ["submitted", "dispatched", "running", "round"]
    assert words[-1] == "ended"


def test_the_last_failure_is_raised_and_every_one_can_be_read(
    stage: Stage, executor: Executor
) -> None:
    future = executor.options(retries=SOON).submit("chores.fail", "bad")
    with pytest.raises(ValueError, match="bad"):
        future.result(DEADLINE)
    assert stage.marks() == {"bad": 3}
    assert [(one.number, one.round, one.how) for one in future.attempts] == [
        (1, 1, "failure"),
        (2, 2, "failure"),
        (3, 3, "failure"),
    ]
    rounds = [one.details for one in future.history if one.what == "round"]
    assert [(told["retries"], told["cause"], told["attempt"]) for told in rounds] == [
        (1, "failure", 1),
        (2, "failure", 2),
    ]
    assert 0.2 <= rounds[0]["delay"] <= 0.3  # type: ignore[operator]
    assert 0.4 <= rounds[1]["delay"] <= 0.6  # type: ignore[operator]
    began = [one.began for one in future.attempts]
    assert began[1] - future.attempts[0].ended >= rounds[0]["delay"] - 0.05  # type: ignore[operator]


def test_between_two_runs_it_can_be_cancelled_at_once(stage: Stage, executor: Executor) -> None:
    future = executor.options(retries=LATER).submit("chores.fail", "bad")
    rests(future)
    wait_until(lambda: not future.running(), "the wait")
    began = time.monotonic()
    assert future.cancel()
    assert future.cancelled()
    assert time.monotonic() - began < 2.0
    assert [one.what for one in future.history][-1] in ("cancelled", "ended")
    assert stage.marks() == {"bad": 1}


def test_what_is_not_named_is_raised_at_once(stage: Stage, executor: Executor) -> None:
    policy = Retry(max=5, on=(OSError,))
    with pytest.raises(ValueError, match="bad"):
        executor.options(retries=policy).submit("chores.fail", "bad").result(DEADLINE)
    assert stage.marks() == {"bad": 1}


def test_what_is_to_start_at_most_once_refuses_a_retry(executor: Executor) -> None:
    once = executor.options(delivery="at_most_once")
    with pytest.raises(ConfigurationError, match=r"submitting chores\.payment.*retries=0"):
        executor.options(retries=3).options(delivery="at_most_once").submit("chores.payment", "x")
    with pytest.raises(ConfigurationError, match=r"options\(\).*retries=0"):
        once.options(retries=3)


def test_killed_between_two_runs_it_goes_on_then_and_not_before_nor_twice(stage: Stage) -> None:
    gate = stage.gate()
    with stage.worker() as worker:
        worker.up()
        with stage.program(NIGHTLY, str(gate), "3") as first:
            first.wait_for("it waits")
            first.send_signal(signal.SIGKILL)
            first.exit_code()
        failed = time.time()
        gate.touch()
        with stage.executor() as second:
            (future,) = second.open_requests()
            assert not future.running()
            assert future.result(DEADLINE) == "one"
            (line,) = [one for one in future.history if one.what == "round"]
            again = future.attempts[1]
            assert again.sent >= line.stamp + 3.0 - 0.01
            assert again.sent < failed + 10.0
            assert [one.how for one in future.attempts] == ["failure", "success"]
    assert stage.marks() == {"one": 2}


def dlq(stage: Stage, capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    assert main(["dlq", words[0], "--json", str(stage.journal), *words[1:]]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_dead_letter_is_retried_once_and_its_repetition_says_so(
    local_stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    """It failed to the end, beside one that is poison; then what was wrong is mended."""
    stage, gate = local_stage, local_stage.gate()
    with stage.worker() as worker:
        worker.up()
        with stage.executor() as first:
            quick = first.options(retries=Retry(max=1, backoff=0.0))
            letter = quick.submit("chores.settled", "one", str(gate))
            poison = first.submit("chores.crash", "two")
            fine = quick.submit("chores.chore", "three")
            assert isinstance(letter.exception(DEADLINE), ConnectionError)
            assert isinstance(poison.exception(DEADLINE), PoisonTask)
            assert fine.result(DEADLINE) == "three"
            assert len(dlq(stage, capsys, "list")["dead"]) == 2  # also while it is in use
            assert main(["dlq", "retry", str(stage.journal), letter.uuid]) == 2
        found = dlq(stage, capsys, "show", letter.uuid)
        assert found["args"] == ["one", str(gate)]
        assert [one["failure"]["exception_str"] for one in found["failures"]] == [
            "one is not answered"
        ] * 2
        gate.touch()
        new = dlq(stage, capsys, "retry", letter.uuid)["retried"][letter.uuid]
        assert main(["dlq", "retry", str(stage.journal), letter.uuid]) == 2
        assert dlq(stage, capsys, "drop", "--all") == {"dropped": [poison.uuid]}
        with stage.executor() as second:
            (again,) = second.open_requests()
            assert (again.uuid, again.result(DEADLINE)) == (new, "one")
            assert again.history[0].details["repeats"] == letter.uuid
            assert isinstance(second.get(letter.uuid).exception(), ConnectionError)
    assert dlq(stage, capsys, "list") == {"dead": []}
    assert stage.marks() == {"one": 3, "two": 3, "three": 1}


def test_what_the_page_of_policies_says_of_retries_can_be_run(
    tmp_path: Path, exchange: str
) -> None:
    page = (PROJECT / "docs" / "policies.md").read_text(encoding="utf-8")
    section = page.partition("\n## Retries")[2].partition("\n## ")[0]
    module, program = re.findall(r"^```python\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    (tmp_path / "mail.py").write_text(module)
    head = f"""
        import mail
        from executor import Executor

        if __name__ == "__main__":
            url, exchange = "local://{tmp_path}/broker", {exchange!r}
            with Executor(url, exchange=exchange, workers=1) as executor:
        """
    text = textwrap.dedent(head) + textwrap.indent(program, " " * 8)
    (tmp_path / "program.py").write_text(text)
    with WorkerProcess(folder=tmp_path, command=("program.py",)) as process:
        code = process.exit_code(60)
        assert "letter 7 was delivered" in process.said or "Refused" in process.said
        assert code == 0 or "mail.Refused" in process.said
