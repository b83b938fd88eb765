"""The bus inside one process: who gets what, in which order, on which thread."""

from __future__ import annotations

import gc
import logging
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.news import Bus, Connection
from protocol.errors import BusError
from protocol.events import Ended, Running
from protocol.history import Entry, History
from tests.bus.news.writing import a_life, submitted


@dataclass(frozen=True)
class Note:
    number: int


@dataclass(frozen=True)
class Remark(Note):
    """Derived, and so another type."""


def elsewhere(call: Callable[[], object]) -> BaseException | None:
    """Call it on another thread, to its end; what it raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="elsewhere")
    thread.start()
    thread.join()
    return raised[0] if raised else None


class TestDelivery:
    """From publish to handler."""

    def test_what_the_owner_publishes_is_delivered_before_publish_returns(self) -> None:
        bus = Bus()
        got: list[Note] = []
        bus.subscribe(Note, got.append)
        bus.publish(Note(1))
        assert got == [Note(1)]

    def test_a_type_is_that_class_and_none_derived_from_it(self) -> None:
        bus = Bus()
        notes: list[Note] = []
        remarks: list[Remark] = []
        bus.subscribe(Note, notes.append)
        bus.subscribe(Remark, remarks.append)
        bus.publish(Remark(1))
        assert (notes, remarks) == ([], [Remark(1)])

    def test_subscribers_are_called_in_the_order_in_which_they_came(self) -> None:
        bus = Bus()
        got: list[tuple[str, int]] = []
        for name in "abc":
            bus.subscribe(Note, lambda note, name=name: got.append((name, note.number)))  # type: ignore[misc]
        bus.publish(Note(1))
        assert got == [("a", 1), ("b", 1), ("c", 1)]

    def test_what_others_publish_waits_for_the_owner_and_is_handled_on_its_thread(self) -> None:
        bus = Bus()
        threads: list[threading.Thread] = []
        bus.subscribe(Note, lambda note: threads.append(threading.current_thread()))
        assert elsewhere(lambda: bus.publish(Note(1))) is None
        assert threads == []
        assert bus.waiting == 1
        bus.check()
        assert threads == [threading.current_thread()]
        assert bus.waiting == 0

    def test_what_was_published_first_comes_first_whoever_did(self) -> None:
        """Also where the second one was published by the owner."""
        bus = Bus()
        got: list[Note] = []
        bus.subscribe(Note, got.append)
        elsewhere(lambda: bus.publish(Note(1)))
        bus.publish(Note(2))
        assert got == [Note(1), Note(2)]

    def test_what_a_handler_publishes_comes_after_everybody_has_the_present_one(self) -> None:
        bus = Bus()
        got: list[tuple[str, int]] = []

        def first(note: Note) -> None:
            got.append(("first", note.number))
            if note.number == 1:
                bus.publish(Note(2))
                bus.check()  # the outermost call goes on with it

        bus.subscribe(Note, first)
        bus.subscribe(Note, lambda note: got.append(("second", note.number)))
        bus.publish(Note(1))
        assert got == [("first", 1), ("second", 1), ("first", 2), ("second", 2)]

    def test_what_a_handler_publishes_in_a_check_is_delivered_by_that_check(self) -> None:
        bus = Bus()
        got: list[int] = []

        def echo(note: Note) -> None:
            got.append(note.number)
            if note.number < 5:
                bus.publish(Note(note.number + 1))

        bus.subscribe(Note, echo)
        elsewhere(lambda: bus.publish(Note(1)))
        bus.check()
        assert got == [1, 2, 3, 4, 5]

    def test_a_check_ends_however_much_others_publish_meanwhile(self) -> None:
        bus = Bus()
        got: list[Note] = []

        def provoke(note: Note) -> None:
            got.append(note)
            elsewhere(lambda: bus.publish(Note(note.number + 1)))

        bus.subscribe(Note, provoke)
        elsewhere(lambda: bus.publish(Note(1)))
        bus.check()
        assert got == [Note(1)]
        bus.check()
        assert got == [Note(1), Note(2)]

    def test_a_message_is_for_who_was_subscribed_when_it_was_published(self) -> None:
        bus = Bus()
        early: list[Note] = []
        late: list[Note] = []
        gone: list[Note] = []
        bus.subscribe(Note, early.append)
        leaving = bus.subscribe(Note, gone.append)
        elsewhere(lambda: bus.publish(Note(1)))
        bus.subscribe(Note, late.append)
        leaving.close()
        leaving.close()
        bus.check()
        assert (early, late, gone) == ([Note(1)], [], [])

    def test_what_nobody_wants_is_dropped_at_once(self) -> None:
        bus = Bus()
        assert not bus.is_heard
        elsewhere(lambda: bus.publish(Note(1)))
        assert bus.waiting == 0
        with bus.subscribe(Note, print):
            assert bus.is_heard
        assert not bus.is_heard

    def test_a_subscription_needs_nobody_who_refers_to_it(self) -> None:
        bus = Bus()
        got: list[int] = []
        bus.subscribe(Note, lambda note: got.append(note.number))
        gc.collect()
        bus.publish(Note(1))
        assert got == [1]

    def test_each_thread_keeps_its_order_when_many_publish_at_once(self) -> None:
        bus = Bus()
        got: list[tuple[int, int]] = []
        bus.subscribe(tuple, got.append)
        threads = [
            threading.Thread(target=lambda me=me: [bus.publish((me, n)) for n in range(500)])  # type: ignore[misc]
            for me in range(4)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            bus.check(0.01)
        bus.check()
        assert len(got) == 2000
        for me in range(4):
            assert [n for who, n in got if who == me] == list(range(500))

    def test_who_comes_and_goes_while_others_publish_disturbs_nobody(self) -> None:
        bus = Bus()
        got: list[int] = []
        bus.subscribe(int, got.append)
        is_over = threading.Event()

        def come_and_go() -> None:
            while not is_over.is_set():
                with bus.subscribe(int, id), bus.tap(id):
                    bus.publish("nobody wants this")

        def publish() -> None:
            for number in range(2000):
                bus.publish(number)

        threads = [threading.Thread(target=target) for target in (come_and_go, publish)]
        for thread in threads:
            thread.start()
        while threads[1].is_alive():
            bus.check(0.01)
        is_over.set()
        for thread in threads:
            thread.join()
        bus.check()
        assert got == list(range(2000))

    def test_a_signal_handler_may_publish_wherever_it_interrupts_the_owner(self) -> None:
        bus = Bus()
        got: list[str] = []
        bus.subscribe(str, got.append)
        sent = 0

        def interrupt(number: int, frame: object) -> None:
            nonlocal sent
            sent += 1
            bus.publish("from the handler")

        before = signal.signal(signal.SIGVTALRM, interrupt)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.001, 0.0005)
        try:
            for _ in range(100):
                elsewhere(lambda: [bus.publish("from elsewhere") for _ in range(1000)])
                bus.publish("from here")  # and with it what came from there
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before)
        bus.check()
        assert sent > 0
        assert len(got) == 100_100 + sent


class TestWaiting:
    """``check`` with a time-out."""

    def test_it_returns_when_something_came(self) -> None:
        bus = Bus()
        got: list[Note] = []
        bus.subscribe(Note, got.append)
        timer = threading.Timer(0.05, bus.publish, [Note(1)])
        timer.start()
        bus.check(60)
        timer.join()
        assert got == [Note(1)]

    def test_it_returns_after_its_time(self) -> None:
        Bus().check(0.01)

    def test_a_ring_that_came_late_ends_no_wait(self) -> None:
        bus = Bus()
        got: list[Note] = []
        bus.subscribe(Note, got.append)
        bus._bell.put(None)
        timer = threading.Timer(0.05, bus.publish, [Note(1)])
        timer.start()
        bus.check(60)
        timer.join()
        assert got == [Note(1)]

    def test_it_does_not_wait_when_something_was_there(self) -> None:
        bus = Bus()
        bus.subscribe(Note, print)
        elsewhere(lambda: bus.publish(Note(1)))
        bus.check(3600)

    def test_on_another_thread_it_is_refused(self) -> None:
        bus = Bus()
        error = elsewhere(bus.check)
        assert isinstance(error, BusError)
        assert str(error) == (
            "a bus delivers on the thread that made it, MainThread, and was asked by elsewhere: "
            "publish from here, and read over there"
        )


class TestRaising:
    """Handlers that raise."""

    def test_nobody_else_notices(self, caplog: pytest.LogCaptureFixture) -> None:
        bus = Bus()
        got: list[Note] = []
        bus.subscribe(Note, lambda note: 1 // 0)
        bus.subscribe(Note, got.append)
        bus.publish(Note(1))
        bus.publish(Note(2))
        assert got == [Note(1), Note(2)]
        assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
        assert "ZeroDivisionError" in caplog.text

    @pytest.mark.parametrize("is_tapped", [False, True])
    def test_ctrl_c_passes_and_whom_it_kept_from_a_message_gets_it_next(
        self, is_tapped: bool
    ) -> None:
        bus = Bus()
        got: list[tuple[str, int]] = []

        def interrupt(number: int) -> None:
            if number == 1:
                raise KeyboardInterrupt

        if is_tapped:
            bus.tap(lambda entry: interrupt(entry.event.number))  # type: ignore[union-attr]
        else:
            bus.subscribe(Note, lambda note: interrupt(note.number))
        bus.subscribe(Note, lambda note: got.append(("second", note.number)))
        elsewhere(lambda: [bus.publish(Note(1)), bus.publish(Note(2))])
        with pytest.raises(KeyboardInterrupt):
            bus.check()
        assert got == []
        bus.publish(Note(3))
        assert got == [("second", 1), ("second", 2), ("second", 3)]

    def test_ctrl_c_at_any_moment_of_a_check_costs_and_doubles_nothing(self) -> None:
        bus = Bus()
        got: list[int] = []
        tapped: list[int] = []
        bus.tap(lambda entry: tapped.append(entry.number))
        bus.subscribe(int, got.append)
        count = 30_000
        elsewhere(lambda: [bus.publish(number) for number in range(count)])
        is_armed = False

        def interrupt(number: int, frame: object) -> None:
            if is_armed:
                raise KeyboardInterrupt

        before = signal.signal(signal.SIGVTALRM, interrupt)
        interrupted = 0
        try:
            while bus.waiting:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0.0003)
                try:
                    is_armed = True
                    bus.check()
                    is_armed = False
                except KeyboardInterrupt:
                    is_armed = False
                    interrupted += 1
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before)
        assert interrupted > 0
        assert got == list(range(count))
        assert len(tapped) <= count


class TestTap:
    """Everything, with its time."""

    def test_it_gets_every_type_numbered_and_stamped_when_it_was_published(self) -> None:
        now = [100.0]
        bus = Bus(now=lambda: now[0])
        got: list[Entry] = []
        bus.tap(got.append)
        elsewhere(lambda: bus.publish(Note(1)))
        now[0] = 200.0
        bus.publish(Remark(2))
        assert got == [Entry(1, 100.0, Note(1)), Entry(2, 200.0, Remark(2))]  # type: ignore[arg-type]

    def test_it_comes_before_every_subscriber_and_all_taps_get_the_same(self) -> None:
        bus = Bus()
        order: list[object] = []
        bus.subscribe(Note, lambda note: order.append("subscriber"))
        bus.tap(order.append)
        bus.tap(order.append)
        bus.publish(Note(1))
        assert order[0] is order[1]
        assert order[2:] == ["subscriber"]

    def test_a_history_is_folded_as_it_happens(self) -> None:
        bus = Bus()
        history = History()
        bus.tap(history.apply)
        for event in [*a_life("u"), submitted("v"), Note(1)]:
            bus.publish(event)
        assert [request.state for request in history.requests.values()] == ["SUCCESS", "WAITING"]
        assert history.problems == []


class TestConnection:
    """Inboxes that can publish."""

    def test_it_gathers_by_type_and_reading_delivers_first(self) -> None:
        bus = Bus()
        box = bus.connect([Note, Ended])
        box.publish(Note(1))
        elsewhere(lambda: box.publish(Ended("u", "success")))
        elsewhere(lambda: box.publish(Running("u", 1)))
        assert not box.empty()
        assert (box.count(Note), box.count(Ended)) == (1, 1)
        assert list(box.for_each(Note)) == [Note(1)]
        assert list(box.for_each(Ended)) == [Ended("u", "success")]
        assert box.empty()

    @pytest.mark.parametrize("how", ["break", "raise", "drop"])
    def test_a_loop_that_is_left_keeps_the_present_message_and_the_rest_before_newer_ones(
        self, how: str
    ) -> None:
        bus = Bus()
        box = bus.connect([Note])
        for number in (1, 2, 3):
            bus.publish(Note(number))

        def read() -> None:
            for note in box.for_each(Note):
                if note.number == 2:
                    bus.publish(Note(99))
                    assert box.count(Note) == 1
                    if how == "raise":
                        raise LookupError
                    if how == "break":
                        break
                    return

        if how == "raise":
            with pytest.raises(LookupError):
                read()
        else:
            read()
        assert [note.number for note in box.for_each(Note)] == [2, 3, 99]

    def test_what_comes_during_a_loop_is_not_in_it(self) -> None:
        bus = Bus()
        box = bus.connect([Note])
        bus.publish(Note(1))
        seen = []
        for note in box.for_each(Note):
            seen.append(note.number)
            box.publish(Note(note.number + 1))
        assert seen == [1]
        assert box.count(Note) == 1

    def test_a_loop_within_a_loop_sees_newer_ones_only(self) -> None:
        bus = Bus()
        box = bus.connect([Note])
        bus.publish(Note(1))
        bus.publish(Note(2))
        for note in box.for_each(Note):
            if note.number == 1:
                bus.publish(Note(3))
                assert [each.number for each in box.for_each(Note)] == [3]
        assert box.empty()

    def test_a_loop_that_was_not_begun_takes_nothing(self) -> None:
        bus = Bus()
        box = bus.connect([Note])
        bus.publish(Note(1))
        del bus
        box.for_each(Note)
        assert box.count(Note) == 1

    def test_a_type_it_does_not_gather_is_an_error_that_says_which_it_does(self) -> None:
        box = Bus().connect([Note, Ended])
        for ask in (box.count, box.for_each):
            with pytest.raises(BusError, match="gathers no Running, only Note, Ended: name it"):
                ask(Running)

    def test_closed_it_gathers_nothing_and_says_so(self) -> None:
        bus = Bus()
        with bus.connect([Note]) as box:
            bus.publish(Note(1))
        box.close()
        assert not bus.is_heard
        for use in (lambda: box.count(Note), box.empty, lambda: box.for_each(Note)):
            with pytest.raises(BusError, match="cannot receive: this connection to a bus was clos"):
                use()
        with pytest.raises(BusError, match="cannot publish: this connection to a bus was closed"):
            box.publish(Note(1))

    def test_it_is_read_by_the_owner_alone(self) -> None:
        bus = Bus()
        box = bus.connect([Note])
        assert isinstance(elsewhere(box.empty), BusError)

    def test_one_that_nobody_has_any_more_gathers_no_more(self) -> None:
        bus = Bus()
        box = bus.connect([Note])
        kept = box._boxes[Note]
        del box
        gc.collect()
        bus.publish(Note(1))
        assert not kept
        bus.subscribe(Note, print).close()
        assert not bus.is_heard

    def test_a_loop_keeps_its_messages_when_the_connection_is_closed_meanwhile(self) -> None:
        bus = Bus()
        box = bus.connect([Note])
        bus.publish(Note(1))
        bus.publish(Note(2))
        seen = []
        for note in box.for_each(Note):
            box.close()
            seen.append(note.number)
        assert seen == [1, 2]

    def test_an_outbox_publishes_until_it_is_closed(self) -> None:
        bus = Bus()
        box = bus.connect([Note])
        outbox = bus.outbox()
        outbox.publish(Note(1))
        assert box.count(Note) == 1
        outbox.close()
        with pytest.raises(BusError, match="cannot publish"):
            outbox.publish(Note(2))


@given(st.lists(st.sampled_from(["here", "there", "read", "break", "check"]), max_size=30))
@settings(deadline=None, max_examples=50)
def test_whatever_is_done_nothing_is_lost_or_doubled_and_the_order_is_kept(
    steps: list[str],
) -> None:
    bus = Bus()
    box: Connection = bus.connect([Note])
    count = 0
    seen: list[int] = []
    for step in steps:
        if step == "here":
            count += 1
            bus.publish(Note(count))
        elif step == "there":
            count += 1
            elsewhere(lambda number=count: bus.publish(Note(number)))  # type: ignore[misc]
        elif step == "read":
            seen += [note.number for note in box.for_each(Note)]
        elif step == "break":
            for _ in box.for_each(Note):
                break
        else:
            bus.check()
    seen += [note.number for note in box.for_each(Note)]
    assert seen == list(range(1, count + 1))
