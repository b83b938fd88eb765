"""What we write of a message is what py-amqp would: read by its own reader, and by a broker."""

from __future__ import annotations

from typing import Any

import kombu
import pytest
from amqp.basic_message import Message
from amqp.serialization import loads

from bus.wire import Broker, parse_url
from bus.wire.outgoing import properties_of
from bus.wire.transports.amqp_frames import Frame, Frames
from bus.wire.transports.amqp_messages import frames
from protocol.envelope import NOTIFY, Envelope, Header
from protocol.parcel import Parcel
from protocol.topology import Names

HEADER = Header(executor="ex", incarnation=3)
WHOLE = Envelope(NOTIFY, "asker", "uuid", HEADER)
BARE = Envelope(NOTIFY)


def said(around: Envelope, key: str = "x.a") -> dict[str, Any]:
    """All but the body."""
    return properties_of(Parcel(Names("native", "test").to_inbox(key), around, b""))


def read(data: bytes) -> list[Frame]:
    """The frames these bytes are."""
    found: list[Frame] = []
    at = Frames()
    while data or at.has_one():
        if at.has_one():
            found.append(at.take())
            continue

        def receive(room: memoryview) -> int:
            nonlocal data
            size = min(len(room), len(data))
            room[:size], data = data[:size], data[size:]
            return size

        at.read(receive)
    return found


@pytest.mark.parametrize("around", [WHOLE, BARE], ids=["whole", "bare"])
@pytest.mark.parametrize("size", [0, 1, 4088, 4089, 100_000])
@pytest.mark.parametrize("mandatory", [True, False])
def test_py_amqp_reads_what_was_meant(around: Envelope, size: int, mandatory: bool) -> None:
    body = b"x" * size
    written = b"".join(frames(7, 4096, body, said(around), mandatory=mandatory))
    method, about, *pieces = read(written)
    assert {channel for _, channel, _ in (method, about, *pieces)} == {7}
    assert [kind for kind, _, _ in (method, about, *pieces)] == [1, 2] + [3] * len(pieces)
    _, exchange, key, is_mandatory, is_immediate = loads("Bssbb", method[2][4:], 0)[0]
    assert (exchange, key) == ("", "test.native_x.a")
    assert (is_mandatory, is_immediate) == (mandatory, False)
    message = Message(frame_method=(60, 40), frame_args=b"")
    message.inbound_header(about[2])
    for _, _, piece in pieces:
        assert 0 < len(piece) <= 4096 - 8
        message.inbound_body(piece)
    assert message.ready
    assert (message.body or b"") == body
    expected = {
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "application_headers": {"x-taskline": HEADER.to_text()} if around is WHOLE else {},
        "delivery_mode": 2,
        "type": NOTIFY,
    }
    if around is WHOLE:
        expected |= {"reply_to": "asker", "correlation_id": "uuid"}
    assert message.properties == expected


def test_a_broker_delivers_it_to_stock_kombu(amqp_url: str, names: Names) -> None:
    """Also what is longer than a frame, and a name that is not ASCII."""
    queue = names.inbox("a")
    bodies = [b"", b"{}", b"y" * 1_000_000, b'"\xc3\xa4"']
    broker = Broker(parse_url(amqp_url))
    broker.open()
    broker.declare(queue)
    around = Envelope(NOTIFY, "fragt-ä", "uuid", HEADER)
    try:
        broker.publish([Parcel(names.to_inbox("a"), around, body) for body in bodies])
        with kombu.Connection(amqp_url) as connection:
            channel = connection.default_channel
            found = [channel.basic_get(queue.name, no_ack=True) for _ in bodies]
        assert [each.body.encode() for each in found[1:]] == bodies[1:]
        assert not found[0].body
        assert {each.properties["reply_to"] for each in found} == {"fragt-ä"}
        assert {each.headers["x-taskline"] for each in found} == {HEADER.to_text()}
    finally:
        broker.delete(queue)
        broker.close()
