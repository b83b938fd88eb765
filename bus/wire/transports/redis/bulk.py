"""Many messages from a list in one round trip, each with its note that it is held.

kombu takes one message with BRPOP and notes it with a transaction: two round trips for each, and a
moment between them in which a kill loses it. A script does both at once for as many as there are.

Decided here: how many are taken, and that a message without a note is better than none. Redis runs
a script as a whole, so what a lost answer had in it is noted, and comes back like what a killed
consumer held. Channel's thread.
"""

from __future__ import annotations

import json
import time
from typing import Any, Final

from kombu.utils.uuid import uuid

#: Most messages in one round trip.
MOST: Final = 100

#: KEYS: the list, the notes, their index. ARGV: how many, how many bytes, the time, what tags begin
#: with, what a note ends with. A note that is refused (no memory) is left out: what was taken is
#: handed over all the same.
_SCRIPT: Final = """
local taken, bytes = {}, 0
for n = 1, tonumber(ARGV[1]) do
  local raw = redis.call('RPOP', KEYS[1])
  if not raw then break end
  taken[n] = raw
  local tag = ARGV[4] .. n
  local noted = redis.pcall('HSET', KEYS[2], tag, '[' .. raw .. ARGV[5])
  if type(noted) == 'number' then
    redis.pcall('ZADD', KEYS[3], ARGV[3], tag)
  end
  bytes = bytes + #raw
  if bytes >= tonumber(ARGV[2]) then break end
end
return taken
"""


class Bulk:
    """Takes from the lists of one channel."""

    def __init__(self, client: Any, prefix: str, notes: str, index: str) -> None:
        """``client``: one that adds no prefix of its own."""
        self._script = client.register_script(_SCRIPT)
        self._prefix = prefix
        self._keys = [f"{prefix}{notes}", f"{prefix}{index}"]

    def take(self, key: str, queue: str, most: int, most_bytes: int) -> list[tuple[str, bytes]]:
        """Up to ``most`` messages of the list at ``key``, each with the tag of its note.

        No more once they are ``most_bytes`` together. ``queue``: where they go back to. Raises what
        redis-py does, for instance where scripts are not allowed; nothing was taken then, or all of
        it was noted.
        """
        first = uuid()
        where = f',"",{json.dumps(queue)}]'  # through the default exchange, as kombu notes it
        taken = self._script(
            keys=[f"{self._prefix}{key}", *self._keys],
            args=[most, most_bytes, time.time(), first, where],
        )
        return [(f"{first}{n}", raw) for n, raw in enumerate(taken, 1)]
