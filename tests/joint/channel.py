"""Everything that is under way: lost, doubled, delayed, reordered and misdelivered as one likes.

What travels goes through its text form, as on a broker; who is there when a fan-out is sent has a
copy of it under way. What a broker does (AMQP, Redis) is a few of the things this channel can do.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from protocol import envelope, messages
from protocol.envelope import Envelope, Header
from protocol.parcel import Parcel, Received
from protocol.topology import Names, inbox_key

EXCHANGE = "joint"
TOPIC = "default"
NAMES = Names("native", EXCHANGE)

_CALL = NAMES.to_everybody(NAMES.call).exchange
_HELLO = NAMES.to_everybody(NAMES.hello).exchange
_TO_TOPIC = NAMES.to_topic(TOPIC).routing_key
_TO_REPLIES = NAMES.to_replies("").routing_key
_TO_INBOX = NAMES.to_inbox(inbox_key(TOPIC, "")).routing_key

#: Most letters under way; of more, the oldest are lost.
MOST = 60


@dataclass(frozen=True, slots=True)
class Letter:
    """One message under way."""

    #: ``executor``, ``worker`` (one process' inbox) or ``topic`` (whichever worker reads first).
    side: str
    #: The executor's id, the worker's boot, or the topic.
    to: str
    parcel: Parcel

    @property
    def received(self) -> Received:
        """What it is when it arrives."""
        parcel = self.parcel
        return arrived(parcel.envelope, parcel.body, self.side != "executor")

    def __str__(self) -> str:
        around = self.parcel.envelope
        header = around.header
        words = [around.kind]
        if around.correlation_id:
            words.append(around.correlation_id)
        if header is not None and header.tickets:
            words.append(f"ticket {header.tickets} attempt {header.attempt or 1}")
        if around.kind not in (envelope.NOTIFY, envelope.REQUEST):
            words.append(self.parcel.body.decode()[:120])
        if header is not None and header.boot is not None and self.side == "executor":
            words.append(f"from {header.boot.lstrip('0')}")
        return f"{' '.join(words)} to {self.to.lstrip('0')}"


_CLOCK = Header._fields.index("clock")


def arrived(around: Envelope, body: bytes, at_worker: bool) -> Received:
    """What comes of it when it has been a text.

    Reading is pure, and nearly all that travels differs from what has travelled before by its clock
    alone: that is taken out, and the rest remembered as it was read.
    """
    kind, header = around.kind, around.header
    message = _read(kind, body, at_worker)
    if header is None or (header.clock is not None and header.clock <= 0):
        return Received(carried(around, at_worker), message)
    said = header[:_CLOCK], header.clock is None, header[_CLOCK + 1 :]
    known = (kind, around.reply_to, around.correlation_id, at_worker, *said)
    parsed = _by_rest.get(known)
    if parsed is None:
        parsed = carried(around, at_worker)
        if len(_by_rest) > _MOST_REMEMBERED:
            _by_rest.clear()
        _by_rest[known] = parsed
    assert parsed.header is not None
    if parsed.header.clock != header.clock:
        read = Header._make((*parsed.header[:_CLOCK], header.clock, *parsed.header[_CLOCK + 1 :]))
        parsed = Envelope(parsed.kind, parsed.reply_to, parsed.correlation_id, read)
    return Received(parsed, message)


#: How messages were read, by all that was in them but the clock.
_by_rest: dict[object, Envelope] = {}
_MOST_REMEMBERED = 1 << 15


@lru_cache(maxsize=1 << 15)
def _read(kind: str, body: bytes, at_worker: bool) -> messages.Message:
    return messages.decode(kind, body, at_worker=at_worker)


def carried(around: Envelope, at_worker: bool) -> Envelope:
    """What stands beside a body, written as a text and read from it."""
    text = around.header.to_text() if around.header else None
    return envelope.parse(
        around.kind, around.reply_to, around.correlation_id, text, at_worker=at_worker
    )


class Channel:
    """The letters under way, the oldest first."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        #: How many were ever handed over to it, fan-outs counted once.
        self.sent = 0

    def publish(self, parcel: Parcel, executors: list[str], boots: list[str]) -> list[Letter]:
        """Take it over; what is under way now. The lists: who hears fan-outs at this moment."""
        self.sent += 1
        address = parcel.address
        if address.exchange == _CALL:
            made = [Letter("worker", boot, parcel) for boot in boots]
        elif address.exchange == _HELLO:
            made = [Letter("executor", name, parcel) for name in executors]
        else:
            made = [_addressed(address.routing_key, parcel)]
        self.letters += made
        if len(self.letters) > MOST:
            del self.letters[: len(self.letters) - MOST]
        return made


def _addressed(key: str, parcel: Parcel) -> Letter:
    if key == _TO_TOPIC:
        return Letter("topic", TOPIC, parcel)
    if key.startswith(_TO_INBOX):
        return Letter("worker", key[len(_TO_INBOX) :], parcel)
    assert key.startswith(_TO_REPLIES), f"nobody reads {key}"
    return Letter("executor", key[len(_TO_REPLIES) :], parcel)
