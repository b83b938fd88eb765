"""Every period and bound both sides count on, in seconds, each with its source.

Nothing here reads a clock: who waits, on which thread, is the business of the floors above.
"""

from __future__ import annotations

REQUEST_TIMEOUT = 60.0  # taskflow protocol.REQUEST_TIMEOUT: age at which WAITING/PENDING expires
NOTIFY_PERIOD = 5.0  # taskflow protocol.NOTIFY_PERIOD: between two questions
WORKER_EXPIRY = 60.0  # taskflow protocol.EXPIRES_AFTER: a worker silent for longer is forgotten
TASKFLOW_SILENCE = 3600.0  # ours: a taskflow topic silent for this long has lost what ran there

BEAT = NOTIFY_PERIOD  # native: a worker is heard from at least this often
LEASE = 3 * BEAT  # native: two beats may be lost; after the third the holder counts as dead
KEEP = 12 * BEAT  # native: an executor silent for longer gets no more beats

START_WINDOW = 60.0  # native: a request must start within this, or go elsewhere
CLOCK_RATE_DRIFT = 0.01  # native: how differently two machines' clocks may run
CLOCK_MARGIN = 0.1  # native: added to the above before "start-by has passed" is believed
MAX_ATTEMPTS = 3  # native: dispatches of one round lost to silent workers, then WorkerLost

FIRST_CALL_WAIT = 0.5  # native: between the first two questions, doubling up to NOTIFY_PERIOD

INBOX_EXPIRES = 600.0  # native: a queue nobody has read for this long may be deleted by the broker
REPLY_EXPIRES = 86400.0  # native: the same, for an executor's replies

QUEUE_PATIENCE = 2.0  # native: what a worker has not started by then goes back, for an idle one
CREDIT_MAX = 4096  # native: the schema's bound on a credit


def start_by_has_passed(sent: float, window: float, now: float) -> bool:
    """Whether a request sent at ``sent`` with this start window can no longer be started.

    All three in seconds of the *executor's* clock: the window is stretched by the drift two clocks
    may have, because the worker counts it in its own.
    """
    return now > sent + window * (1 + CLOCK_RATE_DRIFT) + CLOCK_MARGIN
