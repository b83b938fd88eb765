"""kombu's ``filesystem`` transport, hardened: for taskflow's peers that meet us in a folder.

What lies on the disk is kombu's own layout, so that an unmodified taskflow engine or worker is the
peer: one file for each message, ``<ms>_<anything>.<queue>.msg``, and one JSON table of bindings for
each exchange. Below the PATH of the URL::

    messages/   data_folder_in and data_folder_out of kombu, both
    control/    control_folder of kombu: <exchange>.exchange
    taskline/   ours: a desk for each connection (what it is writing, what it has taken), and a lock

kombu's own transport loses messages there, swaps them, and ends its reader by them. Here:

*Nothing is torn.* What we write appears under its name when it is complete. What a peer of kombu's
is still writing is waited for, a moment; what then is no message is delivered as one without a
kind, for the dispatcher to refuse. It costs nothing else.

*Nothing is swapped.* Our files' names are in the order of their writing, also as text, which is how
kombu sorts them, and also when a machine has been up for 10^n milliseconds. What kombu has written
in the same millisecond under random names we take by the files' times, as far as those differ.

*Nothing is taken from others.* A file belongs to the queue that its name ends with, from the first
dot on; a reader owns what it has moved to its desk. What a killed reader held, or a closing one, is
moved back under its old name: to its old place.

*Nothing grows.* An exchange's table keeps the 1,000 newest keys that are uuids, which is how
taskflow's executors call themselves; kombu's keeps all there ever were. What we wrote and nobody
has read for a day is removed. A table that is damaged, or gone, is written anew by who reads the
queue, every few seconds.

What stays as it is with files: a reader looks for new ones (every 2 to 50 ms; kombu's, every
second), no queue has an expiry, and ``auto_delete`` does nothing. Locks are ``flock``: peers on
several machines need a file system that has it for all of them. After a loss of power the newest
files may be missing or cut.

The rooms: ``layout`` (names of folders and files), ``tables`` (bindings), ``desk`` (what a
connection has of its own, and the life of that), ``post`` (writing, finding and taking messages),
``channel``, ``transport``. POSIX only. A connection belongs to one thread.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError(
        "filesystem:// needs POSIX file locks, which Windows does not have: name another broker, "
        "for instance redis://host/0"
    )

from bus.wire.transports.filesystem.transport import Transport

__all__ = ["Transport"]
