"""``NotReached``: a measure did not come as far as to measure, and that is nobody's fault."""

from __future__ import annotations


class NotReached(Exception):
    """What is to be measured could not be brought about in the time there is; the message says."""
