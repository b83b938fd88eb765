"""Messages between processes, over a kombu broker. This package alone imports kombu.

The rooms: ``urls`` (which broker a URL means), ``parameters`` (what may stand after its ``?``),
``tls`` (whom an encrypted connection trusts), ``unreached`` (why there is none, in words),
``broker`` (one connection: declare, publish a list, take a list, acknowledge), ``transports`` (the
brokers kombu lacks, and those it has, cured),
``unopened`` (messages as they came), ``outgoing`` (what can never be published), ``confirms`` (when
a list has been taken), ``dispatcher`` (deliveries → validated messages), ``guard`` and ``keyfile``
(who has to sign, and with which keys), ``listener`` (the thread
that takes), ``publisher`` (the thread that sends), ``outbox`` (what waits for it, bounded),
``claims`` (the thread that claims names), ``deadlines`` and ``backoff`` (how long to wait for a
broker, and for one that is away), ``watch`` (who notices a thread that hangs), ``mailbox`` (how a
thread hands things to the thread that owns a state), ``commandline`` (the words both sides share),
``testing`` (faults for tests, ours and users').
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bus.wire.broker import Broker
    from bus.wire.claims import Claims, demand_place
    from bus.wire.dispatcher import Dispatcher
    from bus.wire.guard import make_guard
    from bus.wire.listener import Listener
    from bus.wire.mailbox import Mailbox
    from bus.wire.publisher import Publisher
    from bus.wire.urls import BrokerUrl, parse_url

__all__ = [
    "Broker",
    "BrokerUrl",
    "Claims",
    "Dispatcher",
    "Listener",
    "Mailbox",
    "Publisher",
    "demand_place",
    "make_guard",
    "parse_url",
]

#: Loaded when it is asked for, and from where: ``bus.wire.testing`` is to be had without kombu.
_LAZY = {
    "Broker": "bus.wire.broker",
    "BrokerUrl": "bus.wire.urls",
    "Claims": "bus.wire.claims",
    "Dispatcher": "bus.wire.dispatcher",
    "Listener": "bus.wire.listener",
    "Mailbox": "bus.wire.mailbox",
    "Publisher": "bus.wire.publisher",
    "demand_place": "bus.wire.claims",
    "make_guard": "bus.wire.guard",
    "parse_url": "bus.wire.urls",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
