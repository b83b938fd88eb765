"""What each fault of the network does to plain sockets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from bus.wire.testing import TcpProxy
from tests.bus.wire.testing.lines import DEADLINE, Echo, call, is_silent, read
from tests.processes import wait_until


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[TcpProxy]:
    with TcpProxy("127.0.0.1", echo.port) as proxy:
        yield proxy


def test_bytes_pass_both_ways_and_are_counted(proxy: TcpProxy) -> None:
    with call(proxy.port) as client:
        client.sendall(b"hello")
        assert read(client, 5) == b"hello"
        assert (proxy.connections, proxy.open_connections) == (1, 1)
        wait_until(lambda: proxy.passed("down") == 5, "the count")
        assert proxy.passed("up") == 5
        assert client.getsockname()[0] == "127.0.0.1"


def test_much_passes_whole_and_in_order(proxy: TcpProxy) -> None:
    data = b"".join(number.to_bytes(4, "big") for number in range(1_000_000))
    with call(proxy.port) as client:
        sender = threading.Thread(target=client.sendall, args=(data,))
        sender.start()
        assert read(client, len(data)) == data
        sender.join(DEADLINE)


def test_who_reads_nothing_stops_who_sends(echo: Echo, proxy: TcpProxy) -> None:
    """What waits in the middle is bounded: no more is taken than the sockets and 1 MiB hold."""
    with call(proxy.port) as client:
        client.settimeout(0.5)
        with pytest.raises(TimeoutError):
            client.sendall(bytes(100_000_000))


def test_a_half_close_passes_and_what_follows_still_comes(proxy: TcpProxy) -> None:
    with call(proxy.port) as client:
        client.sendall(b"last words")
        client.shutdown(socket.SHUT_WR)
        assert read(client, 10) == b"last words"
        assert client.recv(1) == b""
        wait_until(lambda: proxy.open_connections == 0, "the end of it")


def test_a_reset_reaches_both_ends_and_new_connections_are_let_through(
    echo: Echo, proxy: TcpProxy
) -> None:
    with call(proxy.port) as client, call(proxy.port) as other:
        for each in (client, other):
            each.sendall(b"x")
            read(each, 1)
        assert proxy.reset() == 2
        for each in (client, other):
            with pytest.raises(ConnectionResetError):
                each.recv(1)
        assert echo.wait_for_ends(2) == ["reset", "reset"]
    with call(proxy.port) as client:
        client.sendall(b"again")
        assert read(client, 5) == b"again"


def asked(client: socket.socket) -> bytes:
    """One more byte, there and back."""
    client.sendall(b"x")
    return client.recv(1)


def test_a_reset_of_the_server_is_passed_on(echo: Echo, proxy: TcpProxy) -> None:
    with call(proxy.port) as client:
        client.sendall(b"x")
        read(client, 1)
        echo.accepted[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        echo.accepted[0].close()  # its reader is still in a recv, which ends with what comes next
        with pytest.raises(ConnectionResetError):
            asked(client)


def test_a_black_hole_swallows_and_keeps_the_connection(echo: Echo, proxy: TcpProxy) -> None:
    with call(proxy.port) as client:
        client.sendall(b"before")
        read(client, 6)
        proxy.blackhole()
        client.sendall(b"lost")
        assert is_silent(client)
        assert proxy.swallowed("up") == 4
        assert bytes(echo.heard) == b"before"
        assert echo.ends == []


def test_healing_resets_only_who_has_a_hole_in_the_stream(echo: Echo, proxy: TcpProxy) -> None:
    with call(proxy.port) as quiet, call(proxy.port) as talker:
        for each in (quiet, talker):
            each.sendall(b"x")
            read(each, 1)
        proxy.blackhole()
        talker.sendall(b"lost")
        wait_until(lambda: proxy.swallowed("up") == 4, "the black hole")
        proxy.heal()
        with pytest.raises(ConnectionResetError):
            talker.recv(1)
        assert echo.wait_for_ends(1) == ["reset"]
        quiet.sendall(b"still here")
        assert read(quiet, 10) == b"still here"


def test_in_a_black_hole_a_connection_comes_about_and_says_nothing(
    echo: Echo, proxy: TcpProxy
) -> None:
    proxy.blackhole()
    with call(proxy.port) as client:
        assert is_silent(client)
        assert echo.accepted == []
        proxy.heal()
        client.sendall(b"x")
        assert read(client, 1) == b"x"


def test_in_a_black_hole_the_server_does_not_learn_that_the_client_has_gone(
    echo: Echo, proxy: TcpProxy
) -> None:
    with call(proxy.port) as client:
        client.sendall(b"x")
        read(client, 1)
        proxy.blackhole()
    with call(proxy.port) as other:  # who knocks later is served later
        assert is_silent(other)
    assert echo.ends == []
    proxy.heal()
    assert echo.wait_for_ends(1) == ["reset"]


@pytest.mark.parametrize("direction", ["up", "down"])
def test_one_way_lets_the_other_way_vanish(echo: Echo, proxy: TcpProxy, direction: str) -> None:
    with call(proxy.port) as client:
        client.sendall(b"x")
        read(client, 1)
        proxy.one_way(direction)  # type: ignore[arg-type]
        client.sendall(b"ping")
        assert is_silent(client)
        if direction == "up":
            assert echo.wait_for(5) == b"xping"
            assert (proxy.swallowed("up"), proxy.swallowed("down")) == (0, 4)
        else:
            echo.accepted[0].sendall(b"pong")
            assert read(client, 4) == b"pong"
            assert (proxy.swallowed("up"), proxy.swallowed("down")) == (4, 0)
        assert bytes(echo.heard) == (b"xping" if direction == "up" else b"x")


def test_latency_delays_each_way_and_keeps_order(proxy: TcpProxy) -> None:
    proxy.latency(0.1)
    with call(proxy.port) as client:
        began = time.monotonic()
        for number in range(20):
            client.sendall(bytes([number]))
        assert read(client, 20) == bytes(range(20))
        assert time.monotonic() - began >= 0.2


def test_latency_costs_no_bandwidth(echo: Echo, proxy: TcpProxy) -> None:
    """24 MB through a pipe that is a second long: in steps of a megabyte they would take 24 s."""
    data = bytes(24_000_000)
    proxy.latency(0.5)
    with call(proxy.port) as client:
        began = time.monotonic()
        sender = threading.Thread(target=client.sendall, args=(data,))
        sender.start()
        assert read(client, len(data)) == data
        assert time.monotonic() - began < 15.0
        sender.join(DEADLINE)


def test_what_is_under_way_when_the_latency_ends_arrives_at_once(proxy: TcpProxy) -> None:
    proxy.latency(60.0)
    with call(proxy.port) as client:
        client.sendall(b"first ")
        assert is_silent(client)
        proxy.heal()
        client.sendall(b"second")
        assert read(client, 12) == b"first second"


def test_a_throttle_holds_each_direction_to_its_rate(proxy: TcpProxy) -> None:
    proxy.throttle(20_000)
    with call(proxy.port) as client:
        began = time.monotonic()
        client.sendall(bytes(10_000))
        assert read(client, 10_000) == bytes(10_000)
        assert time.monotonic() - began > 0.4


@pytest.mark.parametrize("count", [0, 1, 700])
def test_a_cut_lets_exactly_so_many_bytes_through(echo: Echo, proxy: TcpProxy, count: int) -> None:
    with call(proxy.port) as client:
        client.sendall(b"x")
        read(client, 1)
        proxy.cut_mid_frame(after_bytes=count)
        client.sendall(bytes(1000))
        came = b""
        with pytest.raises(ConnectionResetError):
            while True:
                came += client.recv(1000)
        assert len(came) == count
        proxy.wait_for_cut()
        assert proxy.cuts == 1
    with call(proxy.port) as client:  # once
        client.sendall(bytes(1000))
        assert len(read(client, 1000)) == 1000


def test_a_cut_upwards_leaves_the_server_with_half_a_message(echo: Echo, proxy: TcpProxy) -> None:
    proxy.cut_mid_frame(after_bytes=3, direction="up")
    with call(proxy.port) as client:
        client.sendall(b"message")
        assert echo.wait_for(3) == b"mes"
        assert echo.wait_for_ends(1) == ["reset"]


def test_a_cut_that_does_not_happen_is_not_waited_for_for_ever(proxy: TcpProxy) -> None:
    proxy.cut_mid_frame(after_bytes=10)
    with pytest.raises(TimeoutError):
        proxy.wait_for_cut(0.05)
    proxy.heal()
    proxy.wait_for_cut(0.0)


def test_refused_are_new_connections_only(proxy: TcpProxy) -> None:
    with call(proxy.port) as client:
        client.sendall(b"x")
        read(client, 1)
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            call(proxy.port)
        client.sendall(b"y")
        assert read(client, 1) == b"y"
    proxy.heal()
    with call(proxy.port) as client:
        client.sendall(b"z")
        assert read(client, 1) == b"z"


def test_where_no_server_is_a_connection_is_reset() -> None:
    # The reset may come before the caller has seen its connection made.
    with (
        TcpProxy("127.0.0.1", 1) as proxy,
        pytest.raises(ConnectionResetError),
        call(proxy.port) as client,
    ):
        client.recv(1)


def test_it_starts_and_stops_twice_on_the_same_port(echo: Echo) -> None:
    proxy = TcpProxy("localhost", echo.port)
    proxy.stop()
    for _ in range(2):
        proxy.start()
        proxy.start()
        with call(proxy.port) as client:
            client.sendall(b"x")
            read(client, 1)
            proxy.stop()
            proxy.stop()
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        with pytest.raises(ConnectionRefusedError):
            call(proxy.port)


def test_faults_may_be_set_before_it_starts(echo: Echo) -> None:
    proxy = TcpProxy("127.0.0.1", echo.port)
    proxy.refuse()
    with proxy:
        with pytest.raises(ConnectionRefusedError):
            call(proxy.port)
        proxy.heal()
        call(proxy.port).close()


@pytest.mark.parametrize(
    ("of", "leads_to"),
    [
        ("redis://127.0.0.1:6379/3", "redis://127.0.0.1:{}/3"),
        ("amqp://guest:gu%40st@broker:5672//", "amqp://guest:gu%40st@127.0.0.1:{}//"),
    ],
)
def test_a_url_keeps_all_but_host_and_port(of: str, leads_to: str) -> None:
    proxy = TcpProxy("127.0.0.1", 1)
    assert proxy.url(of=of) == leads_to.format(proxy.port)


def test_many_connections_at_once(echo: Echo, proxy: TcpProxy) -> None:
    clients = [call(proxy.port) for _ in range(50)]
    for number, client in enumerate(clients):
        client.sendall(bytes([number]) * 100)
    for number, client in enumerate(clients):
        assert read(client, 100) == bytes([number]) * 100
        client.close()
    wait_until(lambda: proxy.open_connections == 0, "the end of all")
