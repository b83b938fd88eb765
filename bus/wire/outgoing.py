"""What kombu is told when a parcel is published, and whether a failure to is final.

Decided here: which parcels can never be taken, whoever tries and however often. A publisher that
tried for ever would keep everything behind them. Called by ``broker``, on its thread.
"""

from __future__ import annotations

from typing import Any, Final

from kombu.transport.virtual import NotEquivalentError

from bus.wire.guard import Guard
from protocol.envelope import HEADER, MAX_PROPERTY
from protocol.errors import BrokerError, PeerError, SubmitRefused
from protocol.messages import CONTENT_ENCODING, CONTENT_TYPE
from protocol.parcel import Parcel
from protocol.signing import SIGNATURE

_PERSISTENT: Final = 2  # AMQP delivery_mode

#: AMQP's reply codes for what stays refused: no permission, no such exchange, and declared
#: differently or too large. The local broker uses the same.
_FINAL: Final = (403, 404, 406)
#: The same for a mandatory message that reaches no queue.
_NO_ROUTE: Final = 312


class Undeliverable(BrokerError):
    """A parcel that the broker does not take and will not take later."""

    def __init__(self, message: str, parcel: Parcel | None = None) -> None:
        super().__init__(message)
        #: Which one; None if it is one of those that were published, and not known which.
        self.parcel = parcel


def properties_of(parcel: Parcel, guard: Guard | None = None) -> dict[str, Any]:
    """All but the body, as ``kombu.Producer.publish`` wants it; signed now, if there is a guard.

    Raises ``Undeliverable`` for a header or property that could not travel.
    """
    envelope, address = parcel.envelope, parcel.address
    properties: dict[str, Any] = {
        "exchange": _short("exchange", address.exchange, parcel),
        "routing_key": _short("routing key", address.routing_key, parcel),
        "content_type": CONTENT_TYPE,
        "content_encoding": CONTENT_ENCODING,
        "delivery_mode": _PERSISTENT,
        "headers": {},
        "type": _short("type", envelope.kind, parcel),
    }
    if envelope.reply_to is not None:
        properties["reply_to"] = _short("reply_to", envelope.reply_to, parcel)
    if envelope.correlation_id is not None:
        properties["correlation_id"] = _short("correlation_id", envelope.correlation_id, parcel)
    header = None
    if envelope.header is not None:
        try:
            header = envelope.header.to_text()
        except (PeerError, SubmitRefused) as error:
            raise Undeliverable(str(error), parcel) from error
        properties["headers"][HEADER] = header
    signature = guard.sign(parcel, header) if guard is not None else None
    if signature is not None:
        properties["headers"][SIGNATURE] = signature
    return properties


def is_final(error: BaseException | None) -> bool:
    """Whether an error of a broker's says "never" to a message, and not "not now"."""
    while error is not None:
        if isinstance(error, NotEquivalentError) or getattr(error, "code", None) in _FINAL:
            return True
        if "WRONGTYPE Operation" in str(error):  # Redis: the queue's name is that of no list
            return True
        error = error.__cause__
    return False


def is_unroutable(error: BaseException) -> bool:
    """Whether it says that a mandatory message found no queue, and that nothing was published."""
    return getattr(error, "code", None) == _NO_ROUTE


def _short(what: str, text: str, parcel: Parcel) -> str:
    """``text`` if it fits into an AMQP short string, which is what each broker takes."""
    try:
        length = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise Undeliverable(f"{what} {ascii(text)[:60]}: {error.reason}", parcel) from error
    if length > MAX_PROPERTY:
        raise Undeliverable(f"{what} of {length} > {MAX_PROPERTY} bytes", parcel)
    return text
