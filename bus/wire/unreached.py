"""Why a connection to a broker did not come about, in words that say what to do.

Decided here: what an exception of the libraries below means to who has to mend it. Most of it is
about TLS, where those speak of records and alerts. Called by ``broker``, on its thread.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Final

from bus.wire.tls import Tls
from bus.wire.urls import BrokerUrl
from protocol.errors import BrokerUnavailable, ConfigurationError

#: OpenSSL's numbers for what it has against a certificate (``X509_V_ERR_…``, x509_vfy.h).
_NOT_YET: Final = 9
_EXPIRED: Final = 10
_OTHER_NAME: Final = (62, 64)  # host name, address

#: What OpenSSL says of an answer that is no TLS, in the words of its several versions.
_NOT_TLS: Final = frozenset(
    {
        *("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "HTTP_REQUEST"),
        *("PACKET_LENGTH_TOO_LONG", "BAD_RECORD_TYPE", "UNEXPECTED_MESSAGE"),
    }
)
#: What it calls the other side's words about *our* certificate, without its prefixes.
_ABOUT_OURS: Final = (
    *("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "UNKNOWN_CA", "BAD_CERTIFICATE"),
    *("CERTIFICATE_EXPIRED", "CERTIFICATE_REVOKED", "CERTIFICATE_UNKNOWN", "ACCESS_DENIED"),
    "UNSUPPORTED_CERTIFICATE",
)
#: Replies of an AMQP server to a login, and to a virtual host (AMQP 0-9-1, 1.2).
_ACCESS_REFUSED: Final = 403
_NOT_ALLOWED: Final = 530
#: The same of a database, by Redis (a number too high) and by kombu (none at all).
_NO_DATABASE: Final = ("DB index is out of range", "Database is int between")
_TLS_SCHEMES: Final = {"redis": "rediss", "amqp": "amqps"}


class Untrusted(BrokerUnavailable):
    """It is there, and one of us does not trust the other: that will not mend itself."""


def unreached(error: BaseException, url: BrokerUrl) -> BrokerUnavailable:
    """What to raise instead: what was done, with what, what was found, what to do."""
    doing = f"connecting to {url.shown} failed:"
    if isinstance(error, ConfigurationError):  # a file of ours that was good when we started
        return Untrusted(f"{doing} {error}")
    behind = list(_behind(error))
    for each in behind if url.tls is not None else ():
        said = _of_tls(each, url)
        if said:
            return Untrusted(f"{doing} {said}")
    return BrokerUnavailable(f"{doing} {_otherwise(error, behind, url)}")


def _otherwise(error: BaseException, behind: list[BaseException], url: BrokerUrl) -> str:
    said = f"{type(error).__name__}: {error}"
    if url.kind in ("local", "filesystem"):
        return said
    if any(isinstance(each, TimeoutError) for each in behind):
        also = ", and does it speak TLS at this port" if url.tls is not None else ""
        return f"{said}; is it running, is the URL right{also}?"
    if refused := _refused(behind):
        return f"{said}; it is running, and {refused}"
    has_hung_up = any(_hung_up(each) for each in behind)
    if url.tls is not None and has_hung_up:
        return f"it ended the line at the TLS handshake ({said}): {_perhaps(url.tls)}"
    said = f"{said}; is it running, and is the URL right?"
    if url.kind in _TLS_SCHEMES and has_hung_up:
        return f"{said} If it speaks TLS at this port, write {_TLS_SCHEMES[url.kind]}://"
    return said


def _refused(behind: list[BaseException]) -> str | None:
    """What it has against us, if it answered and does not let us in.

    It is tried again all the same: a broker that is just starting may not know its users yet.
    """
    for each in behind:
        code = getattr(each, "reply_code", None)
        if code == _ACCESS_REFUSED or type(each).__name__ == "AuthenticationError":  # redis-py's
            return (
                "does not know this user and password: correct them in the URL, user:password@host"
            )
        if code == _NOT_ALLOWED or any(words in str(each) for words in _NO_DATABASE):
            return (
                "does not let us into what stands after its host and port in the URL: correct that"
            )
    return None


def _perhaps(tls: Tls) -> str:
    """Which of the two it was, only the other side knows: OpenSSL may not get to read its alert."""
    if tls.cert is None:
        return (
            "either it does not speak TLS at this port, or it asks for a certificate of ours, "
            "?cert=FILE&key=FILE; its own log says which"
        )
    return (
        "either it does not speak TLS at this port, or it does not take our certificate, the one "
        "that cert= names; its own log says which"
    )


def _of_tls(error: BaseException, url: BrokerUrl) -> str | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _of_its_certificate(error, url)
    if not isinstance(error, ssl.SSLError):
        return None
    reason = error.reason or ""
    if reason in _NOT_TLS:
        return (
            f"what answers there does not speak TLS ({_words(reason)}): name the port at which it "
            f"does, or, if the network between is to be trusted, write {url.kind}://"
        )
    if "ALERT" in reason and reason.endswith(_ABOUT_OURS):
        if url.tls is not None and url.tls.cert is None:
            return (
                f"it asks for a certificate of ours ({_words(reason)}): add ?cert=FILE&key=FILE "
                "to the URL"
            )
        return (
            f"it does not take our certificate, the one that cert= names ({_words(reason)}): have "
            "one made that is in its time and signed by a CA the server trusts"
        )
    return None


def _of_its_certificate(error: ssl.SSLCertVerificationError, url: BrokerUrl) -> str:
    assert url.tls is not None
    found = error.verify_message.rstrip(".")
    if error.verify_code in _OTHER_NAME:
        return (
            f"its certificate is made for another host ({found}): name the host as its certificate "
            "does, or have a certificate made for this name"
        )
    if error.verify_code == _EXPIRED:
        return (
            f"its certificate is out of date ({found}): renew it at the server, or set this "
            "machine's clock; nothing has to be restarted here"
        )
    if error.verify_code == _NOT_YET:
        return f"its certificate is not valid yet ({found}): compare the clocks of both machines"
    trusted = f"the CA in {url.tls.ca}" if url.tls.ca else "a CA that this system trusts"
    return (
        f"its certificate is not signed by {trusted} ({found}): name the certificate of the CA "
        "that did sign it with ?ca=FILE"
    )


def _hung_up(error: BaseException) -> bool:
    """Whether the other side ended the line, or said something that is none of the protocol."""
    return (
        isinstance(error, (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError))
        or "closed" in str(error)
        or "frame_end" in str(error)
    )


def _words(reason: str) -> str:
    return reason.replace("_", " ").lower()


def _behind(error: BaseException) -> Iterator[BaseException]:
    """It, and what it came from."""
    seen: set[int] = set()
    now: BaseException | None = error
    while now is not None and id(now) not in seen:
        seen.add(id(now))
        yield now
        now = now.__cause__ or now.__context__
