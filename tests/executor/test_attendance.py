"""Workers come, go and fall silent: what that means for what they hold, and what is told of it."""

from __future__ import annotations

import pytest

from executor.effects import Effect, Record
from executor.ledger import Ledger
from executor.request import start_by_passes
from protocol import envelope
from protocol.envelope import Envelope
from protocol.errors import RequestTimeout, WorkerLost
from protocol.events import Over, Running, WorkerGone, WorkerSeen
from protocol.messages import Answer, Response
from protocol.states import PENDING, RUNNING, WAITING
from protocol.timing import (
    COMING_BACK,
    KEEP,
    LEASE,
    START_WINDOW,
    TASKFLOW_SILENCE,
    WORKER_EXPIRY,
    lease,
)
from tests.executor.peers import (
    TOPIC,
    Native,
    Taskflow,
    delivered,
    dispatches,
    lines,
    order,
    outcomes,
    receipts,
)
from tests.executor.scenes import (
    TASK,
    beats,
    crowd,
    ends,
    error,
    make,
    running,
    sent,
    until,
)


def hears_only(ledger: Ledger, worker: Native, since: float, end: float) -> list[Effect]:
    """Nobody but this worker, which speaks every 0.7 s and last at the end."""
    effects: list[Effect] = []
    now = since
    while now < end:
        effects += ledger.heard([worker.answer(now, TASK)], now) + until(ledger, now, now)
        following = min(now + 0.7, end)
        effects += until(ledger, now, following)
        now = following
    return effects + ledger.heard([worker.answer(end, TASK)], end) + ledger.tick(end)


# silence ------------------------------------------------------------------------------------------


def test_what_a_silent_worker_held_waits_again_and_that_is_recorded() -> None:
    ledger, worker, other = make(), Native("a"), Native("b")
    sent(ledger, worker)
    ledger.heard([other.answer(LEASE, TASK)], LEASE)
    effects = ledger.tick(LEASE)
    assert lines(effects) == [Over("u1", 1, "lost")]
    (again,) = dispatches(effects)
    assert (again.attempt, again.event.worker) == (2, other.name)


def test_silent_workers_end_a_request_after_the_last_attempt() -> None:
    ledger = make()
    now = 0.0
    worker = Native("1")
    dispatch = sent(ledger, worker)
    ledger.heard([worker.running(dispatch, now)], now)
    for boot in "23":
        now += LEASE
        worker = Native(boot)
        ledger.heard([worker.answer(now, TASK)], now)
        (dispatch,) = dispatches(ledger.tick(now))
        ledger.heard([worker.running(dispatch, now)], now)
    assert dispatch.attempt == 3
    lost = error(ledger.tick(now + LEASE))
    assert isinstance(lost, WorkerLost)
    assert str(lost) == (
        "request u1 (m.task) was sent to worker-3 and is lost in RUNNING: nothing was heard from "
        f"there for {LEASE:.1f} s; it is the attempt number 3 that ends like this; look in the "
        "worker's own log for what ended it, then submit again"
    )


@pytest.mark.parametrize("runs", [False, True])
@pytest.mark.parametrize("how", ["silent", "ended", "replaced"])
def test_at_most_once_means_that_no_silence_is_followed_by_another_start(
    how: str, runs: bool
) -> None:
    ledger, worker, other = make(), Native("a"), Native("b")
    (running if runs else sent)(ledger, worker, mode="amo")
    ledger.heard([other.answer(14.0, TASK)], 14.0)
    if how == "silent":
        effects = ledger.tick(LEASE)
    elif how == "ended":
        effects = ledger.gone(worker.name, 14.0)
    else:
        effects = ledger.heard([Native("c", replaces=worker.boot).answer(14.0, TASK)], 14.0)
    assert dispatches(effects) == []
    lost = error(effects)
    assert isinstance(lost, WorkerLost)
    assert "it may have run, and at_most_once is never started twice" in str(lost)
    assert ("process has ended" in str(lost)) is (how != "silent")


