"""What broke earlier drafts of the native dialect, told step by step to the real rooms.

Each trace ended in a hang or in a second start; in each, a rule has come of it that is seen to
work here. What is checked at every step besides is in ``promises``.
"""

from __future__ import annotations

import pytest

from protocol import tickets
from protocol.envelope import CANCEL, DROPPED, HELD, NOTIFY, RECEIPT, RELEASE, REQUEST, RESPONSE
from protocol.messages import Receipt
from protocol.retry import Retry
from protocol.timing import BEAT, KEEP, LEASE, REQUEST_TIMEOUT, START_WINDOW, lease, pace
from tests.joint.bounds import bounded
from tests.joint.channel import Letter
from tests.joint.scene import Scene
from worker.work import End


def receipted(letter: Letter) -> set[str]:
    """The tickets a RECEIPT names."""
    message = letter.received.message
    assert isinstance(message, Receipt)
    return {str(ticket) for ticket in tickets.parse(message.tickets)}


def test_a_cancel_ends_the_run_whatever_attempt_it_was_started_under() -> None:
    """Draft: a run is ended, and answered for, under its own attempt's number.

    The lease of attempt 1 is lost, falsely; attempt 2 goes to the same worker. Its CANCEL overtakes
    it. The worker, which runs attempt 1, ends it and says "stopped, attempt 1"; for attempt 2
    nobody ever answers. So a CANCEL lifts what is held to the attempt it names.
    """
    scene = Scene(workers=1)
    scene.submit("u0")
    scene.arrives(REQUEST, "w0")
    scene.arrives(RESPONSE)  # RUNNING
    scene.passes(LEASE + 0.1)  # no beat of it arrives: it counts as lost
    scene.is_lost(HELD)
    while scene.under_way(HELD):
        scene.is_lost(HELD)
    while scene.state("u0") == "WAITING":
        scene.arrives(NOTIFY)  # it lives after all, and is chosen again
    assert scene.under_way(REQUEST, "w0", attempt=2)
    scene.cancel("u0", force=True)
    scene.arrives(CANCEL, "w0")
    scene.ends("u0", "stopped")
    answer = scene.under_way(RESPONSE, attempt=2)
    assert answer, "nobody answers for attempt 2"
    scene.arrives(REQUEST, "w0", attempt=2)  # it comes at last, and starts nothing
    assert scene.starts("u0") == 1
    scene.all_is_lost()
    assert scene.comes_to_rest() < 60.0
    assert scene.starts("u0") == 1
    assert scene.seen("u0") in ("cancelled", "TaskCancelled")


def test_a_later_round_is_not_served_by_what_the_pool_has_begun_of_the_earlier_one() -> None:
    """Draft: what the pool was handed, and has not said to have begun, serves whatever is asked.

    Attempt 1 is taken for lost, and attempt 2 of the same round goes to the other worker, who falls
    silent as well before it arrives. Then the failure of attempt 1 is heard after all: a retry, the
    second round. Its request, attempt 3, comes to the other worker too, just when its pool has
    begun attempt 2, and has not told so. What that comes to would be told as the end of attempt 3.
    So the request waits for the pool's word.
    """
    scene = Scene(workers=2, slots=2, is_prompt=False)
    scene.submit("u0", retries=Retry(max=2, backoff=0.0))
    first = scene.holder("u0", 1)
    second = "w1" if first == "w0" else "w0"
    scene.arrives(REQUEST, first)
    scene.worker(first).goes_on()
    scene.arrives(RESPONSE)  # RUNNING
    scene.passes(LEASE + 0.1)  # no beat of anybody arrives
    _are_lost(scene, first)
    _hears_until(scene, second, 2)
    scene.passes(LEASE + 0.1)
    _are_lost(scene, second)
    now = scene.executor.now
    scene.executor.ledger.ignore(first, now, is_ignored=True)  # the next one does not go there
    for kind in (NOTIFY, HELD):
        while scene.under_way(kind):
            scene.arrives(kind)  # it runs, then: attempt 1 is waited for again
    _ends_on(scene, first, raises=True)
    scene.arrives(RESPONSE)
    scene.passes(BEAT)
    _hears_until(scene, second, 3)
    scene.arrives(REQUEST, second, attempt=2)
    scene.worker(second).begins()
    scene.arrives(REQUEST, second, attempt=3)
    scene.worker(second).goes_on()
    _ends_on(scene, second)  # of the first round: told to nobody
    assert scene.comes_to_rest() < 60.0
    assert scene.seen("u0") == "success u0#3"


