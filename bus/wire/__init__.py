"""Messages between processes, over a kombu broker. This package alone imports kombu.

The rooms: ``urls`` (which broker a URL means), ``broker`` (one connection: declare, publish a list,
take a list, acknowledge), ``transports`` (the brokers kombu lacks, and those it has, cured),
``unopened`` (messages as they came), ``outgoing`` (what can never be published), ``dispatcher``
(deliveries → validated messages), ``listener`` (the thread that takes), ``publisher`` (the thread
that sends), ``backoff`` (how long to wait for a broker that is away), ``mailbox`` (how a thread
hands things to the thread that owns a state), ``commandline`` (the words both sides share).
"""

from __future__ import annotations

from bus.wire.broker import Broker
from bus.wire.dispatcher import Dispatcher
from bus.wire.listener import Listener
from bus.wire.mailbox import Mailbox
from bus.wire.publisher import Publisher
from bus.wire.urls import BrokerUrl, parse_url

__all__ = ["Broker", "BrokerUrl", "Dispatcher", "Listener", "Mailbox", "Publisher", "parse_url"]
