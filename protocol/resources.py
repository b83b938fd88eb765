"""What work needs and what a machine has: cores, memory, disk, accelerators.

Decided here: how an amount of each is written ("4 GiB", ``{"gpu": 1}``), and the arithmetic: if one
amount holds another, what is short, what is left. A core may be taken in thousandths; memory
and disk are bytes; accelerators are counted by kind, whatever a site calls its kinds. Not decided
here: who gets what (``executor.directory``), and what runs (``worker.slots``).

What is needed travels in the header of a REQUEST (``need``), what a worker has in that of its
answers (``node``); both as JSON objects of the fields here, of which those that are 0 are left out.
Pure; any thread.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from protocol.errors import ConfigurationError
from protocol.size import in_words, parse_size
from protocol.values import Json, is_number

#: What is compared, in this order: of several that are short the first is told.
KINDS: Final = ("cores", "memory", "disk")

MAX_CORES: Final = 1_000_000.0
MAX_BYTES: Final = 2**53 - 1
#: Kinds of accelerators in one amount, and how many there may be of each.
MAX_KINDS: Final = 16
MAX_COUNT: Final = 1_000_000
#: Longest wall time, in seconds: ten years, as a time limit.
MAX_WALL_TIME: Final = 315_360_000.0

_KIND: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_DIGITS: Final = 3  # of a core: thousandths


class Shortage(NamedTuple):
    """One resource of which there is too little."""

    #: ``cores``, ``memory``, ``disk``, or the kind of an accelerator.
    resource: str
    requested: float
    available: float

    @property
    def requested_words(self) -> str:
        """``4 cores``, ``2.0 GiB of memory``, ``2 gpu``."""
        return amount_words(self.resource, self.requested)

    @property
    def available_words(self) -> str:
        """The same of what there is."""
        return amount_words(self.resource, self.available)


#: How accelerators may be given.
Accelerators = Mapping[str, int] | Iterable[tuple[str, int]] | str


@dataclass(frozen=True, slots=True, init=False)
class Resources:
    """So much of everything. Raises ``ConfigurationError`` for what is no amount.

    Given as numbers or as people write them: ``Resources(cores=0.5, memory="4 GiB",
    accelerators={"gpu": 1})``; kept as numbers.
    """

    #: Of which a thousandth is the least.
    cores: float
    #: Bytes, both.
    memory: int
    disk: int
    #: ``(kind, count)``, sorted; none that is 0.
    accelerators: tuple[tuple[str, int], ...]

    def __init__(
        self,
        cores: float = 0.0,
        memory: int | str = 0,
        disk: int | str = 0,
        accelerators: Accelerators = (),
    ) -> None:
        _fill(self, "Resources", cores, memory, disk, accelerators)

    def shortage(self, needed: Resources) -> Shortage | None:
        """The first thing of which this has less than is ``needed``; None if it holds all."""
        for name in KINDS:
            here, there = getattr(self, name), getattr(needed, name)
            if there > here:
                return Shortage(name, there, here)
        have = dict(self.accelerators)
        for kind, count in needed.accelerators:
            if count > have.get(kind, 0):
                return Shortage(kind, count, have.get(kind, 0))
        return None

    def holds(self, needed: Resources) -> bool:
        """Whether there is enough of everything."""
        return self.shortage(needed) is None

    def plus(self, other: Resources) -> Resources:
        """Both together."""
        return self._with(other, 1)

    def minus(self, other: Resources) -> Resources:
        """What is left of it; never less than nothing."""
        return self._with(other, -1)

    def _with(self, other: Resources, sign: int) -> Resources:
        if other is NOTHING:
            return self
        counts = dict(self.accelerators)
        for kind, count in other.accelerators:
            counts[kind] = max(0, counts.get(kind, 0) + sign * count)
        return _made(
            round(max(0.0, self.cores + sign * other.cores), _DIGITS),
            max(0, self.memory + sign * other.memory),
            max(0, self.disk + sign * other.disk),
            tuple(sorted((kind, count) for kind, count in counts.items() if count)),
        )

    def to_json(self) -> dict[str, Json]:
        """As it travels."""
        return _to_json(self)

    def __str__(self) -> str:
        parts = [amount_words(name, getattr(self, name)) for name in KINDS if getattr(self, name)]
        parts += [amount_words(kind, count) for kind, count in self.accelerators]
        return ", ".join(parts) or "nothing"


@dataclass(frozen=True, slots=True, init=False)
class Requirements:
    """What one run needs. Raises ``ConfigurationError`` for what cannot be meant.

    It is started only where all of it is free, and keeps it until it ends. ``memory`` is a limit as
    well, unless ``limits_memory`` is False: a run whose processes together take more is ended
    (``MemoryLimitExceeded``). So is
    ``wall_time``, in seconds (``TimeLimitExceeded``), unless a ``time_limit`` is said, which goes
    first. ``preemptible``: it may run where it can be interrupted at any time; otherwise it never
    does.
    """

    cores: float
    memory: int
    disk: int
    accelerators: tuple[tuple[str, int], ...]
    preemptible: bool
    wall_time: float | None
    limits_memory: bool

    def __init__(
        self,
        cores: float = 0.0,
        memory: int | str = 0,
        disk: int | str = 0,
        accelerators: Accelerators = (),
        preemptible: bool = False,
        wall_time: float | None = None,
        limits_memory: bool = True,
    ) -> None:
        _fill(self, "Requirements", cores, memory, disk, accelerators)
        for name, flag in (("preemptible", preemptible), ("limits_memory", limits_memory)):
            if not isinstance(flag, bool):
                raise ConfigurationError(
                    f"Requirements({name}={flag!r}): True if it may run where it can be "
                    "interrupted, or if it is to be ended when it takes more memory; else False"
                )
        if wall_time is not None and not (
            is_number(wall_time) and 0.001 <= wall_time <= MAX_WALL_TIME
        ):
            raise ConfigurationError(
                f"Requirements(wall_time={wall_time!r}): seconds, from 0.001 to "
                f"{MAX_WALL_TIME:.0f} (ten years)"
            )
        object.__setattr__(self, "preemptible", preemptible)
        object.__setattr__(self, "wall_time", wall_time)
        object.__setattr__(self, "limits_memory", limits_memory)

    @property
    def amount(self) -> Resources:
        """All of it that is taken while it runs."""
        return _made(self.cores, self.memory, self.disk, self.accelerators)

    def to_json(self) -> dict[str, Json]:
        """As it travels: without the wall time, which is a time limit there."""
        written = _to_json(self)
        if self.preemptible:
            written["preemptible"] = True
        if not self.limits_memory:
            written["limits_memory"] = False
        return written


def parse_requirements(where: str, given: object) -> Requirements | None:
    """What is meant by a :class:`Requirements`, or a mapping of its fields; None for None.

    ``where`` it was given, for the error. Raises ``ConfigurationError``.
    """
    if given is None or isinstance(given, Requirements):
        return given
    if isinstance(given, Mapping):
        try:
            return Requirements(**given)
        except TypeError:
            unknown = sorted(set(map(str, given)) - set(Requirements.__slots__))
            raise ConfigurationError(
                f"{where}: resources={dict(given)!r}: {', '.join(unknown)} is none of "
                f"{', '.join(Requirements.__slots__)}"
            ) from None
    raise ConfigurationError(
        f"{where}: resources={given!r}: give Requirements(cores=…, memory=…), or a dict of the same"
    )


def requirements_from_json(written: Json) -> Requirements | None:
    """What :meth:`Requirements.to_json` wrote; None for nothing, or what a later version wrote."""
    if not isinstance(written, Mapping):
        return None
    known = {name: written[name] for name in _WRITTEN if name in written}
    try:
        return Requirements(**known)
    except ConfigurationError:
        return None


def resources_from_json(written: Json) -> Resources | None:
    """What :meth:`Resources.to_json` wrote; None for anything else."""
    if not isinstance(written, Mapping):
        return None
    known = {name: written[name] for name in Resources.__slots__ if name in written}
    try:
        return Resources(**known)
    except ConfigurationError:
        return None


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What a worker tells of its machine, in each answer to a question."""

    #: The machine's name; workers of one machine say the same.
    node: str
    #: All that this worker may give to what runs here.
    have: Resources
    #: Whether it can be taken away at any time.
    preemptible: bool = False
    #: What is left for the executor it is told to, if that had nothing here; None: not told.
    free: Resources | None = None
    #: Requests held here that have not ended, of all executors; None: not told.
    busy: int | None = None
    #: The parts of the machine's cores, and of its memory, that are in use, 0 to 1; None: unknown.
    cores_used: float | None = None
    memory_used: float | None = None

    def to_json(self) -> dict[str, Json]:
        """As it travels."""
        written: dict[str, Json] = {"node": self.node, "have": self.have.to_json()}
        if self.preemptible:
            written["preemptible"] = True
        if self.free is not None:
            written["free"] = self.free.to_json()
        for name in ("busy", "cores_used", "memory_used"):
            value = getattr(self, name)
            if value is not None:
                written[name] = round(value, _DIGITS)
        return written


