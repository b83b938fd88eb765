"""What taskflow's peers can read: JSON as kombu's serializer takes it in.

Two values that may travel between our own peers end the thread that reads them in a taskflow
process, and its engine then waits for ever (seen with taskflow 6.5.0 and kombu 5.7):

* an int of more digits than Python converts by default;
* an object with exactly the keys ``__type__`` and ``__value__``, which kombu takes for one of its
  own encoded objects and revives (``kombu.utils.json.object_hook``).

Decided here: whether a value has one of these. Asked before anything is sent to a taskflow peer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from protocol.errors import ValueRefused
from protocol.failure import FailureDict
from protocol.values import Json

#: The largest number of digits that every Python reads (``sys.int_info.default_max_str_digits``).
MAX_DIGITS: Final = 4300
_VAST: Final = 10**MAX_DIGITS
_REVIVED: Final = frozenset({"__type__", "__value__"})


def check(value: Json, what: str) -> None:
    """Raise ``ValueRefused``, naming the path, if a taskflow peer cannot read ``value``.

    ``value`` has passed ``values.check``: it is JSON and no deeper than that allows.
    """
    if isinstance(value, Mapping):
        if value.keys() == _REVIVED:
            raise ValueRefused(
                f"{what}: an object with exactly the keys '__type__' and '__value__' cannot travel "
                "to a taskflow peer, which takes it for an encoded object; add or rename a key",
                what,
            )
        for key, item in value.items():
            check(item, f"{what}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for place, item in enumerate(value):
            check(item, f"{what}[{place}]")
    elif isinstance(value, int) and not -_VAST < value < _VAST:
        raise ValueRefused(
            f"{what}: an int of more than {MAX_DIGITS} digits cannot travel to a taskflow peer; "
            "send it as text",
            what,
        )


def is_readable(value: Json) -> bool:
    """Whether a taskflow peer can read ``value``."""
    try:
        check(value, "")
    except ValueRefused:
        return False
    return True


def readable_failure(failure: FailureDict) -> FailureDict:
    """``failure`` with the arguments dropped, at every depth, that a taskflow peer cannot read."""
    kept = dict(failure)
    if not is_readable(kept.get("exc_args", [])):
        kept["exc_args"] = []
    kept["causes"] = [readable_failure(cause) for cause in kept.get("causes", [])]
    return kept