def test_no_timer_of_ours_sends_a_request_again_while_its_worker_is_heard_from() -> None:
    """Only its worker can say that it was not started there: our clock proves nothing."""
    for mode in ("alo", "amo"):
        ledger, worker = make(), Native("a")
        before = running(ledger, worker, uuid="u0")
        ledger.heard([worker.success(before, 0.1)], 0.1)
        sent(ledger, worker, mode=mode, now=0.2)
        effects = beats(ledger, worker, 5.0, 300.0)
        assert dispatches(effects) == []
        assert ledger.state_of("u1") == PENDING


@pytest.mark.parametrize("mode", ["alo", "amo"])
def test_but_who_has_never_answered_anything_is_not_waited_for_without_end(mode: str) -> None:
    """A stranger says that he is a worker, and goes on saying so."""
    ledger, stranger, worker = make(), Native("b"), Native("a")
    sent(ledger, stranger, mode=mode)
    effects = []
    for now in range(1, 100, 4):
        effects += ledger.heard([stranger.answer(now, TASK), worker.answer(now, TASK)], now)
        effects += ledger.tick(now)
    found = dispatches(effects)
    assert [d.event.worker for d in found] == ([worker.name] if mode == "alo" else [])
    assert not found or found[0].event.attempt == 2


@pytest.mark.parametrize(
    ("named", "last_word", "waited"),  # all counted from when its start-by has passed for us
    [
        (None, 200.0, LEASE),
        (-50.0, -1.0, -1.0 + LEASE),
        (-50.0, 4.0, 4.0 + LEASE),
        (4.0, 4.0, 4.0 + LEASE),
        (4.0, LEASE, 2 * LEASE),
        (-50.0, 200.0, 2 * LEASE),
    ],
)
def test_what_its_digest_has_named_it_has_for_a_lease_from_its_last_word_and_two_at_most(
    named: float | None, last_word: float, waited: float
) -> None:
    """A walk found it: the digest came late, and the request went elsewhere within its lease."""
    ledger, newcomer, worker = make(), Native("b"), Native("a")
    sent(ledger, newcomer)
    passed = start_by_passes(0.0, START_WINDOW)
    effects: list[Effect] = []
    since = -60.0
    while not dispatches(effects):
        since += 0.5
        now = passed + since
        ledger.heard([worker.answer(now, TASK)], now)
        if since <= last_word:
            ledger.heard([newcomer.answer(now, TASK, credit=0)], now)
        if since == named:
            ledger.heard([newcomer.held(now + 0.001, queued="1:1")], now)
        effects += ledger.tick(now)
    assert [d.event.worker for d in dispatches(effects)] == [worker.name]
    assert since == pytest.approx(waited, abs=0.5)


def test_and_what_it_is_found_to_run_after_all_is_its_own_again() -> None:
    """A walk found it: its digest was not asked about what had been given up there."""
    ledger, newcomer, other = make(), Native("b"), Native("a")
    first = sent(ledger, newcomer)
    effects = []
    for now in range(1, 100, 4):
        effects += ledger.heard([newcomer.answer(now, TASK, credit=0)], now) + ledger.tick(now)
    assert ledger.state_of("u1") == WAITING
    effects += ledger.heard([newcomer.held(100, running=first)], 100.0)
    effects += ledger.heard([other.answer(100, TASK)], 100.0)
    assert dispatches(effects) == []
    assert ledger.state_of("u1") == RUNNING
    told = [line for line in lines(effects) if isinstance(line, (Over, Running))]
    assert told == [Over("u1", 1, "lost"), Running("u1", 1)]


