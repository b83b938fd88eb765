"""Ports for servers that come and go.

Decided here: which port a server of a test gets. Not from the range that the system hands out to
connections (on Linux 32768 to 60999): while the server is down another program's connection could
sit there, and one that calls its own port on loopback can even reach itself.
"""

from __future__ import annotations

import random
import socket
from typing import Final

_FIRST: Final = 15000
_LAST: Final = 30000
_TRIES: Final = 200

#: Not the tests' seeded one: two runs with the same seed at once must not meet.
_choose: Final = random.SystemRandom()


def free_port() -> int:
    """A port of this machine that nobody listens on; it stays the asker's only by good manners.

    Raises ``OSError`` if none is found.
    """
    for _ in range(_TRIES):
        port = _choose.randrange(_FIRST, _LAST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise OSError(f"no free port from {_FIRST} to {_LAST} after {_TRIES} tries")