def _are_lost(scene: Scene, name: str) -> None:
    """All that this worker has said and that is under way."""
    boot = scene.worker(name).boot
    letters = scene.world.channel.letters
    for letter in [letter for letter in letters if letter.side == "executor"]:
        header = letter.parcel.envelope.header
        if header is not None and header.boot == boot:
            letters.remove(letter)


def _hears_until(scene: Scene, name: str, attempt: int) -> None:
    """The executor hears whatever is for it, until this attempt is sent to this worker."""
    while not scene.under_way(REQUEST, name, attempt=attempt):
        scene.arrives(NOTIFY)


def _ends_on(scene: Scene, name: str, *, raises: bool = False) -> None:
    run = next(iter(scene.worker(name).runs.values()))  # the oldest
    scene.worker(name).end(run, "done", raises=raises)


def test_what_runs_after_all_is_waited_for_with_a_lease_again() -> None:
    """Draft: RUNNING ends an expiry, and that is all.

    Attempt 1 is lost to silence, attempt 2 goes elsewhere; the request expires, and its worker
    falls silent too. Then the RUNNING of attempt 1 arrives: the expiry is off, and the silences
    have been counted already. No timer is left. So what leaves an expiry has its lease again.
    """
    scene = Scene(workers=2)
    scene.submit("u0", timeout=LEASE + 8.0)
    first = scene.holder("u0", 1)
    other = "w1" if first == "w0" else "w0"
    scene.arrives(REQUEST, first)
    running = scene.is_lost(RESPONSE)
    scene.worker(first).is_frozen = True
    scene.worker(other).is_frozen = True
    scene.all_is_lost()
    scene.passes(8.15)
    scene.worker(other).is_frozen = False
    scene.passes(0.01)
    scene.arrives(NOTIFY)  # it lives 0.16 s longer than the request
    scene.worker(other).is_frozen = True
    scene.passes(LEASE - 0.16)
    assert scene.holder("u0", 2) == other
    scene.all_is_lost()
    scene.passes(0.1)
    assert scene.under_way(CANCEL, first), "expired: both are told, neither hears it"
    assert scene.under_way(CANCEL, other)
    scene.passes(0.1)  # and the second is silent too
    assert scene.state("u0") == "WAITING"
    scene.put_back(running)
    scene.arrives(RESPONSE)
    assert scene.state("u0") == "PENDING"
    scene.all_is_lost()
    scene.killed(first)
    scene.killed(other)
    assert scene.comes_to_rest() < 3 * START_WINDOW
    assert scene.seen("u0") in ("WorkerLost", "RequestTimeout")


def test_a_receipt_names_what_was_answered_and_nothing_newer() -> None:
    """Draft: a RECEIPT is for all attempts "up to the newest at this worker".

    Attempt 1 crashes and is answered; attempt 2, a new round, goes to the same worker and ends. A
    double of the first answer is receipted "up to attempt 2": the worker forgets a result nobody
    has read. So a RECEIPT names tickets, of what was answered.
    """
    scene = Scene(workers=1)
    scene.submit("u0")
    scene.arrives(REQUEST, "w0")
    scene.ends("u0", "crash")
    scene.arrives(RESPONSE)  # RUNNING
    crash = scene.arrives(RESPONSE, again=True)
    assert crash.parcel.envelope.header is not None
    scene.arrives(REQUEST, "w0", attempt=2)
    scene.ends("u0")
    while scene.under_way(RESPONSE, attempt=2):
        scene.is_lost(RESPONSE, attempt=2)
    scene.arrives(RESPONSE)  # the double
    scene.passes(0.6)
    for letter in scene.under_way(RECEIPT, "w0"):
        assert receipted(letter) == {crash.parcel.envelope.header.tickets}
    while scene.under_way(RECEIPT, "w0"):
        scene.arrives(RECEIPT, "w0")
    scene.all_is_lost()
    assert scene.comes_to_rest() < 10.0
    assert scene.seen("u0") == "success u0#2"
    assert scene.starts("u0") == 2


