"""Where the calls of a task go, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.calls.counter import Calls


def by_room(parts: Mapping[str, Calls]) -> str:
    """A row for each room, a column for each part; the dearest first."""
    rooms = {name: calls.rooms() for name, calls in parts.items()}
    order = sorted(
        {room for of_it in rooms.values() for room in of_it},
        key=lambda room: -max(of_it.get(room, 0.0) for of_it in rooms.values()),
    )
    letters = [chr(ord("A") + number) for number in range(len(parts))]
    lines = [f"{letter}  {name}" for letter, name in zip(letters, parts, strict=True)]
    lines += ["", _row("", letters), _row("in all", [f"{c.total:,.0f}" for c in parts.values()])]
    if any(calls.messages for calls in parts.values()):
        told = [f"{calls.messages:.2f}" if calls.messages else "" for calls in parts.values()]
        lines.append(_row("broker messages", told))
    for room in order:
        counts = [rooms[name].get(room, 0.0) for name in parts]
        if max(counts) >= 1.0:
            lines.append(_row(room, [f"{count:,.0f}" if count else "" for count in counts]))
    return "\n".join(lines)


def by_function(parts: Mapping[str, Calls], most: int) -> str:
    """Of each part the functions that are called most."""
    lines = []
    for name, calls in parts.items():
        lines += ["", f"{name}: {calls.total:,.0f} calls for a task"]
        dearest = sorted(calls.places.items(), key=lambda item: -item[1])[:most]
        lines += [f"{count:8.1f}  {room}  {what}" for (room, what), count in dearest]
    return "\n".join(lines)


def _row(name: str, cells: list[str]) -> str:
    return f"{name:32}" + "".join(f"{cell:>7}" for cell in cells)
