"""Works that are handed over ahead: whatever happens, none begins twice, and none is lost."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.samples.inbox import Inbox, work
from worker.pool.processes import ProcessesPool
from worker.work import Ended, Report, Returned, Started

#: Notes that it runs, in one piece; some take longer, and some end their process.
TASKS = """
import os, time

def note(path, key, seconds=0.0, dies=False):
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, b"%d %d\\n" % (key, os.getpid()))
    os.close(file)
    if seconds:
        time.sleep(seconds)
    if dies:
        os._exit(9)
    return key
"""
WORKS = 600


def ends_of(reports: list[Report]) -> Counter[int]:
    """How often it was told what became of each work."""
    return Counter(one.key for one in reports if isinstance(one, (Ended, Returned)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_each_begins_once_at_most_and_is_told_of_once_whatever_happens(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hosts die and are killed, works are taken back, ended, and over their limit, at random."""
    draw = random.Random(seed)
    (tmp_path / "noting.py").write_text(TASKS)
    monkeypatch.syspath_prepend(str(tmp_path))
    notes = tmp_path / "notes"
    pool, inbox = ProcessesPool(["noting"], 2), Inbox()
    pool.start(inbox)
    keys = range(1, WORKS + 1)
    try:
        handed = 0
        while handed < WORKS:
            many = draw.choice((1, 2, 30, 100))
            some = keys[handed : handed + many]
            handed += len(some)
            works = []
            for key in some:
                chance = draw.random()
                arguments = {
                    "seconds": 0.02 if chance < 0.02 else 0.0,
                    "dies": 0.02 <= chance < 0.025,
                }
                limit = 0.01 if 0.01 < chance < 0.015 else None
                works.append(
                    work(
                        key,
                        "noting.note",
                        str(notes),
                        key,
                        arguments=arguments,
                        time_limit=limit,
                    )
                )
            pool.run(*works)
            what = draw.random()
            if what < 0.4:
                pool.take_back(*draw.sample(keys[:handed], min(handed, 40)))
            elif what < 0.5:
                pool.end(draw.choice(keys[:handed]))
            elif what < 0.6 and notes.exists():
                host = int(notes.read_text().split()[-1])
                try:
                    os.kill(host, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        inbox.wait(lambda reports: len(ends_of(reports)) == WORKS)
    finally:
        pool.stop()
    assert set(ends_of(inbox.reports).values()) == {1}
    begun = Counter(int(line.split()[0]) for line in notes.read_text().splitlines())
    assert set(begun.values()) == {1}, "a work ran twice"
    returned = {one.key for one in inbox.reports if isinstance(one, Returned)}
    assert returned, "nothing was taken back: the test tests nothing"
    assert not returned & set(begun), "what was returned had begun"
    ends = {one.key: one for one in inbox.reports if isinstance(one, Ended)}
    for key, ended in ends.items():
        if ended.end == "done":
            assert (ended.result, begun[key]) == (key, 1)
    started = {one.key for one in inbox.reports if isinstance(one, Started)}
    assert not started & returned
