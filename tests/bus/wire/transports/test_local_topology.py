"""Routing by topic."""

from __future__ import annotations

import pytest

from bus.wire.transports.local.topology import matches


@pytest.mark.parametrize(
    ("pattern", "key", "routed"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("a.#", "a", True),
        ("a.#", "a.b.c", True),
        ("#", "", True),
        ("#", "a.b", True),
        ("#.b", "b", True),
        ("#.b", "a.a.b", True),
        ("#.b", "b.a", False),
        ("*.#.b", "a.x.y.b", True),
        ("*.#.b", "b", False),
        ("#.#", "a", True),
        ("a+b", "aab", False),
    ],
)
def test_topics_match_as_amqp_has_it(pattern: str, key: str, routed: bool) -> None:
    """``*`` is exactly one word, ``#`` is any number of them, none included."""
    assert matches(pattern, key) is routed
