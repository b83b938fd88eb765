"""kombu's Transport over the local broker: options, connecting, draining, closing.

``drain_events`` is a loop of: deliver one message; else, a moment later, delete what is
acknowledged and sleep in ``poll`` until a publisher, another thread or the death of a peer ends it.
No interval is polled; every 250 ms the sleep ends to look for the dead.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from kombu.exceptions import ChannelError, ConnectionError
from kombu.transport import virtual

from bus.wire.transports.local.channel import Channel
from bus.wire.transports.local.faults import BrokerGone
from bus.wire.transports.local.store import Store
from bus.wire.transports.local.topology import EXCHANGE_TYPES
from protocol.errors import ConfigurationError

__all__ = ["Transport"]

_SYNC = ("normal", "full")
#: What kombu itself writes into the transport options (``Producer.publish(retry_policy=...)``).
_KOMBUS_OWN = frozenset(
    [
        *("callback", "errback", "on_revive", "retry_errors", "connect_retries_timeout"),
        *("interval_max", "interval_start", "interval_step", "max_retries"),
    ]
)
_SHORTEST_SLEEP = 0.001  # seconds; poll's unit. Less than it left is "take what is there"
_FOR_EVER = 3600.0  # seconds
#: Seconds that the deletion of what is acknowledged may wait. Whoever has been handed it is about
#: to answer, which is a transaction too, and one at a time is written; and if something comes
#: meanwhile, to take that and to delete this is one.
_SOON = 0.005


def read_options(options: Mapping[str, Any]) -> tuple[str, str]:
    """(path, sync) of the transport options. Raises ConfigurationError for anything unknown."""
    unknown = sorted(set(options) - {"path", "sync"} - _KOMBUS_OWN)
    if unknown:
        raise ConfigurationError(
            f"the local broker does not know the option {unknown[0]!r}; it knows 'path' (an "
            "absolute folder) and 'sync' ('normal' or 'full')"
        )
    path = options.get("path")
    if not path or not isinstance(path, (str, os.PathLike)):
        raise ConfigurationError(
            f"the local broker needs the option 'path', an absolute folder, and got {path!r}"
        )
    sync = options.get("sync", "normal")
    if sync not in _SYNC:
        raise ConfigurationError(
            f"the local broker's option 'sync' must be 'normal' or 'full', not {sync!r}"
        )
    return os.fspath(path), sync


class Transport(virtual.Transport):
    """One connection to the broker in one folder. See the package for what it promises."""

    Channel = Channel
    polling_interval: Any = None  # nothing is polled
    driver_type = "local"
    driver_name = "sqlite3"
    supports_batch_publish = True
    implements = virtual.Transport.implements.extend(
        asynchronous=False, batch_publish=True, exchange_type=EXCHANGE_TYPES, heartbeats=False
    )
    connection_errors = (ConnectionError,)
    channel_errors = (ChannelError,)
    # Told apart for kombu's ``ensure``: a full disk, or a fork, must not be reconnected away.
    recoverable_connection_errors = (BrokerGone,)
    recoverable_channel_errors = ()

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self._path, self._sync = read_options(client.transport_options)
        self._store: Store | None = None
        self._first = 0  # whose turn it is among the channels
        self._drainer: int | None = None
        #: How many consumers of each queue (by id) this connection's channels have.
        self.subscriptions: Counter[int] = Counter()

    @property
    def store(self) -> Store:
        """The open store. Raises BrokerGone."""
        if self._store is None:
            raise BrokerGone(f"the connection to the local broker {self._path} is closed")
        return self._store

    @property
    def has_store(self) -> bool:
        """Whether there is one to talk to: open, and of this process."""
        return self._store is not None and self._store.is_usable

    def establish_connection(self) -> Transport:
        """Open the broker, made if it is new. Raises ConfigurationError or an error of faults."""
        self.close_connection(self)
        self._store = Store(self._path, self._sync)
        return self

    def verify_connection(self, connection: object) -> bool:
        """Whether it is open, and ours."""
        return self.has_store

    def driver_version(self) -> str:
        """SQLite's."""
        return sqlite3.sqlite_version

    @property
    def has_more(self) -> bool:
        """Whether something has been taken from the file and not been delivered yet."""
        return any(channel.has_more for channel in list(self.channels))

    def wake_drainer(self) -> None:
        """There is something new for the thread that drains. Any thread."""
        if self._store is not None and self._drainer not in (None, threading.get_ident()):
            self._store.nudge()

    def drain_events(self, connection: object, timeout: float | None = None, **_: Any) -> None:
        """Deliver one message, waiting for it up to ``timeout`` seconds; then ``TimeoutError``.

        None waits for ever; nought and anything below a millisecond takes what is there.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        self._drainer = threading.get_ident()
        store = self.store
        store.sweep_if_due()
        may_wait = True
        while not self._deliver_one():
            left = _FOR_EVER if deadline is None else deadline - time.monotonic()
            if may_wait and left > _SOON and any(each.owes for each in list(self.channels)):
                may_wait = False
                store.wait(_SOON)
                continue
            for channel in list(self.channels):
                channel.flush()
            if left < _SHORTEST_SLEEP:
                raise TimeoutError
            store.wait(left)

    def _deliver_one(self) -> bool:
        """From each channel in turn, so that none starves the others."""
        channels = list(self.channels)
        for step in range(len(channels)):
            place = (self._first + step) % len(channels)
            if channels[place].deliver_one():
                self._first = place + 1
                return True
        return False

    def close_connection(self, connection: object) -> None:
        """Close the channels, give everything back, release the owner. Twice is fine."""
        try:
            for channel in list(self.channels):
                channel.close()
        finally:
            store, self._store = self._store, None
            if store is not None:
                store.close()
