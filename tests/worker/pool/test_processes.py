"""What only processes can promise: each host dies alone, takes its own along, and comes back."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protocol.errors import TasksUnloadable
from tests.processes import is_alive
from tests.samples.inbox import DEADLINE, Inbox, work
from worker.descendants import children_of
from worker.pool.crew import GIVE_UP_AFTER
from worker.pool.processes import ProcessesPool
from worker.work import Ended, Offers, Started

DEADLY = "tests.samples.deadly"
OVERLONG = "tests.samples.overlong"
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def inbox() -> Inbox:
    """Where the pool of a test reports to."""
    return Inbox()


@pytest.fixture
def pool(inbox: Inbox) -> Iterator[ProcessesPool]:
    """A pool of one host with the deadly tasks."""
    pool = ProcessesPool([DEADLY], 1)
    pool.start(inbox)
    yield pool
    pool.stop()


def run(pool: ProcessesPool, inbox: Inbox, key: int, task: str, *args: Any) -> Ended:
    """Run a deadly task to its end."""
    pool.run(work(key, f"{DEADLY}.{task}", *args))
    return inbox.ended(key)


def wait_until_gone(pid: int) -> None:
    """Wait until a process of somebody else's has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        assert poll.poll(DEADLINE * 1000), f"process {pid} is still there"
    finally:
        os.close(handle)


def wait_for_text(file: Path) -> str:
    """Wait until a task has written its file."""
    until = time.monotonic() + DEADLINE
    while not file.exists():
        assert time.monotonic() < until, f"{file} was never written"
        select.select([], [], [], 0.005)
    return file.read_text()


# -- how many there are


def test_hosts_beyond_the_cores_are_started_when_works_wait(
    inbox: Inbox, one_core: None, tmp_path: Path
) -> None:
    go, ours = str(tmp_path / "go"), set(children_of(os.getpid()))
    pool = ProcessesPool(["tests.samples.tasks"], 3)
    pool.start(inbox)
    try:
        assert len(set(children_of(os.getpid())) - ours) == 1
        pool.run(*(work(key, "tests.samples.tasks.wait_for_file", go) for key in (1, 2)))
        inbox.wait(lambda reports: {Started(1), Started(2)} <= set(reports))
        assert len(set(children_of(os.getpid())) - ours) == 2
        pool.run(work(3, "tests.samples.tasks.wait_for_file", go))
        inbox.wait(lambda reports: Started(3) in reports)
        Path(go).touch()
        assert [inbox.ended(key).result for key in (1, 2, 3)] == ["found"] * 3
    finally:
        pool.stop()
    assert set(children_of(os.getpid())) == ours


