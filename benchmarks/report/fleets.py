"""What the simulation came to, in tables; see ``benchmarks.simulation``."""

from __future__ import annotations

import dataclasses

from benchmarks.report.tables import table
from benchmarks.simulation.files import Found, Row
from benchmarks.simulation.fleet import LARGE
from benchmarks.statistics import rounded

#: What a large fleet is asked and a real one can answer: by the names in ``Outcome``.
_COMPARED = {
    "throughput": "ended/s",
    "executor_in": "executor in/s",
    "executor_out": "executor out/s",
    "executor_cpu": "executor, cores",
    "worker_cpu": "worker, cores",
    "broker_cpu": "broker, cores",
}
_MICRO = 1e6


def fleets(found: Found | None) -> str:
    """Each group of fleets; the large one last."""
    if found is None:
        return ""
    parts = []
    for group in dict.fromkeys(row.group for row in found.rows):
        rows = [row for row in found.rows if row.group == group]
        parts += [f"**{group[:1].upper()}{group[1:]}**", table(_HEAD, map(_fleet, rows))]
    return "\n\n".join(parts)


def whole(found: Found | None) -> str:
    """The large fleet, in a sentence."""
    rows = [] if found is None else [row for row in found.rows if row.group == LARGE]
    if not rows:
        return ""
    fleet, outcome = rows[0].fleet, rows[0].predicted
    return (
        f"{fleet.requests:,} requests on {fleet.workers:,} workers of {fleet.executors} executors: "
        f"{outcome.ended:,} ended within {outcome.seconds / 3600:.1f} hours of the fleet's time, "
        f"{outcome.lost:,} runs were lost with their worker and run again; half of all requests "
        f"waited {_ms(outcome.wait_p50)} for their start, 99 of 100 at most "
        f"{_ms(outcome.wait_p99)}. The model took {outcome.took:.0f} s for it."
    )


def check(found: Found | None) -> str:
    """Predicted beside measured, and the one over the other."""
    if found is None:
        return ""
    lines = []
    for row in found.rows:
        cells = [f"{row.fleet.workers}"]
        for name in _COMPARED:
            predicted = getattr(row.predicted, name)
            measured = 0.0 if row.measured is None else getattr(row.measured, name)
            over = f" ({predicted / measured:.2f})" if measured else ""
            cells.append(f"{rounded(predicted)} / {rounded(measured)}{over}")
        lines.append(cells)
    return table(["workers", *_COMPARED.values()], lines)


def costs(found: Found | None) -> str:
    """What was measured for it: microseconds of CPU, but where it says otherwise."""
    if found is None:
        return ""
    rows = []
    for name, value in dataclasses.asdict(found.costs).items():
        if isinstance(value, float):
            rows.append([name, rounded(value * _MICRO)])
        elif not isinstance(value, bool) and isinstance(value, int):
            rows.append([name.replace("_", " "), f"{value} B"])
    return table(["", f"on {found.costs.broker}"], rows)


_HEAD = (
    *("workers", "executors", "beat", "executor in/s", "out/s", "executor, cores"),
    *("most of it", "broker, cores", "wait p99", "holds"),
)


def _fleet(row: Row) -> list[str]:
    fleet, outcome = row.fleet, row.predicted
    parts = sorted(outcome.parts.items(), key=lambda part: -part[1])[:2]
    whole = sum(outcome.parts.values())
    most = ", ".join(f"{name} {share / whole:.0%}" for name, share in parts) if whole else ""
    return [
        f"{fleet.workers:,}",
        f"{fleet.executors}",
        f"{fleet.beat:g}",
        rounded(outcome.executor_in),
        rounded(outcome.executor_out),
        rounded(outcome.executor_cpu),
        most,
        rounded(outcome.broker_cpu),
        _ms(outcome.wait_p99),
        "yes"
        if outcome.holds
        else "no" + (f", {outcome.blind:.0%} blind" if outcome.blind else ""),
    ]


def _ms(seconds: float) -> str:
    return f"{rounded(seconds)} s" if seconds >= 1.0 else f"{rounded(seconds * 1000)} ms"
