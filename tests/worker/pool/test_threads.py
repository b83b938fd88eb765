"""What is said of threads alone: limits they cannot keep, and whose futurist they are."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.samples.inbox import DEADLINE, Inbox, work
from worker import Worker
from worker.pool.threads import ThreadsPool
from worker.work import Offer, Offers, limits_not_kept

LIMITED = "tests.samples.limited"
ROOT = Path(__file__).resolve().parents[3]


def test_it_starts_and_says_once_which_tasks_have_limits_it_cannot_keep(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pool, inbox = ThreadsPool([f"{LIMITED}:both"], 1), Inbox()
    with caplog.at_level(logging.WARNING, "taskline.worker.pool"):
        pool.start(inbox)
        pool.start(inbox)
        pool.offer(LIMITED)
        inbox.first(Offers)
        pool.offer(f"{LIMITED}:free")
        inbox.wait(lambda reports: len(reports) == 2)
    pool.stop()
    advice = "which threads cannot keep: requests are refused; offer what has limits in a worker"
    assert [record.getMessage().partition(advice)[0] for record in caplog.records] == [
        f"{LIMITED}.both has a time limit, ",
        f"{LIMITED}.Hard, limited.softly have time limits, ",
    ]


def test_the_banner_of_a_worker_says_so_too(exchange: str) -> None:
    with Worker([LIMITED], url="memory://", exchange=exchange, pool="threads") as worker:
        assert f"{LIMITED}.Hard, limited.softly have time limits, which threads" in worker.banner()
    with Worker([f"{LIMITED}:free"], url="memory://", exchange=exchange, pool="threads") as worker:
        assert "limit" not in worker.banner().replace(LIMITED, "")


def test_tasks_without_limits_are_nothing_to_speak_of() -> None:
    assert limits_not_kept([Offer("a"), Offer("b")]) is None
    said = limits_not_kept([Offer("a", soft_time_limit=1.0), Offer("b"), Offer("c", time_limit=2)])
    assert said is not None
    assert said.startswith("a, c have time limits")


def test_a_work_for_which_no_thread_can_be_had_is_told_as_crashed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool, inbox = ThreadsPool([f"{LIMITED}:free"], 1), Inbox()
    pool.start(inbox)

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr("threading.Thread.start", refuse)
        pool.run(work(1, f"{LIMITED}.free"))
    ended = inbox.ended(1)
    assert ended.end == "crash"
    assert ended.failure is not None
    assert "no thread could be started" in ended.failure["exception_str"]
    pool.stop()


def test_a_futurist_in_the_current_folder_is_a_module_of_tasks_and_never_takes_its_place(
    tmp_path: Path,
) -> None:
    (tmp_path / "futurist.py").write_text("raise SystemExit('the wrong one')\n")
    (tmp_path / "mine.py").write_text("def double(x):\n    return 2 * x\n")
    program = f"""
import sys
sys.path.append({str(ROOT)!r})
sys.path.insert(0, {str(tmp_path)!r})
from tests.samples.inbox import Inbox, work
from worker.pool.threads import ThreadsPool

pool, inbox = ThreadsPool(["mine"], 1), Inbox()
pool.start(inbox)
pool.run(work(1, "mine.double", 21))
print(inbox.ended(1).result, sys.path[0] == {str(tmp_path)!r})
pool.stop()
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.stdout == "42 True\n", done.stderr