def test_nor_does_that_time_run_out_while_nobody_can_be_heard() -> None:
    """A walk found it: its digest was read after that of another, which had room."""
    ledger, newcomer, other = make(), Native("b"), Native("a")
    sent(ledger, newcomer)
    ledger.listening(False, 0.1)
    assert dispatches(until(ledger, 0.1, 300.0)) == []
    ledger.listening(True, 300.0)
    effects = ledger.consuming(300.0)
    effects += ledger.heard([newcomer.answer(300, TASK, credit=0), other.answer(300, TASK)], 300.0)
    assert dispatches(effects + until(ledger, 300.0, 300.0 + LEASE - 0.1)) == []
    assert ledger.state_of("u1") == PENDING
    ledger.heard([newcomer.answer(312, TASK, credit=0), other.answer(312, TASK)], 312.0)
    assert [d.event.worker for d in dispatches(until(ledger, 312.0, 314.0))] == [other.name]


@pytest.mark.parametrize(
    ("pauses", "steps"),  # each followed by a second in which both are heard
    [([100.0] + [0.0] * 20, 13), ([3.0] * 20, 4)],
)
def test_nor_while_we_take_nothing_but_it_does_in_the_end(pauses: list[float], steps: int) -> None:
    """Of a process that is starved without end the last time is counted, and not each."""
    ledger, newcomer, other = make(), Native("b"), Native("a")
    sent(ledger, newcomer)
    now, left = start_by_passes(0.0, START_WINDOW), steps
    effects: list[Effect] = []
    for pause in pauses:
        left -= 1
        if pause:
            ledger.stood_still(now, now + pause)
        now += pause
        ledger.heard([newcomer.answer(now, TASK, credit=0), other.answer(now, TASK)], now)
        effects = until(ledger, now, now + 1.0)
        now += 1.0
        if dispatches(effects):
            break
    assert [d.event.worker for d in dispatches(effects)] == [other.name]
    assert left == 0


def test_but_a_worker_that_knows_no_digests_will_never_say_so() -> None:
    ledger, old = make(), Native("a", caps=("release",))
    sent(ledger, old)
    assert dispatches(beats(ledger, old, 5.0, 60.0, credit=1)) == []
    assert [d.attempt for d in dispatches(beats(ledger, old, 60.0, 65.1))] == [2]
    assert ledger.counts == {"start_by_passed": 1}
    strict, old = make(), Native("a", caps=("release",))
    sent(strict, old, mode="amo")
    assert isinstance(error(beats(strict, old, 5.0, 70.0)), WorkerLost)


def test_any_message_of_a_worker_is_a_beat() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    for now in (10.0, 20.0, 30.0):
        ledger.heard([worker.running(dispatch, now)], now)
        ledger.tick(now + LEASE - 0.1)
    assert ledger.state_of("u1") == RUNNING


def test_a_lease_is_almost_three_of_the_beats_its_worker_announces() -> None:
    for beat in (1.0, 20.0):
        ledger, worker = make(), Native("a", beat=beat)
        sent(ledger, worker)
        assert ledger.tick(lease(beat) - 0.01) is not None
        assert ledger.state_of("u1") == PENDING
        ledger.tick(lease(beat))
        assert ledger.state_of("u1") == WAITING


def test_what_is_lacking_after_a_long_silence_of_ours_proves_nothing() -> None:
    """We were stopped for longer than they keep what is ours: it may have run, and been dropped."""
    ledger, worker = make(), Native("a")
    sent(ledger, worker, mode="amo")
    late = KEEP + 5.0
    lost = error(ledger.heard([worker.answer(late, TASK), worker.held(late)], late))
    assert isinstance(lost, WorkerLost)
    patient, worker = make(keeps_journal=True), Native("a")
    sent(patient, worker, mode="amo")
    effects = patient.heard([worker.answer(late, TASK), worker.held(late)], late)
    assert [d.attempt for d in dispatches(effects)] == [2]


