"""What a ``TcpProxy`` knows of its connections, its faults and its counts.

Plain state. The network's thread alone changes it, but for the faults before that thread runs; the
counts may be read by anybody.
"""

from __future__ import annotations

import collections
import socket
import threading
from typing import Literal

#: ``up``: from the client to the server; ``down``: what the server answers.
Direction = Literal["up", "down"]


class Faults:
    """What is wrong with the network at present; the loop's alone once that runs."""

    def __init__(self) -> None:
        self.swallow: frozenset[Direction] = frozenset()
        self.latency = 0.0
        self.rate: float | None = None
        self.is_refusing = False
        #: After how many more bytes of which direction a connection is cut.
        self.cut: tuple[Direction, int] | None = None


class Totals:
    """What has been counted; written by the loop, read by anybody."""

    def __init__(self) -> None:
        self.connections = self.open = self.cuts = 0
        self.passed: dict[Direction, int] = {"up": 0, "down": 0}
        self.swallowed: dict[Direction, int] = {"up": 0, "down": 0}
        self.no_cut_is_due = threading.Event()
        self.no_cut_is_due.set()


class Flow:
    """One direction of one connection: bytes from ``source`` that are to go to ``sink``."""

    def __init__(self, direction: Direction, source: socket.socket, sink: socket.socket) -> None:
        self.direction = direction
        self.source = source
        self.sink = sink
        #: What waits: when it may go on, and the bytes; none at all for the end of the stream.
        self.waiting: collections.deque[tuple[float, memoryview]] = collections.deque()
        self.size = 0  # bytes waiting
        self.has_ended = False  # the source has said its last
        self.is_over = False  # and the sink has been told
        self.is_blocked = False  # the sink takes no more for the moment
        self.has_hole = False  # bytes or the end of it were swallowed
        self.free_at = 0.0  # when the throttle lets the next byte through

    def due(self) -> float | None:
        """When there is something to pass on."""
        if self.is_blocked or not self.waiting:
            return None
        return max(self.waiting[0][0], self.free_at)


class Link:
    """One connection: the client's socket, the server's, and the two flows between them."""

    def __init__(self, near: socket.socket) -> None:
        self.near = near
        self.far = socket.socket()
        self.is_connected = False
        self.is_asked = False  # the server has been called
        self.is_closed = False
        self.flows = (Flow("up", near, self.far), Flow("down", self.far, near))

    def due(self) -> float | None:
        """When there is something to pass on, either way."""
        if not self.is_connected:
            return None
        return min((due for flow in self.flows if (due := flow.due()) is not None), default=None)
