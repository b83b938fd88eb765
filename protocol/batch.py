"""Several messages to one reader as one: which go together, and how they travel.

Decided here: those to one address that are ready at the same moment go together, if their reader
has announced that it takes batches (``envelope.CAPS``). Nobody waits for a batch to fill, and a
message that is alone travels alone, as it would to any other peer. A batch is a kind of its own,
BATCH: its ``reply_to`` is that of all, its header says what their headers have in common, and its
body holds of each message the kind, correlation id, body and what its own header says beside that.
Each is read and checked as if it had come alone, and one that is refused costs only itself. A batch
in a batch is none.

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


def gathered(parcels: Iterable[Parcel], most_bytes: int = MOST_BYTES) -> list[list[Parcel]]:
    """These parcels, those together that may travel together; for each address in their order.

    ``most_bytes``: of the bodies of a batch, if its broker takes less than :data:`MOST_BYTES`.
    """
    groups: list[list[Parcel]] = []
    growing: dict[tuple[object, str | None], _Growing] = {}
    last: tuple[object, str | None] = None, None
    group: _Growing | None = None
    for parcel in parcels:
        address, around, size = parcel.address, parcel.envelope, len(parcel.body)
        header = around.header
        if not address.takes_batches or header is None or size > ALONE:
            groups.append([parcel])
            continue
        reader = address, around.reply_to
        if reader != last:
            last, group = reader, growing.get(reader)
        if group is None or not group.takes(header, size, most_bytes):
            group = growing[reader] = _Growing(header)
            groups.append(group.parcels)
        group.parcels.append(parcel)
        group.size += size
    return groups


class _Growing:
    """Those that go together so far, and what their headers have in common."""

    __slots__ = ("_header", "parcels", "size")

    def __init__(self, header: Header) -> None:
        self._header = header
        self.parcels: list[Parcel] = []
        self.size = 0

    def takes(self, header: Header, size: int, most_bytes: int) -> bool:
        """Whether one more of this header and size may go with them."""
        if len(self.parcels) == MOST or self.size + size > most_bytes:
            return False
        return header.shares(self._header)


def joined(group: Sequence[Parcel]) -> Parcel:
    """One parcel with all of these in it, which ``gathered`` has put together.

    Raises ``MessageRefused`` if one of them has a header that its reader would refuse.
    """
    if len(group) == 1:
        return group[0]
    first = group[0].envelope
    assert first.header is not None
    shared = first.header.shared
    shared.to_json()  # or it would be refused only when it is sent, and all others with it
    body = b'{"messages":[%s]}' % b",".join(map(_written, group))
    around = Envelope(envelope.BATCH, first.reply_to, header=shared)
    return Parcel(group[0].address, around, body)


def _written(parcel: Parcel) -> bytes:
    around = parcel.envelope
    assert around.header is not None
    said = {"type": around.kind, "header": around.header.own_json()}
    if around.correlation_id is not None:
        said["correlation_id"] = around.correlation_id
    return b'%s,"body":%s}' % (dumps(said)[:-1].encode("ascii"), parcel.body)


def parts(body: object) -> list[dict[str, Json]]:
    """What a BATCH holds: of each message ``type``, ``header``, ``body``, ``correlation_id``.

    ``header`` is what it says beside the batch's (``Header.with_own``). Raises ``MessageRefused``:
    reason ``too_long``, ``json`` or ``schema``.
    """
    said = messages.parse(body, MAX_DEPTH + _AROUND)
    schemas.validate("batch", said)
    found: list[dict[str, Json]] = said["messages"]
    return found