def report_from_json(written: Json) -> NodeReport | None:
    """What :meth:`NodeReport.to_json` wrote; None for anything else."""
    if not isinstance(written, Mapping):
        return None
    node, have = written.get("node"), resources_from_json(written.get("have"))
    if not isinstance(node, str) or have is None:
        return None
    return NodeReport(
        node,
        have,
        preemptible=written.get("preemptible") is True,
        free=resources_from_json(written.get("free")),
        busy=_number(written.get("busy"), int),
        cores_used=_number(written.get("cores_used"), float),
        memory_used=_number(written.get("memory_used"), float),
    )


def amount_words(resource: str, amount: float) -> str:
    """``0.5 cores``, ``2.0 GiB of memory``, ``no disk``, ``2 gpu``."""
    if resource == "cores":
        return "1 core" if amount == 1 else f"{amount:g} cores"
    if resource in KINDS:
        return f"{in_words(int(amount))} of {resource}" if amount else f"no {resource}"
    return f"{amount:g} {resource}" if amount else f"no {resource}"


def parse_accelerators(where: str, given: object) -> tuple[tuple[str, int], ...]:
    """What is meant by ``{"gpu": 2}``, pairs of the same, or ``"gpu=2,tpu"``; sorted, none of 0.

    Raises ``ConfigurationError``.
    """
    pairs: Any = given
    if isinstance(given, str):
        words = [word.strip() for word in given.split(",") if word.strip()]
        pairs = [(kind, count or "1") for kind, _, count in (w.partition("=") for w in words)]
        pairs = [(kind, int(n) if n.isascii() and n.isdigit() else n) for kind, n in pairs]
    elif isinstance(given, Mapping):
        pairs = list(given.items())
    try:
        found = [(kind, count) for kind, count in pairs]
    except (TypeError, ValueError):
        found = [(given, None)]
    counts: dict[str, int] = {}
    for kind, count in found:
        is_kind = isinstance(kind, str) and _KIND.fullmatch(kind) is not None and kind not in KINDS
        if not is_kind or type(count) is not int or not 0 <= count <= MAX_COUNT:
            raise ConfigurationError(
                f"{where}: accelerators={given!r}: how many of which kind, as {{'gpu': 2}}: a kind "
                "is up to 32 letters, digits, dots, dashes or underscores"
            )
        counts[kind] = counts.get(kind, 0) + count
    if len(counts) > MAX_KINDS:
        raise ConfigurationError(f"{where}: accelerators of {len(counts)} > {MAX_KINDS} kinds")
    return tuple(sorted((kind, count) for kind, count in counts.items() if count))


