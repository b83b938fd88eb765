"""A command runs as a process of its own, and is told as it ended, when nothing of it is left."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from protocol.commands import MODULE, NOT_IN_THEIR_HOST, READ, RUN, TAIL, Command, end_from_json
from protocol.errors import ConfigurationError
from tests.processes import is_alive
from tests.samples.inbox import Inbox, work
from worker.command import read, run
from worker.pool.processes import ProcessesPool
from worker.work import Ended

#: Longer than any test waits.
FOR_EVER = "600"


def ended(command: Any, **how: Any) -> Any:
    """Run it here and now."""
    end = end_from_json(run(**Command(command, **how).to_json()))
    assert end is not None
    return end


@pytest.fixture
def out(tmp_path: Path) -> str:
    """A file in a folder that is not there yet."""
    return str(tmp_path / "logs" / "out")


# -- how it ends


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("true", 0),
        ("exit 3", 3),
        (["/bin/sh", "-c", "exit 4"], 4),
        ("kill -9 $$", 128 + signal.SIGKILL),
        (["no-such-program-anywhere"], 127),
        ("no-such-program-anywhere", 127),
        (["/etc/passwd"], 126),
    ],
)
def test_an_exit_status_is_told_as_a_shell_tells_it(command: Any, status: int) -> None:
    assert ended(command).exit_status == status


def test_how_long_it_ran_is_told() -> None:
    assert 0.2 <= ended("sleep 0.2").seconds < 60


def test_a_folder_that_is_not_there_is_told_and_nothing_runs(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="not run: its folder"):
        ended("true", folder=str(tmp_path / "nowhere"))


# -- what it gets and what it writes


def test_what_it_writes_is_kept_and_its_end_comes_along(out: str, tmp_path: Path) -> None:
    end = ended("echo one; echo two >&2", stdout=out, stderr=f"{out}.err")
    assert (end.stdout_tail, end.stdout_size) == ("one\n", 4)
    assert (end.stderr_tail, end.stderr_size) == ("two\n", 4)
    assert Path(out).read_text() == "one\n"
    assert (tmp_path / "logs").stat().st_mode & 0o777 == 0o700


def test_of_much_only_the_end_comes_along_and_the_rest_can_be_read(out: str) -> None:
    end = ended(f"yes | head -c {TAIL * 2}", stdout=out)
    assert (len(end.stdout_tail), end.stdout_size) == (TAIL, TAIL * 2)
    assert read(out, TAIL * 2 - 4) == ["y\ny\n", 4, TAIL * 2]
    assert read(out, 0, 3) == ["y\ny", 3, TAIL * 2]
    assert read(out, 10**9) == ["", 0, TAIL * 2]


def test_a_program_that_is_not_there_is_told_where_it_would_have_written(out: str) -> None:
    end = ended(["no-such-program"], stderr=out)
    assert "no-such-program: No such file" in end.stderr_tail


def test_it_runs_in_its_folder_with_its_environment_and_an_empty_input(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What configures workers, and may hold the broker's password, it does not get."""
    monkeypatch.setenv("TASKLINE_URL", "redis://:secret@here")
    monkeypatch.setenv("OURS", "ours")
    command = "pwd; cat; echo $OURS-$THEIRS-$TASKLINE_URL-"
    end = ended(command, stdout=out, folder=str(tmp_path), environment={"THEIRS": "a b"})
    assert end.stdout_tail == f"{tmp_path}\nours-a b--\n"


def test_it_leads_a_session_of_its_own(out: str) -> None:
    command = "import os; print(os.getsid(0) == os.getpgrp() == os.getpid())"
    assert ended([sys.executable, "-c", command], stdout=out).stdout_tail == "True\n"


def test_without_files_nobody_keeps_what_it_writes() -> None:
    end = ended("echo one")
    assert (end.stdout_tail, end.stdout_size) == ("", 0)


# -- contexts


events: list[str] = []


@contextmanager
def around() -> Iterator[None]:
    """A context that commands run in."""
    os.environ["AROUND"] = "yes"
    events.append("in")
    try:
        yield
    finally:
        events.append("out")
        del os.environ["AROUND"]


def test_it_runs_in_the_contexts_it_names(out: str) -> None:
    events.clear()
    end = ended("echo $AROUND", stdout=out, contexts=[f"{__name__}:around"])
    assert end.stdout_tail == "yes\n"
    assert events == ["in", "out"]


@pytest.mark.parametrize(
    "spec", ["no_such_module:x", f"{__name__}:nothing", __name__, ":", "os:sep"]
)
def test_a_context_that_cannot_be_is_told_and_nothing_runs(spec: str, out: str) -> None:
    with pytest.raises(ConfigurationError, match="was not run"):
        ended(f"touch {out}", contexts=[spec])
    assert not Path(out).exists()


def test_a_command_is_told_which_accelerators_are_its_own(running: Any, tmp_path: Path) -> None:
    command = f"env | grep -e ACCELERATOR -e VISIBLE | sort > {tmp_path}/env"
    in_a_host(running, command, devices={"gpu": [0, 2], "my-tpu": [1]})
    assert (tmp_path / "env").read_text().split() == [
        "CUDA_VISIBLE_DEVICES=0,2",
        "ROCR_VISIBLE_DEVICES=0,2",
        "TASKLINE_ACCELERATOR_GPU=0,2",
        "TASKLINE_ACCELERATOR_MY_TPU=1",
    ]


