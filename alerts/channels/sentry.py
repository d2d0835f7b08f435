"""Sentry, through a client of our own: no integrations, no scope, nothing global, so that only what is handed over is sent.

The SDK queues events and tells nobody whether they arrived. Here the transport is ours: it posts while the caller waits
and keeps what went wrong, so that a delivery counts when Sentry has answered it, and only then.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import PurePath
from traceback import walk_tb
from types import FrameType
from typing import Any, cast

from sentry_sdk import Client
from sentry_sdk.consts import EndpointType
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport
from sentry_sdk.types import Event, Hint
from sentry_sdk.utils import BadDsn

from alerts import scrub, words
from alerts.channels.http import TIMEOUT, Poster, host_of
from alerts.model import Change, Failed, Message, Severity

_LEVELS = {Severity.CRITICAL: "error", Severity.WARNING: "warning", Severity.INFO: "info"}
#: All that may be in an event; whatever else the SDK comes to add stays here (server_name, modules, user, request, ...).
_KEPT = frozenset(
    {
        "contexts", "environment", "event_id", "exception", "fingerprint", "level", "logger", "message", "platform",
        "sdk", "tags", "timestamp",
    }
)  # fmt: skip
#: Not texts of anybody; the event's id looks like a token.
_OURS = frozenset({"event_id", "sdk", "timestamp"})
_FRAMES, _CHAIN = 50, 5
_TAG = 200


class Sentry:
    """One issue for each incident key. Updates are not sent: they would count as new events of the issue.

    Args:
        dsn: of the project.
        known: secrets that are taken out of whatever is sent.
    """

    name = "sentry"

    def __init__(self, dsn: str, known: Collection[str] = (), timeout: float = TIMEOUT) -> None:
        self._known, self._host = tuple(known), host_of(dsn)
        try:
            self._transport: _Waiting | None = _Waiting(dsn, timeout)
        except BadDsn:  # its words quote the DSN
            self._transport = None
        else:
            self._client = _client(dsn, self._transport, self._cleaned)

    def send(self, message: Message, now: datetime) -> None:
        """Raises Failed; permanent when Sentry refuses the event or the key."""
        if message.change is not Change.UPDATED:
            self._deliver(_event(message, now), now)

    def capture(self, error: BaseException, now: datetime) -> None:
        """A defect: types, modules, functions and lines of the error and its causes. Never a value, nor its message.

        Raises:
            Failed: as `send`.
        """
        values = [_described(one) for one in _chain(error)]
        tags = {"change": "defect"}
        self._deliver({"level": "error", "timestamp": now, "tags": tags, "exception": {"values": values[::-1]}}, now)

    def close(self) -> None:
        if self._transport is not None:
            self._client.close(timeout=0)
            self._transport.close()

    def _deliver(self, event: Event, now: datetime) -> None:
        if self._transport is None:
            raise Failed("SENTRY_DSN is no DSN", permanent=True)
        self._transport.begin(now)
        # Without a scope, or the breadcrumbs and tags of the process would be put in.
        self._client.capture_event(event, scope=None)
        self._transport.check()

    def _cleaned(self, event: Event, hint: Hint) -> Event:
        kept = {key: value for key, value in event.items() if key in _KEPT}
        return cast("Event", {k: v if k in _OURS else scrub.clean_tree(v, self._known) for k, v in kept.items()})


class _Waiting(Transport):
    """Posts an envelope at once and remembers how that went, because the client swallows nothing but tells nothing."""

    def __init__(self, dsn: str, timeout: float) -> None:
        super().__init__({"dsn": dsn})
        assert self.parsed_dsn is not None
        auth = self.parsed_dsn.to_auth("organism-alerts/1")
        self._url = auth.get_api_url(EndpointType.ENVELOPE)
        self._auth = str(auth.to_header())
        self._poster = Poster(timeout)
        self.begin(datetime.now(UTC))

    def begin(self, now: datetime) -> None:
        self._now = now
        self._outcome: Failed | None = Failed("the event was dropped before it was sent", permanent=True)

    def capture_envelope(self, envelope: Envelope) -> None:
        headers = {
            "Content-Type": "application/x-sentry-envelope",
            "Content-Encoding": "gzip",
            "X-Sentry-Auth": self._auth,
        }
        try:
            said = self._poster.post(self._url, gzip.compress(envelope.serialize()), headers, self._now)
        except Failed as failed:
            self._outcome = failed
        else:
            wrong = Failed(f"{host_of(self._url)} answered, but not as Sentry does")
            self._outcome = None if _is_object(said) else wrong

    def check(self) -> None:
        if self._outcome is not None:
            raise self._outcome

    def close(self) -> None:
        self._poster.close()


def _client(dsn: str, transport: Transport, cleaned: Any) -> Client:
    return Client(
        dsn=dsn,
        transport=transport,
        default_integrations=False,
        auto_enabling_integrations=False,
        before_send=cleaned,
        max_breadcrumbs=0,
        include_local_variables=False,
        include_source_context=False,
        max_request_body_size="never",
        attach_stacktrace=False,
        send_client_reports=False,
        auto_session_tracking=False,
        enable_backpressure_handling=False,
        # Left unset, the SDK asks git, the host name and variables of its own; and SENTRY_SPOTLIGHT would copy events.
        release="",
        server_name="",
        spotlight=False,
        debug=False,
    )


def _event(message: Message, now: datetime) -> Event:
    incident, problem = message.incident, message.incident.problem
    tags = {"code": problem.code.value, "flow": problem.subject, "change": message.change.value}
    level = "info" if message.change in (Change.RECOVERED, Change.TEST) else _LEVELS[problem.severity]
    about: dict[str, object] = {
        **dict(words.rows(message)),
        "What": problem.what,
        "The command that fixes it": problem.fix,
    }
    about |= {"The run": problem.link} if problem.link else {}
    return {
        # The same for the same news: Sentry keeps one event of each id, so that a second try is no second event.
        "event_id": hashlib.blake2b(words.delivery(message).encode(), digest_size=16).hexdigest(),
        "timestamp": now,
        "level": level,  # type: ignore[typeddict-item]  # a str from a table of its literals
        "logger": "alerts",
        "message": words.fitted(f"{words.title(message)}. {problem.what}", 1_000),
        "fingerprint": [incident.key],
        "tags": {name: words.fitted(" ".join(value.split()), _TAG) for name, value in tags.items()},
        "contexts": {"alert": about},
    }


def _chain(error: BaseException) -> Iterator[BaseException]:
    one: BaseException | None = error
    for _ in range(_CHAIN):
        if one is None:
            return
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _described(error: BaseException) -> dict[str, Any]:
    frames = [_frame(frame, line) for frame, line in walk_tb(error.__traceback__)][-_FRAMES:]
    named = {"type": type(error).__name__, "module": type(error).__module__, "value": ""}
    return named | ({"stacktrace": {"frames": frames}} if frames else {})


def _frame(frame: FrameType, line: int) -> dict[str, Any]:
    """Without the folder, in which the name of a person can be."""
    code = frame.f_code
    file = PurePath(code.co_filename).name
    return {"module": frame.f_globals.get("__name__"), "function": code.co_name, "filename": file, "lineno": line}


def _is_object(said: bytes) -> bool:
    """Whether it is JSON's object, as Sentry answers; a proxy's page with a friendly status is not."""
    try:
        return isinstance(json.loads(said or b"{}"), dict)
    except ValueError:
        return False
