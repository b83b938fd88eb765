"""kombu's Redis transport, cured; what is written to Redis is the same but for what is said here.

*Speed.* kombu makes a ``redis.Redis`` for every command it sends, six for each task, and redis-py
takes some 80 µs of CPU to make one: almost half of what a submitter spends. A channel belongs to
one thread, so it can keep the one it has. And kombu takes one message at a time, with three round
trips: what waits behind it is taken by a script, a hundred at once, each with its note, and what
was delivered together is acknowledged together. What is for one of our own queues does not take
kombu's way at all: it is put into its list as text, many with one command. Who always finds one
message only looks for more now and then.

*Nothing taken is dropped.* What has been popped from a list is noted in Redis before it is
delivered, in a second step. Where Redis refuses that (it is out of memory, or a replica now, or the
line breaks between the two), kombu dropped the message, and the next, and the next. Here it is
delivered all the same: only a kill in that moment would cost it. What a closing consumer gives back
keeps its order: kombu's, pushed back oldest first onto the end that is read, came out newest first.
Of what is taken alone from a queue of our own the note is left out if it is acknowledged at once.

*No call without an end.* Each answer is waited for ``SILENCE`` at most (the option
``socket_timeout``), each step of connecting ``CONNECT_TIMEOUT``; a list or a fan-out from which
nothing comes any more, not even the end of a wait, raises out of the drain. Closing asks Redis to
end the wait that is under way, and takes no second. Another thread may cut the lines.

*What was deleted comes back.* A queue bound to a direct exchange is bound again by who consumes it
and by who publishes to it. Lists that nobody reads any more get an expiry (``lifetimes``), one more
command of a batch, and no round trip.

*Nonsense* that somebody pushed into a list ends no connection: it is delivered as a message without
a kind, for the dispatcher to refuse. It has left the list already.

The rooms: ``lines`` (redis-py's connections), ``plain`` (what is put into lists), ``bulk`` (many
taken at once), ``held`` (what is taken and not acknowledged), ``claims`` (names that one has for so
many seconds), ``channel``, ``transport``.
"""

from __future__ import annotations

from bus.wire.transports.redis.channel import Channel
from bus.wire.transports.redis.transport import Transport

__all__ = ["Channel", "Transport"]
