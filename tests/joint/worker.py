"""A worker process in the joint world: the real shift, a small keeper, and a pool that is told.

The keeper sends before it runs, as the real one does; the pool's runs last until somebody ends
them. What begins and is said is told to the promises. A pool that is not *prompt* begins what it
was handed at some moment, and tells of that at another: at the latest before any time passes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from protocol import envelope, messages
from protocol.failure import from_text
from protocol.parcel import Received
from tests.joint.channel import NAMES, TOPIC
from tests.joint.promises import Broken
from worker.effects import Done, Effect, Send, TakeBack
from worker.effects import End as EndRun
from worker.effects import Run as RunEffect
from worker.shift import Shift
from worker.work import End, Ended, Offer, Report, Returned, Started, TaskEvent, Work

if TYPE_CHECKING:
    from tests.joint.world import World

TASK: Final = "m.task"


class Killed(Exception):
    """The process was killed where it stood."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a worker's processes run, one after the other; its clock goes on without them."""

    name: str
    #: Seconds that its clock is before the world's, and how fast it runs.
    ahead: float
    rate: float
    slots: int
    beat: float
    can_stop: bool
    #: Its pool begins what it can, and tells of it, before anything else happens.
    is_prompt: bool = True


@dataclass(slots=True)
class Run:
    """One run in a pool."""

    work: Work
    uuid: str
    #: What it returns or raises, unlike any other run's.
    token: str
    #: The round it belongs to.
    base: int
    #: Asked to end at once.
    is_stopping: bool = False
    has_ended: bool = False


class WorkerProcess:
    """One boot."""

    def __init__(self, world: World, machine: Machine, boot: str, replaces: str | None) -> None:
        self.world = world
        self.machine = machine
        self.boot = boot
        self.is_frozen = False
        #: Whether what is sent to it can arrive.
        self.is_listening = True
        #: It has gone down in order.
        self.is_done = False
        self.runs: dict[int, Run] = {}
        #: What the pool was handed and has not begun, in order, and what it has not told yet.
        self.handed: dict[int, Work] = {}
        self.reports: list[Report] = []
        #: It is killed after so many more things done; None: it is not.
        self.fuse: int | None = None
        #: When it is to be woken, in its own clock, once that has been asked since its last turn.
        self.deadline: float | None = None
        self.shift = Shift(
            NAMES,
            (TOPIC,),
            worker=machine.name,
            boot=boot,
            slots=machine.slots,
            beat=machine.beat,
            can_stop=machine.can_stop,
            replaces=replaces,
        )

    @property
    def clock(self) -> float:
        """What it believes the time to be."""
        return self.machine.ahead + self.world.time * self.machine.rate

    def begin(self) -> None:
        """It offers and consumes."""
        self._perform(self.shift.offering([Offer(TASK)], self.clock))
        self._perform(self.shift.consuming(self.clock))

    def next_deadline(self) -> float:
        """In the world's time."""
        machine = self.machine
        if self.deadline is None:
            self.deadline = self.shift.next_deadline()
        return (self.deadline - machine.ahead) / machine.rate + 1e-6

    def turn(self, deliveries: Iterable[Received] = (), reports: Iterable[Report] = ()) -> None:
        """What its keeper does with what is in its mailbox."""
        now = self.clock
        effects: list[Effect] = []
        is_due = now >= (self.shift.next_deadline() if self.deadline is None else self.deadline)
        if deliveries:
            effects += self.shift.heard(deliveries, now)
        if reports:
            effects += self.shift.reported(reports, now)
        if is_due:
            effects += self.shift.tick(now)
        self._perform(effects)

    def listens(self, is_listening: bool) -> None:
        """Its connection is there (again), or not, as its listener says."""
        self.is_listening = is_listening
        self.deadline = None
        self.shift.listening(is_listening, self.clock)
        if is_listening:
            self._perform(self.shift.consuming(self.clock))

    def drain(self, limit: float) -> None:
        """SIGTERM."""
        self._perform(self.shift.drain(self.clock, limit))

    def _perform(self, effects: Iterable[Effect]) -> None:
        self.deadline = None
        later: list[Effect] = []
        for effect in effects:
            if not isinstance(effect, Send):
                later.append(effect)
                continue
            self._burn()
            parcel = effect.parcel
            message = None
            if parcel.envelope.kind == envelope.RELEASE:
                message = messages.decode(envelope.RELEASE, parcel.body, at_worker=False)
            self.world.promises.said(self.boot, parcel, message)
            self.world.publish(parcel)
        for effect in later:
            self._burn()
            if isinstance(effect, RunEffect):
                self.handed[effect.work.key] = effect.work
            elif isinstance(effect, TakeBack):
                if self.handed.pop(effect.key, None) is not None:
                    self.reports.append(Returned(effect.key))
            elif isinstance(effect, EndRun):
                run = self.runs.get(effect.key)
                if run is not None and self.machine.can_stop:
                    run.is_stopping = True
            else:
                assert isinstance(effect, Done)
                self.is_done = True
        if self.fuse is not None and not self.world.is_calm:
            raise Killed
        if self.machine.is_prompt:
            self.goes_on()

    # the pool ---------------------------------------------------------------------------------

    def goes_on(self) -> bool:
        """It begins what it can, and tells all it has to tell; whether there was anything."""
        return self.begins() | self.reports_all()

    def begins(self) -> bool:
        """The pool begins what it can, and has not told of it yet."""
        has_begun = False
        while self.handed and len(self.runs) < self.machine.slots:
            work = self.handed.pop(next(iter(self.handed)))
            has_begun = True
            if work.start_by is not None and self.clock * 1000 >= work.start_by:
                self.reports.append(Returned(work.key))
            else:
                self._start(work)
                self.reports.append(Started(work.key))
        return has_begun

    def reports_all(self) -> bool:
        """It tells all it has to tell."""
        if not self.reports or self.is_frozen:
            return False
        reports, self.reports = self.reports, []
        self.turn(reports=reports)
        return True

    def _burn(self) -> None:
        if self.fuse is not None:
            if self.fuse == 0:
                raise Killed
            self.fuse -= 1

    def _start(self, work: Work) -> None:
        world = self.world
        base = world.promises.starting(self.boot, self.clock, work)
        world.runs_begun += 1
        run = Run(work, work.uuid, f"{work.uuid}#{world.runs_begun}", base)
        self.runs[work.key] = run
        world.promises.runs[run.token] = run
        if len(self.runs) > self.machine.slots:
            raise Broken("G9", f"{self.boot} runs {len(self.runs)} on {self.machine.slots} slots")
        world.tell("%s starts %s, attempt %d", self.boot[-2:], work.uuid, work.attempt)

    def end(self, run: Run, end: End, *, raises: bool = False) -> None:
        """A run comes to its end."""
        del self.runs[run.work.key]
        run.has_ended = True
        if end == "crash":
            self.world.promises.crashes[run.uuid] += 1
        if end == "done" and not raises:
            report = Ended(run.work.key, run.token)
        else:
            failure = from_text(("Ended", "Exception"), run.token)
            report = Ended(run.work.key, failure=failure, end=end)
        reports, self.reports = self.reports, []
        self.turn(reports=[*reports, report])

    def tells(self, run: Run) -> None:
        """Its task says something."""
        reports, self.reports = self.reports, []
        event = TaskEvent(run.work.key, "saved", {"of": run.token})
        self.turn(reports=[*reports, event])
