"""A mail server on loopback for tests: ESMTP with STARTTLS, AUTH PLAIN and faults. It delivers to a list."""

from __future__ import annotations

import base64
import email
import email.policy
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from enum import Enum
from typing import Any, cast


class MailFault(Enum):
    DOWN = "refuses connections"
    BUSY = "says 421 when it is greeted"
    GREYLIST = "says 451 to every recipient"
    REFUSE = "says 550 to every recipient"
    FULL = "says 552 to the mail"
    LOGIN = "says 535 to every login"
    LOGIN_LATER = "says 454 to every login"
    HANG = "says nothing"
    RESET = "breaks the connection after the mail was sent, before it is taken"
    LOST = "takes the mail and breaks the connection before it says so"
    RUDE = "takes the mail and breaks the connection instead of saying goodbye"
    WRONG = "speaks another protocol"


@dataclass(frozen=True)
class Mail:
    """sender and recipients are those of the envelope. secure: whether it came over TLS. login: user and password."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    secure: bool
    login: tuple[str, str] | None
    greeting: str

    @property
    def message(self) -> EmailMessage:
        return cast("EmailMessage", email.message_from_bytes(self.content, policy=email.policy.default))

    @property
    def envelope(self) -> str:
        return f"{self.greeting} {self.sender} {self.recipients}"

    @property
    def readable(self) -> str:
        """The content as it is, and every part decoded."""
        parts = [part.get_content() for part in self.message.walk() if not part.is_multipart()]
        return "\n".join((self.content.decode("utf-8", "replace"), str(self.message["Subject"]), *parts))


class MailSink:
    """tls: offered by STARTTLS, or spoken from the start if `implicit`; None speaks plain text only."""

    def __init__(
        self,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        implicit: bool = False,
        heard: Callable[[str], None] | None = None,
    ) -> None:
        self.mails: list[Mail] = []
        self.released = threading.Event()
        self.tls, self.implicit, self.heard = tls, implicit, heard
        self._fault: MailFault | None = None
        self._server: _Server | None = None
        self._port = port
        self._open()

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self._port}"

    @property
    def fault(self) -> MailFault | None:
        return self._fault

    @fault.setter
    def fault(self, fault: MailFault | None) -> None:
        self.released.set()
        self.released = threading.Event()
        self._fault = fault
        if fault is MailFault.DOWN:
            self.close()
        elif self._server is None:
            self._open()

    def close(self) -> None:
        self.released.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _open(self) -> None:
        self._server = _Server(("127.0.0.1", self._port), _Session)
        self._server.sink = self
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), name="mail sink", daemon=True).start()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    sink: MailSink

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left early is what the tests are about."""


@dataclass
class _Draft:
    sender: str = ""
    recipients: list[str] = field(default_factory=list)


class _Session(socketserver.StreamRequestHandler):
    timeout = 30

    def setup(self) -> None:
        self.sink = cast("_Server", self.server).sink
        self.secure = self.sink.implicit and self.sink.tls is not None
        if self.secure and self.sink.tls:
            self.request = self.sink.tls.wrap_socket(self.request, server_side=True)
        super().setup()
        self.draft, self.login, self.greeting = _Draft(), cast("tuple[str, str] | None", None), ""

    def handle(self) -> None:
        fault = self.sink.fault
        if fault is MailFault.HANG:
            self.sink.released.wait(30)
            return
        first = {MailFault.BUSY: "421 too busy", MailFault.WRONG: "HTTP/1.1 400 Bad Request"}
        self._say(first.get(fault, "220 sink ESMTP") if fault else "220 sink ESMTP")
        while line := self.rfile.readline():
            verb, _, rest = line.decode("utf-8", "replace").strip().partition(" ")
            if not self._answer(verb.upper(), rest):
                return

    def finish(self) -> None:
        super().finish()
        self.connection.close()  # the server closes the socket that TLS was wrapped around

    def _answer(self, verb: str, rest: str) -> bool:
        """Whether the conversation goes on."""
        if verb == "DATA":
            return self._take()
        if verb == "STARTTLS" and self.sink.tls:
            return self._secure(self.sink.tls)
        if verb == "QUIT":
            if self.sink.fault is MailFault.RUDE:
                self._break()
            else:
                self._say("221 goodbye")
            return False
        self._say(
            {"EHLO": self._greet, "MAIL": self._mail, "RCPT": self._rcpt, "AUTH": self._auth}.get(verb, _ok)(rest)
        )
        return True

    def _greet(self, rest: str) -> str:
        self.greeting = rest
        offers = ["sink", "8BITMIME", "AUTH PLAIN", *(["STARTTLS"] if self.sink.tls and not self.secure else [])]
        return "\r\n".join(f"250{' ' if offer is offers[-1] else '-'}{offer}" for offer in offers)

    def _secure(self, tls: ssl.SSLContext) -> bool:
        self._say("220 go ahead")
        self.request = self.connection = tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
        self.secure = True
        return True

    def _auth(self, rest: str) -> str:
        if self.sink.fault is MailFault.LOGIN:
            return f"535 5.7.8 wrong password: {rest}"  # as some servers do
        if self.sink.fault is MailFault.LOGIN_LATER:
            return "454 4.7.0 not now"
        _, user, password = base64.b64decode(rest.partition(" ")[2]).decode().split("\0")
        self.login = (user, password)
        return "235 welcome"

    def _mail(self, rest: str) -> str:
        self.draft = _Draft(rest.partition("<")[2].partition(">")[0])
        return "250 ok"

    def _rcpt(self, rest: str) -> str:
        address = rest.partition("<")[2].partition(">")[0]
        refused = {MailFault.GREYLIST: "451", MailFault.REFUSE: "550"}
        if self.sink.fault in refused or address.startswith("nobody@"):
            return (
                f"{refused.get(self.sink.fault, '550')} not here: {address}" if self.sink.fault else f"550 no {address}"
            )
        self.draft.recipients.append(address)
        return "250 ok"

    def _take(self) -> bool:
        self._say("354 go on")
        content = b"".join(line.removeprefix(b".") for line in iter(self.rfile.readline, b".\r\n"))
        if self.sink.fault is MailFault.RESET:
            return self._break()
        if self.sink.fault is MailFault.FULL:
            self._say("552 too much")
            return True
        recipients = tuple(self.draft.recipients)
        mail = Mail(self.draft.sender, recipients, content, self.secure, self.login, self.greeting)
        self.sink.mails.append(mail)
        if self.sink.heard:
            self.sink.heard(f"MailSink {mail.message['Subject']}\n{mail.readable}")
        if self.sink.fault is MailFault.LOST:
            return self._break()
        self._say("250 taken")
        return True

    def _break(self) -> bool:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        return False

    def _say(self, words: str) -> None:
        self.wfile.write(f"{words}\r\n".encode())


def _ok(_: str) -> str:
    return "250 ok"
