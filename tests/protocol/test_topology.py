"""Names and flags: taskflow's exactly, and ours apart from them."""

from __future__ import annotations

import string
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from taskflow.engines.worker_based import proxy

from protocol import timing, topology
from protocol.errors import ConfigurationError
from protocol.topology import (
    Address,
    Exchange,
    Names,
    Queue,
    check_name,
    inbox_key,
    is_addressable,
    takes_replies,
)

names = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=64)
BOOT = "0123456789abcdef"


def all_queues(of: Names, topic: str, key: str) -> list[Queue]:
    """Every queue there can be for one topic and one executor."""
    if not of.is_native:
        return [of.topic(topic), of.replies(key)]
    inbox = inbox_key(topic, BOOT)
    return [
        of.topic(topic),
        of.replies(key),
        of.inbox(inbox),
        of.call_queue(inbox),
        of.hello_queue(key),
    ]


def test_taskflows_queue_has_taskflows_name_and_flags() -> None:
    """Transient and auto-delete, on a direct exchange; anything else would be a 406."""
    direct = Exchange("flows", "direct", durable=False, auto_delete=True)
    queue = Queue("flows_t1", direct, "t1", durable=False, auto_delete=True, expires=None)
    of = Names("taskflow", "flows")
    assert not of.is_native
    assert of.topic("t1") == queue
    assert of.replies("t1") == queue
    assert of.to_topic("t1") == Address("flows", "t1", queue)
    assert of.to_replies("t1") == Address("flows", "t1", queue)


@pytest.mark.parametrize("key", ["t1", "38ce3bf4-4932-4349-b461-2be27b45dcec"])
def test_taskflows_own_proxy_declares_the_same(key: str) -> None:
    """Compared with what the real one would declare."""
    own = proxy.Proxy("t1", "flows", url="memory://")
    theirs = own._make_queue(key, own._exchange)
    ours = Names("taskflow", "flows").topic(key)
    assert ours.exchange is not None
    assert theirs.name == ours.name
    assert theirs.routing_key == ours.routing_key
    assert (theirs.durable, theirs.auto_delete) == (ours.durable, ours.auto_delete)
    assert (theirs.exclusive, theirs.queue_arguments, theirs.expires) == (False, None, ours.expires)
    exchange = theirs.exchange
    assert (exchange.name, exchange.type) == (ours.exchange.name, ours.exchange.type)
    assert (exchange.durable, exchange.auto_delete) == (
        ours.exchange.durable,
        ours.exchange.auto_delete,
    )


def test_native_queues_are_durable_and_reached_by_name() -> None:
    """No binding that could be lost; the unread ones expire, the topic's never."""
    of = Names("native", "taskline")
    assert of.is_native
    assert of.topic("gpu") == Queue(
        "taskline.native_gpu", None, "taskline.native_gpu", durable=True, auto_delete=False
    )
    assert of.replies("ex1").expires == timing.REPLY_EXPIRES
    inbox = of.inbox(inbox_key("gpu", BOOT))
    assert (inbox.name, inbox.expires) == (f"taskline.native_gpu.{BOOT}", timing.INBOX_EXPIRES)


def test_native_fan_outs_have_a_queue_for_each_process() -> None:
    """Executors ask on one, workers tell on the other."""
    of = Names("native", "taskline")
    assert of.call == Exchange("taskline.native.call", "fanout", durable=True, auto_delete=False)
    assert of.hello == Exchange("taskline.native.hello", "fanout", durable=True, auto_delete=False)
    hears = of.call_queue(inbox_key("gpu", BOOT))
    assert (hears.name, hears.exchange) == (f"taskline.native_gpu.{BOOT}.call", of.call)
    hears = of.hello_queue("ex1")
    assert (hears.name, hears.exchange) == ("taskline.native_ex1.hello", of.hello)
    assert of.to_everybody(of.call) == Address("taskline.native.call", "", of.call)