def test_while_we_could_not_hear_nobody_was_silent() -> None:
    """An outage of the broker of half a minute: what was given up for it is where it was."""
    ledger, worker, other = make(), Native("a"), Native("b")
    running(ledger, worker)
    here = [worker.answer(1.0, TASK, credit=1), other.answer(1.0, TASK, credit=9)]
    ledger.heard(here, 1.0)
    (queued,) = dispatches(ledger.submitted([order("u2")], 1.0))
    assert queued.event.worker == other.name
    found = lines(until(ledger, 1.0, 30.0))
    assert found == [Over("u1", 1, "lost"), Over("u2", 1, "lost")]
    assert [ledger.state_of(uuid) for uuid in ("u1", "u2")] == [WAITING, WAITING]
    effects = ledger.consuming(31.0)
    assert lines(effects) == [Running("u1", 1)]  # or it would be lost after a restart
    assert [ledger.state_of(uuid) for uuid in ("u1", "u2")] == [RUNNING, PENDING]
    back = [worker.answer(31.1, TASK), worker.held(31.1, running="1:1")]
    assert dispatches(ledger.heard(back, 31.1)) == []
    assert ledger._requests["u1"].lost == 0


def test_but_who_was_silent_before_that_has_no_more_time_than_was_left() -> None:
    ledger, worker, other = make(), Native("a"), Native("b")
    running(ledger, worker)
    ledger.heard([other.answer(10.0, TASK, credit=0)], 10.0)
    ledger.consuming(100.0)
    left = LEASE - 10.0
    assert lines(until(ledger, 100.0, 99.9 + left)) == []
    assert lines(until(ledger, 99.9 + left, 100.0 + left)) == [Over("u1", 1, "lost")]


def test_what_one_lost_while_everybody_is_silent_is_not_sent_to_another() -> None:
    """Both would read it when the broker is back, and each would run it."""
    ledger, worker, other = make(), Native("a", beat=1.0), Native("b", beat=1.0)
    running(ledger, worker)
    ledger.heard([other.answer(0.7, TASK)], 0.7)
    effects = until(ledger, 0.7, 8.0)  # the lease of the other runs out 0.7 s later
    assert lines(effects) == [Over("u1", 1, "lost")]
    assert dispatches(effects) == []
    effects = ledger.consuming(8.0)
    effects += ledger.heard([other.answer(8.1, TASK), worker.answer(8.2, TASK)], 8.2)
    assert lines(effects) == [Running("u1", 1)]
    assert dispatches(effects) == []


def test_but_it_is_as_soon_as_another_is_heard_from() -> None:
    ledger, worker, other = make(), Native("a", beat=1.0), Native("b", beat=1.0)
    sent(ledger, worker)
    ledger.heard([other.answer(0.7, TASK)], 0.7)
    assert lines(until(ledger, 0.7, 2.6)) == [Over("u1", 1, "lost")]
    assert [d.attempt for d in dispatches(ledger.heard([other.answer(2.7, TASK)], 2.7))] == [2]


@pytest.mark.parametrize(
    ("outage", "grace"), [(0.5, 0.5), (2.0, 2.0), (7.0, COMING_BACK), (60.0, COMING_BACK)]
)
def test_who_comes_back_later_than_we_and_others_has_its_work_still(
    outage: float, grace: float
) -> None:
    """At a beat of 1 s a lease is shorter than the way back to a broker may take."""
    ledger, worker, other = make(), Native("a", beat=1.0), Native("b", beat=1.0)
    running(ledger, worker)
    ledger.heard([other.answer(0.0, TASK)], 0.0)
    until(ledger, 0.0, outage)
    back, last = outage, outage + grace + lease(1.0)
    effects = ledger.consuming(back)
    effects += hears_only(ledger, other, back, last - 0.01)
    assert dispatches(effects) == []
    assert ledger.state_of("u1") == RUNNING
    effects = hears_only(ledger, other, last, last + 0.1)
    assert [d.event.worker for d in dispatches(effects)] == [other.name]


