"""``Peer``: one system under measurement, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.ground import Ground


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to run it."""

    #: ``default``, ``best``, or a word of its own.
    name: str
    #: What differs from an installation that was not touched, for the page.
    words: str


@dataclass(frozen=True, slots=True)
class Peer:
    """A system, or a ceiling."""

    #: As in file names.
    name: str
    #: ``ours``, a ``peer``, or a ``ceiling``: what a program reaches that does nothing else.
    kind: Literal["ours", "peer", "ceiling"]
    #: The module that speaks to it: ``connect(ground)``, and on ``memory`` ``serve(ground)``.
    app: str
    #: ``{broker: its settings}``; the first is the one that is taken where only one is.
    settings: Mapping[str, Sequence[Setting]]
    #: The command that starts the worker of a number, from 0. It is started in an empty folder,
    #: with the ground in its environment.
    worker: Callable[[Ground, int], list[str]]
    #: Distributions whose versions matter.
    packages: Sequence[str]
    #: Whether results return through Redis although tasks travel over RabbitMQ.
    needs_redis: bool = False
