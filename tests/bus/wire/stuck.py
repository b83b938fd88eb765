"""A transport that hangs when it is told to: in a drain, as in a library without time-outs."""

from __future__ import annotations

import threading
from typing import Any

from bus.wire import BrokerUrl
from bus.wire.transports import memory


class Transport(memory.Transport):
    """``memory://``, but that a drain may hang, with a message that it has taken already."""

    #: What the next drain that takes something is to wait for.
    trap: threading.Event | None = None
    #: Set when one does.
    caught = threading.Event()

    def drain_events(self, connection: object, timeout: float | None = None, **more: Any) -> None:
        """Deliver one message."""
        super().drain_events(connection, timeout, **more)
        trap, type(self).trap = type(self).trap, None
        if trap is not None:
            self.caught.set()
            trap.wait()

    @classmethod
    def lay_trap(cls) -> threading.Event:
        """Have who takes the next message hang until what is returned is set."""
        cls.caught.clear()
        cls.trap = threading.Event()
        return cls.trap


URL = BrokerUrl("memory", "memory://", "memory://", f"{__name__}:Transport")