def test_who_comes_back_and_falls_silent_then_has_a_lease_and_no_more() -> None:
    ledger, worker, other = make(), Native("a", beat=1.0), Native("b", beat=1.0)
    running(ledger, worker)
    ledger.heard([other.answer(0.0, TASK)], 0.0)
    until(ledger, 0.0, 8.0)
    ledger.consuming(8.0)
    ledger.heard([worker.answer(9.0, TASK), worker.held(9.0, running="1:1")], 9.0)
    last = 9.0 + lease(1.0)
    assert dispatches(hears_only(ledger, other, 9.1, last - 0.01)) == []
    assert len(dispatches(hears_only(ledger, other, last, last + 0.1))) == 1


def test_a_broker_that_comes_and_goes_does_not_hide_a_dead_worker() -> None:
    """Two seconds away, two seconds there, again and again: only those count in which we hear."""
    ledger, dead, other = make(), Native("a", beat=1.0), Native("b", beat=1.0)
    running(ledger, dead)
    heard, now, effects = 0.0, 0.0, []
    while not effects:
        now += 2.0
        ledger.consuming(now)
        effects = dispatches(hears_only(ledger, other, now, now + 2.0))
        now, heard = now + 2.0, heard + 2.0
        assert heard <= COMING_BACK + lease(1.0) + 2.0
    assert [d.event.worker for d in effects] == [other.name]


@pytest.mark.parametrize("mode", ["alo", "amo"])
def test_while_we_know_that_we_cannot_hear_no_lease_runs_out(mode: str) -> None:
    ledger, worker, other = make(), Native("a"), Native("b", beat=20.0)
    running(ledger, worker, mode=mode)
    ledger.heard([other.answer(1.0, TASK)], 1.0)
    ledger.listening(False, 2.0)
    assert lines(until(ledger, 2.0, 500.0)) == []
    ledger.listening(True, 500.0)
    effects = ledger.consuming(500.1)
    effects += ledger.heard([worker.answer(502.0, TASK), worker.held(502.0, running="1:1")], 502.0)
    assert lines(effects) == dispatches(effects) == []
    assert ledger.state_of("u1") == RUNNING


def test_time_in_which_we_took_nothing_counts_for_nobody() -> None:
    """We were stopped for longer than a lease; our timers would find everybody silent."""
    ledger, worker, other = make(), Native("a"), Native("b")
    running(ledger, worker, mode="amo")
    ledger.heard([other.answer(10.0, TASK, credit=0)], 10.0)
    ledger.stood_still(10.1, 500.0)
    assert lines(until(ledger, 500.0, 500.0 + LEASE - 10.2)) == []
    ledger.heard([worker.answer(503.0, TASK)], 503.0)
    assert ledger.state_of("u1") == RUNNING


def test_but_a_process_that_stands_still_again_and_again_notices_a_dead_worker() -> None:
    """It is starved, for three seconds of each four, and there is no other worker to be heard."""
    ledger, dead = make(), Native("a")
    running(ledger, dead)
    now, effects = 1.0, []
    while not lines(effects):
        ledger.stood_still(now, now + 3.0)
        effects = until(ledger, now + 3.0, now + 4.0)
        now += 4.0
        assert now < 4 * (LEASE + COMING_BACK) + 4.0
    assert lines(effects) == [Over("u1", 1, "lost")]


def test_a_standstill_that_is_told_in_pieces_is_one() -> None:
    ledger, newcomer = make(), Native("b")
    sent(ledger, newcomer)
    for piece in range(10):
        ledger.stood_still(101.0 + piece, 102.0 + piece)
    (peer,) = ledger.directory
    assert ledger._attendance.due(peer, 100.0, 111.0) == 100.0 + LEASE + 10.0


