"""Which broker a URL means, and that no password gets out of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.wire import Broker, parse_url
from bus.wire.testing import free_port
from bus.wire.urls import default_path
from protocol.errors import BrokerUnavailable, ConfigurationError
from tests.certificates import make

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        (None, "local"),
        ("", "local"),
        ("local://", "local"),
        ("local:///somewhere", "local"),
        ("memory://", "memory"),
        ("redis://localhost", "redis"),
        ("redis://localhost:6379/3", "redis"),
        ("amqp://localhost//", "amqp"),
        ("pyamqp://localhost/vhost", "amqp"),
        ("rediss://localhost", "redis"),
        ("amqps://localhost//", "amqp"),
        ("filesystem:///somewhere", "filesystem"),
    ],
)
def test_a_url_means_one_broker_which_says_what_it_guarantees(url: str | None, kind: str) -> None:
    broker = parse_url(url)
    assert broker.kind == kind
    assert len(broker.guarantee) > 20
    assert broker.transport == f"bus.wire.transports.{kind}:Transport"


def test_without_a_path_the_local_broker_lives_in_the_users_own_state(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "taskline" / "broker"
    assert parse_url(None).options["path"] == str(default_path())
    monkeypatch.delenv("XDG_STATE_HOME")
    assert default_path() == Path.home() / ".local" / "state" / "taskline" / "broker"


def test_a_local_url_can_be_handed_to_another_process(tmp_path: Path) -> None:
    """Whatever is in the path comes back out of the URL in full."""
    path = tmp_path / "with space, ü and %41"
    first = parse_url(f"local://{tmp_path}/with%20space,%20%C3%BC%20and%20%2541?sync=full")
    assert first.options["path"] == str(path)
    again = parse_url(first.url)
    assert again == first
    assert again.options["sync"] == "full"


def test_options_given_win_over_ours_and_are_kept_apart() -> None:
    broker = parse_url("redis://localhost", {"visibility_timeout": 3, "more": 1})
    assert broker.options["visibility_timeout"] == 3
    assert broker.options["unacked_key"] == "taskline.unacked"
    assert broker.given == {"visibility_timeout": 3, "more": 1}


@pytest.mark.parametrize(
    "url",
    [
        "http://host/",
        "localhost:6379",
        "redis",
        "rediss:///0",
        "amqps://",
        "filesystem://",
        "filesystem:///",
        "filesystem://relative/path",
        "filesystem:///path?polling_interval=1",
        "local://host/path",
        "local:///path?sink=full",
        "redis://host:port/",
        "redis://host:0/",
        "redis://host:70000/",
        "redis://[::1/",
        "amqp://one//;amqp://u:p@two//",
    ],
)
def test_what_no_broker_answers_to_is_refused_before_anything_is_connected(url: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_url(url)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://user:{SECRET}@host:6379/0",
        f"redis://:{SECRET}@host",
        f"amqp://user:{SECRET}@host:5672//",
        f"pyamqp://user:{SECRET}@host/vhost?heartbeat=5",
        f"memory://user:{SECRET}@host",
        f"rediss://user:{SECRET}@host:6380/0",
        f"amqps://user:{SECRET}@host//",
    ],
)
def test_a_password_is_neither_in_what_is_shown_nor_in_any_repr(url: str) -> None:
    broker = parse_url(url, {"password": SECRET})
    for shown in (broker.shown, repr(broker), str(broker), repr(Broker(broker))):
        assert SECRET not in shown
    if broker.kind != "memory":
        assert SECRET in broker.url


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{SECRET}@host",
        f"user:{SECRET}@host:6379",
        f"local://user:{SECRET}@host/path",
        f"redis://:{SECRET}@host:port/",
        f"redis://host:6379/0?password={SECRET}",
        f"rediss://:{SECRET}@/0",
        f"rediss://:{SECRET}@host/0?verify={SECRET}",
        f"redis://:a/{SECRET}@host:6379/0",
        f"redis://:a#{SECRET}@host:6379/0",
        f"redis://:a?{SECRET}@host:6379/0",
        f"amqp://user:{SECRET}/@host//",
        f"amqp://one//;amqp://user:{SECRET}@two//",
        f"redis://[{SECRET}@host",
        f"redis://:{SECRET}\u2100@host",
    ],
)
def test_a_password_is_not_in_what_is_said_of_a_bad_url(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_url(url)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_password_is_not_in_what_is_said_of_a_broker_that_is_away(scheme: str) -> None:
    port = free_port()
    broker = Broker(parse_url(f"{scheme}://user:{SECRET}@127.0.0.1:{port}/0"))
    with pytest.raises(BrokerUnavailable) as caught:
        broker.open()
    assert SECRET not in str(caught.value)
    assert f"127.0.0.1:{port}" in str(caught.value)
    assert "is it running" in str(caught.value)


def test_an_escaped_password_is_fine() -> None:
    broker = parse_url("redis://:a%2Fb%40c%23@host:6379/0")
    assert broker.shown == "redis://:**@host:6379/0"


def test_an_encrypted_url_is_told_to_kombu_without_what_is_ours(tmp_path: Path) -> None:
    """Where TLS is spoken, under the port that is usual for it; verified for the URL's host."""
    files = make(tmp_path)
    broker = parse_url(f"rediss://user:{SECRET}@db.example/3?ca={files.ca}")
    assert broker.address == f"redis://user:{SECRET}@db.example:6379/3"
    assert broker.shown == "rediss://user:**@db.example/3"
    assert broker.tls is not None
    assert broker.tls.host == "db.example"
    assert broker.options["tls"] is broker.tls
    assert "certificate verified" in broker.guarantee
    rabbit = parse_url("amqps://guest:guest@[::1]//")
    assert rabbit.address == "amqp://guest:guest@[::1]:5671//"
    assert rabbit.tls is not None
    assert rabbit.tls.host == "::1"
    assert parse_url("redis://localhost").tls is None


def test_an_encrypted_url_can_be_handed_to_another_process_in_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an executor does with its private workers."""
    folder = tmp_path / "a folder, ü & 100%"
    folder.mkdir()
    files = make(folder)
    monkeypatch.chdir(folder)
    first = parse_url("amqps://host//?ca=ca.pem&cert=client.pem&key=secret-place-of-the-key.pem")
    monkeypatch.chdir(tmp_path)
    again = parse_url(first.url)
    assert again == first
    assert again.tls is not None
    assert again.tls.key == str(files.client_key)
    for shown in (first.shown, repr(first), repr(Broker(first))):
        assert files.client_key.name not in shown


def test_a_folders_url_is_its_path_and_takes_no_options(tmp_path: Path) -> None:
    """kombu's own would say where messages lie, and then nobody would meet."""
    path = tmp_path / "with space, ü and %41"
    first = parse_url(f"filesystem://{tmp_path}/with%20space,%20%C3%BC%20and%20%2541")
    assert first.options == {"path": str(path)}
    assert parse_url(first.url) == first
    with pytest.raises(ConfigurationError, match="PATH/messages"):
        parse_url(first.url, {"data_folder_in": "elsewhere"})
    first.check_dialects(["taskflow"])
    parse_url("memory://").check_dialects(["native", "taskflow"])
    with pytest.raises(ConfigurationError, match="local://"):
        first.check_dialects(["taskflow", "native"])
