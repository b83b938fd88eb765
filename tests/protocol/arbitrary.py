"""What a peer may send, as Hypothesis strategies: any JSON, and JSON that is nearly a message."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

#: Half a pair each, which JSON cannot tell from the character they spell together.
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")

#: Any text, lone surrogates and line ends included.
texts = st.text(st.characters(), max_size=20).filter(lambda text: not _PAIR.search(text))

#: Values at the edges of what schemas and readers tell apart.
odd_values: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(None, True, False, 0, 1, -1, 2, 4096, 4097, 2**53 - 1, 2**53, 10**400, -(10**400)),
        *(0.0, 1.0, -1.0, 1.5, 4096.0, 9007199254740991.0, 1e300),
        *("", "\n", "x", "x\n", "é", "\ud800", "a" * 65, "0" * 16, "0" * 16 + "\n"),
        *("1:2", "1:2\n", "1:2-", "1:2 ", "alo", "alo\n", "full", "full\n"),
        *("SUCCESS", "SUCCESS\n", "execute", "revert\n", "success", "failure\n"),
        *([], [[]], [None], ["x", 1], {}, {"": 1}, {"x": {}}, {"result": None}, {"details": {}}),
        *(["success", 1], ["success"], ["failure", {}], ["failure", 1, 2], {"causes": []}),
    ]
).map(deepcopy)

finite_floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers() | finite_floats | texts

#: Any JSON value, as a parser would give it.
json_values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def nearly(draw: st.DrawFn, valid: list[Any]) -> Any:
    """One of the valid values, with up to three small things done to it."""
    root = [deepcopy(draw(st.sampled_from(valid)))]
    for _ in range(draw(st.integers(0, 3))):
        container, key = draw(st.sampled_from(_places(root)))
        value = container[key]
        change = draw(st.sampled_from(["replace", "remove", "add", "line end", "other number"]))
        if change == "replace":
            container[key] = draw(odd_values | json_values)
        elif change == "remove" and container is not root:
            del container[key]
        elif change == "add" and isinstance(value, dict):
            value[draw(texts)] = draw(odd_values)
        elif change == "add" and isinstance(value, list):
            value.append(draw(odd_values | st.sampled_from([*value, None])))
        elif change == "line end" and isinstance(value, str):
            container[key] = value + "\n"
        elif change == "other number" and isinstance(value, int) and abs(value) < 2**53:
            container[key] = draw(st.sampled_from([float(value), bool(value), -value, 10**400]))
    return root[0]


def _places(root: list[Any]) -> list[tuple[Any, Any]]:
    """Every value inside, as its container and its place in it."""
    found: list[tuple[Any, Any]] = []
    todo: list[Any] = [root]
    while todo:
        container = todo.pop()
        keys = list(container) if isinstance(container, dict) else range(len(container))
        for key in keys:
            found.append((container, key))
            if isinstance(container[key], (dict, list)):
                todo.append(container[key])
    return found
