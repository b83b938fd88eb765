"""What happened, kept in a file: the journal of an executor. Knows neither kombu nor ``bus.wire``.

The rooms: ``journal`` (the one writer), ``reader`` (everybody else: once through, or following),
``line`` (one line as text), ``scan`` (bytes → lines, and what is damaged), ``index`` (where the
lines of each request are), ``files`` (their names, whose they are), ``rotation`` (from one file to
the next), ``lock`` (who writes). What the lines mean is ``protocol.history``'s.
"""

from __future__ import annotations

from bus.news.journal import Journal
from bus.news.lock import Holder, holder
from bus.news.reader import follow, read, tail
from bus.news.scan import Damage

__all__ = ["Damage", "Holder", "Journal", "follow", "holder", "read", "tail"]
