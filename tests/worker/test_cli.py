"""``python -m worker``, from the words typed and the environment to the exit code."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bus.wire.transports.local.place import DATABASE
from executor import Executor
from protocol import __version__
from tests.processes import WorkerProcess, wait_until
from worker import cli

DEADLINE = 20.0  # seconds


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where it is started: modules of tasks lie there."""
    (tmp_path / "errand.py").write_text("def add(x, y):\n    return x + y\n")
    (tmp_path / "more.py").write_text("def double(x):\n    return 2 * x\n")
    (tmp_path / "broken.py").write_text("def of_mine():\n    1 / 0\n\nof_mine()\n")
    return tmp_path


@pytest.fixture
def url(local_path: Path) -> str:
    """The embedded broker, in a folder of this test's own."""
    return f"local://{local_path}"


# -- words and environment


def parse(argv: list[str], environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The options as they are understood."""
    return vars(cli._parser().parse(argv, environ or {}))


#: The option, its default, a value by environment, what that is read as, flags, and what they are.
OPTIONS = [
    ("url", None, "redis://a", "redis://a", ["--url", "amqp://b"], "amqp://b"),
    ("exchange", "taskline", "mine", "mine", ["--exchange=its"], "its"),
    ("topic", None, "cpu,gpu", ["cpu", "gpu"], ["--topic", "a", "--topic=b"], ["a", "b"]),
    ("pool", "processes", "threads", "threads", ["--pool", "processes"], "processes"),
    ("concurrency", None, "3", 3, ["--concurrency", "5"], 5),
    ("name", None, "hare", "hare", ["--name=tortoise"], "tortoise"),
    ("dialect", "native", "taskflow", "taskflow", ["--dialect=native"], "native"),
    (
        "transport_option",
        None,
        "a=1,b=x",
        [("a", 1), ("b", "x")],
        ["--transport-option", "c=true", "--transport-option=d=0.5"],
        [("c", True), ("d", 0.5)],
    ),
    ("beat", 5.0, "1", 1.0, ["--beat", "0.5"], 0.5),
    ("drain_timeout", 30.0, "7.5", 7.5, ["--drain-timeout", "inf"], float("inf")),
    (
        "preload",
        None,
        "a.b,c",
        ["a.b", "c"],
        ["--preload", "d", "--preload=e"],
        ["d", "e"],
    ),
    ("cores", None, "2.5", 2.5, ["--cores", "4"], 4.0),
    ("memory", None, "4 GiB", "4 GiB", ["--memory=500 MB"], "500 MB"),
    ("disk", None, "4 GiB", "4 GiB", ["--disk=500 MB"], "500 MB"),
    ("accelerators", None, "gpu=2,tpu=1", "gpu=2,tpu=1", ["--accelerators", "gpu"], "gpu"),
    ("preemptible", False, "yes", True, ["--no-preemptible"], False),
    ("node", None, "n1", "n1", ["--node=n2"], "n2"),
    ("log_level", "info", "error", "error", ["--log-level=debug"], "debug"),
]


@pytest.mark.parametrize(("name", "default", "said", "means", "flags", "flagged"), OPTIONS, ids=str)
def test_a_flag_wins_over_the_environment_and_that_over_the_default(
    name: str, default: Any, said: str, means: Any, flags: list[str], flagged: Any
) -> None:
    environ = {f"TASKLINE_{name.upper()}": said}
    assert parse(["m"])[name] == default
    assert parse(["m"], {f"TASKLINE_{name.upper()}": ""})[name] == default
    assert parse(["m"], environ)[name] == means
    assert parse(["m", *flags], environ)[name] == flagged
    assert parse([*flags, "m", "n"], environ)["tasks"] == ["m", "n"]


def test_every_option_is_among_those_and_its_help_names_its_variable() -> None:
    said = cli._parser().format_help()
    known = set(parse(["m"])) - {"tasks", "tasks_from_stdin", "no_banner", "share"}
    # Every command has these: tests/bus/wire/test_commandline.py.
    assert known == {option[0] for option in OPTIONS} | {"signing_keys", "require_signature"}
    for name in known:
        assert f"TASKLINE_{name.upper()}" in said.replace("\n", " ")


def test_what_each_option_does_shows_in_the_banner_and_the_broker(
    folder: Path, local_path: Path, exchange: str
) -> None:
    """By environment; the name by flag over it."""
    environment = {
        "TASKLINE_URL": "local:///nowhere/at/all",
        "TASKLINE_TRANSPORT_OPTION": f"path={local_path}",
        "TASKLINE_EXCHANGE": exchange,
        "TASKLINE_TOPIC": "cpu,gpu",
        "TASKLINE_POOL": "threads",
        "TASKLINE_CONCURRENCY": "3",
        "TASKLINE_NAME": "hare",
        "TASKLINE_DIALECT": "taskflow",
        "TASKLINE_LOG_LEVEL": "debug",
    }
    words = ["errand", "more:double", "--name=tortoise"]
    with WorkerProcess(*words, folder=folder, environment=environment) as worker:
        worker.up()
        worker.send_signal(signal.SIGTERM)
        assert worker.exit_code() == 0
    lines = worker.said.splitlines()
    assert f"taskline {__version__}, worker tortoise, process {worker.pid}" in lines
    assert f"exchange {exchange}, taskflow dialect" in lines
    assert "topics   cpu, gpu" in lines
    assert "pool     3 threads" in lines
    assert "tasks    errand.add, more.double" in lines
    assert (local_path / DATABASE).exists()
    assert " DEBUG taskline." in worker.said


def test_a_password_is_in_no_line_it_writes(folder: Path, redis_url: str, exchange: str) -> None:
    """Redis takes any password of a user it has none for; or refuses, and says so without it."""
    url = redis_url.replace("redis://", "redis://default:s3cret@")
    words = ["errand", "--pool=threads", "--log-level=debug", "--exchange", exchange]
    with WorkerProcess(*words, folder=folder, environment={"TASKLINE_URL": url}) as worker:
        wait_until(
            lambda: "redis://default:**@" in worker.said or worker.process.poll() is not None,
            "the banner or a complaint",
        )
        worker.send_signal(signal.SIGTERM)
        worker.exit_code()
        assert "default:**@" in worker.said
        assert "s3cret" not in worker.said


#: Its first run waits for ever, the second one returns.
_ONCE = """
import pathlib, time

def once(path):
    path = pathlib.Path(path)
    if path.exists():
        return "again"
    path.touch()
    while True:
        time.sleep(1.0)
"""


def test_a_killed_worker_is_missed_at_once_if_its_namesake_comes(
    folder: Path, url: str, exchange: str
) -> None:
    """Its lease would be out after three minutes."""
    (folder / "patient.py").write_text(_ONCE)
    words = ["patient", "--url", url, "--exchange", exchange, "--concurrency=1", "--name=hare"]
    words += ["--beat=60"]
    environment = {"XDG_RUNTIME_DIR": str(folder)}
    with (
        WorkerProcess(*words, folder=folder, environment=environment) as first,
        Executor(url, exchange=exchange) as executor,
    ):
        first.up()
        future = executor.submit("patient.once", str(folder / "began"))
        wait_until((folder / "began").exists, "the task to begin")
        first.process.kill()
        first.process.wait(DEADLINE)
        with WorkerProcess(*words, folder=folder, environment=environment) as second:
            second.up()
            assert future.result(DEADLINE) == "again"


def test_a_banner_can_be_left_out(folder: Path, url: str, exchange: str) -> None:
    words = ["errand", "--no-banner", "--url", url, "--exchange", exchange, "--concurrency=1"]
    with (
        WorkerProcess(*words, folder=folder) as worker,
        Executor(url, exchange=exchange) as executor,
    ):
        assert executor.submit("errand.add", 20, 22).result(DEADLINE) == 42
        worker.send_signal(signal.SIGINT)
        assert worker.exit_code() == 0
        assert worker.said.startswith("taskline-worker: what runs may finish")
        assert "broker" not in worker.said


# -- exit codes


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "name what to offer"),
        (["m", "--pool=fibres"], "invalid choice: 'fibres'"),
        (["m", "--concurrency=many"], "invalid int value: 'many'"),
        (["m", "--concurrency=0"], "concurrency=0: how many at once, 1 or more"),
        (["m", "--drain-timeout=nan"], "drain_timeout=nan: seconds, 0 or more"),
        (["m", "--beat=0"], "beat=0.0: seconds, 0.1 to 60"),
        (["m", "--dialect=latin"], "invalid choice: 'latin'"),
        (["m", "--log-level=loud"], "invalid choice: 'loud'"),
        (["m", "--topic=a b"], "topic 'a b' cannot be used as a name"),
        (["m", "--name=!"], "worker name '!' cannot be used as a name"),
        (["m", "--url=http://x"], "no broker is known for"),
        (["m", "--transport-option=a"], "'a' is not KEY=VALUE"),
        (["m", "--colour=red"], "unrecognized arguments: --colour=red"),
    ],
)
def test_a_wrong_command_line_is_2_and_says_what_is_wrong(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path.cwd()))  # it puts the current folder there
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == cli.EXIT_USAGE == 2
    said = capsys.readouterr().err
    assert said.startswith("usage: taskline-worker ")
    assert says in said


def test_a_wrong_environment_is_2_as_well(folder: Path) -> None:
    with WorkerProcess("m", folder=folder, environment={"TASKLINE_CONCURRENCY": "few"}) as worker:
        assert worker.exit_code() == 2
        assert "argument --concurrency: invalid int value: 'few'" in worker.said


@pytest.mark.parametrize("pool", ["processes", "threads"])
def test_tasks_that_cannot_be_imported_are_3_with_their_own_traceback(
    folder: Path, url: str, pool: str
) -> None:
    with WorkerProcess("broken", "--pool", pool, "--url", url, folder=folder) as worker:
        assert worker.exit_code() == cli.EXIT_TASKS == 3
        said = worker.said
        assert "taskline-worker: cannot offer 'broken'" in said
        assert f'File "{folder / "broken.py"}", line 2, in of_mine' in said
        assert "ZeroDivisionError" in said
        assert "worker/cli.py" not in said
        assert "worker/registry.py" not in said


def test_what_is_not_there_or_offers_nothing_is_3(folder: Path, url: str) -> None:
    (folder / "empty.py").write_text("x = 1\n")
    for spec, says in (("no_such", "No module named 'no_such'"), ("empty", "no public function")):
        with WorkerProcess(spec, "--pool=threads", "--url", url, folder=folder) as worker:
            assert worker.exit_code() == 3
            assert says in worker.said


#: A worker that tries for less than the ten seconds in which a broker may be starting, too.
_IMPATIENT = """
import sys
from bus.wire import listener
from worker.cli import main

listener.START_TIMEOUT = 0.5
sys.exit(main())
"""


def test_no_broker_is_4_and_names_it(folder: Path) -> None:
    words = ["errand", "--pool=threads", "--url=redis://me:s3cret@127.0.0.1:1/0"]
    with WorkerProcess(*words, folder=folder, command=("-c", _IMPATIENT)) as worker:
        assert worker.exit_code() == cli.EXIT_BROKER == 4
        last = worker.said.splitlines()[-1]
        assert last.startswith("taskline-worker: not connected after 0.5 s: connecting to redis://")
        assert "127.0.0.1" in last
        assert "is it running, and is the URL right?" in last
        assert "s3cret" not in worker.said


#: A worker into whose keeper something is put that no listener ever makes.
_WITH_A_BUG = """
import gc, sys, threading, time
from worker.cli import main
from worker.keeper import Heard, Keeper

def spoil():
    while True:
        for found in gc.get_objects():
            if isinstance(found, Keeper) and found._thread.is_alive():
                found.put(Heard([None]))
                return
        time.sleep(0.05)

threading.Thread(target=spoil, daemon=True).start()
sys.exit(main())
"""


def test_a_bug_is_1_and_told_in_the_log(folder: Path, url: str) -> None:
    words = ["errand", "--concurrency=1", "--url", url]
    with WorkerProcess(*words, folder=folder, command=("-c", _WITH_A_BUG)) as worker:
        assert worker.exit_code() == cli.EXIT_BUG == 1
        assert "CRITICAL taskline.worker.keeper the keeper ended by a bug" in worker.said
        assert "Traceback" in worker.said
        assert "taskline-worker: 'NoneType' object has no attribute" in worker.said


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"taskline {__version__}\n"


# -- tasks from the standard input


def test_what_is_written_to_its_input_is_offered_and_the_end_of_that_is_its_own(
    folder: Path, url: str, exchange: str
) -> None:
    words = ["--tasks-from-stdin", "--url", url, "--exchange", exchange, "--concurrency=2"]
    with (
        WorkerProcess(*words, folder=folder) as worker,
        Executor(url, exchange=exchange) as executor,
    ):
        worker.up()
        assert "tasks    none yet" in worker.said
        futures = [executor.submit("errand.add", 1, 2), executor.submit("more.double", 4)]
        worker.write("errand\n\n   \nno_such_module\nÿ:no name\n")
        worker.write("more:double\n")
        assert [future.result(DEADLINE) for future in futures] == [3, 8]
        worker.wait_for("No module named 'no_such_module'")
        worker.close_input()
        assert worker.exit_code() == 0


def test_nonsense_on_its_input_does_not_make_it_live_for_ever(folder: Path, url: str) -> None:
    """Not even what is no text: whoever started it would leave it behind."""
    words = ["errand", "--tasks-from-stdin", "--url", url, "--pool=threads"]
    with WorkerProcess(*words, folder=folder, environment={"LC_ALL": "C.UTF-8"}) as worker:
        worker.up()
        assert worker.process.stdin is not None
        worker.process.stdin.write(b"\xff\xfe\x00\n")
        worker.close_input()
        assert worker.exit_code() == 0


def test_it_ends_without_an_input_to_read(folder: Path, url: str) -> None:
    program = (
        "import os, sys; os.close(0); "
        "os.execv(sys.executable, [sys.executable, '-m', 'worker', *sys.argv[1:]])"
    )
    words = ["errand", "--tasks-from-stdin", "--url", url, "--pool=threads"]
    with WorkerProcess(*words, folder=folder, command=("-c", program)) as worker:
        assert worker.exit_code() == 0


# -- where it is started


@pytest.mark.parametrize("pool", ["processes", "threads"])
def test_modules_in_the_current_folder_are_not_taken_for_ours(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, url: str, exchange: str, pool: str
) -> None:
    """Started as ``taskline-worker``: the script is elsewhere, and tasks are found here."""
    for name in ("worker", "protocol", "bus", "executor"):
        (folder / f"{name}.py").write_text("raise SystemExit('not ours')\n")
    script = tmp_path_factory.mktemp("bin") / "taskline-worker"
    script.write_text("import sys\nfrom worker.cli import main\nsys.exit(main())\n")
    words = ["errand", "--url", url, "--exchange", exchange, "--pool", pool, "--concurrency=2"]
    with (
        WorkerProcess(*words, folder=folder, command=(str(script),)) as worker,
        Executor(url, exchange=exchange) as executor,
    ):
        worker.up()
        assert executor.submit("errand.add", 20, 22).result(DEADLINE) == 42
        worker.send_signal(signal.SIGTERM)
        assert worker.exit_code() == 0
        assert "not ours" not in worker.said


def test_a_current_folder_that_is_gone_is_no_matter(folder: Path, url: str) -> None:
    gone = folder / "gone"
    gone.mkdir()
    program = (
        "import os, shutil, sys; shutil.rmtree(os.getcwd()); "
        "from worker.cli import main; sys.exit(main())"
    )
    words = ["math:factorial", "--url", url, "--pool=threads"]
    with WorkerProcess(*words, folder=gone, command=("-c", program)) as worker:
        worker.up()
        os.kill(worker.pid, signal.SIGTERM)
        assert worker.exit_code() == 0
