"""E-mail over SMTP: never in plain text to another machine, and one conversation for each incident.

Later mails name the first one in References, by an id that is made from the incident and therefore known without a store.
"""

from __future__ import annotations

import ipaddress
import logging
import smtplib
import ssl
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, getaddresses, parseaddr
from urllib.parse import unquote, urlsplit

from alerts import words
from alerts.channels.http import TIMEOUT
from alerts.model import Change, Failed, Message

_LOG = logging.getLogger(__name__)
_PORTS = {"smtp": 587, "smtps": 465}


class Email:
    """url: smtp://user:password@host:587, or smtps://. sender: an address. recipients: addresses with commas between.

    smtp asks for STARTTLS and goes no further without it, except to this machine itself. Updates are not mailed.
    """

    name = "email"

    def __init__(self, url: str, sender: str, recipients: str, timeout: float = TIMEOUT) -> None:
        self._url = urlsplit(url)
        self._sender = sender
        self._recipients = [address for _, address in getaddresses([recipients]) if address]
        self._timeout = timeout

    def send(self, message: Message, now: datetime) -> None:
        """Raises Failed; permanent when the server refuses the login, the sender or every recipient for good."""
        if message.change is Change.UPDATED:
            return
        mail = compose(message, self._sender, self._recipients, now)
        try:
            self._deliver(mail)
        except (smtplib.SMTPException, OSError, ValueError, _Hopeless) as error:
            # Servers quote addresses and even the login in what they say: only the code and the kind are told.
            failed = Failed(f"{_words(error)} from {self._host}", permanent=_is_permanent(error))
        else:
            return
        raise failed

    def close(self) -> None:
        """Nothing is kept open between two mails."""

    @property
    def _host(self) -> str:
        return self._url.hostname or "an SMTP URL without a host"

    def _deliver(self, mail: EmailMessage) -> None:
        server = self._connected()
        try:
            self._enter(server)
            if refused := server.send_message(mail, self._sender, self._recipients):
                _LOG.warning("%d of %d recipients were refused by %s", len(refused), len(self._recipients), self._host)
            with suppress(smtplib.SMTPException, OSError):  # it is accepted: a failing goodbye must not send it again
                server.quit()
        finally:
            server.close()

    def _connected(self) -> smtplib.SMTP:
        if self._url.scheme not in _PORTS or not self._url.hostname:
            raise _Hopeless("no smtp:// or smtps:// URL")
        port = self._url.port or _PORTS[self._url.scheme]
        # Else smtplib looks up the name of this machine, which can take long, and tells it.
        greeting = _domain(self._sender)
        if self._url.scheme == "smtps":
            secure = ssl.create_default_context()
            return smtplib.SMTP_SSL(self._host, port, greeting, timeout=self._timeout, context=secure)
        return smtplib.SMTP(self._host, port, greeting, timeout=self._timeout)

    def _enter(self, server: smtplib.SMTP) -> None:
        server.ehlo_or_helo_if_needed()
        if self._url.scheme == "smtp" and not _is_this_machine(self._host):
            if not server.has_extn("starttls"):
                raise _Hopeless("no STARTTLS")
            server.starttls(context=ssl.create_default_context())
        if self._url.username:
            server.login(unquote(self._url.username), unquote(self._url.password or ""))


class _Hopeless(Exception):
    """What a person has to change, in words without secrets."""


def compose(message: Message, sender: str, recipients: Sequence[str], now: datetime) -> EmailMessage:
    """The mail, as text and as HTML. The same change of the same incident has the same Message-ID whenever it is sent."""
    mail = EmailMessage()
    mail["Subject"] = words.subject(message)
    mail["From"], mail["To"], mail["Date"] = sender, ", ".join(recipients), format_datetime(now)
    first = f"<{words.reference(message.incident)}-{Change.OPENED.value}@{_domain(sender)}>"
    mail["Message-ID"] = f"<{words.delivery(message)}@{_domain(sender)}>"
    if message.change is not Change.TEST and not words.is_first(message):
        mail["In-Reply-To"] = mail["References"] = first
    # Keeps out-of-office answers away (RFC 3834; Exchange has its own).
    mail["Auto-Submitted"], mail["X-Auto-Response-Suppress"] = "auto-generated", "All"
    mail.set_content(words.text(message))
    mail.add_alternative(words.page(message), subtype="html")
    return mail


def _domain(sender: str) -> str:
    return parseaddr(sender)[1].rpartition("@")[2] or "localhost"


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _words(error: Exception) -> str:
    if isinstance(error, _Hopeless):
        return str(error)
    codes = sorted(_codes(error))
    return f"{type(error).__name__} {codes[-1]}" if codes else type(error).__name__


def _is_permanent(error: Exception) -> bool:
    """SMTP's 5xx is for good, 4xx for now. A certificate that is wrong may be right tomorrow."""
    codes = _codes(error)
    return isinstance(error, _Hopeless | smtplib.SMTPNotSupportedError) or (bool(codes) and min(codes) >= 500)


def _codes(error: Exception) -> set[int]:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return {code for code, _ in error.recipients.values()}
    return {error.smtp_code} if isinstance(error, smtplib.SMTPResponseException) else set()
