"""What an executor says on a bus: every change of every request, each after it is in the journal.

Decided here: which events those are, and in which order. They are the lines of a journal, whether
there is one or not, and ``Progress``, which no journal has:

* ``Opened``; then, of each request that was taken up from a journal, all that was said of it before
  (with the time of now, which is when it is published);
* of each request ``Submitted`` first and ``Ended`` last, and what lies between in its order, as far
  as its caller and its worker do not cross each other: ``Cancelled`` may come after ``Ended``, as
  in a journal, and changes nothing then;
* ``WorkerSeen`` and ``WorkerGone``;
* ``Closed``, before which all that was still open has failed, or, with a journal, is left as it is.

So ``History.apply`` may be put on the bus before the executor is made, and knows at any time what a
replay of the journal would tell. Several executors may speak on one bus, but a history is of one.

Called on the keeper's thread, and for what fails when that has ended, on the deliverer's: never on
a caller's, so that no subscriber is called within ``submit`` or ``cancel``. Nobody waits for a
subscriber. Without a listener it costs a look for each turn of the keeper's.
"""

from __future__ import annotations

from collections.abc import Iterable

from bus.news import Bus
from executor import outcomes
from executor.effects import Error
from executor.request import Order
from protocol.events import Cancelled, Closed, Event, Opened, Progress, Submitted
from protocol.history import RequestStatus
from protocol.values import loads


class Herald:
    """Says nothing without a bus."""

    def __init__(self, bus: Bus | None, opened: Opened, *, keeps_journal: bool) -> None:
        self._bus = bus
        self._opened = opened
        self._keeps_journal = keeps_journal
        #: What was taken up, until it is said.
        self._taken: list[Event] = []
        #: What callers said in this turn.
        self._said: list[Event] = []

    @property
    def is_heard(self) -> bool:
        """Whether anybody listens. Any thread."""
        return self._bus is not None and self._bus.is_heard

    @property
    def wants_progress(self) -> bool:
        """Whether anybody listens to what running tasks say. Any thread."""
        return self._bus is not None and self._bus.wants(Progress)

    def took_up(self, statuses: Iterable[RequestStatus]) -> None:
        """Before the keeper starts: these were open in the journal."""
        if self._bus is not None:
            self._taken = [entry.event for status in statuses for entry in status.trail]

    def opened(self) -> None:
        """The keeper begins."""
        taken, self._taken = self._taken, []
        self._publish([self._opened, *taken])

    def submitted(self, order: Order) -> None:
        """A caller has; told with the turn."""
        body = loads(order.body.decode("utf-8")) if self._wants(Submitted) else None
        self._said.append(order.to_event(body))

    def cancelled(self, uuid: str, *, force: bool) -> None:
        """A caller has; told with the turn."""
        self._said.append(Cancelled(uuid, force))

    def turned(self, happened: Iterable[Event]) -> None:
        """A turn is done, and this came of it."""
        said, self._said = self._said, []
        self._publish(said)
        self._publish(happened)

    def failed(self, uuid: str, error: Exception) -> None:
        """It was open when the keeper ended."""
        if not self._keeps_journal:  # else it is open still, for who takes it up
            self._publish([outcomes.to_event(uuid, Error(error))])

    def closed(self) -> None:
        """Nothing more is said."""
        self._publish([Closed()])

    def _wants(self, kind: type[Event]) -> bool:
        return self._bus is not None and self._bus.wants(kind)

    def _publish(self, events: Iterable[Event]) -> None:
        if self._bus is not None:
            for event in events:
                self._bus.publish(event)