_WRITTEN: Final = ("cores", "memory", "disk", "accelerators", "preemptible", "limits_memory")


def _fill(
    amount: Resources | Requirements,
    where: str,
    cores: float,
    memory: int | str,
    disk: int | str,
    accelerators: Accelerators,
) -> None:
    """Put in what was given, as numbers."""
    if not is_number(cores) or not 0 <= cores <= MAX_CORES:
        raise ConfigurationError(
            f"{where}(cores={cores!r}): a number of cores, 0 or more; 0.5 is half of one"
        )
    if 0 < cores < 10**-_DIGITS:
        raise ConfigurationError(f"{where}(cores={cores!r}): a thousandth of a core is the least")
    object.__setattr__(amount, "cores", round(float(cores), _DIGITS))
    for name, given in (("memory", memory), ("disk", disk)):
        size = parse_size(f"{where}({name}=…)", given)
        if size > MAX_BYTES:
            raise ConfigurationError(f"{where}({name}={given!r}): more than 8 PiB")
        object.__setattr__(amount, name, size)
    found = parse_accelerators(where, accelerators) if accelerators != () else ()
    object.__setattr__(amount, "accelerators", found)


def _made(
    cores: float, memory: int, disk: int, accelerators: tuple[tuple[str, int], ...]
) -> Resources:
    """Of numbers that were looked at before: sums are made for each worker that is asked."""
    made = object.__new__(Resources)
    fields = (("cores", cores), ("memory", memory), ("disk", disk), ("accelerators", accelerators))
    for name, value in fields:
        object.__setattr__(made, name, value)
    return made


def _to_json(amount: Resources | Requirements) -> dict[str, Json]:
    written: dict[str, Json] = {}
    for name in KINDS:
        if value := getattr(amount, name):
            written[name] = int(value) if value == int(value) else value
    if amount.accelerators:
        written["accelerators"] = dict(amount.accelerators)
    return written


def _number(value: object, kind: type) -> Any:
    return kind(value) if is_number(value) else None


#: Of everything none.
NOTHING: Final = Resources()
