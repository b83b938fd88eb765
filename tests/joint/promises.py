"""What the two rooms promise together, looked at from outside: after each step, whatever happened.

Nothing here knows how a ledger or a shift decides. It is told what was submitted, cancelled, sent,
heard, started and seen, and says which promise that breaks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from executor.effects import (
    Begin,
    Dispatch,
    Effect,
    Error,
    Failed,
    Outcome,
    Publish,
    Record,
    Resolve,
    Tell,
    Value,
    Withdrawn,
)
from protocol import envelope, messages, tickets
from protocol.errors import PoisonTask, RequestTimeout, TaskCancelled
from protocol.events import Dispatched, Ended, Event, Over, Round
from protocol.history import History
from protocol.messages import Message, Receipt, Release
from protocol.parcel import Parcel, Received
from protocol.timing import MAX_CRASHES
from tests.joint.holders import Holders, Sent
from worker.work import Work

if TYPE_CHECKING:
    from protocol.retry import Retry
    from tests.joint.worker import Run

#: Each in words.
PROMISES: Final = {
    "G1": "a future ends at most once, and after a cancel that was granted never with a result",
    "G2": "a request to be started at most once is started at most once, whoever dies",
    "G3": "honest peers never cause an illegal transition, and never an exception",
    "G4": "the end of an earlier round never ends the request, and no crash is counted twice",
    "G5": "nothing starts after its start-by, or once its cancel or expiry was settled",
    "G6": "one result is accepted; of an ended request nothing more is said, but receipts",
    "G7": "what the user saw is what the journal says, and nothing is sent before its line",
    "G8": "nothing confirmed goes to another worker while its holder lives within its lease",
    "G9": "a worker never starts what it said it never would, and never more than it has slots",
    "G10": "a failure is followed by no more rounds than its policy says, nor sooner, nor by fewer",
    "live": "once the faults stop, every future ends within a bound, and the stores are emptied",
    "quiet": "the messages for a request, and those of an idle pair, are bounded",
}

#: What a wall clock in seconds since 1970 is exact to, in seconds, and a little more.
_MOMENT: Final = 1e-5

#: Counts of a ledger or a shift that honest peers, on any channel, can never give it.
DISHONEST: Final = ("illegal_transition",)


class Broken(AssertionError):
    """A promise is broken."""

    def __init__(self, promise: str, found: str) -> None:
        super().__init__(f"{promise} is broken ({PROMISES[promise]}): {found}")
        self.promise = promise
        self.found = found

    def __reduce__(self) -> tuple[type[Broken], tuple[str, str]]:
        return type(self), (self.promise, self.found)


class Promises:
    """The memory of all that happened in one world."""

    def __init__(self) -> None:
        self.modes: dict[str, str] = {}
        self.policies: dict[str, Retry | None] = {}
        #: How many retries have begun, and when the latest may be sent.
        self.retries: Counter[str] = Counter()
        self.retry_at: dict[str, float] = {}
        #: Those that ``submit`` has returned.
        self.taken: list[str] = []
        #: What the user was told: of a cancel (``True``), of the end (a word for the outcome).
        self.cancels: set[str] = set()
        #: Of which a cancel was written, by force or not.
        self.asked: set[str] = set()
        self.seen: dict[str, str] = {}
        self.starts: Counter[str] = Counter()
        #: Never to start again: why.
        self.settled: dict[str, str] = {}
        #: Requests of which a dispatch has been performed.
        self.sent: set[str] = set()
        self.dispatched: dict[tuple[str, int], Dispatched] = {}
        #: Of which nothing is left where they ran, says a line.
        self.dropped: set[tuple[str, int]] = set()
        self.bases: dict[str, int] = {}
        #: Runs that ended their process, and how many of them the journal counts.
        self.crashes: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.runs: dict[str, Run] = {}
        #: By this process of the executor.
        self._over_here: set[str] = set()
        self._cancelled_here: set[str] = set()
        self._given_back: set[tuple[str, str, str]] = set()
        self._holders = Holders()

    # the executor's side --------------------------------------------------------------------------

    def asks(self, uuid: str, mode: str, policy: Retry | None = None) -> None:
        """``submit`` is called."""
        self.modes[uuid] = mode
        self.policies[uuid] = policy

    def submitted(self, uuid: str) -> None:
        """``submit`` returned."""
        self.taken.append(uuid)

    def cancelled(self, uuid: str) -> None:
        """``cancel`` said that it is: at once, whatever the worker does."""
        self.cancels.add(uuid)
        self.saw(uuid, "cancelled")
        if uuid not in self.sent:
            self.settled[uuid] = "cancelled before it was ever sent"

    def ledger_cancelled(self, uuid: str) -> None:
        """The ledger was told that the caller has been told."""
        self._cancelled_here.add(uuid)

    def decided(self, effect: Effect, now: float) -> None:
        """The ledger wants this done."""
        if isinstance(effect, Record):
            uuid = getattr(effect.event, "uuid", None)
        elif isinstance(effect, (Dispatch, Begin, Resolve, Tell)):
            uuid = effect.uuid
        elif isinstance(effect, Publish):
            kind = effect.parcel.envelope.kind
            uuid = None if kind == envelope.RECEIPT else effect.parcel.envelope.correlation_id
        else:
            uuid = None
        if uuid is not None and uuid in self._over_here:
            raise Broken("G6", f"{uuid} has ended, and then: {effect}")
        if isinstance(effect, Dispatch):
            self._choosing(effect, now)
        if isinstance(effect, Tell):
            self._from_this_round(effect.uuid, str(effect.details["of"]))
        if isinstance(effect, Resolve):
            self._over_here.add(effect.uuid)
            if uuid in self._cancelled_here and not isinstance(effect.outcome, Withdrawn):
                raise Broken("G1", f"{uuid} was cancelled, and ends with {effect.outcome}")

    def closed(self, uuid: str) -> None:
        """The ledger was told that it was withdrawn at the door."""
        self._over_here.add(uuid)

    def written(self, event: Event, now: float) -> None:
        """A line of the journal; or, without one, what would be."""
        if isinstance(event, Dispatched):
            self.dispatched[event.uuid, event.attempt] = event
            self._holders.written(event)
            self.bases[event.uuid] = event.base
        elif isinstance(event, Over):
            self._holders.written(event)
            if event.reason == "dropped":
                self.dropped.add((event.uuid, event.attempt))
        elif isinstance(event, Round):
            self._begins_a_round(event, now)
            self.bases[event.uuid] = event.base
            if event.crashes > self.crashes[event.uuid]:
                raise Broken(
                    "G4",
                    f"{event.uuid}: {event.crashes} crashes are counted, "
                    f"{self.crashes[event.uuid]} runs crashed",
                )
        elif isinstance(event, Ended):
            self.ends[event.uuid] += 1
            if self.ends[event.uuid] > 1:
                raise Broken("G1", f"{event.uuid} ended twice; now: {event}")
            if event.outcome == "cancelled":
                self.settled[event.uuid] = "cancelled and settled"
            elif event.outcome == "error" and event.value["type"] in _SETTLED:
                self.settled[event.uuid] = event.value["type"]

    def _begins_a_round(self, event: Round, now: float) -> None:
        """Because of a run of the round before, which has come to its end."""
        uuid, policy = event.uuid, self.policies[event.uuid]
        if event.cause not in ("failure", "limit"):
            return
        self._from_a_run(uuid, str(event.failure["exception_str"]))
        self.retries[uuid] += 1
        self.retry_at[uuid] = now + event.delay
        if policy is None or self.retries[uuid] > policy.max or self.modes[uuid] == "amo":
            raise Broken("G10", f"{uuid} is retried for the {self.retries[uuid]}. time: {policy}")
        if event.retries != self.retries[uuid]:
            raise Broken("G10", f"{uuid}: {event.retries} retries are counted: {self.retries}")
        if not policy.wait(uuid, event.retries) == event.delay >= policy.backoff:
            raise Broken("G10", f"{uuid} is to wait for {event.delay} s: {policy}")

    def _is_the_last(self, uuid: str, names: Sequence[str]) -> None:
        """It failed, and that is its end: no retry was to follow."""
        policy = self.policies[uuid]
        if policy is None or uuid in self.asked or self.modes[uuid] == "amo":
            return
        if self.retries[uuid] < policy.max and policy.covers(names):
            raise Broken("G10", f"{uuid} ends after {self.retries[uuid]} retries: {policy}")

    def ending(self, uuid: str, outcome: Outcome) -> None:
        """The outcome of a request whose future was not cancelled."""
        if isinstance(outcome, Value):
            self._from_a_run(uuid, str(outcome.value))
        elif isinstance(outcome, Failed):
            self._from_a_run(uuid, str(outcome.failure["exception_str"]))
            self._is_the_last(uuid, outcome.failure["exc_type_names"])
        elif isinstance(outcome, Error) and isinstance(outcome.error, PoisonTask):
            crashes = self.crashes[uuid]
            if crashes < MAX_CRASHES:
                raise Broken("G4", f"{uuid} is called poison after {crashes} crashes")

    def _from_a_run(self, uuid: str, token: str) -> None:
        if not self._from_this_round(uuid, token).has_ended:
            raise Broken("G4", f"{uuid} ends with {token}, which goes on")

    def _from_this_round(self, uuid: str, token: str) -> Run:
        run = self.runs.get(token)
        if run is None or run.uuid != uuid:
            raise Broken("G4", f"{uuid} has {token!r} of a run that is not its own")
        if run.base != self.bases[uuid]:
            raise Broken("G4", f"{uuid}, in round {self.bases[uuid]}, has {token} of {run.base}'s")
        return run

    def saw(self, uuid: str, outcome: str) -> None:
        """The future is set, or a caller asks for it and finds it so."""
        before = self.seen.setdefault(uuid, outcome)
        if before != outcome:
            raise Broken("G1", f"{uuid} was {before} and is {outcome}")
        if uuid in self.cancels and outcome != "cancelled":
            raise Broken("G1", f"{uuid} was cancelled, and its future says {outcome}")

    def sending(self, parcel: Parcel) -> None:
        """A REQUEST leaves, under a new attempt or again."""
        header, uuid = parcel.envelope.header, parcel.envelope.correlation_id
        assert header is not None
        assert uuid is not None
        to, attempt = header.boot, header.attempt or 1
        self.sent.add(uuid)
        event = self.dispatched.get((uuid, attempt))
        if event is None or event.boot != to:
            raise Broken("G7", f"attempt {attempt} of {uuid} is sent to {to}, and no line says so")

    def receipting(self, parcel: Parcel) -> None:
        """A RECEIPT leaves: the worker may forget what these tickets came to."""
        header = parcel.envelope.header
        message = messages.decode(envelope.RECEIPT, parcel.body, at_worker=True)
        assert header is not None
        assert header.boot is not None
        assert isinstance(message, Receipt)
        for ticket in tickets.parse(message.tickets):
            sent = self._holders.of(header.boot, str(ticket))
            if sent is None or self.ends[sent.uuid]:
                continue
            if sent.uuid in self.asked:  # it is not run again, whatever it came to
                continue
            if (sent.uuid, sent.attempt) in self.dropped:  # it waits again, perhaps for room
                continue
            newer = any(one == sent.uuid and n > sent.attempt for one, n in self.dispatched)
            if not newer and sent.attempt >= self.bases[sent.uuid]:
                raise Broken("G7", f"{ticket} ({sent.uuid}) is receipted, and no line has its end")

    def _choosing(self, dispatch: Dispatch, now: float) -> None:
        """It is to be sent under a new attempt; the one before has been given up, or was never.

        None before that one is known to run.
        """
        uuid, to, base = dispatch.uuid, dispatch.event.boot, dispatch.event.base
        if now < self.retry_at.get(uuid, now) - _MOMENT:
            raise Broken("G10", f"{uuid} is sent {self.retry_at[uuid] - now:.3f} s too soon")
        numbers = [n for one, n in self.dispatched if one == uuid and base <= n < dispatch.attempt]
        for n in numbers:
            is_last = n == max(numbers)
            boot = self._holders.who_has(Sent(uuid, n), now, but=to, runs=not is_last)
            if boot is not None:
                raise Broken("G8", f"{uuid} goes to {to}, and {boot} has it as attempt {n}")

    def heard(self, received: Received, now: float) -> None:
        """The executor takes this from the broker."""
        self._holders.heard(received, now)

    def gone(self, boot: str) -> None:
        """The executor was told that this process has ended."""
        self._holders.gone(boot)

    def restarted(self, history: History | None) -> None:
        """The executor begins again, with what its journal says, if it has one."""
        self._over_here.clear()
        self._cancelled_here.clear()
        if history is None:  # another executor, which knows nothing of the one before
            self._holders.anew()
            return
        if history.problems:
            raise Broken("G7", f"the journal does not fit together: {history.problems}")
        for uuid, known in history.requests.items():
            self.bases[uuid] = known.base
        self._holders.restarted(
            {
                Sent(uuid, attempt.event.attempt)
                for uuid, known in history.requests.items()
                for attempt in known.attempts
                if attempt.is_running and attempt.over is None
            }
        )
        for uuid in self.taken:
            status = history.requests.get(uuid)
            if status is None:
                raise Broken("G7", f"{uuid} was submitted, and the journal does not know it")
            if status.ended is not None:
                said = outcome_of(status.ended)
            else:
                said = "cancelled" if status.is_cancelled else status.state
            if uuid in self.seen and self.seen[uuid] != said:
                raise Broken("G7", f"{uuid} was {self.seen[uuid]}, the journal says {said}")

    def counted(self, counts: Counter[str], who: str) -> None:
        """What a room counted, looked at now and then."""
        for reason in DISHONEST:
            if counts[reason]:
                raise Broken("G3", f"{who} counts {counts[reason]} of {reason}")

    # the workers' side ----------------------------------------------------------------------------

    def starting(self, boot: str, clock: float, work: Work) -> int:
        """A run begins; the round it belongs to."""
        uuid = work.uuid
        self.starts[uuid] += 1
        if self.modes[uuid] == "amo" and self.starts[uuid] > 1:
            raise Broken("G2", f"{uuid} is started a second time, at {boot}")
        if uuid in self.settled:
            raise Broken("G5", f"{uuid} is started at {boot}: it was {self.settled[uuid]}")
        event = self.dispatched.get((uuid, work.attempt))
        if event is None or event.boot != boot:
            raise Broken("G9", f"attempt {work.attempt} of {uuid} was never sent to {boot}")
        assert event.start_by is not None
        assert event.ticket is not None
        if clock * 1000 >= event.start_by:
            late = clock * 1000 - event.start_by
            raise Broken("G5", f"{uuid} is started at {boot} {late:.0f} ms after its start-by")
        if (boot, uuid, event.ticket) in self._given_back:
            raise Broken("G9", f"{boot} starts {event.ticket}, which it gave back ({uuid})")
        return event.base

    def said(self, boot: str, parcel: Parcel, message: Message | None) -> None:
        """A worker's message has left it."""
        if isinstance(message, Release):
            for text, reason in message.items:
                if reason != "over":
                    uuid = parcel.envelope.correlation_id or ""
                    self._given_back.update((boot, uuid, str(one)) for one in tickets.parse(text))


#: Errors that say that it was not started, or is not any more, and never will be.
_SETTLED: Final = frozenset({TaskCancelled.__name__, RequestTimeout.__name__})


def outcome_of(event: Ended) -> str:
    """What the user sees of it, in a word."""
    if event.outcome == "cancelled":
        return "cancelled"
    if event.outcome == "success":
        return f"success {event.value}"
    if event.outcome == "failure":
        return f"failure {event.value['exception_str']}"
    return str(event.value["type"])
