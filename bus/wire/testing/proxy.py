"""``TcpProxy``: a port through which a server is reached, and the network's bad days in between.

The face of it: which faults there are, and what has been counted. What a fault does to a stream of
bytes is ``network``'s, whose thread owns all sockets. The methods here may be called from any
thread; each returns when that thread has done what was asked.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from bus.wire.testing.living import Living
from bus.wire.testing.network import DEADLINE, Network
from bus.wire.testing.ports import free_port
from bus.wire.testing.streams import Direction, Faults, Totals


class TcpProxy(Living):
    """A loopback port that leads to ``target_host:target_port``, over a network that can fail.

    ``start`` returns when it listens; ``stop`` resets what is left. Use it as a context manager.
    Faults last until :meth:`heal` and add up; they may be set before ``start``. Where no server
    listens a connection comes about, and is reset.
    """

    def __init__(self, target_host: str, target_port: int) -> None:
        self._target = (target_host, target_port)
        #: Where it listens, on 127.0.0.1: the same from the beginning to the end.
        self.port = free_port()
        self._network: Network | None = None
        self._faults = Faults()
        self._totals = Totals()

    def __repr__(self) -> str:
        host, port = self._target
        return f"<TcpProxy 127.0.0.1:{self.port} → {host}:{port}>"

    def start(self) -> None:
        """Listen. Raises ``OSError`` if the port has been taken meanwhile."""
        if self._network is None:
            self._network = Network(self.port, self._target, self._faults, self._totals)
            self._network.thread.start()

    def stop(self) -> None:
        """Reset all connections and listen no more. May be called twice."""
        network, self._network = self._network, None
        if network is not None:
            network.do(network.end)
            network.thread.join(DEADLINE)

    def url(self, of: str) -> str:
        """The URL ``of`` a server, with this proxy's host and port in the place of its own."""
        parts = urlsplit(of)
        user, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{user}{at}127.0.0.1:{self.port}").geturl()

    # what is seen from outside -------------------------------------------------------------------

    @property
    def connections(self) -> int:
        """How many connections it has accepted so far."""
        return self._totals.connections

    @property
    def open_connections(self) -> int:
        """How many of them are open, seen from the client's side."""
        return self._totals.open

    @property
    def cuts(self) -> int:
        """How many connections :meth:`cut_mid_frame` has cut."""
        return self._totals.cuts

    def passed(self, direction: Direction) -> int:
        """Bytes passed on so far."""
        return self._totals.passed[direction]

    def swallowed(self, direction: Direction) -> int:
        """Bytes swallowed so far."""
        return self._totals.swallowed[direction]

    # faults --------------------------------------------------------------------------------------

    def reset(self) -> int:
        """RST to both ends of every connection, bytes under way are lost; returns how many.

        New connections are let through as before.
        """
        return self._do(lambda network: network.reset_all())

    def blackhole(self) -> None:
        """Swallow all bytes, both ways. Connections stay; new ones are accepted and get nothing.

        The end of a connection is not passed on either, so the other side does not learn of it.
        At :meth:`heal` a connection that lost bytes is reset, one that lost nothing lives on.
        """
        self._set(swallow=frozenset(("up", "down")))

    def one_way(self, direction: Direction) -> None:
        """Only bytes of this direction pass; those of the other are swallowed."""
        swallowed: Direction = "down" if direction == "up" else "up"
        self._set(swallow=frozenset((swallowed,)))

    def latency(self, seconds: float) -> None:
        """Bytes arrive this much later, each way. Order and bandwidth stay as they are."""
        self._set(latency=seconds)

    def throttle(self, bytes_per_second: float | None) -> None:
        """Each direction of each connection carries no more than this; None: as much as it can."""
        self._set(rate=bytes_per_second)

    def cut_mid_frame(self, after_bytes: int, direction: Direction = "down") -> None:
        """Let so many more bytes of a direction through, then reset the connection they were of.

        They are counted over all connections. It happens once; :meth:`wait_for_cut` waits for it.
        """
        self._set(cut=(direction, max(0, after_bytes)))

    def wait_for_cut(self, timeout: float = DEADLINE) -> None:
        """Until the cut that was asked for has happened. Raises ``TimeoutError``."""
        if not self._totals.no_cut_is_due.wait(timeout):
            raise TimeoutError(f"{self!r} waited {timeout} s in vain for the bytes to be cut after")

    def refuse(self) -> None:
        """No new connections: whoever tries is refused. Those that are open stay."""
        self._set(is_refusing=True)

    def heal(self) -> None:
        """No fault from now on. Connections with a hole in their stream are reset."""
        self._set(swallow=frozenset(), latency=0.0, rate=None, is_refusing=False, cut=None)

    def _set(self, **changes: object) -> None:
        def change(network: Network | None) -> None:
            for name, value in changes.items():
                setattr(self._faults, name, value)
            if "cut" in changes:
                is_due = changes["cut"] is not None
                (self._totals.no_cut_is_due.clear if is_due else self._totals.no_cut_is_due.set)()
            if network is not None:
                network.apply()

        if self._network is None:
            change(None)
        else:
            self._do(change)

    def _do(self, what: Callable[[Network], object]) -> int:
        network = self._network
        if network is None:
            return 0
        done = network.do(lambda: what(network))
        return done if isinstance(done, int) else 0
