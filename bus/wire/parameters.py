"""The parameters of a server's URL, and what of them and of the options is refused.

Decided here: what may stand after the ``?`` of a Redis or RabbitMQ URL. Whatever would verify less
than everything is refused, in whichever spelling, and so is what nobody would read: who writes
``?ca=`` believes that it is used. Values are repeated nowhere, for there may be half a password in
them. Pure; called by ``urls``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl

from bus.wire.tls import PARAMETERS
from protocol.errors import ConfigurationError

#: With TLS, and what the same is called without it.
PLAIN: Final = {"rediss": "redis", "amqps": "amqp"}

#: These go through to kombu.
_KOMBUS_OWN: Final = ("connect_timeout", "heartbeat", "login_method")
#: How others spell what we call ca, cert and key.
_ELSEWHERE: Final = {
    "ssl_ca_certs": "ca",
    "ssl_ca": "ca",
    "ca_certs": "ca",
    "cacertfile": "ca",
    "cafile": "ca",
    "ssl_certfile": "cert",
    "ssl_cert": "cert",
    "certfile": "cert",
    "ssl_keyfile": "key",
    "ssl_key": "key",
    "keyfile": "key",
}
#: Whatever else speaks of TLS is about verifying less than everything.
_WEAKENS: Final = re.compile(
    r"ssl.*|tls.*|verify.*|.*insecure.*|cert_reqs|check_hostname|server_hostname|sni"
    r"|server_name_indication|context"
)
_ALWAYS_VERIFIED: Final = (
    "certificate and name of an encrypted broker are always verified: for a CA of your own, or a "
    "certificate that signed itself, add ?ca=FILE to a rediss:// or amqps:// URL; on a network "
    "that is to be trusted write redis:// or amqp://, without encryption"
)


def read(parts: SplitResult) -> dict[str, str]:
    """The parameters of a server's URL, by name. Raises ``ConfigurationError``."""
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    query: dict[str, str] = {}
    for name, value in pairs:
        _check(parts.scheme, name)
        if not value or name in query:
            raise ConfigurationError(
                f"the {parts.scheme}:// URL has {name}= twice, or without a value"
            )
        query[name] = value
    named = [name for name in PARAMETERS if name in query]
    if named and parts.scheme not in PLAIN:
        encrypted = "rediss" if parts.scheme == "redis" else "amqps"
        raise ConfigurationError(
            f"{parts.scheme}:// is not encrypted, so {named[0]}= has no meaning there: write "
            f"{encrypted}://"
        )
    return query


def check_options(given: Mapping[str, Any]) -> None:
    """A transport option must not do what a URL may not. Raises ``ConfigurationError``."""
    for name in given:
        if _WEAKENS.fullmatch(name.lower()) or name.lower() in _ELSEWHERE:
            raise ConfigurationError(
                f"the transport option {name!r} is not taken: {_ALWAYS_VERIFIED}"
            )


def _check(scheme: str, name: str) -> None:
    if name in PARAMETERS or name in _KOMBUS_OWN:
        return
    if name.lower() in _ELSEWHERE:
        raise ConfigurationError(
            f"the {scheme}:// URL has a parameter {name!r}: here it is called "
            f"{_ELSEWHERE[name.lower()]!r}, as in ?ca=FILE&cert=FILE&key=FILE"
        )
    if _WEAKENS.fullmatch(name.lower()):
        raise ConfigurationError(
            f"the {scheme}:// URL has a parameter that begins with {name[:24]!r}, which is not "
            f"known: {_ALWAYS_VERIFIED}"
        )
    raise ConfigurationError(
        f"the {scheme}:// URL has a parameter that is not known; known are "
        f"{', '.join([*PARAMETERS, *_KOMBUS_OWN])}. A password stands before the host, "
        "user:password@host, with each / ? # [ ] @ : % in it escaped (%2F %3F %23 …)"
    )
