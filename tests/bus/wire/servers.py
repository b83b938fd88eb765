"""Servers that come and go under a test's hands, and what waits for messages.

A Redis of the test's own, started and killed by its pid, and a gate: a port through which a server
is reached, that can be shut and opened again.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from protocol.envelope import NOTIFY, Envelope
from protocol.parcel import Parcel, Received, Refused
from protocol.topology import Address

DEADLINE: Final = 20.0  # seconds for whatever a test waits for


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class PrivateRedis:
    """A redis-server for one test. It keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("redis-server is not installed: a Redis that is killed cannot be started")
        self._command = [program, "--port", "", "--save", "", "--appendonly", "no", "--dir"]
        self._command += [str(folder), "--bind", "127.0.0.1"]
        self.port = free_port()
        self._command[2] = str(self.port)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens when it runs."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it; returns when it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.socket() as probe:
                probe.settimeout(1.0)
                probe.connect(("127.0.0.1", self.port))
                probe.sendall(b"PING\r\n")
                if probe.recv(16).startswith(b"+PONG"):
                    return
        raise AssertionError("the private redis-server does not answer")

    def kill(self) -> None:
        """kill -9, if it runs."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(DEADLINE)


class Gate:
    """A port that leads to a server of this machine while it is open."""

    def __init__(self, host: str, port: int) -> None:
        self._there = (host, port)
        self.port = free_port()
        self._door: socket.socket | None = None
        self._lock = threading.Lock()  # guards _inside
        self._inside: list[socket.socket] = []

    def open(self) -> None:
        """Let connections through from now on."""
        self._door = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._admit, args=(self._door,), daemon=True).start()

    def shut(self) -> None:
        """End all connections; new ones are refused."""
        door, self._door = self._door, None
        if door is not None:
            with contextlib.suppress(OSError):
                door.shutdown(socket.SHUT_RDWR)  # wakes who accepts
            door.close()
        with self._lock:
            inside, self._inside = self._inside, []
        for each in inside:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _admit(self, door: socket.socket) -> None:
        while True:
            try:
                near, _ = door.accept()
                far = socket.create_connection(self._there, DEADLINE)
            except OSError:
                return
            far.settimeout(None)
            with self._lock:
                self._inside += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=_pass_on, args=(one, other), daemon=True).start()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := one.recv(65536):
            other.sendall(chunk)
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_RDWR)


class Collected:
    """What a listener delivers; any thread may wait for it."""

    def __init__(self, reaction: Callable[[], None] | None = None) -> None:
        """``reaction`` is called before anything is kept, on the listener's thread."""
        self._reaction = reaction
        self._changed = threading.Condition()
        self._items: list[Received | Refused] = []
        self._consuming = 0

    def __call__(self, delivered: list[Received | Refused]) -> None:
        """Be a listener's ``deliver``."""
        if self._reaction is not None:
            self._reaction()
        with self._changed:
            self._items += delivered
            self._changed.notify_all()

    def on_consuming(self) -> None:
        """Be a listener's ``on_consuming``."""
        with self._changed:
            self._consuming += 1
            self._changed.notify_all()

    @property
    def times_consuming(self) -> int:
        """How often the listener has begun to consume."""
        return self._consuming

    def wait(self, count: int) -> list[Received | Refused]:
        """The first ``count`` deliveries."""
        with self._changed:
            enough = self._changed.wait_for(lambda: len(self._items) >= count, DEADLINE)
            assert enough, f"only these {len(self._items)} came: {self._items}"
            return list(self._items)

    def wait_until_consuming(self, times: int) -> None:
        """Until the listener has begun to consume that often."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._consuming >= times, DEADLINE)

    def askers(self, count: int) -> list[str | None]:
        """Who asked, in order, when ``count`` questions have come: the reply_to of each."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._asked()) >= count, DEADLINE), (
                f"only these came: {self._items}"
            )
            return self._asked()

    def askers_until(self, last: str) -> list[str | None]:
        """Who asked, in order and once each, when ``last`` has: what is cut off may come twice."""
        with self._changed:
            assert self._changed.wait_for(lambda: last in self._asked(), DEADLINE), (
                f"only these came: {self._items}"
            )
            return list(dict.fromkeys(self._asked()))

    def _asked(self) -> list[str | None]:
        return [item.envelope.reply_to for item in self._items if isinstance(item, Received)]


def question(address: Address, asker: str) -> Parcel:
    """A question from ``asker``: the smallest message there is that can be told from another."""
    return Parcel(address, Envelope(NOTIFY, reply_to=asker), b"{}")
