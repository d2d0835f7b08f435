"""What receivers of alerts over HTTP have in common: they run on loopback, keep what they get, and fail when told to."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Fault(Enum):
    """What a receiver does wrong. With LOST and ENDLESS it has the message all the same."""

    DOWN = "refuses connections"
    ERROR = "says 500"
    BUSY = "says 429 and when to come back"
    HANG = "takes the request and is silent"
    RESET = "breaks the connection"
    LOST = "takes the message and breaks the connection"
    WRONG = "answers what it should not"
    MOVED = "redirects to another place"
    ENDLESS = "takes the message, and its answer has no end"


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    kind: str = "application/json"


class Sink:
    """A receiver over HTTP. `requests`: all that it took. Set `fault` to make it fail, None to mend it."""

    def __init__(self, port: int = 0, heard: Callable[[str], None] | None = None) -> None:
        self.requests: list[Request] = []
        self.retry_after = "7"
        self.released = threading.Event()
        self._heard = heard
        self._fault: Fault | None = None
        self._server: ThreadingHTTPServer | None = None
        self._port = port
        self._open()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def fault(self) -> Fault | None:
        return self._fault

    @fault.setter
    def fault(self, fault: Fault | None) -> None:
        self.released.set()
        self.released = threading.Event()
        self._fault = fault
        if fault is Fault.DOWN:
            self.close()
        elif self._server is None:
            self._open()

    def take(self, request: Request) -> Reply:
        """What a receiver in good health does."""
        raise NotImplementedError

    def wrong(self) -> Reply:
        """A page of somebody else, with a friendly status: a proxy, a login of the network."""
        return Reply(200, b"<html><body>Please sign in</body></html>", kind="text/html")

    def handle(self, request: Request) -> Reply | None:
        """None breaks the connection."""
        if self._fault in (None, Fault.LOST, Fault.ENDLESS):
            self.requests.append(request)
            reply = self.take(request)
            if self._heard:
                self._heard(f"{type(self).__name__} {request.path}: {request.body[:2_000].decode('utf-8', 'replace')}")
            return None if self._fault is Fault.LOST else reply
        if self._fault is Fault.HANG:
            self.released.wait(30)
        answers = {
            Fault.ERROR: Reply(500, b"internal_error"),
            Fault.BUSY: Reply(429, b'{"ok":false,"error":"ratelimited"}', {"Retry-After": self.retry_after}),
            Fault.MOVED: Reply(302, b"", {"Location": f"http://{self.address}/elsewhere"}),
            Fault.WRONG: self.wrong(),
        }
        return answers.get(self._fault) if self._fault else None

    def close(self) -> None:
        self.released.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _open(self) -> None:
        self._server = _Server(("127.0.0.1", self._port), _handler_of(self))
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), name="sink", daemon=True).start()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a connection that the client keeps open has a thread that waits for it

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left early is what the tests are about."""


def _handler_of(sink: Sink) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            reply = sink.handle(Request(self.path, dict(self.headers), body))
            if reply is None:
                self._break()
                return
            if sink.fault is Fault.ENDLESS:
                self._talk()
                return
            self.send_response(reply.status)
            for name, value in {"Content-Type": reply.kind, **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def _talk(self) -> None:
            """Until the other side has enough."""
            self.close_connection = True
            self.send_response(200)
            self.end_headers()
            while sink.fault is Fault.ENDLESS:
                self.wfile.write(b"and so on, ")

        def _break(self) -> None:
            """Closed with a reset: SO_LINGER of zero seconds."""
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

        def log_message(self, *args: object) -> None:
            """Not on the terminal of a test."""

    return Handler
