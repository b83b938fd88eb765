"""The embedded broker: a kombu virtual transport whose server is one SQLite file in one folder.

It is used like any kombu transport, by its class (kombu's table of short names is not ours to
extend)::

    kombu.Connection(
        transport="bus.wire.transports.local:Transport",
        transport_options={"path": "/abs/folder", "sync": "normal"},   # or "full"
    )

The rooms, from the floor up::

    faults      what can go wrong, as the two kinds kombu knows: connection and channel errors
    place       the folder: whose it is, its permissions, not on a network
    owners      one lock byte per connection (it is alive) and one for the turn to write
    wake        one FIFO per connection: how a publisher wakes a sleeping consumer
    reserve     the disk space that belongs to those who empty queues
    pages       shrinking the file
    layout      tables, pragmas, opening the file
    topology    exchanges, queues, bindings, routing (SQL inside somebody's transaction)
    claims      names that one has for so many seconds (the same)
    store       every transaction, and the life of a connection
    channel     kombu's Channel, QoS and publish batch
    transport   kombu's Transport: connecting, draining, closing

What is promised. A publish that returned survives the death of any process. A message is delivered
at least once: what a killed consumer held is delivered again, marked ``redelivered``, in its old
place in the order. A batch (``with producer.batch(n)``) is one transaction, over all its queues.
After loss of power the broker opens intact, but the newest messages may be missing unless ``sync``
is ``"full"``. Within one queue order is the order of publishing, also after a requeue; several
consumers share it in the order of their claims.

What it decides as AMQP does, where kombu's other virtual transports do not: publishing to a queue
that does not exist is dropped (or raises, with ``mandatory=True``), so that nothing grows for a
reader that is gone; consuming from one raises 404; declaring a name again with other flags raises
406; ``auto_delete`` and ``expires`` of queues are honoured. Not offered: message expiry, priority,
``max_length``, dead letters, exchange-to-exchange bindings, the event loop of kombu's hub.

How much it keeps. No queue has a bound of its own: how much is in one is up to who sends (what a
worker takes, what an executor holds open), and what nobody reads expires with its queue. The disk
is the bound. On a full one a publish stores nothing and raises ``DiskFull``, which a publisher of
ours counts as an outage: it says so once, and tries again until there is room. Who empties queues
works on, on space that is kept for it.

POSIX only (``lockf``, ``mkfifo``, ``poll``). A connection belongs to the process that opened it: a
forked child that uses it gets an error, and so does one that opens the same folder while it
inherited an open connection (SQLite cannot be used on both sides of a fork; use ``spawn`` or
``forkserver``). Any thread may publish and acknowledge; one thread drains.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError(
        "the local broker needs POSIX file locks and FIFOs, which Windows does not have: "
        "name another broker, for instance redis://host/0"
    )

from bus.wire.transports.local.transport import Transport

__all__ = ["Transport"]