def test_an_outage_after_a_standstill_is_excused_without_it() -> None:
    ledger, worker = make(), Native("a")
    running(ledger, worker)
    ledger.heard([worker.answer(1.0, TASK)], 1.0)
    ledger.stood_still(1.0, 100.0)
    ledger.consuming(104.0)
    last = 104.0 + LEASE + COMING_BACK
    assert lines(until(ledger, 104.0, last - 0.1)) == []
    assert lines(until(ledger, last - 0.1, last)) == [Over("u1", 1, "lost")]


def test_from_when_we_hear_again_it_does() -> None:
    """Also where nobody says so by consuming anew: a thread was only late."""
    ledger, worker = make(), Native("a")
    running(ledger, worker)
    ledger.listening(False, 1.0)
    until(ledger, 1.0, 100.0)
    ledger.listening(True, 100.0)
    last = 100.0 + LEASE + COMING_BACK
    assert lines(until(ledger, 100.0, last - 0.1)) == []
    assert lines(until(ledger, last - 0.1, last)) == [Over("u1", 1, "lost")]


def test_who_provably_ended_is_given_up_whether_we_hear_or_not() -> None:
    ledger, worker = make(), Native("a")
    running(ledger, worker)
    ledger.listening(False, 1.0)
    assert Over("u1", 1, "lost") in lines(ledger.gone(worker.name, 2.0))


def test_what_was_sent_elsewhere_since_stays_there() -> None:
    ledger, worker, other = make(), Native("a"), Native("b")
    running(ledger, worker)
    ledger.heard([other.answer(14.0, TASK)], 14.0)
    assert len(dispatches(ledger.tick(LEASE))) == 1
    ledger.consuming(16.0)
    assert ledger._requests["u1"].attempts[0].given_up
    assert ledger.state_of("u1") == PENDING


def test_a_request_that_is_lost_after_its_timeout_was_started_in_time_and_is_sent_again() -> None:
    ledger, worker, other = make(), Native("a"), Native("b")
    running(ledger, worker, timeout=14.5)
    ledger.heard([other.answer(LEASE, TASK)], LEASE)
    assert [d.attempt for d in dispatches(ledger.tick(LEASE))] == [2]


def test_a_request_that_is_lost_before_it_was_started_expires() -> None:
    ledger, worker = make(), Native("a")
    sent(ledger, worker, timeout=14.95)
    assert isinstance(error(until(ledger, 0.0, 15.3)), RequestTimeout)


def test_after_a_rolling_restart_of_its_only_worker_a_request_has_its_full_time() -> None:
    """An hour old, its lane gone with the goodbye: before, it expired once it was handed back."""
    ledger, worker = make(), Native("a")
    dispatch = running(ledger, worker, 1.0)
    beats(ledger, worker, 5.0, 3600.0)
    ledger.heard([worker.goodbye(3600.0)], 3600.0)
    ledger.tick(3600.0)
    stopped = ledger.heard([worker.failure(dispatch, 3601.0, "stopped")], 3601.0)
    assert ends(stopped + ledger.tick(3602.0) + ledger.tick(3630.0)) == []
    assert len(dispatches(ledger.heard([Native("b").answer(3640.0, TASK)], 3640.0))) == 1


# a process that has ended -------------------------------------------------------------------------


def test_a_worker_known_to_have_ended_is_not_waited_for() -> None:
    """Its requests go elsewhere at once; its last words, on their way, still count."""
    ledger, one, other = make(), Native("a"), Native("b")
    first = sent(ledger, one)
    ledger.heard([other.answer(1.0, TASK, credit=1)], 1.0)
    effects = ledger.gone(one.name, 2.0)
    (second,) = dispatches(effects)
    assert (second.uuid, second.attempt) == ("u1", 2)
    assert crowd(effects) == [1]
    assert ledger.gone("nobody", 3.0) == []
    assert ends(ledger.heard([one.success(first, 3.0)], 3.0)) == ["u1"]
    assert receipts(ledger.tick(4.0)) == {other.boot: ["1:1"]}  # nobody else is left to tell


