"""What can never be published, told from what cannot be published now."""

from __future__ import annotations

import pytest
from amqp import exceptions as amqp
from kombu.transport.virtual import NotEquivalentError
from redis import exceptions as redis

from bus.wire.outgoing import Undeliverable, is_final, properties_of
from bus.wire.transports.local import faults
from protocol.envelope import HEADER, NOTIFY, RESPONSE, Envelope, Header
from protocol.parcel import Parcel
from protocol.topology import Address

TO = Address("", "queue")


def test_only_what_is_said_travels() -> None:
    properties = properties_of(Parcel(TO, Envelope(NOTIFY), b"{}"))
    assert properties["type"] == "NOTIFY"
    assert properties["headers"] == {}
    assert "reply_to" not in properties
    assert "correlation_id" not in properties
    said = Envelope(RESPONSE, "r", "c", Header(worker="w"))
    properties = properties_of(Parcel(TO, said, b"{}"))
    assert (properties["reply_to"], properties["correlation_id"]) == ("r", "c")
    assert properties["headers"] == {HEADER: '{"v":1,"w":"w"}'}


@pytest.mark.parametrize(
    "parcel",
    [
        Parcel(TO, Envelope(NOTIFY, header=Header(version=0)), b"{}"),
        Parcel(TO, Envelope(NOTIFY, reply_to="ü" * 128), b"{}"),
        Parcel(TO, Envelope(NOTIFY, correlation_id="\udfff"), b"{}"),
        Parcel(Address("", "x" * 256), Envelope(NOTIFY), b"{}"),
        Parcel(Address("x" * 256, ""), Envelope(NOTIFY), b"{}"),
    ],
)
def test_what_fits_into_no_broker_is_undeliverable_by_name(parcel: Parcel) -> None:
    with pytest.raises(Undeliverable) as caught:
        properties_of(parcel)
    assert caught.value.parcel is parcel
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (amqp.PreconditionFailed("message size is larger than allowed"), True),
        (amqp.NotFound("no exchange"), True),
        (amqp.AccessRefused("no permission"), True),
        (amqp.ConnectionForced("going down"), False),
        (amqp.ResourceLocked("somebody's own"), False),
        (amqp.UnexpectedFrame("what"), False),
        (amqp.RecoverableConnectionError("gone"), False),
        (NotEquivalentError("declared differently"), True),
        (faults.NotFound("no exchange"), True),
        (faults.DeclaredDifferently("declared differently"), True),
        (faults.DiskFull("no space"), False),
        (faults.BrokerGone("closed"), False),
        (redis.ResponseError("WRONGTYPE Operation against a key"), True),
        (redis.ResponseError("Command # 1 caused error: WRONGTYPE Operation against a key"), True),
        (redis.ResponseError("MISCONF Redis is configured to save RDB snapshots"), False),
        (redis.OutOfMemoryError("OOM command not allowed"), False),
        (redis.ReadOnlyError("READONLY"), False),
        (redis.ConnectionError("refused"), False),
        (TimeoutError("timed out"), False),
        (AttributeError("'NoneType' object has no attribute 'drain'"), False),
    ],
)
def test_a_no_for_ever_is_told_from_a_not_now(error: Exception, final: bool) -> None:
    assert is_final(error) is final
    around = RuntimeError("a batch failed")
    around.__cause__ = error
    assert is_final(around) is final