@pytest.fixture
def one_core() -> Iterator[None]:
    """Have this thread, and what it starts, run on one core only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


# -- a host dies


@pytest.mark.parametrize(
    ("task", "argument", "how"),
    [
        ("exit_at_once", 3, "exit code 3"),
        ("exit_at_once", 0, "exit code 0"),
        ("kill_itself", int(signal.SIGKILL), "signal 9 (SIGKILL)"),
        ("kill_itself", int(signal.SIGSEGV), "signal 11 (SIGSEGV)"),
    ],
)
def test_a_host_that_dies_under_a_task_is_told_with_how_and_replaced(
    pool: ProcessesPool, inbox: Inbox, task: str, argument: int, how: str
) -> None:
    first = run(pool, inbox, 1, "process_id").result
    ended = run(pool, inbox, 2, task, argument)
    assert ended.end == "crash"
    assert ended.failure is not None
    assert ended.failure["exc_type_names"] == [
        "worker.host.HostCrashed",
        "RuntimeError",
        "Exception",
    ]
    assert f"its process {first} ended with {how}" in ended.failure["exception_str"]
    assert inbox.of(2) == [Started(2), ended]
    assert run(pool, inbox, 3, "process_id").result != first


def test_only_the_host_that_died_is_lost(inbox: Inbox, tmp_path: Path) -> None:
    pool = ProcessesPool([DEADLY, "tests.samples.tasks"], 2)
    pool.start(inbox)
    try:
        pool.run(work(1, "tests.samples.tasks.wait_for_file", str(tmp_path / "go")))
        assert run(pool, inbox, 2, "exit_at_once", 1).end == "crash"
        (tmp_path / "go").touch()
        assert inbox.ended(1).result == "found"
    finally:
        pool.stop()


def test_a_death_costs_the_run_that_was_under_way_and_no_other(inbox: Inbox) -> None:
    """One host, handed many at once: those before the death have their results, those behind run
    elsewhere.
    """
    pool = ProcessesPool([DEADLY, "tests.samples.tasks"], 1)
    pool.start(inbox)
    try:
        before, after = range(1, 200), range(201, 300)
        pool.run(
            *(work(key, "tests.samples.tasks.add", key, 1) for key in before),
            work(200, f"{DEADLY}.exit_at_once", 3),
            *(work(key, "tests.samples.tasks.add", key, 1) for key in after),
        )
        for key in (*before, *after):
            assert inbox.ended(key) == Ended(key, key + 1)
        assert inbox.ended(200).end == "crash"
        assert sum(isinstance(report, Ended) for report in inbox.reports) == 299
    finally:
        pool.stop()


def test_a_host_killed_at_any_moment_costs_one_run_at_most(inbox: Inbox) -> None:
    pool = ProcessesPool([DEADLY, "tests.samples.tasks"], 1)
    pool.start(inbox)
    try:
        key = 0
        for round_ in range(5):
            inbox.reports.clear()
            host = run(pool, inbox, key := key + 1, "process_id").result
            keys = range(key + 1, key + 2001)
            key += 2000
            pool.run(*(work(one, "tests.samples.tasks.add", one, 1) for one in keys))
            inbox.ended(keys[round_ * 100])
            os.kill(host, signal.SIGKILL)
            ends = [inbox.ended(one) for one in keys]
            assert sum(ended.end == "crash" for ended in ends) <= 1
            assert all(ended.end == "crash" or ended.result == ended.key + 1 for ended in ends)
            assert sum(isinstance(report, Ended) for report in inbox.reports) == 2001
    finally:
        pool.stop()


def test_a_limit_that_is_reached_and_an_end_cost_nothing_of_what_is_behind(inbox: Inbox) -> None:
    pool = ProcessesPool([DEADLY, "tests.samples.tasks"], 1)
    pool.start(inbox)
    try:
        pool.run(*(work(key, "tests.samples.tasks.add", key) for key in range(1, 101)))
        inbox.ended(100)
        add = "tests.samples.tasks.add"
        file = "/nonexistent/file"
        pool.run(
            work(101, "tests.samples.tasks.wait_for_file", file, time_limit=0.05),
            *(work(key, add, key) for key in range(102, 110)),
            work(110, "tests.samples.tasks.wait_for_file", file),
            *(work(key, add, key, time_limit=20) for key in range(111, 120)),
        )
        assert inbox.ended(101).end == "limit"
        inbox.wait(lambda reports: Started(110) in reports)
        pool.end(110)
        pool.end(119)
        assert inbox.ended(110).end == "stopped"
        ends = {key: inbox.ended(key).end for key in (*range(102, 110), *range(111, 119))}
        assert set(ends.values()) == {"done"}
        assert inbox.ended(119).end in ("stopped", "done")
    finally:
        pool.stop()


def test_a_death_is_seen_though_a_forked_child_holds_the_pipe(
    pool: ProcessesPool, inbox: Inbox, tmp_path: Path
) -> None:
    ended = run(pool, inbox, 1, "die_with_forked_child", str(tmp_path / "pid"))
    assert ended.end == "crash"
    assert ended.failure is not None
    assert "exit code 7" in ended.failure["exception_str"]
    wait_until_gone(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("task", ["close_everything", "write_to_every_socket"])
def test_a_host_that_loses_its_pipe_is_replaced(
    pool: ProcessesPool, inbox: Inbox, task: str
) -> None:
    assert run(pool, inbox, 1, task).end == "crash"
    assert isinstance(run(pool, inbox, 2, "process_id").result, int)


def test_a_death_is_seen_where_processes_have_no_descriptors(
    inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    pool = ProcessesPool([DEADLY], 1)
    pool.start(inbox)
    try:
        assert run(pool, inbox, 1, "exit_at_once", 3).end == "crash"
        # Nor does the pipe tell: a forked child holds it.
        ended = run(pool, inbox, 2, "die_with_forked_child", str(tmp_path / "pid"))
        assert ended.end == "crash"
        assert isinstance(run(pool, inbox, 3, "process_id").result, int)
    finally:
        pool.stop()


def test_an_idle_host_that_dies_is_replaced(pool: ProcessesPool, inbox: Inbox) -> None:
    first = run(pool, inbox, 1, "process_id").result
    os.kill(first, signal.SIGKILL)
    wait_until_gone(first)
    ended = run(pool, inbox, 2, "process_id")
    # The work may have met the host before its end was known; it is never lost.
    assert ended.end == "crash" or ended.result != first


# -- a task is ended


def test_an_ended_task_takes_its_children_along(
    pool: ProcessesPool, inbox: Inbox, tmp_path: Path
) -> None:
    pool.run(work(1, f"{DEADLY}.sleep_with_child", str(tmp_path / "pids")))
    host, child = map(int, wait_for_text(tmp_path / "pids").split())
    pool.end(1)
    ended = inbox.ended(1)
    assert ended.end == "stopped"
    assert ended.failure is not None
    assert ended.failure["exc_type_names"][0] == "worker.host.TaskStopped"
    wait_until_gone(host)
    wait_until_gone(child)
    assert isinstance(run(pool, inbox, 2, "process_id").result, int)


def test_works_open_at_the_stop_are_reported_as_stopped(
    pool: ProcessesPool, inbox: Inbox, tmp_path: Path
) -> None:
    pool.run(work(1, f"{DEADLY}.sleep_with_child", str(tmp_path / "pids")))
    host, child = map(int, wait_for_text(tmp_path / "pids").split())
    pool.stop()
    assert inbox.ended(1).end == "stopped"
    wait_until_gone(host)
    wait_until_gone(child)


# -- what tasks may do


def test_forked_children_neither_speak_nor_answer(pool: ProcessesPool, inbox: Inbox) -> None:
    for key in (1, 2):
        assert run(pool, inbox, key, "return_twice").result == "parent"
        assert len(inbox.of(key)) == 3


def test_a_task_may_use_multiprocessing(pool: ProcessesPool, inbox: Inbox) -> None:
    assert run(pool, inbox, 1, "in_a_pool").result == [1, 2]


def test_what_a_task_sends_its_forked_children_is_heard_however_early(
    pool: ProcessesPool, inbox: Inbox
) -> None:
    """A host's own deafness to SIGTERM is not theirs."""
    ended = run(pool, inbox, 1, "end_children_early", 100)
    assert ended.result == [-signal.SIGTERM]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_meant_for_the_whole_service_do_not_end_a_host(
    pool: ProcessesPool, inbox: Inbox, number: int
) -> None:
    assert run(pool, inbox, 1, "ignore", int(number)).result == "alive"