def test_a_worker_that_replaces_another_proves_that_it_has_ended() -> None:
    ledger, before, after = make(), Native("a"), Native("b")
    sent(ledger, before)
    after.replaces = before.boot
    effects = ledger.heard([after.answer(1.0, TASK)], 1.0)
    assert lines(effects) == [Over("u1", 1, "lost")]
    assert [d.event.worker for d in dispatches(effects)] == [after.name]
    assert crowd(effects) == []  # one came, one went
    ledger.heard([after.answer(2.0, TASK), before.answer(2.0, TASK)], 2.0)
    assert [peer.name for peer in ledger.directory] == [after.name]


def test_what_a_replaced_worker_had_not_started_settles_a_cancel() -> None:
    ledger, before, after = make(), Native("a"), Native("b")
    sent(ledger, before)
    ledger.tick(LEASE)  # it was forgotten long before
    ledger.cancelled("u1", False, 16.0)
    after.replaces = before.boot
    assert ends(ledger.heard([after.answer(17.0, TASK)], 17.0)) == ["u1"]


@pytest.mark.parametrize("boot", ["f" * 16, "b" * 16])
def test_replacing_nobody_we_know_or_itself_is_nothing(boot: str) -> None:
    ledger, worker = make(), Native("b", replaces=boot)
    assert crowd(ledger.heard([worker.answer(1.0, TASK)], 1.0)) == [1]
    assert len(dispatches(ledger.submitted([order("u1")], 1.0))) == 1


# coming and going ---------------------------------------------------------------------------------


def recorded(effects: list[object]) -> list[object]:
    """What the journal is told of workers."""
    events = [effect.event for effect in effects if isinstance(effect, Record)]
    return [event for event in events if isinstance(event, (WorkerSeen, WorkerGone))]


def test_the_journal_is_told_who_comes_what_changes_and_who_goes() -> None:
    ledger, worker = make(topics=("x", "y")), Native("a", topics=("x", "y"))
    seen = WorkerSeen(worker.name, "native", worker.boot, ["x"], 2)
    gone = WorkerGone(worker.name, worker.boot)
    assert recorded([*ledger.heard([worker.answer(0.0, TASK)], 0.0)]) == [seen]
    assert recorded([*ledger.heard([worker.answer(1.0, TASK, "m.more")], 1.0)]) == []
    effects = ledger.heard([worker.answer(2.0, TASK, topic="y")], 2.0)
    assert recorded([*effects]) == [WorkerSeen(worker.name, "native", worker.boot, ["x", "y"], 2)]
    assert recorded([*ledger.tick(2.0 + LEASE)]) == [gone]
    assert recorded([*ledger.heard([worker.answer(20.0, TASK)], 20.0)]) == [seen]
    assert recorded([*ledger.heard([worker.goodbye(21.0)], 21.0)]) == [gone]
    assert recorded([*ledger.heard([worker.goodbye(22.0)], 22.0)]) == []


def test_of_taskflows_workers_it_is_told_the_topic() -> None:
    ledger = make("taskflow")
    effects = ledger.heard([Taskflow().answer(TASK)], 0.0)
    assert recorded([*effects]) == [WorkerSeen(TOPIC, "taskflow", None, [TOPIC], None)]
    assert recorded([*ledger.tick(WORKER_EXPIRY)]) == [WorkerGone(TOPIC, None)]


def test_a_worker_that_says_goodbye_is_forgotten_at_once_if_nothing_is_open_there() -> None:
    ledger, worker = make(), Native("a")
    assert crowd(ledger.heard([worker.answer(0.0, TASK)], 0.0)) == [1]
    assert crowd(ledger.heard([worker.goodbye(1.0)], 1.0)) == [0]
    assert ledger.heard([worker.goodbye(6.0)], 6.0) == []  # still on its way down
    assert len(ledger.directory) == 0