def test_a_receipt_for_a_dropped_result_leaves_the_next_one_where_it_is() -> None:
    """The same with DROPPED: its worker is asked once more, and ends before the receipt comes."""
    with bounded(True):
        scene = Scene(workers=1, slots=2)
        scene.submit("u0")
        scene.submit("u1")
        for _ in range(2):
            scene.arrives(REQUEST, "w0")
        scene.ends("u0")
        scene.ends("u1")  # there is room for one result: the first is dropped
        scene.arrives(DROPPED)
        assert scene.under_way(REQUEST, "w0", attempt=2), "alo: it runs again"
        scene.arrives(REQUEST, "w0", attempt=2)
        worker, run = scene.run("u0")
        worker.end(run, "done")
        while scene.under_way(RESPONSE):
            scene.is_lost(RESPONSE)
        scene.passes(0.6)
        while scene.under_way(RECEIPT, "w0"):
            letter = scene.arrives(RECEIPT, "w0")
            assert scene.world.promises.dispatched["u0", 2].ticket not in receipted(letter)
        scene.all_is_lost()
        assert scene.comes_to_rest() < 100.0
        assert scene.seen("u0") is not None


def test_a_dropped_result_that_was_receipted_is_over_after_a_restart() -> None:
    """Draft: DROPPED is receipted, and no line says so.

    The executor is killed and begins again: the attempt is out once more. A RUNNING of it, late,
    makes it run; its worker has nothing left, and says nothing: a cancel is never settled. So the
    journal has a line OVER before the receipt, and what a worker denies of what ran is over.
    """
    with bounded(True):
        scene = Scene(workers=1, slots=2)
        scene.submit("u0")
        scene.submit("u1")
        for _ in range(2):
            scene.arrives(REQUEST, "w0")
        running = scene.is_lost(RESPONSE, attempt=1)
        scene.ends("u0")
        scene.ends("u1")
        scene.arrives(DROPPED)
        scene.passes(0.6)
        while scene.under_way(RECEIPT, "w0"):
            scene.arrives(RECEIPT, "w0")
        scene.all_is_lost()
        scene.restarts()
        scene.put_back(running)
        scene.arrives(RESPONSE)
        scene.cancel("u0")
        scene.cancel("u0", force=True)
        assert scene.comes_to_rest() < 2 * START_WINDOW
        assert scene.seen("u0") is not None


def test_what_an_orphan_left_behind_is_never_started_again() -> None:
    """Draft: a worker forgets what is held for an executor that has gone.

    It ran, its executor is silent for longer than results are kept, all of it is dropped; then a
    doubled REQUEST arrives. So the ticket stays over until its start-by has passed.
    """
    scene = Scene(workers=1, has_journal=False)
    scene.submit("u0", mode="amo")
    request = scene.arrives(REQUEST, "w0", again=True)
    scene.ends("u0")
    scene.asks("w0", keep=15)
    scene.world.kill_executor()
    scene.passes(40.0)
    scene.worker("w0").turn([request.received])
    assert scene.starts("u0") == 1
    scene.passes(60.0)
    scene.worker("w0").turn([request.received])
    assert scene.starts("u0") == 1


# what walks have found ----------------------------------------------------------------------------


