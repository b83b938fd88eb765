"""Every period and bound both sides count on, in seconds, each with its source.

Nothing here reads a clock: who waits, on which thread, is the business of the floors above.
"""

from __future__ import annotations

REQUEST_TIMEOUT = 60.0  # taskflow protocol.REQUEST_TIMEOUT: age at which WAITING/PENDING expires
NOTIFY_PERIOD = 5.0  # taskflow protocol.NOTIFY_PERIOD: between two questions
WORKER_EXPIRY = 60.0  # taskflow protocol.EXPIRES_AFTER: a worker silent for longer is forgotten
TASKFLOW_SILENCE = 3600.0  # ours: a taskflow topic silent for this long has lost what ran there

BEAT = NOTIFY_PERIOD  # native: a worker is heard from at least this often
MAX_BEAT = 60.0  # native: no worker beats less often, whatever it says
LEASE_BEATS = 2.5  # native: silent for so many of its beats, a worker counts as dead
PACE = 0.7  # native: the part of its beat after which a worker speaks again
KEEP = 12 * BEAT  # native: results are kept for an executor without a journal that is silent
KEEP_JOURNALED = 86400.0  # native: the same for one with a journal, which comes back

START_WINDOW = 60.0  # native: a request must start within this, or go elsewhere
CLOCK_RATE_DRIFT = 0.01  # native: how differently two machines' clocks may run
CLOCK_MARGIN = 0.1  # native: added to the above before "start-by has passed" is believed
MAX_ATTEMPTS = 3  # native: runs of one round lost to silent workers, then WorkerLost
MAX_SENDS = 20  # native: the same of dispatches, whether they were known to run or not
MAX_CRASHES = 3  # native: runs of one request that ended their process, then PoisonTask
RESULT_RESENDS = (2.0, 4.0, 8.0, 16.0, 30.0)  # native: until a receipt, the last one repeated
RECEIPT_DELAY = 0.5  # native: a receipt waits at most this long for others to the same worker
RECEIPTS_AT_ONCE = 256  # native: or for as many
CANCEL_RESENDS = (1.0, 2.0, 4.0, 5.0)  # native: until it is settled, the last one repeated

FIRST_CALL_WAIT = 0.5  # native: between the first two questions, doubling up to NOTIFY_PERIOD

INBOX_EXPIRES = 600.0  # native: a queue nobody has read for this long may be deleted by the broker
REPLY_EXPIRES = 86400.0  # native: the same, for an executor's replies

SIGNATURE_AHEAD = 300.0  # native: how far another machine's wall clock may be ahead of ours
SIGNATURE_AGE = REPLY_EXPIRES + SIGNATURE_AHEAD  # native: a signature's; no queue lies longer

#: Native: what a worker may need after an outage to speak again: as long as each of us may need to
#: come back to a broker that is back (``bus.wire.deadlines``). The executor may have needed none.
COMING_BACK = 5.0
#: Native: after a standstill of a worker, until what lay in its inbox has come in: it is read as
#: fast as the broker gives it, and whoever hears the worker wake sends nothing more of that time.
CATCHING_UP = 1.0

#: Native: what no worker that is heard from could ever hold is told so, rather than waited for: by
#: then whoever is there has been asked four times.
FIT_PATIENCE = 5.0
RESERVE_AFTER = 5.0  # native: what waits for room for so long is kept a machine for it

QUEUE_PATIENCE = 2.0  # native: what a worker has not started by then goes back, for an idle one
CREDIT_MAX = 4096  # native: the schema's bound on a credit


def lease(beat: float) -> float:
    """How long a worker with this beat may be silent before what it has is given to others.

    Two and a half beats: when three have passed since it was killed, the next worker has been sent
    what it had, though its last words took their time, and so does finding somebody with room.
    """
    return LEASE_BEATS * beat


def pace(beat: float) -> float:
    """How often a worker with this beat speaks if nothing else makes it.

    More often than it promises, so that two beats may be lost and the third be late: within the
    lease of a beat of 5 s it comes after 10.5 s, and has 2 s left; of 1 s, after 2.1 and has 0.4.
    """
    return PACE * beat


LEASE = lease(BEAT)  # native: of a worker that announces no other beat


def start_by_has_passed(sent: float, window: float, now: float) -> bool:
    """Whether a request sent at ``sent`` with this start window can no longer be started.

    All three in seconds of the *executor's* clock: the window is stretched by the drift two clocks
    may have, because the worker counts it in its own.
    """
    return now > sent + window * (1 + CLOCK_RATE_DRIFT) + CLOCK_MARGIN
