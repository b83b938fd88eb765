"""How long a broker is waited for, and how much for it is kept, each with its reason.

The promise behind the figures: whatever it was that cut us off, at most 5 s after it is over we
consume and send again. While the network is away for D seconds nothing can be done; TCP by itself
sends again within another D after its end. We give a connection up after ``SILENCE``, and from then
on try anew: whoever tries waits at most ``CONNECT_TIMEOUT`` for one step, then at most the longest
backoff (2 s). So it takes min(D, SILENCE - D), at most 4 s, or 2.5 + 2 s. A shorter SILENCE would
cost connections wherever a process, a virtual machine or a garbage collector stops for a moment.

Nothing is decided here; read by all rooms of this package.
"""

from __future__ import annotations

CONNECT_TIMEOUT = 2.5  # seconds for one step of connecting: TCP, TLS, each answer of the handshake
SILENCE = 8.0  # seconds without a word from a broker that should have said one: it counts as gone
HEARTBEAT = SILENCE / 2  # AMQP: announced to the broker; two that do not come are SILENCE
CLOSING = 1.0  # seconds for the courtesies of closing; then the line is cut
CONFIRM_TIMEOUT = 10.0  # seconds without a further confirm for what was published
BLOCKED_TIMEOUT = 60.0  # seconds the same list waits for a RabbitMQ that says it has no room
CLAIM_TIMEOUT = 10.0  # seconds a caller waits for a claim: SILENCE, and one more connection
CLAIM_IDLE = 30.0  # seconds after which the connection is closed over which nothing was claimed

REFRESH = 5.0  # seconds between two declarations of what is consumed
QUIET = 3.0  # seconds without a word on a Redis fan-out, after which one is asked for
KEEP_ALIVE = 1.0  # seconds between two looks at a connection on which nothing is sent or taken
LIFETIME_REFRESH = 60.0  # seconds between two extensions of what a Redis list has to live

STANDSTILL = 0.5  # seconds between two turns of a listener, which takes a tenth: it stood still
LOOK = 5.0  # seconds between two looks at whether a thread comes round
LOOKS_IN_VAIN = 6  # in which it did not: it hangs, and another takes its place
