"""A joint world told what happens, for stories in which each step is known.

Nothing arrives and no time passes but as the story says. A letter is named by its kind, by whom it
is for, and by the attempt it is about.
"""

from __future__ import annotations

from dataclasses import replace

from executor.request import Order
from protocol import envelope, messages
from protocol.messages import Request
from protocol.parcel import Parcel
from protocol.retry import Retry
from protocol.timing import BEAT
from tests.joint.channel import TOPIC, Letter
from tests.joint.executor import ExecutorProcess
from tests.joint.worker import TASK, Machine, Run, WorkerProcess
from tests.joint.world import Setting, World
from worker.work import End


class Scene:
    """A world whose stage directions are in words. Everybody knows everybody when it begins."""

    def __init__(
        self,
        workers: int = 1,
        *,
        slots: int = 1,
        has_journal: bool = True,
        can_stop: bool = True,
        beat: float = BEAT,
        is_prompt: bool = True,
    ) -> None:
        machines = tuple(
            Machine(f"w{n}", 1000.0 * n, 1.0, slots, beat, can_stop, is_prompt)
            for n in range(workers)
        )
        self.world = World(Setting(machines, has_journal, 1))
        self.world.deliver_everything()

    # who is there ---------------------------------------------------------------------------------

    @property
    def executor(self) -> ExecutorProcess:
        """The executor, which lives."""
        assert self.world.executor is not None
        return self.world.executor

    def worker(self, name: str) -> WorkerProcess:
        """The living process of this name."""
        (found,) = [one for one in self.world.workers if one.machine.name == name]
        return found

    def state(self, uuid: str) -> str | None:
        """Of the request, as its ledger has it; None: it has ended."""
        return self.executor.ledger.state_of(uuid)

    def seen(self, uuid: str) -> str | None:
        """What its caller was told of its end."""
        return self.world.promises.seen.get(uuid)

    def starts(self, uuid: str) -> int:
        """How often it was started anywhere."""
        return self.world.promises.starts[uuid]

    def holder(self, uuid: str, attempt: int) -> str:
        """The name of the worker an attempt was sent to."""
        return self.world.promises.dispatched[uuid, attempt].worker

    def run(self, uuid: str) -> tuple[WorkerProcess, Run]:
        """The one run of this request that is going on."""
        (found,) = [
            (one, run)
            for one in self.world.workers
            for run in one.runs.values()
            if run.uuid == uuid
        ]
        return found

    # what happens ---------------------------------------------------------------------------------

    def submit(
        self,
        uuid: str,
        *,
        mode: str = "alo",
        timeout: float | None = None,
        retries: Retry | None = None,
    ) -> None:
        """A caller submits it, and the executor takes it up."""
        body = messages.encode(Request(TASK, arguments={"n": uuid}))
        order = Order(
            *(uuid, TASK, body, (TOPIC,)),
            timeout=timeout,
            mode=mode,  # type: ignore[arg-type]
            retries=retries,
        )
        self.executor.submit(order)
        self.executor.turn()

    def cancel(self, uuid: str, *, force: bool = False) -> str:
        """A caller cancels it, and the executor hears of that."""
        said = self.executor.cancel(uuid, force)
        self.executor.turn()
        return said

    def passes(self, seconds: float, *, silent: bool = True) -> None:
        """Time. ``silent``: nothing arrives meanwhile."""
        self.world.pass_time(seconds, delivering=not silent)

    def broker_goes(self, *, is_noticed: bool = False) -> None:
        """Nobody hears anything any more; by the executor it may be noticed."""
        self.executor.listens(False, is_known=is_noticed)
        for worker in self.world.workers:
            worker.listens(False)

    def comes_back(self, name: str = "ex") -> None:
        """The broker is there again, and so is this worker, or the executor."""
        if name == "ex":
            self.executor.listens(True)
        else:
            self.worker(name).listens(True)

    def everything_arrives(self) -> None:
        """And all that comes of it."""
        self.world.deliver_everything()

    def arrives(
        self, kind: str, to: str = "ex", *, attempt: int | None = None, again: bool = False
    ) -> Letter:
        """One letter, the oldest that fits. ``again``: a copy of it stays under way."""
        letter = self._find(kind, to, attempt)
        if not again:
            self.world.channel.letters.remove(letter)
        reader = self.world.readers().get(letter.to)
        assert reader is not None, f"nobody is there to read {letter}"
        self.world.hand_over([letter], reader)
        return letter

    def is_lost(self, kind: str, to: str = "ex", *, attempt: int | None = None) -> Letter:
        """One letter that never arrives; it is kept in the story's hands, to be put back."""
        letter = self._find(kind, to, attempt)
        self.world.channel.letters.remove(letter)
        return letter

    def all_is_lost(self) -> None:
        """Whatever is under way."""
        self.world.channel.letters.clear()

    def put_back(self, letter: Letter) -> None:
        """A letter comes back: doubled, or very late."""
        self.world.channel.letters.append(letter)

    def under_way(self, kind: str, to: str = "ex", *, attempt: int | None = None) -> list[Letter]:
        """The letters that fit."""
        found = []
        for letter in self.world.channel.letters:
            name = "ex" if letter.side == "executor" else self._name_of(letter.to)
            around = letter.parcel.envelope
            about = around.header.attempt or 1 if around.header else 1
            if around.kind == kind and name == to and attempt in (None, about):
                found.append(letter)
        return found

    def ends(self, uuid: str, end: End = "done", *, raises: bool = False) -> None:
        """Its run comes to its end."""
        worker, run = self.run(uuid)
        worker.end(run, end, raises=raises)

    def fails(self, uuid: str) -> None:
        """Its run raises, and everybody hears of it."""
        self.ends(uuid, raises=True)
        self.everything_arrives()

    def killed(self, name: str) -> None:
        """The worker's process is killed."""
        self.world.kill_worker(self.worker(name))

    def boots(self, name: str) -> None:
        """A successor begins."""
        (machine,) = [one for one in self.world.setting.machines if one.name == name]
        self.world.boot(machine)

    def restarts(self) -> None:
        """The executor is killed and begins again."""
        self.world.kill_executor()
        self.world.start_executor()

    def comes_to_rest(self) -> float:
        """The faults stop; how long it takes until every future has ended."""
        return self.world.calm_down()

    def asks(self, name: str, keep: int) -> None:
        """The executor asks a worker, naming how long it is to keep results."""
        question = next(
            letter
            for letter in self._asked()
            if letter.side == "worker" and self._name_of(letter.to) == name
        )
        around = question.parcel.envelope
        assert around.header is not None
        changed = replace(around, header=around.header._replace(keep=keep))
        parcel = Parcel(question.parcel.address, changed, question.parcel.body)
        self.worker(name).turn([Letter("worker", question.to, parcel).received])

    def _asked(self) -> list[Letter]:
        self.executor.deadline = None
        for effect in self.executor.ledger.consuming(self.executor.now):
            parcel = getattr(effect, "parcel", None)
            if parcel is not None:
                self.world.publish(parcel)
        return [
            letter
            for letter in self.world.channel.letters
            if letter.parcel.envelope.kind == envelope.NOTIFY
        ]

    def _find(self, kind: str, to: str, attempt: int | None) -> Letter:
        found = self.under_way(kind, to, attempt=attempt)
        assert found, (
            f"no {kind} to {to} is under way: {list(map(str, self.world.channel.letters))}"
        )
        return found[0]

    def _name_of(self, boot: str) -> str:
        for worker in self.world.workers:
            if worker.boot == boot:
                return worker.machine.name
        return boot
