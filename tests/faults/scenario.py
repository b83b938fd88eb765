"""What a scenario is, and what it plays with.

A scenario is a name, a sentence or two, the brokers it makes sense on, a quick size and a full one,
and a function that gets a :class:`Play`, does the damage and says what it found. The figures that
the table shows are fields of ``play.result``; whatever must hold and is no figure is said with
:meth:`Play.expect`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.faults.batch import Batch
from tests.faults.result import Result
from tests.faults.stage import Stage, wait_for

#: Over which several processes meet; and those of them that are servers.
SHARED: Final = ("local", "redis", "redis-aof", "amqp")
SERVERS: Final = ("redis", "redis-aof", "amqp")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One fault, and how it is brought about."""

    #: F1 to F16.
    code: str
    #: What it is, in a few words.
    name: str
    #: What is done, and what is looked at.
    words: str
    play: Callable[[Play], None]
    brokers: tuple[str, ...]
    #: Numbers by name, for minutes and for the table. ``deadline``: seconds for one play.
    quick: Mapping[str, float]
    full: Mapping[str, float]
    #: Kinds of it, each played by itself; the first one alone in the quick size.
    variants: tuple[str, ...] = ("",)
    #: Kinds that make sense on some of the brokers only.
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def suits(self, variant: str, broker: str) -> bool:
        """Whether this kind makes sense on that broker."""
        return broker in self.only.get(variant, self.brokers)


class Play(Stage):
    """One scenario on one broker with one seed: the stage, the size and the result."""

    def __init__(self, size: Mapping[str, float], result: Result, folder: Path) -> None:
        super().__init__(result.broker, folder)
        self.size = size
        self.result = result
        self.variant = result.variant
        self.seed = result.seed
        self.random = random.Random(result.seed)

    def number(self, name: str) -> int:
        """One of the size's numbers, whole."""
        return int(self.size[name])

    def many(self, name: str) -> int:
        """A number of requests that all go through the broker: a tenth where it fsyncs each."""
        return self.number(name) // (10 if self.broker == "redis-aof" else 1)

    def note(self, **counted: object) -> None:
        """Something else that was counted."""
        self.result.notes.update(counted)

    def expect(self, is_so: bool, otherwise: str) -> None:
        """What must hold; ``otherwise`` says what was found instead."""
        if not is_so:
            self.result.problems.append(otherwise)

    def recovered_in(self, seconds: float | None, within: float | None = None) -> None:
        """Work went on so long after a fault; None: it never did. The longest counts."""
        if seconds is None:
            self.expect(False, "after a fault nothing that was submitted ended any more")
            return
        self.result.recover = max(self.result.recover or 0.0, round(seconds, 2))
        if within is not None:
            self.expect(seconds <= within, f"work went on only after {seconds:.1f} s, not {within}")

    def await_recovery(
        self, batch: Batch, since: float, *, within: float | None = None, patience: float = 40.0
    ) -> None:
        """Until a request has ended that was submitted after that moment, while others are fed."""
        wait_for(lambda: batch.next_whole(since), patience)
        whole = batch.next_whole(since)
        self.recovered_in(None if whole is None else whole - since, within)

    def judge(
        self, batch: Batch, timeout: float, *, again_allowed: int | None = None, fine: str = "right"
    ) -> dict[int, str]:
        """Wait for all of a batch, and fill in what the table shows; returns the ends.

        ``fine``: the ends that are no loss, separated by blanks.
        """
        ends = self.judge_ends(batch, timeout, fine=fine)
        self.judge_again(again_allowed)
        return ends

    def judge_again(self, allowed: int | None) -> None:
        """Fill in how much was executed again so far, of at most so much. Reads all the marks."""
        result = self.result
        result.again, result.again_allowed = self.marks.executed_again(), allowed
        if allowed is not None:
            said = f"{result.again} were executed again, of at most {allowed}"
            self.expect(result.again <= allowed, said)

    def judge_ends(self, batch: Batch, timeout: float, *, fine: str = "right") -> dict[int, str]:
        """Of ``judge`` what does not grow with all that was executed before."""
        batch.wait(timeout)
        ends = batch.ends()
        others = [end for end in ends.values() if end not in fine.split()]
        result = self.result
        result.tasks += len(batch)
        result.lost += sum(end != "wrong" for end in others)
        result.doubled += batch.doubled() + others.count("wrong")
        for end in sorted(set(others)):
            self.expect(False, f"{others.count(end)} of {len(batch)} ended as {end!r}")
        self.expect(batch.doubled() == 0, f"{batch.doubled()} futures were set more than once")
        try:
            self.note(counts=self.counts_of(batch))
        except Exception as error:  # a dead keeper is a finding
            self.expect(False, f"the executor does not answer: {error}")
        return ends

    @staticmethod
    def counts_of(batch: Batch) -> dict[str, int]:
        """What the executor counted."""
        return batch.executor.counts()
