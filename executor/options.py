"""What is said of a call beside the call, and what comes of it when the call is submitted.

Decided here: what cannot be meant, which is refused where it is said (``lay_over``), and what goes
before what: options given later before those given earlier, and both before what the task says of
itself (``order_of``). What ``Executor.options`` documents is what these are. Any thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, get_args

from bus.wire import BrokerUrl, demand_place
from executor.moments import Moments
from executor.recall import OnConflict
from executor.request import Order
from protocol.errors import ConfigurationError
from protocol.rate import Rate, parse_rate
from protocol.resources import Requirements, parse_requirements
from protocol.retry import Retry, parse_retries
from protocol.task import (
    MAX_LIMIT,
    Delivery,
    TaskOptions,
    check_limits,
    check_max_running,
    check_priority,
    check_retries,
)
from protocol.topology import check_name
from protocol.values import Json

MAX_KEY: Final = 200  # characters


@dataclass(frozen=True, slots=True)
class Options:
    """How a call is made, not what is called. None: nothing was said of it."""

    timeout: float | None = None
    topic: str | None = None
    on_progress: Callable[[float, dict[str, Json]], object] | None = None
    on_event: Callable[[str, dict[str, Json]], object] | None = None
    key: str | None = None
    on_conflict: OnConflict | None = None
    unique_for: float | None = None
    delivery: Delivery | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    priority: int | None = None
    delay: float | None = None
    eta: datetime | None = None
    rate: str | None = None
    max_running: int | None = None
    retries: Retry | int | None = None
    resources: Requirements | Mapping[str, Any] | None = None
    worker: str | None = None


def lay_over(here: Options, said: Options, topics: Sequence[str], broker: BrokerUrl) -> Options:
    """What holds when this is said where those hold. Raises ``ConfigurationError``.

    ``topics`` and ``broker``: the executor's.
    """
    _check(said, topics, broker)
    if said.resources is not None:
        said = replace(said, resources=parse_requirements("options()", said.resources))
    if said.delay is not None or said.eta is not None:
        here = replace(here, delay=None, eta=None)
    names = [each.name for each in fields(Options)]
    given = {name: getattr(said, name) for name in names if getattr(said, name) is not None}
    laid = replace(here, **given)
    check_limits("options()", laid.time_limit, laid.soft_time_limit)
    if said.retries is not None and laid.delivery is not None:
        check_retries("options()", parse_retries("options()", said.retries), laid.delivery)
    return laid


def order_of(
    uuid: str,
    task: str,
    body: bytes,
    options: Options,
    recorded: TaskOptions,
    *,
    topics: tuple[str, ...],
    named_only: bool,
    moments: Moments,
    wants_events: bool = False,
) -> Order:
    """The order for a call that is submitted now. Raises ``ConfigurationError``.

    ``recorded``: what the task says of itself; ``topics``: the executor's; ``named_only``: whether
    it can go to taskflow's workers; ``wants_events``: whatever the options say.
    """
    if options.unique_for is not None and options.key is None:
        raise ConfigurationError(
            f"cannot submit {task} with unique_for={options.unique_for!r} and no key: "
            "say what is to be unique, as options(key=…, unique_for=…)"
        )
    needs = parse_requirements("resources", options.resources or recorded.resources)
    time_limit, soft_time_limit = _limits(task, options, recorded, needs)
    delivery = options.delivery or recorded.delivery
    retries = recorded.retries if options.retries is None else options.retries
    policy = parse_retries("retries", retries)
    check_retries(f"submitting {task}", policy, delivery)
    not_before, eta = _start(options, moments)
    return Order(
        uuid,
        task,
        body,
        topics=(options.topic,) if options.topic else topics,
        named_only=named_only,
        timeout=options.timeout,
        wants_events=wants_events
        or options.on_progress is not None
        or options.on_event is not None,
        mode="amo" if delivery == "at_most_once" else "alo",
        time_limit=time_limit,
        soft_time_limit=soft_time_limit,
        key=options.key,
        not_before=not_before,
        eta=eta,
        priority=recorded.priority if options.priority is None else options.priority,
        rate=_rate(options.rate or recorded.rate),
        max_running=options.max_running or recorded.max_running,
        retries=policy,
        needs=needs,
        worker=options.worker,
    )


def _check(said: Options, topics: Sequence[str], broker: BrokerUrl) -> None:
    """Each by itself. Raises ``ConfigurationError`` for what cannot be meant."""
    timeout, topic, key = said.timeout, said.topic, said.key
    if timeout is not None and not (isinstance(timeout, (int, float)) and timeout > 0):
        raise ConfigurationError(f"timeout={timeout!r}: seconds, more than 0")
    if topic is not None and check_name("topic", topic) not in topics:
        raise ConfigurationError(
            f"topic={topic!r} is not one of this executor's: {list(topics)}; "
            f"make it with Executor(topics=[…, {topic!r}])"
        )
    if key is not None and not (isinstance(key, str) and 0 < len(key) <= MAX_KEY):
        raise ConfigurationError(f"key={key!r}: a text of 1 to {MAX_KEY} characters")
    _check_choice("on_conflict", said.on_conflict, get_args(OnConflict))
    if said.unique_for is not None:
        _check_unique_for(said.unique_for)
        demand_place(broker, f"unique_for={said.unique_for!r}")
    _check_choice("delivery", said.delivery, get_args(Delivery))
    if said.priority is not None:
        check_priority("options()", said.priority)
    if said.rate is not None:
        parse_rate("options()", said.rate)
    if said.max_running is not None:
        check_max_running("options()", said.max_running)
    parse_retries("options()", said.retries)
    if said.worker is not None:
        check_name("worker", said.worker)
    if said.delay is not None or said.eta is not None:
        _check_start(said.delay, said.eta)


def _check_choice(name: str, value: str | None, choices: Sequence[str]) -> None:
    if value is not None and value not in choices:
        raise ConfigurationError(f"{name}={value!r}: choose from {list(choices)}")


def _check_unique_for(seconds: float) -> None:
    """Raise ``ConfigurationError`` for what no claim can last."""
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not is_number or not 0.001 <= seconds <= MAX_LIMIT:
        raise ConfigurationError(
            f"unique_for={seconds!r}: seconds from submit, from 0.001 to {MAX_LIMIT:.0f} (ten "
            "years)"
        )


def _check_start(delay: float | None, eta: datetime | None) -> None:
    """Raise ``ConfigurationError`` for a start that cannot be meant."""
    if delay is not None and eta is not None:
        raise ConfigurationError(
            f"delay={delay!r} and eta={eta!r}: two times to start at; give one of them"
        )
    if delay is not None:
        is_number = isinstance(delay, (int, float)) and not isinstance(delay, bool)
        if not is_number or not 0 <= delay <= MAX_LIMIT:
            raise ConfigurationError(
                f"delay={delay!r}: seconds from submit, from 0 to {MAX_LIMIT:.0f} (ten years); for "
                "a point in time there is eta=…"
            )
        return
    if not isinstance(eta, datetime):
        raise ConfigurationError(
            f"eta={eta!r}: a datetime with a time zone, such as datetime.now(timezone.utc) + "
            "timedelta(hours=1); for seconds from now there is delay=…"
        )
    if eta.utcoffset() is None:
        raise ConfigurationError(
            f"eta={eta!r} has no time zone, so nobody can tell when that is: give it one, as "
            "eta.astimezone() does with the local one, or datetime(…, tzinfo=timezone.utc)"
        )
    if eta.timestamp() - time.time() > MAX_LIMIT:
        raise ConfigurationError(f"eta={eta!r} is more than ten years from now")


def _limits(
    task: str, options: Options, recorded: TaskOptions, needs: Requirements | None
) -> tuple[float | None, float | None]:
    """The two limits of a call: what is said beside it, else what the task says of itself.

    A wall time is the first of them where nothing else is said of it.
    """
    time_limit, soft = options.time_limit, options.soft_time_limit
    if time_limit is None:
        time_limit = recorded.time_limit
    if soft is None:
        soft = recorded.soft_time_limit
    wall_time = None if needs is None else needs.wall_time
    if time_limit is None:
        time_limit = wall_time
    if (options.time_limit, options.soft_time_limit, wall_time) != (None, None, None):
        check_limits(f"submitting {task}", time_limit, soft)
    return time_limit, soft


def _start(options: Options, moments: Moments) -> tuple[float | None, float | None]:
    """When a call submitted now may start, in the executor's clock and by the wall's."""
    if options.delay:
        return time.monotonic() + options.delay, time.time() + options.delay
    if options.eta is not None and (eta := options.eta.timestamp()) > time.time():
        return moments.of(eta), eta
    return None, None


@lru_cache(maxsize=1024)
def _rate(text: str | None) -> Rate | None:
    """As it was given, and found to be one."""
    return None if text is None else parse_rate("rate", text)
