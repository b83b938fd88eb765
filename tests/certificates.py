"""Certificates for tests: two authorities, what the first has signed, and what it should not have.

Made by trustme, in a folder of the test's own; nothing here is trusted by anything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

import trustme

_LONG_AGO: Final = datetime(2020, 1, 1, tzinfo=timezone.utc)
_SINCE_LONG: Final = datetime(2021, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Certificates:
    """Paths of PEM files, all of keys of this test run."""

    folder: Path

    @property
    def ca(self) -> Path:
        """Who has signed everything but ``alien``."""
        return self.folder / "ca.pem"

    @property
    def other_ca(self) -> Path:
        """Who has signed ``alien``."""
        return self.folder / "other-ca.pem"

    @property
    def server(self) -> Path:
        """Made for ``localhost``, and for no address; its key is ``server_key``."""
        return self.folder / "server.pem"

    @property
    def server_key(self) -> Path:
        """The private key of ``server``."""
        return self.folder / "server-key.pem"

    @property
    def expired(self) -> Path:
        """Like ``server``, but years ago; its key is ``expired_key``."""
        return self.folder / "expired.pem"

    @property
    def expired_key(self) -> Path:
        """The private key of ``expired``."""
        return self.folder / "expired-key.pem"

    @property
    def client(self) -> Path:
        """A client's; its key is ``client_key``."""
        return self.folder / "client.pem"

    @property
    def client_key(self) -> Path:
        """The private key of ``client``."""
        return self.folder / "secret-place-of-the-key.pem"

    @property
    def alien(self) -> Path:
        """A client's, with its key in the same file, signed by the other authority."""
        return self.folder / "alien.pem"


def make(folder: Path) -> Certificates:
    """Make them all; a tenth of a second."""
    made = Certificates(folder)
    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(made.ca))
    other.cert_pem.write_to_path(str(made.other_ca))
    server = authority.issue_cert("localhost")
    server.cert_chain_pems[0].write_to_path(str(made.server))
    server.private_key_pem.write_to_path(str(made.server_key))
    expired = authority.issue_cert("localhost", not_before=_LONG_AGO, not_after=_SINCE_LONG)
    expired.cert_chain_pems[0].write_to_path(str(made.expired))
    expired.private_key_pem.write_to_path(str(made.expired_key))
    client = authority.issue_cert("worker@taskline.example")
    client.cert_chain_pems[0].write_to_path(str(made.client))
    client.private_key_pem.write_to_path(str(made.client_key))
    alien = other.issue_cert("worker@taskline.example")
    alien.private_key_and_cert_chain_pem.write_to_path(str(made.alien))
    return made
