"""kombu's messages are kept from opening what nobody has looked at, whatever the transport."""

from __future__ import annotations

import zlib
from typing import Any

import amqp
import kombu
import pytest
from kombu.transport import memory, pyamqp, redis, virtual

from bus.wire.unopened import keep_closed


class _Channel:
    """As much of a kombu channel as has to do with making messages."""

    def __init__(self, kind: Any) -> None:
        self.Message = kind

    def decode_body(self, body: Any, encoding: Any) -> Any:
        """As a virtual channel's, of what is not encoded."""
        return body


def raw(body: Any, headers: Any) -> dict[str, Any]:
    """A message as a virtual transport has it."""
    return {"body": body, "headers": headers, "properties": {"delivery_tag": 1}}


@pytest.mark.parametrize("kind", [virtual.Message, memory.Channel.Message, redis.Channel.Message])
def test_a_virtual_message_is_not_unpacked(kind: Any) -> None:
    channel = _Channel(kind)
    keep_closed(channel)
    bomb = zlib.compress(b" " * 1_000_000)
    message = channel.Message(raw(bomb, {"compression": "application/x-gzip"}), channel=channel)
    assert isinstance(message, kind)
    assert message.body == bomb
    assert message.headers == {"compression": "application/x-gzip"}
    assert message.errors == []


def test_an_amqp_message_is_not_unpacked() -> None:
    channel = _Channel(pyamqp.Message)
    keep_closed(channel)
    packed = zlib.compress(b"{}")
    there = amqp.Message(packed, application_headers={"compression": "application/x-gzip"})
    there.delivery_info = {"delivery_tag": 7}
    message = channel.Message(there, channel=channel)
    assert message.body == packed
    assert message.delivery_tag == 7
    assert message.errors == []


@pytest.mark.parametrize("headers", ["text", [1], 5])
def test_headers_that_are_no_table_are_an_error_of_the_message(headers: Any) -> None:
    channel = _Channel(virtual.Message)
    keep_closed(channel)
    message = channel.Message(raw(b"{}", headers), channel=channel)
    assert message.headers == {}
    assert isinstance(message.errors[0][1], TypeError)


def test_other_users_of_kombu_keep_theirs() -> None:
    """Only the channel is changed, and no class of kombu's."""
    with kombu.Connection("memory://") as connection:
        keep_closed(connection.default_channel)
        message = virtual.Message(
            raw(zlib.compress(b"x"), {"compression": "application/x-gzip"}),
            channel=connection.default_channel,
        )
        assert message.body == b"x"
