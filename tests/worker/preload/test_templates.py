"""A host has copies of its template, or runs a command as any other: never twice, nor for ever."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from protocol.commands import MODULE, RUN, Command, CommandEnd
from tests.processes import is_alive, wait_until
from tests.samples.inbox import Inbox, work
from tests.worker.preload.conftest import Keeping
from worker.pool.processes import ProcessesPool
from worker.preload import templates
from worker.preload.recognised import _scripts, recognised
from worker.work import Ended, Started, TaskEvent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="orphans are nobody's here")

Run = Callable[..., CommandEnd]

WHERE = "import told; print(told.IMPORTED_IN)"
FOR_EVER = "600"


# -- when there is one


def test_it_is_started_by_the_first_command_that_can_run_in_it(
    keeping: Keeping, ended: Run
) -> None:
    keeping("told")
    assert ended(["true"]).exit_status == 0
    assert not keeping.started
    assert [int(ended(["told", WHERE]).stdout_tail)] == keeping.started
    assert [int(ended(["told", WHERE]).stdout_tail)] == keeping.started


def test_one_that_is_killed_is_replaced_for_the_next_command(keeping: Keeping, ended: Run) -> None:
    keeping("told")
    for number in range(3):
        assert int(ended(["told", WHERE]).stdout_tail) == keeping.started[number]
        template = keeping.started[number]
        os.kill(template, signal.SIGKILL)
        wait_until(lambda pid=template: not is_alive(pid), "it is dead")  # type: ignore[misc]
    assert len(set(keeping.started)) == 3


def test_a_command_outlives_the_template_it_is_a_copy_of(keeping: Keeping, ended: Run) -> None:
    keeping("told")
    code = (
        "import os, told\n"
        "os.kill(told.IMPORTED_IN, 9)\n"
        "while os.path.exists(f'/proc/{told.IMPORTED_IN}'): pass\n"
        "print('on')"
    )
    end = ended(["told", code])
    assert (end.exit_status, end.stdout_tail, end.left_over) == (0, "on\n", 0)
    assert int(ended(["told", WHERE]).stdout_tail) == keeping.started[1]


def test_the_template_is_not_what_a_command_has_left_over(keeping: Keeping, ended: Run) -> None:
    keeping("told")
    for command in (["told", WHERE], ["true"]):
        assert ended(command).left_over == 0
    assert is_alive(keeping.started[0])


# -- when there is none


def unloadable(installed: Path, text: str) -> None:
    (installed / "told.py").write_text(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("import there_is_none", "cannot preload told: ModuleNotFoundError: No module named 'the"),
        ("x = (", "cannot preload told: SyntaxError"),
        ("raise SystemExit(0)", "cannot preload told: SystemExit: 0"),
        (
            "import threading as t\nt.Thread(target=t.Event().wait, daemon=True).start()",
            "cannot preload told: importing that starts threads",
        ),
    ],
)
def test_what_cannot_be_preloaded_is_told_and_its_commands_run_as_any_other(
    text: str,
    sentence: str,
    keeping: Keeping,
    ended: Run,
    installed: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    unloadable(installed, text)
    script = (installed / "bin" / "told").read_text().replace("from told", "import os #")
    (installed / "bin" / "told").write_text(script.replace("sys.exit(main())", "print(1)"))
    keeping("told")
    for _ in range(2):
        end = ended(["told"])
        assert (end.exit_status, end.stdout_tail) == (0, "1\n")
    said = capfd.readouterr().err
    assert sentence in said
    assert said.count("such commands run as any other") == len(keeping.started) == 1


def test_a_command_that_starts_otherwise_is_no_copy(keeping: Keeping, ended: Run) -> None:
    keeping("told")
    alone = ended(["told", WHERE], environment={"PYTHONHASHSEED": "0"})
    assert int(alone.stdout_tail) not in keeping.started


@contextmanager
def as_another_group() -> Iterator[None]:
    """A context of commands that changes what its process may do."""
    before = os.getegid()
    os.setegid(65534)
    try:
        yield
    finally:
        os.setegid(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another group's")
def test_a_command_that_runs_in_a_context_is_no_copy_and_starts_no_template(
    keeping: Keeping, ended: Run
) -> None:
    """The template would be made in that context, and copies not."""
    keeping("told")
    group = ["told", "import os; print(os.getegid())"]
    assert ended(group, contexts=[f"{__name__}:as_another_group"]).stdout_tail == "65534\n"
    assert not keeping.started
    assert ended(group).stdout_tail == f"{os.getegid()}\n"
    assert len(keeping.started) == 1


def test_a_module_that_would_be_another_in_its_folder_is_no_copy(
    keeping: Keeping, ended: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keeping("told")
    folder = tmp_path / "folder"
    (folder / "json").mkdir(parents=True)
    (folder / "json" / "__init__.py").write_text("")
    command = [sys.executable, "-m", "told", "import json; print(json.__file__)"]
    where = str(folder / "json" / "__init__.py")
    assert ended(command, folder=str(folder)).stdout_tail == f"{where}\n"
    assert caplog.text.count(f"{where} is another json than what is preloaded") == 1
    assert str(folder) not in ended(command, folder="/").stdout_tail
    assert caplog.text.count("no copy") == 1


def test_without_descriptors_there_is_no_copy(
    keeping: Keeping, ended: Run, installed: Path, tmp_path: Path
) -> None:
    template = keeping("told")
    ended(["told", WHERE])
    program = recognised(["told", "1"], dict(os.environ), str(installed), ["told"])
    assert program is not None
    with (tmp_path / "out").open("wb") as file:
        out = file.fileno()
        with no_descriptors():
            assert template.copy(program, str(installed), out, out) is None
    assert int(ended(["told", WHERE]).stdout_tail) == keeping.started[0]


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Have all that this process may have."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    taken: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_package_that_names_no_scripts_that_can_be_costs_nothing(
    keeping: Keeping, ended: Run, installed: Path
) -> None:
    (installed / "odd-1.dist-info").mkdir()
    (installed / "odd-1.dist-info" / "METADATA").write_text("Name: odd\nVersion: 1\n")
    (installed / "odd-1.dist-info" / "entry_points.txt").write_text(
        "[console_scripts]\nodd = my-pkg.cli:main\n"
    )
    keeping("told")
    _scripts.cache_clear()
    try:
        assert int(ended(["told", WHERE]).stdout_tail) == keeping.started[0]
    finally:
        _scripts.cache_clear()


COUNT = "import sys; open(sys.argv[1], 'a').write('x')"


def test_one_that_does_not_answer_is_ended_and_the_command_runs_once(
    keeping: Keeping, ended: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(templates, "ANSWER_TIME", 0.2)
    keeping("told")
    ended(["told", WHERE])
    os.kill(keeping.started[0], signal.SIGSTOP)
    assert ended(["told", COUNT, str(tmp_path / "count")]).exit_status == 0
    assert (tmp_path / "count").read_text() == "x"
    assert not is_alive(keeping.started[0])
    assert int(ended(["told", WHERE]).stdout_tail) == keeping.started[1]


def test_who_still_imports_after_its_time_is_not_waited_for(
    keeping: Keeping,
    ended: Run,
    installed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(templates, "WARM_TIME", 0.2)
    os.mkfifo(tmp_path / "gate")
    (installed / "slow.py").write_text(f"open({str(tmp_path / 'gate')!r}).read()\n")
    keeping("told", "slow")
    for _ in range(2):
        assert int(ended(["told", WHERE]).stdout_tail) not in keeping.started
    (tmp_path / "gate").write_text("")
    template = keeping.started[0]
    wait_until(
        lambda: int(ended(["told", WHERE]).stdout_tail) == template, "a command is a copy of it"
    )
    assert keeping.started == [template]


def test_a_folder_that_it_may_not_enter_is_told_as_it_always_is(
    keeping: Keeping, ended: Run, installed: Path
) -> None:
    keeping("told")
    ended(["told", WHERE])
    gone = installed / "gone"
    gone.mkdir()
    template = keeping.started[0]
    (installed / "file").write_text("")
    with pytest.raises(FileNotFoundError, match="not run: its folder"):
        ended(["told", WHERE], folder=str(installed / "file"))
    assert is_alive(template)


# -- in a pool


@pytest.fixture
def running(installed: Path) -> Iterator[tuple[ProcessesPool, Inbox]]:
    """A pool of one host that has preloaded what is installed."""
    pool, inbox = ProcessesPool([MODULE], 1, preload=["told"]), Inbox()
    pool.start(inbox)
    yield pool, inbox
    pool.stop()


_keys = iter(range(1, 10**6))


def begun(running: tuple[ProcessesPool, Inbox], command: Any, **fields: Any) -> int:
    """Have it run; its key."""
    key = next(_keys)
    files = fields.pop("files", {})
    running[0].run(work(key, RUN, arguments=Command(command, **files).to_json(), **fields))
    return key


def result(running: tuple[ProcessesPool, Inbox], command: Any, **fields: Any) -> Ended:
    """Run it in a host, to its end."""
    return running[1].ended(begun(running, command, **fields))


def are_written(file: Path) -> bool:
    return file.exists() and len(file.read_text().split()) == 3


def pids(file: Path) -> list[int]:
    return [int(word) for word in file.read_text().split()]


TREE = """
import os, sys, told, time
if not os.fork():
    os.setsid()
    if not os.fork():
        open(sys.argv[1], "w").write(f"{os.getpid()} {os.getppid()} {told.IMPORTED_IN}")