def test_a_worker_that_says_goodbye_while_it_runs_ours_is_covered_until_the_end() -> None:
    ledger, worker = make(), Native("a")
    dispatch = sent(ledger, worker)
    ledger.heard([worker.running(dispatch, 0.1), worker.goodbye(0.2)], 0.2)
    assert len(ledger.directory) == 1
    ledger.heard([worker.success(dispatch, 0.3)], 0.3)
    assert crowd(ledger.heard([worker.goodbye(0.3)], 0.3)) == [0]


def test_an_answer_overtaken_by_a_goodbye_does_not_bring_the_worker_back() -> None:
    ledger, worker = make(), Native("a")
    ledger.heard([worker.answer(0.0, TASK)], 0.0)
    before = worker.answer(0.9, TASK)
    ledger.heard([worker.goodbye(1.0), before], 1.1)
    assert len(ledger.directory) == 0
    assert dispatches(ledger.submitted([order("u1")], 1.2)) == []


def test_a_worker_of_two_topics_leaves_with_its_second_goodbye() -> None:
    ledger, worker = make(topics=("x", "y")), Native("a", topics=("x", "y"))
    ledger.heard([worker.answer(0.0, TASK, topic=topic) for topic in "xy"], 0.0)
    ledger.heard([worker.answer(1.0, credit=0, topic="x")], 1.0)
    assert len(ledger.directory) == 1
    ledger.heard([worker.answer(1.0, credit=0, topic="y")], 1.0)
    assert len(ledger.directory) == 0


def test_a_worker_that_offers_nothing_yet_is_no_goodbye() -> None:
    ledger = make()
    assert crowd(ledger.heard([Native("a").answer(0.0, credit=4)], 0.0)) == [1]


@pytest.mark.parametrize("topic", ["elsewhere", TOPIC])
def test_answers_for_others_are_counted_and_change_nothing(topic: str) -> None:
    ledger = make("taskflow" if topic == TOPIC else "native")
    assert ledger.heard([Native("a", topics=(topic,)).answer(0.0, TASK)], 0.0) == []
    assert ledger.counts == {"answer_for_others": 1}
    native = make()
    assert native.heard([Taskflow().answer(TASK)], 0.0) == []
    assert native.counts == {"answer_for_others": 1}


def test_an_answer_that_names_no_inbox_is_incomplete() -> None:
    ledger, worker = make(), Native("a")
    bare = Envelope(envelope.NOTIFY, header=worker.header(0.0))
    assert ledger.heard([delivered(bare, Answer(TOPIC, (TASK,)), at_worker=False)], 0.0) == []
    assert ledger.counts == {"incomplete_answer": 1}


# taskflow's ---------------------------------------------------------------------------------------


def test_what_runs_on_a_silent_taskflow_topic_is_lost_after_an_hour_and_not_before() -> None:
    """A busy taskflow worker does not answer questions, so silence alone proves little."""
    ledger, peer = make("taskflow"), Taskflow()
    ledger.heard([peer.answer(TASK)], 0.0)
    ledger.submitted([order("u1"), order("u2", timeout=9000.0)], 1.0)
    ledger.heard([peer.running("u1"), peer.running("u2")], 2.0)
    assert ends(ledger.tick(2.0 + WORKER_EXPIRY)) == []  # forgotten, but what it runs is not
    assert ends(ledger.tick(2.0 + TASKFLOW_SILENCE - 0.1)) == []
    spoke = peer.says("u2", Response.event("update_progress", {"progress": 0.5}))
    ledger.heard([spoke], 2.0 + TASKFLOW_SILENCE - 0.05)
    assert ends(ledger.tick(2.0 + TASKFLOW_SILENCE)) == []  # it has spoken
    assert list(outcomes(ledger.heard([peer.success("u1")], 4000.0))) == ["u1"]
    ledger.tick(4000.0 + WORKER_EXPIRY)
    effects = ledger.tick(4000.0 + TASKFLOW_SILENCE)
    assert ends(effects) == ["u2"]
    assert isinstance(error(effects), WorkerLost)
