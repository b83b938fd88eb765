"""Lock bytes, forks and threads: who is alive, whose turn it is, who may use a connection."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path

import kombu
import pytest

from bus.wire.transports.local import layout
from bus.wire.transports.local.owners import owners_of
from bus.wire.transports.local.store import Store
from tests.bus.wire.servers import DEADLINE
from tests.bus.wire.transports.peers import Inbox, Process, local

Connect = Callable[..., kombu.Connection]
Start = Callable[..., Process]


def _in_a_forked_child(work: Callable[[], object]) -> str:
    """What ``work`` raised or returned in a child, as text; the child leaves without clean-up."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            outcome = repr(work())
        except BaseException as error:
            outcome = f"{type(error).__name__}: {error}"
        os.write(writing, outcome.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


def test_there_is_one_lock_file_object_per_folder(tmp_path: Path) -> None:
    """Closing a second descriptor would drop every lock of this process."""
    assert owners_of(str(tmp_path)) is owners_of(str(tmp_path))


def test_the_lock_file_is_closed_by_the_last_who_lets_go_of_it(tmp_path: Path) -> None:
    """A process may have known a thousand folders."""
    before = _descriptors()
    first, second = owners_of(str(tmp_path)), owners_of(str(tmp_path))
    first.live(1)
    first.let_go()
    assert _in_a_forked_child(lambda: _is_held(tmp_path)) == "True"
    second.leave(1)
    second.let_go()
    assert _descriptors() == before
    assert owners_of(str(tmp_path)) is not first


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _is_held(folder: Path) -> bool:
    """Whether another process has owner 1; asked in one that has not."""
    descriptor = os.open(folder / "owners", os.O_RDWR)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 1)
    except OSError:
        return True
    return False


@pytest.mark.parametrize("fails", [False, True])
def test_a_connection_leaves_no_descriptor_behind(
    path: str, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _descriptors()
    if fails:
        monkeypatch.setattr(layout, "connect", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            Store(path, "normal")
    else:
        Store(path, "normal").close()
    assert _descriptors() == before


def test_a_folder_made_anew_is_another_broker(tmp_path: Path) -> None:
    """Its lock file is known by its inode and not by its name."""
    first = owners_of(str(tmp_path))
    (tmp_path / "owners").rename(tmp_path / "old")
    assert owners_of(str(tmp_path)) is not first


def test_the_turn_is_one_threads_at_a_time(tmp_path: Path) -> None:
    """Record locks do not tell threads apart, so the mutex does."""
    owners = owners_of(str(tmp_path))
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(200):
            with owners.turn:
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_living_owner_is_seen_alive_and_a_killed_one_dead(tmp_path: Path, start: Start) -> None:
    """From another process; one's own is never probed, because it would seem dead."""
    process = start(
        """
from bus.wire.transports.local.owners import owners_of
owners_of(sys.argv[1]).live(7)
say("alive")
sys.stdin.read()
""",
        str(tmp_path),
    )
    assert process.line() == "alive"
    owners = owners_of(str(tmp_path))
    owners.live(8)
    with owners.dead([7, 8, 9]) as dead:
        assert dead == [9]
    process.kill()
    with owners.dead([7, 8]) as dead:
        assert dead == [7]
    owners.leave(8)
    with owners.dead([8]) as dead:
        assert dead == [8]


def test_a_connection_is_refused_in_a_forked_child(connect: Connect) -> None:
    """With a sentence that says what to do, for publishing and for draining."""
    inbox = Inbox(connect(), "q")
    producer = kombu.Producer(inbox.channel)
    for work in (
        lambda: producer.publish(1, routing_key="q"),
        lambda: inbox.connection.drain_events(timeout=DEADLINE),
    ):
        outcome = _in_a_forked_child(work)
        assert outcome.startswith("ForkedConnection")
        assert "'spawn' or 'forkserver'" in outcome
    producer.publish(2, routing_key="q")
    assert inbox.take(1) == [2]


def test_opening_in_a_child_forked_from_an_open_connection_is_refused(
    connect: Connect, path: str
) -> None:
    """SQLite in the child would believe it holds the parent's locks."""
    connection = connect()
    outcome = _in_a_forked_child(lambda: local(path).connect())
    assert outcome.startswith("ForkedConnection")
    assert "cannot be used on both sides of a fork" in outcome
    connection.release()
    assert _in_a_forked_child(lambda: local(path).connect() and "opened") == "'opened'"


def test_the_end_of_a_forked_child_returns_nothing_of_its_parent(
    connect: Connect, start: Start, path: str
) -> None:
    """Neither closing there nor leaving the ordinary way, with every finalizer."""
    producer = kombu.Producer(connect().channel())
    watcher = Inbox(connect(), "q", "other")
    watcher.consumer.cancel_by_queue("q")
    holder = start(
        """
import os
connection = local(sys.argv[1])
channel = connection.channel()
def on_message(message):
    child = os.fork()
    if child == 0:
        channel.close()
        connection.release()
        sys.exit()
    os.waitpid(child, 0)
    say("child ended")
    sys.stdin.readline()
    message.ack()
    say("acknowledged")
consumer = kombu.Consumer(channel, [kombu.Queue("q")], on_message=on_message)
consumer.consume()
say("ready")
try:
    forever(connection)
except SystemExit:
    raise
""",
        path,
    )
    assert holder.line() == "ready"
    producer.publish("held", routing_key="q")
    assert holder.line() == "child ended"
    late = Inbox(connect(), "q")
    with pytest.raises(TimeoutError):
        late.connection.drain_events(timeout=0.4)
    holder.tell("go on")
    assert holder.line() == "acknowledged"
