"""A Redis of one's own: killed, started again, wiped, and never left behind."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bus.wire.testing import PrivateRedis
from tests.private import demand
from tests.processes import is_alive


def keep(server: PrivateRedis) -> None:
    assert server.command("SET", "kept", "yes") == b"+OK"


def has_kept(server: PrivateRedis) -> bool:
    return server.command("EXISTS", "kept") == b":1"


def test_it_answers_at_its_url_and_leaves_nothing() -> None:
    server = demand(PrivateRedis())
    with server:
        assert server.is_running
        assert server.url == f"redis://127.0.0.1:{server.port}/0"
        assert server.command("PING") == b"+PONG"
        folder, pid = server.folder, server.pid
        assert folder.is_dir()
    assert not folder.exists()
    assert not is_alive(pid)
    assert not server.is_running
    server.stop()


@pytest.mark.parametrize(("aof", "keeps"), [(None, False), ("everysec", True), ("always", True)])
def test_after_a_kill_it_has_what_its_file_has(aof: str | None, keeps: bool) -> None:
    with demand(PrivateRedis(aof=aof)) as server:  # type: ignore[arg-type]
        keep(server)
        pid, url = server.pid, server.url
        server.kill()
        assert not is_alive(pid)
        with pytest.raises(ConnectionRefusedError):
            server.command("PING")
        server.restart()
        assert server.url == url
        assert has_kept(server) is keeps


def test_after_a_clean_end_it_has_everything_and_after_a_wipe_nothing() -> None:
    with demand(PrivateRedis(aof="everysec")) as server:
        keep(server)
        server.restart()  # which ends it first
        assert has_kept(server)
        server.wipe()
        assert not server.is_running
        server.restart()
        assert not has_kept(server)


def test_a_folder_that_is_given_stays(tmp_path: Path) -> None:
    with demand(PrivateRedis(aof="always", folder=tmp_path / "here")) as server:
        keep(server)
    assert (tmp_path / "here").is_dir()
    with PrivateRedis(aof="always", folder=tmp_path / "here") as successor:
        assert has_kept(successor)


def test_it_is_gone_after_a_test_that_fails() -> None:
    server = demand(PrivateRedis())
    with pytest.raises(AssertionError), server:
        pid = server.pid
        raise AssertionError
    assert not is_alive(pid)


def test_starting_twice_is_starting_once_and_there_is_a_next_time() -> None:
    server = demand(PrivateRedis())
    try:
        server.start()
        pid = server.pid
        server.start()
        assert server.pid == pid
        server.stop()
        server.start()
        assert server.command("PING") == b"+PONG"
    finally:
        server.stop()


def test_what_keeps_it_from_starting_is_told() -> None:
    server = demand(PrivateRedis())
    with (
        socket.create_server(("127.0.0.1", server.port)),
        pytest.raises(RuntimeError, match="Address already in use"),
    ):
        server.start()
    assert not server.is_running
    server.stop()


def test_a_setting_that_it_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="'always', 'everysec' or None"):
        PrivateRedis(aof="sometimes")  # type: ignore[arg-type]


def test_the_process_of_one_that_does_not_run_is_not_told() -> None:
    with pytest.raises(RuntimeError, match="does not run"):
        _ = PrivateRedis().pid


def test_where_its_program_is_missing_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    sentence = PrivateRedis.missing()
    assert sentence is not None
    assert "redis-server is not on the PATH" in sentence
    with pytest.raises(RuntimeError, match="redis-server is not on the PATH"):
        PrivateRedis().start()
