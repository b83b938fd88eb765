"""Deliveries become validated messages, in lists; what is not one is refused, counted and logged.

Decided here: whether a delivery is a message of the protocol for this side, and in which order that
is looked at: what can be seen without reading it, then its signature, then the rest. Nothing is
answered, acknowledged or tracked here. Called by the listener, on its thread.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from bus.wire.broker import Delivery
from bus.wire.guard import Guard
from bus.wire.unopened import COMPRESSION
from protocol import batch, envelope, messages
from protocol.envelope import HEADER, Envelope
from protocol.errors import MessageRefused
from protocol.parcel import Received, Refused
from protocol.values import Json

logger = logging.getLogger("taskline.bus.wire.dispatcher")

QUIET = 60.0  # seconds between two log lines about the same reason and peer
MAX_LINES = 10  # log lines in that time about one reason, whoever its peers say they are
MAX_REMEMBERED = 1000  # pairs of (reason, peer) whose last log line is remembered
_MAX_PEER: Final = 64
_MAX_SHOWN: Final = 200


class Dispatcher:
    """Sorts deliveries. One thread only; ``refusals`` may be read from any."""

    def __init__(
        self,
        *,
        at_worker: bool,
        clock: Callable[[], float] = time.monotonic,
        guard: Guard | None = None,
    ) -> None:
        self._at_worker = at_worker
        self._guard = guard
        self._clock = clock
        #: How many deliveries were refused, by reason, since the start.
        self.refusals: Counter[str] = Counter()
        self._logged: dict[tuple[str, str], tuple[float, int]] = {}
        #: By reason: since when lines are counted, how many there were, how many there were not.
        self._lines: dict[str, tuple[float, int, int]] = {}

    def sort(self, deliveries: Sequence[Delivery]) -> list[Received | Refused]:
        """What each delivery is, in order. Never raises for anything a peer can send.

        A batch is all that is in it.
        """
        return [found for delivery in deliveries for found in self._sort(delivery)]

    def _sort(self, delivery: Delivery) -> list[Received | Refused]:
        message = delivery.message
        properties = delivery.properties
        kind = properties.get("type")
        reply_to = properties.get("reply_to")
        correlation_id = properties.get("correlation_id")
        guard = self._guard
        # Of what is refused before it is known who wrote it, nobody is to hear: that it names a
        # request or a queue is a stranger's word.
        is_known, is_foreign = guard is None, False
        try:
            headers = message.headers
            if headers.get(COMPRESSION):
                raise MessageRefused("compression", "a compressed body, which is not opened")
            if message.errors:
                raise MessageRefused("unreadable", _shown(message.errors[0][1]))
            if message.content_type != messages.CONTENT_TYPE:
                said = message.content_type
                found = "no content type" if said is None else f"{str(said)[:60]!r}"
                raise MessageRefused("content_type", f"{found}, not {messages.CONTENT_TYPE}")
            messages.demand_length(delivery.size)
            if guard is not None:
                is_foreign = guard.check(properties, headers, message.body)
                is_known = True
            around = envelope.parse(
                kind, reply_to, correlation_id, headers.get(HEADER), at_worker=self._at_worker
            )
            if around.kind == envelope.BATCH:
                return [self._part(part, around) for part in batch.parts(message.body)]
            body = messages.decode(around.kind, message.body, at_worker=self._at_worker)
        except MessageRefused as refusal:
            self._count(refusal, reply_to)
            return [
                Refused(
                    refusal.reason,
                    refusal.detail,
                    _text(kind) if is_known else None,
                    _text(reply_to) if is_known else None,
                    _text(correlation_id) if is_known else None,
                    is_foreign,
                )
            ]
        return [Received(replace(around, is_foreign=True) if is_foreign else around, body)]

    def _part(self, part: dict[str, Json], whole: Envelope) -> Received | Refused:
        """What a message in this batch is: never foreign, for a batch has our header."""
        kind, reply_to, correlation_id = part["type"], whole.reply_to, part.get("correlation_id")
        try:
            assert whole.header is not None
            header = whole.header.with_own(part["header"])
            around = envelope.checked(
                kind, reply_to, correlation_id, header, at_worker=self._at_worker
            )
            if around.kind == envelope.BATCH:
                raise MessageRefused("unknown_type", "a batch in a batch")
            return Received(
                around, messages.read(around.kind, part["body"], at_worker=self._at_worker)
            )
        except MessageRefused as refusal:
            self._count(refusal, reply_to)
            return Refused(
                refusal.reason, refusal.detail, _text(kind), _text(reply_to), _text(correlation_id)
            )

    def _count(self, refusal: MessageRefused, reply_to: object) -> None:
        self.refusals[refusal.reason] += 1
        known = isinstance(reply_to, str) and reply_to
        peer = ascii(reply_to)[:_MAX_PEER] if known else "an unknown peer"
        key = (refusal.reason, peer)
        now = self._clock()
        since, quiet = self._logged.pop(key, (-QUIET, 0))
        if now - since < QUIET:
            self._logged[key] = (since, quiet + 1)
            return
        others = self._may_tell(refusal.reason, now)
        if others is None:
            return
        logger.warning(
            "refused a message from %s: %s: %s%s%s",
            peer,
            refusal.reason,
            refusal.detail,
            f" ({quiet} more like it since the last line)" if quiet else "",
            f" ({others} from other peers were not told of)" if others else "",
        )
        self._logged[key] = (now, 0)
        if len(self._logged) > MAX_REMEMBERED:
            del self._logged[next(iter(self._logged))]  # the one not touched for longest

    def _may_tell(self, reason: str, now: float) -> int | None:
        """How many peers were not told of before; None: nor is this one.

        A peer's name is what its message says: a stranger can have as many as he likes.
        """
        since, lines, untold = self._lines.get(reason, (now, 0, 0))
        if now - since >= QUIET:
            since, lines = now, 0
        if lines >= MAX_LINES:
            self._lines[reason] = since, lines, untold + 1
            return None
        self._lines[reason] = since, lines + 1, 0
        return untold


def _shown(error: object) -> str:
    text = f"{type(error).__name__}: {error}"[:_MAX_SHOWN]
    return text if text.isprintable() else ascii(text)


def _text(value: object) -> str | None:
    if isinstance(value, str) and 0 < len(value) <= envelope.MAX_PROPERTY:
        return value
    return None
