"""What the death of a process does to the local broker: nothing is lost, and it is seen at once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import kombu

from tests.bus.wire.servers import DEADLINE
from tests.bus.wire.transports.peers import HOLDER, READER, Inbox, Process

Connect = Callable[..., kombu.Connection]
Start = Callable[..., Process]

KILLS = 20

#: argv: path, queue, a name. Says each message once its publishing has returned.
WRITER = """
import itertools, threading
pace = threading.Event()
producer = kombu.Producer(local(sys.argv[1]).channel())
for number in itertools.count():
    text = f"{sys.argv[3]}.{number}"
    padding = "x" * (10, 300, 5000, 60000)[number % 4]
    producer.publish([text, padding], routing_key=sys.argv[2])
    say(text)
    pace.wait(0.002)
"""


def _declare(connection: kombu.Connection, *queues: str) -> kombu.Producer:
    channel = connection.channel()
    for queue in queues:
        kombu.Queue(queue).bind(channel).declare()
    return kombu.Producer(channel)


def test_what_a_killed_consumer_held_is_delivered_again_at_once(
    connect: Connect, path: str, start: Start
) -> None:
    """Marked as redelivered, and in its order."""
    producer = _declare(connect(), "q")
    holder = start(HOLDER, path, "q")
    assert holder.line() == "ready"
    for number in range(3):
        producer.publish(number, routing_key="q")
        assert holder.line() == str(number)
    inbox = Inbox(connect(), "q")
    assert inbox.rest() == []
    holder.kill()
    assert inbox.take(3) == [0, 1, 2]
    assert all(message.delivery_info["redelivered"] for message in inbox.messages)


def test_a_consumer_that_is_never_idle_buries_the_dead_too(
    connect: Connect, path: str, start: Start
) -> None:
    """A stream of messages does not hide what the dead one held."""
    producer = _declare(connect(), "q")
    holder = start(HOLDER, path, "q")
    assert holder.line() == "ready"
    producer.publish("held", routing_key="q")
    assert holder.line() == "held"
    inbox = Inbox(connect(), "q")
    holder.kill()
    deadline = time.monotonic() + DEADLINE
    while "held" not in inbox.bodies and time.monotonic() < deadline:
        producer.publish("stream", routing_key="q")
        inbox.take(1)
    assert "held" in inbox.bodies


def test_the_forked_child_of_a_dead_holder_does_not_keep_its_messages(
    connect: Connect, path: str, start: Start
) -> None:
    """The child lives on with every descriptor; ``flock`` would call the holder alive."""
    producer = _declare(connect(), "q")
    holder = start(
        HOLDER.replace(
            'say("ready")',
            """
import os
if os.fork() == 0:
    say("child")
    sys.stdin.read()
    os._exit(0)
say("ready")
""",
        ),
        path,
        "q",
    )
    assert {holder.line(), holder.line()} == {"child", "ready"}
    producer.publish("held", routing_key="q")
    assert holder.line() == "held"
    inbox = Inbox(connect(), "q")
    holder.kill_alone()
    assert inbox.take(1) == ["held"]


def test_nothing_is_lost_over_many_kills(connect: Connect, path: str, start: Start) -> None:
    """Two writers and two readers, one of them killed at a time, at random moments.

    Every message whose publishing returned is read; no more than a killed reader's window twice.
    """
    _declare(connect(), "q")
    generator = random.Random(20)
    serial = iter(range(10_000))
    everybody: list[tuple[str, Process]] = []

    def begin(kind: str) -> tuple[str, Process]:
        if kind == "writer":
            process = start(WRITER, path, "q", f"w{next(serial)}")
        else:
            process = start(READER.replace("message.payload", "message.payload[0]"), path, "q")
        everybody.append((kind, process))
        return kind, process

    living = [begin(kind) for kind in ("writer", "writer", "reader", "reader")]
    for _ in range(KILLS):
        victim = generator.choice(living)
        for _ in range(generator.randrange(1, 30)):
            victim[1].line()
        victim[1].kill()
        living.remove(victim)
        living.append(begin(victim[0]))
    for _, process in living:
        process.line()
        process.kill()
    rest = [body[0] for body in Inbox(connect(), "q").rest()]
    confirmed = {line for kind, each in everybody if kind == "writer" for line in each.said}
    readings = [line for kind, each in everybody if kind == "reader" for line in each.said]
    readings = [line for line in readings if line != "ready"] + rest
    assert confirmed - set(readings) == set()
    assert len(confirmed) > KILLS
