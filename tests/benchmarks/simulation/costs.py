"""Costs that are easy to reckon with."""

from __future__ import annotations

from typing import Final

from benchmarks.simulation.costs import Costs

COSTS: Final = Costs(
    broker="redis",
    request=100e-6,
    turn=50e-6,
    beat=100e-6,
    choose=1e-6,
    expiry=0.0,
    work=100e-6,
    work_turn=50e-6,
    answer=100e-6,
    handover=0.0,
    publish=20e-6,
    drain=20e-6,
    publish_list=30e-6,
    drain_list=30e-6,
    carry=20e-6,
    way=0.5e-3,
    request_bytes=300,
    running_bytes=100,
    success_bytes=200,
    beat_bytes=400,
    receipt_bytes=100,
)
