"""The hosts of a processes pool, and what is known of them; all on the pool's one thread.

Starts hosts, hands out works, reads what comes back and makes it reports, in lists. Limits are kept
here too: a work has as long as it says from its hand-over, then its host is killed; an end that the
host has told by then counts. What a host's end means is decided here. Under a work: that work is
reported as crashed, or as stopped or at its limit if that is why, and a fresh host is started at
once. Before it was ready: another is started after a pause that doubles; from the third in a row
on, each takes one waiting work with it, so that none waits for a host that will never come. While
it imported what it was told to offer: that is refused and forgotten.

How notes get here is ``processes``' business; what one host is, ``seat``'s; what is waited for,
``watch``'s; what is on offer, ``catalogue``'s; how an end is worded, ``ends``'.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

from protocol.errors import TasksUnloadable
from protocol.values import Json, dumps
from worker.host import HostCrashed
from worker.pool import ends
from worker.pool.catalogue import Catalogue
from worker.pool.seat import Seat
from worker.pool.watch import Watch
from worker.work import Ended, Offer, PoolEnded, Report, Started, TaskEvent, Work

log = logging.getLogger("taskline.worker.pool.crew")

LEAVE_TIME: Final = 1.0  # seconds an idle host has for its own exit handlers
FIRST_PAUSE: Final = 0.1  # seconds before a host that failed to start is replaced; doubles
LONGEST_PAUSE: Final = 10.0  # seconds
GIVE_UP_AFTER: Final = 3  # hosts of one seat that died in a row before they were ready
TELL_AFTER: Final = 0.5  # seconds from the kill until an end is told, be everything gone or not
WARDEN_PATIENCE: Final = 10.0  # seconds from the kill until a warden counts as stuck
#: Seconds between looks at hosts on a system that has no descriptors for processes (pidfd_open).
LOOK_PERIOD: Final = 0.25

_READS_AT_LIMIT: Final = 4  # more than a pipe holds

Reporter = Callable[[list[Report]], None]
#: What other threads ask for: ``("run", Work)``, ``("offer", spec)``, ``("end", key)``,
#: ``("stop", monotonic time)``.
Note = tuple[str, Any]


class Crew:
    """As many seats as there are slots. The pool's thread only.

    ``notes`` is filled by others, each time with a byte into the pipe whose other end is ``wake``.
    """

    def __init__(
        self,
        slots: int,
        specs: Sequence[str],
        notes: deque[Note],
        wake: int,
        report: Reporter,
    ) -> None:
        self._seats = [Seat(number) for number in range(slots)]
        self._catalogue = Catalogue(specs)
        self._notes = notes
        self._wake = wake
        self._report = report
        self._reports: list[Report] = []
        self._waiting: deque[Work] = deque()
        self._is_up = False
        self._stop_by: float | None = None
        self._unloadable: str | None = None
        self._watch = Watch(wake)

    # -- life

    def start(self, start_by: float) -> tuple[Offer, ...]:
        """Start all hosts at once and wait until each is ready."""
        for seat in self._seats:
            self._start_host(seat)
        while any(seat.state != "idle" for seat in self._seats):
            if self._stop_by is not None:
                raise TasksUnloadable("the pool was stopped while it was starting")
            if self._unloadable is not None:
                raise TasksUnloadable(self._unloadable)
            if time.monotonic() >= start_by:
                slow = sum(seat.state != "idle" for seat in self._seats)
                raise TasksUnloadable(
                    f"{slow} of {len(self._seats)} hosts were still importing "
                    f"{', '.join(self._catalogue.specs)} when the time for it was over"
                )
            self._turn(start_by)
        self._is_up = True
        return self._catalogue.offers

    def serve(self) -> None:
        """Run works until told to stop."""
        while self._stop_by is None:
            self._turn(None)
            self._send_reports()
        self._leave(self._stop_by)

    def finish(self, fault: HostCrashed | None) -> None:
        """Kill what is left, end what is open (as crashed after a fault of ours), let go of all."""
        for seat in self._seats:
            seat.kill(time.monotonic())
        if fault is not None:
            self._reports += [ends.lost(work, fault) for work in self._open_works()]
            self._reports.append(PoolEnded(str(fault)))
        else:
            self._stop_works()
        try:
            self._send_reports()
        finally:
            for seat in self._seats:
                if seat.process is not None:
                    self._forget(seat)
            self._watch.close()

    def _leave(self, stop_by: float) -> None:
        """Let idle hosts go by themselves, for their exit handlers' sake; kill the others."""
        self._stop_works()
        self._send_reports()
        for seat in self._seats:
            if seat.state == "idle" and not seat.unanswered:
                seat.state = "leaving"
                seat.send('["quit"]')
            else:
                seat.kill(time.monotonic())
        leave_by = min(stop_by, time.monotonic() + LEAVE_TIME)
        while any(seat.process is not None for seat in self._seats) and time.monotonic() < leave_by:
            self._turn(leave_by)

    def _stop_works(self) -> None:
        how = "was ended with its worker"
        self._reports += [ends.stopped(work, how) for work in self._open_works()]

    def _open_works(self) -> list[Work]:
        """All works that have no end yet; they are nobody's afterwards."""
        works = [seat.work for seat in self._seats if seat.work is not None]
        works += self._waiting
        works += [note[1] for note in self._notes if note[0] == "run"]
        self._notes.clear()
        self._waiting.clear()
        for seat in self._seats:
            seat.work = None
        return works

    # -- one turn

    def _turn(self, until: float | None) -> None:
        """Wait for something to happen, at the longest until then, and see to it."""
        for happening, seat in self._watch.wait(self._patience(until)):
            if seat is None:
                self._take_notes()
            elif happening == "ended":
                self._see_whether_dead(seat)
            elif happening == "readable":
                self._serve(seat)
            else:
                seat.flush()
                self._watch.see_to_writing(seat)
        now = time.monotonic()
        for seat in self._seats:
            if not self._watch.tells_end_of(seat):
                self._see_whether_dead(seat)
            if seat.start_at is not None and seat.start_at <= now and self._stop_by is None:
                self._start_host(seat)
            self._see_to_time(seat, now)
        self._hand_out(now)

    def _patience(self, until: float | None) -> float:
        now = time.monotonic()
        times = [math.inf if until is None else until]
        for seat in self._seats:
            times += [seat.nudge_at, seat.limit_at, seat.gauge_at]
            if seat.start_at is not None:
                times.append(seat.start_at)
            if seat.process is not None and not self._watch.tells_end_of(seat):
                times.append(now + LOOK_PERIOD)
            if seat.killed_at < math.inf:
                is_told = seat.work is None
                times.append(seat.killed_at + (WARDEN_PATIENCE if is_told else TELL_AFTER))
        return max(0.0, min(times) - now)

    def _take_notes(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)
        while self._notes:
            word, subject = self._notes.popleft()
            if word == "run":
                self._waiting.append(subject)
            elif word == "offer":
                self._offer(subject)
            elif word == "end":
                self._end(subject)
            elif self._stop_by is None:
                self._stop_by = subject

    def _hand_out(self, now: float) -> None:
        if not self._waiting or self._stop_by is not None:
            return
        for seat in self._seats:
            # One that still imports might yet die of it, and the work with it.
            if seat.state == "idle" and not seat.unanswered and self._waiting:
                seat.run(self._waiting.popleft(), now)
                self._watch.see_to_writing(seat)

    def _send_reports(self) -> None:
        if self._reports:
            reports, self._reports = self._reports, []
            try:
                self._report(reports)
            except BaseException:  # a fault of ours: told again with the end of the pool
                self._reports = reports + self._reports
                raise

    # -- limits

    def _see_to_time(self, seat: Seat, now: float) -> None:
        if now >= seat.nudge_at:
            seat.nudge(now)
        if now >= seat.limit_at:
            # An end that is in the pipe by now is in time. The task may go on filling it.
            self._read(seat, _READS_AT_LIMIT)
            self._kill_under_work(seat, "limit", now)
        if now >= seat.gauge_at and seat.is_over_memory(now):
            self._kill_under_work(seat, "memory", now)
        if now >= seat.killed_at + TELL_AFTER and seat.work is not None:
            log.error("process %s is killed, but not gone after %s s", seat.pid, TELL_AFTER)
            self._tell_end(seat, "a closed pipe")
        if now >= seat.killed_at + WARDEN_PATIENCE:
            log.error("process %s does not end; what it watches over may not, too", seat.process)
            seat.give_up()
            seat.killed_at = now

    def _kill_under_work(
        self, seat: Seat, why: Literal["stopped", "limit", "memory"], now: float
    ) -> None:
        if seat.work is not None and seat.ending is None:
            seat.ending = why
            seat.kill(now)

    def _tell_end(self, seat: Seat, how: str) -> None:
        """Report the end of the work whose host is dead, or has been killed."""
        work, seat.work, pid = seat.work, None, seat.pid
        assert work is not None
        if seat.ending == "limit":
            log.warning("%s of request %s reached its time limit", work.task, work.uuid)
            self._reports.append(ends.at_limit(work, pid))
        elif seat.ending == "memory":
            log.warning("%s of request %s took too much memory", work.task, work.uuid)
            self._reports.append(ends.over_memory(work, pid, seat.memory_taken))
        elif seat.ending == "stopped":
            log.info("%s of request %s was ended with process %s", work.task, work.uuid, pid)
            self._reports.append(ends.stopped(work, f"was ended as asked, with its process {pid}"))
        else:
            log.warning("%s of request %s: process %s crashed: %s", work.task, work.uuid, pid, how)
            self._reports.append(ends.crashed(work, pid, how))

    # -- asked for

    def _offer(self, spec: str) -> None:
        is_new = spec not in self._catalogue.more
        known = self._catalogue.asked(spec)
        self._say(known)
        for seat in self._seats:
            if known is None and is_new and seat.state in ("idle", "busy"):
                self._tell_offer(seat, spec)

    def _tell_offer(self, seat: Seat, spec: str) -> None:
        seat.unanswered.append(spec)
        seat.send(dumps(["offer", spec]))
        self._watch.see_to_writing(seat)

    def _end(self, key: int) -> None:
        for seat in self._seats:
            if seat.work is not None and seat.work.key == key:
                self._kill_under_work(seat, "stopped", time.monotonic())
                return
        for work in self._waiting:
            if work.key == key:
                self._waiting.remove(work)
                self._reports.append(ends.stopped(work, "was ended before it ran"))
                return

    # -- hosts

    def _start_host(self, seat: Seat) -> None:
        try:
            seat.start(self._catalogue.specs)
        except OSError as error:
            self._start_failed(seat, f"no process could be started for it: {error}")
            return
        self._watch.add(seat)

    def _serve(self, seat: Seat) -> None:
        frames, reading = seat.read()
        for frame in frames:
            self._heard(seat, frame)
        if reading == "closed":
            # It is dead or as good as dead: a host without its pipe cannot tell us anything.
            self._watch.drop_pipe(seat)
            seat.kill(time.monotonic())

    def _read(self, seat: Seat, at_most: int) -> None:
        for frame in seat.read_on(at_most):
            self._heard(seat, frame)

    def _see_whether_dead(self, seat: Seat) -> None:
        if not seat.is_dead():
            return
        self._read(seat, sys.maxsize)
        pid, state, how = seat.pid, seat.state, seat.wait()
        offering = seat.unanswered[0] if seat.unanswered and state == "idle" else None
        is_mere_loss = seat.work is None and seat.ending is None
        if seat.work is not None:
            self._tell_end(seat, how)
        self._forget(seat)
        if state == "leaving" or self._stop_by is not None:
            return
        if state == "starting":
            why = f"process {pid} ended with {how} while it imported the tasks"
            self._start_failed(seat, seat.refusal or why)
            return
        if offering is not None:
            why = f"process {pid} ended with {how} while it imported {offering}"
            self._say(self._catalogue.fatal(offering, why))
        elif is_mere_loss:
            log.warning("process %s, which ran nothing, ended with %s", pid, how)
        self._start_host(seat)

    def _forget(self, seat: Seat) -> None:
        """Let go of all we hold of a host that is dead, or is given a last moment to die."""
        self._watch.drop(seat)
        seat.clear()

    def _start_failed(self, seat: Seat, why: str) -> None:
        seat.failed_starts += 1
        pause = min(FIRST_PAUSE * 2 ** (seat.failed_starts - 1), LONGEST_PAUSE)
        seat.start_at = time.monotonic() + pause
        if not self._is_up:
            specs = ", ".join(self._catalogue.specs)
            self._unloadable = seat.refusal or f"cannot offer {specs}: {why}"
            return
        log.error("no host at seat %s, next try in %.1f s: %s", seat.number, pause, why)
        if seat.failed_starts >= GIVE_UP_AFTER and self._waiting:
            work = self._waiting.popleft()
            self._reports.append(ends.not_run(work, seat.failed_starts, why))

    # -- what hosts say

    def _heard(self, seat: Seat, frame: list[Json]) -> None:
        match frame:
            case [["ended", int(key)], result, failure] if _is_running(seat, key):
                seat.has_ended()
                self._reports.append(Ended(key, result, failure))
            case [["started", int(key)]] if _is_running(seat, key):
                self._reports.append(Started(key))
            case [["event", int(key), str(event_type)], dict(details)] if _is_running(seat, key):
                self._reports.append(TaskEvent(key, event_type, details))
            case [["ready", int(host_pid)], offers, left_out]:
                seat.is_ready(host_pid)
                self._catalogue.ready(offers, left_out)
                for spec in self._catalogue.more:
                    self._tell_offer(seat, spec)
            case [["offers", str(spec), refusal], offers, left_out]:
                if spec in seat.unanswered:
                    seat.unanswered.remove(spec)
                self._say(self._catalogue.answered(spec, refusal, offers, left_out))
            case [["unloadable", str(why)]]:
                seat.refusal = why
            case _:
                log.debug("process %s said something out of place: %.200r", seat.pid, frame)

    def _say(self, report: Report | None) -> None:
        if report is not None:
            self._reports.append(report)


def _is_running(seat: Seat, key: int) -> bool:
    return seat.work is not None and seat.work.key == key
