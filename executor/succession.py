"""Whether a newer executor has come in our place, with a copy of our journal.

Decided here: what is believed of that. A worker serves the highest incarnation of an executor that
it has heard, for good, and says which with each answer (native dialect, section 1). So one that
serves a newer one never says again that it serves ours; and while one still does, whoever says
otherwise is mistaken, or is somebody who writes into our queue. An executor without a journal is
chance: nobody can be it a second time. Pure; keeper only.
"""

from __future__ import annotations

from executor import words
from executor.directory import Directory
from executor.peer import Peer
from protocol.envelope import Header
from protocol.errors import ExecutorSuperseded


class Succession:
    """Of one executor."""

    def __init__(
        self, executor: str, incarnation: int, directory: Directory, *, keeps_journal: bool
    ) -> None:
        self._executor = executor
        self._incarnation = incarnation
        self._directory = directory
        self._keeps_journal = keeps_journal
        #: Since when all that is said of it is that a newer one is served.
        self._newer_since: float | None = None

    def hears(self, header: Header | None, now: float) -> ExecutorSuperseded | None:
        """An answer of a worker's; the error if nobody serves us any more.

        That is so if workers that have answered a request of ours have said nothing else for a
        lease: in which each of those that serve us would have said so. The newer one reads the same
        queue and may have taken all such answers: so where none has come from anybody who is there,
        whoever was sent a request is believed.
        """
        if not self._keeps_journal or header is None or header.incarnation is None:
            return None
        newest = header.incarnation
        if newest <= self._incarnation and self._newer_since is None:
            return None
        peer = self._directory.find(header.boot or "")
        if peer is None or not self._is_believed(peer):
            return None
        if newest <= self._incarnation:
            self._newer_since = None
            return None
        if self._newer_since is None:
            self._newer_since = now
        if now - self._newer_since < peer.expiry:
            return None
        return words.superseded(self._executor, self._incarnation, newest, header.worker)

    def _is_believed(self, peer: Peer) -> bool:
        if peer.is_proven:
            return True
        return peer.last_ticket > 0 and not self._directory.is_anybody_proven()
