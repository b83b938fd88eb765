"""All that may happen in the joint world, one step at a time.

A *step* is a word and two numbers: ``("deliver", 7, 3)``. The numbers pick one of what there is to
pick from, whatever there is, so that a list of steps stays a list of steps when some are left out.
Each function takes one, and says whether there was anything to do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final, Literal

from executor.request import Order
from protocol import messages
from protocol.messages import Request
from protocol.retry import Retry
from tests.joint.channel import TOPIC
from tests.joint.executor import ExecutorProcess
from tests.joint.worker import TASK
from tests.joint.world import World
from worker.work import End

Step = tuple[str, int, int]

#: Seconds that pass at once: moments, beats, receipts, leases, start windows, and a little more.
LAPSES: Final = (0.001, 0.02, 0.6, 1.1, 2.1, 5.1, 16.0, 31.0, 61.0, 62.0, 130.0)
#: The same while the channel carries everything at once.
GOOD_LAPSES: Final = (0.0, 0.05, 0.6, 1.1, 2.1, 5.1, 16.0, 61.0)
#: A request's own timeout; None more often.
TIMEOUTS: Final = (None, None, None, None, None, 0.5, 3.0, 20.0, 70.0)
#: When a failure is followed by another round; of what starts at most once it never is.
RETRIES: Final = (
    None,
    None,
    Retry(max=1, backoff=0.0),
    Retry(max=2, backoff=0.7, jitter=0.0),
    Retry(max=3, backoff=2.0, on=("Ended", "protocol.errors.TimeLimitExceeded")),
    Retry(max=2, backoff=20.0),
)
#: Most processes of one executor, and boots of one worker, in a walk.
MOST_BOOTS: Final = 4
#: How a run comes to its end.
ENDS: Final = (
    *("done", "done", "done", "raises", "raises", "raises"),
    *("crash", "crash", "limit", "stopped"),
)


def deliver(world: World, a: int, b: int) -> bool:
    letters = world.channel.letters
    if not letters:
        return False
    way = a % 4
    n = len(letters)
    start = 0 if way < 2 else n - 1 if way == 2 else (a // 4) % n
    towards = -1 if way == 2 else 1
    for i in range(n):
        at = (start + towards * i) % n
        reader = world.readers().get(letters[at].to)
        if reader is not None:
            letter = letters[at] if b % 8 == 0 else letters.pop(at)
            if b % 16 == 1 and isinstance(reader, ExecutorProcess):
                world.tell("taken, not looked at yet: %s", letter)
                reader.mailbox.append(letter.received)
            else:
                world.hand_over([letter], reader)
            return True
    return False


def lose(world: World, a: int, b: int) -> bool:
    letters = world.channel.letters
    if not letters:
        return False
    world.tell("lost: %s", letters.pop(a % len(letters)))
    return True


def misdeliver(world: World, a: int, b: int) -> bool:
    """What is for one worker reaches another: a queue is not what it should be."""
    letters = [letter for letter in world.channel.letters if letter.side == "worker"]
    awake = [one for one in world.workers if not one.is_frozen and one.is_listening]
    if not letters or not awake:
        return False
    letter, reader = letters[a % len(letters)], awake[b % len(awake)]
    world.tell("to the wrong one, %s:", reader.boot)
    world.hand_over([letter], reader)
    return True


def lapse(world: World, a: int, b: int) -> bool:
    world.pass_time(LAPSES[a % len(LAPSES)])
    return True


def good(world: World, a: int, b: int) -> bool:
    world.pass_time(GOOD_LAPSES[a % len(GOOD_LAPSES)], delivering=True)
    return True


def wait(world: World, a: int, b: int) -> bool:
    """Until somebody is to be woken, and no longer."""
    when, who = world.next_to_wake()
    if who is None:
        return False
    world.time = max(world.time, when)
    world.wake(who)
    return True


def submit(world: World, a: int, b: int) -> bool:
    if world.executor is None or world.requests >= world.setting.requests:
        return False
    uuid = f"u{world.requests}"
    world.requests += 1
    timeout = TIMEOUTS[a % len(TIMEOUTS)]
    mode: Literal["alo", "amo"] = "amo" if b % 5 < 2 else "alo"
    retries = RETRIES[(a // 16) % len(RETRIES)]
    world.tell("%s is submitted (%s, timeout %s, %s)", uuid, mode, timeout, retries)
    order = Order(
        uuid,
        TASK,
        _body(uuid),
        (TOPIC,),
        timeout=timeout,
        wants_events=True,
        mode=mode,
        retries=retries,
    )
    executor = world.executor
    world.guarded_executor(lambda: executor.submit(order))
    if b % 3 and world.executor is executor and not executor.is_frozen:
        world.guarded_executor(executor.turn)
    return True


def cancel(world: World, a: int, b: int) -> bool:
    executor = world.executor
    if executor is None or not executor.futures:
        return False
    uuids = executor.open_uuids
    if b % 7 == 0 or not uuids:
        uuids = list(executor.futures)
    uuid, force = uuids[a % len(uuids)], b % 2 == 1
    world.tell("cancel of %s, force=%s", uuid, force)
    world.guarded_executor(lambda: executor.cancel(uuid, force))
    if b % 3 and world.executor is executor and not executor.is_frozen:
        world.guarded_executor(executor.turn)
    return True


def turn(world: World, a: int, b: int) -> bool:
    """The executor's keeper takes what is in its mailbox."""
    if world.executor is None or world.executor.is_frozen or not world.executor.mailbox:
        return False
    world.guarded_executor(world.executor.turn)
    return True


