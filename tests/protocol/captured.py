"""Frames of a real flow: taskflow 6.5.0's engine and worker over amqp, one flow that fails.

Its first task succeeds, its second raises, both are reverted. Kept in ``captured_frames.json`` as
they were seen, but with ``traceback_str`` shortened.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Frame:
    """One message as it was on the wire."""

    #: ``t1`` is the worker's topic; anything else is the engine's reply queue.
    routing_key: str
    #: Only those that were set: amqp leaves out the others.
    properties: dict[str, str]
    body: str

    @property
    def at_worker(self) -> bool:
        """Whether the worker was to read it."""
        return self.routing_key == "t1"

    @property
    def kind(self) -> str:
        """The property ``type``."""
        return self.properties["type"]


_FILE: Final = Path(__file__).with_name("captured_frames.json")

#: In the order in which they were seen.
FRAMES: Final = tuple(Frame(**frame) for frame in json.loads(_FILE.read_text(encoding="utf-8")))
