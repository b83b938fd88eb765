"""The hosts of a processes pool, and what is known of them; all on the pool's one thread.

Starts hosts, as many as the machine has cores and more once works wait for one, hands out works,
reads what comes back and makes it reports, in lists. A host that
ends its works quickly is handed several at once, as many as it may end in a few milliseconds, and
has its results read as often; what is behind a work that takes longer is taken back, and goes to
whoever is free. Limits are kept here too: a work has as long as it says from when it begins, then
its host is killed; an end that the host has told by then counts. What a host's end means is decided
here. Under a work: that work is reported as crashed, or as stopped or at its limit if that is why,
what had not begun goes to another, and a fresh host is started at once. Before it was ready:
another is started after a pause that doubles; from the third in a row on, each takes one waiting
work with it, so that none waits for a host that will never come. While it imported what it was told
to offer: that is refused and forgotten.

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
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Final, Literal

from protocol.errors import TasksUnloadable
from protocol.values import Json, dumps
from worker.frames import read
from worker.host import RING_PERIOD, HostCrashed
from worker.machine import usable_cores
from worker.pool import ends
from worker.pool.catalogue import Catalogue
from worker.pool.seat import Seat
from worker.pool.watch import Watch
from worker.work import (
    Encoded,
    Ended,
    Offer,
    PoolEnded,
    Report,
    Returned,
    Started,
    TaskEvent,
    Work,
)

log = logging.getLogger("taskline.worker.pool.crew")

LEAVE_TIME: Final = 1.0  # seconds an idle host has for its own exit handlers
FIRST_PAUSE: Final = 0.1  # seconds before a host that failed to start is replaced; doubles
LONGEST_PAUSE: Final = 10.0  # seconds
GIVE_UP_AFTER: Final = 3  # hosts of one seat that died in a row before they were ready
TELL_AFTER: Final = 0.5  # seconds from the kill until an end is told, be everything gone or not
WARDEN_PATIENCE: Final = 10.0  # seconds from the kill until a warden counts as stuck
#: Seconds between two looks at a host that has something to do and may not have rung: twice as long
#: as it waits at least between two rings, so that nothing lies unread for longer than both.
LOOK_AGAIN: Final = 2 * RING_PERIOD
LONGEST_LOOK: Final = 0.02  # seconds; the same while nothing has come of a look: doubles up to this
#: Seconds for which a host is handed works; one that takes longer is told to have begun, and holds
#: up no others.
AHEAD: Final = 0.005
MOST_AHEAD: Final = 256  # works; their tokens have room in a pipe
#: Seconds between looks at hosts on a system that has no descriptors for processes (pidfd_open).
LOOK_PERIOD: Final = 0.25

_READS_AT_LIMIT: Final = 4  # more than a pipe holds
_ENDED: Final = b'["ended",'
Ending = Literal["stopped", "limit", "memory"]

Reporter = Callable[[list[Report]], None]
#: What other threads ask for: ``("run", [Work, …])``, ``("back", [key, …])``, ``("offer", spec)``,
#: ``("end", key)``, ``("stop", monotonic time)``.
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
        preload: Sequence[str] = (),
    ) -> None:
        self._preload = tuple(preload)
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
        """Start the first hosts at once and wait until each is ready."""
        first = self._seats[: max(1, math.ceil(usable_cores()))]
        for seat in first:
            self._start_host(seat)
        while any(seat.state != "ready" for seat in first):
            if self._stop_by is not None:
                raise TasksUnloadable("the pool was stopped while it was starting")
            if self._unloadable is not None:
                raise TasksUnloadable(self._unloadable)
            if time.monotonic() >= start_by:
                slow = sum(seat.state != "ready" for seat in first)
                raise TasksUnloadable(
                    f"{slow} of {len(first)} hosts were still importing "
                    f"{', '.join(self._catalogue.specs)} when the time for it was over"
                )
            self._turn(start_by)
        self._is_up = True
        self._warm_one()
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
        was_busy = {seat for seat in self._seats if seat.works}
        self._stop_works()
        self._send_reports()
        for seat in self._seats:
            if seat not in was_busy and seat.is_free:
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
        works = [work for seat in self._seats for work in seat.works.values()]
        works += self._waiting
        works += [work for word, asked in self._notes if word == "run" for work in asked]
        self._notes.clear()
        self._waiting.clear()
        for seat in self._seats:
            seat.works.clear()
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
            elif happening == "writable":
                seat.flush()
            elif happening == "readable" or seat.hear():
                self._look(seat, has_rung=True)
            else:
                self._lose(seat)
        now = time.monotonic()
        for seat in self._seats:
            if seat.look_at <= now:
                self._look(seat)
            if not self._watch.tells_end_of(seat):
                self._see_whether_dead(seat)
            if seat.start_at is not None and seat.start_at <= now and self._stop_by is None:
                self._start_host(seat)
            self._see_to_time(seat, now)
        self._hand_out(now)
        self._start_more()
        self._warm_one()
        for seat in self._seats:
            if seat.process is not None:
                self._watch.see_to(seat)

    def _patience(self, until: float | None) -> float:
        now = time.monotonic()
        times = [math.inf if until is None else until]
        for seat in self._seats:
            times += [seat.nudge_at, seat.limit_at, seat.look_at, seat.gauge_at]
            if seat.start_at is not None:
                times.append(seat.start_at)
            if seat.process is not None and not self._watch.tells_end_of(seat):
                times.append(now + LOOK_PERIOD)
            if seat.killed_at < math.inf:
                is_told = not seat.works
                times.append(seat.killed_at + (WARDEN_PATIENCE if is_told else TELL_AFTER))
        return max(0.0, min(times) - now)

    def _take_notes(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)
        while self._notes:
            word, subject = self._notes.popleft()
            if word == "run":
                self._waiting.extend(subject)
            elif word == "back":
                self._return(subject)
            elif word == "offer":
                self._offer(subject)
            elif word == "end":
                self._end(subject)
            elif self._stop_by is None:
                self._stop_by = subject

    def _hand_out(self, now: float) -> None:
        waiting = self._waiting
        if not waiting or self._stop_by is not None:
            return
        # One that still imports might yet die of it, and the work with it.
        free = [(seat, room) for seat in self._seats if (room := _room(seat, now)) > 0]
        # Of equals who has preloaded what a command may need.
        free.sort(key=lambda one: (len(one[0].works), not one[0].is_warm))
        hands: list[list[Work]] = [[] for _ in free]
        while waiting and free:  # dealt like cards, so that they begin in their order
            dealt = 0
            for (_, room), hand in zip(free, hands, strict=True):
                if len(hand) < room and waiting:
                    hand.append(waiting.popleft())
                    dealt += 1
            if not dealt:
                break
        for (seat, _), hand in zip(free, hands, strict=True):
            if hand:
                seat.run(hand, now)
                seat.patience = LOOK_AGAIN
                seat.look_at = min(seat.look_at, now + LOOK_AGAIN)

    def _take_back(self, seat: Seat) -> list[Work]:
        """What its host was handed and has not begun, in the order it came; nobody has it now."""
        return seat.take_back() if seat.has_more else []

    def _free(self, seat: Seat) -> None:
        """What its host has not begun is for whoever is free."""
        self._waiting.extendleft(reversed(self._take_back(seat)))

    def _return(self, keys: Iterable[int]) -> None:
        """Give these back, as far as they have not begun."""
        wanted = set(keys)
        for seat in self._seats:
            if not wanted.isdisjoint(seat.works):
                self._free(seat)
        returned = [work.key for work in self._waiting if work.key in wanted]
        if returned:
            self._reports += map(Returned, returned)
            wanted.intersection_update(returned)
            self._waiting = deque(work for work in self._waiting if work.key not in wanted)

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
            self._free(seat)
            limited = seat.limited
            self._read(seat, _READS_AT_LIMIT)
            if limited is not None and limited.key in seat.works:
                self._kill_under(limited, seat, "limit", now)
        if now >= seat.gauge_at and seat.is_over_memory(now):
            self._free(seat)
            limited = seat.limited
            self._look(seat)
            if limited is not None and limited.key in seat.works:
                self._kill_under(limited, seat, "memory", now)
        if now >= seat.killed_at + TELL_AFTER and seat.works:
            log.error("process %s is killed, but not gone after %s s", seat.pid, TELL_AFTER)
            self._tell_end(seat, "a closed pipe")
        if now >= seat.killed_at + WARDEN_PATIENCE:
            log.error("process %s does not end; what it watches over may not, too", seat.process)
            seat.give_up()
            seat.killed_at = now

    def _kill_under(self, work: Work, seat: Seat, why: Ending, now: float) -> None:
        """This one has begun there; nothing else has that was not told to have ended."""
        if seat.ending is None:
            seat.has_begun(work.key, now)
            seat.ending = why
            seat.kill(now)

    def _tell_end(self, seat: Seat, how: str) -> None:
        """Report the end of the work whose host is dead, or has been killed.

        There is one, unless what the host had to say could not be understood.
        """
        self._free(seat)
        aimed_at = seat.work
        for work in list(seat.works.values()):
            self._tell_begun(seat, work)
            seat.has_ended(work.key)
            self._tell_end_of(work, seat, seat.ending if work is aimed_at else None, how)

    def _tell_end_of(self, work: Work, seat: Seat, ending: Ending | None, how: str) -> None:
        pid = seat.pid
        if ending == "limit":
            log.warning("%s of request %s reached its time limit", work.task, work.uuid)
            self._reports.append(ends.at_limit(work, pid))
        elif ending == "memory":
            log.warning("%s of request %s took too much memory", work.task, work.uuid)
            self._reports.append(ends.over_memory(work, pid, seat.memory_taken))
        elif ending == "stopped":
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
            if known is None and is_new and seat.state == "ready":
                self._tell_offer(seat, spec)

    def _tell_offer(self, seat: Seat, spec: str) -> None:
        seat.unanswered.append(spec)
        seat.send(dumps(["offer", spec]))

    def _end(self, key: int) -> None:
        for seat in self._seats:
            if key in seat.works:
                self._free(seat)
                self._look(seat)
                if key in seat.works:
                    self._kill_under(seat.works[key], seat, "stopped", time.monotonic())
                    return
        for work in self._waiting:
            if work.key == key:
                self._waiting.remove(work)
                self._reports.append(ends.stopped(work, "was ended before it ran"))
                return

    # -- hosts

    def _start_host(self, seat: Seat) -> None:
        try:
            seat.start(self._catalogue.specs, self._preload)
        except OSError as error:
            self._start_failed(seat, f"no process could be started for it: {error}")
            return
        self._watch.add(seat)

    def _look(self, seat: Seat, *, has_rung: bool = False) -> None:
        """See what its host has begun, and what it has to say."""
        taken = seat.taken()
        frames, reading = seat.read()
        for frame in frames:
            self._heard(seat, frame)
        if reading == "closed":
            self._lose(seat)
        now = time.monotonic()
        if taken and taken[-1] in seat.works:
            seat.has_begun(taken[-1], now)
        if seat.work is not None and now >= seat.begun_at + AHEAD:
            self._tell_begun(seat, seat.work)
            self._free(seat)
        self._look_again(seat, now, has_news=bool(has_rung or frames or taken))

    def _look_again(self, seat: Seat, now: float, *, has_news: bool) -> None:
        """When to look the next time. What has happened since a ring may not be rung for."""
        if has_news:
            seat.patience = LOOK_AGAIN
        if not seat.works:
            seat.look_at = math.inf
        elif has_news or seat.work is None:
            seat.look_at = now + seat.patience
            seat.patience = min(2 * seat.patience, LONGEST_LOOK)
        else:
            is_known = seat.told is seat.work and not seat.has_more
            seat.look_at = math.inf if is_known else seat.begun_at + AHEAD

    def _start_more(self) -> None:
        """One for each work that waits and for which none is on its way."""
        if not self._waiting or not self._is_up or self._stop_by is not None:
            return
        coming = sum(seat.state == "starting" for seat in self._seats)
        unused = (seat for seat in self._seats if seat.is_unused)
        for seat in islice(unused, max(0, len(self._waiting) - coming)):
            self._start_host(seat)

    def _warm_one(self) -> None:
        """Have one more preload than are at work: the next command then waits for none.

        No more than that, for each takes the processor and memory; the first when the pool is up,
        which that would hold up.
        """
        if self._preload and self._is_up:
            idle = [seat for seat in self._seats if seat.is_free and not seat.works]
            if idle and not any(seat.is_warm for seat in idle):
                idle[0].warm()

    def _lose(self, seat: Seat) -> None:
        """It is dead or as good as dead: a host without its pipes cannot tell us anything."""
        self._watch.drop_pipe(seat)
        seat.kill(time.monotonic())

    def _read(self, seat: Seat, at_most: int) -> None:
        for frame in seat.read_on(at_most):
            self._heard(seat, frame)

    def _see_whether_dead(self, seat: Seat) -> None:
        if not seat.is_dead():
            return
        self._read(seat, sys.maxsize)
        self._free(seat)
        pid, state, how = seat.pid, seat.state, seat.wait()
        is_mere_loss = not seat.works and seat.ending is None
        offering = None
        if seat.unanswered and state == "ready" and is_mere_loss:
            offering = seat.unanswered[0]
        if seat.works:
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
        if any(other.state == "ready" for other in self._seats):
            return  # what waits is run there, if later
        if seat.failed_starts >= GIVE_UP_AFTER and self._waiting:
            work = self._waiting.popleft()
            self._reports.append(ends.not_run(work, seat.failed_starts, why))

    # -- what hosts say

    def _heard(self, seat: Seat, lines: list[bytes]) -> None:
        """One frame. An end is read by hand: there is one of each work."""
        try:
            if lines[0].startswith(_ENDED) and len(lines) == 3:
                key, took = map(int, lines[0][len(_ENDED) : -1].split(b","))
                if key in seat.works:
                    failure = None if lines[2] == b"null" else read(lines[2])
                    seat.has_ended(key)
                    seat.took(took / 1e6)
                    self._reports.append(Ended(key, Encoded(lines[1]), failure))
                return
            self._heard_else(seat, [read(line) for line in lines])
        except ValueError as refusal:
            log.debug("process %s said what cannot be read: %s", seat.pid, refusal)
            self._lose(seat)

    def _heard_else(self, seat: Seat, frame: list[Json]) -> None:
        match frame:
            case [["event", int(key), str(event_type)], dict(details)] if key in seat.works:
                self._tell_begun(seat, seat.works[key])
                self._reports.append(TaskEvent(key, event_type, details))
            case [["late", int(key)]] if key in seat.works:
                seat.has_ended(key)
                self._reports.append(Returned(key))
            case [["ready", int(host_pid)], offers, left_out]:
                seat.is_ready(host_pid)
                self._catalogue.ready(offers, left_out)
                for spec in self._catalogue.more:
                    self._tell_offer(seat, spec)
            case [["offers", str(spec), refusal], offers, left_out]:
                if spec in seat.unanswered:
                    seat.unanswered.remove(spec)
                self._say(self._catalogue.answered(spec, refusal, offers, left_out))
            case [["apart", int(pid)]]:
                seat.apart, seat.is_warm = pid, True
            case [["unloadable", str(why)]]:
                seat.refusal = why
            case _:
                log.debug("process %s said something out of place: %.200r", seat.pid, frame)

    def _tell_begun(self, seat: Seat, work: Work) -> None:
        if seat.told is not work:
            seat.told = work
            self._reports.append(Started(work.key))

    def _say(self, report: Report | None) -> None:
        if report is not None:
            self._reports.append(report)


def _room(seat: Seat, now: float) -> int:
    """How many works more its host can be handed."""
    if not seat.is_free:
        return 0
    if now >= seat.begun_at + LOOK_AGAIN:  # it takes longer than others did
        return 0
    ahead = max(1, min(int(AHEAD / seat.pace), MOST_AHEAD))
    # Not one by one: it has enough to do until half of that has ended.
    return ahead - len(seat.works) if 2 * len(seat.works) <= ahead else 0