def test_what_ran_once_is_not_sent_again_though_its_result_was_thrown_away() -> None:
    """At the bound a worker forgets a result, never that it ran: else "absent" would be a lie.

    RUNNING, the result and DROPPED are all lost; the digest after the start-by says ``dropped``.
    """
    with bounded(True):
        scene = Scene(workers=1, slots=2)
        scene.submit("u0", mode="amo")
        scene.submit("u1")
        for _ in range(2):
            scene.arrives(REQUEST, "w0")
        scene.ends("u0")
        scene.ends("u1")
        for _ in range(70):  # nothing but its being there is ever heard
            scene.passes(1.0)
            while scene.under_way(NOTIFY):
                scene.arrives(NOTIFY)
            scene.all_is_lost()
        scene.passes(5.0, silent=False)
        scene.comes_to_rest()
        assert scene.starts("u0") == 1
        assert scene.seen("u0") == "ResultLost"


def test_what_was_taken_back_is_not_sent_elsewhere_after_a_restart() -> None:
    """It was given up, and written off; then a digest said that it runs. No line says that."""
    scene = Scene(workers=2)
    scene.submit("u0")
    first = scene.holder("u0", 1)
    other = "w1" if first == "w0" else "w0"
    scene.arrives(REQUEST, first)
    scene.arrives(RESPONSE)
    scene.worker(other).is_frozen = True
    scene.passes(LEASE + 0.1)
    assert scene.state("u0") == "WAITING"
    newest = scene.under_way(HELD)[-1]
    scene.all_is_lost()
    scene.put_back(newest)
    scene.arrives(HELD)
    assert scene.state("u0") == "RUNNING"
    scene.restarts()
    scene.worker(other).is_frozen = False
    scene.passes(LEASE - 1.0, silent=False)
    assert not scene.under_way(REQUEST, other)
    assert scene.starts("u0") == 1
    scene.comes_to_rest()
    assert scene.seen("u0") == "success u0#1"


def test_what_was_taken_back_as_queued_has_one_more_lease_after_a_restart() -> None:
    """Of that there is no line at all, and nobody else is sent it before its worker was asked."""
    scene = Scene(workers=2)
    scene.worker("w1").is_frozen = True
    scene.passes(LEASE + 0.1, silent=False)  # so that all of it goes to w0
    scene.submit("u0")
    scene.everything_arrives()
    scene.ends("u0")
    scene.everything_arrives()
    scene.submit("u1")
    scene.submit("u2")
    for _ in range(2):
        scene.arrives(REQUEST, "w0")
    scene.asks("w0", keep=86400)
    digest = next(one for one in scene.under_way(HELD) if "queued" in str(one))
    scene.all_is_lost()
    scene.worker("w0").is_frozen = True
    scene.passes(LEASE + 0.1)
    assert scene.state("u2") == "WAITING"
    scene.all_is_lost()
    scene.put_back(digest)
    scene.arrives(HELD)
    assert (scene.state("u1"), scene.state("u2")) == ("RUNNING", "PENDING")
    scene.restarts()
    scene.worker("w1").is_frozen = False
    scene.passes(LEASE - 1.0, silent=False)
    assert scene.starts("u2") == 0
    scene.passes(2.0, silent=False)
    assert scene.starts("u2") == 1
    scene.comes_to_rest()


def test_a_worker_knows_how_long_to_keep_before_it_has_heard_a_question() -> None:
    """It said hello and was sent a request at once; then the executor was away for two minutes.

    What it ran is still there: it would be started a second time otherwise.
    """
    scene = Scene(workers=1)
    scene.killed("w0")
    scene.passes(LEASE + 0.1)
    scene.all_is_lost()
    scene.boots("w0")
    scene.arrives(NOTIFY)
    scene.submit("u0", mode="amo")
    scene.arrives(REQUEST, "w0")
    scene.ends("u0")
    scene.all_is_lost()
    scene.world.kill_executor()
    scene.passes(120.0)
    scene.all_is_lost()
    scene.world.start_executor()
    assert scene.comes_to_rest() < 10.0
    assert scene.starts("u0") == 1
    assert scene.seen("u0") == "success u0#1"


