"""How much memory the processes of a run take together.

Decided here: what counts. First the resident pages of each process, which is quick, but what
several share counts several times. Only where that is more than may be taken, each is asked for its
own part of what it shares (PSS), and for what of it is swapped out: that is the sum that is held
against the limit, so that a program which forks is not ended for memory it takes once. Where a
system knows no such parts (not Linux), the first sum is all there is.

Who belongs to the run are all descendants of its warden, also what left its group and session,
because the warden adopts every orphan below it (``worker.pool.warden``). A process that ends while
it is looked at counts for nothing. The pool's thread only.
"""

from __future__ import annotations

from collections.abc import Container

import psutil

from worker.descendants import descendants


def memory_of(warden: int, enough: int, but: Container[int | None] = ()) -> int:
    """Bytes taken by what is below this process, near enough; exactly only beyond ``enough``.

    ``but``: processes that are ours, and do not count.
    """
    processes = [pid for pid in descendants(warden) if pid not in but]
    resident = sum(map(_resident, processes))
    if resident <= enough:
        return resident
    return sum(map(_own, processes))


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _own(pid: int) -> int:
    try:
        found = psutil.Process(pid).memory_full_info()
        return int(getattr(found, "pss", found.rss)) + int(getattr(found, "swap", 0))
    except psutil.NoSuchProcess:
        return 0
    except (psutil.Error, OSError):  # another user's: what is known of it must do
        return _resident(pid)
