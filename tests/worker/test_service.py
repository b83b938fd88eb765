"""``Worker`` as a class: how it begins, answers and ends, in one process."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bus.wire import Dispatcher, Listener, listener, parse_url
from executor import Executor
from protocol import __version__
from protocol.commands import MODULE
from protocol.envelope import STOPS, Header
from protocol.errors import BrokerUnavailable, ConfigurationError, TasklineError, TasksUnloadable
from protocol.parcel import Received, Refused
from protocol.topology import Names
from tests.processes import wait_until
from tests.samples import tasks
from worker import Worker
from worker.service import DRAIN_TIMEOUT

TASKS = "tests.samples.tasks"
DEADLINE = 20.0  # seconds


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that hosts import from, with a module of tasks of its own."""
    (tmp_path / "errand.py").write_text(
        "import pathlib, time\n"
        "def wait_for(path):\n"
        "    pathlib.Path(path + '.started').touch()\n"
        "    while not pathlib.Path(path).exists():\n"
        "        time.sleep(0.005)\n"
        "    return 'found'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture
def settings(exchange: str) -> dict[str, Any]:
    """For a worker that is up within milliseconds."""
    return {"url": "memory://", "exchange": exchange, "pool": "threads", "concurrency": 2}


@pytest.fixture
def executor(exchange: str) -> Iterator[Executor]:
    """On the same exchange."""
    with Executor("memory://", exchange=exchange) as executor:
        yield executor


# -- what cannot be


@pytest.mark.parametrize(
    ("names", "settings", "says"),
    [
        ([], {}, "needs something to offer: name a module"),
        (TASKS, {}, "lists of names, not one text"),
        ([TASKS], {"topics": "cpu"}, "lists of names, not one text"),
        ([TASKS], {"topics": []}, "needs a topic"),
        ([TASKS], {"topics": ["a b"]}, "topic 'a b' cannot be used as a name"),
        ([TASKS], {"name": "über"}, "worker name 'über' cannot be used as a name"),
        ([TASKS], {"exchange": "x" * 65}, "cannot be used as a name"),
        ([TASKS], {"exchange": "mine.native"}, "leave that out"),
        ([TASKS], {"concurrency": 0}, "concurrency=0: how many at once, 1 or more"),
        ([TASKS], {"concurrency": 1.5}, "concurrency=1.5: how many at once, 1 or more"),
        ([TASKS], {"drain_timeout": -1}, "drain_timeout=-1: seconds, 0 or more"),
        ([TASKS], {"drain_timeout": math.nan}, "drain_timeout=nan: seconds, 0 or more"),
        ([TASKS], {"beat": 0}, "beat=0: seconds, 0.1 to 60"),
        ([TASKS], {"beat": math.nan}, "beat=nan: seconds, 0.1 to 60"),
        ([TASKS], {"beat": 3600}, "beat=3600: seconds, 0.1 to 60"),
        ([TASKS], {"pool": "fibres"}, "pool 'fibres' is not known; choose one of processes"),
        ([TASKS], {"preload": ["json"]}, "no task here runs any; offer worker.command as well"),
        ([MODULE], {"preload": "json"}, "preload='json': a list of modules by their full names"),
        ([MODULE], {"preload": ["no module"]}, "a list of modules by their full names"),
        ([MODULE], {"preload": ["json"], "pool": "threads"}, "only a process can import for anoth"),
        ([TASKS], {"dialect": "latin"}, "dialect 'latin' is not spoken here"),
        ([TASKS], {"url": "http://x"}, "no broker is known for a URL"),
        ([TASKS], {"url": "redis://me:secret@x", "name": "!"}, "cannot be used as a name"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_started(
    names: Any, settings: dict[str, Any], says: str
) -> None:
    before = threading.active_count()
    with pytest.raises(ConfigurationError) as refusal:
        Worker(names, **{"url": "memory://", **settings})
    assert says in str(refusal.value)
    assert "secret" not in str(refusal.value)
    assert threading.active_count() <= before


def test_what_is_not_said_has_a_default() -> None:
    worker = Worker([TASKS], url="memory://")
    assert worker.topics == ("default",)
    assert worker.drain_timeout == DRAIN_TIMEOUT
    assert worker.slots >= 1
    assert worker.name.endswith(f"-{os.getpid()}")
    assert "taskline, native dialect" in worker.banner()
    assert f"{worker.slots} processes" in worker.banner()


def test_what_is_preloaded_is_in_the_banner_once() -> None:
    worker = Worker([f"{MODULE}:run"], url="memory://", preload=["a.b", "c", "a.b"])
    assert "preload  a.b, c" in worker.banner().splitlines()
    assert "preload" not in Worker([MODULE], url="memory://").banner()


def test_a_topic_named_twice_is_one_topic(settings: dict[str, Any]) -> None:
    assert Worker([TASKS], topics=["a", "b", "a"], **settings).topics == ("a", "b")


# -- the banner


def test_the_banner_says_who_it_is_and_what_it_does(settings: dict[str, Any]) -> None:
    worker = Worker([f"{TASKS}:add"], **(settings | {"name": "hare", "topics": ["cpu", "gpu"]}))
    with worker:
        said = worker.banner()
    assert said.splitlines()[0].startswith(f"taskline {__version__}, worker hare, process ")
    for line in (
        "broker   memory://",
        "         kept in this process only: it ends with it",
        f"exchange {settings['exchange']}, native dialect",
        "topics   cpu, gpu",
        "pool     2 threads",
        f"tasks    {TASKS}.add",
    ):
        assert line in said.splitlines()
    assert "a task cannot be ended alone" in said


@pytest.mark.parametrize(
    ("url", "shown", "guarantee"),
    [
        ("redis://me:s3cret@redis.example:6379/0", "redis://me:**@redis.example", "as Redis keeps"),
        ("amqp://me:s3cret@rabbit.example//", "amqp://me:**@rabbit.example", "publisher confirms"),
        ("local:///tmp/b", "local:///tmp/b", "survives the death of any process"),
    ],
)
def test_the_banner_masks_the_password_and_says_what_the_broker_guarantees(
    url: str, shown: str, guarantee: str
) -> None:
    worker = Worker([TASKS], url=url)
    for said in (worker.banner(), repr(worker)):
        assert shown in said
        assert "s3cret" not in said
    assert guarantee in worker.banner()
    assert "tasks    none yet" in worker.banner()


# -- its life


def test_it_may_be_started_and_stopped_twice(settings: dict[str, Any]) -> None:
    before = threading.active_count()
    worker = Worker([f"{TASKS}:add"], **settings)
    worker.start()
    worker.start()
    assert [offer.name for offer in worker.tasks] == [f"{TASKS}.add"]
    assert "running" in repr(worker)
    worker.stop()
    worker.stop()
    assert "ended" in repr(worker)
    assert worker.error is None
    wait_until(lambda: threading.active_count() <= before, "its threads to end")


def test_it_cannot_be_started_after_its_end(settings: dict[str, Any]) -> None:
    for worker in (Worker([TASKS], **settings), Worker([TASKS], **settings)):
        with worker:
            pass
        with pytest.raises(TasklineError, match=f"worker {worker.name} has ended; make a new one"):
            worker.start()
    unused = Worker([TASKS], **settings)
    unused.stop()
    with pytest.raises(TasklineError, match="has ended"):
        unused.start()


def test_with_stops_it_when_the_block_fails(settings: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError, match="in the block"), Worker([TASKS], **settings) as worker:
        raise RuntimeError("in the block")
    assert "ended" in repr(worker)


def test_what_cannot_be_imported_is_told_and_nothing_goes_on(settings: dict[str, Any]) -> None:
    before = threading.active_count()
    worker = Worker(["no_such_module_anywhere"], **settings)
    with pytest.raises(TasksUnloadable, match="No module named 'no_such_module_anywhere'"):
        worker.start()
    assert "ended" in repr(worker)
    wait_until(lambda: threading.active_count() <= before, "its threads to end")


def test_a_broker_that_is_not_there_is_named_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "START_TIMEOUT", 0.5)
    with pytest.raises(BrokerUnavailable, match=r"amqp://me:\*\*@127.0.0.1:1//.*is it running"):
        Worker([TASKS], url="amqp://me:s3cret@127.0.0.1:1//", pool="threads").start()


def test_it_is_drained_by_its_end_and_gives_time_to_what_runs(
    folder: Path, settings: dict[str, Any], executor: Executor
) -> None:
    go = folder / "go"
    with Worker(["errand"], **(settings | {"drain_timeout": math.inf})) as worker:
        future = executor.submit("errand.wait_for", str(go))
        wait_until((folder / "go.started").exists, "the task to begin")
        worker.drain()
        assert not worker.wait(0.2)
        go.touch()
        assert worker.wait(DEADLINE)
        assert future.result(DEADLINE) == "found"
    assert worker.left_running == 0


def test_a_thread_that_runs_beyond_the_drain_is_left_behind_and_counted(
    folder: Path, settings: dict[str, Any]
) -> None:
    go = folder / "go"
    executor = Executor("memory://", exchange=settings["exchange"])
    try:
        with Worker(["errand"], **settings) as worker:
            future = executor.submit("errand.wait_for", str(go))
            wait_until((folder / "go.started").exists, "the task to begin")
            began = time.monotonic()
            worker.stop(0.1)
            assert time.monotonic() - began < DEADLINE
            assert worker.left_running == 1
        with Worker(["errand"], **settings):  # it was told as stopped, so it runs here again
            go.touch()
            assert future.result(DEADLINE) == "found"
    finally:
        executor.shutdown()


# -- it answers


@pytest.mark.parametrize("pool", ["threads", "processes"])
@pytest.mark.parametrize("dialect", ["native", "taskflow"])
def test_questions_are_answered_while_every_slot_is_busy(
    folder: Path, settings: dict[str, Any], exchange: str, pool: str, dialect: Any
) -> None:
    go = folder / "go"
    settings |= {"pool": pool, "concurrency": 1, "dialect": dialect}
    with (
        Worker(["errand"], **settings),
        Executor("memory://", exchange=exchange, dialects=[dialect]) as busy,
    ):
        futures = [busy.submit("errand.wait_for", path=str(go)) for _ in range(3)]
        wait_until((folder / "go.started").exists, "the task to begin")
        with Executor("memory://", exchange=exchange, dialects=[dialect]) as curious:
            (known,) = curious.wait_for_workers(1, DEADLINE)
            assert known.topics == {"default": ("errand.wait_for",)}
            assert not any(future.done() for future in futures)
        go.touch()
        assert [future.result(DEADLINE) for future in futures] == ["found"] * 3


def test_more_can_be_offered_while_it_runs(settings: dict[str, Any], executor: Executor) -> None:
    with Worker([], expects_tasks=True, **settings) as worker:
        assert "none yet" in worker.banner()
        future = executor.submit(tasks.add, 20, 22)
        worker.offer("no_such_module_anywhere")
        worker.offer(f"{TASKS}:add")
        assert future.result(DEADLINE) == 42


# -- what it says of itself


class Ear:
    """Hears what workers say to everybody."""

    def __init__(self, exchange: str) -> None:
        self._heard: list[Received | Refused] = []
        queue = Names("native", exchange).hello_queue("ear")
        self._listener = Listener(
            parse_url("memory://"),
            [queue],
            Dispatcher(at_worker=False),
            self._heard.extend,
            on_consuming=lambda: None,
            name="ear",
            delete_at_end=[queue],
        )

    def __enter__(self) -> Ear:
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.stop()

    def header(self, worker: Worker) -> Header:
        """The header of the first NOTIFY of this worker."""
        found: list[Header] = []

        def has_spoken() -> bool:
            heads = [one.envelope.header for one in self._heard if isinstance(one, Received)]
            found[:] = [head for head in heads if head and head.boot == worker.boot]
            return bool(found)

        wait_until(has_spoken, "a word of the worker")
        return found[0]


@pytest.fixture
def ear(exchange: str) -> Iterator[Ear]:
    """On the same exchange."""
    with Ear(exchange) as ear:
        yield ear


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which names are locked."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "taskline" / "workers"


@pytest.mark.parametrize(("pool", "can_stop"), [("threads", False), ("processes", True)])
def test_it_says_whether_it_can_end_a_task_and_how_often_it_beats(
    settings: dict[str, Any], ear: Ear, pool: str, can_stop: bool
) -> None:
    with Worker([TASKS], **(settings | {"pool": pool, "beat": 1.5})) as worker:
        head = ear.header(worker)
    assert head.caps is not None
    assert (STOPS in head.caps) is can_stop
    assert (head.beat, head.replaces) == (1500, None)


def test_it_beats_as_often_as_it_was_told(settings: dict[str, Any], exchange: str) -> None:
    with Worker([TASKS], beat=0.2, **settings), Executor("memory://", exchange=exchange) as known:
        known.wait_for_workers(1, DEADLINE)
        heard: set[int] = set()

        def ten_beats() -> bool:
            (worker,) = known.workers()
            heard.add(round((time.monotonic() - worker.silent) / 0.1))
            return len(heard) > 10

        began = time.monotonic()
        wait_until(ten_beats, "some beats")
        assert time.monotonic() - began < DEADLINE  # the tenth answer to a question takes longer


def test_a_successor_of_the_same_name_says_whom_it_replaces(
    settings: dict[str, Any], ear: Ear, locks: Path
) -> None:
    settings["name"] = "hare"
    with Worker([TASKS], **settings) as first, Worker([TASKS], **settings) as beside:
        assert ear.header(first).replaces is None
        assert ear.header(beside).replaces is None  # the first one lives
    with Worker([TASKS], **settings) as second:
        assert ear.header(second).replaces == first.boot
    assert len(list(locks.iterdir())) == 1


def test_a_name_that_nobody_chose_has_no_successor(settings: dict[str, Any], locks: Path) -> None:
    with Worker([TASKS], **settings), Worker([TASKS], **settings, dialect="taskflow", name="hare"):
        assert not locks.exists()


def test_a_worker_that_could_not_begin_holds_no_name(settings: dict[str, Any], ear: Ear) -> None:
    broken = Worker(["no_such_module_anywhere"], name="hare", **settings)
    with pytest.raises(TasksUnloadable):
        broken.start()
    with Worker([TASKS], name="hare", **settings) as worker:
        assert ear.header(worker).replaces is None
