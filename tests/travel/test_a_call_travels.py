"""From ``submit`` to the future, over each broker and both kinds of pool."""

from __future__ import annotations

import concurrent.futures
import re
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from executor import Executor
from protocol.errors import ConfigurationError, RequestTimeout
from tests import brokers
from tests.samples import tasks
from worker import Worker

TASKS = "tests.samples.tasks"
DEADLINE = 30.0  # seconds
MEGABYTE = 1 << 20

#: Each broker, and each pool over more than one of them.
_LINES = {
    ("local", "threads"): (),
    ("local", "processes"): (),
    ("memory", "threads"): (),
    ("memory", "processes"): (),
    ("redis", "processes"): (pytest.mark.redis,),
    ("amqp", "threads"): (pytest.mark.rabbitmq,),
    ("amqp", "processes"): (pytest.mark.rabbitmq,),
}


@dataclass(frozen=True)
class Line:
    """An executor, and what it takes to put more of them or of workers on the same line."""

    url: str
    exchange: str
    executor: Executor
    worker: Worker


@pytest.fixture(
    scope="module",
    params=[pytest.param(pair, id="-".join(pair), marks=marks) for pair, marks in _LINES.items()],
)
def line(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Line]:
    """One worker of two slots and one executor, for all tests that leave them as they are."""
    broker, pool = request.param
    urls = {"redis": brokers.REDIS_URL, "amqp": brokers.AMQP_URL, "memory": "memory://"}
    url = urls.get(broker) or f"local://{tmp_path_factory.mktemp('travel')}/broker"
    if broker in ("redis", "amqp"):
        brokers.demand(url)
    exchange = f"{brokers.PREFIX}travel-{broker}-{pool}"
    worker = Worker([TASKS], url=url, exchange=exchange, pool=pool, concurrency=2, name="hare")
    with worker, Executor(url, exchange=exchange) as executor:
        executor.wait_for_workers(1, DEADLINE)
        yield Line(url, exchange, executor, worker)


def result(future: concurrent.futures.Future[Any]) -> Any:
    """What it comes to, in time."""
    return future.result(DEADLINE)


def error_of(future: concurrent.futures.Future[Any]) -> Any:
    """What it fails with, in time."""
    error = future.exception(DEADLINE)
    assert error is not None
    return error


# -- one worker, one executor


def test_arguments_travel_by_position_by_name_and_any_number_of_them(line: Line) -> None:
    submit = line.executor.submit
    assert result(submit(tasks.add, 1, 2)) == 3
    assert result(submit(tasks.add, 1, y=2)) == 3
    assert result(submit(tasks.add, y=2, x=1)) == 3
    assert result(submit(tasks.add, 7)) == 7
    assert result(submit(tasks.echo)) == [[], {}]
    assert result(submit(tasks.echo, 1, "two", [3.5], a=None, b={"c": True})) == [
        [1, "two", [3.5]],
        {"a": None, "b": {"c": True}},
    ]


def test_a_name_is_as_good_as_the_function(line: Line) -> None:
    assert result(line.executor.submit(f"{TASKS}.add", 1, y=41)) == 42
    assert result(line.executor.submit("renamed", x="by its own name")) == "by its own name"


def test_coroutines_and_classes_run_as_well(line: Line) -> None:
    assert result(line.executor.submit(tasks.add_slowly, 2, 3)) == 5
    assert result(line.executor.execute(f"{TASKS}.Twice", {"x": 4}, name="four")) == {
        "name": "four",
        "x": 8,
    }
    undone = line.executor.revert(f"{TASKS}.Twice", result={"x": 8})
    assert result(undone) == {"result": {"x": 8}, "failures": {}}


def test_an_exception_arrives_as_itself_and_says_where_it_comes_from(line: Line) -> None:
    error = error_of(line.executor.submit(tasks.fail, "what"))
    assert type(error) is ValueError
    assert error.args == ("what", 42)
    assert error.remote.worker == "hare"
    assert error.remote.type_names[0] == "ValueError"
    assert "in fail" in error.remote.traceback
    assert [cause.type_names[0] for cause in error.remote.causes] == ["KeyError"]


