"""What happens: told inside one process, and kept in a file. Knows neither kombu nor ``bus.wire``.

``events`` is the bus; ``recording`` writes what is said on it to a journal; ``toil`` is Toil's bus
and its file format on ours.

The journal's rooms: ``journal`` (the one writer), ``reader`` (everybody else: once through, or
following), ``line`` (one line as text), ``scan`` (bytes → lines, and what is damaged), ``index``
(where the lines of each request are) and ``open_jobs`` (those of each job), ``files`` (their names,
whose they are), ``rotation`` (from one file to the next), ``lock`` (who writes). What the lines
mean is ``protocol.history``'s.
"""

from __future__ import annotations

from bus.news.events import Bus, Connection, Outbox, Subscription
from bus.news.journal import Journal
from bus.news.lock import Holder, holder
from bus.news.reader import follow, read, tail
from bus.news.recording import record
from bus.news.scan import Damage

__all__ = [
    "Bus",
    "Connection",
    "Damage",
    "Holder",
    "Journal",
    "Outbox",
    "Subscription",
    "follow",
    "holder",
    "read",
    "record",
    "tail",
]
