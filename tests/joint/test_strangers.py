"""A ledger among peers that lie: any answer to any request, of both dialects, at any time.

Nothing that is promised about starts can hold here; what must hold is that no answer raises, that
each request ends once and soon after the last word, that nothing is sent over a worker's credit or
under a ticket twice, and that each request and attempt is known in exactly one place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from executor.effects import Dispatch, Effect, Resolve, Tell
from executor.lanes import key_of
from executor.ledger import Ledger
from executor.peer import Peer
from protocol import envelope
from protocol.envelope import Header
from protocol.messages import ReleaseReason, Response
from protocol.parcel import Received, Refused
from protocol.states import EVENT, STATES, WAITING
from protocol.timing import (
    LEASE,
    MAX_ATTEMPTS,
    REQUEST_TIMEOUT,
    START_WINDOW,
    TASKFLOW_SILENCE,
)
from tests.executor.peers import EXCHANGE, EXECUTOR, Native, Taskflow, arrived, order
from worker.work import End

TASKS = ("m.a", "m.b")
TOPICS = ("x", "y")
LONGEST_TIMEOUT = 100.0
#: Nothing is open for longer than this after the last input: the sum of what may follow in turn.
BOUND = (
    TASKFLOW_SILENCE
    + (MAX_ATTEMPTS + 1) * (START_WINDOW + LEASE)
    + REQUEST_TIMEOUT
    + LONGEST_TIMEOUT
)

natives = st.sampled_from([Native(boot, topics=("x",), ahead=7.0) for boot in "abc"])
flows = st.sampled_from([Taskflow(topic) for topic in TOPICS])
offers = st.lists(st.sampled_from(TASKS), unique=True)
ends: st.SearchStrategy[End] = st.sampled_from(["done", "done", "crash", "stopped", "limit"])
reasons: st.SearchStrategy[ReleaseReason] = st.sampled_from(
    ["full", "late", "drain", "cancelled", "over"]
)
responses = st.one_of(
    st.just(Response.running()),
    st.just(Response.success(1)),
    st.just(Response.failure({"exception_str": "", "traceback_str": "", "exc_type_names": ["X"]})),
    st.just(Response.event("saved", {})),
    st.sampled_from([Response(state) for state in (*STATES, EVENT)]),
)
texts = st.sampled_from(["", "", "1:1", "1:1-3", "1:5-2", "9:1", "1:2,4", "1:3-9007199254740991"])
picks = st.integers(0, 1 << 16)


class AnyWords(RuleBasedStateMachine):
    """One ledger of both dialects, three native processes and two topics of taskflow's."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(EXECUTOR, EXCHANGE, TOPICS, ("native", "taskflow"))
        self.now = 100.0
        self.submitted: set[str] = set()
        self.ended: Counter[str] = Counter()
        self.withdrawn: set[str] = set()
        #: Cancelled by their callers, the ledger not told: found out when they are about to leave.
        self.cancelled: set[str] = set()
        self.sent: list[Dispatch] = []
        self.said: list[Received] = []

    @initialize()
    def begin(self) -> None:
        """The listener consumes."""
        self.perform(self.ledger.consuming(self.now))

    # what the keeper does -------------------------------------------------------------------------

    def perform(self, effects: Iterable[Effect]) -> None:
        """Take the effects of one input, as the keeper does."""
        for effect in effects:
            if isinstance(effect, Dispatch):
                self.dispatched(effect)
            elif isinstance(effect, Resolve):
                self.ended[effect.uuid] += 1
                assert self.ended[effect.uuid] == 1, f"{effect.uuid} ended twice"
                assert effect.uuid not in self.withdrawn
                assert self.ledger.state_of(effect.uuid) is None
            elif isinstance(effect, Tell):
                assert self.ended[effect.uuid] == 0
        while self.cancelled_at_the_door:
            uuid = self.cancelled_at_the_door.pop()
            self.withdrawn.add(uuid)
            self.perform(self.ledger.withdrawn(uuid, self.now))

    @property
    def cancelled_at_the_door(self) -> list[str]:
        """Cancelled requests that the ledger wants to send for the first time."""
        first = {d.uuid for d in self.sent if d.attempt == 1}
        over = self.withdrawn | set(self.ended)
        return [uuid for uuid in self.cancelled & first if uuid not in over]

    def dispatched(self, dispatch: Dispatch) -> None:
        """No request is sent over its worker's credit, and each is complete."""
        header = arrived(dispatch.parcel, at_worker=True).envelope.header
        assert self.ended[dispatch.uuid] == 0
        assert dispatch.uuid not in self.withdrawn
        if header is not None and header.boot is not None:
            peer = self.ledger.directory.native(header.boot)
            assert peer is not None
            assert peer.credit is not None
            assert len(peer.open) <= peer.credit
            tickets = [_header(d).tickets for d in self.sent if _header(d).boot == header.boot]
            assert header.tickets not in tickets, "a ticket was used twice"
        self.sent.append(dispatch)

    def hear(self, delivery: Received | Refused) -> None:
        """One delivery."""
        if isinstance(delivery, Received):
            self.said.append(delivery)
        self.perform(self.ledger.heard([delivery], self.now))

    # inputs ---------------------------------------------------------------------------------------

    @rule(
        task=st.sampled_from(TASKS),
        topics=st.sampled_from([("x",), ("y",), ("x", "y")]),
        timeout=st.one_of(st.none(), st.floats(0.1, LONGEST_TIMEOUT)),
        named_only=st.booleans(),
        is_amo=st.booleans(),
        count=st.integers(1, 4),
    )
    def submit(
        self,
        task: str,
        topics: tuple[str, ...],
        timeout: float | None,
        named_only: bool,
        is_amo: bool,
        count: int,
    ) -> None:
        """Some alike at once."""
        orders = [
            order(
                f"u{len(self.submitted) + n}",
                task,
                topics=topics,
                timeout=timeout,
                named_only=named_only,
                wants_events=True,
                mode="amo" if is_amo else "alo",
            )
            for n in range(count)
        ]
        self.submitted.update(one.uuid for one in orders)
        self.perform(self.ledger.submitted(orders, self.now))

    @rule(worker=natives, tasks=offers, credit=st.integers(0, 4))
    def native_answer(self, worker: Native, tasks: list[str], credit: int) -> None:
        """A beat, an offer, a goodbye."""
        self.hear(worker.answer(self.now, *tasks, credit=credit))

    @rule(worker=flows, tasks=offers)
    def taskflow_answer(self, worker: Taskflow, tasks: list[str]) -> None:
        """The same from taskflow."""
        self.hear(worker.answer(*tasks))

    @rule(worker=natives, other=natives)
    def replaced(self, worker: Native, other: Native) -> None:
        """One says that another is dead, perhaps itself."""
        successor = Native(worker.boot, topics=("x",), ahead=7.0, replaces=other.boot)
        self.hear(successor.answer(self.now, *TASKS))

    @rule(pick=picks, response=responses, end=ends, credit=st.one_of(st.none(), st.integers(0, 4)))
    def answered(self, pick: int, response: Response, end: End, credit: int | None) -> None:
        """The addressee says something about what it was sent, whenever that was."""
        dispatch = self.picked(pick)
        header = _header(dispatch) if dispatch else None
        if dispatch is None or header is None:
            return
        if header.boot is None:
            self.hear(Taskflow().says(dispatch.uuid, response))
        else:
            worker = Native(header.boot, ahead=7.0)
            self.hear(worker.says(dispatch, response, self.now, end=end, credit=credit))

    @rule(pick=picks, worker=natives, response=responses, number=st.integers(0, 9))
    def wrong_answer(self, pick: int, worker: Native, response: Response, number: int) -> None:
        """Somebody answers under some ticket."""
        dispatch = self.picked(pick)
        if dispatch is not None:
            self.hear(worker.says(dispatch, response, self.now, tickets=f"1:{number}"))
            self.hear(Taskflow().says(dispatch.uuid, response))

    @rule(pick=picks)
    def again(self, pick: int) -> None:
        """The broker delivers something a second time, or late."""
        if self.said:
            self.hear(self.said[pick % len(self.said)])

    @rule(pick=picks, reason=reasons)
    def given_back(self, pick: int, reason: ReleaseReason) -> None:
        """RELEASE, perhaps of what runs or is over."""
        dispatch = self.picked(pick)
        boot = _header(dispatch).boot if dispatch else None
        if dispatch is not None and boot is not None:
            self.hear(Native(boot, ahead=7.0).gives_back(self.now, reason, dispatch))

    @rule(worker=natives, reason=reasons, text=texts.filter(bool))
    def anything_given_back(self, worker: Native, reason: ReleaseReason, text: str) -> None:
        """RELEASE of whatever has these tickets."""
        self.hear(worker.gives_back(self.now, reason, text))

    @rule(worker=natives, text=texts.filter(bool))
    def anything_dropped(self, worker: Native, text: str) -> None:
        """DROPPED, of the same."""
        self.hear(worker.drops(self.now, text))

    @rule(
        worker=natives,
        ahead=st.sampled_from([-3.0, 0.0, 0.0, 70.0]),
        digest=st.tuples(*[texts] * 4),
    )
    def anything_held(self, worker: Native, ahead: float, digest: tuple[str, ...]) -> None:
        """HELD: one ticket in several places, all there is, nothing, from the future."""
        queued, running, ended, dropped = digest
        self.hear(
            worker.held(
                self.now + ahead, queued=queued, running=running, ended=ended, dropped=dropped
            )
        )

    @rule(pick=picks)
    def unreadable(self, pick: int) -> None:
        """A reply that is no message."""
        dispatch = self.picked(pick)
        uuid = dispatch.uuid if dispatch else None
        self.hear(Refused("json", "torn", envelope.RESPONSE, None, uuid))

    @rule(pick=picks, force=st.booleans())
    def cancel(self, pick: int, force: bool) -> None:
        """A caller cancels, whatever has become of it."""
        there = sorted(self.submitted - self.withdrawn)
        if not there:
            return
        uuid = there[pick % len(there)]
        if pick % 3 == 0 and uuid not in {dispatch.uuid for dispatch in self.sent}:
            self.cancelled.add(uuid)  # the keeper is told only when it is about to send it
        else:
            self.perform(self.ledger.cancelled(uuid, force, self.now))

    @rule(worker=natives)
    def gone(self, worker: Native) -> None:
        """One of our own workers has ended."""
        self.perform(self.ledger.gone(worker.name, self.now))

    @rule(seconds=st.one_of(st.floats(0.001, 1.0), st.floats(1.0, 70.0)))
    def time_passes(self, seconds: float) -> None:
        """Silence; the keeper wakes when it was asked to."""
        until = self.now + seconds
        while self.ledger.next_deadline() <= until:
            self.now = max(self.now, self.ledger.next_deadline())
            self.perform(self.ledger.tick(self.now))
        self.now = until

    @rule()
    def reconnected(self) -> None:
        """The listener consumes again."""
        self.perform(self.ledger.consuming(self.now))

    def picked(self, pick: int) -> Dispatch | None:
        """One of all that were ever sent, the latest more often."""
        if not self.sent:
            return None
        return self.sent[-1 - pick % min(len(self.sent), 5 if pick % 3 else len(self.sent))]

    # what always holds ----------------------------------------------------------------------------

    @invariant()
    def everything_adds_up(self) -> None:
        """Each open request is known in exactly one place, and so is each open attempt."""
        ledger = self.ledger
        requests = ledger._requests
        assert set(requests) == self.submitted - set(self.ended) - self.withdrawn
        waiting = Counter(uuid for lane in ledger._lanes for uuid in lane.waiting)
        for uuid, request in requests.items():
            current = request.current
            waits = current is None and request.phase == "OPEN"
            assert waiting[uuid] == waits, f"{uuid} in {request.state}, {request.phase}"
            assert (request.state == WAITING) == (current is None)
            assert sum(one is current for one in request.attempts) == (current is not None)
            if waits:
                assert uuid in ledger._lanes.lane(key_of(request)).waiting
            if current is not None:
                assert current.peer.open[current.handle] is current
        assert set(waiting) <= set(requests)
        for peer in self.peers:
            assert all(attempt.uuid in requests for attempt in peer.attempts)
        assert len(ledger._timers) <= 64 + 8 * max(len(self.submitted) + len(self.sent), 1)

    @property
    def peers(self) -> set[Peer]:
        """All that anything was ever sent to."""
        directory = self.ledger.directory
        found = {directory.find(cast("str", _header(dispatch).boot)) for dispatch in self.sent}
        return {*directory, *(peer for peer in found if peer is not None)}

    def teardown(self) -> None:
        """Nothing more comes in: every request ends, soon, and without a busy loop."""
        until = self.now + BOUND
        turns = 0
        while len(self.ledger):
            self.now = max(self.now, self.ledger.next_deadline())
            assert self.now <= until, f"never end: {self.ledger._requests}"
            self.perform(self.ledger.tick(self.now))
            turns += 1
            assert turns < 6000, "ticks that do nothing"  # questions alone are 1,500
        self.everything_adds_up()
        assert set(self.ended) | self.withdrawn == self.submitted
        assert all(not peer.attempts for peer in self.peers)


def _header(dispatch: Dispatch) -> Header:
    return dispatch.parcel.envelope.header or Header()


TestAnyWords = AnyWords.TestCase
TestAnyWords.settings = settings(
    max_examples=120,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
