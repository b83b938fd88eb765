"""Any sequence of inputs to one shift: what is over never runs, what is kept is not forgotten.

The executors here are no model of ours: they number their dispatches as ours do, and otherwise say
whatever they like, in any order, as often as they like. What the worker holds is followed from the
outside alone, by what it was told and what it said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from protocol import envelope, tickets
from protocol.failure import from_text
from protocol.messages import (
    Cancel,
    Dropped,
    Held,
    Question,
    Receipt,
    Release,
    Request,
    Response,
)
from protocol.parcel import Received, Refused
from protocol.tickets import Ticket
from protocol.timing import CREDIT_MAX, KEEP
from protocol.topology import Names
from tests.worker.executors import BOOT, TASK, Native, Taskflow, read
from worker import known, outbox, tombstones
from worker.effects import Done, Effect, End, Run, Send, TakeBack
from worker.record import Record
from worker.shift import Shift
from worker.work import End as HowItEnded
from worker.work import Ended, Offer, Offers, Report, Returned, Started, TaskEvent, Work

#: Small, so that they are met.
BOUNDS = [
    (outbox, "MAX_RESULTS", 3),
    (known, "MAX_DROPPED", 3),
    (known, "MAX_EXECUTORS", 3),
    (known, "MAX_TICKETS", 4),
    (tombstones, "MAX_GAPS", 4),
    (tombstones, "MAX_INCARNATIONS", 2),
]
NAMES = ("a", "b", "c", "d")
#: Who sends requests; the others only ask.
SENDERS = ("a", "a", "a", "b")
UUIDS = ("u", "v")
FLOW = Taskflow()
SLOTS = 2

names = st.sampled_from(NAMES)
senders = st.sampled_from(SENDERS)
uuids = st.sampled_from(UUIDS)
wanted_numbers = st.lists(st.integers(1, 5), min_size=1, max_size=2)
attempts = st.integers(1, 4)
ends: st.SearchStrategy[HowItEnded] = st.sampled_from(["done", "done", "crash", "stopped", "limit"])

ODD: list[Received | Refused | Report | str] = [
    Native("a").request("u", "1:5-4"),
    Native("a").request("u", 1, boot="c" * 16),
    Native("a").receipt(1, boot="c" * 16),
    FLOW.question(),
    FLOW.request("flow"),
    Refused("json", "torn", envelope.REQUEST, "a", "u"),
    Refused("json", "torn", envelope.CANCEL, "a", "u"),
    TaskEvent(1, "saved", {}),
    TaskEvent(1, "saved", {"x": object()}),
    Ended(999),
    Offers((Offer(TASK), Offer("m.more"))),
    "restart",
    "restart",
]

Place = tuple[str, Ticket]  # (executor, ticket)


class AnyInputs(RuleBasedStateMachine):
    """One shift."""

    def __init__(self) -> None:
        super().__init__()
        self.before = [getattr(room, name) for room, name, _ in BOUNDS]
        for room, name, bound in BOUNDS:
            setattr(room, name, bound)
        self.now = 1000.0
        self.shift = Shift(Names("native", "test"), ("t",), worker="w", boot=BOOT, slots=SLOTS)
        self.incarnations = dict.fromkeys(NAMES, 1)
        #: The highest incarnation heard of each.
        self.newest = dict.fromkeys(NAMES, 1)
        #: When each was heard last, and for how long it wants its results kept.
        self.heard: dict[str, float] = {}
        self.keeps: dict[str, float] = {}
        #: What runs, by the pool's number; asked to end.
        self.runs: dict[int, Work] = {}
        self.ending: set[int] = set()
        #: What the pool has and has not begun, and what it has not told yet.
        self.handed: dict[int, Work] = {}
        self.untold: list[Report] = []
        #: Each ticket's uuid: no executor of ours gives one to two.
        self.owners: dict[Place, str] = {}
        #: Given back, cancelled or receipted: it must not start.
        self.over: set[Place] = set()
        #: (executor, uuid) of results told and neither receipted nor of a round that is past.
        self.results: set[tuple[str, str]] = set()
        #: Of those, whose executor has been gone for long enough since.
        self.forgettable: set[tuple[str, str]] = set()
        #: In seconds. What is dispatched to one place later starts no earlier.
        self.start_by: dict[Place, float] = {}
        self.is_draining = False
        self.is_done = False
        #: Everything that was ever sent to it, by whom; a broker may deliver it again at any time.
        self.sent: list[tuple[str, Received | Refused]] = []
        self.inputs = 0

    def teardown(self) -> None:
        """The bounds as they were."""
        for (room, name, _), bound in zip(BOUNDS, self.before, strict=True):
            setattr(room, name, bound)

    @initialize()
    def begin(self) -> None:
        """It offers and consumes."""
        self.do(self.shift.offering([Offer(TASK)], self.now))
        self.do(self.shift.consuming(self.now))

    # what it does -------------------------------------------------------------------------------

    def do(self, effects: Iterable[Effect]) -> None:
        """Perform them, as a keeper does: first what is sent, then what runs."""
        effects = list(effects)
        for effect in effects:
            if isinstance(effect, Send):
                received = read(effect.parcel)
                if received.envelope.header is not None:
                    key = effect.parcel.address.routing_key
                    self.said(key.removeprefix("test.native_"), received)
        for effect in effects:
            if isinstance(effect, Run):
                assert effect.work.key not in self.runs
                assert not self.is_draining
                self.handed[effect.work.key] = effect.work
            elif isinstance(effect, TakeBack):
                if self.handed.pop(effect.key, None) is not None:
                    self.untold.append(Returned(effect.key))
            elif isinstance(effect, End) and effect.key in self.handed:
                del self.handed[effect.key]
                failure = from_text(("E", "Exception"), "stopped")
                self.untold.append(Ended(effect.key, failure=failure, end="stopped"))
            elif isinstance(effect, End):
                self.ending.add(effect.key)
            elif isinstance(effect, Done):
                assert not self.is_done
                self.is_done = True
        assert len(self.runs) <= SLOTS or self.is_done

    def starts(self, work: Work) -> None:
        """In time, and under no ticket that is over."""
        slots = self.shift._slots
        record = (slots.handed | slots.recalled)[work.key]
        places = [(record.reply_to, ticket) for ticket in record.tickets]
        for place in places:  # what can start no more on its own is perhaps forgotten
            assert place not in self.over or self.start_by[place] <= self.now
        if record.is_native:
            assert not places or record.ticket in record.tickets
            assert not places or self.now < max(self.start_by[place] for place in places)

    def said(self, name: str, received: Received) -> None:
        """It has sent this to a native executor, or to all."""
        message, head = received.message, received.envelope.header
        uuid = received.envelope.correlation_id or ""
        assert head is not None
        if isinstance(message, Response):
            (ticket,) = tickets.parse(head.tickets or "")
            assert self.owners[name, ticket] == uuid
            if message.state in ("SUCCESS", "FAILURE"):
                assert head.end is not None
                assert head.credit is not None
                self.results.add((name, uuid))
            else:
                assert (name, uuid) not in self.results
                assert any(work.uuid == uuid for work in self.runs.values()) or self.has_a_slot
        elif isinstance(message, Release):
            for text, _ in message.items:
                self.over |= {(name, ticket) for ticket in tickets.parse(text)}
        elif isinstance(message, Dropped):
            for ticket in tickets.parse(message.tickets):
                self.results.discard((name, self.owners[name, ticket]))
        elif isinstance(message, Held):
            self.digested(name, message)

    @property
    def has_a_slot(self) -> bool:
        """Whether the pool has taken less than it can."""
        return len(self.runs) < SLOTS

    def digested(self, name: str, held: Held) -> None:
        """Exactly what is held: what was told as ended, what runs, and nothing that is over."""
        listed = {
            state: {self.owners[name, ticket] for ticket in tickets.parse(text)}
            for state, text in dict(held.to_body()).items()  # type: ignore[arg-type]
        }
        ended = {(name, uuid) for uuid in listed.get("ended", set())}
        must = {(ex, uuid) for ex, uuid in self.results if ex == name}
        assert must <= ended <= must | self.forgettable
        for text in (held.queued, held.running, held.ended, held.dropped):
            for ticket in tickets.parse(text) if text else ():
                place = (name, ticket)
                assert place not in self.over or self.start_by[place] <= self.now

    def hear(self, name: str, *deliveries: Received | Refused) -> None:
        """From one executor."""
        self.sent += [(name, delivery) for delivery in deliveries]
        self.inputs += 1
        for delivery in deliveries:
            self.expect(name, delivery)
        self.do(self.shift.heard(deliveries, self.now))
        for delivery in deliveries:
            if isinstance(delivery, Received) and self.is_for_us(delivery):
                self.receipted(name, delivery.message)

    @staticmethod
    def is_for_us(delivery: Received) -> bool:
        """Whether it is a native peer's, and not for another process."""
        head = delivery.envelope.header
        return head is not None and head.boot in (None, BOOT)

    def receipted(self, name: str, message: object) -> None:
        """If this was a RECEIPT, what it names never starts."""
        if isinstance(message, Receipt) and name in self.known:
            self.over |= {(name, ticket) for ticket in tickets.parse(message.tickets)}

    def expect(self, name: str, delivery: Received | Refused) -> None:
        """What this message may change."""
        if isinstance(delivery, Refused) or not self.is_for_us(delivery):
            return
        head, message = delivery.envelope.header, delivery.message
        assert head is not None
        if name not in self.known:
            self.keeps.pop(name, None)
        if (head.incarnation or 1) >= self.newest[name]:
            self.newest[name] = head.incarnation or 1
            self.heard[name] = self.now
            if isinstance(message, Question) and head.keep is not None:
                self.keeps[name] = float(head.keep)
        if isinstance(message, Receipt):
            named = tickets.parse(message.tickets)
            for uuid in UUIDS:
                record = self.held_of(name, uuid)
                if record is not None and record.ticket in named:
                    self.need_not_keep(name, uuid)
        elif isinstance(message, (Request, Cancel)):
            uuid = delivery.envelope.correlation_id or ""
            record = self.held_of(name, uuid)
            if record is not None and (head.base or 1) > record.attempt:
                self.need_not_keep(name, uuid)  # its round is past

    def need_not_keep(self, name: str, uuid: str) -> None:
        """It may be kept no more."""
        if (name, uuid) in self.results:
            self.results.discard((name, uuid))
            self.forgettable.add((name, uuid))

    @rule(pick=st.integers(0, 1 << 16), copies=st.integers(1, 2))
    def again(self, pick: int, copies: int) -> None:
        """The broker delivers once more what it has delivered before."""
        if self.sent:
            name, delivery = self.sent[pick % len(self.sent)]
            self.hear(name, *[delivery] * copies)

    @rule(pick=st.integers(0, 7))
    def again_of_late(self, pick: int) -> None:
        """The same, of the newest."""
        if self.sent:
            self.hear(*self.sent[-1 - pick % len(self.sent)])

    # what executors say -------------------------------------------------------------------------

    def executor(self, name: str) -> Native:
        """As it is now."""
        return Native(name, self.incarnations[name])

    def named(self, name: str, uuid: str, wanted: list[int], ahead: float) -> str:
        """Tickets as text, each of them this uuid's for good."""
        incarnation = self.incarnations[name]
        own = [
            Ticket(incarnation, number)
            for number in dict.fromkeys(wanted)
            if self.owners.setdefault((name, Ticket(incarnation, number)), uuid) == uuid
        ]
        earlier = [
            start_by
            for (whose, ticket), start_by in self.start_by.items()
            if whose == name and self.owners[whose, ticket] == uuid
        ]
        for ticket in own:
            self.start_by.setdefault((name, ticket), max([self.now + ahead, *earlier]))
        mentioned = list(self.start_by)
        own.sort(key=lambda ticket: mentioned.index((name, ticket)))
        numbers_of = ",".join(str(ticket.number) for ticket in own)
        return f"{incarnation}:{numbers_of}" if own else ""

    def latest(self, name: str, text: str) -> float:
        """The start-by of a message that names these."""
        return max(self.start_by[name, ticket] for ticket in tickets.parse(text))

    def held_of(self, name: str, uuid: str) -> Record | None:
        """The record, if there is one."""
        one = self.shift._executors.get(name)
        return one.records.get(uuid) if one else None

    @rule(name=names, keep=st.sampled_from([None, None, 30, 600]))
    def ask(self, name: str, keep: int | None) -> None:
        """A question; what it is told of what is held is the whole truth."""
        self.hear(name, self.executor(name).question(keep=keep))

    @rule(
        name=senders,
        uuid=uuids,
        wanted=wanted_numbers,
        attempt=attempts,
        base=attempts,
        ahead=st.sampled_from([-1.0, 0.5, 5.0, 60.0, 60.0]),
        task=st.sampled_from([TASK, TASK, TASK, "m.no"]),
        copies=st.integers(1, 2),
    )
    def request(
        self,
        name: str,
        uuid: str,
        wanted: list[int],
        attempt: int,
        base: int,
        ahead: float,
        task: str,
        copies: int,
    ) -> None:
        """A REQUEST, perhaps doubled."""
        text = self.named(name, uuid, wanted, ahead)
        if text:
            start_by = self.latest(name, text)
            request = self.executor(name).request(
                uuid, text, attempt=attempt, base=base, start_by=start_by, task=task
            )
            self.hear(name, *[request] * copies)

    @rule(
        name=senders,
        uuid=uuids,
        wanted=wanted_numbers,
        if_started=st.sampled_from(["keep", "stop"]),
        attempt=attempts,
        base=attempts,
        ahead=st.sampled_from([0.5, 60.0]),
    )
    def cancel(
        self,
        name: str,
        uuid: str,
        wanted: list[int],
        if_started: Any,
        attempt: int,
        base: int,
        ahead: float,
    ) -> None:
        """A CANCEL, perhaps of what has never come."""
        text = self.named(name, uuid, wanted, ahead)
        if text:
            start_by = self.latest(name, text)
            cancel = self.executor(name).cancel(
                uuid, text, if_started, attempt=attempt, base=base, start_by=start_by
            )
            self.hear(name, cancel)

    @rule(name=senders, uuid=uuids, wanted=wanted_numbers)
    def receipt(self, name: str, uuid: str, wanted: list[int]) -> None:
        """A RECEIPT, perhaps of what it was never told."""
        text = self.named(name, uuid, wanted, 60.0)
        if text:
            self.hear(name, self.executor(name).receipt(text))

    @rule(what=st.sampled_from(ODD), name=names, key=st.integers(1, 50))
    def odd(self, what: Received | Refused | Report | str, name: str, key: int) -> None:
        """What is for nobody, a taskflow peer's, of no run; or an executor is started anew."""
        if isinstance(what, str):
            self.incarnations[name] += 1
        elif isinstance(what, (Received, Refused)):
            self.hear("a", what)
        else:
            said = replace(what, key=key) if isinstance(what, TaskEvent) else what
            if key not in self.handed:  # no pool says a word of what it has not begun
                self.do(self.shift.reported([said], self.now))

    # what the pool says -------------------------------------------------------------------------

    @rule(how_many=st.integers(1, 2), is_told=st.booleans())
    def the_pool_goes_on(self, how_many: int, is_told: bool) -> None:
        """It begins what it has, or returns what is too late, and tells of that now or later."""
        for _ in range(how_many):
            if self.handed and len(self.runs) < SLOTS:
                work = self.handed.pop(next(iter(self.handed)))
                if work.start_by is not None and self.now * 1000 >= work.start_by:
                    self.untold.append(Returned(work.key))
                else:
                    self.starts(work)
                    self.runs[work.key] = work
                    self.untold.append(Started(work.key))
        if is_told:
            self.tell()

    @rule()
    def tell(self) -> None:
        """What it has not told."""
        reports, self.untold = self.untold, []
        self.do(self.shift.reported(reports, self.now))

    @rule(which=st.integers(0, SLOTS), end=ends, odd=st.booleans())
    def one_run_ends(self, which: int, end: HowItEnded, odd: bool) -> None:
        """One that was asked to, or any other."""
        if not self.runs:
            return
        self.a_run_ends(sorted(self.runs)[which % len(self.runs)], end, odd)

    def a_run_ends(self, key: int, end: HowItEnded, odd: bool) -> None:
        """This one, perhaps with a result that cannot travel."""
        self.ending.discard(key)
        failure = None if end == "done" else from_text(("E", "Exception"), end)
        result = {1} if odd else self.runs[key].uuid
        self.runs.pop(key)
        self.untold.append(Ended(key, result, failure, end))
        self.tell()

    @rule()
    def all_runs_end(self) -> None:
        """And what was queued begins."""
        for key in sorted(self.runs):
            self.a_run_ends(key, "done", False)
        self.the_pool_goes_on(SLOTS, True)

    # time ---------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.0, 0.3, 2.0, 6.0, 31.0, 70.0]), is_asleep=st.booleans())
    def time_passes(self, seconds: float, is_asleep: bool) -> None:
        """With a keeper that wakes when it should, or one that was frozen."""
        until = self.now + seconds
        turns = 0
        while not is_asleep and (due := self.shift.next_deadline()) <= until:
            turns += 1
            assert turns < 2000, "it goes round in circles"
            self.now = max(self.now, due)
            self.do(self.shift.tick(self.now))
            self.forget_who_is_gone()
        self.now = until  # who was frozen takes what has come first
        self.forget_who_is_gone()

    def forget_who_is_gone(self) -> None:
        """Of those who have been silent for their keep nothing need be kept."""
        for name in NAMES:
            keep = self.keeps.get(name, KEEP)
            if self.now - self.heard.get(name, -1e9) > keep:
                for uuid in UUIDS:
                    self.need_not_keep(name, uuid)

    @rule(limit=st.sampled_from([0.0, 5.0, 60.0]))
    @precondition(lambda self: not self.is_draining and self.inputs > 30)
    def go_down(self, limit: float) -> None:
        """SIGTERM."""
        self.is_draining = True
        self.do(self.shift.drain(self.now, limit))

    # what holds ---------------------------------------------------------------------------------

    @property
    def known(self) -> set[str]:
        """Who is known."""
        return {known.reply_to for known in self.shift._executors}

    @invariant()
    def it_holds_no_more_than_it_may(self) -> None:
        """Bounds."""
        queued, running = self.shift.held
        assert queued + running <= CREDIT_MAX
        assert len(self.shift._executors) <= known.MAX_EXECUTORS
        for one in self.shift._executors:
            assert len(one.outbox) <= outbox.MAX_RESULTS
            assert one.outbox.size_bytes >= 0
            assert all(len(r.tickets) <= known.MAX_TICKETS + 1 for r in one.records.values())

    @invariant()
    def the_books_agree(self) -> None:
        """Each ticket belongs to one record; each state is where it should be."""
        shift = self.shift
        for one in shift._executors:
            states = Counter(record.state for record in one.records.values())
            assert states["ended"] == len(one.outbox)
            assert states["dropped"] == one.dropped
            named = [t for record in one.records.values() for t in record.tickets]
            assert len(named) == len(set(named)) == len(one.by_ticket)
            for uuid, record in one.records.items():
                assert record.uuid == uuid
                slots = shift._slots
                is_with_the_pool = record.key in slots.handed or record.key in slots.recalled
                assert is_with_the_pool == record.is_handed_over
                is_queued = record in slots.queue or is_with_the_pool
                assert is_queued == (record.state == "queued")
                if record.state == "running":
                    assert shift._slots.running[record.key] is record
                assert bool(record.tickets) is not record.is_receipted

    @invariant()
    def what_was_told_and_not_receipted_is_kept(self) -> None:
        """Until DROPPED is told of it, or its executor is gone."""
        for name, uuid in self.results:
            record = self.held_of(name, uuid)
            assert record is not None, f"the result of {uuid} of {name} is forgotten"
            assert record.state == "ended"


AnyInputs.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
test_any_sequence_of_inputs = AnyInputs.TestCase
