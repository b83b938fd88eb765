"""Whose message it is: a signature beside it, made with a key that both sides hold.

Decided here: what a signature covers, what it looks like, and which one is believed. Which key a
process signs with and where keys are kept is not; the clock is handed in. Called on the way out
and on the way in, before anything of a body is read; any thread.

*What is signed* (HMAC-SHA256) is everything a message means to its reader: the key's id, the time,
where it is sent, its kind, reply_to, correlation id, our header as the text that travels (so the
attempt, the start-by, the tickets and the addressee in it too) and the body's bytes. Each is
preceded by its length, so that nothing can be moved from one into the next. A property that is
missing and one that is empty mean the same to every reader, and are signed alike. The content type
is not among them because only one is ever read, and compressed bodies are refused unopened: who
changes these gets a refusal.

*What a copy is good for.* Within the window a signed message may be delivered again by anybody who
can write to the broker. The dialect expects that of every broker: tickets, attempts and clocks make
a copy say nothing that the original has not said. To another reader than the one it was written for
a copy is worth nothing, for the destination is signed. Outside the window it is refused.

*The window* is as long as a queue may lie unread (``timing.REPLY_EXPIRES``): an executor with a
journal that was away for a night must find its results believed. What is sent again is signed
again, so nothing lives longer than its last signature.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64encode
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Final

from protocol.errors import ConfigurationError, MessageRefused
from protocol.timing import SIGNATURE_AGE, SIGNATURE_AHEAD

#: The name of the signature among a message's headers.
SIGNATURE: Final = "x-taskline-signature"
#: Longest signature that is looked at, in characters.
MAX_SIGNATURE: Final = 512
#: Fewest bytes of a secret: half of what the hash gives, below which guessing gets cheaper.
MIN_SECRET: Final = 16

_VERSION: Final = "1"
#: Bytes of a body up to which one call over a copy is quicker than two without.
_SMALL: Final = 16 * 1024
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TIME: Final = re.compile(r"[0-9]{1,15}")


@dataclass(frozen=True, slots=True)
class Key:
    """One secret, and how it is called."""

    id: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keys:
    """All that are believed; the first signs."""

    signs: Key
    accepted: Mapping[str, Key] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sealed:
    """What of one message is signed beside its body, each as it travels; None: missing."""

    kind: object
    reply_to: object
    correlation_id: object
    #: The text under ``envelope.HEADER``.
    header: object


def parse_keys(text: str, where: str) -> Keys:
    """The keys of a key file: a line ``id: secret`` each, the secret in hexadecimal digits.

    Empty lines and what follows a ``#`` say nothing. The first key signs. ``where`` names the file.
    Raises ``ConfigurationError`` that names the line, and never what stands in it.
    """
    found: dict[str, Key] = {}
    for number, line in enumerate(text.splitlines(), 1):
        said = line.partition("#")[0].strip()
        if not said:
            continue
        name, colon, digits = said.partition(":")
        name = name.strip()
        if not colon or _ID.fullmatch(name) is None:
            raise ConfigurationError(
                f"{where}, line {number}: write ID: SECRET, the id of 1 to 64 of A-Z a-z 0-9 . _ -"
            )
        if name in found:
            raise ConfigurationError(f"{where}, line {number}: there is a key {name!r} already")
        found[name] = Key(name, _secret(digits.strip(), f"{where}, line {number}"))
    if not found:
        raise ConfigurationError(
            f'{where} holds no key; make one with: echo "$(date +%F): $(openssl rand -hex 32)"'
        )
    return Keys(next(iter(found.values())), found)


def _secret(digits: str, where: str) -> bytes:
    try:
        secret = bytes.fromhex(digits)
    except ValueError:
        raise ConfigurationError(
            f"{where}: the secret is not in hexadecimal digits; openssl rand -hex 32 makes one"
        ) from None
    if len(secret) < MIN_SECRET:
        raise ConfigurationError(
            f"{where}: a secret of {len(secret)} bytes; {MIN_SECRET} are the least, and "
            "openssl rand -hex 32 makes one of 32"
        )
    return secret


def destination(exchange: str, routing_key: str) -> str:
    """Where a message is sent, as it is signed; no name of ours holds a slash."""
    return f"{exchange}/{routing_key}"


def sign(keys: Keys, to: str, sealed: Sealed, body: bytes, now: float) -> str:
    """The signature of a message to ``to`` (a :func:`destination`).

    ``now``: seconds since 1970, as other machines count them too.
    """
    key = keys.signs
    time = str(int(now * 1000))
    return " ".join((_VERSION, key.id, time, to, _mac(key, time, to, sealed, body)))


def verify(
    keys: Keys, signature: object, ours: Container[str], sealed: Sealed, body: bytes, now: float
) -> None:
    """Raise ``MessageRefused`` unless this is our peers', for us, and of late.

    ``ours``: the destinations we read. The reasons: ``signature`` (none that can be read, or it
    does not fit the message), ``signature_key`` (made with a key we do not have),
    ``signature_address`` (for somebody else), ``signature_age`` (outside the window).
    """
    if not isinstance(signature, str) or len(signature) > MAX_SIGNATURE:
        raise MessageRefused("signature", f"{SIGNATURE} is no text of a signature")
    said = signature.split(" ")
    if len(said) != 5 or said[0] != _VERSION or _TIME.fullmatch(said[2]) is None:
        raise MessageRefused("signature", f"{SIGNATURE} is not of the form we know")
    _, name, time, to, mac = said
    key = keys.accepted.get(name)
    if key is None:
        shown = repr(name) if _ID.fullmatch(name) else "of no valid name"
        raise MessageRefused("signature_key", f"signed with a key we do not have, {shown}")
    if not hmac.compare_digest(_mac(key, time, to, sealed, body).encode(), _bytes_of(mac)):
        raise MessageRefused(
            "signature",
            f"it does not fit: the message was changed on its way, or its sender's key {name!r} "
            "is another one than ours",
        )
    if to not in ours:
        raise MessageRefused("signature_address", f"a copy of what was signed for {to!r}")
    age = now - int(time) / 1000
    if age > SIGNATURE_AGE:
        raise MessageRefused(
            "signature_age",
            f"signed {age:.0f} s ago, {SIGNATURE_AGE:.0f} s at most: it is an old copy, lay too "
            "long in a queue, or the clocks differ",
        )
    if age < -SIGNATURE_AHEAD:
        raise MessageRefused(
            "signature_age",
            f"signed {-age:.0f} s ahead of our clock, {SIGNATURE_AHEAD:.0f} s at most: set the "
            "clocks of both machines",
        )


def _mac(key: Key, time: str, to: str, sealed: Sealed, body: bytes) -> str:
    framed = bytearray()
    for part in (
        "taskline message",
        _VERSION,
        key.id,
        time,
        to,
        sealed.kind,
        sealed.reply_to,
        sealed.correlation_id,
        # Not the same: a header that is empty is no header.
        sealed.header if not isinstance(sealed.header, str) else f"={sealed.header}",
    ):
        data = _bytes_of(part)
        framed += len(data).to_bytes(8, "big")
        framed += data
    framed += len(body).to_bytes(8, "big")
    if len(body) < _SMALL:
        digest = hmac.digest(key.secret, framed + body, "sha256")
    else:
        code = hmac.new(key.secret, framed, hashlib.sha256)
        code.update(body)
        digest = code.digest()
    return b64encode(digest).decode("ascii")


def _bytes_of(part: object) -> bytes:
    """A text, or nothing; what is neither is refused."""
    if part is None:
        return b""
    if isinstance(part, str):
        return part.encode("utf-8", "surrogatepass")
    raise MessageRefused("signature", f"a property of type {type(part).__name__}, a text expected")
