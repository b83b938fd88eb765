"""Walks, counted: ``python -m tests.joint --walks 1000000 --seed 1``.

The exit status is 1 if one of them breaks a promise, which is then told in as few steps as it
takes. ``--number N`` takes that one walk and tells its story.

What was walked through is named by a hash of its code: walks of other seeds can be added to these
as long as that is the same.
"""

from __future__ import annotations

import argparse
import configparser
import gc
import hashlib
import json
import multiprocessing
import os
import sys
import time
from itertools import count
from pathlib import Path

from tests.joint.promises import PROMISES
from tests.joint.walker import Found, Taken, drawn, search, shrunk, told

#: Walks that one process takes before it says how far it is.
CHUNK = 2000
#: Walks after which what they left behind is collected.
SWEEP = 100
#: Between the first walks of two seeds.
SEED = 1_000_000_000
#: What decides and is not in the list of pure rooms, because it holds a lock or an event.
_ALSO = ("executor.future", "executor.turn", "executor.outcomes")


def main() -> int:
    """Walk."""
    parser = argparse.ArgumentParser(prog="python -m tests.joint", description=__doc__)
    parser.add_argument("--walks", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--number", type=int, help="tell the story of this one walk")
    parser.add_argument("--whole", action="store_true", help="with all of its steps")
    parser.add_argument(
        "--hunt", type=float, help="for so many seconds of the processor; answers in JSON"
    )
    options = parser.parse_args()
    if options.number is not None:
        return _one(options.number, whole=options.whole)
    if options.hunt is not None:
        return _hunt(options.seed, options.hunt)
    return _walks(options.walks, options.seed, options.jobs)


def _one(number: int, *, whole: bool) -> int:
    found = search([number], Taken())
    if found is None or whole:
        print(told(drawn(number)))
    else:
        _report(found)
    return int(found is not None)


def _hunt(seed: int, seconds: float) -> int:
    taken = Taken()
    found = search(count(seed * SEED), taken, seconds)
    said: dict[str, object] = {
        "walks": taken.walks,
        "promise": None if found is None else found.broken.promise,
    }
    if found is not None:
        said |= {"seconds": found.after, "found": found.broken.found, "number": found.number}
    print(json.dumps(said))
    return int(found is not None)


def _chunk(numbers: range) -> tuple[Taken, Found | None]:
    taken = Taken()
    gc.disable()  # worlds are rings: they are taken away together, and not looked through in use
    for at in range(0, len(numbers), SWEEP):
        found = search(numbers[at : at + SWEEP], taken)
        gc.collect()
        if found is not None:
            return taken, found
    return taken, None


def _walks(walks: int, seed: int, jobs: int) -> int:
    first = seed * SEED
    chunks = [range(n, min(n + CHUNK, first + walks)) for n in range(first, first + walks, CHUNK)]
    total = Taken()
    began = said = time.monotonic()
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        for taken, found in pool.imap_unordered(_chunk, chunks):
            total.add(taken)
            now = time.monotonic()
            if found is not None:
                print(_figures(total, now - began))
                _report(found)
                pool.terminate()
                return 1
            if now - said > 60.0:
                said = now
                print(_figures(total, now - began), file=sys.stderr, flush=True)
    print(_figures(total, time.monotonic() - began))
    print("steps:", dict(total.words.most_common()))
    print("ends:", dict(total.outcomes.most_common()))
    print("violations: 0 of", ", ".join(PROMISES), "in rooms", rooms())
    return 0


def rooms() -> str:
    """The hash of the code that is walked through: protocol's, and that of the rooms that decide.

    Of what is loaded here; the contract that keeps those rooms pure, in ``setup.cfg``, names them.
    """
    root = Path(__file__).parents[2]
    config = configparser.ConfigParser()
    config.read(root / "setup.cfg", encoding="utf-8")
    listed = config["importlinter:contract:decisions"]["source_modules"].split()
    names = [name for name in sys.modules if name.startswith("protocol.") or name in listed]
    digest = hashlib.sha256()
    for name in sorted({*names, *_ALSO}):
        file = sys.modules[name].__file__
        assert file is not None
        digest.update(name.encode() + b"\0" + Path(file).read_bytes())
    return digest.hexdigest()[:12]


def _figures(total: Taken, seconds: float) -> str:
    return (
        f"{total.walks} walks, {total.steps} steps, {total.messages} messages, "
        f"{total.requests} requests, {total.runs} runs in {seconds:.1f} s: "
        f"{total.walks / seconds:.0f} walks/s, {total.steps / seconds:.0f} steps/s; "
        f"longest calm {total.longest_calm:.1f} s"
    )


def _report(found: Found) -> None:
    few = shrunk(found.walk, found.broken.promise)
    print(f"walk {found.number} breaks a promise; {len(few.steps)} of its steps are enough:")
    print(told(few))
    print("setting:", few.setting, "tight" if few.is_tight else "", "calm", few.calm)
    print("steps:", list(few.steps))


if __name__ == "__main__":
    sys.exit(main())
