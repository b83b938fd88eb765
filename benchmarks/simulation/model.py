"""The model: executors, workers and a broker, as events in the fleet's own time.

What is in it, and follows the native dialect (docs/native-dialect.md, sections 3 and 7): an
executor takes whatever has come as one turn, and dispatches by credit, to free slots first; workers
run tasks in slots, queue what is sent beyond them, and say SUCCESS, and RUNNING before it of what
takes longer than a moment; every five seconds executors ask all workers of their exchange, which
answer at once and beat again after seven tenths of their beat; a dead worker costs a lease;
receipts leave after half a second. An executor's threads share one core, as the interpreter's lock
has it; so do those of a worker's main process; hosts have cores of their own. A broker has one
core.

What is not: retries, limits, cancels, keys, the journal, signatures, messages that are lost or come
twice, and what a task itself costs. All beats of a question come together; their readers are not
told apart: while a round of them is not read within a beat, nobody is in time, and nothing is
dispatched.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Final

import simpy

from benchmarks.simulation.costs import Costs
from benchmarks.simulation.fleet import Fleet
from benchmarks.simulation.outcome import Outcome
from benchmarks.statistics import percentile
from bus.wire.outbox import LINGER
from protocol.batch import MOST
from protocol.timing import CREDIT_MAX, NOTIFY_PERIOD, RECEIPT_DELAY, lease, pace

#: An event of simpy's; its value is whatever was put into it.
Happened = Any
Process = Generator[simpy.Event, Any, None]

_LIST: Final = 500  # messages that are handed over at once (bus.wire.broker.MOST_AT_ONCE)
_TOGETHER: Final = 1e-3  # seconds of submissions that come at one moment
_WAITS: Final = 100_000  # waits that are kept, of all


class Core:
    """A core that does one thing after the other."""

    __slots__ = ("busy", "free_at")

    def __init__(self) -> None:
        self.free_at = 0.0
        #: Seconds it has worked.
        self.busy = 0.0

    def serve(self, now: float, cost: float) -> float:
        """When what comes now, and costs this, is done."""
        self.busy += cost
        self.free_at = max(self.free_at, now) + cost
        return self.free_at


class Worker:
    """One place for a worker process."""

    __slots__ = ("boot", "core", "is_dead", "lost", "open", "queue", "running")

    def __init__(self) -> None:
        #: Raised by a death: what was to end in an earlier one never does.
        self.boot = 0
        self.is_dead = False
        #: Dispatched, and its end not read by the executor.
        self.open = 0
        self.running = 0
        #: What waits for a slot: when each was submitted.
        self.queue: deque[float] = deque()
        #: What died with it, or was sent to it afterwards.
        self.lost = 0
        self.core = Core()


class World:
    """All of a fleet, and its broker."""

    def __init__(self, fleet: Fleet, costs: Costs) -> None:
        self.fleet = fleet
        self.costs = costs
        self.env = simpy.Environment()
        self.core = Core()
        self.messages = self.bytes = 0
        self.worker_in = self.worker_out = 0
        #: Seconds that all workers spent on being there, and on receipts.
        self.beating = 0.0
        self.beats_behind = self.lost = 0
        self.waits: list[float] = []
        self._starts = 0
        self._keep_one_of = max(1, fleet.requests // _WAITS)
        self.shards = [Shard(self, number) for number in range(fleet.executors)]

    def carried(self, now: float, count: int, size: int) -> float:
        """When so many broker messages, of so many bytes together, are there."""
        self.messages += count
        self.bytes += size
        return self.core.serve(now, count * self.costs.carry) + self.costs.way

    def note_wait(self, seconds: float) -> None:
        """From a submission to a start."""
        self._starts += 1
        if self._starts % self._keep_one_of == 0:
            self.waits.append(seconds)

    def later(self, delay: float, act: Callable[[Happened], None], value: object = None) -> None:
        """Have this called with an event of this value."""
        event = self.env.timeout(delay, value)
        event.callbacks.append(act)

    def run(self) -> Outcome:
        """Until every request has ended, or it is enough."""
        began = time.perf_counter()
        until: simpy.Event = self.env.all_of([shard.is_over for shard in self.shards])
        if self.fleet.seconds < float("inf"):
            until = self.env.any_of([until, self.env.timeout(self.fleet.seconds)])
        self.env.run(until)
        return self._outcome(time.perf_counter() - began)

    def _outcome(self, took: float) -> Outcome:
        seconds, fleet, shards = self.env.now, self.fleet, self.shards
        each_executor = seconds * len(shards)
        each_worker = seconds * fleet.workers
        ended = sum(shard.ended for shard in shards)
        workers = [worker for shard in shards for worker in shard.workers]
        return Outcome(
            seconds=seconds,
            ended=ended,
            throughput=ended / seconds,
            wait_p50=percentile(self.waits or [0.0], 0.5),
            wait_p99=percentile(self.waits or [0.0], 0.99),
            executor_in=sum(shard.count["taken"] for shard in shards) / each_executor,
            executor_out=sum(shard.count["sent"] for shard in shards) / each_executor,
            worker_in=self.worker_in / each_worker,
            worker_out=self.worker_out / each_worker,
            broker=self.messages / seconds,
            broker_bytes=self.bytes / seconds,
            executor_cpu=sum(shard.core.busy for shard in shards) / each_executor,
            worker_cpu=(self.beating + sum(w.core.busy for w in workers)) / each_worker,
            broker_cpu=self.core.busy / seconds,
            parts={
                part: sum(shard.parts()[part] for shard in shards) / each_executor
                for part in shards[0].parts()
            },
            beats_behind=self.beats_behind,
            blind=sum(shard.blind for shard in shards) / each_executor,
            lost=self.lost,
            took=took,
        )


class Shard:
    """One executor and its workers."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        fleet, env = world.fleet, world.env
        self.chance = random.Random(f"{fleet.seed} {number}")
        self.workers = [Worker() for _ in range(_part(fleet.workers, number, fleet.executors))]
        #: Units of credit: slots that are free, and places to queue behind those; workers' numbers.
        #: A worker takes its slots, and as many as it ended within a second.
        self.free = [w for w in range(len(self.workers)) for _ in range(fleet.slots)]
        self.extra = max(0, min(CREDIT_MAX, int(fleet.slots / fleet.task)))
        self.room = [w for w in range(len(self.workers)) for _ in range(self.extra)]
        self.total = self.left = _part(fleet.requests, number, fleet.executors)
        self.ended = 0
        #: How many workers are dead.
        self.dead = 0
        self.rate = None if fleet.rate is None else fleet.rate / fleet.executors
        #: When each was submitted that waits.
        self.waiting: deque[float] = deque()
        #: What has come and is not read: ends as (worker, boot), broker messages, beats.
        self.results: list[tuple[int, int]] = []
        self.came = 0
        self.beats = 0
        #: When all of a round of beats had been read last.
        self.heard_all = 0.0
        self.blind = 0.0
        self.core = Core()
        self.is_busy = False
        #: What its turns came to.
        names = "turns taken sent lists sendings beats read dispatched looked"
        self.count = dict.fromkeys(names.split(), 0)
        #: Who is to be sent a receipt.
        self.receipts: set[int] = set()
        self.is_over: simpy.Event = env.event()
        # Executors ask at moments of their own.
        env.process(self._ask(NOTIFY_PERIOD * number / fleet.executors))
        env.process(self._post())
        if fleet.life < float("inf"):
            env.process(self._kill())
        if fleet.at_once:
            env.process(self._kill_many(fleet.at_once // fleet.executors))
        if self.rate is None:
            self._submit(min(fleet.outstanding, self.left))
            world.later(0.0, self._rouse)
        else:
            env.process(self._arrive(self.rate))

    # the executor ---------------------------------------------------------------------------------

    def _submit(self, count: int) -> None:
        self.left -= count
        self.waiting.extend([self.world.env.now] * count)

    def _arrive(self, rate: float) -> Process:
        """Submissions, at this rate; of the hurried ones several at once."""
        count = max(1, round(rate * _TOGETHER))
        while self.left:
            yield self.world.env.timeout(count / rate)
            self._submit(min(count, self.left))
            self._rouse()

    def _rouse(self, _: object = None) -> None:
        """Begin a turn, if none is under way and there is anything to do."""
        if self.is_busy:
            return
        if self.came or self.beats or (self.waiting and (self.free or self.room)):
            self.is_busy = True
            now = self.world.env.now
            done, targets = self._turn(now)
            self.world.later(done - now, self._turned, targets)

    def _turned(self, event: Happened) -> None:
        """A turn is over: what leaves, leaves; and the next begins."""
        self._dispatch(event.value)
        self.is_busy = False
        self._rouse()

    def _turn(self, now: float) -> tuple[float, dict[int, list[float]]]:
        """When it is done, and what leaves then: ``{worker: when each was submitted}``."""
        costs, count = self.world.costs, self.count
        known = len(self.workers)
        beats = min(self.beats, _LIST)
        self.beats -= beats
        taken, self.came = self.came + beats, 0
        results, self.results = self.results, []
        for number, boot in results:
            self._read(number, boot)
        targets: dict[int, list[float]] = {}
        is_blind = self.beats > 0 and now - self.heard_all > self.world.fleet.beat
        dispatched = 0 if is_blind else self._choose(targets)
        looked = int(bool(dispatched or self.waiting))
        letters = sum(-(-len(sent) // MOST) for sent in targets.values())
        cost = (
            costs.turn
            + 2 * costs.expiry * known
            + -(-taken // _LIST) * costs.drain_list
            + taken * costs.drain
            + bool(letters) * costs.publish_list
            + letters * costs.publish
            + beats * costs.beat
            + (len(results) + dispatched) * costs.request / 2
            + looked * costs.choose * known
        )
        count["turns"] += 1
        count["taken"] += taken
        count["sent"] += letters
        count["lists"] += -(-taken // _LIST)
        count["sendings"] += bool(letters)
        count["beats"] += beats
        count["read"] += len(results)
        count["dispatched"] += dispatched
        count["looked"] += looked
        done = self.core.serve(now, cost)
        if beats and not self.beats:
            self.heard_all = done
        if is_blind:
            self.blind += done - now
        return done, targets

    def parts(self) -> dict[str, float]:
        """Seconds that the executor has worked, by what for."""
        costs, count = self.world.costs, self.count
        known = len(self.workers)
        return {
            "requests": (count["read"] + count["dispatched"]) * costs.request / 2,
            "turns": count["turns"] * costs.turn,
            "messages": count["taken"] * costs.drain
            + count["sent"] * costs.publish
            + count["lists"] * costs.drain_list
            + count["sendings"] * costs.publish_list,
            "beats": count["beats"] * costs.beat,
            "choosing": count["looked"] * costs.choose * known,
            "silence": count["turns"] * 2 * costs.expiry * known,
        }

    def _choose(self, targets: dict[int, list[float]]) -> int:
        count = 0
        waiting, free, room, workers = self.waiting, self.free, self.room, self.workers
        random_ = self.chance.random
        while waiting and (free or room) and count < _LIST:
            units = free or room
            place = int(random_() * len(units))
            number = units[place]
            units[place] = units[-1]
            units.pop()
            workers[number].open += 1
            targets.setdefault(number, []).append(waiting.popleft())
            count += 1
        return count

    def _dispatch(self, targets: dict[int, list[float]]) -> None:
        world = self.world
        costs, slots, now = world.costs, world.fleet.slots, world.env.now
        for number, sent in targets.items():
            worker = self.workers[number]
            arrives = world.carried(now, -(-len(sent) // MOST), len(sent) * costs.request_bytes)
            if worker.is_dead:
                worker.lost += len(sent)
                continue
            world.worker_in += 1
            cost = costs.work_turn + costs.drain_list + costs.drain + len(sent) * costs.work
            ready = worker.core.serve(arrives, cost)
            for submitted in sent:
                if worker.running < slots:
                    self._start(number, worker, submitted, ready)
                else:
                    worker.queue.append(submitted)

    def _read(self, number: int, boot: int) -> None:
        """The executor has read of an end."""
        worker = self.workers[number]
        self.ended += 1
        self.receipts.add(number)
        if worker.boot == boot and not worker.is_dead:
            worker.open -= 1
            (self.free if worker.open < self.world.fleet.slots else self.room).append(number)
        if self.rate is None and self.left:
            self._submit(1)
        if self.ended == self.total:
            self.is_over.succeed()

    # its workers ----------------------------------------------------------------------------------

    def _start(self, number: int, worker: Worker, submitted: float, now: float) -> None:
        world = self.world
        worker.running += 1
        world.note_wait(now - submitted)
        lasts = self.chance.expovariate(1 / world.fleet.task) + world.costs.handover
        if lasts > LINGER:  # otherwise its end says as much
            self._say_running(worker, now)
        world.later(now + lasts - world.env.now, self._ends, (number, worker.boot))

    def _ends(self, event: Happened) -> None:
        number, boot = event.value
        worker = self.workers[number]
        if worker.boot != boot or worker.is_dead:
            return
        world = self.world
        now = world.env.now
        worker.running -= 1
        arrives = self._say(worker, now, world.costs.success_bytes)
        if worker.queue:
            self._start(number, worker, worker.queue.popleft(), now)
        if arrives - now <= 2 * world.costs.way:  # so soon that it is as if it were there
            self.results.append(event.value)
            self._rouse()
        else:
            world.later(arrives - now, self._comes, event.value)

    def _comes(self, event: Happened) -> None:
        self.results.append(event.value)
        self.came = max(1, self.came)
        self._rouse()

    def _say(self, worker: Worker, now: float, size: int) -> float:
        """An end leaves; when it is there."""
        world = self.world
        worker.core.serve(now, world.costs.publish_list + world.costs.publish)
        world.worker_out += 1
        self.came += 1
        return world.carried(now, 1, size)

    def _say_running(self, worker: Worker, now: float) -> None:
        """RUNNING leaves, at a moment that may be to come: it does not hold others up."""
        world = self.world
        costs = world.costs
        world.bytes += costs.running_bytes
        worker.core.busy += costs.work_turn + costs.publish_list + costs.publish
        world.worker_out += 1
        world.messages += 1
        world.core.busy += costs.carry
        if self.is_busy:  # it is read with what else has come
            self.came += 1
        else:
            self.count["turns"] += 1
            self.count["taken"] += 1
            self.count["lists"] += 1
            self.core.busy += costs.turn + costs.drain_list + costs.drain

    # beats and receipts ---------------------------------------------------------------------------

    def _ask(self, first: float) -> Process:
        """Questions, which all answer at once, and the beats between two of them."""
        world = self.world
        env, after = world.env, pace(world.fleet.beat)
        yield env.timeout(first)
        self.heard_all = env.now
        while True:
            self.count["sent"] += 1
            self._all_say(is_asked=True)
            if after < NOTIFY_PERIOD:
                yield env.timeout(after)
                self._all_say(is_asked=False)
                yield env.timeout(NOTIFY_PERIOD - after)
            else:
                yield env.timeout(NOTIFY_PERIOD)

    def _all_say(self, *, is_asked: bool) -> None:
        world = self.world
        costs, now = world.costs, world.env.now
        count = len(self.workers) - self.dead
        said = costs.answer + costs.publish_list + costs.publish
        world.beating += count * (said + (costs.drain_list + costs.drain) * is_asked)
        world.worker_out += count
        world.worker_in += count * is_asked
        world.carried(now, count * (1 + is_asked), count * costs.beat_bytes)
        self.beats += count
        world.beats_behind = max(world.beats_behind, self.beats)
        self._rouse()

    def _post(self) -> Process:
        """Receipts leave."""
        world = self.world
        costs = world.costs
        while True:
            yield world.env.timeout(RECEIPT_DELAY)
            count = len(self.receipts)
            if count:
                self.receipts.clear()
                self.count["sent"] += count
                world.worker_in += count
                self.count["sendings"] += 1
                self.count["turns"] += 1
                sending = costs.turn + costs.publish_list + count * costs.publish
                self.core.serve(world.env.now, sending)
                world.beating += count * (costs.work_turn + costs.drain_list + costs.drain)
                world.carried(world.env.now, count, count * costs.receipt_bytes)

    # deaths ---------------------------------------------------------------------------------------

    def _kill(self) -> Process:
        """One after the other, as chance has it."""
        world = self.world
        while True:
            yield world.env.timeout(self.chance.expovariate(len(self.workers) / world.fleet.life))
            self._dies(self.chance.randrange(len(self.workers)))

    def _kill_many(self, count: int) -> Process:
        """At once, when half of all requests have ended."""
        while 2 * self.ended < self.total:
            yield self.world.env.timeout(1.0)
        for number in range(count):
            self._dies(number)

    def _dies(self, number: int) -> None:
        """Nobody knows it yet: for a beat it is sent requests, after a lease it is missed."""
        world, worker = self.world, self.workers[number]
        if worker.is_dead:
            return
        worker.is_dead = True
        self.dead += 1
        worker.boot += 1
        world.lost += worker.running
        worker.lost = worker.running + len(worker.queue)
        worker.running = 0
        worker.queue.clear()
        beat = world.fleet.beat
        world.later(beat, self._is_late, number)
        world.later(lease(beat), self._is_missed, number)
        world.later(max(lease(beat), world.fleet.rebirth) + 1e-3, self._is_replaced, number)

    def _is_late(self, event: Happened) -> None:
        number = event.value
        self.free = [n for n in self.free if n != number]
        self.room = [n for n in self.room if n != number]

    def _is_missed(self, event: Happened) -> None:
        worker = self.workers[event.value]
        self.waiting.extendleft([self.world.env.now] * worker.lost)
        worker.open = worker.lost = 0
        self._rouse()

    def _is_replaced(self, event: Happened) -> None:
        number = event.value
        self.workers[number].is_dead = False
        self.dead -= 1
        self.free += [number] * self.world.fleet.slots
        self.room += [number] * self.extra
        self._rouse()


def _part(whole: int, number: int, parts: int) -> int:
    """Of so many for each of the parts: as even as it goes."""
    return whole // parts + (number < whole % parts)
