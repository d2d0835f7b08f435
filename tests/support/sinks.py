"""Receivers of alerts on loopback that speak the real protocols, keep what they get, and fail when they are told to.

    with sinks() as s:
        ...  # s.slack.url, s.slack.api_url, s.webhook.url, s.sentry.dsn, s.mail.url; s.environment for a process
        s.slack.fault = Fault.BUSY

For people: `python -m tests.support.sinks --port 9100` prints the settings that lead here, and all that arrives.
"""

from __future__ import annotations

import argparse
import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit

from tests.support.http_sink import Fault, Reply, Request, Sink
from tests.support.smtp_sink import MailFault, MailSink

__all__ = ["Fault", "MailFault", "Sinks", "sinks", "wrong_content"]

#: Of Slack (Block Kit reference): what is above is refused as a whole.
BLOCKS, HEADER, TEXT, FIELDS, FIELD, NOTICE, ELEMENTS = 50, 150, 3_000, 10, 2_000, 40_000, 25
CONFIRM = {"title": 100, "text": 300, "confirm": 30, "deny": 30}


# ----------------------------------------------------------------------------------------------------------- receivers


@dataclass
class Posted:
    """A message in Slack. versions: its content, the newest last. thread: of the message that it answers."""

    channel: str
    ts: str
    versions: list[dict[str, Any]]
    thread: str | None = None
    broadcast: bool = False


class SlackSink(Sink):
    """An incoming webhook, and `chat.postMessage` and `chat.update` of the Web API for one bot in one channel."""

    token = "xoxb-0000000000-sink"  # not a secret: it opens nothing
    channel, channel_name = "C0SINK00000", "#alerts"
    path = "/services/T0SINK/B0SINK/sinksecretsinksecret"

    def __init__(self, port: int = 0, heard: Callable[[str], None] | None = None) -> None:
        self.posts: list[dict[str, Any]] = []
        self.messages: dict[str, Posted] = {}
        self.says: str | None = None  # an error of the Web API for every call
        super().__init__(port, heard)

    @property
    def url(self) -> str:
        return f"http://{self.address}{self.path}"

    @property
    def api_url(self) -> str:
        return f"http://{self.address}/api"

    def take(self, request: Request) -> Reply:
        if request.path == self.path:
            return self._webhook(request)
        if not request.path.startswith("/api/"):
            return Reply(404, b"no_service", kind="text/html")
        error = self.says or self._why_not(request)
        method = {"chat.postMessage": self._post, "chat.update": self._update}.get(request.path.removeprefix("/api/"))
        said = {"error": error} if error else method(request.json) if method else {"error": "unknown_method"}
        return Reply(body=json.dumps({"ok": "error" not in said, **said}).encode())

    def _webhook(self, request: Request) -> Reply:
        if problem := wrong_content(request.json):
            return Reply(400, problem.encode(), kind="text/html")
        self.posts.append(request.json)
        return Reply(body=b"ok", kind="text/html")

    def _why_not(self, request: Request) -> str | None:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return "invalid_auth"
        if "charset=utf-8" not in request.headers.get("Content-Type", ""):
            return "missing_charset"
        return wrong_content(request.json)

    def _post(self, wanted: dict[str, Any]) -> dict[str, Any]:
        thread = wanted.get("thread_ts")
        if wanted.get("channel") not in (self.channel, self.channel_name):
            return {"error": "channel_not_found"}
        if thread is not None and thread not in self.messages:
            return {"error": "thread_not_found"}
        ts = f"1700000000.{len(self.messages) + 1:06d}"
        loud = bool(wanted.get("reply_broadcast"))
        self.messages[ts] = Posted(self.channel, ts, [wanted], thread, loud)
        return {"channel": self.channel, "ts": ts}

    def _update(self, wanted: dict[str, Any]) -> dict[str, Any]:
        if wanted.get("channel") != self.channel:  # names are taken for posting only
            return {"error": "channel_not_found"}
        if wanted.get("ts") not in self.messages:
            return {"error": "message_not_found"}
        self.messages[wanted["ts"]].versions.append(wanted)
        return {"channel": self.channel, "ts": wanted["ts"]}


def wrong_content(wanted: dict[str, Any]) -> str | None:
    """Slack's word for content that it does not take."""
    blocks = wanted.get("blocks", [])
    if not wanted.get("text") and not blocks:
        return "no_text"
    if len(wanted.get("text", "")) > NOTICE:
        return "msg_too_long"
    return None if len(blocks) <= BLOCKS and all(map(_is_block, blocks)) else "invalid_blocks"


def _is_block(block: dict[str, Any]) -> bool:
    kind, words, parts = block.get("type"), block.get("text"), block.get("fields", block.get("elements", []))
    if kind == "header":
        return words["type"] == "plain_text" and 0 < len(words["text"]) <= HEADER
    if kind == "section" and words is not None:
        return 0 < len(words["text"]) <= TEXT
    if kind == "section":
        return 0 < len(parts) <= FIELDS and all(0 < len(part["text"]) <= FIELD for part in parts)
    if kind == "actions":
        return 0 < len(parts) <= ELEMENTS and all(map(_is_button, parts))
    return kind == "context" and 0 < len(parts) <= FIELDS and all(0 < len(part["text"]) <= TEXT for part in parts)


