"""Several messages to one reader as one: which go together, and how they travel.

Decided here: those to one address that are ready at the same moment go together, if their reader
has announced that it takes batches (``envelope.CAPS``). Nobody waits for a batch to fill, and a
message that is alone travels alone, as it would to any other peer. A batch is a kind of its own,
BATCH: its body holds the kind, correlation id, header and body of each message, and its
``reply_to`` is that of all. Each is read and checked as if it had come alone, and one that is
refused costs only itself. A batch in a batch is none.

To the broker it is one message: one signature, one confirm, one acknowledgement. Pure; the
publisher's thread puts together, the listener's takes apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from protocol import envelope, messages, schemas
from protocol.envelope import Envelope, Header
from protocol.parcel import Parcel
from protocol.values import MAX_DEPTH, Json, dumps

#: Most messages in a batch that we write: the broker's work for one message is a hundredth for
#: each of them, and its reader is handed all at once. Five times as many are read.
MOST: Final = 200
#: Most bytes of their bodies, together.
MOST_BYTES: Final = 256 * 1024
#: A longer body travels alone: there would be little to save.
ALONE: Final = 16 * 1024

#: Lists and dicts that a body stands in.
_AROUND: Final = 3
_HEADER: Final = Header()


def gathered(parcels: Iterable[Parcel], most_bytes: int = MOST_BYTES) -> list[list[Parcel]]:
    """These parcels, those together that may travel together; for each address in their order.

    ``most_bytes``: of the bodies of a batch, if its broker takes less than :data:`MOST_BYTES`.
    """
    groups: list[list[Parcel]] = []
    growing: dict[tuple[object, str | None], tuple[list[Parcel], int]] = {}
    for parcel in parcels:
        address, size = parcel.address, len(parcel.body)
        if not address.takes_batches or parcel.envelope.header is None or size > ALONE:
            groups.append([parcel])
            continue
        reader = address, parcel.envelope.reply_to
        group, before = growing.get(reader, ([], 0))
        if not group or len(group) == MOST or before + size > most_bytes:
            group, before = [], 0
            groups.append(group)
        group.append(parcel)
        growing[reader] = group, before + size
    return groups


def joined(group: Sequence[Parcel]) -> Parcel:
    """One parcel with all of these in it, which ``gathered`` has put together.

    Raises ``MessageRefused`` if one of them has a header that its reader would refuse.
    """
    if len(group) == 1:
        return group[0]
    first = group[0]
    body = b'{"messages":[%s]}' % b",".join(map(_written, group))
    around = Envelope(envelope.BATCH, first.envelope.reply_to, header=_HEADER)
    return Parcel(first.address, around, body)


def _written(parcel: Parcel) -> bytes:
    around = parcel.envelope
    assert around.header is not None
    said = {"type": around.kind, "header": around.header.to_json()}
    if around.correlation_id is not None:
        said["correlation_id"] = around.correlation_id
    return b'%s,"body":%s}' % (dumps(said)[:-1].encode("ascii"), parcel.body)


def parts(body: object) -> list[dict[str, Json]]:
    """What a BATCH holds: of each message ``type``, ``header``, ``body``, ``correlation_id``.

    Raises ``MessageRefused``: reason ``too_long``, ``json`` or ``schema``.
    """
    said = messages.parse(body, MAX_DEPTH + _AROUND)
    schemas.validate("batch", said)
    found: list[dict[str, Json]] = said["messages"]
    return found
