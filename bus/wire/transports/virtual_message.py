"""What kombu's virtual transports keep of a message beside its body, headers and content type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

#: Of what ``Producer.publish`` is told, all but the message's properties.
_BESIDE: Final = ("exchange", "routing_key", "content_type", "content_encoding", "headers")


def properties_in(said: Mapping[str, Any]) -> dict[str, Any]:
    """The properties, anew; ``said``: all but the body, as ``outgoing.properties_of`` says it."""
    return {name: value for name, value in said.items() if name not in _BESIDE}
