"""What an executor writes to workers: questions, requests, cancels and receipts, ready to leave.

Decided here: what each says in its header and where it goes (native dialect, sections 1 and 2). Not
decided here: whether and when. Pure; the ledger asks for them, on the keeper's thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from executor.directory import MAX_KNOWN
from executor.peer import Peer
from executor.request import Attempt, Request
from protocol import envelope, messages
from protocol.envelope import Envelope, Header
from protocol.messages import Cancel, Receipt
from protocol.parcel import Parcel
from protocol.tickets import Ticket, to_text
from protocol.timing import KEEP
from protocol.topology import Address, Dialect, Names, inbox_key

_QUESTION: Final = messages.encode(messages.Question())


class Letters:
    """The letters of one executor."""

    def __init__(
        self, names: Mapping[Dialect, Names], executor: str, incarnation: int, keep: float
    ) -> None:
        """``keep``: seconds for which workers are asked to keep results while we are silent."""
        self._names = names
        self._executor = executor
        self._incarnation = incarnation
        self._keep = int(keep)
        #: The address of an inbox, made once for all that goes there.
        self._address = lru_cache(MAX_KNOWN)(self._make_address)

    def call(self) -> Parcel:
        """The question to all native workers who is there: answered with what they hold, too."""
        names = self._names["native"]
        header = Header(
            caps=envelope.CAPS,
            executor=self._executor,
            incarnation=self._incarnation,
            keep=self._keep,
        )
        around = Envelope(envelope.NOTIFY, reply_to=self._executor, header=header)
        return Parcel(names.to_everybody(names.call), around, _QUESTION)

    def notify(self, topic: str) -> Parcel:
        """The same question to taskflow's workers of one topic."""
        around = Envelope(envelope.NOTIFY, reply_to=self._executor)
        return Parcel(self._names["taskflow"].to_topic(topic), around, _QUESTION)

    def request(self, request: Request, attempt: Attempt, topic: str) -> Parcel:
        """REQUEST of this attempt, for the first time or again."""
        order, peer = request.order, attempt.peer
        if not peer.is_native:
            around = Envelope(envelope.REQUEST, self._executor, attempt.name)
            return Parcel(self._names["taskflow"].to_topic(topic), around, order.body)
        header = Header(
            executor=self._executor,
            incarnation=self._incarnation,
            boot=peer.key,
            tickets=_named(request.tickets_at(peer)),
            start_by=attempt.start_by,
            attempt=attempt.number if attempt.number > 1 else None,
            base=request.base if request.base > 1 else None,
            mode=order.mode,
            keep=self._keep if self._keep != KEEP else None,
            time_limit=_milliseconds(order.time_limit),
            soft_time_limit=_milliseconds(order.soft_time_limit),
            need=None if order.needs is None else order.needs.to_json(),
            # Who has come after we asked who is there has not heard what we understand.
            caps=envelope.CAPS if attempt.ticket and attempt.ticket.number == 1 else None,
        )
        around = Envelope(envelope.REQUEST, self._executor, order.uuid, header)
        return Parcel(self._inbox(peer, topic), around, order.body)

    def cancel(self, request: Request, peer: Peer) -> Parcel:
        """CANCEL of all its attempts at this worker process, under the newest of all."""
        attempts = request.at(peer)
        number = request.attempts[-1].number
        header = Header(
            executor=self._executor,
            incarnation=self._incarnation,
            boot=peer.key,
            tickets=_named(request.tickets_at(peer)),
            start_by=max(attempt.start_by for attempt in attempts),
            attempt=number if number > 1 else None,
            base=request.base if request.base > 1 else None,
        )
        around = Envelope(envelope.CANCEL, self._executor, request.order.uuid, header)
        body = Cancel(
            "stop" if request.is_forced and peer.can_stop else "keep",
            "user" if request.phase == "CANCELLING" else "expired",
        )
        return Parcel(self._inbox(peer), around, messages.encode(body))

    def receipt(self, peer: Peer, tickets: str) -> Parcel:
        """RECEIPT of these tickets."""
        header = Header(executor=self._executor, incarnation=self._incarnation, boot=peer.key)
        around = Envelope(envelope.RECEIPT, self._executor, header=header)
        return Parcel(self._inbox(peer), around, messages.encode(Receipt(tickets)))

    def _inbox(self, peer: Peer, topic: str = "") -> Address:
        """Of one that was never asked there, only its key and one of its topics are known."""
        return self._address(peer.inbox or inbox_key(topic, peer.key), peer.takes_batches)

    def _make_address(self, key: str, takes_batches: bool) -> Address:
        return self._names["native"].to_inbox(key, takes_batches=takes_batches)


def _named(tickets: Sequence[Ticket]) -> str:
    """As text; nearly always there is but one."""
    return str(tickets[0]) if len(tickets) == 1 else to_text(tickets)


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else max(1, round(seconds * 1000))
