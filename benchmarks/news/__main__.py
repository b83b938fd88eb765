"""How fast our bus and Toil's file format are, beside ``toil.bus``: ``python -m benchmarks.news``.

Stands alone: it needs this checkout and, for the comparison, Toil (the extra ``toil``). No broker,
no server, a few seconds to a minute.

Everything is measured in one process and one run. In each round every contender does the same work
once, in an order that turns from round to round; of each the best round counts, because whatever
else the machine does only ever adds to it. Both clocks are shown: on a busy machine the seconds of
CPU are the ones to compare.

Toil's bus and ``bus.news.toil`` get the same messages. The third column is ``bus.news`` itself with
our events: its file is a journal, in which each line has a number, a stamp and a checksum.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from bus.news import Bus, Journal, read, record
from bus.news import toil as ours
from protocol.history import Entry, History
from protocol.jobs import JobCompleted, JobIssued, JobPlaced, JobUpdated, QueueSize

#: What is aimed at, as times Toil's own speed.
TARGETS: Final = {"one subscriber": 2.0, "file": 1.5, "file, grouped": 5.0, "replay": 2.0}

Work = Callable[[], object]


@dataclass(slots=True)
class Best:
    """Of all rounds."""

    wall: float = float("inf")  # seconds
    cpu: float = float("inf")


class Toilish:
    """``toil.bus``, or what has its names."""

    def __init__(self, module: ModuleType, folder: Path, count: int, *, can_group: bool) -> None:
        self._module = module
        self._path = str(folder / f"{module.__name__}.messages")
        self._count = count
        self._can_group = can_group
        self._message = module.JobIssuedMessage("align reads", "kind-align/instance-1", 17)
        self._life = str(folder / f"{module.__name__}.life")
        bus = module.MessageBus()
        output = bus.connect_output_file(self._life)
        for number in range(count // 5):
            job = f"kind-align/instance-{number}"
            bus.publish(module.JobIssuedMessage("align reads", job, number))
            bus.publish(module.ExternalBatchIdMessage(number, str(number + 4711), "Slurm"))
            bus.publish(module.JobCompletedMessage("align reads", job, 0))
            bus.publish(module.JobUpdatedMessage(job, 0))
            bus.publish(module.QueueSizeMessage(number))
        del output

    def works(self) -> dict[str, Work | None]:
        """By what is measured; each does it as often as was asked for."""
        return {
            "no subscriber": self._publish_to(lambda bus: None),
            "one subscriber": self._publish_to(self._subscribe),
            "inbox": self._inbox,
            "from another thread": self._from_another_thread,
            "file": self._publish_to(lambda bus: bus.connect_output_file(self._path)),
            "file, grouped": self._publish_to(
                lambda bus: bus.connect_output_file(self._path, grouped=True)
            )
            if self._can_group
            else None,
            "scan": self._scan,
            "replay": lambda: self._module.replay_message_bus(self._life),
        }

    def _subscribe(self, bus: Any) -> None:
        got: list[Any] = []
        bus.subscribe(type(self._message), got.append)

    def _publish_to(self, connect: Callable[[Any], object]) -> Work:
        def work() -> None:
            bus = self._module.MessageBus()
            kept = connect(bus)
            publish, message = bus.publish, self._message
            for _ in range(self._count):
                publish(message)
            del kept

        return work

    def _inbox(self) -> None:
        bus = self._module.MessageBus()
        kind = type(self._message)
        box = bus.connect([kind])
        for _ in range(self._count // 100):
            for _ in range(100):
                bus.publish(self._message)
            for _ in box.for_each(kind):
                pass

    def _from_another_thread(self) -> None:
        bus = self._module.MessageBus()
        self._subscribe(bus)
        _elsewhere(bus, self._message, self._count)

    def _scan(self) -> None:
        module = self._module
        kinds = [module.JobIssuedMessage, module.JobCompletedMessage, module.JobUpdatedMessage]
        with Path(self._life).open("rb") as stream:
            for _ in module.MessageBus.scan_bus_messages(stream, kinds):
                pass


class Own:
    """``bus.news`` with our events."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._count = count
        self._number = 0
        self._event = JobIssued("kind-align/instance-1", "align reads", 17)
        self._life = folder / "life.journal"
        bus = Bus()
        with Journal(self._life, "bench") as journal, record(bus, journal, grouped=True):
            for number in range(count // 5):
                job = f"kind-align/instance-{number}"
                bus.publish(JobIssued(job, "align reads", number))
                bus.publish(JobPlaced(number, str(number + 4711), "Slurm"))
                bus.publish(JobCompleted(job, "align reads", 0))
                bus.publish(JobUpdated(job, 0))
                bus.publish(QueueSize(number))

    def works(self) -> dict[str, Work | None]:
        """As above."""
        return {
            "no subscriber": lambda: self._publish(Bus()),
            "one subscriber": self._one_subscriber,
            "inbox": self._inbox,
            "from another thread": self._from_another_thread,
            "file": lambda: self._to_journal(grouped=False),
            "file, grouped": lambda: self._to_journal(grouped=True),
            "scan": self._scan,
            "replay": self._replay,
        }

    def _publish(self, bus: Bus) -> None:
        publish, event = bus.publish, self._event
        for _ in range(self._count):
            publish(event)

    def _one_subscriber(self) -> None:
        bus = Bus()
        got: list[JobIssued] = []
        bus.subscribe(JobIssued, got.append)
        self._publish(bus)

    def _inbox(self) -> None:
        bus = Bus()
        box = bus.connect([JobIssued])
        for _ in range(self._count // 100):
            for _ in range(100):
                bus.publish(self._event)
            for _ in box.for_each(JobIssued):
                pass

    def _from_another_thread(self) -> None:
        bus = Bus()
        got: list[JobIssued] = []
        bus.subscribe(JobIssued, got.append)
        _elsewhere(bus, self._event, self._count)

    def _to_journal(self, *, grouped: bool) -> None:
        self._number += 1
        bus = Bus()
        path = self._folder / f"{self._number}.journal"
        with Journal(path, "bench") as journal, record(bus, journal, grouped=grouped):
            self._publish(bus)
        path.unlink()

    def _scan(self) -> None:
        for _ in read(self._life):
            pass

    def _replay(self) -> None:
        history = History()
        for found in read(self._life):
            if isinstance(found, Entry):
                history.apply(found)


def _elsewhere(bus: Any, message: object, count: int) -> None:
    """Published there, delivered here."""

    def publish() -> None:
        for _ in range(count):
            bus.publish(message)

    thread = threading.Thread(target=publish)
    thread.start()
    thread.join()
    bus.check()


def measure(
    contenders: dict[str, dict[str, Work | None]], rounds: int
) -> dict[str, dict[str, Best]]:
    """``{what: {contender: best}}``."""
    found: dict[str, dict[str, Best]] = {}
    names = list(contenders)
    for what in contenders[names[0]]:
        found[what] = {name: Best() for name in names if contenders[name][what] is not None}
        for turn in range(rounds):
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                work = contenders[name][what]
                if work is None:
                    continue
                wall, cpu = time.perf_counter(), time.process_time()
                work()
                best = found[what][name]
                best.wall = min(best.wall, time.perf_counter() - wall)
                best.cpu = min(best.cpu, time.process_time() - cpu)
    return found


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.news", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="messages; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print one object")
    options = parser.parse_args()
    try:
        theirs: ModuleType | None = importlib.import_module("toil.bus")
    except ModuleNotFoundError:
        theirs = None
    with tempfile.TemporaryDirectory() as name:
        folder, count = Path(name), options.count
        contenders = {
            "bus.news.toil": Toilish(ours, folder, count, can_group=True).works(),
            "bus.news": Own(folder, count).works(),
        }
        if theirs is not None:
            contenders = {
                "toil.bus": Toilish(theirs, folder, count, can_group=False).works(),
                **contenders,
            }
        found = measure(contenders, options.rounds)
    if options.json:
        print(json.dumps(_as_json(found, options.count)))
    else:
        _show(found, options.count)
        if theirs is None:
            print("Toil is not installed: nothing to compare with", file=sys.stderr)
    return 0


def ratio(found: dict[str, dict[str, Best]], what: str) -> float | None:
    """How many times as fast as Toil's bus ``bus.news.toil`` is, by CPU; None: not measured.

    Toil's has no grouped file, so that is compared with the one it has.
    """
    theirs = found[what].get("toil.bus")
    if theirs is None and what == "file, grouped":
        theirs = found["file"].get("toil.bus")
    return None if theirs is None else theirs.cpu / found[what]["bus.news.toil"].cpu


def _show(found: dict[str, dict[str, Best]], count: int) -> None:
    print(f"{count} messages, Python {platform.python_version()}; µs each by CPU (by the clock)")
    names = list(dict.fromkeys(name for each in found.values() for name in each))
    print(f"{'':<20}" + "".join(f"{name:>18}" for name in names) + f"{'times toil.bus':>16}")
    for what, each in found.items():
        line = f"{what:<20}"
        for name in names:
            best = each.get(name)
            cell = "" if best is None else f"{_us(best.cpu, count)} ({_us(best.wall, count)})"
            line += f"{cell:>18}"
        times = ratio(found, what)
        if times is not None:
            wanted = TARGETS.get(what)
            line += f"{times:>16.1f}" + (f"  (at least {wanted:g})" if wanted else "")
        print(line)


def _us(seconds: float, count: int) -> str:
    return f"{seconds / count * 1e6:.2f}"


def _as_json(found: dict[str, dict[str, Best]], count: int) -> dict[str, Any]:
    return {
        "count": count,
        "python": platform.python_version(),
        "seconds": {
            what: {name: {"cpu": best.cpu, "wall": best.wall} for name, best in each.items()}
            for what, each in found.items()
        },
        "times_toil": {what: ratio(found, what) for what in found},
        "targets": TARGETS,
    }


if __name__ == "__main__":
    sys.exit(main())
