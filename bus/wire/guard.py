"""Signs what a process sends, and stops at the door what no peer of its has signed.

Decided here: who has to sign. Native peers do, once there are keys; taskflow's know no signatures.
Where both are spoken to, what comes without our header passes for taskflow's, is marked as foreign,
and is believed only about what taskflow's workers were sent. How a signature is made and checked is
``protocol.signing``'s.

Called by the publisher's thread (``sign``) and the listener's (``check``).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from bus.wire.keyfile import KeyFile
from protocol.envelope import HEADER
from protocol.errors import ConfigurationError, MessageRefused
from protocol.parcel import Parcel
from protocol.signing import SIGNATURE, Sealed, destination, sign, verify
from protocol.topology import Dialect, Queue


class Guard:
    """Keys, and the destinations that are ours."""

    def __init__(
        self,
        file: KeyFile,
        queues: Sequence[Queue],
        *,
        is_required: bool,
        has_taskflow: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``queues``: what we consume. ``clock``: seconds since 1970."""
        self.file = file
        #: Whether what is unsigned is refused.
        self.is_required = is_required
        self._has_taskflow = has_taskflow
        self._ours = frozenset(map(_read_as, queues))
        self._clock = clock

    def sign(self, parcel: Parcel, header: str | None) -> str | None:
        """The signature of what is about to leave, with ``header`` as its text; None: unsigned."""
        if header is None and self._has_taskflow:
            return None
        around, address = parcel.envelope, parcel.address
        return sign(
            self.file.keys(),
            destination(address.exchange, address.routing_key),
            Sealed(around.kind, around.reply_to, around.correlation_id, header),
            parcel.body,
            self._clock(),
        )

    def check(self, properties: dict[str, Any], headers: dict[str, Any], body: object) -> bool:
        """Whether what came is foreign: unsigned, and let in as taskflow's.

        Raises ``MessageRefused``: reason ``unsigned``, or one of ``protocol.signing.verify``.
        """
        signature = headers.get(SIGNATURE)
        if signature is not None:
            verify(
                self.file.keys(),
                signature,
                self._ours,
                Sealed(
                    properties.get("type"),
                    properties.get("reply_to"),
                    properties.get("correlation_id"),
                    headers.get(HEADER),
                ),
                _bytes_of(body),
                self._clock(),
            )
            return False
        if not self.is_required:
            return False
        if self._has_taskflow and headers.get(HEADER) is None:
            return True
        raise MessageRefused("unsigned", "no signature, and this process demands one")

    def __str__(self) -> str:
        """For a person at the terminal."""
        keys = self.file.keys()
        others = [name for name in keys.accepted if name != keys.signs.id]
        also = f", accepts {', '.join(others)} too" if others else ""
        unsigned = "refused" if self.is_required else "ACCEPTED (--no-require-signature)"
        return f"with key {keys.signs.id}{also}; what is unsigned is {unsigned}"


def make_guard(
    signing_keys: str | os.PathLike[str] | None,
    require_signature: bool | None,
    dialects: Sequence[Dialect],
    queues: Sequence[Queue],
) -> Guard | None:
    """The guard that is asked for; None: nothing is signed.

    With keys a signature is required of native peers unless ``require_signature`` is False. Raises
    ``ConfigurationError`` for keys that cannot be read, and where one is required (True) that
    cannot be had.
    """
    if signing_keys is None:
        if require_signature is not None:
            raise ConfigurationError(
                f"require_signature={require_signature} needs keys: say --signing-keys FILE, or "
                "signing_keys=FILE"
            )
        return None
    if require_signature and "taskflow" in dialects:
        raise ConfigurationError(
            "signatures are required, and taskflow's peers know none: leave the taskflow dialect "
            "out, or do not require them"
        )
    file = KeyFile(signing_keys)
    if "native" not in dialects:
        return None
    return Guard(
        file,
        queues,
        is_required=require_signature is not False,
        has_taskflow="taskflow" in dialects,
    )


def _read_as(queue: Queue) -> str:
    """The destination under which what is in this queue was sent."""
    if queue.exchange is None:
        return destination("", queue.routing_key)
    return destination(queue.exchange.name, queue.routing_key)


def _bytes_of(body: object) -> bytes:
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode("utf-8", "surrogatepass")
    if isinstance(body, (bytearray, memoryview)):
        return bytes(body)
    raise MessageRefused("signature", f"a body of type {type(body).__name__}, bytes expected")
