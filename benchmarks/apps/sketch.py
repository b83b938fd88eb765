"""The bare batched sketch: what batching alone comes to, without all that makes it safe.

One thread publishes whatever is queued by then as one broker message, one drains. That is the whole
idea, and what Taskline's own speed is measured against; no code of it is used anywhere else.
"""

from __future__ import annotations

import itertools
import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any, Final

import fastjsonschema
import kombu
import orjson

from benchmarks.apps.futures import results
from benchmarks.client import Client
from benchmarks.ground import Ground
from benchmarks.tasks import TASKS

_MOST: Final = 500  # inner messages in one broker message
_THREADS: Final = 4  # that run tasks
_POLL: Final = 1.0  # seconds for a drain to look whether it should end
_TOPIC: Final = "sketch"

_valid_response: Final[Callable[[Any], Any]] = fastjsonschema.compile(
    {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "state": {"enum": ["RUNNING", "SUCCESS", "FAILURE"]},
            "data": {},
        },
        "required": ["id", "state", "data"],
        "additionalProperties": False,
    }
)


def _queue(name: str) -> kombu.Queue:
    return kombu.Queue(name, routing_key=name, durable=False, auto_delete=False)


class _Post:
    """Sends and receives lists of inner messages; a connection and a thread for each way."""

    def __init__(self, url: str, name: str, receive: Callable[[list[Any], Any], None]) -> None:
        self._url = url
        self._name = name
        self._receive = receive
        self._outgoing: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._is_over = threading.Event()
        self._is_listening = threading.Event()

    def start(self) -> None:
        for run in (self._publish, self._listen):
            threading.Thread(target=run, daemon=True).start()
        if not self._is_listening.wait(30.0):
            raise TimeoutError(f"nobody consumes {self._name} after 30 s")

    def send(self, to: str, message: Any) -> None:
        self._outgoing.put((to, message))

    def stop(self) -> None:
        self._is_over.set()

    def _publish(self) -> None:
        with kombu.Connection(self._url) as connection:
            producer = kombu.Producer(connection.channel(), auto_declare=False)
            while not self._is_over.is_set():
                by_destination: dict[str, list[Any]] = {}
                try:
                    to, message = self._outgoing.get(timeout=_POLL)
                    by_destination[to] = [message]
                    for _ in range(_MOST - 1):
                        to, message = self._outgoing.get_nowait()
                        by_destination.setdefault(to, []).append(message)
                except Empty:
                    pass
                for to, messages in by_destination.items():
                    producer.publish(
                        orjson.dumps(messages),
                        routing_key=to,
                        content_type="application/json",
                        content_encoding="utf-8",
                        delivery_mode="transient",
                        headers={"messages": len(messages), "reply": self._name},
                    )

    def _listen(self) -> None:
        def on_message(message: Any) -> None:
            self._receive(orjson.loads(message.body), message.headers["reply"])
            message.ack()

        with kombu.Connection(self._url) as connection:
            queue = _queue(self._name)
            with kombu.Consumer(
                connection.channel(), [queue], on_message=on_message, prefetch_count=100
            ):
                self._is_listening.set()
                while not self._is_over.is_set():
                    try:
                        connection.drain_events(timeout=_POLL)
                    except TimeoutError:
                        pass


class _Client(Client):
    def __init__(self, ground: Ground) -> None:
        self._numbers = itertools.count()
        self._open: dict[str, Future[Any]] = {}
        self._post = _Post(ground.url, f"reply-{secrets.token_hex(4)}", self._received)
        with kombu.Connection(ground.url) as connection:
            _queue(_TOPIC)(connection.channel()).declare()
        self._post.start()

    def submit(self, task: str, values: Sequence[Any]) -> list[Any]:
        futures = []
        for value in values:
            number = str(next(self._numbers))
            future: Future[Any] = Future()
            self._open[number] = future
            futures.append(future)
            self._post.send(_TOPIC, {"id": number, "task": task, "value": value})
        return futures

    def gather(self, handles: Sequence[Any], timeout: float) -> list[Any]:
        return results(handles, timeout)

    def close(self) -> None:
        self._post.stop()

    def _received(self, responses: list[Any], _: Any) -> None:
        for response in responses:
            _valid_response(response)
            if response["state"] == "SUCCESS":
                self._open.pop(response["id"]).set_result(response["data"])
            elif response["state"] == "FAILURE":
                self._open.pop(response["id"]).set_exception(RuntimeError(response["data"]))


def connect(ground: Ground) -> Client:
    """A submitter."""
    return _Client(ground)


def work(ground: Ground) -> None:
    """Run tasks until the process is ended."""
    pool = ThreadPoolExecutor(_THREADS)

    def receive(requests: list[Any], reply: str) -> None:
        for request in requests:
            post.send(reply, {"id": request["id"], "state": "RUNNING", "data": None})
        if ground.setting == "lists":
            pool.submit(run_all, requests, reply)
        else:
            for request in requests:
                pool.submit(run, request, reply)

    def run_all(requests: list[Any], reply: str) -> None:
        for request in requests:
            run(request, reply)

    def run(request: Any, reply: str) -> None:
        try:
            state, data = "SUCCESS", TASKS[request["task"]](request["value"])
        except Exception as error:
            state, data = "FAILURE", repr(error)
        post.send(reply, {"id": request["id"], "state": state, "data": data})

    post = _Post(ground.url, _TOPIC, receive)
    post.start()
    threading.Event().wait()


if __name__ == "__main__":
    work(Ground.from_environment())
