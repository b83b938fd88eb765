"""kombu as its documentation shows it: one message at a time, acknowledged, JSON.

A worker that publishes from the callback, on the connection it consumes on, ends in RecursionError
with py-amqp (a publish there looks for deliveries). So there are two connections, and what was
delivered is worked off outside the callback.
"""

from __future__ import annotations

import itertools
import secrets
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Final

import kombu

from benchmarks.apps.futures import results
from benchmarks.client import Client
from benchmarks.ground import Ground
from benchmarks.tasks import TASKS

_POLL: Final = 1.0  # seconds for a drain to look whether it should end
_TOPIC: Final = "bare"


def _connection(ground: Ground) -> kombu.Connection:
    # kombu's memory is polled, once a second unless told otherwise.
    options = {"polling_interval": 0.001} if ground.broker == "memory" else {}
    return kombu.Connection(ground.url, transport_options=options)


def _queue(name: str) -> kombu.Queue:
    return kombu.Queue(name, routing_key=name, durable=False, auto_delete=False)


class _Client(Client):
    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._reply = f"reply-{secrets.token_hex(4)}"
        self._numbers = itertools.count()
        self._open: dict[str, Future[Any]] = {}
        self._connection = _connection(ground)
        channel = self._connection.channel()
        _queue(_TOPIC)(channel).declare()
        self._producer = kombu.Producer(channel, auto_declare=False)
        self._is_over = threading.Event()
        self._is_listening = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()
        if not self._is_listening.wait(30.0):
            raise TimeoutError(f"nobody consumes {self._reply} after 30 s")

    def submit(self, task: str, values: Sequence[Any]) -> list[Any]:
        futures = []
        for value in values:
            number = str(next(self._numbers))
            future: Future[Any] = Future()
            self._open[number] = future
            futures.append(future)
            self._producer.publish(
                {"task": task, "value": value},
                routing_key=_TOPIC,
                correlation_id=number,
                reply_to=self._reply,
                delivery_mode="transient",
            )
        return futures

    def gather(self, handles: Sequence[Any], timeout: float) -> list[Any]:
        return results(handles, timeout)

    def close(self) -> None:
        self._is_over.set()

    def _listen(self) -> None:
        queue = _queue(self._reply)
        with (
            _connection(self._ground) as connection,
            kombu.Consumer(connection.channel(), [queue], callbacks=[self._received]),
        ):
            self._is_listening.set()
            _drain(connection, self._is_over)

    def _received(self, body: Any, message: Any) -> None:
        message.ack()
        if body["state"] != "RUNNING":
            future = self._open.pop(message.properties["correlation_id"])
            if body["state"] == "SUCCESS":
                future.set_result(body["data"])
            else:
                future.set_exception(RuntimeError(body["data"]))


def _drain(connection: kombu.Connection, is_over: threading.Event) -> None:
    while not is_over.is_set():
        try:
            connection.drain_events(timeout=_POLL)
        except TimeoutError:
            pass


def connect(ground: Ground) -> Client:
    """A submitter."""
    return _Client(ground)


class _Inside:
    """A worker on a thread of this process."""

    def __init__(self, ground: Ground) -> None:
        self._is_over = threading.Event()
        threading.Thread(target=work, args=(ground, self._is_over), daemon=True).start()

    def close(self) -> None:
        self._is_over.set()


def serve(ground: Ground) -> _Inside:
    """A worker on a thread of this process."""
    return _Inside(ground)


def work(ground: Ground, is_over: threading.Event) -> None:
    """Run tasks until it is over."""
    delivered: deque[tuple[Any, Any]] = deque()
    with _connection(ground) as sending, _connection(ground) as connection:
        producer = kombu.Producer(sending.channel(), auto_declare=False)

        def respond(message: Any, state: str, data: Any) -> None:
            producer.publish(
                {"state": state, "data": data},
                routing_key=message.properties["reply_to"],
                correlation_id=message.properties["correlation_id"],
                delivery_mode="transient",
            )

        with kombu.Consumer(
            connection.channel(),
            [_queue(_TOPIC)],
            callbacks=[lambda body, message: delivered.append((body, message))],
            prefetch_count=100,
        ):
            while not is_over.is_set():
                try:
                    connection.drain_events(timeout=_POLL)
                except TimeoutError:
                    continue
                while delivered:
                    body, message = delivered.popleft()
                    message.ack()
                    respond(message, "RUNNING", None)
                    try:
                        state, data = "SUCCESS", TASKS[body["task"]](body["value"])
                    except Exception as error:
                        state, data = "FAILURE", repr(error)
                    respond(message, state, data)


if __name__ == "__main__":
    work(Ground.from_environment(), threading.Event())
