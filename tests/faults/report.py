"""The page of results: a table for each fault, and what is promised, from a template beside this.

Of each fault, broker, kind and size the worst over all seeds is shown.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.faults.result import Result
from tests.faults.scenarios import SCENARIOS
from tests.faults.stage import BROKERS
from tests.processes import PROJECT

PAGE = PROJECT / "docs" / "reliability.md"
TEMPLATE = Path(__file__).with_name("reliability.template.md")

_HEAD = (
    "| broker | kind | seeds | requests | lost | doubled | executed again | recovery | passed | "
    "also counted |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
)


def line(result: Result) -> str:
    """One play, for the terminal."""
    where = f"{result.scenario:4} {result.variant or '-':18} {result.broker:10} {result.seed}"
    if result.skipped:
        return f"{where}  skipped: {result.skipped}"
    figures = (
        f"{result.tasks} requests, {result.lost} lost, {result.doubled} doubled, "
        f"{_again([result])} again, recovery {_recovery([result])}, {result.seconds:.0f} s"
    )
    verdict = "FAILED" if result.problems else "ok"
    return "\n        ".join([f"{where}  {verdict:6} {figures}", *result.problems])


def write(results: Sequence[Result]) -> None:
    """Write the page."""
    played = [result for result in results if not result.skipped]
    text = TEMPLATE.read_text()
    text = text.replace("{{of}}", _of(played)).replace("{{overview}}", _overview(played))
    PAGE.write_text(text.replace("{{tables}}", "\n".join(_tables(played)).strip()))


def _of(results: Sequence[Result]) -> str:
    """What was tested, when, with what."""
    keys = ("commit", "date", "python", "kombu", "amqp", "redis", "server", "system")
    seen = {key: sorted({r.of[key] for r in results if key in r.of}) for key in keys}
    words = {"python": "Python", "redis": "redis-py", "amqp": "py-amqp"}
    return "; ".join(f"{words.get(key, key)} {', '.join(seen[key])}" for key in keys if seen[key])


def _overview(results: Sequence[Result]) -> str:
    """Fault by broker: whether all of it passed."""
    rows = [f"| fault | {' | '.join(BROKERS)} |", "| --- " * (len(BROKERS) + 1) + "|"]
    for scenario in SCENARIOS.values():
        cells = []
        for broker in BROKERS:
            of_it = [r for r in results if (r.scenario, r.broker) == (scenario.code, broker)]
            bad = sum(bool(r.problems) for r in of_it)
            passed = "passed" if not bad else f"**{bad} of {len(of_it)} failed**"
            cells.append(passed if of_it else "not played" if broker in scenario.brokers else "–")
        rows.append(f"| {scenario.code} {scenario.name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _tables(results: Sequence[Result]) -> Iterable[str]:
    for scenario in SCENARIOS.values():
        of_it = [result for result in results if result.scenario == scenario.code]
        if not of_it:
            continue
        yield f"### {scenario.code} {scenario.name}\n\n{scenario.words}\n"
        rows = []
        for broker in BROKERS:
            for variant, size in itertools.product(scenario.variants, ("full", "quick")):
                kind = (broker, variant, size)
                here = [r for r in of_it if (r.broker, r.variant, r.size) == kind]
                if here:
                    rows.append(row(*kind, here))
        yield _HEAD + "\n".join(rows) + "\n"
        for result in of_it:
            for problem in result.problems:
                first = problem.strip().splitlines()[0]
                yield f"* {result.broker}, {result.variant or 'seed'} {result.seed}: {first}"
        yield ""


def row(broker: str, variant: str, size: str, chosen: Sequence[Result]) -> str:
    passed = sum(not result.problems for result in chosen)
    cells = [
        broker,
        variant or "–",
        str(len(chosen)) + ("" if size == "full" else " (quick)"),
        str(max(result.tasks for result in chosen)),
        str(max(result.lost for result in chosen)),
        str(max(result.doubled for result in chosen)),
        _again(chosen),
        _recovery(chosen),
        f"{passed} of {len(chosen)}",
        _notes(chosen),
    ]
    return f"| {' | '.join(cells)} |"


def _again(results: Sequence[Result]) -> str:
    """The worst, and the bound it had."""
    worst = max(results, key=lambda result: result.again)
    bound = "" if worst.again_allowed is None else f" (≤ {worst.again_allowed})"
    return f"{worst.again}{bound}"


def _notes(results: Sequence[Result]) -> str:
    """Whatever else was counted and is a number, from the smallest to the largest."""
    found: dict[str, list[float]] = {}
    for result in results:
        for name, value in result.notes.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                found.setdefault(name.replace("_", " "), []).append(value)
    return "; ".join(
        f"{name} {min(values):g}" + (f" to {max(values):g}" if max(values) > min(values) else "")
        for name, values in sorted(found.items())
    )


def _recovery(results: Sequence[Result]) -> str:
    times = [result.recover for result in results if result.recover is not None]
    return f"{max(times):.1f} s" if times else "–"