def test_a_digest_that_its_running_has_overtaken_is_old_news() -> None:
    """It was queued when the digest was made; it runs when that arrives."""
    scene = Scene(workers=1)
    scene.submit("u0")
    scene.arrives(REQUEST, "w0")
    scene.submit("u1")  # no credit: it waits
    scene.ends("u0")
    scene.arrives(RESPONSE)
    scene.arrives(RESPONSE)
    scene.submit("u2")
    scene.arrives(REQUEST, "w0")
    scene.arrives(REQUEST, "w0")
    scene.all_is_lost()
    scene.executor.turn()
    scene.passes(0.6)
    scene.arrives(NOTIFY, "w0")
    digest = scene.is_lost(HELD)
    assert "queued" in str(digest)
    scene.ends("u1")
    while scene.under_way(RESPONSE):
        scene.arrives(RESPONSE)
    scene.put_back(digest)
    scene.arrives(HELD)
    assert not scene.executor.ledger.counts["illegal_transition"]
    scene.comes_to_rest()
    assert scene.seen("u2") == "success u2#3"


def returned() -> tuple[Scene, str, str]:
    """Its worker was silent for a lease, so it runs on a second one too; then the first is back.

    The names of the two; there is a third one.
    """
    scene = Scene(workers=3)
    scene.submit("u0")
    scene.everything_arrives()
    first = scene.holder("u0", 1)
    scene.worker(first).is_frozen = True
    scene.passes(LEASE + 0.1, silent=False)
    second = scene.holder("u0", 2)
    scene.worker(first).is_frozen = False
    scene.passes(6.0, silent=False)
    assert scene.starts("u0") == 2
    return scene, first, second


def ended(scene: Scene, name: str) -> None:
    """It is killed, and the executor is told so."""
    boot = scene.worker(name).boot
    scene.killed(name)
    scene.world.promises.gone(boot)
    scene.executor.gone(name)


def test_what_runs_after_all_is_waited_for_when_the_attempt_after_it_is_lost() -> None:
    """Nobody else is sent it: who was given up too early may have done most of the work."""
    scene, _, second = returned()
    ended(scene, second)
    scene.passes(10.0, silent=False)
    assert (scene.starts("u0"), scene.state("u0")) == (2, "RUNNING")
    scene.ends("u0")
    scene.everything_arrives()
    assert scene.seen("u0") == "success u0#1"


def test_what_runs_after_all_is_waited_for_after_a_restart_too() -> None:
    scene, _, second = returned()
    ended(scene, second)
    scene.restarts()
    scene.passes(LEASE + 1.0, silent=False)
    assert (scene.starts("u0"), scene.state("u0")) == (2, "RUNNING")
    scene.comes_to_rest()
    assert scene.seen("u0") == "success u0#1"


def test_after_a_restart_it_is_waited_for_too_when_the_newer_one_was_given_back() -> None:
    """Its RUNNING was late, and ended an expiry that the second worker had agreed to."""
    scene = Scene(workers=2)
    scene.submit("u0", timeout=LEASE + 5.0)
    first = scene.holder("u0", 1)
    second = "w1" if first == "w0" else "w0"
    scene.arrives(REQUEST, first)
    running = scene.is_lost(RESPONSE)
    scene.worker(first).is_frozen = True
    scene.passes(LEASE - 0.5, silent=False)
    scene.passes(0.7)
    scene.is_lost(REQUEST, second, attempt=2)
    scene.passes(5.0)
    scene.arrives(CANCEL, second)
    scene.arrives(RELEASE)
    scene.worker(first).is_frozen = False
    scene.put_back(running)
    scene.arrives(RESPONSE)
    assert scene.state("u0") == "RUNNING"
    scene.restarts()
    scene.passes(LEASE + 1.0, silent=False)
    assert (scene.starts("u0"), scene.state("u0")) == (1, "RUNNING")
    scene.comes_to_rest()
    assert scene.seen("u0") == "success u0#1"


