"""Dramatiq: the broker and actors that its command loads, and the submitting side."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results, ResultTimeout
from dramatiq.results.backends import RedisBackend

from benchmarks.client import Client
from benchmarks.ground import Ground
from benchmarks.tasks import TASKS


def make(ground: Ground) -> dramatiq.Broker:
    """The broker on this ground, made the one of this process."""
    kind = RabbitmqBroker if ground.broker == "amqp" else RedisBroker
    broker = kind(url=ground.url)
    broker.add_middleware(Results(backend=RedisBackend(url=ground.result_url), store_results=True))
    dramatiq.set_broker(broker)
    return broker


broker = make(Ground.from_environment())
_actors: dict[str, Any] = {
    name: dramatiq.actor(run, actor_name=name) for name, run in TASKS.items()
}


class _Client(Client):
    def submit(self, task: str, values: Sequence[Any]) -> list[Any]:
        actor = _actors[task]
        return [actor.send(value) for value in values]

    def gather(self, handles: Sequence[Any], timeout: float) -> list[Any]:
        until = time.monotonic() + timeout
        try:
            return [
                # Milliseconds; it waits for whole seconds.
                handle.get_result(
                    block=True, timeout=max(1000, 1000 * int(until - time.monotonic()))
                )
                for handle in handles
            ]
        except ResultTimeout as error:
            raise TimeoutError(f"not all of {len(handles)} came: {error}") from error

    def close(self) -> None:
        broker.close()


def connect(ground: Ground) -> Client:
    """The submitting side of the broker."""
    return _Client()
