"""What a worker process writes: each kind of message, with its header and its address.

Decided here: what stands in a message and what a peer of each dialect can read. Not decided here:
who is told what, and when; that is the shift's. To taskflow's peers no header is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from protocol import envelope, kombu_json, messages
from protocol.envelope import Envelope, Header
from protocol.errors import MessageUndeliverable
from protocol.failure import FailureDict, from_exception
from protocol.messages import Answer, Dropped, Held, Release, ReleaseReason, Response
from protocol.parcel import Parcel
from protocol.resources import NodeReport, Resources
from protocol.size import in_words
from protocol.states import FAILURE
from protocol.tickets import Ticket, to_text
from protocol.timing import BEAT
from protocol.topology import Address, Names, inbox_key
from protocol.values import loads
from worker.record import Record
from worker.work import Encoded

_MOST_ADDRESSES: Final = 1000
#: Of every SUCCESS, around the text of its result.
_SUCCESS: Final = messages.encode(Response.success(0)).replace(b"0", b"%b")


class Letters:
    """Writes for one worker process."""

    def __init__(
        self,
        names: Names,
        topics: tuple[str, ...],
        *,
        worker: str,
        boot: str,
        slots: int,
        beat: float,
        can_stop: bool,
        takes_batches: Callable[[str], bool],
        machine: NodeReport | None = None,
    ) -> None:
        """``takes_batches``: whether who is answered at this key has said that he does.

        ``machine``: what is told of it in answers; None: nothing.
        """
        self._names = names
        self._takes_batches = takes_batches
        #: Of whom was answered last: there are few, and each is written to often.
        self._addresses: dict[str, Address] = {}
        self._topics = topics
        self._worker = worker
        self._boot = boot
        #: On every message, so that nobody expects us too soon.
        self._beat = None if beat == BEAT else max(1, int(beat * 1000))
        self._caps = (*envelope.CAPS, envelope.STOPS) if can_stop else envelope.CAPS
        self._machine = machine if names.is_native else None
        if self._machine is not None:
            self._caps = (*self._caps, envelope.RESOURCES)
        self._slots = slots
        self._inbox = inbox_key(topics[0], boot)
        #: The boot this process has come in the place of, if that is known to be dead.
        self.replaces: str | None = None

    def measured(self, cores_used: float | None, memory_used: float | None) -> None:
        """How much of the machine is in use, for all answers from now on."""
        if self._machine is not None:
            self._machine = replace(self._machine, cores_used=cores_used, memory_used=memory_used)

    # NOTIFY -----------------------------------------------------------------------------------

    def to_everybody(
        self, offered: Iterable[str], credit: int, now: float, busy: int = 0
    ) -> list[Parcel]:
        """NOTIFY to all who hear the fan-out. taskflow's peers have none: they ask."""
        if not self._names.is_native:
            return []
        to_all = self._names.to_everybody(self._names.hello)
        return self._answers(to_all, offered, credit, now, busy=busy)

    def to_one(
        self,
        reply_to: str,
        offered: Iterable[str],
        credit: int,
        now: float,
        incarnation: int | None = None,
        *,
        free: Resources | None = None,
        busy: int = 0,
    ) -> list[Parcel]:
        """NOTIFY to one executor, one for each topic. ``incarnation``: of it, that we serve.

        ``free``: what it could take if it had nothing here. ``busy``: requests that wait or run.
        """
        to_it = self._to(reply_to)
        return self._answers(to_it, offered, credit, now, incarnation, free=free, busy=busy)

    def _answers(
        self,
        address: Address,
        offered: Iterable[str],
        credit: int,
        now: float,
        incarnation: int | None = None,
        *,
        free: Resources | None = None,
        busy: int = 0,
    ) -> list[Parcel]:
        header = None
        if self._names.is_native:
            machine = self._machine
            node = None if machine is None else replace(machine, free=free, busy=busy).to_json()
            header = Header(
                caps=self._caps,
                incarnation=incarnation,
                worker=self._worker,
                boot=self._boot,
                clock=_clock(now),
                slots=self._slots,
                credit=credit,
                inbox=self._inbox,
                beat=self._beat,
                replaces=self.replaces,
                node=node,
            )
        around = Envelope(envelope.NOTIFY, header=header)
        tasks = tuple(offered)
        return [Parcel(address, around, messages.encode(Answer(t, tasks))) for t in self._topics]

    # of what is held --------------------------------------------------------------------------

    def held(self, reply_to: str, held: Held, now: float) -> Parcel:
        """HELD. Raises ``MessageRefused`` where it is longer than a message may be."""
        around = Envelope(envelope.HELD, header=self._header(now))
        return self._parcel(reply_to, around, held)

    def dropped(self, reply_to: str, tickets: Iterable[Ticket], now: float) -> Parcel:
        """DROPPED."""
        around = Envelope(envelope.DROPPED, header=self._header(now))
        return self._parcel(reply_to, around, Dropped(to_text(tickets)))

    def release(
        self,
        reply_to: str,
        uuid: str,
        items: Iterable[tuple[Iterable[Ticket], ReleaseReason]],
        credit: int,
        now: float,
    ) -> Parcel:
        """RELEASE of these tickets, for these reasons."""
        release = Release(tuple((to_text(tickets), reason) for tickets, reason in items))
        around = Envelope(envelope.RELEASE, correlation_id=uuid, header=self._header(now, credit))
        return self._parcel(reply_to, around, release)

    def put_back(self, record: Record) -> Parcel:
        """A taskflow peer's REQUEST as it came, for another worker of the topic.

        Raises ``ValueRefused`` where our way to write it makes a longer body than there may be.
        """
        assert record.request is not None
        around = Envelope(envelope.REQUEST, record.reply_to, record.uuid)
        address = self._names.to_topic(self._topics[0])
        return Parcel(address, around, messages.encode(record.request))

    # RESPONSE ---------------------------------------------------------------------------------

    def body_of(self, record: Record, response: Response | Encoded) -> bytes:
        """The body, as its executor can read it; an ``Encoded`` result is a SUCCESS.

        Raises ``ValueRefused`` or ``MessageRefused`` for what could not travel, or not be read.
        """
        if isinstance(response, Encoded):
            if record.is_native:
                return _SUCCESS % response.text
            response = Response.success(loads(response.text))
        if not record.is_native:
            response = _readable(response, record.request.task if record.request else "a task")
        return messages.encode(response)

    def response(
        self, record: Record, body: bytes, now: float, credit: int | None = None
    ) -> Parcel:
        """RESPONSE with this body, under the newest ticket; with ``credit`` if it is an end."""
        header = None
        if record.is_native:
            header = Header(
                worker=self._worker,
                boot=self._boot,
                beat=self._beat,
                clock=_clock(now),
                tickets=None if record.ticket is None else str(record.ticket),
                attempt=record.attempt if record.attempt > 1 else None,
                end=record.end,
                credit=credit,
            )
        around = Envelope(envelope.RESPONSE, correlation_id=record.uuid, header=header)
        return Parcel(self._to(record.reply_to), around, body)

    def instead_of(self, refused: Parcel, why: str) -> Parcel:
        """The FAILURE that is told instead of an end which the broker does not take."""
        failure = from_exception(
            MessageUndeliverable(
                f"request {refused.envelope.correlation_id} has run on worker {self._worker}, and "
                f"its result of {in_words(len(refused.body))} cannot be delivered: {why}; have the "
                "task put it where both sides can read it (a file, an object store) and return its "
                "path or URL, or allow larger messages in the broker's settings"
            )
        )
        body = messages.encode(Response.failure(failure))
        return Parcel(refused.address, refused.envelope, body)

    def refusal(self, reply_to: str, uuid: str, failure: FailureDict) -> Parcel:
        """FAILURE, to a request that is no message: without a header, for it had none to trust."""
        around = Envelope(envelope.RESPONSE, correlation_id=uuid)
        return self._parcel(reply_to, around, Response.failure(failure))

    # ------------------------------------------------------------------------------------------

    def _header(self, now: float, credit: int | None = None) -> Header:
        return Header(
            worker=self._worker,
            boot=self._boot,
            clock=_clock(now),
            credit=credit,
            beat=self._beat,
        )

    def _parcel(self, reply_to: str, around: Envelope, message: messages.Message) -> Parcel:
        return Parcel(self._to(reply_to), around, messages.encode(message))

    def _to(self, reply_to: str) -> Address:
        takes_batches = self._takes_batches(reply_to)
        address = self._addresses.get(reply_to)
        if address is None or address.takes_batches is not takes_batches:
            if len(self._addresses) >= _MOST_ADDRESSES:
                self._addresses.clear()
            address = self._names.to_replies(reply_to, takes_batches=takes_batches)
            self._addresses[reply_to] = address
        return address


def _clock(now: float) -> int:
    return int(now * 1000)


def _readable(response: Response, task: str) -> Response:
    """What a taskflow peer is told. Raises ``ValueRefused`` for a value it could not read."""
    if response.state == FAILURE:
        return Response.failure(kombu_json.readable_failure(response.data["result"]))
    for name, value in response.data.items():
        kombu_json.check(value, f"{name} of {task}")
    return response
