"""``ServerTls``: the files with which a private server speaks TLS.

Who makes them is the test's business; ``trustme`` and ``openssl`` do. A server reads them when it
starts. Replace them under the same names, and it has new ones at its next start.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ServerTls:
    """Paths of PEM files."""

    #: Its certificate, with the chain if there is one.
    cert: Path | str
    key: Path | str
    #: Who must have signed a client's certificate; None: clients show none.
    client_ca: Path | str | None = None
