"""The tests' Redis and RabbitMQ: where they are, whether they are there, how they are left.

A test on a machine without one of them is skipped, with a sentence that says what is missing; where
``TASKLINE_REQUIRE_BROKERS=1``, as in ``.ci/run``, it fails with the same sentence.
"""

from __future__ import annotations

import functools
import os
import secrets
import shutil
import subprocess
from typing import Final
from urllib.parse import urlsplit

import kombu
import pytest

REDIS_URL: Final = os.environ.get("TASKLINE_TEST_REDIS_URL", "redis://127.0.0.1:6379/0")
AMQP_URL: Final = os.environ.get("TASKLINE_TEST_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672//")
ARE_REQUIRED: Final = os.environ.get("TASKLINE_REQUIRE_BROKERS") == "1"

#: Every name that this run makes on a shared broker begins with it.
PREFIX: Final = f"test-{secrets.token_hex(4)}-"

#: Seconds within which a broker that is there has answered.
PATIENCE: Final = 5.0

_NAMES: Final = {
    "redis": ("Redis", "TASKLINE_TEST_REDIS_URL"),
    "amqp": ("RabbitMQ", "TASKLINE_TEST_AMQP_URL"),
}


@functools.cache
def missing(url: str) -> str | None:
    """What is not there, in one sentence; None if the broker answers."""
    parts = urlsplit(url)
    what, variable = _NAMES[parts.scheme]
    try:
        with kombu.Connection(url, connect_timeout=PATIENCE) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=PATIENCE)
            if parts.scheme == "redis":
                connection.default_channel.client.ping()
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
        return (
            f"{what} does not answer at {parts.hostname}:{parts.port}: {found} "
            f"(start it, or name another one in {variable})"
        )
    return None


def demand(url: str) -> str:
    """``url`` itself if its broker answers; otherwise the test that asks is skipped, or fails."""
    sentence = missing(url)
    if sentence and ARE_REQUIRED:
        pytest.fail(f"TASKLINE_REQUIRE_BROKERS=1, but {sentence}", pytrace=False)
    if sentence:
        pytest.skip(sentence)
    return url


def sweep_redis(name: str) -> None:
    """Remove every key with ``name`` in it: queues, and kombu's several sets of bindings."""
    with kombu.Connection(REDIS_URL) as connection:
        client = connection.default_channel.client
        for key in client.scan_iter(f"*{name}*", count=1000):
            client.delete(key)


def sweep_rabbitmq(prefix: str) -> None:
    """Remove every queue and every exchange whose name begins with ``prefix``.

    AMQP cannot be asked for names; where ``rabbitmqctl`` may not be used, what is durable stays.
    """
    queues, exchanges = _rabbitmq_names("queues", prefix), _rabbitmq_names("exchanges", prefix)
    with kombu.Connection(AMQP_URL) as connection:
        channel = connection.default_channel
        for queue in queues:
            channel.queue_delete(queue)
        for exchange in exchanges:
            channel.exchange_delete(exchange)


def _rabbitmq_names(kind: str, prefix: str) -> list[str]:
    control = shutil.which("rabbitmqctl", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if control is None:
        return []
    command = [control, "--quiet", "--no-table-headers", f"list_{kind}", "name"]
    listed = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    return [name for name in listed.stdout.splitlines() if name.startswith(prefix)]
