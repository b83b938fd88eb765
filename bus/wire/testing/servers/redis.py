"""``PrivateRedis``: a redis-server of a test's own."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from bus.wire.testing.ports import free_port
from bus.wire.testing.servers.server import PrivateServer
from bus.wire.testing.servers.tls import ServerTls

#: When what was written reaches the append-only file: with each write, or each second.
Aof = Literal["always", "everysec"]


class PrivateRedis(PrivateServer):
    """A Redis that keeps nothing on disk, or an append-only file (``appendfsync``).

    ``folder``: where, instead of one of its own; what is there is read at the start, and stays.
    ``tls``: listen on a second port as well, ``tls_port``, where TLS is spoken.
    """

    kind = "Redis"
    start_timeout = 20.0
    end_timeout = 10.0

    def __init__(
        self,
        *,
        aof: Aof | None = None,
        folder: Path | str | None = None,
        tls: ServerTls | None = None,
    ) -> None:
        if aof not in (None, "always", "everysec"):
            raise ValueError(f"aof={aof!r}: 'always', 'everysec' or None")
        super().__init__(folder=folder)
        self._aof = aof
        self._tls = tls
        #: Where TLS is spoken, if it is.
        self.tls_port = free_port() if tls else 0

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot run on this machine, in one sentence; None if it can."""
        if shutil.which("redis-server") is None:
            return "no private Redis can be started: redis-server is not on the PATH; install it"
        return None

    @property
    def url(self) -> str:
        """Where it is reached when it runs."""
        return f"redis://127.0.0.1:{self.port}/0"

    def answers(self) -> bool:
        """Whether it answers a PING with a PONG; not while it still reads its file."""
        return self.command("PING") == b"+PONG"

    def command(self, *words: str, timeout: float = 2.0) -> bytes:
        """Send one command; the first line of the answer, as it came (``+OK``, ``:3``, ``-ERR …``).

        For what has no need of a client, such as ``command("FLUSHALL")``. Raises ``OSError``.
        """
        with socket.create_connection(("127.0.0.1", self.port), timeout) as connection:
            parts = [f"*{len(words)}\r\n"] + [f"${len(w.encode())}\r\n{w}\r\n" for w in words]
            connection.sendall("".join(parts).encode())
            answer = b""
            while b"\r\n" not in answer:
                chunk = connection.recv(4096)
                if not chunk:
                    raise ConnectionResetError(f"{self!r} ended the connection")
                answer += chunk
        return answer.partition(b"\r\n")[0]

    def _command(self) -> Sequence[str]:
        return [
            *(shutil.which("redis-server") or "redis-server", "--port", str(self.port)),
            *("--bind", "127.0.0.1", "--dir", str(self._data), "--daemonize", "no"),
            # No snapshots: what survives a kill -9 is what the append-only file has.
            *("--save", "", "--appendonly", "no" if self._aof is None else "yes"),
            *("--appendfsync", self._aof or "no", "--loglevel", "warning"),
            *self._tls_words(),
        ]

    def _tls_words(self) -> Sequence[str]:
        if self._tls is None:
            return ()
        return (
            *("--tls-port", str(self.tls_port)),
            *("--tls-cert-file", str(self._tls.cert), "--tls-key-file", str(self._tls.key)),
            *("--tls-auth-clients", "yes" if self._tls.client_ca else "no"),
            # It insists on some CA, also where it asks nobody for a certificate.
            *("--tls-ca-cert-file", str(self._tls.client_ca or self._tls.cert)),
        )