def pool(world: World, a: int, b: int) -> bool:
    """A worker's pool begins what it can, or tells of it, or both."""
    workers = [one for one in world.workers if one.handed or (one.reports and not one.is_frozen)]
    if not workers:
        return False
    worker = workers[a % len(workers)]
    act = (worker.begins, worker.reports_all, worker.goes_on)[b % 3]
    world.guarded(worker, act)
    return True


def end(world: World, a: int, b: int) -> bool:
    runs = world.runs()
    if not runs:
        return False
    worker, run = runs[a % len(runs)]
    how = ENDS[b % len(ENDS)]
    raises = how == "raises"
    end: End = "done" if raises else how  # type: ignore[assignment]
    if run.is_stopping and b % 3:
        end, raises = "stopped", False
    world.tell("%s ends on %s: %s%s", run.token, worker.boot, end, ", raising" * raises)
    world.guarded(worker, lambda: worker.end(run, end, raises=raises))
    return True


def event(world: World, a: int, b: int) -> bool:
    runs = world.runs()
    if not runs:
        return False
    worker, run = runs[a % len(runs)]
    world.guarded(worker, lambda: worker.tells(run))
    return True


def deafen(world: World, a: int, b: int) -> bool:
    """A worker loses its connection, knows it, and speaks on; or has it again."""
    if not world.workers:
        return False
    worker = world.workers[a % len(world.workers)]
    if worker.is_frozen:
        return False
    world.tell("%s %s", worker.boot, "is deaf" if worker.is_listening else "hears again")
    world.guarded(worker, lambda: worker.listens(not worker.is_listening))
    return True


def deafen_executor(world: World, a: int, b: int) -> bool:
    """The executor loses its connection, and knows it or not; it speaks on. Or has it again."""
    executor = world.executor
    if executor is None or executor.is_frozen:
        return False
    world.tell("the executor %s", "is deaf" if executor.is_listening else "hears again")
    is_known = bool(a % 2)
    world.guarded_executor(lambda: executor.listens(not executor.is_listening, is_known=is_known))
    return True


def outage(world: World, a: int, b: int) -> bool:
    """The broker is away for a while: nobody hears anything. All are back, each at its own time."""
    executor = world.executor
    if executor is None or executor.is_frozen:
        return False
    deaf = [worker for worker in world.workers if worker.is_listening and not worker.is_frozen]
    world.tell("the broker is away")
    executor.listens(False, is_known=bool(a % 3))
    for worker in deaf:
        worker.listens(False)
    world.pass_time(LAPSES[a % len(LAPSES)])
    if world.executor is executor:
        world.guarded_executor(lambda: executor.listens(True))
    for worker in deaf:
        world.pass_time(b % 7 * 0.5, delivering=True)
        if worker in world.workers:
            world.guarded(worker, lambda one=worker: one.listens(True))  # type: ignore[misc]
    return True


