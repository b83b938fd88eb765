"""What the hosts of a pool offer, and what they were told to offer later. The pool's thread.

Every host loads the same, so the first that is ready, and the first that answers, speaks for all.
What a host refuses it is asked again when it comes anew, for it refuses with the reason that was
found; what ends a host while it imports is forgotten, or no host would ever come again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from protocol.values import Json
from worker.work import Offer, Offers

log = logging.getLogger("taskline.worker.pool.catalogue")


class Catalogue:
    """The list of what is offered, and of the specs it comes from."""

    def __init__(self, specs: Sequence[str]) -> None:
        #: What each host loads before it is ready.
        self.specs = tuple(specs)
        #: What each host is told to offer as well, once it is; accepted, or not answered yet.
        self.more: list[str] = []
        self.offers: tuple[Offer, ...] = ()
        self._answered: set[str] = set()
        self._is_read = False

    def asked(self, spec: str) -> Offers | None:
        """One spec more: what to say at once if it is known; else it is one of ``more`` now."""
        if spec in self.specs or spec in self._answered:
            return Offers(self.offers)
        if spec not in self.more:
            self.more.append(spec)
        return None

    def ready(self, said: Json, left_out: Sequence[str]) -> None:
        """A host has loaded the specs."""
        if self._is_read:
            return
        self._is_read = True
        for sentence in left_out:
            log.info("not offered: %s", sentence)
        self.offers = _offers_of(said)

    def answered(
        self, spec: str, refusal: str | None, said: Json, left_out: Sequence[str]
    ) -> Offers | None:
        """A host has offered one of ``more``, or refused it; what to say of it, once."""
        if spec not in self.more or spec in self._answered:
            return None
        self._answered.add(spec)
        self.offers = _offers_of(said)
        if refusal is not None:
            log.warning("cannot offer %s: %s", spec, refusal)
        return Offers(self.offers, tuple(left_out) if refusal is None else (refusal,))

    def fatal(self, spec: str, why: str) -> Offers | None:
        """A host has died of importing one of ``more``; what to say of it, once."""
        if spec not in self.more:
            return None
        log.warning("cannot offer %s: %s", spec, why)
        self.more.remove(spec)
        self._answered.discard(spec)
        return Offers(self.offers, (why,))


def _offers_of(said: Json) -> tuple[Offer, ...]:
    """What a host says it offers: the fields of an Offer, each in a list."""
    return tuple(
        Offer(name, tuple(version), doc, time_limit, soft_time_limit)
        for name, version, doc, time_limit, soft_time_limit in said
    )
