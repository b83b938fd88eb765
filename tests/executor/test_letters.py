"""What an executor's letters say, and where they go."""

from __future__ import annotations

import pytest

from executor.letters import Letters
from executor.peer import Peer
from executor.request import Attempt, Request
from protocol import envelope, messages
from protocol.envelope import CAPS, STOPS, Header
from protocol.messages import Cancel, Question, Receipt
from protocol.topology import Names
from tests.executor.peers import EXCHANGE, EXECUTOR, arrived, order

NATIVE, TASKFLOW = Names("native", EXCHANGE), Names("taskflow", EXCHANGE)


@pytest.fixture
def letters() -> Letters:
    """Of an executor's third incarnation."""
    return Letters({"native": NATIVE, "taskflow": TASKFLOW}, EXECUTOR, 3, 60.0)


@pytest.fixture
def worker() -> Peer:
    """A native worker that can end a run."""
    peer = Peer("a" * 16, "native", "w")
    peer.inbox = "x.a"
    peer.caps = frozenset((*CAPS, STOPS))
    return peer


def sent(request: Request, peer: Peer, start_by: int) -> Attempt:
    """One more attempt."""
    attempt = Attempt(
        "u1",
        request.next_number,
        peer,
        peer.next_ticket(3),
        sent=0.0,
        window=60.0,
        start_by=start_by,
    )
    attempt.dispatch()
    request.add(attempt)
    return attempt


def test_a_call_asks_everybody_and_says_how_long_results_are_to_be_kept(letters: Letters) -> None:
    parcel = letters.call()
    assert parcel.address == NATIVE.to_everybody(NATIVE.call)
    read = arrived(parcel, at_worker=True)
    assert read.message == Question()
    assert read.envelope.reply_to == EXECUTOR
    assert read.envelope.header == Header(caps=CAPS, executor=EXECUTOR, incarnation=3, keep=60)


def test_taskflows_workers_are_asked_on_their_topic_without_a_header(letters: Letters) -> None:
    parcel = letters.notify("x")
    assert parcel.address == TASKFLOW.to_topic("x")
    assert arrived(parcel, at_worker=True).envelope.header is None


def test_a_request_names_all_its_tickets_there_and_its_own_attempt(
    letters: Letters, worker: Peer
) -> None:
    request = Request(order("u1", mode="amo", time_limit=2.0, soft_time_limit=1.5), 0.0)
    sent(request, worker, 1000)
    sent(request, Peer("b" * 16, "native", "other"), 9000)
    newest = sent(request, worker, 2000)
    parcel = letters.request(request, newest, "x")
    assert parcel.address == NATIVE.to_inbox("x.a", takes_batches=True)
    read = arrived(parcel, at_worker=True)
    assert read.envelope.correlation_id == "u1"
    assert read.envelope.header == Header(
        executor=EXECUTOR,
        incarnation=3,
        boot=worker.key,
        tickets="3:1-2",
        start_by=2000,
        attempt=3,
        mode="amo",
        time_limit=2000,
        soft_time_limit=1500,
    )
    assert read.message == messages.Request("m.task", name="m.task", arguments={"n": "u1"})


def test_a_first_attempt_of_a_first_round_leaves_out_what_goes_without_saying(
    letters: Letters, worker: Peer
) -> None:
    request = Request(order("u1"), 0.0)
    header = letters.request(request, sent(request, worker, 1000), "x").envelope.header
    assert header is not None
    assert (header.attempt, header.base, header.time_limit) == (None, None, None)


def test_the_first_request_to_a_worker_says_what_we_understand(
    letters: Letters, worker: Peer
) -> None:
    """It may have come after everybody was asked who is there, and would answer one by one."""
    said = []
    for uuid in ("u1", "u2"):
        request = Request(order(uuid), 0.0)
        header = letters.request(request, sent(request, worker, 1000), "x").envelope.header
        assert header is not None
        said.append(header.caps)
    assert said == [CAPS, None]


def test_who_has_not_said_that_he_reads_batches_is_sent_none(
    letters: Letters, worker: Peer
) -> None:
    request = Request(order("u1"), 0.0)
    attempt = sent(request, worker, 1000)
    for caps in (None, frozenset({"held", "receipt"})):
        worker.caps = caps
        for parcel in (
            letters.request(request, attempt, "x"),
            letters.cancel(request, worker),
            letters.receipt(worker, "3:1"),
        ):
            assert parcel.address == NATIVE.to_inbox("x.a")
            assert not parcel.address.takes_batches


@pytest.mark.parametrize(
    ("phase", "forced", "able", "body"),
    [
        ("EXPIRING", False, True, Cancel("keep", "expired")),
        ("CANCELLING", False, True, Cancel("keep", "user")),
        ("CANCELLING", True, True, Cancel("stop", "user")),
        ("CANCELLING", True, False, Cancel("keep", "user")),
    ],
)
def test_a_cancel_says_why_and_what_if_it_runs(
    letters: Letters, worker: Peer, phase: str, forced: bool, able: bool, body: Cancel
) -> None:
    request = Request(order("u1"), 0.0)
    sent(request, worker, 3000)
    sent(request, worker, 2000)
    request.base = 2
    request.phase = phase  # type: ignore[assignment]
    request.is_forced = forced
    if not able:
        worker.caps = frozenset(CAPS)
    parcel = letters.cancel(request, worker)
    assert parcel.address == NATIVE.to_inbox("x.a", takes_batches=True)
    read = arrived(parcel, at_worker=True)
    assert read.message == body
    assert read.envelope.header == Header(
        executor=EXECUTOR,
        incarnation=3,
        boot=worker.key,
        tickets="3:1-2",
        start_by=3000,
        attempt=2,
        base=2,
    )


def test_a_receipt_is_about_tickets_and_no_request(letters: Letters, worker: Peer) -> None:
    parcel = letters.receipt(worker, "3:1-7 4:1")
    assert parcel.address == NATIVE.to_inbox("x.a", takes_batches=True)
    read = arrived(parcel, at_worker=True)
    assert read.message == Receipt("3:1-7 4:1")
    assert (read.envelope.kind, read.envelope.correlation_id) == (envelope.RECEIPT, None)
    assert read.envelope.header == Header(executor=EXECUTOR, incarnation=3, boot=worker.key)