def test_when_that_is_lost_as_well_another_one_is_sent_it() -> None:
    scene, first, second = returned()
    ended(scene, second)
    scene.killed(first)
    scene.passes(LEASE - 6.0, silent=False)
    assert scene.starts("u0") == 2
    scene.passes(10.0, silent=False)
    assert (scene.starts("u0"), scene.state("u0")) == (3, "RUNNING")
    scene.comes_to_rest()
    assert scene.seen("u0") == "success u0#3"


@pytest.mark.parametrize("end", ["crash", "stopped"])
def test_when_that_ends_by_accident_a_new_round_begins(end: End) -> None:
    scene, _, second = returned()
    ended(scene, second)
    scene.ends("u0", end)
    scene.everything_arrives()
    assert scene.starts("u0") == 3
    scene.comes_to_rest()
    assert scene.seen("u0") == "success u0#3"


def test_when_that_ends_by_accident_while_the_newer_one_runs_nothing_is_begun() -> None:
    scene, first, _ = returned()
    (run,) = scene.worker(first).runs.values()
    scene.worker(first).end(run, "crash")
    scene.passes(10.0, silent=False)
    assert scene.starts("u0") == 2
    scene.comes_to_rest()
    assert scene.seen("u0") == "success u0#2"


def test_what_runs_after_all_is_ended_by_a_cancel_by_force() -> None:
    scene, _, second = returned()
    ended(scene, second)
    assert scene.cancel("u0", force=True) == "True"
    scene.everything_arrives()
    assert scene.run("u0")[1].is_stopping
    scene.comes_to_rest()
    assert scene.seen("u0") == "TaskCancelled"


def test_who_was_replaced_is_heard_from_one_that_has_been_replaced_itself() -> None:
    """Words overtake each other: "2 replaces 1" comes after "3 replaces 2", and is as true."""
    scene = Scene(workers=1)
    scene.submit("u0")
    scene.arrives(REQUEST, "w0")
    scene.arrives(RESPONSE)  # RUNNING
    scene.killed("w0")
    scene.all_is_lost()
    scene.boots("w0")
    hello = scene.is_lost(NOTIFY)
    scene.killed("w0")
    scene.all_is_lost()
    scene.boots("w0")
    scene.everything_arrives()
    assert scene.state("u0") == "RUNNING", "who replaced its holder has not been heard"
    scene.put_back(hello)
    scene.everything_arrives()
    assert ("u0", 2) in scene.world.promises.dispatched
    scene.comes_to_rest()
    assert scene.seen("u0") == "success u0#2"


# retries ------------------------------------------------------------------------------------------

LATER = Retry(max=2, backoff=20.0)


def failed_once(retries: Retry = LATER) -> Scene:
    """A request that waits for its first retry."""
    scene = Scene()
    scene.submit("u", retries=retries)
    scene.everything_arrives()
    scene.fails("u")
    assert (scene.state("u"), scene.starts("u"), scene.seen("u")) == ("WAITING", 1, None)
    return scene


def test_a_retry_comes_when_it_may_though_the_executor_was_killed_meanwhile() -> None:
    scene = failed_once()
    wait = LATER.wait("u", 1)
    scene.passes(5.0, silent=False)
    scene.restarts()
    scene.passes(wait - 5.1, silent=False)
    assert scene.starts("u") == 1
    scene.passes(0.2, silent=False)
    assert scene.starts("u") == 2
    assert scene.cancel("u") == "False"  # it runs again
    scene.ends("u")
    scene.everything_arrives()
    assert (scene.seen("u") or "").startswith("success")


def test_a_retry_that_runs_is_cancelled_by_force_only() -> None:
    scene = failed_once()
    scene.passes(LATER.wait("u", 1) + 0.1, silent=False)
    assert (scene.starts("u"), scene.state("u")) == (2, "RUNNING")
    assert scene.cancel("u") == "False"
    assert scene.cancel("u", force=True) == "True"
    scene.everything_arrives()
    scene.ends("u", "stopped")
    scene.everything_arrives()
    assert scene.seen("u") == "TaskCancelled"


