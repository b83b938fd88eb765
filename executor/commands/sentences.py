"""What happened, in words: each event of a journal as a sentence, for people. Pure.

Names and texts come from callers and peers, so what a terminal would obey is shown and not printed.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Final

from protocol.events import (
    Cancelled,
    Closed,
    Discarded,
    Dispatched,
    Ended,
    Event,
    Opened,
    Over,
    OverReason,
    Progress,
    Round,
    Running,
    Submitted,
    WorkerGone,
    WorkerSeen,
)
from protocol.jobs import (
    ClusterDesired,
    ClusterSize,
    JobAnnotated,
    JobCompleted,
    JobEvent,
    JobFailed,
    JobIssued,
    JobKilled,
    JobMissing,
    JobPlaced,
    JobStarted,
    JobUpdated,
)
from protocol.values import Json, dumps

SHOWN: Final = 100  # characters of a value or a message

_OVER: Final[dict[OverReason, str]] = {
    "never": "it was not started there and will not be",
    "lost": "its worker is silent or gone",
    "dropped": "its worker has thrown the result away",
}


def sentence(event: Event) -> str:
    """One event, without its time and number."""
    return printable(_sentence(event))


def printable(text: str) -> str:
    """``text`` with whatever is no letter, sign or space written as Python writes it."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def duration(seconds: float) -> str:
    """A time that has passed, roughly: ``12 s``, ``3 min``, ``5 h``, ``2 days``."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def moment(stamp: float) -> str:
    """A time by the wall clock here, to the millisecond."""
    try:
        here = datetime.fromtimestamp(stamp, tz=timezone.utc).astimezone()
    except (OverflowError, OSError, ValueError):
        return f"{stamp:.3f}"
    return here.isoformat(sep=" ", timespec="milliseconds")[:23]


def _sentence(event: Event) -> str:
    if isinstance(event, Opened):
        known = "" if event.identity is None else f" of {event.identity}"
        return f"executor {event.executor} opened, incarnation {event.incarnation}{known}"
    if isinstance(event, Closed):
        return "executor closed in order"
    if isinstance(event, Submitted):
        return f"request {event.uuid} submitted: {event.task}{_conditions(event)}"
    if isinstance(event, Dispatched):
        to = f"{event.worker}{_process(event)}"
        return f"request {event.uuid}, attempt {event.attempt}: to {to}"
    if isinstance(event, Running):
        return f"request {event.uuid}, attempt {event.attempt}: runs"
    if isinstance(event, Progress):
        return f"request {event.uuid}: {event.fraction:.0%} done"
    if isinstance(event, Over):
        return f"request {event.uuid}, attempt {event.attempt}: over, {_OVER[event.reason]}"
    if isinstance(event, Round):
        return f"request {event.uuid}: a new round from attempt {event.base} on{_why(event)}"
    if isinstance(event, Cancelled):
        return f"request {event.uuid}: cancelled{' by force' if event.force else ''}"
    if isinstance(event, Ended):
        worker = f", by {event.worker}" if event.worker else ""
        dead = ", a dead letter" if event.dead else ""
        return f"request {event.uuid}: {event.outcome}{worker}{dead}{_came_of_it(event)}"
    if isinstance(event, Discarded):
        return f"request {event.uuid}: dropped from the dead letters"
    if isinstance(event, WorkerSeen):
        slots = "" if event.slots is None else f", {event.slots} slots"
        topics = ", ".join(event.topics)
        return f"worker {event.worker}{_process(event)} is there, topics {topics}{slots}"
    if isinstance(event, WorkerGone):
        return f"worker {event.worker}{_process(event)} is gone"
    return _of_a_job(event)


def _of_a_job(event: JobEvent) -> str:
    if isinstance(event, JobIssued):
        return f"job {event.job} issued: {event.kind}, batch id {event.batch_id}"
    if isinstance(event, JobPlaced):
        return f"batch id {event.batch_id}: {event.external_id} at {event.system}"
    if isinstance(event, JobStarted):
        return f"batch id {event.batch_id}: runs"
    if isinstance(event, JobKilled):
        return f"batch id {event.batch_id}: killed"
    if isinstance(event, JobCompleted):
        return f"job {event.job} came back: {event.kind}, exit code {event.exit_code}"
    if isinstance(event, JobUpdated):
        return f"job {event.job} is to be looked at, status {event.status}"
    if isinstance(event, JobFailed):
        return f"job {event.job} has failed for good: {event.kind}"
    if isinstance(event, JobMissing):
        return f"job {event.job} is missing in the batch system"
    if isinstance(event, JobAnnotated):
        return f"job {event.job}: {event.name} = {_short(event.value)}"
    if isinstance(event, ClusterSize):
        return f"machines of type {event.instance_type}: {event.size} are there"
    if isinstance(event, ClusterDesired):
        return f"machines of type {event.instance_type}: {event.size} are wanted"
    return f"queue: {event.size} jobs"


def _process(event: Dispatched | WorkerSeen | WorkerGone) -> str:
    return f" ({event.boot})" if event.boot else ""


def _why(event: Round) -> str:
    crashes = f"; {event.crashes} runs have ended their process" if event.crashes else ""
    if event.cause not in ("failure", "limit"):
        return crashes
    failure = f": {_short(_failure(event.failure))}" if isinstance(event.failure, dict) else ""
    wait = f", in {event.delay:.1f} s" if event.delay else ""
    return f"{crashes}, retry {event.retries}{wait}, after attempt {event.attempt} failed{failure}"


def _conditions(event: Submitted) -> str:
    found = ["at most once"] if event.mode == "amo" else []
    if event.key is not None:
        found.append(f"key {event.key!r}")
    if event.priority:
        found.append(f"priority {event.priority}")
    if event.rate is not None:
        found.append(f"rate {event.rate}")
    if event.max_running is not None:
        found.append(f"max_running {event.max_running}")
    if isinstance(event.retries, dict):
        found.append(f"retries {event.retries.get('max')}")
    if event.repeats is not None:
        found.append(f"repeats {event.repeats}")
    if event.not_before is not None:
        found.append(f"not before {moment(event.not_before)}")
    return f" ({', '.join(found)})" if found else ""


def _came_of_it(event: Ended) -> str:
    value = event.value
    if event.outcome == "success":
        return f": {_short(dumps(value))}"
    if event.outcome == "failure" and isinstance(value, dict):
        return f": {_short(_failure(value))}"
    if event.outcome == "error" and isinstance(value, dict):
        return f": {value.get('type')}: {_short(str(value.get('message')))}"
    return ""


def _failure(value: dict[str, Json]) -> str:
    """Of taskflow's failure dict what says most."""
    names = value.get("exc_type_names")
    kind = names[0] if isinstance(names, list) and names else "failure"
    return f"{kind}: {value.get('exception_str', '')}"


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
