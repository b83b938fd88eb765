"""F6: nonsense is poured into every queue while work goes on."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import kombu

from bus.wire import parse_url
from executor import Executor
from protocol.topology import Exchange, Names, inbox_key
from tests.faults import errands, nonsense
from tests.faults.batch import Batch
from tests.faults.scenario import Play, Scenario
from tests.faults.stage import rss_bytes

_NAME = "under-fire"
_GROWN_AT_MOST = 50.0  # MB
_TASK = "tests.faults.errands.work"
_TO_ALL = 0.2  # the part of it that goes to the fan-outs, half of it from workers and executors
_LARGE = 64 * 1024 * 1024  # bytes


def play(play: Play) -> None:
    is_signed = play.variant == "signed"
    keys = _keys(play.folder) if is_signed else None
    executor = play.executor(name=_NAME, signing_keys=keys)
    words = ["--signing-keys", str(keys)] if is_signed else []
    batch = Batch(executor)
    with contextlib.ExitStack() as stack:
        if play.broker == "memory":
            stack.enter_context(play.worker_here(concurrency=2))
            workers = [os.getpid()]
        else:
            killer = stack.enter_context(play.workers(1, *words))
            workers = [worker.pid for worker in killer.workers]
        executor.wait_for_workers(1, 60)
        batch.submit(0, errands.work, play.marks.folder, 0)
        batch.wait(60)
        (boot,) = [worker.boot for worker in executor.workers()]
        processes = {*workers, os.getpid()}
        before = {pid: rss_bytes(pid) for pid in processes}
        flood = _Flood(play, executor, str(boot))
        flood.start()
        number = 0
        while flood.is_alive():
            number += 1
            if number < play.number("tasks"):
                batch.submit(number, errands.work, play.marks.folder, number, 0.01)
            flood.join(play.size["deadline"] / play.number("tasks") / 4)
        play.expect(flood.sent >= play.number("nonsense"), f"only {flood.sent} were written")
        # Behind all that was still in the queues, and then the next one.
        play.note(behind_s=round(_until_ended(play, batch, -1), 2))
        play.recovered_in(_until_ended(play, batch, -2))
        play.judge(batch, 60, again_allowed=0)
        grown = {pid: (rss_bytes(pid) - before[pid]) / 1e6 for pid in processes}
        play.expect(all(map(rss_bytes, processes)), "a worker ended")
    counts = executor.counts()
    refused = {reason: n for reason, n in counts.items() if reason.startswith("refused_")}
    most = max(grown.values())
    play.note(nonsense=flood.sent, grown_mb=round(most, 1), refused=sum(refused.values()))
    play.note(reasons=refused)
    play.expect(most < _GROWN_AT_MOST, f"a process grew by {most:.0f} MB")
    play.expect(sum(refused.values()) >= flood.sent // 10, f"of {flood.sent}: {refused}")


def _until_ended(play: Play, batch: Batch, number: int) -> float:
    """Seconds until a request submitted now has ended."""
    batch.submit(number, errands.work, play.marks.folder, number)
    batch.futures[number].exception(play.size["deadline"] / 2)
    return batch.ended_at[number] - batch.submitted_at[number]


def _keys(folder: Path) -> Path:
    """A key file."""
    path = folder / "keys"
    path.touch(0o600)
    path.write_text(f"one: {secrets.token_hex(32)}\n")
    return path


class _Flood(threading.Thread):
    """A stranger with a kombu of his own, who knows every name."""

    def __init__(self, play: Play, executor: Executor, boot: str) -> None:
        super().__init__(name="stranger")
        self._play = play
        self._uuids = tuple(future.uuid for future in executor.open_requests()) or ("nobody",)
        self._boot = boot
        names = Names("native", play.exchange)
        self._fan_outs = (names.call.name, names.hello.name)
        replies = names.replies(executor._engine.id)  # its name has chance behind it
        self._queues = (names.inbox(inbox_key("default", boot)).name, replies.name)
        self.sent = 0

    def run(self) -> None:
        play = self._play
        names = Names("native", play.exchange)
        broker = parse_url(play.url)
        if broker.kind in ("local", "memory"):
            connection = kombu.Connection(
                transport=broker.transport, transport_options=dict(broker.options)
            )
        else:
            connection = kombu.Connection(play.url)
        if broker.kind == "local":
            self.sent += nonsense.write_rows(Path(play.url.partition("://")[2]), self._queues)
        chance = play.random
        with closing(connection), closing(connection.channel()) as channel:
            producer = kombu.Producer(channel, auto_declare=False)
            if broker.kind == "redis":
                for queue in self._queues:
                    for raw in nonsense.RAW:
                        channel.client.lpush(queue, raw)
                        self.sent += 1
            for _ in range(play.number("large")):
                for queue in self._queues:
                    producer.publish(
                        b'"' + bytes(_LARGE), exchange="", routing_key=queue, type="RESPONSE",
                        content_type="application/json", content_encoding="utf-8",
                    )  # fmt: skip
            if broker.kind != "amqp":  # these route in the client: it has to know the exchanges
                for fan_out in (names.call, names.hello):
                    _fan_out(fan_out, channel).declare()
            for odd in self._pieces():
                piece = odd
                if chance.random() < _TO_ALL:
                    if chance.random() < 0.5:
                        piece = nonsense.crowd(chance, (_TASK,))
                    to = {"exchange": chance.choice(self._fan_outs), "routing_key": ""}
                else:
                    to = {"exchange": "", "routing_key": chance.choice(self._queues)}
                producer.publish(**to, **piece)
                self.sent += 1

    def _pieces(self) -> Iterator[nonsense.Piece]:
        play = self._play
        latest = nonsense.FAR if play.variant == "signed" else 5
        endless = nonsense.pieces(play.random, self._boot, self._uuids, latest=latest)
        return islice(endless, play.number("nonsense"))


def _fan_out(exchange: Exchange, channel: Any) -> Any:
    """kombu's, declared as its readers do."""
    return kombu.Exchange(
        exchange.name, exchange.type, durable=exchange.durable, auto_delete=exchange.auto_delete
    ).bind(channel)


SCENARIO = Scenario(
    "F6",
    "nonsense",
    "Messages of no sense into the queues of a worker and an executor, and to both fan-outs, while "
    "work goes on: thousands of workers and executors that are none, bodies that are no JSON, or "
    "100,000 deep, compressed bombs, pickles, 64 MB of nothing, bad headers, forged addresses and "
    "correlation ids, good messages with bytes changed, and what no client could write. "
    "Signed: in the worker's own name, too.",
    play,
    ("local", "memory", "redis", "amqp"),
    quick={"tasks": 50, "nonsense": 2_000, "large": 0, "deadline": 120},
    full={"tasks": 1_000, "nonsense": 100_000, "large": 3, "deadline": 900},
    variants=("unsigned", "signed"),
    only={"signed": ("local", "redis", "amqp")},
)
