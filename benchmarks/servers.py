"""The brokers of a run: a Redis and a RabbitMQ that nobody else uses, empty before each play."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final

from benchmarks.cells import Cell
from benchmarks.ground import Ground
from benchmarks.peers import PEERS
from bus.wire.testing import PrivateRabbitMQ, PrivateRedis

_HOSTS: Final = 8  # virtual hosts that are made at once


class Servers:
    """``with Servers(cells) as servers: servers.ground(cells, folder)``.

    Starts what these cells need. Each sitting has an empty Redis and a virtual host of RabbitMQ of
    its own, so what one leaves behind is not in the way of the next.
    """

    def __init__(self, cells: Iterable[Cell]) -> None:
        cells = tuple(cells)
        with_redis = any(_uses_redis(cell) for cell in cells)
        self._redis = PrivateRedis() if with_redis else None
        with_amqp = any(cell.broker == "amqp" for cell in cells)
        self._rabbitmq = PrivateRabbitMQ() if with_amqp else None
        self._numbers = itertools.count(1)
        #: Virtual hosts that were made last, and which of them nobody has used yet.
        self._made: list[str] = []
        self._hosts: list[str] = []
        self._stack = ExitStack()

    def __enter__(self) -> Servers:
        for server in (self._redis, self._rabbitmq):
            if server is not None:
                self._stack.enter_context(server)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def versions(self) -> dict[str, str]:
        """Of the brokers themselves."""
        found = {}
        if self._redis is not None:
            found["Redis"] = _version_of_redis(self._redis)
        if self._rabbitmq is not None:
            found["RabbitMQ"] = self._rabbitmq.control("version").strip()
        return found

    def ground(self, cells: Sequence[Cell], folder: Path) -> Ground:
        """What a sitting of these cells stands on; empty. Ends whatever was left before it."""
        cell = cells[0]
        url = result_url = ""
        servers = []
        if _uses_redis(cell):
            assert self._redis is not None
            self._redis.command("FLUSHALL", timeout=30.0)
            url = result_url = self._redis.url
            servers.append(self._redis.pid)
        if cell.broker == "amqp":
            assert self._rabbitmq is not None
            url = self._fresh_host(self._rabbitmq)
            servers.append(self._rabbitmq.pid)
        if cell.broker == "local":
            url = f"local://{folder / 'broker'}"
        if cell.broker == "memory":
            url = "memory://"
        return Ground(
            peer=cell.peer,
            setting=cell.setting,
            broker=cell.broker,
            workers=max(cell.workers for cell in cells),
            url=url,
            result_url=result_url,
            folder=str(folder),
            servers=tuple(servers),
        )

    def _fresh_host(self, rabbitmq: PrivateRabbitMQ) -> str:
        """The URL of a new virtual host.

        Several are made in one call, and those before them are deleted then, with all in them:
        rabbitmqctl takes a second or two to come up, as long as all else of a short play.
        """
        if not self._hosts:
            gone, self._made = self._made, [f"play{next(self._numbers)}" for _ in range(_HOSTS)]
            everything = '<<".*">>, <<".*">>, <<".*">>, <<"benchmarks">>'
            words = [f'rabbit_vhost:delete(<<"{host}">>, <<"benchmarks">>)' for host in gone]
            for host in self._made:
                words.append(f'rabbit_vhost:add(<<"{host}">>, <<"benchmarks">>)')
                words.append(
                    "rabbit_auth_backend_internal:set_permissions("
                    f'<<"guest">>, <<"{host}">>, {everything})'
                )
            rabbitmq.control("eval", ", ".join(words) + ".")
            self._hosts = list(self._made)
        return rabbitmq.url.rpartition("//")[0] + f"/{self._hosts.pop(0)}"


def _uses_redis(cell: Cell) -> bool:
    is_aside = cell.broker == "amqp" and PEERS[cell.peer].needs_redis
    return cell.broker == "redis" or is_aside


def _version_of_redis(redis: PrivateRedis) -> str:
    import redis as library  # noqa: PLC0415 - for this one question

    with library.Redis.from_url(redis.url) as client:
        return str(client.info("server")["redis_version"])
