"""A TCP proxy on loopback that can lose what no process can be made to lose: a reply that the server has already sent.

It knows no protocol. The caller names bytes by which a request is known; at the next request that has them the
connection breaks: before the server sees it, or when the server has answered it and the client has not heard.
"""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import urlsplit, urlunsplit

from tests.support.wait import wait_until

#: A Bolt COMMIT (tag 0x12, no fields) as one chunk and the end of its message.
BOLT_COMMIT = b"\x00\x02\xb0\x12\x00\x00"
_PIECE, _TAIL = 65_536, 64


class Cut(Enum):
    """When the connection breaks: the request is not done, or it is done and nobody was told."""

    REQUEST = "before the request arrives"
    REPLY = "after the server has answered"


@dataclass
class Trap:
    """Springs once."""

    pattern: bytes
    cut: Cut
    sprung: threading.Event = field(default_factory=threading.Event)


@dataclass
class _Link:
    """`tail`: the end of what the client sent before, so that a request in two pieces is known too."""

    client: socket.socket
    server: socket.socket
    tail: bytes = b""
    trap: Trap | None = None

    def close(self) -> None:
        self.client.close()
        self.server.close()


class TcpProxy:
    """Forwards to one server. One thread; end it with `close`, or use `proxied`."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._waker, self._wake = socket.socketpair()
        self._selector.register(self._waker, selectors.EVENT_READ)
        self._links: dict[socket.socket, _Link] = {}
        self._trap: Trap | None = None
        self._thread = threading.Thread(target=self._run, name="tcp proxy", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def set_trap(self, pattern: bytes, cut: Cut) -> Trap:
        """Break the connection at the next request that holds these bytes. One trap at a time."""
        self._trap = Trap(pattern, cut)
        return self._trap

    def hang(self) -> None:
        """From now on nothing passes, as if the server stood still: who connects is let in, and hears nothing."""
        self._wake.send(b"h")

    def resume(self) -> None:
        """What was said meanwhile goes on now."""
        self._wake.send(b"r")

    def close(self) -> None:
        self._wake.send(b"x")
        self._thread.join()

    # -------------------------------------------------------------------------------------------- the thread

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._waker:
                    if not self._told(self._waker.recv(1)):
                        self._end()
                        return
                    break  # what was ready may be none of ours now
                if key.fileobj is self._listener:
                    self._welcome()
                elif link := self._links.get(key.fileobj):  # type: ignore[call-overload]
                    self._pump(link, from_client=key.fileobj is link.client)

    def _told(self, what: bytes) -> bool:
        """False: to end."""
        for side in (self._listener, *self._links):
            if what == b"h":
                self._selector.unregister(side)
            elif what == b"r":
                self._selector.register(side, selectors.EVENT_READ)
        return what != b"x"

    def _welcome(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(self._target, timeout=5)
        except OSError:
            client.close()
            return
        link = _Link(client, server)
        for side in (client, server):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            side.settimeout(5)
            self._links[side] = link
            self._selector.register(side, selectors.EVENT_READ)

    def _pump(self, link: _Link, *, from_client: bool) -> None:
        try:
            data = (link.client if from_client else link.server).recv(_PIECE)
            passed = bool(data) and (self._request(link, data) if from_client else self._reply(link, data))
        except OSError:
            passed = False
        if not passed:
            self._break(link)

    def _request(self, link: _Link, data: bytes) -> bool:
        """False when the connection is to break."""
        trap = self._trap
        if trap and trap.pattern in link.tail[1 - len(trap.pattern) :] + data:
            self._trap = None
            if trap.cut is Cut.REQUEST:
                trap.sprung.set()
                return False
            link.trap = trap
        link.tail = (link.tail + data)[-_TAIL:]
        link.server.sendall(data)
        return True

    def _reply(self, link: _Link, data: bytes) -> bool:
        if link.trap:
            link.trap.sprung.set()
            return False
        link.client.sendall(data)
        return True

    def _break(self, link: _Link) -> None:
        for side in (link.client, link.server):
            self._selector.unregister(side)
            del self._links[side]
        link.close()

    def _end(self) -> None:
        for side in list(self._links):
            side.close()
        for end in (self._listener, self._waker, self._wake):
            end.close()
        self._selector.close()


@contextmanager
def proxied(url: str) -> Iterator[tuple[TcpProxy, str]]:
    """A proxy in front of the server of a URL, and the URL that goes through it."""
    with closing(TcpProxy(*server_of(url))) as proxy:
        yield proxy, through(proxy, url)


def server_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "127.0.0.1", parts.port or 0


def through(proxy: TcpProxy, url: str) -> str:
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{proxy.port}"))


def wait_for(trap: Trap) -> None:
    """Until it has sprung; a trap that nobody stepped into is a test that tested nothing."""
    with suppress(AssertionError):
        wait_until(trap.sprung.is_set, 5, "the trap")
    assert trap.sprung.is_set(), "no request with these bytes came through the proxy"
