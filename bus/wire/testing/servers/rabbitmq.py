"""``PrivateRabbitMQ``: a RabbitMQ node of a test's own.

It has its own folder, cookie, name and ports, and its own epmd (Erlang's register of nodes), which
the machine's nodes never hear of. The packages' ``rabbitmq-server`` in ``/usr/sbin`` insists on the
system's user and folders; the script it wraps does not, and is what is run here.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bus.wire.testing.ports import free_port
from bus.wire.testing.servers.server import PrivateServer
from bus.wire.testing.servers.tls import ServerTls

#: Debian's and Red Hat's place of the script itself; elsewhere the one on the PATH is it.
_SCRIPTS: Final = "/usr/lib/rabbitmq/bin"
#: What an AMQP 0-9-1 client says first, and the type of the frame it is answered with.
_GREETING: Final = b"AMQP\x00\x00\x09\x01"
_METHOD_FRAME: Final = b"\x01"
#: What rabbitmqctl says (and ends with 64) of a node that is still starting.
_NOT_UP_YET: Final = "requires the 'rabbit' app to be running"
_ASK_AGAIN: Final = 0.1  # seconds


class PrivateRabbitMQ(PrivateServer):
    """A RabbitMQ node without plugins; 4 s to start on a quiet machine, 10 s on a busy one.

    ``folder``: where, instead of one of its own; what is there is read at the start, and stays.
    ``tls``: listen on a second port as well, ``tls_port``, where TLS is spoken.
    ``settings``: of ``rabbitmq.conf``, besides or instead of ours.
    """

    kind = "RabbitMQ"
    start_timeout = 90.0
    end_timeout = 30.0

    def __init__(
        self,
        *,
        folder: Path | str | None = None,
        tls: ServerTls | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(folder=folder)
        self._tls = tls
        #: Where TLS is spoken, if it is.
        self.tls_port = free_port() if tls else 0
        self._settings = dict(settings or {})
        self._dist_port = free_port()
        self._epmd_port = free_port()
        self._node = f"taskline{self.port}@localhost"
        self._epmd: subprocess.Popen[bytes] | None = None

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot run on this machine, in one sentence; None if it can."""
        absent = [name for name in ("rabbitmq-server", "erl", "epmd") if _program(name) is None]
        if absent:
            return (
                f"no private RabbitMQ can be started: {' and '.join(absent)} not found, neither on "
                f"the PATH nor in {_SCRIPTS}; install RabbitMQ"
            )
        return None

    @property
    def url(self) -> str:
        """Where it is reached when it runs."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def answers(self) -> bool:
        """Whether it greets a client back."""
        with socket.create_connection(("127.0.0.1", self.port), 2.0) as connection:
            connection.sendall(_GREETING)
            return connection.recv(1) == _METHOD_FRAME

    def control(self, *words: str, timeout: float = 60.0) -> str:
        """What ``rabbitmqctl WORDS`` says of this node, for instance ``"list_queues", "name"``.

        Takes a second or two. A node greets clients a moment before it takes such commands, and
        is asked again until it does. Raises ``RuntimeError`` with what was said instead of an
        answer, and ``subprocess.TimeoutExpired``.
        """
        until = time.monotonic() + timeout
        pause = threading.Event()
        while True:
            said = self._said(words, until - time.monotonic())
            if said.returncode == 0:
                return said.stdout
            is_early = _NOT_UP_YET in said.stderr and self.is_running
            if not is_early or time.monotonic() > until:
                raise RuntimeError(
                    f"rabbitmqctl {' '.join(words)} ended with {said.returncode} at {self!r}: "
                    f"{said.stderr.strip()}"
                )
            pause.wait(_ASK_AGAIN)

    def _said(self, words: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
        program = _program("rabbitmqctl") or "rabbitmqctl"
        return subprocess.run(
            [program, "--quiet", "--node", self._node, *words],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=max(timeout, 1.0),
            check=False,
        )

    def stop(self) -> None:
        """Kill it and its epmd, and remove its folder if that is its own."""
        self.kill()
        epmd, self._epmd = self._epmd, None
        if epmd is not None:
            self._bury(epmd, signal.SIGKILL, 0.0)
        super().stop()

    def _launch(self) -> None:
        self._write_settings()
        if self._epmd is None or self._epmd.poll() is not None:
            # In the foreground, as our child: one that a node starts by itself outlives everything.
            self._epmd = self._popen(
                [_program("epmd") or "epmd", "-address", "127.0.0.1"],
                self._environment(),
                subprocess.DEVNULL,
            )
        super()._launch()

    def _command(self) -> Sequence[str]:
        return [_program("rabbitmq-server") or "rabbitmq-server"]

    def _write_settings(self) -> None:
        """Files that a node insists on: its cookie, its settings, its (empty) list of plugins."""
        cookie = self.folder / ".erlang.cookie"
        if not cookie.exists():
            cookie.touch(mode=0o600)
            cookie.write_text(secrets.token_hex(16))
            cookie.chmod(0o400)
        (self.folder / "enabled_plugins").write_text("[].\n")
        settings = {
            "listeners.tcp.1": f"127.0.0.1:{self.port}",
            "log.file.level": "warning",
            # It is to run on any machine, also one whose disk is nearly full.
            "disk_free_limit.absolute": "1MB",
            **self._tls_settings(),
            **self._settings,
        }
        lines = [f"{name} = {value}\n" for name, value in settings.items()]
        (self.folder / "rabbitmq.conf").write_text("".join(lines))

    def _tls_settings(self) -> dict[str, str]:
        if self._tls is None:
            return {}
        asks = self._tls.client_ca is not None
        return {
            "listeners.ssl.1": f"127.0.0.1:{self.tls_port}",
            "ssl_options.certfile": f"{self._tls.cert}",
            "ssl_options.keyfile": f"{self._tls.key}",
            "ssl_options.cacertfile": f"{self._tls.client_ca or self._tls.cert}",
            "ssl_options.verify": "verify_peer" if asks else "verify_none",
            "ssl_options.fail_if_no_peer_cert": str(asks).lower(),
        }

    def _environment(self) -> Mapping[str, str]:
        here = self.folder
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RABBITMQ_", "ERL_"))}
        loopback = "-kernel inet_dist_use_interface {127,0,0,1}"
        return {
            **kept,
            "HOME": str(here),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_FLAGS": loopback,
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(self._data),
            "RABBITMQ_LOG_BASE": str(here / "log"),
            "RABBITMQ_CONFIG_FILE": str(here / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(here / "none.config"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(here / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(here / "pid"),
        }


def _program(name: str) -> str | None:
    found = Path(_SCRIPTS) / name
    return str(found) if found.exists() else shutil.which(name, path=_path())


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/local/sbin:/opt/homebrew/sbin"
