"""When a cancelled or expired request can end: once it is proven that no worker will start it.

Decided here: whether that is so, which worker processes are to be told CANCEL until it is, and how
often (native dialect, sections 3 and 5). Not decided here: what the end is called
(``withdrawals``), and what proves something about one attempt (``request``). Pure; asked on the
keeper's thread.

What was sent to a taskflow worker proves nothing and cannot be taken back: nobody waits for it.
"""

from __future__ import annotations

from executor.peer import Peer
from executor.request import Attempt, Request
from protocol.envelope import CANCEL
from protocol.timing import CANCEL_RESENDS


def is_settled(request: Request) -> bool:
    """No attempt ever sent can be started any more, and none runs that is waited for."""
    if any(attempt.startable for attempt in request.attempts):
        return False
    waited_for = (request.current, request.elder)
    return not any(one and one.ticket is not None and one.is_running for one in waited_for)


def to_be_told(request: Request) -> list[Peer]:
    """The worker processes that may still start it, or are to end it; each once, oldest first."""
    peers: dict[Peer, None] = {}
    for attempt in request.attempts:
        if _concerns(request, attempt) and attempt.peer.understands(CANCEL):
            peers[attempt.peer] = None
    return list(peers)


def wait(request: Request) -> float:
    """Seconds until those are told again."""
    return CANCEL_RESENDS[min(request.cancels, len(CANCEL_RESENDS)) - 1]


def _concerns(request: Request, attempt: Attempt) -> bool:
    if attempt.startable:
        return True
    return request.is_forced and attempt.is_running and attempt.peer.can_stop
