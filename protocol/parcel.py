"""A message on its way out, and what a delivery turned out to be.

These values are what the rooms that decide exchange with the rooms that send and receive: a ledger
or a shift hands out :class:`Parcel` s, and is handed :class:`Received` and :class:`Refused`.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocol.envelope import Envelope
from protocol.messages import Message
from protocol.topology import Address


@dataclass(frozen=True, slots=True)
class Parcel:
    """One message, ready to be published."""

    address: Address
    envelope: Envelope
    #: The encoded body (``messages.encode``).
    body: bytes


@dataclass(frozen=True, slots=True)
class Received:
    """A delivery that is a valid message."""

    envelope: Envelope
    message: Message


@dataclass(frozen=True, slots=True)
class Refused:
    """A delivery that is not: counted and logged already, perhaps still to be answered."""

    #: The word it was counted under.
    reason: str
    detail: str
    #: What could be read of it, each None if it could not, or nobody knows who wrote it.
    kind: str | None
    reply_to: str | None
    correlation_id: str | None
    #: As in :class:`~protocol.envelope.Envelope`.
    is_foreign: bool = False
