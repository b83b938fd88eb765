"""One executor, several workers, the channel between them, and time.

Who is there, how time passes, and how the world comes to rest. Time passes only when it is told to;
whoever is not frozen or dead is woken when he has asked to be. What happens is ``steps``'.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from protocol.parcel import Parcel
from protocol.timing import (
    CLOCK_MARGIN,
    CLOCK_RATE_DRIFT,
    KEEP,
    MAX_SENDS,
    NOTIFY_PERIOD,
    REQUEST_TIMEOUT,
    RESULT_RESENDS,
    START_WINDOW,
    lease,
    pace,
)
from tests.joint.channel import TOPIC, Channel, Letter
from tests.joint.executor import ExecutorProcess, Journal
from tests.joint.promises import Broken, Promises
from tests.joint.worker import Killed, Machine, Run, WorkerProcess
from worker.work import End

#: How often somebody may be woken while no time passes.
MOST_IDLE: Final = 1000

#: Longest wait before a retry, in seconds.
LONGEST_WAIT: Final = 60.0

#: How long a run takes once the faults have stopped.
RUN_TIME: Final = 0.2


@dataclass(frozen=True, slots=True)
class Setting:
    """What kind of world."""

    machines: tuple[Machine, ...] = (
        Machine("w0", 1000.0, 1.0, 1, 5.0, True),
        Machine("w1", 77.0, 1.0, 1, 5.0, True),
    )
    has_journal: bool = True
    seed: int = 0
    #: Most requests in a walk.
    requests: int = 6

    @property
    def bound(self) -> float:
        """After the faults: seconds within which everything ends.

        Each attempt of a round may be lost to a lease, or only be proven unstarted when its start
        window has passed; crashes and failures open new rounds, but there are none any more, though
        one may be waited for; then nobody may be left who offers the task.
        """
        silent = lease(max(machine.beat for machine in self.machines))
        window = START_WINDOW * (1 + CLOCK_RATE_DRIFT) + CLOCK_MARGIN
        return (MAX_SENDS + 1) * (window + silent) + REQUEST_TIMEOUT + LONGEST_WAIT


class World:
    """Everything, at one time."""

    def __init__(self, setting: Setting, story: list[str] | None = None) -> None:
        self.setting = setting
        self.story = story
        self.random = random.Random(setting.seed)
        random.seed(setting.seed)  # the directory breaks ties with it
        self.time = 1000.0
        self.promises = Promises()
        self.channel = Channel()
        self.journal = Journal([]) if setting.has_journal else None
        self.executor: ExecutorProcess | None = None
        #: Living and frozen ones, in the order they began.
        self.workers: list[WorkerProcess] = []
        #: Of each machine, the latest boot that was killed or went down.
        self.last_boots: dict[str, str] = {}
        #: All of them.
        self.dead_boots: dict[str, list[str]] = {}
        self.boots = 0
        self.executors = 0
        self.requests = 0
        self.runs_begun = 0
        #: The faults have stopped.
        self.is_calm = False
        #: How often in a row somebody was woken while no time passed.
        self._idle = 0
        for machine in setting.machines:
            self.boot(machine)
        self.start_executor()

    def tell(self, sentence: str, *about: object) -> None:
        """One line of the story, if anybody listens."""
        if self.story is not None:
            self.story.append(f"{self.time:9.3f}  {sentence % about}")

    # processes ------------------------------------------------------------------------------------

    def boot(self, machine: Machine, *, says_replaces: bool = True) -> WorkerProcess:
        """A process of a worker begins."""
        self.boots += 1
        replaces = self.last_boots.get(machine.name) if says_replaces else None
        worker = WorkerProcess(self, machine, f"{self.boots:016x}", replaces)
        self.workers.append(worker)
        self.tell("%s boots as %s, replacing %s", machine.name, worker.boot, replaces)
        self.guarded(worker, worker.begin)
        return worker

    def start_executor(self, fuse: int | None = None) -> None:
        """An executor begins, from its journal if there is one."""
        self.executors += 1
        name = "ex" if self.journal is not None else f"ex{self.executors}"
        incarnation = self.executors if self.journal is not None else 1
        self.tell("executor %s begins, incarnation %d", name, incarnation)
        if self.journal is None:
            self.promises.restarted(None)
        executor = ExecutorProcess(self, name, incarnation, self.journal)
        executor.fuse = fuse
        self.executor = executor
        self.guarded_executor(executor.begin)

    def kill_worker(self, worker: WorkerProcess) -> None:
        """kill -9: nothing of it is left but what it has sent."""
        self.tell("%s is no more", worker.boot)
        self.workers.remove(worker)
        self.last_boots[worker.machine.name] = worker.boot
        self.dead_boots.setdefault(worker.machine.name, []).append(worker.boot)

    def kill_executor(self) -> None:
        """kill -9: nothing of it is left but what it has sent and written."""
        self.tell("the executor is killed")
        self.executor = None

    def guarded(self, worker: WorkerProcess, act: Callable[[], object]) -> None:
        try:
            act()
        except Killed:
            self.kill_worker(worker)
            return
        except Broken:
            raise
        except Exception as error:
            raise Broken("G3", f"worker {worker.boot}: {error!r}") from error
        if worker.is_done:  # what still runs ends with its process
            self.kill_worker(worker)

    def guarded_executor(self, act: Callable[[], object]) -> None:
        try:
            act()
        except Killed:
            self.kill_executor()
        except Broken:
            raise
        except Exception as error:
            raise Broken("G3", f"executor: {error!r}") from error

    def publish(self, parcel: Parcel) -> None:
        """Into the channel."""
        executors = [self.executor.name] if self.executor else []
        made = self.channel.publish(parcel, executors, [worker.boot for worker in self.workers])
        if self.story is not None:
            for letter in made:
                self.tell("   sent: %s", letter)

    # letters --------------------------------------------------------------------------------------

    def readers(self) -> dict[str, ExecutorProcess | WorkerProcess]:
        """Who takes letters now, by what they are addressed to; not who is frozen, or deaf."""
        there: dict[str, ExecutorProcess | WorkerProcess] = {}
        executor = self.executor
        if executor is not None and executor.is_listening and not executor.is_frozen:
            there[executor.name] = executor
        for worker in self.workers:
            if worker.is_listening and not worker.is_frozen:
                there[worker.boot] = worker
                there.setdefault(TOPIC, worker)
        return there

    def hand_over(self, letters: Sequence[Letter], reader: ExecutorProcess | WorkerProcess) -> None:
        """They arrive, and are looked at in one turn; what comes for who is no more is lost."""
        if self.story is not None:
            for letter in letters:
                self.tell("arrives: %s", letter)
        received = [letter.received for letter in letters]
        if isinstance(reader, ExecutorProcess):
            if reader is self.executor:
                self.guarded_executor(lambda: reader.turn(*received))
        elif reader in self.workers:
            self.guarded(reader, lambda: reader.turn(received))

    def deliver_everything(self) -> None:
        """All that is under way and all that comes of it: to each reader what is there for it."""
        turns = 0
        while self.channel.letters:
            readers = self.readers()
            there: dict[int, list[Letter]] = {}
            kept: list[Letter] = []
            for letter in self.channel.letters:
                reader = readers.get(letter.to)
                if reader is None:
                    kept.append(letter)
                else:
                    there.setdefault(id(reader), []).append(letter)
            if not there:
                return
            self.channel.letters[:] = kept
            for letters in there.values():
                self.hand_over(letters, readers[letters[0].to])
            turns += 1
            if turns > 500:
                raise Broken("quiet", "messages go round and round without any time passing")

    # time -----------------------------------------------------------------------------------------

    def next_to_wake(self) -> tuple[float, ExecutorProcess | WorkerProcess | None]:
        """Who is to be woken next, and when."""
        when = float("inf")
        who: ExecutorProcess | WorkerProcess | None = None
        executor = self.executor
        if executor is not None and not executor.is_frozen:
            when, who = executor.next_deadline(), executor
        for worker in self.workers:
            if not worker.is_frozen and (at := worker.next_deadline()) < when:
                when, who = at, worker
        return when, who

    def wake(self, who: ExecutorProcess | WorkerProcess) -> None:
        if isinstance(who, ExecutorProcess):
            self.guarded_executor(who.turn)
        else:
            self.guarded(who, who.turn)

    def pass_time(self, seconds: float, *, delivering: bool = False) -> None:
        """Seconds pass; everybody awake is woken when he asked for it."""
        end = self.time + seconds
        turns = 0
        while True:
            self.pools_go_on(delivering=delivering)
            when, who = self.next_to_wake()
            if who is None or when > end:
                break
            self.time = max(self.time, when)
            self.wake(who)
            turns += 1
            if turns > 200 + 20 * seconds:
                raise Broken("quiet", f"{who} is woken {turns} times in {seconds} s")
        self.time = max(self.time, end)

    def pools_go_on(self, *, delivering: bool) -> None:
        """All that pools begin and tell before any time passes; those of frozen workers begin."""
        is_going_on = True
        while is_going_on:
            if delivering:
                self.deliver_everything()
            is_going_on = False
            for worker in list(self.workers):
                if worker.is_frozen:
                    worker.begins()
                elif worker.handed or worker.reports:
                    before = len(worker.handed), len(worker.reports)
                    self.guarded(worker, worker.goes_on)
                    is_going_on |= before != (len(worker.handed), len(worker.reports))

    def runs(self) -> list[tuple[WorkerProcess, Run]]:
        """Those that can end now."""
        return [
            (worker, run)
            for worker in self.workers
            if not worker.is_frozen
            for run in worker.runs.values()
        ]

    # the end --------------------------------------------------------------------------------------

    def calm_down(self, a: int = 0) -> float:
        """Stop the faults; how long it took until every future had ended.

        ``a`` picks what is left: everybody, or one worker alone, or none; what was under way, or
        nothing of it; and whether the world is looked at for a while when all has ended.
        """
        self.is_calm = True
        self.tell("the faults stop (%d)", a)
        if a % 2:
            self.channel.letters.clear()
        if a // 2 % 4 == 1:  # the others never take a step again
            for worker in self.workers[1:]:
                self.kill_worker(worker)
        elif a // 2 % 8 == 2:
            for worker in list(self.workers):
                self.kill_worker(worker)
        for worker in list(self.workers):
            worker.is_frozen = False
            worker.fuse = None
            if not worker.is_listening:
                self.guarded(worker, lambda one=worker: one.listens(True))  # type: ignore[misc]
        if self.executor is None:
            self.start_executor()
        else:
            self.executor.is_frozen = False
            self.executor.fuse = self.executor.doom = None
            self.guarded_executor(lambda: self.executor and self.executor.listens(True))
        began, sent = self.time, self.channel.sent
        executor = self.executor
        assert executor is not None
        self.guarded_executor(executor.turn)
        while executor.open_uuids or len(executor.ledger):
            if self.time - began > self.setting.bound:
                raise Broken(
                    "live",
                    f"{executor.open_uuids} have not ended after {self.setting.bound:.0f} s",
                )
            self._quiet_moment()
        took = self.time - began
        allowed = 40 + 40 * self.requests + 12 * (1 + len(self.workers)) * took
        if self.channel.sent - sent > allowed:
            raise Broken("quiet", f"{self.channel.sent - sent} messages in {took:.1f} s")
        if len(executor.ledger):
            raise Broken("live", f"the ledger holds {len(executor.ledger)} that have ended")
        if a // 16 % 4 == 0:
            self._check_at_rest()
        if self.journal is not None:
            self._check_journal()
        return took

    def _live(self, seconds: float) -> None:
        """So long, without faults."""
        until = self.time + seconds
        while self.time < until:
            self._quiet_moment(until)

    def _quiet_moment(self, until: float = float("inf")) -> None:
        """Until the next thing happens in a world without faults; runs end by themselves."""
        self.pools_go_on(delivering=True)
        runs = self.runs()
        if runs:
            self.pass_time(RUN_TIME, delivering=True)
            for worker, run in runs:
                if run.has_ended or worker not in self.workers:
                    continue
                how: End = "stopped" if run.is_stopping else "done"
                self.guarded(worker, lambda w=worker, r=run, e=how: w.end(r, e))  # type: ignore[misc]
            return
        when, who = self.next_to_wake()
        assert who is not None
        self._idle = self._idle + 1 if when <= self.time else 0
        if self._idle > MOST_IDLE:
            raise Broken("quiet", f"{who} is woken {self._idle} times in a row, for nothing")
        self.time = max(self.time, min(when, until))
        if when <= until:
            self.wake(who)

    def _check_at_rest(self) -> None:
        """Everything has ended: nobody holds anything, and nobody says much."""
        self._live(max(RESULT_RESENDS) + 5.0)
        if self.journal is None and self.executors > 1:
            self._live(KEEP + 30.0)
        sent = self.channel.sent
        self.channel.letters.clear()
        self._live(20.0)
        beat = min(NOTIFY_PERIOD, *(pace(machine.beat) for machine in self.setting.machines))
        allowed = 8 + (1 + 2 * len(self.workers)) * (20 / beat + 1)
        if self.channel.sent - sent > allowed:
            raise Broken("quiet", f"{self.channel.sent - sent} messages in 20 s of nothing to do")
        for worker in self.workers:
            if left := kept_by(worker):
                raise Broken("live", f"{worker.boot} keeps {left} for ever")
            self.promises.counted(worker.shift.counts, worker.boot)

    def _check_journal(self) -> None:
        assert self.journal is not None
        history = self.journal.folded()
        self.promises.restarted(history)
        for uuid, status in history.requests.items():
            if status.ended is None:
                raise Broken("G7", f"{uuid} has ended, and the journal says {status.state}")


def kept_by(worker: WorkerProcess) -> list[str]:
    """What a worker still holds, in words."""
    shift = worker.shift
    words = ("queued", "running", "result", "dropped")
    counts = zip((*shift.held, *shift.kept), words, strict=True)
    return [f"{count} {word}" for count, word in counts if count]
