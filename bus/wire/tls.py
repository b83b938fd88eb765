"""TLS to a broker: whom we trust, what we show of ourselves, and that it is always verified.

A ``rediss://`` or ``amqps://`` URL says it in up to three parameters, paths of PEM files::

    ?ca=FILE            who must have signed the server's certificate; without it, whoever the
                        system trusts (OpenSSL's defaults, which SSL_CERT_FILE can replace)
    ?cert=FILE&key=FILE our own certificate, if the server asks for one; ``key`` may be left out
                        if the private key is in the same file

The server's certificate must be signed by one of those, in its time, and made for the host of the
URL; there is no way to leave that out. The files are read for each connection, so that renewed ones
are used from the next one on. Where the private key lives is told to nobody.

Called by ``urls`` (are the files what they should be?) and by the transports, on their threads.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from protocol.errors import ConfigurationError

#: The parameters of a URL that are read here.
PARAMETERS: Final = ("ca", "cert", "key")
#: Under this name a transport of ours finds it among its options.
OPTION: Final = "tls"


@dataclass(frozen=True, slots=True)
class Tls:
    """What a connection needs to know. Paths are absolute."""

    #: Whom the server's certificate must be made for: a host name, or an address.
    host: str
    ca: str | None = None
    cert: str | None = field(default=None, repr=False)
    key: str | None = field(default=None, repr=False)

    @property
    def files(self) -> dict[str, str]:
        """The paths by the names of the parameters."""
        named = zip(PARAMETERS, (self.ca, self.cert, self.key), strict=True)
        return {name: path for name, path in named if path is not None}

    def context(self) -> ssl.SSLContext:
        """A context that verifies chain, dates and host name, TLS 1.2 or newer.

        Raises ``ConfigurationError`` for a file that is not what its parameter says.
        """
        # Not create_default_context: what that trusts and how strictly differs between Pythons.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.ca is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            try:
                context.load_verify_locations(self.ca)
            except (OSError, ValueError) as error:
                raise ConfigurationError(
                    f"the file that ca= names, {self.ca}, cannot be used: {_reason(error)}; name a "
                    "PEM file with the certificate of the CA that signed the server's"
                ) from None
        if self.cert is not None:
            try:
                context.load_cert_chain(self.cert, self.key, password=_no_pass_phrase)
            except (OSError, ValueError) as error:
                raise ConfigurationError(
                    f"our own certificate and key cannot be used: {_reason(error)}; name PEM files "
                    "that belong together, that this user may read and whose key has no pass "
                    "phrase: cert=, and key= if the key is not in the same file"
                ) from None
        return context

    def wrap(self, line: socket.socket) -> ssl.SSLSocket:
        """This connected socket, encrypted. The handshake is for the caller, with a deadline."""
        return self.context().wrap_socket(
            line, server_hostname=self.host, do_handshake_on_connect=False
        )


def read(host: str | None, query: Mapping[str, str]) -> Tls:
    """What a URL's host and parameters come to. Raises ``ConfigurationError``.

    The files are looked at: a wrong one is told at once, and not whenever there is a connection.
    """
    if not host:
        raise ConfigurationError(
            "an encrypted broker's URL names no host, so that nothing says whom its certificate "
            "must be made for: write rediss://HOST/0 or amqps://HOST//"
        )
    paths = {name: str(Path(query[name]).absolute()) for name in PARAMETERS if name in query}
    if "key" in paths and "cert" not in paths:
        raise ConfigurationError(
            "key= is there and cert= is not: a private key is shown with its certificate, "
            "?cert=FILE&key=FILE"
        )
    tls = Tls(host, **paths)
    if paths:
        tls.context()
    return tls


def cut(line: socket.socket) -> None:
    """End a socket's connection, encrypted or not; who reads or writes it returns. Any thread.

    Not ``SSLSocket.shutdown``: that forgets the encryption first, and whoever is about to write
    would send the rest in the clear.
    """
    socket.socket.shutdown(line, socket.SHUT_RDWR)


def _no_pass_phrase() -> str:
    # Without it OpenSSL asks whoever sits at the terminal, and waits.
    raise ValueError("the private key is protected by a pass phrase")


def _reason(error: OSError | ValueError) -> str:
    """In words, without the path: the key's is nobody's business."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or "it cannot be read").replace("_", " ").lower()
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)
