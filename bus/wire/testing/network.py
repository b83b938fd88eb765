"""``Network``: the thread in the middle of a ``TcpProxy``, and what it does to streams of bytes.

Decided here: when which byte goes on, and which never does. What the bytes mean is not known here,
so any server will do. One thread (``taskline-proxy``) owns all sockets and the faults; others hand
it what is to be done (:meth:`Network.do`).

TCP never leaves a hole in a stream, and neither does this: a connection of which bytes were
swallowed is reset when the network heals (as by a firewall that has forgotten it), one that lost
nothing lives on.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import logging
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Final

from bus.wire.testing.streams import Faults, Flow, Link, Totals

logger = logging.getLogger("taskline.bus.wire.testing.network")

#: Seconds within which the thread has done what it was asked; only a bug is slower.
DEADLINE: Final = 10.0

_CHUNK: Final = 1 << 18  # bytes taken at once
#: Bytes of one direction of one connection that wait here because the other side does not read;
#: then no more are taken, as by a full socket.
_BUFFER: Final = 1 << 20
#: The same while bytes are delayed: what is under way in a long pipe. 128 MiB/s at 0.5 s.
_PIPE: Final = 1 << 26
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER 0: closing sends RST
_IN_PROGRESS: Final = (0, errno.EINPROGRESS, errno.EWOULDBLOCK)


class _Asked:
    """Something the thread is to do for another."""

    def __init__(self, what: Callable[[], object]) -> None:
        self._what = what
        self.done = threading.Event()
        self.result: object = None
        self.error: BaseException | None = None

    def perform(self) -> None:
        """Do it; what it raises is the other thread's."""
        try:
            self.result = self._what()
        except Exception as error:
            self.error = error
        finally:
            self.done.set()


