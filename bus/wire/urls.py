"""Which broker a URL means, and what that broker promises.

==========================  ======================================================================
none, ``local://[/path]``   this machine, several processes, no server: our own embedded broker
``memory://``               this process only: threads that meet without any file or server
``redis://host:6379/0``     Redis, kombu's transport
``amqp://user:pw@host//``   RabbitMQ, kombu's transport over py-amqp
``filesystem:///path``      a folder in kombu's own layout, in which taskflow's peers meet us
``rediss://``, ``amqps://`` the same over TLS, always verified; ``?ca=``, ``?cert=``, ``?key=``
==========================  ======================================================================

Nothing is connected here. Passwords never leave this room but inside the URL itself.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from kombu.utils.url import sanitize_url

from bus.wire import deadlines, parameters, tls
from bus.wire.tls import Tls
from protocol.errors import ConfigurationError

#: What each broker promises, in one sentence, for the banner and the docs.
GUARANTEES: Final = {
    "local": (
        "kept on disk: what was sent survives the death of any process; after a power loss the "
        "newest may be missing (add ?sync=full to close that)"
    ),
    "memory": "kept in this process only: it ends with it",
    "redis": (
        "kept as Redis keeps it (its AOF setting decides); a process killed while it takes a "
        "message can lose that one"
    ),
    "amqp": "durable queues, persistent messages, publisher confirms",
    "filesystem": (
        "kept in files, as kombu lays them out for taskflow's peers: what was sent survives the "
        "death of any process; after a power loss the newest may be missing"
    ),
}

_ESCAPED: Final = (
    "in a user name or password write each of / ? # [ ] @ : % as %2F %3F %23 %5B %5D %40 %3A %25"
)

_OURS: Final = "bus.wire.transports.{}:Transport"
_SCHEMES: Final = {
    "redis": "redis",
    "rediss": "redis",
    "amqp": "amqp",
    "amqps": "amqp",
    "pyamqp": "amqp",
}
#: Where a server listens for TLS if its URL names no port.
_TLS_PORTS: Final = {"rediss": 6379, "amqps": 5671}

#: Redis: what a killed consumer held is given back after this long, in seconds. Every message is
#: acknowledged within milliseconds of its arrival, so this is not a limit on any task.
_REDIS_VISIBILITY = 10.0

_REDIS_OPTIONS: Final[dict[str, Any]] = {
    "visibility_timeout": _REDIS_VISIBILITY,
    # Our own keys: with kombu's default ones we would give back what other programs on this Redis
    # hold legitimately for longer.
    "unacked_key": "taskline.unacked",
    "unacked_index_key": "taskline.unacked_index",
    "unacked_mutex_key": "taskline.unacked_mutex",
    # Who is killed while he looks for what was left must not keep others from it for five minutes.
    "unacked_mutex_expire": 10,
    # Without these a connection whose packets vanish blocks for ever.
    "socket_timeout": deadlines.SILENCE,
    "socket_connect_timeout": deadlines.CONNECT_TIMEOUT,
    "socket_keepalive": True,
    "health_check_interval": 5,
}

_AMQP_OPTIONS: Final[dict[str, Any]] = {
    # Without a byte that goes out or comes in, in a call that waits for it.
    "read_timeout": deadlines.SILENCE,
    "write_timeout": deadlines.SILENCE,
}
if hasattr(socket, "TCP_USER_TIMEOUT"):
    # What was sent and not acknowledged by the other machine. py-amqp's is one second, which ends
    # a connection whenever a network holds its breath.
    _AMQP_OPTIONS["socket_settings"] = {socket.TCP_USER_TIMEOUT: int(deadlines.SILENCE * 1000)}

_OPTIONS: Final = {"redis": _REDIS_OPTIONS, "amqp": _AMQP_OPTIONS}


@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """A broker, as kombu is to be told of it."""

    #: ``local``, ``memory``, ``redis``, ``amqp`` or ``filesystem``.
    kind: str
    #: The URL in full, as another process of ours would be given it. It may hold a password.
    url: str = field(repr=False)
    #: What may be shown: the same without its password.
    shown: str
    #: ``module:Class`` of a transport of ours, or None for kombu's own, which the URL names.
    transport: str | None = None
    #: kombu's transport options: ours, and over them the user's.
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: The user's alone.
    given: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: The URL as kombu is given it; None if its options say it all. It may hold a password.
    address: str | None = field(default=None, repr=False)
    #: How the way there is encrypted; None if it is not.
    tls: Tls | None = None

    @property
    def guarantee(self) -> str:
        """What this broker promises, in one sentence."""
        said = GUARANTEES[self.kind]
        return f"{said}; over TLS, the server's certificate verified" if self.tls else said

    def check_dialects(self, dialects: Iterable[str]) -> None:
        """Raises ``ConfigurationError`` if one of these is not spoken on this broker."""
        if self.kind == "filesystem" and set(dialects) - {"taskflow"}:
            raise ConfigurationError(
                "filesystem:// is for taskflow's peers, and our own dialect is not spoken there: a "
                "folder forgets no queue whose reader was killed; say --dialect taskflow "
                "(dialect='taskflow', an executor's dialects=['taskflow']), or use local://, "
                "which needs no server either"
            )


def default_path() -> Path:
    """Where the local broker lives when nothing else is said: one place for each user.

    ``$XDG_STATE_HOME/taskline/broker``, or ``~/.local/state/taskline/broker``.
    """
    state = os.environ.get("XDG_STATE_HOME")
    root = Path(state) if state else Path.home() / ".local" / "state"
    return root / "taskline" / "broker"


def parse_url(url: str | None, transport_options: Mapping[str, Any] | None = None) -> BrokerUrl:
    """The broker that ``url`` means. Options given win over those we set ourselves.

    Raises ``ConfigurationError`` for what no broker of ours answers to.
    """
    given = dict(transport_options or {})
    try:
        parts = urlsplit(url or "local://")
    except ValueError:  # its words may hold the password
        raise ConfigurationError(f"the broker's URL cannot be read: {_ESCAPED}") from None
    if parts.scheme == "local":
        return _local(parts, given)
    if parts.scheme == "filesystem":
        return _filesystem(parts, given)
    if parts.scheme == "memory":
        return BrokerUrl("memory", "memory://", "memory://", _OURS.format("memory"), given, given)
    kind = _SCHEMES.get(parts.scheme)
    if kind is None or url is None:
        # The rest is not repeated: there may be a password in it, and who knows where.
        raise ConfigurationError(
            f"no broker is known for a URL that begins with {parts.scheme or 'no scheme'!r}; use "
            "local://[/path], memory://, redis:// or amqp://, rediss:// or amqps:// for TLS, or "
            "filesystem:///path among taskflow's peers"
        )
    _check_server(parts)
    parameters.check_options(given)
    query = parameters.read(parts)
    shown = sanitize_url(url).partition("?")[0]
    options = {**_OPTIONS[kind], **given}
    transport = _OURS.format(kind)
    if parts.scheme not in parameters.PLAIN:
        return BrokerUrl(kind, url, shown, transport, options, given, url)
    encrypted = tls.read(parts.hostname, query)
    theirs = {name: value for name, value in query.items() if name not in tls.PARAMETERS}
    return BrokerUrl(
        kind,
        # With absolute paths: who is given it may live in another folder.
        _composed(parts, parts.scheme, parts.netloc, {**theirs, **encrypted.files}),
        shown,
        transport,
        {**options, tls.OPTION: encrypted},
        given,
        _composed(parts, kind, _with_port(parts), theirs),
        encrypted,
    )


def _with_port(parts: SplitResult) -> str:
    return parts.netloc if parts.port else f"{parts.netloc.rstrip(':')}:{_TLS_PORTS[parts.scheme]}"


def _composed(parts: SplitResult, scheme: str, netloc: str, query: Mapping[str, str]) -> str:
    asked = f"?{urlencode(query, quote_via=quote)}" if query else ""
    return f"{scheme}://{netloc}{parts.path}{asked}"


def _check_server(parts: SplitResult) -> None:
    """What is not escaped is cut in the wrong place, and half a password taken for a port."""
    try:
        is_cut_well = parts.port is None or parts.port > 0
    except ValueError:
        is_cut_well = False
    if not is_cut_well or parts.fragment or "@" in parts.path or "@" in parts.query:
        raise ConfigurationError(
            f"the {parts.scheme}:// URL cannot be read: name one server, with a port from 1 to "
            f"65535 if any; {_ESCAPED}"
        )


def _local(parts: SplitResult, given: dict[str, Any]) -> BrokerUrl:
    if parts.netloc:
        raise ConfigurationError(
            f"the local broker's URL names a host, {parts.hostname or ''!r}: it lives on this "
            "machine only; write local:///absolute/path"
        )
    path = Path(unquote(parts.path)) if parts.path not in ("", "/") else default_path()
    query = dict(parse_qsl(parts.query))
    unknown = sorted(set(query) - {"sync"})
    if unknown:
        raise ConfigurationError(
            f"the local broker's URL has an option it does not know, {unknown[0]!r}; "
            "it knows ?sync=normal and ?sync=full"
        )
    options = {"path": str(path), **query, **given}
    full = f"local://{quote(str(path))}" + (f"?{parts.query}" if parts.query else "")
    return BrokerUrl("local", full, f"local://{path}", _OURS.format("local"), options, given)


def _filesystem(parts: SplitResult, given: dict[str, Any]) -> BrokerUrl:
    path = unquote(parts.path)
    if parts.netloc or not path.strip("/") or parts.query or parts.fragment:
        raise ConfigurationError(
            "the filesystem:// URL is not a folder's absolute path alone: write "
            "filesystem:///absolute/path, with each ? # % in it as %3F %23 %25"
        )
    if given:
        raise ConfigurationError(
            f"filesystem:// takes no transport options, and got {min(given)!r}: messages lie "
            "in PATH/messages and tables in PATH/control; that is what to tell kombu at the other "
            "end as data_folder_in, data_folder_out and control_folder"
        )
    full = f"filesystem://{quote(path)}"
    options = {"path": path}
    return BrokerUrl(
        "filesystem", full, f"filesystem://{path}", _OURS.format("filesystem"), options
    )
