"""``Costs``: what things cost, in seconds of CPU and bytes; measured, and kept with the results."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one machine, one broker, one version. CPU seconds unless it says otherwise."""

    broker: str

    # an executor's process ------------------------------------------------------------------------
    #: A request, from its submission to its future, among many.
    request: float
    #: A turn: half of what a call that is alone costs besides; waking the threads is most of it.
    turn: float
    #: A worker's sign of life: NOTIFY and HELD.
    beat: float
    #: For each worker that is known: who is best, once in a turn in which anything waits.
    choose: float
    #: The same: looking when the next of them has been silent for too long, twice in a turn.
    expiry: float

    # a worker's main process ----------------------------------------------------------------------
    #: A request, from its arrival to its receipt, among many, with all that is done for its host.
    work: float
    #: What a request that is alone costs besides.
    work_turn: float
    #: An answer, or a beat.
    answer: float
    #: Seconds of the clock, not of CPU, from a work's hand-over until its end is known, but for
    #: what the task itself takes.
    handover: float

    # messages -------------------------------------------------------------------------------------
    #: A broker message in a list of them: to publish it, and to take it.
    publish: float
    drain: float
    #: A list, of however many: to publish it, and to take it.
    publish_list: float
    drain_list: float
    #: What the broker itself spends on one, both ways.
    carry: float
    #: Seconds of the clock from publishing one until it is there.
    way: float
    #: Bytes of a message with its header: REQUEST, RUNNING, SUCCESS, NOTIFY and HELD, RECEIPT.
    request_bytes: int
    running_bytes: int
    success_bytes: int
    beat_bytes: int
    receipt_bytes: int
