"""Plain functions, offered by a native worker beside taskflow's: no taskflow in here."""

from __future__ import annotations


def multiply(x: int, y: int) -> int:
    """Their product."""
    return x * y