def test_retries_before_a_restart_count_after_it() -> None:
    scene = failed_once(Retry(max=2, backoff=5.0, jitter=0.0))
    for wait in (5.1, 10.1):
        scene.restarts()
        scene.passes(wait, silent=False)
        scene.fails("u")
    assert scene.starts("u") == 3
    assert (scene.seen("u") or "").startswith("failure")


def test_a_retry_that_nobody_starts_any_more_expires() -> None:
    scene = failed_once()
    scene.killed("w0")
    scene.passes(20.0 + 10.0 + LEASE + REQUEST_TIMEOUT + 1.0)
    assert scene.seen("u") == "RequestTimeout"


def test_between_two_runs_a_cancel_is_granted_and_a_restart_knows() -> None:
    for restarts in (False, True):
        scene = failed_once()
        if restarts:
            scene.restarts()
        assert scene.cancel("u") == "True"
        scene.restarts()
        assert (scene.seen("u"), scene.starts("u")) == ("cancelled", 1)


def test_the_end_of_a_round_that_was_given_up_does_not_end_the_retry() -> None:
    """It was lost, runs on, and is heard from when the next round has begun."""
    scene = Scene(2)
    scene.submit("u", retries=Retry(max=2, backoff=0.0))
    scene.everything_arrives()
    first, run = scene.run("u")
    first.is_frozen = True
    scene.passes(LEASE + 1.0, silent=False)
    (second,) = [one for one in scene.world.workers if one is not first]
    (other,) = second.runs.values()
    second.end(other, "done", raises=True)
    scene.everything_arrives()
    first.is_frozen = False
    first.end(run, "done")
    scene.everything_arrives()
    assert scene.seen("u") is None
    scene.comes_to_rest()
    assert scene.seen("u") not in (None, f"success {run.token}")


# silences that are nobody's fault -----------------------------------------------------------------


def test_while_the_broker_is_away_nothing_that_one_worker_had_is_sent_to_another() -> None:
    """Before: the lease of one runs out a moment before the other's, and what it runs is sent to
    the other. Both requests lie in the broker, or in our publisher, until it is back; both run.
    """
    scene = Scene(workers=2, beat=1.0)
    scene.submit("u0")
    scene.everything_arrives()
    worker, _ = scene.run("u0")
    (other,) = [one for one in scene.world.workers if one is not worker]
    worker.is_frozen = True
    scene.passes(pace(1.0) + 0.01, silent=False)  # so the other has spoken last
    worker.is_frozen = False
    scene.broker_goes()
    scene.passes(8.0)
    assert not scene.under_way(REQUEST, other.machine.name)
    scene.ends("u0")
    for name in ("ex", worker.machine.name, other.machine.name):
        scene.comes_back(name)
    scene.everything_arrives()
    assert (scene.starts("u0"), scene.seen("u0")) == (1, "success u0#1")


def test_who_comes_back_to_the_broker_later_than_others_keeps_what_it_has() -> None:
    """Before: at a beat of 1 s its lease was shorter than its way back may be."""
    scene = Scene(workers=2, beat=1.0)
    scene.submit("u0")
    scene.everything_arrives()
    worker, _ = scene.run("u0")
    (other,) = [one for one in scene.world.workers if one is not worker]
    scene.broker_goes()
    scene.all_is_lost()
    worker.is_frozen = True  # nothing that it says arrives either
    scene.passes(8.0)
    scene.comes_back("ex")
    scene.comes_back(other.machine.name)
    scene.passes(4.9, silent=False)
    worker.is_frozen = False
    scene.comes_back(worker.machine.name)
    scene.ends("u0")
    scene.everything_arrives()
    assert (scene.starts("u0"), scene.seen("u0")) == (1, "success u0#1")