def _is_button(part: dict[str, Any]) -> bool:
    """With a dialogue that asks once more."""
    asked = {name: part["confirm"][name]["text"] for name in ("title", "text", "confirm", "deny")}
    fit = all(0 < len(words) <= CONFIRM[name] for name, words in asked.items())
    shown = part["text"]["type"] == "plain_text" and 0 < len(part["text"]["text"]) <= 75
    return part["type"] == "button" and shown and fit and len(part["value"]) <= 2_000 and len(part["action_id"]) <= 255


class WebhookSink(Sink):
    """Takes any JSON."""

    @property
    def url(self) -> str:
        return f"http://{self.address}/hooks/organism"

    def wrong(self) -> Reply:
        return Reply(404, b"")

    def take(self, request: Request) -> Reply:
        request.json  # noqa: B018  # no JSON: the handler breaks
        return Reply(204)


class SentrySink(Sink):
    """The envelope endpoint of one project. events: the payloads of the items of type `event`."""

    key: ClassVar[str] = "00000000000000000000000000000051"

    def __init__(self, port: int = 0, heard: Callable[[str], None] | None = None) -> None:
        self.envelopes: list[bytes] = []
        self.events: list[dict[str, Any]] = []
        super().__init__(port, heard)

    @property
    def dsn(self) -> str:
        return f"http://{self.key}@{self.address}/1"

    def take(self, request: Request) -> Reply:
        if urlsplit(request.path).path != "/api/1/envelope/":
            return Reply(404)
        if f"sentry_key={self.key}" not in request.headers.get("X-Sentry-Auth", ""):
            return Reply(403, b'{"detail":"bad key"}')
        packed = request.headers.get("Content-Encoding") == "gzip"
        envelope = gzip.decompress(request.body) if packed else request.body
        self.envelopes.append(envelope)
        header, *items = parse_envelope(envelope)
        self.events += [payload for kind, payload in items if kind["type"] == "event"]
        return Reply(body=json.dumps({"id": header[0].get("event_id")}).encode())


def parse_envelope(envelope: bytes) -> list[tuple[dict[str, Any], Any]]:
    """(header, None) of the envelope, then (header, payload) of each item; JSON where it is JSON, else bytes."""
    head, _, rest = envelope.partition(b"\n")
    parts: list[tuple[dict[str, Any], Any]] = [(json.loads(head), None)]
    while rest.strip():
        line, _, rest = rest.partition(b"\n")
        header = json.loads(line)
        length = header.get("length", len(rest.partition(b"\n")[0]))
        payload, rest = rest[:length], rest[length:].removeprefix(b"\n")
        parts.append((header, json.loads(payload) if payload[:1] in b"{[" else payload))
    return parts


# ----------------------------------------------------------------------------------------------------------------- all


@dataclass
class Sinks:
    slack: SlackSink
    webhook: WebhookSink
    sentry: SentrySink
    mail: MailSink

    @property
    def environment(self) -> dict[str, str]:
        """The settings that lead here, with the webhook of Slack; for its bot take `bot`."""
        return {
            "SLACK_WEBHOOK_URL": self.slack.url,
            "SENTRY_DSN": self.sentry.dsn,
            "ALERT_SMTP_URL": self.mail.url,
            "ALERT_EMAIL_FROM": "organism@sink.example",
            "ALERT_EMAIL_TO": "on-call@sink.example",
            "ALERT_WEBHOOK_URL": self.webhook.url,
            "ALERT_WEBHOOK_SECRET": "webhook-sink-secret",
        }

    @property
    def bot(self) -> dict[str, str]:
        slack = self.slack
        return {"SLACK_BOT_TOKEN": slack.token, "SLACK_CHANNEL": slack.channel_name, "SLACK_API_URL": slack.api_url}

    def everything(self) -> str:
        """All that arrived anywhere, unpacked, headers and paths included."""
        requests = [*self.slack.requests, *self.webhook.requests, *self.sentry.requests]
        heads = [f"{request.path}\n{request.headers}" for request in requests]
        return "\n".join((*heads, *(mail.envelope for mail in self.mail.mails), self.bodies()))

    def bodies(self) -> str:
        """What was said, without the headers and paths by which the sender shows that it may say something."""
        bodies = [r.body for r in (*self.slack.requests, *self.webhook.requests)] + self.sentry.envelopes
        return "\n".join(
            (*(body.decode("utf-8", "replace") for body in bodies), *(m.readable for m in self.mail.mails))
        )

    def close(self) -> None:
        for sink in (self.slack, self.webhook, self.sentry, self.mail):
            sink.close()


@contextmanager
def sinks(port: int = 0, heard: Callable[[str], None] | None = None) -> Iterator[Sinks]:
    """All four, on free ports, or on four ports from `port` on."""
    ports = [port + i if port else 0 for i in range(4)]
    opened = Sinks(
        SlackSink(ports[0], heard),
        WebhookSink(ports[1], heard),
        SentrySink(ports[2], heard),
        MailSink(ports[3], heard=heard),
    )
    try:
        yield opened
    finally:
        opened.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.sinks", description=__doc__)
    parser.add_argument("--port", type=int, default=9100, help="the first of four ports on loopback")
    with sinks(parser.parse_args().port, heard=lambda words: print(words, flush=True)) as opened:
        for name, value in {**opened.environment, **{f"# {k}": v for k, v in opened.bot.items()}}.items():
            print(f"{name}={value}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print("stopped")


if __name__ == "__main__":
    main()
