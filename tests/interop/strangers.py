"""Asks a worker, over taskflow's own proxy, what no engine would ask, and keeps every answer.

An engine only sends requests that a worker offered, with the arguments its class names, and shows
of the answers what it makes of them. Here a test chooses the body and reads the answers as sent;
each is put through taskflow's own validation on the way.
"""

from __future__ import annotations

import queue
import threading
import time
import uuid
from typing import Any, Final

from taskflow.engines.worker_based import dispatcher, protocol, proxy

from tests.interop.ground import Ground

#: Seconds a worker has for its last answer to anything asked here.
DEADLINE: Final = 45.0

Answer = tuple[str, dict[str, Any]]


class _Body:
    """A message as taskflow's proxy wants one: a type and a dict."""

    def __init__(self, kind: str, body: dict[str, Any]) -> None:
        self.TYPE = kind
        self._body = body

    def to_dict(self) -> dict[str, Any]:
        return self._body


class Stranger:
    """A peer with a reply queue of its own. ``with`` starts and stops the thread that drains it."""

    def __init__(self, ground: Ground) -> None:
        self.key: Final = str(uuid.uuid4())
        self._ground = ground
        self._asked: dict[str, queue.Queue[Answer]] = {}
        self._notified: queue.Queue[dict[str, Any]] = queue.Queue()
        self._proxy = proxy.Proxy(
            self.key,
            ground.exchange,
            type_handlers={
                protocol.NOTIFY: dispatcher.Handler(self._on_notify),
                protocol.RESPONSE: dispatcher.Handler(self._on_response),
            },
            **ground.taskflow_options(),
        )
        self._thread = threading.Thread(target=self._proxy.start, name="stranger", daemon=True)

    def __enter__(self) -> Stranger:
        self._thread.start()
        self._proxy.wait()
        return self

    def __exit__(self, *exc: object) -> None:
        self._proxy.stop()
        self._thread.join(DEADLINE)

    def notify(self) -> dict[str, Any]:
        """What a worker says when it is asked what it offers."""
        self._proxy.publish(protocol.Notify(), self._ground.topic, reply_to=self.key)
        said = self._notified.get(timeout=DEADLINE)
        protocol.Notify.validate(said, response=True)
        return said

    def ask(self, task: str, action: str = "execute", **more: Any) -> list[Answer]:
        """Every answer to one request, ``(state, data)``, to the last.

        Raises ``AssertionError`` if there is no last one in time.
        """
        return self.answers(self.send(task, action, **more))

    def send(self, task: str, action: str = "execute", **more: Any) -> str:
        """Send a request; the correlation id under which it is answered."""
        asked = str(uuid.uuid4())
        self._asked[asked] = queue.Queue()
        body = {
            "task_cls": task,
            "task_name": "stranger",
            "task_version": [1, 0],
            "action": action,
            **more,
        }
        self._proxy.publish(
            _Body(protocol.REQUEST, body),
            self._ground.topic,
            reply_to=self.key,
            correlation_id=asked,
        )
        return asked

    def answers(self, asked: str) -> list[Answer]:
        """Every answer to what :meth:`send` sent, to the last."""
        heard: list[Answer] = []
        until = time.monotonic() + DEADLINE
        while not heard or heard[-1][0] not in (protocol.SUCCESS, protocol.FAILURE):
            try:
                heard.append(self._asked[asked].get(timeout=until - time.monotonic()))
            except (queue.Empty, ValueError):
                raise AssertionError(f"no end within {DEADLINE} s; heard: {heard}") from None
        return heard

    def _on_notify(self, body: dict[str, Any], message: Any) -> None:
        self._notified.put(body)

    def _on_response(self, body: dict[str, Any], message: Any) -> None:
        protocol.Response.validate(body)
        asked = self._asked.get(message.properties["correlation_id"])
        if asked is not None:
            asked.put((body["state"], body["data"]))
