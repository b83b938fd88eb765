"""Faults for tests: a bad network, servers that die, processes that are killed or frozen, and time.

For the tests of programs that use Taskline, and for ours. What is here takes nothing from Taskline
and knows nothing of its messages: it works on any server and any process. Importing it loads
neither kombu nor a test framework. All of it is POSIX only but the proxy and the clock.

Everything that lives has ``start`` and ``stop``, which may be called twice, and is a context
manager; whatever is waited for has a deadline, and what was started is gone at the end, also when
the test process itself is killed.

The rooms: ``proxy`` (``TcpProxy``), ``clock`` (``ManualClock``), ``servers`` (``PrivateRedis``,
``PrivateRabbitMQ``, ``ServerTls``), ``processes`` (``WorkerKiller``, ``Freezer``), ``ports``,
``living`` (what all that lives has).
"""

from __future__ import annotations

from bus.wire.testing.clock import ManualClock
from bus.wire.testing.ports import free_port
from bus.wire.testing.processes.freezer import Freezer
from bus.wire.testing.processes.killer import WorkerKiller
from bus.wire.testing.proxy import TcpProxy
from bus.wire.testing.servers.rabbitmq import PrivateRabbitMQ
from bus.wire.testing.servers.redis import PrivateRedis
from bus.wire.testing.servers.tls import ServerTls

__all__ = [
    "Freezer",
    "ManualClock",
    "PrivateRabbitMQ",
    "PrivateRedis",
    "ServerTls",
    "TcpProxy",
    "WorkerKiller",
    "free_port",
]