def test_what_a_late_digest_names_is_not_sent_elsewhere_before_a_lease_after_it() -> None:
    """A walk found it: a worker that has not answered yet was given up a lease after its start-by.

    Its digest, which names the request, had arrived after that: it was within its lease still.
    """
    scene = Scene(workers=2, beat=20.0, is_prompt=False)
    scene.submit("u0")
    holder, other = scene.holder("u0", 1), "w1"
    scene.passes(3.0)
    scene.arrives(REQUEST, holder)
    scene.arrives(NOTIFY, holder)  # it is asked what it holds, says so, and is no more
    scene.killed(holder)
    digest = scene.is_lost(HELD)
    scene.all_is_lost()
    scene.broker_goes(is_noticed=True)
    scene.passes(START_WINDOW - 3.0)
    scene.comes_back("ex")
    scene.comes_back(other)
    scene.passes(4.0, silent=False)
    scene.put_back(digest)
    scene.everything_arrives()
    scene.passes(lease(20.0) - 0.1, silent=False)
    assert (scene.state("u0"), scene.starts("u0")) == ("PENDING", 0)
    scene.passes(0.2, silent=False)
    assert scene.holder("u0", 2) == other


@pytest.mark.parametrize("mode", ["alo", "amo"])
def test_in_an_outage_that_is_noticed_no_lease_runs_out(mode: str) -> None:
    scene = Scene(workers=2, beat=1.0)
    scene.submit("u0", mode=mode)
    scene.everything_arrives()
    scene.broker_goes(is_noticed=True)
    scene.all_is_lost()
    scene.passes(1000.0)
    scene.all_is_lost()
    scene.ends("u0")
    for name in ("ex", "w0", "w1"):
        scene.comes_back(name)
    scene.everything_arrives()
    assert (scene.starts("u0"), scene.seen("u0")) == (1, "success u0#1")


@pytest.mark.parametrize("mode", ["alo", "amo"])
def test_what_a_worker_may_have_dropped_in_an_outage_is_not_proven_never_to_have_run(
    mode: str,
) -> None:
    """A walk found it: the executor is deaf for longer than results are kept, and knows that; its
    worker heard nothing from it either, has dropped what ran, and says that it holds nothing.
    """
    scene = Scene(has_journal=False)
    scene.submit("u0", mode=mode)
    scene.arrives(REQUEST, "w0")  # and that it runs is lost
    scene.executor.listens(False)
    for _ in range(int(KEEP) + 70):
        scene.all_is_lost()
        scene.passes(1.0)
    scene.comes_back("ex")
    scene.everything_arrives()
    if mode == "amo":
        assert (scene.starts("u0"), scene.seen("u0")) == (1, "WorkerLost")
    else:
        scene.comes_to_rest()
        assert (scene.starts("u0"), scene.seen("u0")) == (2, "success u0#2")


def test_a_thawed_worker_starts_nothing_that_it_was_sent_before() -> None:
    """Before: the slot of what ended was given to the next in its queue, which another had by then.

    Frozen for longer than its lease with one request running and one queued; one more lies in its
    inbox. The first runs twice, which nothing can prevent; the others once.
    """
    scene = Scene(workers=1, slots=1, beat=1.0)
    scene.submit("u0")
    scene.everything_arrives()
    (frozen,) = scene.world.workers
    scene.ends("u0")
    scene.everything_arrives()  # it takes two at once for a second
    for uuid in ("u1", "u2"):
        scene.submit(uuid)
    scene.arrives(REQUEST, "w0")
    in_the_inbox = scene.is_lost(REQUEST, "w0")
    frozen.is_frozen = True
    scene.submit("u3")
    scene.passes(lease(1.0) + 2.0, silent=False)
    assert scene.state("u1") == scene.state("u2") == "WAITING"
    frozen.is_frozen = False
    scene.ends("u1")
    scene.put_back(in_the_inbox)
    scene.arrives(REQUEST, "w0")
    assert scene.starts("u2") == 0
    scene.passes(3.0, silent=False)
    assert scene.comes_to_rest() < 10.0
    assert [scene.starts(uuid) for uuid in ("u1", "u2", "u3")] == [1, 1, 1]
