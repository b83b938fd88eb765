"""kombu's Transport over a folder: its one option, connecting, draining, closing."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from kombu.exceptions import ChannelError, ConnectionError
from kombu.transport import virtual

from bus.wire.transports.filesystem import faults
from bus.wire.transports.filesystem.channel import Channel
from bus.wire.transports.filesystem.faults import Gone
from bus.wire.transports.filesystem.layout import Folders
from bus.wire.transports.filesystem.post import Post
from bus.wire.transports.filesystem.tables import Tables

_SHORTEST = 0.002  # seconds between two looks for messages, when there has just been one
_LONGEST = 0.05  # seconds, when there has been none for a while


class Transport(virtual.Transport):
    """Chosen by ``bus.wire.urls`` for ``filesystem://``; the option ``path`` is the folder."""

    Channel = Channel
    polling_interval: Any = None  # stock's sleep between two looks; ours is its own
    driver_type = "filesystem"
    driver_name = "filesystem"
    implements = virtual.Transport.implements.extend(
        asynchronous=False,
        exchange_type=frozenset(["direct", "topic", "fanout"]),
        heartbeats=False,
    )
    connection_errors = (ConnectionError,)
    channel_errors = (ChannelError,)
    recoverable_connection_errors = (Gone,)
    recoverable_channel_errors = ()

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self._folders = Folders(Path(client.transport_options["path"]))
        #: Bindings.
        self.tables = Tables(self._folders.control)
        self._post: Post | None = None
        self._pause = _SHORTEST
        self._first = 0  # whose turn it is among the channels

    @property
    def post(self) -> Post:
        """Messages. Raises ``Gone``."""
        if self._post is None:
            raise Gone(f"the connection to {self._folders.path} is closed")
        return self._post

    @property
    def has_post(self) -> bool:
        """Whether it is connected."""
        return self._post is not None

    def translated(self, doing: str) -> AbstractContextManager[None]:
        """Raise errors of ours instead of the system's."""
        return faults.translated(doing, self._folders.path)

    def establish_connection(self) -> Transport:
        """Make what is missing of the folder. Raises ``Gone``."""
        self.close_connection(self)
        self._post = Post(self._folders)
        return self

    def verify_connection(self, connection: object) -> bool:
        """Whether it is connected."""
        return self.has_post

    def drain_events(self, connection: object, timeout: float | None = None, **_: Any) -> None:
        """Deliver one message, waiting for it up to ``timeout`` seconds; then ``TimeoutError``.

        None waits for ever; a timeout of nought takes what is there.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        self.post.tidy_up()
        while not self._deliver_one():
            left = self._pause if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            time.sleep(min(left, self._pause))
            self._pause = min(self._pause * 1.5, _LONGEST)
        self._pause = _SHORTEST

    def _deliver_one(self) -> bool:
        """From each channel in turn, so that none starves the others."""
        channels = list(self.channels)
        self._first += 1
        places = ((self._first + step) % len(channels) for step in range(len(channels)))
        return any(channels[place].deliver_one() for place in places)

    def close_connection(self, connection: object) -> None:
        """Close the channels, give everything back, leave the desk. Twice is fine."""
        try:
            for channel in list(self.channels):
                channel.close()
        finally:
            post, self._post = self._post, None
            if post is not None:
                post.close()