def test_a_task_sees_neither_our_arguments_nor_another_path(
    pool: ProcessesPool, inbox: Inbox
) -> None:
    argv, path, name = run(pool, inbox, 1, "arguments_and_path").result
    assert argv == ["-c"]
    assert path == [str(Path(entry).absolute()) for entry in sys.path]
    assert name == DEADLY


def test_a_host_loads_neither_kombu_nor_the_schemas(pool: ProcessesPool, inbox: Inbox) -> None:
    loaded = set(run(pool, inbox, 1, "loaded_modules").result)
    assert not loaded & {"kombu", "jsonschema", "fastjsonschema", "futurist", "asyncio"}


# -- starting


def test_a_module_that_dies_at_import_makes_the_start_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dies_at_import.py").write_text("import os\nos._exit(9)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(TasksUnloadable, match="exit code 9 while it imported"):
        ProcessesPool(["dies_at_import"], 2).start(Inbox())


def test_an_import_that_does_not_end_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "never_imported.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    pool = ProcessesPool(["never_imported"], 1, start_timeout=0.3)
    with pytest.raises(TasksUnloadable, match="1 of 1 hosts were still importing never_imported"):
        pool.start(Inbox())
    with pytest.raises(TasksUnloadable):
        pool.start(Inbox())


def test_hosts_that_do_not_come_back_give_up_the_waiting_work_and_try_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inbox: Inbox
) -> None:
    (tmp_path / "fickle.py").write_text(
        "import os, pathlib\n"
        f"assert not pathlib.Path({str(tmp_path / 'broken')!r}).exists(), 'broken now'\n"
        "def leave() -> None:\n    os._exit(1)\n"
        "def stay() -> str:\n    return 'here'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    pool = ProcessesPool(["fickle"], 1)
    pool.start(inbox)
    try:
        (tmp_path / "broken").touch()
        pool.run(work(1, "fickle.leave"))
        assert inbox.ended(1).end == "crash"
        pool.run(work(2, "fickle.stay"))
        ended = inbox.ended(2)
        assert ended.end == "crash"
        assert ended.failure is not None
        assert f"the last {GIVE_UP_AFTER} processes" in ended.failure["exception_str"]
        assert "AssertionError: broken now" in ended.failure["exception_str"]
        (tmp_path / "broken").unlink()
        pool.run(work(3, "fickle.stay"))
        assert inbox.ended(3).result == "here"
    finally:
        pool.stop()


def test_while_one_host_is_there_nothing_is_given_up_because_others_do_not_come_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inbox: Inbox, one_core: None
) -> None:
    """As where the system gives no more processes."""
    go, tries = tmp_path / "go", tmp_path / "tries"
    (tmp_path / "once.py").write_text(
        "import pathlib, time\n"
        f"with open({str(tries)!r}, 'a') as file:\n    print('x', file=file)\n"
        f"assert pathlib.Path({str(tries)!r}).read_text() == 'x\\n', 'only once'\n"
        "def wait() -> str:\n"
        f"    while not pathlib.Path({str(go)!r}).exists():\n        time.sleep(0.005)\n"
        "    return 'here'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    pool = ProcessesPool(["once"], 3)
    pool.start(inbox)
    try:
        pool.run(*(work(key, "once.wait") for key in (1, 2, 3)))
        inbox.wait(lambda reports: Started(1) in reports)
        until = time.monotonic() + DEADLINE
        while tries.read_text().count("x") < 2 + 2 * GIVE_UP_AFTER:
            assert time.monotonic() < until, "they were not tried so often"
            select.select([], [], [], 0.01)
        go.touch()
        assert [inbox.ended(key).result for key in (1, 2, 3)] == ["here"] * 3
    finally:
        pool.stop()


def test_an_offered_module_that_dies_at_import_is_refused_and_forgotten(
    pool: ProcessesPool, inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "dies_when_offered.py"
    file.write_text("import os\nos._exit(5)\n")
    # The host's path is the one of its start, so the module is put where it looks.
    monkeypatch.syspath_prepend(str(tmp_path))
    second = ProcessesPool([DEADLY], 1)
    second.start(inbox)
    try:
        second.offer("dies_when_offered")
        answer = inbox.first(Offers)
        assert "exit code 5 while it imported dies_when_offered" in answer.refused[0]
        assert all(offer.name.startswith(DEADLY) for offer in answer.tasks)
        assert isinstance(run(second, inbox, 1, "process_id").result, int)
    finally:
        second.stop()


def test_a_host_started_later_offers_what_was_added(pool: ProcessesPool, inbox: Inbox) -> None:
    pool.offer("math:factorial")
    inbox.first(Offers)
    assert run(pool, inbox, 1, "exit_at_once", 1).end == "crash"
    pool.run(work(2, "math.factorial", 4))
    assert inbox.ended(2).result == 24


def test_the_thread_that_fails_ends_all_works_and_says_so(inbox: Inbox) -> None:
    def broken_inbox(reports: list[Any]) -> None:
        inbox(reports)
        if any(isinstance(report, Started) for report in reports):
            raise ZeroDivisionError("a fault of the worker's own")

    pool = ProcessesPool(["tests.samples.tasks"], 1)
    pool.start(broken_inbox)
    pool.run(work(1, "tests.samples.tasks.wait_for_file", "/nonexistent/file"))
    ended = inbox.ended(1)
    assert ended.end == "crash"
    assert ended.failure is not None
    assert "a fault of the worker's own" in ended.failure["exception_str"]
    pool.stop()
    pool.run(work(2, "tests.samples.tasks.add", 1))
    assert inbox.ended(2).end == "crash"


def test_no_descriptor_and_no_process_is_left_behind() -> None:
    def open_descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = open_descriptors()
    for _ in range(3):
        inbox = Inbox()
        pool = ProcessesPool([DEADLY], 2)
        pool.start(inbox)
        host = run(pool, inbox, 1, "process_id").result
        assert run(pool, inbox, 2, "exit_at_once", 1).end == "crash"
        pool.stop()
        wait_until_gone(host)
    assert open_descriptors() == before


# -- seen from outside


def script(tmp_path: Path, text: str) -> list[str]:
    """A command that runs this text as a program, with the repository on its path."""
    file = tmp_path / "program.py"
    file.write_text(
        f"import sys\nsys.path.append({str(ROOT)!r})\n" + textwrap.dedent(text), encoding="utf-8"
    )
    return [sys.executable, str(file)]


def test_a_killed_worker_leaves_no_host_and_no_child_of_a_task(tmp_path: Path) -> None:
    program = subprocess.Popen(
        script(
            tmp_path,
            f"""
            import time
            from tests.samples.inbox import Inbox, work
            from worker.pool.processes import ProcessesPool

            pool = ProcessesPool(["{DEADLY}"], 2)
            pool.start(Inbox())
            pool.run(work(1, "{DEADLY}.sleep_with_child", {str(tmp_path / "pids")!r}))
            time.sleep(600)
            """,
        )
    )
    try:
        host, child = map(int, wait_for_text(tmp_path / "pids").split())
    finally:
        program.kill()
        program.wait()
    wait_until_gone(host)
    wait_until_gone(child)


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux only")
def test_a_killed_worker_leaves_nothing_of_tasks_that_hold_on_to_everything(tmp_path: Path) -> None:
    """One that holds the interpreter's lock, one whose children have left group and session."""
    (tmp_path / "noted").mkdir()
    program = subprocess.Popen(
        script(
            tmp_path,
            f"""
            import os, time
            from tests.samples.inbox import Inbox, work
            from worker.pool.processes import ProcessesPool
            from worker.work import Started

            pool, inbox = ProcessesPool(["{OVERLONG}"], 2), Inbox()
            pool.start(inbox)
            pool.run(work(1, "{OVERLONG}.process_id"))
            inbox.ended(1)
            pool.run(work(2, "{OVERLONG}.hold_the_interpreter"))
            pool.run(work(3, "{OVERLONG}.scatter", {str(tmp_path / "noted")!r}))
            inbox.wait(lambda reports: Started(2) in reports and Started(3) in reports)
            while len(os.listdir({str(tmp_path / "noted")!r})) < 6:
                time.sleep(0.01)
            print("ready", flush=True)
            time.sleep(600)
            """,
        ),
        stdout=subprocess.PIPE,
    )
    assert program.stdout is not None
    try:
        assert program.stdout.readline() == b"ready\n"
        tasks = Path(f"/proc/{program.pid}/task").glob("*/children")
        wardens = [int(pid) for children in tasks for pid in children.read_text().split()]
    finally:
        program.kill()
        program.wait()
        program.stdout.close()
    assert len(wardens) == 2
    for pid in wardens:
        wait_until_gone(pid)
    scattered = [int(note.name.rpartition("-")[2]) for note in (tmp_path / "noted").iterdir()]
    assert not [pid for pid in scattered if is_alive(pid)]


def test_what_tasks_print_passes_through_and_they_read_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        script(
            tmp_path,
            f"""
            from tests.samples.inbox import Inbox, work
            from worker.pool.processes import ProcessesPool

            pool, inbox = ProcessesPool(["{DEADLY}"], 1), Inbox()
            pool.start(inbox)
            pool.run(work(1, "{DEADLY}.noise"))
            print(inbox.ended(1).result)
            pool.stop()
            """,
        ),
        input="not for tasks",
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    assert done.stdout.splitlines() == ["to standard output", "raw", "from a program", "['']"]
    assert done.stderr.splitlines() == ["to standard error"]


def test_modules_of_the_current_folder_are_tasks_and_never_take_our_place(tmp_path: Path) -> None:
    for name in ("worker", "protocol"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')\n")
    (tmp_path / "mine.py").write_text("def double(x):\n    return 2 * x\n")
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(
        script(
            tmp_path / "elsewhere",
            f"""
            from tests.samples.inbox import Inbox, work
            from worker.pool.processes import ProcessesPool

            sys.path.insert(0, {str(tmp_path)!r})
            pool, inbox = ProcessesPool(["mine"], 1), Inbox()
            print([offer.name for offer in pool.start(inbox)], "mine" in sys.modules)
            pool.run(work(1, "mine.double", 21))
            print(inbox.ended(1).result)
            pool.stop()
            """,
        ),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.stdout.splitlines() == ["['mine.double'] False", "42"], done.stderr
