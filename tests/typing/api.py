"""What a type checker must think of the public API. Checked by ``test_api.py``, never run.

Each line with an ignore is a mistake: strict mypy complains of an ignore that ignores nothing, so a
mistake that passes is an error too.
"""

from __future__ import annotations

import concurrent.futures
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from executor import AttemptInfo, Executor, Future, Happened, NodeInfo, Requirements, WorkerInfo
from worker import Retry, progress, task

if TYPE_CHECKING:
    from typing_extensions import assert_type


def area(width: float, height: float = 1.0, *, unit: str = "m") -> str:
    """Sync."""
    return f"{width * height} {unit}²"


async def fetch(url: str) -> bytes:
    """Async."""
    return url.encode()


@task
def bare(n: int) -> int:
    """Decorated without a word."""
    progress(0.5, of=n)
    return n


@task(name="another.name", version=(2, 0))
def named(n: int) -> list[int]:
    """Decorated with words."""
    return [n]


@task(
    delivery="at_most_once",
    time_limit=10.0,
    soft_time_limit=9,
    priority=5,
    rate="9/s",
    max_running=4,
)
def limited(n: int) -> int:
    """Decorated with limits."""
    return n


@task(resources={"cores": 2, "memory": "4 GiB"})
def needy(n: int) -> int:
    """Decorated with what it needs."""
    return n


@task(retries=3)
def repeated(n: int) -> int:
    """Decorated with how often it is repeated."""
    return n


@task(retries=Retry(max=5, backoff=0.5, jitter=0, on=(OSError, "a.b.Busy")))
def repeated_so(n: int) -> int:
    """Decorated with a policy."""
    return n


def right_calls(pool: Executor) -> None:
    """What is meant, and what comes of it."""
    assert_type(pool.submit(area, 2.0), Future[str])
    assert_type(pool.submit(area, 2.0, 3.0, unit="km"), Future[str])
    assert_type(pool.submit(area, width=1.0).result(), str)
    assert_type(pool.submit(fetch, "http://x"), Future[bytes])
    assert_type(pool.submit(fetch, url="http://x").result(timeout=1), bytes)
    assert_type(pool.submit(bare, 1), Future[int])
    assert_type(pool.submit(named, n=1), Future[list[int]])
    assert_type(pool.submit("some.name", 1, anything="goes"), Future[Any])
    assert_type(pool.submit(partial(area, 2.0)), Future[str])
    assert_type(pool.options(timeout=1.0).submit(bare, 1), Future[int])
    assert_type(
        pool.options(key="one", time_limit=9, soft_time_limit=8.5).submit(bare, 1).cancel(), bool
    )
    assert_type(pool.options(delivery="at_most_once").submit(limited, 1), Future[int])
    assert_type(pool.options(priority=-5, delay=30).submit(bare, 1), Future[int])
    assert_type(pool.options(rate="100/m", max_running=4).submit("x.y"), Future[Any])
    assert_type(pool.options(eta=datetime.now(timezone.utc)).submit(bare, 1), Future[int])
    assert_type(pool.submit(bare, 1).cancel(force=True), bool)
    assert_type(pool.options(retries=Retry(on=[OSError])).submit(repeated_so, 1), Future[int])
    assert_type(pool.options(retries=0).submit(repeated, 1).result(), int)
    needs = Requirements(cores=0.5, memory="4 GiB", accelerators={"gpu": 1})
    assert_type(pool.options(resources=needs, worker="w").submit(bare, 1), Future[int])
    assert_type(pool.options(resources={"cores": 2}).submit(needy, 1), Future[int])
    assert_type(pool.nodes(), dict[str, NodeInfo])
    assert_type(pool.submit(bare, 1).attempts, tuple[AttemptInfo, ...])
    assert_type(pool.submit(bare, 1).attempts[0].how, str | None)
    assert_type(pool.submit(bare, 1).history, tuple[Happened, ...])
    assert_type(pool.submit(bare, 1).worker, str | None)
    assert_type(pool.open_requests(), list[Future[Any]])
    assert_type(pool.get("uuid").result(), Any)
    assert_type(pool.execute("some.Class", {"x": 1}, name="mine"), Future[Any])
    assert_type(pool.revert("some.Class", {}, result=ValueError("no")), Future[Any])
    assert_type(pool.workers(), list[WorkerInfo])
    assert_type(pool.wait_for_workers(2, timeout=5), list[WorkerInfo])
    assert_type(list(pool.map(bare, [1, 2])), list[int])
    with Executor(workers=2) as other:
        assert_type(other, Executor)
    with Executor(name="nightly", journal=Path("nightly.journal")) as kept:
        assert_type(kept.submit(bare, 1).uuid, str)


def as_the_standard_librarys(pool: Executor) -> None:
    """It can be handed to code that knows only that."""
    plain: concurrent.futures.Executor = pool
    future: concurrent.futures.Future[int] = pool.submit(bare, 1)
    assert_type(plain.submit(bare, 1), concurrent.futures.Future[int])
    assert_type(concurrent.futures.wait([future]).done, set[concurrent.futures.Future[int]])


def mistakes(pool: Executor) -> None:
    """Found before anything runs."""
    pool.submit(area)  # type: ignore[call-overload]
    pool.submit(area, "wide")  # type: ignore[call-overload]
    pool.submit(area, 1.0, depth=2.0)  # type: ignore[call-arg,arg-type]
    pool.submit(area, 1.0, unit=3)  # type: ignore[arg-type]
    pool.submit(fetch, 7)  # type: ignore[call-overload]
    pool.submit(bare, n="one")  # type: ignore[call-overload]
    pool.submit(42)  # type: ignore[call-overload]
    pool.submit(fn=bare)  # type: ignore[call-overload]
    pool.submit(bare, 1).result(timeout="long")  # type: ignore[arg-type]
    pool.options(timeout="long")  # type: ignore[arg-type]
    pool.options(on_progress=bare)  # type: ignore[arg-type]
    pool.options(key=7)  # type: ignore[arg-type]
    pool.options(delivery="once")  # type: ignore[arg-type]
    pool.options(time_limit="long")  # type: ignore[arg-type]
    pool.options(rate=9)  # type: ignore[arg-type]
    pool.options(retries="3")  # type: ignore[arg-type]
    pool.options(retries=Retry(on=(7,)))  # type: ignore[arg-type]
    Retry(max=1.5)  # type: ignore[arg-type]
    pool.options(max_running="4")  # type: ignore[arg-type]
    pool.options(priority="high")  # type: ignore[arg-type]
    pool.options(delay=timedelta(seconds=5))  # type: ignore[arg-type]
    pool.options(eta=12.5)  # type: ignore[arg-type]
    pool.get(7)  # type: ignore[arg-type]
    pool.submit(bare, 1).cancel("now")  # type: ignore[arg-type]
    Executor(journal=7)  # type: ignore[arg-type]
    Executor(workers="two")  # type: ignore[arg-type]
    Executor(dialects=("esperanto",))  # type: ignore[arg-type]
    Executor(None, "exchange")  # type: ignore[call-arg]
