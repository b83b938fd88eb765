"""The other side, for the tests of the transports: a consumer that collects, and real processes."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import kombu

from tests.bus.wire.servers import DEADLINE

LOCAL = "bus.wire.transports.local:Transport"
MEMORY = "bus.wire.transports.memory:Transport"
_ROOT = str(Path(__file__).parents[4])


def local(path: str, **options: Any) -> kombu.Connection:
    """A connection to the local broker in ``path``."""
    return kombu.Connection(transport=LOCAL, transport_options={"path": path, **options})


class Inbox:
    """A consumer on a channel of its own that keeps what it is given."""

    def __init__(
        self,
        connection: kombu.Connection,
        *queues: str | kombu.Queue,
        prefetch: int = 0,
        no_ack: bool = False,
        acks: bool = True,
    ) -> None:
        self.connection = connection
        self.channel = connection.channel()
        self.messages: list[kombu.Message] = []
        self._acks = acks and not no_ack
        self.consumer = kombu.Consumer(
            self.channel,
            [each if isinstance(each, kombu.Queue) else kombu.Queue(each) for each in queues],
            on_message=self._on_message,
            no_ack=no_ack,
            prefetch_count=prefetch or None,
        )
        self.consumer.consume()

    def _on_message(self, message: kombu.Message) -> None:
        self.messages.append(message)
        if self._acks:
            message.ack()

    @property
    def bodies(self) -> list[Any]:
        """What has arrived, in order."""
        return [message.payload for message in self.messages]

    def take(self, count: int, timeout: float = DEADLINE) -> list[Any]:
        """Wait for so many more; their bodies."""
        before = len(self.messages)
        while len(self.messages) < before + count:
            self.connection.drain_events(timeout=timeout)
        return [message.payload for message in self.messages[before:]]

    def rest(self) -> list[Any]:
        """Whatever is there now; the bodies."""
        before = len(self.messages)
        try:
            while True:
                self.connection.drain_events(timeout=0.001)
        except TimeoutError:
            return [message.payload for message in self.messages[before:]]


class Process:
    """Another Python process that runs ``code`` with ``argv`` and says what it does in lines."""

    def __init__(self, code: str, *argv: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PRELUDE + code, *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": _ROOT},
        )
        #: Every line so far, also those not yet asked for.
        self.said: list[str] = []
        self._lines: queue.Queue[str] = queue.Queue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith("\n"):  # the last may be cut by a kill
                self.said.append(line.strip())
                self._lines.put(line.strip())

    def line(self, timeout: float = DEADLINE) -> str:
        """The next line; queue.Empty if there is none in time."""
        return self._lines.get(timeout=timeout)

    def tell(self, text: str) -> None:
        """Give it a line to read."""
        assert self._process.stdin is not None
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()

    def kill_alone(self) -> None:
        """SIGKILL, and leave alone what it forked."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(20)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone and all it said is known."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(20)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()  # a child that it forked ends by this, too
        except BrokenPipeError:
            pass  # something was told that it never read
        self._listener.join(20)
        self._process.stdout.close()


_PRELUDE = """
import sys, kombu
def say(text):
    sys.stdout.write(f"{text}\\n")
    sys.stdout.flush()
def local(path):
    return kombu.Connection(
        transport="bus.wire.transports.local:Transport", transport_options={"path": path}
    )
def forever(connection):
    while True:
        connection.drain_events()
"""

#: argv: path, queue. Says ``ready``, then each body it is given, and keeps all of it.
HOLDER = """
connection = local(sys.argv[1])
channel = connection.channel()
consumer = kombu.Consumer(
    channel, [kombu.Queue(sys.argv[2])], on_message=lambda message: say(message.payload)
)
consumer.consume()
say("ready")
forever(connection)
"""

#: The same, but it acknowledges what it has said.
READER = HOLDER.replace(
    "on_message=lambda message: say(message.payload)",
    "on_message=lambda message: (say(message.payload), message.ack())",
)
