"""One ledger and two shifts over a network that loses, doubles, delays and reorders; workers die.

All in one simulated time: no thread, no broker, no clock. What is never lost is a RESPONSE with a
result: nothing sends it again yet. A worker that is killed takes with it what it had not said.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterable

import pytest

from executor import effects as executor_effects
from executor.effects import Fail, GiveUp, Succeed
from executor.ledger import Ledger
from protocol import envelope, messages
from protocol.errors import RequestTimeout, WorkerLost
from protocol.failure import from_text
from protocol.messages import Response
from protocol.parcel import Parcel, Received
from protocol.states import FAILURE, SUCCESS
from protocol.timing import LEASE, MAX_ATTEMPTS, REQUEST_TIMEOUT, START_WINDOW
from protocol.topology import Names, inbox_key
from tests.executor.peers import EXCHANGE, EXECUTOR, TOPIC, order
from worker import effects as worker_effects
from worker.effects import Run, Send
from worker.shift import Shift
from worker.work import Ended, Offer

NAMES = Names("native", EXCHANGE)
TASK = "m.task"
STORM = 120.0  # seconds in which the network is bad and workers die
#: After the storm, everything ends within this: lost and late ones, once for each attempt.
CALM = MAX_ATTEMPTS * (START_WINDOW + LEASE) + REQUEST_TIMEOUT


class World:
    """A calendar of what happens when, and the network between those who live in it."""

    def __init__(self, seed: int, *, requests: int, storm: float = STORM) -> None:
        self.random = random.Random(seed)
        random.seed(seed)  # the directory breaks ties with it
        self.now = 1000.0
        self.calm = self.now + storm
        self._calendar: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self.ledger = Ledger(EXECUTOR, EXCHANGE, (TOPIC,))
        self.workers: dict[str, Worker] = {}
        self.boots = 0
        self.resolved: Counter[str] = Counter()
        self.outcomes: dict[str, str] = {}
        self.started: Counter[str] = Counter()
        for _ in range(2):
            self.boot()
        self.do(self.ledger.consuming(self.now))
        for n in range(requests):
            timeout = self.random.choice([None, None, None, 20.0, 200.0]) if storm else None
            when = self.random.uniform(0, STORM * 0.8)
            self.after(when, lambda n=n, timeout=timeout: self.submit(f"u{n}", timeout))  # type: ignore[misc]
        self.requests = requests
        self.after(self.random.expovariate(1 / 15), self.strike)

    # time -----------------------------------------------------------------------------------------

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Have something happen."""
        self._sequence += 1
        heapq.heappush(self._calendar, (self.now + seconds, self._sequence, act))

    def run(self, bound: float = CALM) -> None:
        """Until every request has ended; fails if that takes too long, or too many turns."""
        turns = 0
        while len(self.resolved) < self.requests:
            turns += 1
            assert turns < 200_000, "something goes round in circles"
            keepers = [(self.ledger.next_deadline(), 0, self.tick)]
            keepers += [(w.next_deadline(), 0, w.tick) for w in self.workers.values()]
            when, _, act = min(keepers, key=lambda entry: entry[0])
            if self._calendar and self._calendar[0][0] <= when:
                when, _, act = heapq.heappop(self._calendar)
            self.now = max(self.now, when)
            assert self.now < self.calm + bound, f"{len(self.ledger)} requests hang"
            act()

    def tick(self) -> None:
        """The executor's keeper wakes."""
        self.do(self.ledger.tick(self.now))

    # the executor ---------------------------------------------------------------------------------

    def submit(self, uuid: str, timeout: float | None) -> None:
        """One more request."""
        self.do(self.ledger.submitted([order(uuid, TASK, timeout=timeout)], self.now))

    def do(self, effects: Iterable[executor_effects.Effect]) -> None:
        """What the executor's keeper does."""
        for effect in effects:
            if isinstance(effect, (executor_effects.Publish, executor_effects.Dispatch)):
                self.carry(effect.parcel)
            elif isinstance(effect, (Succeed, Fail, GiveUp)):
                self.resolved[effect.uuid] += 1
                assert self.resolved[effect.uuid] == 1, f"{effect.uuid} ended twice"
                self.outcomes[effect.uuid] = self.outcome(effect)

    def outcome(self, effect: Succeed | Fail | GiveUp) -> str:
        """In a word; whatever should not come to pass fails."""
        if isinstance(effect, Succeed):
            assert effect.value == effect.uuid, "the result of another request"
            assert self.started[effect.uuid] >= 1
            return "success"
        if isinstance(effect, Fail):
            return "crash"
        assert isinstance(effect.error, (RequestTimeout, WorkerLost))
        return type(effect.error).__name__

    # the network ----------------------------------------------------------------------------------

    def carry(self, parcel: Parcel) -> None:
        """Deliver it, or not, or twice, sooner or later."""
        copies = 1
        if self.now < self.calm:
            if not _has_result(parcel) and self.random.random() < 0.08:
                return
            copies += self.random.random() < 0.08
        for _ in range(copies):
            delay = self.random.expovariate(1 / 0.05)
            if self.now < self.calm and self.random.random() < 0.02:
                delay += self.random.uniform(0, 90)
            self.after(delay, lambda: self.deliver(parcel))

    def deliver(self, parcel: Parcel) -> None:
        """It arrives where it is addressed to, if anybody is there."""
        address = parcel.address
        if address in (NAMES.to_replies(EXECUTOR), NAMES.to_everybody(NAMES.hello)):
            self.do(self.ledger.heard([_arrived(parcel, at_worker=False)], self.now))
            return
        present = [worker for worker in self.workers.values() if not worker.is_frozen]
        if address == NAMES.to_everybody(NAMES.call):
            hearing = present
        else:
            inbox = [w for w in self.workers.values() if address == NAMES.to_inbox(w.inbox)]
            if inbox and inbox[0].is_frozen:  # it waits there
                self.after(1.0, lambda: self.deliver(parcel))
                return
            hearing = inbox
        for worker in hearing:
            worker.do(worker.shift.heard([_arrived(parcel, at_worker=True)], worker.clock))

    # the workers ----------------------------------------------------------------------------------

    def boot(self) -> None:
        """A worker process begins."""
        self.boots += 1
        worker = Worker(self, f"{self.boots:016x}")
        self.workers[worker.boot] = worker
        worker.begin()

    def strike(self) -> None:
        """A worker is killed, frozen for a while, or told to go; later another one begins."""
        if self.now > self.calm:
            return
        self.after(self.random.expovariate(1 / 15), self.strike)
        victims = list(self.workers.values())
        if not victims:
            return
        victim = self.random.choice(victims)
        fate = self.random.choice(["kill", "freeze", "drain"])
        if fate == "freeze":
            victim.freeze(self.random.uniform(5, 40))
            return
        if fate == "drain":
            victim.do(victim.shift.drain(victim.clock, 10.0))
        else:
            victim.die()
        self.after(self.random.uniform(0, 30), self.boot)