# -- what it leaves behind

DAEMON = f"""
import os, sys, time
if os.fork():
    sys.exit()
os.setsid()
if os.fork():
    os._exit(0)
open(sys.argv[1], "w").write(str(os.getpid()))
time.sleep({FOR_EVER})
"""


def test_a_daemon_that_left_group_session_and_parents_is_gone_when_the_end_is_told(
    tmp_path: Path,
) -> None:
    file = tmp_path / "daemon"
    command = f"{sys.executable} -c '{DAEMON}' {file}; while ! [ -s {file} ]; do sleep 0.01; done"
    end = ended(command)
    assert (end.exit_status, end.left_over >= 1) == (0, True)
    assert not is_alive(int(file.read_text()))


def test_what_it_left_in_the_background_is_gone_too(out: str) -> None:
    end = ended(
        f"sleep {FOR_EVER} & echo $!; setsid sleep {FOR_EVER} & echo $!; sleep 0.1", stdout=out
    )
    assert end.left_over == 2
    assert not any(is_alive(int(pid)) for pid in end.stdout_tail.split())


def test_a_child_of_an_earlier_task_is_left_alone() -> None:
    earlier = os.posix_spawn("/bin/sleep", ["sleep", FOR_EVER], {})
    try:
        assert ended("true").exit_status == 0
        assert os.waitpid(earlier, os.WNOHANG) == (0, 0)
    finally:
        os.kill(earlier, signal.SIGKILL)
        os.waitpid(earlier, 0)


# -- in a pool


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[ProcessesPool, Inbox]]:
    """A pool of one host that offers nothing else."""
    pool, inbox = ProcessesPool([MODULE], 1), Inbox()
    pool.start(inbox)
    yield pool, inbox
    pool.stop()


_keys = iter(range(1, 10**6))


def in_a_host(running: tuple[ProcessesPool, Inbox], command: Any, **fields: Any) -> Ended:
    """Run it in a host, to its end."""
    pool, inbox = running
    key = next(_keys)
    arguments = Command(command).to_json()
    pool.run(work(key, RUN, arguments=arguments, **fields))
    return inbox.ended(key)


def test_both_tasks_are_offered_under_their_names(running: Any) -> None:
    pool, _ = running
    assert {offer.name for offer in pool.start(lambda _: None)} == {RUN, READ} == NOT_IN_THEIR_HOST


def test_a_host_runs_one_after_the_other(running: Any) -> None:
    for status in (0, 5, 0):
        assert in_a_host(running, f"exit {status}").result["exit_status"] == status


def test_at_its_time_limit_nothing_of_it_is_left(running: Any, tmp_path: Path) -> None:
    file = tmp_path / "pids"
    end = in_a_host(
        running, f"setsid sleep {FOR_EVER} & echo $! $$ > {file}; sleep {FOR_EVER}", time_limit=0.5
    )
    assert end.end == "limit"
    assert not any(is_alive(int(pid)) for pid in file.read_text().split())


HOG = "import sys, time; hog = bytearray(b'x') * {size}; time.sleep({time})"


def test_at_its_memory_limit_it_is_ended_and_that_is_told(running: Any, tmp_path: Path) -> None:
    """Also of a child that has hidden: what counts is all that descends from it."""
    hog = HOG.format(size=80 * 2**20, time=FOR_EVER)
    command = f'setsid {sys.executable} -c "{hog}" & echo $! $$ > {tmp_path}/pids; wait'
    end = in_a_host(running, command, memory_limit=60 * 2**20)
    assert end.end == "limit"
    assert end.failure is not None
    assert end.failure["exc_type_names"][0] == "protocol.errors.MemoryLimitExceeded"
    assert f"{RUN} took" in end.failure["exception_str"]
    assert "may take 60.0 MiB" in end.failure["exception_str"]
    assert not any(is_alive(int(pid)) for pid in (tmp_path / "pids").read_text().split())


FORKS = """
import os, time
shared = bytearray(b"x") * {size}
children = [os.fork() or (time.sleep({time}), os._exit(0)) for _ in range(3)]
for _ in range(3):
    os.wait()
"""


def test_what_forks_share_counts_once(running: Any, tmp_path: Path) -> None:
    script = tmp_path / "forks.py"
    script.write_text(FORKS.format(size=40 * 2**20, time=1.0))
    end = in_a_host(running, [sys.executable, str(script)], memory_limit=100 * 2**20)
    assert end.failure is None
    assert end.result["exit_status"] == 0


def test_the_memory_of_the_host_is_not_the_commands(running: Any) -> None:
    end = in_a_host(running, ["/bin/sleep", "0.7"], memory_limit=5 * 2**20)
    assert end.failure is None


def test_a_daemon_does_not_outlive_its_command_in_a_host_either(
    running: Any, tmp_path: Path
) -> None:
    file = tmp_path / "daemon"
    command = f"{sys.executable} -c '{DAEMON}' {file}; while ! [ -s {file} ]; do sleep 0.01; done"
    assert in_a_host(running, command).result["exit_status"] == 0
    assert not is_alive(int(file.read_text()))
    assert in_a_host(running, "true").result["exit_status"] == 0
