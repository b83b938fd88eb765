"""An executor killed at every line it writes, every message it sends and every end it tells.

The same errands each time, with one thing more done before the kill, until nothing is left to be
killed in; then the next process takes up the journal and goes on with the errands. The promises are
checked in every step: nothing is lost, nothing a digest or a result confirmed is sent again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from executor.request import Order
from protocol import messages
from protocol.messages import Request
from tests.joint.channel import TOPIC
from tests.joint.promises import outcome_of
from tests.joint.scene import Scene
from tests.joint.worker import TASK
from tests.joint.world import World
from worker.work import End

#: uuid, how often it may start, seconds to expiry.
REQUESTS = (
    ("good", "alo", None),
    ("crash", "alo", None),
    ("force", "alo", None),
    ("once", "amo", None),
    ("waits", "alo", None),
    ("late", "alo", 0.5),
)


def errands() -> list[Callable[[World], None]]:
    """One after the other, whoever is there to run them."""
    return [
        *(submit(*request) for request in REQUESTS),
        let(0.1),
        cancel("waits"),  # there is no slot for it
        let(2.0),  # nor in time for another
        end("good", "done"),
        let(0.1),
        end("crash", "crash"),
        let(1.5),
        submit("cancel", "alo", None),
        cancel("force", force=True),
        let(0.1),
        end("force", "stopped"),
        answers_arrive,  # and it is sent
        cancel("cancel"),
        let(2.5),
        end("once", "done"),
        let(6.0),
    ]


def submit(uuid: str, mode: str, timeout: float | None) -> Callable[[World], None]:
    body = messages.encode(Request(TASK, arguments={"n": uuid}))
    order = Order(uuid, TASK, body, (TOPIC,), timeout=timeout, mode=mode)  # type: ignore[arg-type]

    def act(world: World) -> None:
        executor = world.executor
        assert executor is not None
        world.requests += 1
        world.guarded_executor(lambda: executor.submit(order))

    return act


def cancel(uuid: str, *, force: bool = False) -> Callable[[World], None]:
    def act(world: World) -> None:
        executor = world.executor
        assert executor is not None
        if uuid in executor.futures:  # else it was killed before it had taken it
            world.guarded_executor(lambda: executor.cancel(uuid, force))

    return act


def end(uuid: str, how: End) -> Callable[[World], None]:
    def act(world: World) -> None:
        for worker, run in world.runs():
            if run.uuid == uuid:
                world.guarded(worker, lambda w=worker, r=run: w.end(r, how))  # type: ignore[misc]

    return act


def answers_arrive(world: World) -> None:
    """What is for the executor, and nothing that comes of it."""
    for letter in [one for one in world.channel.letters if one.side == "executor"]:
        if (reader := world.readers().get(letter.to)) is not None:
            world.channel.letters.remove(letter)
            world.hand_over([letter], reader)


def let(seconds: float) -> Callable[[World], None]:
    def act(world: World) -> None:
        if world.executor is not None and world.executor.mailbox:
            world.guarded_executor(world.executor.turn)
        world.pass_time(seconds, delivering=True)

    return act


def run(*dooms: int) -> tuple[Scene, int]:
    """The scene when all is at rest, each process having lived to do so many things; and how many
    the last of them had done when the errands were done.
    """
    scene = Scene(workers=1, slots=3)
    world = scene.world
    left = list(dooms)
    before = scene.executor.done

    def doom() -> None:
        assert world.executor is not None
        if left:
            world.executor.doom = world.executor.done + left.pop(0)

    doom()
    for errand in errands():
        if world.executor is None:
            world.start_executor()
            doom()
        errand(world)
    done = world.executor.done - before if world.executor else 0
    world.calm_down(0)
    return scene, done


def ends(scene: Scene) -> dict[str, str]:
    """What the journal says each request came to."""
    assert scene.world.journal is not None
    requests = scene.world.journal.folded().requests
    assert set(scene.world.promises.taken) <= set(requests)
    assert scene.world.promises.starts["once"] <= 1
    return {
        uuid: outcome_of(status.ended).split()[0]
        for uuid, status in requests.items()
        if status.ended is not None
    }


def test_undisturbed_each_comes_to_the_end_it_should() -> None:
    scene, done = run()
    assert done > 40
    assert ends(scene) == {
        "good": "success",
        "crash": "success",  # the second run of it
        "once": "success",
        "late": "RequestTimeout",
        "waits": "cancelled",
        "cancel": "cancelled",
        "force": "TaskCancelled",
    }


def test_killed_at_any_line_message_or_end_it_loses_nothing() -> None:
    _, done = run()
    came_to = Counter[tuple[str, str]]()
    for doom in range(done):
        scene, _ = run(doom)
        assert scene.world.executors == 2, f"it was not killed after {doom}"
        came_to.update(ends(scene).items())
    assert came_to["once", "success"] > 0.9 * done
    assert came_to["crash", "success"] > 0.9 * done


@pytest.mark.slow
def test_killed_twice_it_loses_nothing_either() -> None:
    _, done = run()
    for doom in range(0, done, 3):
        for again in range(1, 40, 3):
            scene, _ = run(doom, again)
            assert scene.world.executors >= 2
            ends(scene)