time.sleep(600)
"""


def tree(file: Path) -> list[str]:
    """A command that writes who is to be gone with it."""
    code = TREE.replace("sys.argv[1]", repr(str(file)))
    return ["told", code]


@pytest.mark.parametrize("why", ["limit", "stopped", "crash"])
def test_at_its_end_by_force_nothing_of_it_is_left_and_the_next_runs(
    why: str, running: tuple[ProcessesPool, Inbox], tmp_path: Path
) -> None:
    file = tmp_path / "pids"
    fields = {"time_limit": 1.5} if why == "limit" else {}
    key = begun(running, tree(file), **fields)
    pool, inbox = running
    inbox.wait(lambda reports: any(isinstance(r, TaskEvent) and r.key == key for r in reports))
    wait_until(lambda: are_written(file), "the command has written who it is")
    if why == "stopped":
        pool.end(key)
    elif why == "crash":
        host = int(Path(f"/proc/{pids(file)[2]}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(host, signal.SIGKILL)
    assert inbox.ended(key).end == why
    assert not any(is_alive(pid) for pid in pids(file))
    out = {"stdout": str(tmp_path / "out")}
    assert result(running, ["told", WHERE], files=out).result["exit_status"] == 0
    assert pids(tmp_path / "out") != pids(file)[2:]


def test_at_its_memory_limit_it_is_ended(running: tuple[ProcessesPool, Inbox]) -> None:
    code = f"import time; hog = bytearray(b'x') * {200 * 2**20}; time.sleep({FOR_EVER})"
    end = result(running, ["told", code], memory_limit=100 * 2**20)
    assert end.end == "limit"
    assert end.failure is not None
    assert end.failure["exc_type_names"][0] == "protocol.errors.MemoryLimitExceeded"


def test_the_memory_of_the_template_is_not_the_commands(installed: Path) -> None:
    (installed / "told.py").write_text(f"hog = bytearray(b'x') * {60 * 2**20}\ndef main(): pass\n")
    pool, inbox = ProcessesPool([MODULE], 1, preload=["told"]), Inbox()
    pool.start(inbox)
    try:
        assert result((pool, inbox), ["told"]).result["exit_status"] == 0
        end = result((pool, inbox), ["/bin/sleep", "0.7"], memory_limit=20 * 2**20)
        assert end.failure is None
    finally:
        pool.stop()


def test_nothing_is_left_of_a_pool_that_has_stopped(installed: Path, tmp_path: Path) -> None:
    pool, inbox = ProcessesPool([MODULE], 2, preload=["told"]), Inbox()
    pool.start(inbox)
    files = [tmp_path / "one", tmp_path / "two"]
    for file in files:
        begun((pool, inbox), tree(file))
    wait_until(lambda: all(map(are_written, files)), "both have written who they are")
    assert {type(report) for report in inbox.reports} <= {Started, TaskEvent}
    pool.stop()
    assert not any(is_alive(pid) for file in files for pid in pids(file))


def test_one_host_more_than_are_at_work_has_preloaded(installed: Path, tmp_path: Path) -> None:
    """The first when the worker has started, so that what cannot be imported is told then."""
    imports = tmp_path / "imports"
    (installed / "told.py").write_text(
        (installed / "told.py").read_text()
        + f"with open({str(imports)!r}, 'a') as file:\n    print(IMPORTED_IN, file=file)\n"
    )

    def are_imported(times: int) -> bool:
        return imports.exists() and len(pids(imports)) == times

    pool, inbox = ProcessesPool([MODULE], 2, preload=["told"]), Inbox()
    pool.start(inbox)
    try:
        wait_until(lambda: are_imported(1), "one has imported it before there is a command")
        files = {"stdout": str(tmp_path / "out"), "stderr": str(tmp_path / "err")}
        found = result((pool, inbox), ["told", WHERE], files=files).result
        assert found["exit_status"] == 0
        assert int(found["stdout_tail"]) == pids(imports)[0], "it ran where that was imported"
        key = begun((pool, inbox), tree(tmp_path / "pids"))
        wait_until(lambda: are_imported(2), "another has, before there is a second command")
        pool.end(key)
        assert inbox.ended(key).end == "stopped"
    finally:
        pool.stop()
