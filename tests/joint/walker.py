"""Walks through the joint world at random: seeded, counted, shrunk when a promise breaks.

A walk is a setting and a list of steps. The walker draws both from a number, so a walk can be taken
again by its number alone; a walk that breaks a promise is taken again with ever fewer steps, until
none can be left out.
"""

from __future__ import annotations

import random
import time
from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from tests.joint.bounds import bounded
from tests.joint.promises import Broken
from tests.joint.remembered import remembering
from tests.joint.steps import WEIGHTS, Step
from tests.joint.steps import take as step_taken
from tests.joint.worker import Machine
from tests.joint.world import Setting, World

#: Most steps in a walk.
MOST_STEPS: Final = 120
_WORDS: Final = tuple(WEIGHTS)
#: What some walks have more of, so that they get further that way.
_MOODS: Final[tuple[dict[str, float], ...]] = (
    {},
    {"kill": 0.0, "kill_executor": 0.0, "freeze": 0.0, "drain": 0.0, "misdeliver": 0.0},
    {"kill_executor": 6.0, "kill": 0.3},
    {"kill": 5.0, "boot": 8.0, "kill_executor": 0.3},
    {"freeze": 5.0, "thaw": 8.0, "lapse": 10.0},
    {"good": 30.0, "cancel": 6.0},
    {"lose": 25.0, "good": 10.0},
    {"cancel": 12.0, "submit": 10.0},
    {"submit": 30.0, "end": 30.0, "good": 15.0, "kill": 1.0, "freeze": 1.0},
)
_WEIGHTED: Final = tuple(tuple(accumulate({**WEIGHTS, **mood}.values())) for mood in _MOODS)


@dataclass(frozen=True, slots=True)
class Walk:
    """What is drawn from a number."""

    setting: Setting
    steps: tuple[Step, ...]
    #: Whether the shift's stores are small enough to be full.
    is_tight: bool
    #: What is left when the faults stop; see ``World.calm_down``.
    calm: int


def drawn(number: int) -> Walk:
    """The walk of this number."""
    draw = random.Random(number)
    machines = tuple(
        Machine(
            name=f"w{n}",
            ahead=draw.choice((0.0, 1000.0, 3e6)),
            rate=draw.choice((1.0, 1.0, 1.0, 0.9902, 1.0099)),
            slots=draw.choice((1, 1, 2)),
            beat=draw.choice((5.0, 5.0, 5.0, 5.0, 1.0, 20.0)),
            can_stop=draw.random() < 0.8,
            is_prompt=draw.random() < 0.3,
        )
        for n in range(draw.choice((1, 2, 2, 2, 3)))
    )
    requests = 40 if draw.random() < 0.1 else 6
    setting = Setting(machines, draw.random() < 0.8, number, requests)
    cumulative = draw.choice(_WEIGHTED)
    top = cumulative[-1]
    steps = tuple(
        (
            _WORDS[bisect(cumulative, draw.random() * top)],
            draw.getrandbits(16),
            draw.getrandbits(16),
        )
        for _ in range(draw.randrange(20, MOST_STEPS))
    )
    return Walk(
        setting,
        (("submit", 0, draw.getrandbits(8)), *steps),
        draw.random() < 0.3,
        draw.getrandbits(6),
    )


@dataclass(slots=True)
class Taken:
    """What walks came to."""

    walks: int = 0
    #: Steps in which something happened.
    steps: int = 0
    #: Messages that arrived or were woken for… all inputs of the two rooms.
    words: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    runs: int = 0
    requests: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    #: Longest time until everything had ended once the faults had stopped, in seconds.
    longest_calm: float = 0.0

    def add(self, other: Taken) -> None:
        """Together."""
        self.walks += other.walks
        self.steps += other.steps
        self.messages += other.messages
        self.runs += other.runs
        self.requests += other.requests
        self.words += other.words
        self.outcomes += other.outcomes
        self.longest_calm = max(self.longest_calm, other.longest_calm)


def take(walk: Walk, taken: Taken | None = None, story: list[str] | None = None) -> None:
    """Walk it. Raises ``Broken``."""
    with bounded(walk.is_tight), remembering():
        world = World(walk.setting, story)
        words = [step[0] for step in walk.steps if step_taken(world, step)]
        calm = world.calm_down(walk.calm)
    if taken is not None:
        taken.walks += 1
        taken.steps += len(words)
        taken.words.update(words)
        taken.messages += world.channel.sent
        taken.runs += world.runs_begun
        taken.requests += world.requests
        taken.outcomes.update(
            f"{world.promises.modes[uuid]} {outcome.split()[0]}"
            for uuid, outcome in world.promises.seen.items()
        )
        taken.longest_calm = max(taken.longest_calm, calm)


@dataclass(frozen=True, slots=True)
class Found:
    """A walk that broke a promise."""

    number: int
    broken: Broken
    walk: Walk
    after: float


def search(numbers: Iterable[int], taken: Taken, seconds: float | None = None) -> Found | None:
    """The first of these walks that breaks a promise, if any does in so much processor time."""
    began = time.process_time()
    for number in numbers:
        walk = drawn(number)
        try:
            take(walk, taken)
        except Broken as broken:
            return Found(number, broken, walk, time.process_time() - began)
        if seconds is not None and time.process_time() - began > seconds:
            return None
    return None


def shrunk(walk: Walk, promise: str, seconds: float = 60.0) -> Walk:
    """As few of its steps as still break the same promise: none of those left can be left out."""
    until = time.process_time() + seconds
    steps = list(walk.steps)
    size = max(1, len(steps) // 2)
    while time.process_time() < until:
        at = 0
        left_out = False
        while at < len(steps) and time.process_time() < until:
            fewer = steps[:at] + steps[at + size :]
            if _breaks(walk, fewer, promise):
                steps = fewer
                left_out = True
            else:
                at += size
        if size > 1:
            size //= 2
        elif not left_out:
            break
    return Walk(walk.setting, tuple(steps), walk.is_tight, walk.calm)


def _breaks(walk: Walk, steps: Sequence[Step], promise: str) -> bool:
    try:
        take(Walk(walk.setting, tuple(steps), walk.is_tight, walk.calm))
    except Broken as broken:
        return broken.promise == promise
    return False


def told(walk: Walk) -> str:
    """The walk as a story, to its bitter end."""
    story: list[str] = []
    try:
        take(walk, story=story)
    except Broken as broken:
        story.append(str(broken))
    return "\n".join(story)