def kill(world: World, a: int, b: int) -> bool:
    if not world.workers:
        return False
    worker = world.workers[a % len(world.workers)]
    if b % 2 and not worker.is_frozen:
        worker.fuse = b // 2 % 6
        world.tell("%s will be killed soon", worker.boot)
    else:
        world.kill_worker(worker)
    return True


def boot(world: World, a: int, b: int) -> bool:
    there = {worker.machine.name for worker in world.workers}
    machines = [machine for machine in world.setting.machines if machine.name not in there]
    if not machines or world.boots >= MOST_BOOTS * len(world.setting.machines):
        return False
    world.boot(machines[a % len(machines)], says_replaces=b % 3 != 0)
    return True


def freeze(world: World, a: int, b: int) -> bool:
    if not world.workers:
        return False
    worker = world.workers[a % len(world.workers)]
    worker.is_frozen = not worker.is_frozen
    world.tell("%s is %s", worker.boot, "frozen" if worker.is_frozen else "thawed")
    return True


def thaw(world: World, a: int, b: int) -> bool:
    frozen = [worker for worker in world.workers if worker.is_frozen]
    if not frozen:
        return False
    worker = frozen[a % len(frozen)]
    worker.is_frozen = False
    world.tell("%s is thawed", worker.boot)
    return True


def drain(world: World, a: int, b: int) -> bool:
    awake = [worker for worker in world.workers if not worker.is_frozen]
    if not awake:
        return False
    worker = awake[a % len(awake)]
    world.tell("%s goes down", worker.boot)
    world.guarded(worker, lambda: worker.drain((0.0, 3.0, 30.0)[b % 3]))
    return True


def gone(world: World, a: int, b: int) -> bool:
    """The executor is told that a worker's process has ended, which is so."""
    executor = world.executor
    there = {worker.machine.name for worker in world.workers}
    names = [name for name in world.last_boots if name not in there]
    if executor is None or executor.is_frozen or not names:
        return False
    name = names[a % len(names)]
    world.tell("the executor is told that %s has ended", name)
    for boot in world.dead_boots[name]:
        world.promises.gone(boot)
    world.guarded_executor(lambda: executor.gone(name))
    return True


def kill_executor(world: World, a: int, b: int) -> bool:
    executor = world.executor
    if executor is None or world.executors > 2 * MOST_BOOTS:
        return False
    if b % 3 and not executor.is_frozen:
        executor.fuse = b // 3 % 8
        world.tell("the executor will be killed soon")
    else:
        world.kill_executor()
    return True


def freeze_executor(world: World, a: int, b: int) -> bool:
    if world.executor is None:
        return False
    world.executor.is_frozen = not world.executor.is_frozen
    world.tell("the executor is %s", "frozen" if world.executor.is_frozen else "thawed")
    return True


def restart(world: World, a: int, b: int) -> bool:
    if world.executor is not None:
        if world.executor.is_frozen:
            world.executor.is_frozen = False
            return True
        return False
    world.start_executor(fuse=b // 8 % 8 if b % 8 == 0 else None)
    return True


@lru_cache
def _body(uuid: str) -> bytes:
    return messages.encode(Request(TASK, arguments={"n": uuid}))


#: What can happen, each with how often in a walk.
WEIGHTS: Final = {
    "deliver": 50.0,
    "good": 6.0,
    "lapse": 6.0,
    "wait": 8.0,
    "submit": 5.0,
    "cancel": 3.0,
    "turn": 3.0,
    "pool": 12.0,
    "end": 8.0,
    "event": 1.0,
    "deafen": 1.0,
    "deafen_executor": 0.5,
    "outage": 0.5,
    "lose": 6.0,
    "misdeliver": 1.5,
    "kill": 1.8,
    "boot": 4.0,
    "freeze": 1.5,
    "thaw": 3.0,
    "drain": 0.6,
    "gone": 0.6,
    "kill_executor": 1.8,
    "freeze_executor": 0.5,
    "restart": 8.0,
}

STEPS: Final[dict[str, Callable[[World, int, int], bool]]] = {
    word: globals()[word] for word in WEIGHTS
}


def take(world: World, step: Step) -> bool:
    """Take a step; whether there was anything to do."""
    word, a, b = step
    return STEPS[word](world, a, b)