def test_progress_and_events_arrive_in_order_and_before_the_result(line: Line) -> None:
    heard: list[tuple[Any, ...]] = []
    listening = line.executor.options(
        on_progress=lambda fraction, details: heard.append((fraction, details)),
        on_event=lambda event, details: heard.append((event, details)),
    )
    future = listening.submit(tasks.say, [0.25, 0.5, 0.75], "saved")
    future.add_done_callback(lambda done: heard.append(("done",)))
    assert result(future) == "said"
    done = threading.Event()
    line.executor.submit(tasks.add, 1).add_done_callback(lambda _: done.set())
    assert done.wait(DEADLINE)  # callbacks are called one after the other
    of = {"of": "work"}
    assert heard == [
        (0.25, of),
        (0.5, of),
        (0.75, of),
        ("saved", {"note": "hello"}),
        ("done",),
    ]


def test_a_listener_that_raises_disturbs_nothing(line: Line) -> None:
    def explode(fraction: float, details: dict[str, Any]) -> None:
        raise RuntimeError("in a callback")

    listening = line.executor.options(on_progress=explode)
    assert result(listening.submit(tasks.say, [0.5], "saved")) == "said"


def test_wrong_arguments_by_name_fail_and_say_so(line: Line) -> None:
    error = error_of(line.executor.submit(f"{TASKS}.add", 1, z=2))
    assert type(error) is TypeError
    assert "unexpected keyword argument 'z'" in str(error)
    assert type(error_of(line.executor.submit(f"{TASKS}.add"))) is TypeError


def test_a_result_that_cannot_travel_fails_and_names_its_path(line: Line) -> None:
    error = error_of(line.executor.submit(tasks.a_set))
    assert f"the result of {TASKS}.a_set.images[1].size" in str(error)


def test_what_would_end_a_process_is_a_failure(line: Line) -> None:
    for task in (tasks.exit_system, tasks.interrupt, tasks.end_a_generator):
        assert error_of(line.executor.submit(task)).remote.worker == "hare"
    assert result(line.executor.submit(tasks.add, 1)) == 1


def test_values_keep_their_kind_and_size(line: Line) -> None:
    value = [10**5000, -0.0, 1e308, "ö\u2028\x00", {"": [[]]}, None, True]
    assert result(line.executor.submit(tasks.echo, value)) == [[value], {}]
    assert result(line.executor.submit(tasks.a_tuple)) == [1, 2]


