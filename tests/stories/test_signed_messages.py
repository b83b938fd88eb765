"""Who holds the keys is served, and nobody else, whatever he can write into the queues.

A worker and an executor with the same key file, over each broker; a stranger who can publish there
and has seen what they say to each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bus.wire import Broker, keyfile, parse_url
from executor import Executor
from protocol import messages
from protocol.envelope import CANCEL, REQUEST, RESPONSE, Envelope, Header
from protocol.errors import RequestTimeout
from protocol.messages import Cancel, Request, Response
from protocol.parcel import Parcel
from protocol.topology import Names, inbox_key
from tests.samples import gate, tasks
from worker import Worker

DEADLINE = 30.0  # seconds
ADD = "tests.samples.tasks.add"
WALK = "tests.samples.gate.walk_through"
ONE, TWO = "11" * 32, "22" * 32


def write_keys(path: Path, *lines: str) -> Path:
    """A key file; whoever reads it at any moment finds the old one or the new."""
    new = path.with_name(f"{path.name}.new")
    new.write_text("\n".join(lines))
    new.chmod(0o600)
    return new.replace(path)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A key file with one key."""
    return write_keys(tmp_path / "keys", f"one: {ONE}")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What is entered into it ends with the test."""
    with ExitStack() as stack:
        yield stack


def worker_of(stack: ExitStack, url: str, exchange: str, keys: Path) -> Worker:
    """One that runs."""
    gate.BEGUN.clear()
    gate.OPEN.clear()
    worker = Worker(
        ["tests.samples.tasks", "tests.samples.gate"],
        url=url,
        exchange=exchange,
        pool="threads",
        concurrency=2,
        drain_timeout=5.0,
        signing_keys=keys,
    )
    stack.enter_context(worker)
    stack.callback(gate.OPEN.set)
    return worker


def executor_of(stack: ExitStack, url: str, exchange: str, keys: Path | None) -> Executor:
    """One that runs."""
    return stack.enter_context(Executor(url, exchange=exchange, signing_keys=keys))


def until(holds: Callable[[], bool]) -> None:
    """Wait for it."""
    end = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.01)


def test_a_call_travels_signed_and_a_stranger_s_messages_do_nothing(
    broker_url: str, exchange: str, keys: Path, stack: ExitStack
) -> None:
    worker = worker_of(stack, broker_url, exchange, keys)
    executor = executor_of(stack, broker_url, exchange, keys)
    assert executor.submit(ADD, x=1, y=2).result(DEADLINE) == 3
    future = executor.submit(WALK)
    assert gate.BEGUN.wait(DEADLINE)
    until(future.running)

    names = Names("native", exchange)
    inbox = names.to_inbox(inbox_key("default", worker.boot))
    replies = names.to_replies(executor._engine.id)
    asked = Header(
        executor=executor._engine.id, incarnation=1, boot=worker.boot, tickets="1:2", start_by=2**52
    )
    told = Header(boot=worker.boot, clock=2**40, tickets="1:2")
    forged = [
        Parcel(inbox, Envelope(REQUEST, "x", "u", asked._replace(mode="alo")), b"{}"),
        Parcel(
            inbox,
            Envelope(REQUEST, executor._engine.id, "u", asked._replace(mode="alo", tickets="1:99")),
            messages.encode(Request(ADD, arguments={"x": 1, "y": 2})),
        ),
        Parcel(
            inbox,
            Envelope(CANCEL, executor._engine.id, future.uuid, asked),
            messages.encode(Cancel("stop", "user")),
        ),
        Parcel(
            replies,
            Envelope(RESPONSE, None, future.uuid, told),
            messages.encode(Response.success("forged")),
        ),
        Parcel(replies, Envelope(RESPONSE, None, future.uuid, told), b"no JSON"),
    ]  # fmt: skip
    with ExitStack() as mine:
        stranger = Broker(parse_url(broker_url))
        stranger.open()
        mine.callback(stranger.close)
        stranger.publish(forged)
    until(lambda: worker.counts().get("refused_unsigned") == 3)
    until(lambda: executor.counts().get("refused_unsigned") == 2)
    assert executor.submit(ADD, x=2, y=3).result(DEADLINE) == 5
    assert not future.done()
    gate.OPEN.set()
    assert future.result(DEADLINE) is None


def test_without_the_keys_or_with_another_one_nobody_is_served(
    exchange: str, local_path: Path, keys: Path, tmp_path: Path, stack: ExitStack
) -> None:
    url = f"local://{local_path}"
    worker = worker_of(stack, url, exchange, keys)
    for given in (None, write_keys(tmp_path / "other", f"one: {TWO}")):
        with Executor(url, exchange=exchange, signing_keys=given) as executor:
            future = executor.options(timeout=1.0).submit(ADD, x=1, y=2)
            assert isinstance(future.exception(DEADLINE), RequestTimeout)
    counts = worker.counts()
    assert counts["refused_unsigned"] >= 1
    assert counts["refused_signature"] >= 1


def test_keys_are_changed_while_requests_run(
    exchange: str,
    local_path: Path,
    tmp_path: Path,
    stack: ExitStack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both sides in turn: the new one is known, then signs, then is the only one."""
    monkeypatch.setattr(keyfile, "LOOK", 0.02)
    url = f"local://{local_path}"
    at_worker = write_keys(tmp_path / "worker", f"one: {ONE}")
    at_executor = write_keys(tmp_path / "executor", f"one: {ONE}")
    worker = worker_of(stack, url, exchange, at_worker)
    executor = executor_of(stack, url, exchange, at_executor)
    one, two = f"one: {ONE}", f"two: {TWO}"
    first = executor.submit(WALK)
    assert gate.BEGUN.wait(DEADLINE)
    at = {at_worker: worker._guard, at_executor: executor._engine._publisher._broker._guard}
    for lines in ([one, two], [two, one], [two]):
        for path, guard in at.items():
            write_keys(path, *lines)
            assert guard is not None
            ids = [line.partition(":")[0] for line in lines]
            until(lambda guard=guard, ids=ids: list(guard.file.keys().accepted) == ids)  # type: ignore[misc]
            assert executor.submit(ADD, x=1, y=2).result(DEADLINE) == 3
    gate.OPEN.set()
    assert first.result(DEADLINE) is None
    assert str(worker._guard) == "with key two; what is unsigned is refused"
    assert not {reason for reason in worker.counts() if reason.startswith("refused_")}


def test_private_workers_are_told_where_the_keys_are(
    exchange: str, local_path: Path, keys: Path
) -> None:
    url = f"local://{local_path}"
    with Executor(url, exchange=exchange, signing_keys=keys, workers=1) as executor:
        assert executor.submit(tasks.add, 1, 2).result(DEADLINE) == 3
        assert executor._engine._private is not None
        (worker,) = executor._engine._private._workers
        for about in ("cmdline", "environ"):
            told = Path(f"/proc/{worker.process.pid}/{about}").read_bytes()
            assert ONE.encode() not in told


def test_a_worker_of_taskflow_s_dialect_says_that_nothing_is_signed(
    exchange: str, local_path: Path, keys: Path, stack: ExitStack
) -> None:
    worker = stack.enter_context(
        Worker(
            ["tests.samples.tasks"],
            url=f"local://{local_path}",
            exchange=exchange,
            pool="threads",
            dialect="taskflow",
            signing_keys=keys,
        )
    )
    assert "signing  OFF: taskflow's peers know no signatures" in worker.banner()
    executor = stack.enter_context(
        Executor(f"local://{local_path}", exchange=exchange, dialects=["taskflow"])
    )
    assert executor.submit(ADD, x=1, y=2).result(DEADLINE) == 3
