"""A server with nothing behind it, and a client, both of plain sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Final

DEADLINE: Final = 20.0  # seconds for whatever a test waits for


class Echo:
    """Says back whatever it hears, counts what it heard, and knows how each connection ended."""

    def __init__(self) -> None:
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        self._changed = threading.Condition()
        self.heard = bytearray()
        #: One for each connection that has ended: ``closed`` or ``reset``.
        self.ends: list[str] = []
        self.accepted: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End it all."""
        with contextlib.suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        for connection in self.accepted:
            connection.close()

    def wait_for(self, count: int) -> bytes:
        """Until it has heard so many bytes."""
        with self._changed:
            came = self._changed.wait_for(lambda: len(self.heard) >= count, DEADLINE)
            assert came, f"it heard only {len(self.heard)} bytes"
            return bytes(self.heard)

    def wait_for_ends(self, count: int) -> list[str]:
        """Until so many connections have ended."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.ends) >= count, DEADLINE)
            return list(self.ends)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._door.accept()
            except OSError:
                return
            self.accepted.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        end = "closed"
        try:
            while data := connection.recv(65536):
                with self._changed:
                    self.heard += data
                    self._changed.notify_all()
                connection.sendall(data)
        except OSError:
            end = "reset"
        with self._changed:
            self.ends.append(end)
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def call(port: int) -> socket.socket:
    """A connection to a port of this machine, which gives up after the deadline."""
    return socket.create_connection(("127.0.0.1", port), DEADLINE)


def read(connection: socket.socket, count: int) -> bytes:
    """So many bytes of it."""
    found = b""
    while len(found) < count:
        data = connection.recv(count - len(found))
        assert data, f"it ended after {len(found)} of {count} bytes"
        found += data
    return found


def is_silent(connection: socket.socket, seconds: float = 0.2) -> bool:
    """Whether nothing comes, not even the end, for so long."""
    connection.settimeout(seconds)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(DEADLINE)
    return False