class Worker:
    """A shift, and a pool that takes its time. Its clock is its own, a little fast or slow."""

    def __init__(self, world: World, boot: str) -> None:
        self.world = world
        self.boot = boot
        self.inbox = inbox_key(TOPIC, boot)
        self.slots = world.random.choice([1, 2, 4])
        self.shift = Shift(NAMES, (TOPIC,), worker=f"w{boot[-2:]}", boot=boot, slots=self.slots)
        self._ahead = world.random.uniform(0, 10_000)
        self._rate = world.random.uniform(0.995, 1.005)
        self._born = world.now
        self.is_frozen = False

    @property
    def clock(self) -> float:
        """What it believes the time to be."""
        return self._ahead + (self.world.now - self._born) * self._rate

    @property
    def is_alive(self) -> bool:
        """Whether its process is there."""
        return self.world.workers.get(self.boot) is self

    def begin(self) -> None:
        """It offers and consumes."""
        self.shift.offering([Offer(TASK)], self.clock)
        self.do(self.shift.consuming(self.clock))

    def next_deadline(self) -> float:
        """In the world's time."""
        if self.is_frozen:
            return float("inf")
        left = (self.shift.next_deadline() - self.clock) / self._rate
        return self.world.now + max(left, 0.0) + 1e-6

    def tick(self) -> None:
        """Its keeper wakes."""
        self.do(self.shift.tick(self.clock))

    def do(self, effects: Iterable[worker_effects.Effect]) -> None:
        """What its keeper does."""
        running: set[str] = set()
        for effect in effects:
            if isinstance(effect, Send):
                self.world.carry(effect.parcel)
            elif isinstance(effect, Run):
                work = effect.work
                assert work.uuid not in running
                self.world.started[work.uuid] += 1
                seconds = self.world.random.choice([0.01, 0.1, 1.0, 5.0, 40.0])
                self.world.after(seconds, lambda work=work: self.end(work.key, work.uuid))  # type: ignore[misc]
            elif isinstance(effect, worker_effects.Done):
                self.die()
        assert self.shift.held[1] <= self.slots

    def end(self, key: int, uuid: str) -> None:
        """A run comes to its end; some end their process instead."""
        if not self.is_alive:
            return
        if self.is_frozen:
            self.world.after(1.0, lambda: self.end(key, uuid))
            return
        ended = Ended(key, uuid)
        if self.world.now < self.world.calm and self.world.random.random() < 0.05:
            ended = Ended(key, failure=from_text(("Crash", "Exception"), "ended"), end="crash")
        self.do(self.shift.reported([ended], self.clock))

    def freeze(self, seconds: float) -> None:
        """It does nothing for a while, then goes on as if nothing had been."""
        self.is_frozen = True
        self.world.after(seconds, self.thaw)

    def thaw(self) -> None:
        """It goes on."""
        self.is_frozen = False

    def die(self) -> None:
        """kill -9: nothing of it is left but what it has sent."""
        self.world.workers.pop(self.boot, None)


def _has_result(parcel: Parcel) -> bool:
    if parcel.envelope.kind != envelope.RESPONSE:
        return False
    message = messages.decode(envelope.RESPONSE, parcel.body, at_worker=False)
    return isinstance(message, Response) and message.state in (SUCCESS, FAILURE)


def _arrived(parcel: Parcel, *, at_worker: bool) -> Received:
    around = parcel.envelope
    text = around.header.to_text() if around.header else None
    parsed = envelope.parse(
        around.kind, around.reply_to, around.correlation_id, text, at_worker=at_worker
    )
    return Received(parsed, messages.decode(parsed.kind, parcel.body, at_worker=at_worker))


@pytest.mark.parametrize("seed", range(40))
def test_every_request_ends_once_whatever_the_network_and_the_workers_do(seed: int) -> None:
    world = World(seed, requests=60)
    world.run()
    assert set(world.resolved.values()) == {1}
    assert len(world.ledger) == 0
    assert sum(len(peer.open) for peer in world.ledger.directory) == 0


def test_in_a_good_network_each_request_runs_once() -> None:
    world = World(1, requests=200, storm=0.0)
    world.run(bound=5000.0)
    assert set(world.started.values()) == {1}
    assert Counter(world.outcomes.values()) == {"success": 200}
