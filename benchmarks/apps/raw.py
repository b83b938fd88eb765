"""The broker's own client and nothing above it: what the wire itself allows, message by message."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import orjson

from benchmarks.client import Client
from benchmarks.ground import Ground
from benchmarks.tasks import TASKS

_MOST: Final = 100  # messages in one pipeline
_POLL: Final = 1.0  # seconds
_TOPIC: Final = "raw"


class _Wire(Protocol):
    """Lists of bytes, to a queue by its name and from one."""

    def send(self, to: str, bodies: Sequence[bytes]) -> None: ...

    def receive(self) -> list[bytes]:
        """What is there by then; one at least, or nothing after a while."""


class _RedisWire:
    def __init__(self, url: str, queue: str) -> None:
        import redis  # noqa: PLC0415 - one of the two is loaded, not both

        self._client = redis.Redis.from_url(url)
        self._queue = queue

    def send(self, to: str, bodies: Sequence[bytes]) -> None:
        for first in range(0, len(bodies), _MOST):
            pipeline = self._client.pipeline(transaction=False)
            for body in bodies[first : first + _MOST]:
                pipeline.lpush(to, body)
            pipeline.execute()

    def receive(self) -> list[bytes]:
        first: Any = self._client.brpop([self._queue], timeout=_POLL)
        if first is None:
            return []
        more: Any = self._client.rpop(self._queue, _MOST)
        return [first[1], *(more or ())]


class _AmqpWire:
    def __init__(self, url: str, queue: str) -> None:
        import amqp  # noqa: PLC0415 - one of the two is loaded, not both

        parts = urlsplit(url)

        def connection() -> Any:
            made = amqp.Connection(
                host=f"{parts.hostname}:{parts.port}",
                userid=parts.username,
                password=parts.password,
                virtual_host=parts.path[1:],
            )
            made.connect()
            return made

        self._message = amqp.basic_message.Message
        self._sending, self._receiving = connection(), connection()
        self._channel = self._sending.channel()
        self._delivered: deque[bytes] = deque()
        channel = self._receiving.channel()
        for name in {queue, _TOPIC}:
            channel.queue_declare(name, durable=False, auto_delete=False)
        channel.basic_consume(
            queue, no_ack=True, callback=lambda message: self._delivered.append(message.body)
        )

    def send(self, to: str, bodies: Sequence[bytes]) -> None:
        for body in bodies:
            self._channel.basic_publish(self._message(body, delivery_mode=1), "", to)

    def receive(self) -> list[bytes]:
        with suppress(TimeoutError):
            self._receiving.drain_events(timeout=_POLL)
            while len(self._delivered) < _MOST:
                self._receiving.drain_events(timeout=0.0)
        found = list(self._delivered)
        self._delivered.clear()
        return [body if isinstance(body, bytes) else body.encode() for body in found]


def _wire(ground: Ground, queue: str) -> _Wire:
    kinds: dict[str, Callable[[str, str], _Wire]] = {"redis": _RedisWire, "amqp": _AmqpWire}
    return kinds[ground.broker](ground.url, queue)


class _Client(Client):
    def __init__(self, ground: Ground) -> None:
        self._reply = f"reply-{secrets.token_hex(4)}"
        self._wire = _wire(ground, self._reply)
        self._sent = 0
        self._results: dict[int, Any] = {}

    def submit(self, task: str, values: Sequence[Any]) -> list[Any]:
        numbers = range(self._sent, self._sent + len(values))
        self._sent += len(values)
        self._wire.send(
            _TOPIC,
            [
                orjson.dumps({"id": number, "reply": self._reply, "task": task, "value": value})
                for number, value in zip(numbers, values, strict=True)
            ],
        )
        return list(numbers)

    def gather(self, handles: Sequence[Any], timeout: float) -> list[Any]:
        until = time.monotonic() + timeout
        found = []
        for number, handle in enumerate(handles):
            while handle not in self._results:
                if time.monotonic() > until:
                    raise TimeoutError(f"{len(handles) - number} of {len(handles)} are open")
                for body in self._wire.receive():
                    response = orjson.loads(body)
                    if response["state"] == "SUCCESS":
                        self._results[response["id"]] = response["data"]
            found.append(self._results.pop(handle))
        return found

    def close(self) -> None:
        """Nothing to do: its connections end with the process."""


def connect(ground: Ground) -> Client:
    """A submitter."""
    return _Client(ground)


def work(ground: Ground) -> None:
    """Run tasks until the process is ended."""
    wire = _wire(ground, _TOPIC)
    while True:
        by_reply: dict[str, list[bytes]] = {}
        for body in wire.receive():
            request = orjson.loads(body)
            by_reply.setdefault(request["reply"], []).extend(_responses(request))
        for reply, bodies in by_reply.items():
            wire.send(reply, bodies)


def _responses(request: dict[str, Any]) -> Iterator[bytes]:
    yield orjson.dumps({"id": request["id"], "state": "RUNNING", "data": None})
    data = TASKS[request["task"]](request["value"])
    yield orjson.dumps({"id": request["id"], "state": "SUCCESS", "data": data})


if __name__ == "__main__":
    work(Ground.from_environment())