def test_a_megabyte_goes_there_and_back(line: Line) -> None:
    text = "0123456789abcdef" * (MEGABYTE // 16)
    assert result(line.executor.submit(tasks.echo, text)) == [[text], {}]
    assert len(result(line.executor.submit(tasks.large, MEGABYTE))) == MEGABYTE


def test_an_unknown_task_expires_and_says_who_there_is_and_what_they_offer(line: Line) -> None:
    error = error_of(line.executor.options(timeout=0.3).submit(f"{TASKS}.ad", 1))
    assert type(error) is RequestTimeout
    assert error.state == "WAITING"
    said = str(error)
    assert re.search(rf"\({TASKS}.ad\) expired after [\d.]+ s in WAITING", said)
    assert "heard from 1 worker, last " in said
    assert "the nearest names they offer are" in said
    assert f"{TASKS}.add" in said
    far = str(error_of(line.executor.options(timeout=0.3).submit("qqqq")))
    assert "they offer " in far
    assert " more; start a worker that offers it, or correct the name" in far


def test_each_of_500_requests_is_resolved_once(line: Line) -> None:
    called: Counter[int] = Counter()
    all_called = threading.Event()

    def count(number: int) -> None:
        called[number] += 1
        if len(called) == 500:
            all_called.set()

    futures = []
    for number in range(500):
        future = line.executor.submit(tasks.add, number, y=1000)
        future.add_done_callback(lambda _, number=number: count(number))
        futures.append(future)
    assert [result(future) for future in futures] == [number + 1000 for number in range(500)]
    assert all_called.wait(DEADLINE)
    assert set(called.values()) == {1}
    workers = line.executor.workers()
    assert [(worker.name, worker.open) for worker in workers] == [("hare", 0)]


def test_two_executors_share_a_worker(line: Line) -> None:
    with Executor(line.url, exchange=line.exchange) as other:
        other.wait_for_workers(1, DEADLINE)
        pairs = [
            (line.executor.submit(tasks.add, n), other.submit(tasks.add, -n)) for n in range(50)
        ]
        assert [(result(mine), result(its)) for mine, its in pairs] == [(n, -n) for n in range(50)]


# -- more of them, each test with an exchange of its own


def worker_on(url: str, exchange: str, name: str, *specs: str, **settings: Any) -> Worker:
    """A worker of two threads."""
    return Worker(
        list(specs) or [TASKS],
        url=url,
        exchange=exchange,
        name=name,
        pool="threads",
        concurrency=2,
        **settings,
    )


def test_what_is_submitted_waits_for_a_worker_and_for_the_next_one_when_that_has_gone(
    broker_url: str, exchange: str
) -> None:
    """Nobody is there at first; later nothing is sent to one that has said goodbye."""
    with Executor(broker_url, exchange=exchange) as executor:
        for name in ("first", "second"):
            futures = [executor.submit(tasks.add, n) for n in range(5)]
            assert not any(worker.topics for worker in executor.workers())
            with worker_on(broker_url, exchange, name):
                assert [result(future) for future in futures] == list(range(5))
                assert error_of(executor.submit(tasks.fail, name)).remote.worker == name


def test_a_request_goes_to_a_topic_where_its_task_is_offered(
    broker_url: str, exchange: str
) -> None:
    with (
        worker_on(broker_url, exchange, "both-l", f"{TASKS}:fail", topics=["left"]),
        worker_on(broker_url, exchange, "both-r", TASKS, topics=["right", "far-right"]),
        Executor(broker_url, exchange=exchange, topics=["left", "right"]) as executor,
    ):
        executor.wait_for_workers(2, DEADLINE)
        assert result(executor.submit(tasks.add, 20, 22)) == 42

        def where(topic: str) -> set[str]:
            there = executor.options(topic=topic)
            futures = [there.submit(tasks.fail, topic) for _ in range(6)]
            return {error_of(future).remote.worker for future in futures}

        assert where("left") == {"both-l"}
        assert where("right") == {"both-r"}
        found = error_of(executor.options(topic="left", timeout=0.3).submit(tasks.add, 1))
        assert type(found) is RequestTimeout
        assert "it is offered on topic right" in str(found)
        with pytest.raises(ConfigurationError, match="'far-right' is not one of this executor's"):
            executor.options(topic="far-right")
        known = {worker.name: sorted(worker.topics) for worker in executor.workers()}
        assert known["both-l"] == ["left"]


def test_one_executor_speaks_both_dialects_at_once(broker_url: str, exchange: str) -> None:
    flow = [f"{TASKS}:{name}" for name in ("say", "fail", "a_set", "Twice")]
    with (
        worker_on(broker_url, exchange, "ours", f"{TASKS}:add"),
        worker_on(broker_url, exchange, "flow", *flow, dialect="taskflow"),
        Executor(broker_url, exchange=exchange, dialects=["native", "taskflow"]) as executor,
    ):
        executor.wait_for_workers(2, DEADLINE)
        heard: list[tuple[Any, ...]] = []
        listening = executor.options(
            on_progress=lambda fraction, details: heard.append((fraction, details))
        )
        adding = [executor.submit(tasks.add, n, y=1) for n in range(20)]
        saying = [listening.submit(tasks.say, [0.5], "saved") for _ in range(20)]
        assert [result(future) for future in adding] == [n + 1 for n in range(20)]
        assert [result(future) for future in saying] == ["said"] * 20
        assert heard == [(0.5, {"of": "work"})] * 20
        assert {worker.dialect for worker in executor.workers()} == {"native", "taskflow"}
        assert result(executor.execute(f"{TASKS}.Twice", {"x": 4}, name="four"))["x"] == 8
        error = error_of(executor.submit(tasks.fail, "what"))
        assert type(error) is ValueError
        assert error.args == ("what", 42)
        assert "images[1].size" in str(error_of(executor.submit(tasks.a_set)))