def test_only_what_its_reader_may_not_have_declared_is_declared_by_the_publisher() -> None:
    """A topic before any worker is there; a native reply queue or inbox never by a stranger."""
    of = Names("native", "taskline")
    assert of.to_topic("gpu") == Address("", "taskline.native_gpu", of.topic("gpu"))
    assert of.to_replies("ex1") == Address("", "taskline.native_ex1")
    assert of.to_inbox("gpu.1") == Address("", "taskline.native_gpu.1")


@given(names, names, names, names, names)
@settings(deadline=None)
def test_the_dialects_share_no_name_under_one_exchange(
    exchange: str, topic: str, key: str, other_topic: str, other_key: str
) -> None:
    """So that one process speaks both on any broker."""
    native, taskflow = Names("native", exchange), Names("taskflow", exchange)
    ours = all_queues(native, topic, key)
    theirs = all_queues(taskflow, other_topic, other_key)
    assert {queue.name for queue in ours}.isdisjoint(queue.name for queue in theirs)
    assert {native.call.name, native.hello.name}.isdisjoint(
        queue.exchange.name for queue in theirs if queue.exchange
    )


def test_the_longest_names_are_short_strings_of_amqp() -> None:
    """255 bytes; everything in them is ASCII."""
    longest = "x" * 64
    for dialect in topology.DIALECTS:
        of = Names(dialect, longest)
        assert max(len(queue.name) for queue in all_queues(of, longest, "k" * 128)) <= 255


@pytest.mark.parametrize("name", ["a", "taskline", "A.b_c-9", "x" * 64, "0"])
def test_a_good_name_is_given_back(name: str) -> None:
    """So that a call can stand where the name is used."""
    assert check_name("topic", name) == name


@pytest.mark.parametrize(
    "name", ["", "a b", "a\n", "é", "a/b", "a:b", "a*", "x" * 65, "٣", "\ud800", None, 5, b"a"]
)
def test_a_bad_name_is_refused_in_words(name: object) -> None:
    """With what it was for, what it is, and what to take."""
    with pytest.raises(ConfigurationError) as caught:
        check_name("topic", name)
    assert f"topic {name!r}" in str(caught.value)
    assert "1 to 64" in str(caught.value)


def test_a_bad_exchange_or_dialect_is_refused_at_once() -> None:
    """Before anything is named after it."""
    with pytest.raises(ConfigurationError, match="exchange 'a b'"):
        Names("native", "a b")
    with pytest.raises(ConfigurationError, match=r"dialect 'klingon'.*native, taskflow"):
        Names("klingon", "taskline")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "key", ["38ce3bf4-4932-4349-b461-2be27b45dcec", "ex1", f"default.{BOOT}", "x" * 128]
)
def test_uuids_names_and_inboxes_are_addressable(key: str) -> None:
    """What peers of either dialect give as reply_to."""
    assert is_addressable(key)


@pytest.mark.parametrize(
    "key", [None, "", "a b", "a\n", "\n", "é", "٣", "#", "*", "a/../b", "x" * 129, 5, b"a", ["a"]]
)
def test_nothing_else_is_addressable(key: object) -> None:
    """It would let a stranger steer our answers."""
    assert not is_addressable(key)


@pytest.mark.parametrize(
    ("key", "so"),
    [
        ("38ce3bf4-4932-4349-b461-2be27b45dcec", True),
        ("0123456789abcdef", True),
        ("nightly", True),
        ("nightly.2026-11", True),
        (f"default.{BOOT}", False),
        (f".{BOOT}", False),
        (f"default.{BOOT}.call", False),
        ("nightly.hello", False),
        ("a b", False),
        (None, False),
    ],
)
def test_answers_go_to_executors_and_never_to_a_worker_or_a_fan_out(key: object, so: bool) -> None:
    assert takes_replies(key) is so


def test_names_are_frozen() -> None:
    """They are handed from thread to thread."""
    with pytest.raises(FrozenInstanceError):
        Names("native", "taskline").exchange = "other"  # type: ignore[misc]