class Network:
    """The thread, and everything it owns."""

    def __init__(self, port: int, target: tuple[str, int], faults: Faults, totals: Totals) -> None:
        found = socket.getaddrinfo(*target, type=socket.SOCK_STREAM)
        # What is called localhost is ::1 first, on many machines, where few servers listen.
        info = min(found, key=lambda info: info[0] != socket.AF_INET)
        self._family, self._address = info[0], info[4]
        self._port = port
        self._faults = faults
        self._totals = totals
        self._links: set[Link] = set()
        self._masks: dict[socket.socket, int] = {}
        self._selector = selectors.DefaultSelector()
        self._door: socket.socket | None = None
        self._ear, self._bell = socket.socketpair()
        self._ear.setblocking(False)
        self._selector.register(self._ear, selectors.EVENT_READ, None)
        self._asked: collections.deque[_Asked] = collections.deque()
        self._is_ending = False
        self.thread = threading.Thread(target=self._run, name="taskline-proxy", daemon=True)
        try:
            self.apply()
        except BaseException:
            self._close()
            raise

    def do(self, what: Callable[[], object]) -> object:
        """Have the thread do this; returns what came of it. Any other thread.

        ``TimeoutError`` if it does not answer.
        """
        asked = _Asked(what)
        self._asked.append(asked)
        with contextlib.suppress(OSError):
            self._bell.send(b"!")
        if not asked.done.wait(DEADLINE):
            raise TimeoutError(f"the proxy's thread did not answer within {DEADLINE} s")
        if asked.error is not None:
            raise asked.error
        return asked.result

    # what others ask for, on the thread ----------------------------------------------------------

    def end(self) -> None:
        """Let this turn be the last."""
        self._is_ending = True

    def reset_all(self) -> int:
        """RST to both ends of every connection; how many there were."""
        links = list(self._links)
        for link in links:
            self._reset(link)
        return len(links)

    def apply(self) -> None:
        """Act on faults that have changed."""
        if self._faults.is_refusing:
            self._shut_door()
        elif self._door is None:
            self._door = socket.create_server(("127.0.0.1", self._port), backlog=256)
            self._door.setblocking(False)
            self._selector.register(self._door, selectors.EVENT_READ, None)
        now = time.monotonic()
        for link in list(self._links):
            for flow in link.flows:
                flow.free_at = now
                # A shorter latency overtakes nothing: the order stays, only sooner.
                latest = now + self._faults.latency
                flow.waiting = collections.deque(
                    (min(due, latest), data) for due, data in flow.waiting
                )
            if any(f.has_hole and f.direction not in self._faults.swallow for f in link.flows):
                self._reset(link)
            elif not link.is_asked and "up" not in self._faults.swallow:
                self._call_server(link)
            self._watch(link)

    # the loop ------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._is_ending:
                self._turn()
        except Exception:
            logger.exception("the proxy's thread ends; its connections are reset")
        finally:
            self._close()
            while self._asked:
                self._asked.popleft().done.set()

    def _turn(self) -> None:
        moments = [due for link in self._links if (due := link.due()) is not None]
        timeout = max(0.0, min(moments) - time.monotonic()) if moments else None
        for key, mask in self._selector.select(timeout):
            if key.fileobj is self._door:
                self._accept()
            elif key.fileobj is not self._ear:
                self._serve(key.data, key.fileobj, mask)  # type: ignore[arg-type]
        with contextlib.suppress(BlockingIOError):
            self._ear.recv(4096)
        while self._asked:
            self._asked.popleft().perform()
        now = time.monotonic()
        for link in list(self._links):
            due = link.due()
            if due is not None and due <= now:
                self._advance(link)

    def _accept(self) -> None:
        assert self._door is not None
        try:
            near, _ = self._door.accept()
        except OSError:
            return  # it has gone again
        near.setblocking(False)
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = Link(near)
        self._links.add(link)
        self._totals.connections += 1
        self._totals.open += 1
        if "up" not in self._faults.swallow:
            self._call_server(link)
        self._watch(link)

    def _call_server(self, link: Link) -> None:
        """Connect to the server; in a black hole that waits until it heals."""
        link.is_asked = True
        if self._family != link.far.family:
            link.far = socket.socket(self._family)
            link.flows = (
                Flow("up", link.near, link.far),
                Flow("down", link.far, link.near),
            )
        link.far.setblocking(False)
        link.far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if link.far.connect_ex(self._address) not in _IN_PROGRESS:
            self._reset(link)

    def _serve(self, link: Link, sock: socket.socket, mask: int) -> None:
        if link.is_closed:
            return
        if sock is link.far and not link.is_connected:
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._reset(link)
                return
            link.is_connected = True
        for flow in link.flows:
            if flow.sink is sock and mask & selectors.EVENT_WRITE:
                flow.is_blocked = False
            if flow.source is sock and mask & selectors.EVENT_READ and not self._take(link, flow):
                return
        self._advance(link)

    def _take(self, link: Link, flow: Flow) -> bool:
        """Take what the source has; False if the connection is no more."""
        is_swallowed = flow.direction in self._faults.swallow
        try:
            data = flow.source.recv(_CHUNK)
        except BlockingIOError:
            return True
        except OSError:  # it was reset
            if is_swallowed:
                flow.has_ended = flow.has_hole = True
                return True
            self._reset(link)
            return False
        if not data:
            flow.has_ended = True
        if is_swallowed:
            flow.has_hole = True
            self._totals.swallowed[flow.direction] += len(data)
            return True
        due = time.monotonic() + self._faults.latency
        if flow.waiting:
            due = max(due, flow.waiting[-1][0])
        flow.waiting.append((due, memoryview(data)))
        flow.size += len(data)
        return True

    def _advance(self, link: Link) -> None:
        """Pass on what is due, both ways."""
        for flow in link.flows:
            if not link.is_closed and link.is_connected:
                self._pass_on(link, flow)
        if not link.is_closed and all(flow.is_over for flow in link.flows):
            self._forget(link)
        self._watch(link)

    def _pass_on(self, link: Link, flow: Flow) -> None:
        while not flow.is_blocked and flow.waiting:
            now = time.monotonic()
            due, data = flow.waiting[0]
            if max(due, flow.free_at) > now:
                return
            if flow.direction in self._faults.swallow:
                flow.waiting.popleft()
                flow.size -= len(data)
                flow.has_hole = True
                self._totals.swallowed[flow.direction] += len(data)
                continue
            if not data:
                flow.waiting.popleft()
                flow.is_over = True
                with contextlib.suppress(OSError):
                    flow.sink.shutdown(socket.SHUT_WR)
                return
            sent = self._send(link, flow, data[: self._allowance(flow)])
            if link.is_closed or not sent:
                return
            flow.size -= sent
            if sent == len(data):
                flow.waiting.popleft()
            else:
                flow.waiting[0] = (due, data[sent:])

    def _allowance(self, flow: Flow) -> int | None:
        """How many bytes may go at once; None: all there are."""
        cut, rate = self._faults.cut, self._faults.rate
        limits = [cut[1]] if cut is not None and cut[0] == flow.direction else []
        if rate is not None:  # in steps of a hundredth of a second
            limits.append(max(1, int(rate / 100)))
        return min(limits) if limits else None

    def _send(self, link: Link, flow: Flow, data: memoryview) -> int:
        sent = 0
        if data:
            try:
                sent = flow.sink.send(data)
            except BlockingIOError:
                flow.is_blocked = True
                return 0
            except OSError:
                self._reset(link)
                return 0
        self._totals.passed[flow.direction] += sent
        if self._faults.rate is not None:
            flow.free_at = max(flow.free_at, time.monotonic() - 0.01) + sent / self._faults.rate
        cut = self._faults.cut
        if cut is not None and cut[0] == flow.direction:
            self._faults.cut = (cut[0], cut[1] - sent)
            if cut[1] == sent:
                self._faults.cut = None
                self._totals.cuts += 1
                self._reset(link)
                self._totals.no_cut_is_due.set()
        return sent

    # sockets -------------------------------------------------------------------------------------

    def _watch(self, link: Link) -> None:
        """Tell the selector what the two sockets of a connection wait for."""
        if link.is_closed:
            return
        limit = _PIPE if self._faults.latency else _BUFFER
        up, down = link.flows
        for sock, outward, inward in ((link.near, up, down), (link.far, down, up)):
            mask = 0
            if sock is link.near or link.is_connected:
                if not outward.has_ended and outward.size < limit:
                    mask |= selectors.EVENT_READ
                if inward.is_blocked:
                    mask |= selectors.EVENT_WRITE
            elif link.is_asked:
                mask = selectors.EVENT_WRITE  # until it is connected
            before = self._masks.get(sock, 0)
            if mask == before:
                continue
            if not before:
                self._selector.register(sock, mask, link)
            elif not mask:
                self._selector.unregister(sock)
            else:
                self._selector.modify(sock, mask, link)
            self._masks[sock] = mask

    def _reset(self, link: Link) -> None:
        """RST to both ends."""
        for sock in (link.near, link.far):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._forget(link)

    def _forget(self, link: Link) -> None:
        if link.is_closed:
            return
        link.is_closed = True
        self._links.discard(link)
        self._totals.open -= 1
        for sock in (link.near, link.far):
            if self._masks.pop(sock, 0):
                self._selector.unregister(sock)
            sock.close()

    def _shut_door(self) -> None:
        if self._door is not None:
            self._selector.unregister(self._door)
            self._door.close()
            self._door = None

    def _close(self) -> None:
        self.reset_all()
        self._shut_door()
        self._selector.close()
        self._ear.close()
        self._bell.close()
