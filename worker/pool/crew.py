"""The hosts of a processes pool, and what is known of them; all on the pool's one thread.

Starts hosts, hands out works, reads what comes back and makes it reports, in lists. What a host's
end means is decided here. Under a work: that work is reported as crashed, or as stopped if that was
asked, and a fresh host is started at once. Before it was ready: another is started after a pause
that doubles; from the third in a row on, each takes one waiting work with it, so that none waits
for a host that will never come. While it imported what it was told to offer: that is refused and
forgotten.

How notes get here is ``processes``' business; what one host is, ``seat``'s.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal

from protocol.errors import TasksUnloadable
from protocol.failure import from_exception
from protocol.values import Json, dumps
from worker.host import HostCrashed, TaskStopped
from worker.pool.seat import Seat
from worker.work import Ended, Offer, Offers, Report, Started, TaskEvent, Work

log = logging.getLogger("taskline.worker.pool.crew")

LEAVE_TIME: Final = 1.0  # seconds an idle host has for its own exit handlers
FIRST_PAUSE: Final = 0.1  # seconds before a host that failed to start is replaced; doubles
LONGEST_PAUSE: Final = 10.0  # seconds
GIVE_UP_AFTER: Final = 3  # hosts of one seat that died in a row before they were ready
#: Seconds between looks at hosts on a system that has no descriptors for processes (pidfd_open).
LOOK_PERIOD: Final = 0.25

Reporter = Callable[[list[Report]], None]
#: What other threads ask for: ``("run", Work)``, ``("offer", spec)``, ``("end", key)``,
#: ``("stop", monotonic time)``.
Note = tuple[str, Any]
_Source = tuple[Literal["wake", "pipe", "process"], Seat | None]


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
        self._specs = tuple(specs)
        #: What was offered later and accepted, or is not answered yet.
        self._more_specs: list[str] = []
        self._accepted: set[str] = set()
        self._notes = notes
        self._wake = wake
        self._report = report
        self._reports: list[Report] = []
        self._waiting: deque[Work] = deque()
        self._offers: tuple[Offer, ...] = ()
        self._is_up = False
        self._stop_by: float | None = None
        self._unloadable: str | None = None
        self._selector = selectors.DefaultSelector()
        self._selector.register(wake, selectors.EVENT_READ, ("wake", None))
        #: Descriptors of processes by seat; a seat without one is looked at every LOOK_PERIOD.
        self._process_fds: dict[Seat, int] = {}

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
                    f"{', '.join(self._specs)} when the time for it was over"
                )
            self._turn(start_by)
        self._is_up = True
        return self._offers

    def serve(self) -> None:
        """Run works until told to stop."""
        while self._stop_by is None:
            self._turn(None)
            self._send_reports()
        self._leave(self._stop_by)

    def finish(self, fault: HostCrashed | None) -> None:
        """Kill what is left, end what is open (as crashed after a fault of ours), let go of all."""
        for seat in self._seats:
            seat.kill()
        if fault is not None:
            self._give_up(self._open_works(), fault, "crash")
        else:
            self._stop_works()
        self._send_reports()
        for seat in self._seats:
            if seat.pid is not None:
                self._forget(seat)
        self._selector.close()

    def _leave(self, stop_by: float) -> None:
        """Let idle hosts go by themselves, for their exit handlers' sake; kill the others."""
        self._stop_works()
        self._send_reports()
        for seat in self._seats:
            if seat.state == "idle" and not seat.unanswered:
                seat.state = "leaving"
                seat.send('["quit"]')
            else:
                seat.kill()
        leave_by = min(stop_by, time.monotonic() + LEAVE_TIME)
        while any(seat.pid is not None for seat in self._seats) and time.monotonic() < leave_by:
            self._turn(leave_by)

    def _stop_works(self) -> None:
        stopped = TaskStopped("the worker stopped before the task came to its end")
        self._give_up(self._open_works(), stopped, "stopped")

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
        for key, events in self._selector.select(self._patience(until)):
            source: _Source = key.data
            kind, seat = source
            if seat is None:
                self._take_notes()
            elif kind == "process":
                self._see_whether_dead(seat)
            elif seat.pid is not None and self._selector.get_map().get(key.fd) is key:
                self._serve_pipe(seat, events)
        now = time.monotonic()
        for seat in self._seats:
            if seat.pid is not None and seat not in self._process_fds:
                self._see_whether_dead(seat)
            elif seat.start_at is not None and seat.start_at <= now and self._stop_by is None:
                self._start_host(seat)
        self._hand_out()

    def _patience(self, until: float | None) -> float | None:
        times = [seat.start_at for seat in self._seats if seat.start_at is not None]
        times += [until] if until is not None else []
        now = time.monotonic()
        if any(seat.pid is not None and seat not in self._process_fds for seat in self._seats):
            times.append(now + LOOK_PERIOD)
        return max(0.0, min(times) - now) if times else None

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

    def _hand_out(self) -> None:
        if not self._waiting or self._stop_by is not None:
            return
        for seat in self._seats:
            # One that still imports might yet die of it, and the work with it.
            if seat.state == "idle" and not seat.unanswered and self._waiting:
                seat.run(self._waiting.popleft())
                self._watch_writing(seat)

    def _send_reports(self) -> None:
        if self._reports:
            reports, self._reports = self._reports, []
            self._report(reports)

    # -- asked for

    def _offer(self, spec: str) -> None:
        if spec in self._specs or spec in self._accepted:
            self._reports.append(Offers(self._offers))
        if spec in self._specs or spec in self._more_specs:
            return
        self._more_specs.append(spec)
        for seat in self._seats:
            if seat.state in ("idle", "busy"):
                self._tell_offer(seat, spec)

    def _tell_offer(self, seat: Seat, spec: str) -> None:
        seat.unanswered.append(spec)
        seat.send(dumps(["offer", spec]))
        self._watch_writing(seat)

    def _end(self, key: int) -> None:
        for seat in self._seats:
            if seat.work is not None and seat.work.key == key and not seat.is_ending:
                seat.is_ending = True
                seat.kill()
                return
        for work in self._waiting:
            if work.key == key:
                self._waiting.remove(work)
                self._give_up(
                    [work], TaskStopped(f"{work.task} was ended before it ran"), "stopped"
                )
                return

    def _give_up(
        self, works: Iterable[Work], error: Exception, end: Literal["stopped", "crash"]
    ) -> None:
        for work in works:
            self._reports.append(Ended(work.key, failure=from_exception(error), end=end))

    # -- hosts

    def _start_host(self, seat: Seat) -> None:
        try:
            seat.start(self._specs)
        except OSError as error:
            self._start_failed(seat, f"no process could be started for it: {error}")
            return
        self._selector.register(seat.pipe, selectors.EVENT_READ, ("pipe", seat))
        self._watch_writing(seat)
        assert seat.pid is not None
        # Not on macOS, nor where a sandbox forbids it; then _turn looks from time to time.
        with contextlib.suppress(AttributeError, OSError):
            self._process_fds[seat] = os.pidfd_open(seat.pid)
            self._selector.register(
                self._process_fds[seat], selectors.EVENT_READ, ("process", seat)
            )

    def _watch_writing(self, seat: Seat) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if seat.has_outgoing else 0)
        with contextlib.suppress(KeyError):  # its pipe is closed: only its end is still to come
            if self._selector.get_key(seat.pipe).events != events:
                self._selector.modify(seat.pipe, events, ("pipe", seat))

    def _serve_pipe(self, seat: Seat, events: int) -> None:
        if events & selectors.EVENT_READ:
            frames, reading = seat.read()
            for frame in frames:
                self._heard(seat, frame)
            if reading == "closed":
                # It is dead or as good as dead: a host without its pipe cannot tell us anything.
                self._selector.unregister(seat.pipe)
                seat.kill()
                return
        if events & selectors.EVENT_WRITE:
            seat.flush()
            self._watch_writing(seat)

    def _see_whether_dead(self, seat: Seat) -> None:
        if not seat.is_dead():
            return
        for frame in seat.read_rest():
            self._heard(seat, frame)
        pid, state, work = seat.pid, seat.state, seat.work
        was_ending = seat.is_ending
        offering = seat.unanswered[0] if seat.unanswered and state == "idle" else None
        how = self._forget(seat)
        if state == "leaving" or self._stop_by is not None:
            return
        if state == "starting":
            why = f"process {pid} ended with {how} while it imported the tasks"
            self._start_failed(seat, seat.refusal or why)
            return
        if work is not None and was_ending:
            log.info("%s of request %s was ended with process %s", work.task, work.uuid, pid)
            stopped = TaskStopped(f"{work.task} was ended as asked, with its process {pid}")
            self._give_up([work], stopped, "stopped")
        elif work is not None:
            log.warning("%s of request %s: process %s crashed: %s", work.task, work.uuid, pid, how)
            crashed = HostCrashed(
                f"{work.task} did not come to its end: its process {pid} ended with {how}"
            )
            self._give_up([work], crashed, "crash")
        elif offering is not None:
            self._refused(offering, f"process {pid} ended with {how} while it imported {offering}")
        elif not was_ending:
            log.warning("process %s, which ran nothing, ended with %s", pid, how)
        self._start_host(seat)

    def _forget(self, seat: Seat) -> str:
        """Collect a dead host, with all we hold of it; says how it ended."""
        fd = self._process_fds.pop(seat, None)
        if fd is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(fd)
            os.close(fd)
        with contextlib.suppress(KeyError):
            self._selector.unregister(seat.pipe)
        return seat.clear()

    def _start_failed(self, seat: Seat, why: str) -> None:
        seat.failed_starts += 1
        pause = min(FIRST_PAUSE * 2 ** (seat.failed_starts - 1), LONGEST_PAUSE)
        seat.start_at = time.monotonic() + pause
        if not self._is_up:
            self._unloadable = seat.refusal or f"cannot offer {', '.join(self._specs)}: {why}"
            return
        log.error("no host at seat %s, next try in %.1f s: %s", seat.number, pause, why)
        if seat.failed_starts >= GIVE_UP_AFTER and self._waiting:
            work = self._waiting.popleft()
            crashed = HostCrashed(
                f"{work.task} could not be run: the last {seat.failed_starts} processes for it did "
                f"not come up; {why}"
            )
            self._give_up([work], crashed, "crash")

    # -- what hosts say

    def _heard(self, seat: Seat, frame: list[Json]) -> None:
        match frame:
            case [["ended", int(key)], result, failure] if _is_running(seat, key):
                seat.work = None
                seat.state = "idle" if not seat.is_ending else "busy"
                self._reports.append(Ended(key, result, failure))
            case [["started", int(key)]] if _is_running(seat, key):
                self._reports.append(Started(key))
            case [["event", int(key), str(event_type)], dict(details)] if _is_running(seat, key):
                self._reports.append(TaskEvent(key, event_type, details))
            case [["ready"], offers, left_out]:
                self._is_ready(seat, _offers_of(offers), left_out)
            case [["offers", str(spec), refusal], offers, left_out]:
                self._answered(seat, spec, refusal, _offers_of(offers), left_out)
            case [["unloadable", str(why)]]:
                seat.refusal = why
            case _:
                log.debug("process %s said something out of place: %.200r", seat.pid, frame)

    def _is_ready(self, seat: Seat, offers: tuple[Offer, ...], left_out: list[str]) -> None:
        if not self._is_up and not self._offers:
            for sentence in left_out:
                log.info("not offered: %s", sentence)
            self._offers = offers
        seat.state = "idle"
        seat.failed_starts = 0
        for spec in self._more_specs:
            self._tell_offer(seat, spec)

    def _answered(
        self,
        seat: Seat,
        spec: str,
        refusal: str | None,
        offers: tuple[Offer, ...],
        left_out: list[str],
    ) -> None:
        """The first host's answer is the pool's; the others say the same."""
        if spec in seat.unanswered:
            seat.unanswered.remove(spec)
        if spec not in self._more_specs or spec in self._accepted:
            return
        self._accepted.add(spec)  # refused or not: each host that comes is to say the same of it
        self._offers = offers
        if refusal is not None:
            log.warning("cannot offer %s: %s", spec, refusal)
            left_out = [refusal]
        self._reports.append(Offers(offers, tuple(left_out)))

    def _refused(self, spec: str, why: str) -> None:
        if spec in self._more_specs:
            log.warning("cannot offer %s: %s", spec, why)
            self._more_specs.remove(spec)
            self._accepted.discard(spec)
            self._reports.append(Offers(self._offers, (why,)))


def _is_running(seat: Seat, key: int) -> bool:
    return seat.work is not None and seat.work.key == key


def _offers_of(said: list[list[Json]]) -> tuple[Offer, ...]:
    return tuple(Offer(name, tuple(version), doc) for name, version, doc in said)
