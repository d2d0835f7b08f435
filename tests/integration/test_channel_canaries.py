"""Canaries in every text that an alert can have: none is seen by any receiver or in any log; each naive way shows them."""

from __future__ import annotations

import logging
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, fields, replace
from itertools import cycle

import httpx
import pytest
import sentry_sdk

from alerts.channels import Channel, Scrubbed, configured, secrets_of
from alerts.channels.sentry import Sentry
from alerts.model import Change, Code, Failed, Message, Problem, Severity, Waiting
from alerts.settings import AlertSettings
from pipelines.privacy.traces import check_text
from tests.support.alerting import NOW, message
from tests.support.sinks import Fault, Sinks, sinks
from tests.support.smtp_sink import MailFault

COUNT = 1_000
#: Part of every planted secret, of people and of doors.
MARKS = ("canary", "c0ffee")
#: A secret that looks like nothing; it is found because it is configured.
KNOWN = "the canary sings at midnight"
#: Prose between which the canaries stand; nothing of it is secret.
WORDS = (
    "the graph server did not answer;",
    "expected 3, got",
    "(retry)",
    "at:",
    "<-",
    "'",
    '"',
    "\\n",
    "\n",
    "=>",
    "🔴",
    "&",
)

TALKATIVE = ("", "httpx", "httpcore", "urllib3", "sentry_sdk", "sentry_sdk.errors", "alerts", "asyncio")


@dataclass
class Coop:
    """Where canaries come from, the same ones every time. own: URLs of the receivers themselves."""

    own: tuple[str, ...]
    chance: random.Random = field(default_factory=lambda: random.Random(26))
    hatched: int = 0

    def canary(self) -> str:
        self.hatched += 1
        n, hexes = self.hatched, f"c0ffee{self.chance.getrandbits(104):026x}"
        return self.chance.choice(
            (
                f"p_{hexes}", f"x_{hexes}", f"P_{hexes.upper()}", f"p_{hexes[:14]}", hexes,
                f"canary.bird+{n}@corp.example", f"canary{n}%40corp.example",
                f"postgresql://canary:canary/{n}@db:5432/x", f"redis://:canary{n}@cache",
                f"https://hooks.slack.com/services/T0/B0/canary{n}", f"https://{hexes}@o1.ingest.sentry.io/1",
                f"xoxb-1-canary{n}", f"password=canary{n}", f"Authorization: Bearer canary.{n}", KNOWN, KNOWN.upper(),
                f"https://hook.example/?key=canary{n}", *self.own,
            )
        )  # fmt: skip

    def text(self) -> str:
        parts = [self.chance.choice((*WORDS, self.canary())) for _ in range(self.chance.randrange(5))]
        return " ".join((*parts, self.canary(), *self.chance.sample(WORDS, 2)))

    def message(self, change: Change) -> Message:
        texts = {f.name: self.text() for f in fields(Problem) if f.name not in _NO_TEXT}
        asks = Waiting(*(self.text() if name != "version" else 1 for name in _ASKED), link=self.text())
        plain = message(
            change,
            **texts,
            asks=self.chance.choice((asks, None)),
            code=self.chance.choice(list(Code)),
            severity=self.chance.choice(list(Severity)),
        )
        return replace(plain, incident=replace(plain.incident, id=self.text()))


_NO_TEXT = {"code", "severity", "since", "last_good", "next_try", "asks"}
_ASKED = ("id", "version", "about", "happens", "undo")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def s() -> Iterator[Sinks]:
    with sinks() as opened:
        yield opened


@pytest.fixture
def coop(s: Sinks) -> Coop:
    return Coop((s.slack.url, s.webhook.url, s.sentry.dsn))


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Everything that any logger says, with tracebacks."""
    for name in TALKATIVE:
        caplog.set_level(logging.DEBUG, name or None)
    return lambda: caplog.text


def settings(s: Sinks, **more: str) -> AlertSettings:
    given = {name.lower(): value for name, value in (s.environment | more).items()}
    return AlertSettings(_env_file=None, **given)


def seen(text: str, s: Sinks | None = None) -> set[str]:
    """Which marks are in a text, and which credentials of the receivers."""
    low = text.lower()
    own = ("sinksecret", s.sentry.key, "/hooks/organism", "webhook-sink-secret") if s else ()
    return {mark for mark in (*MARKS, *own) if mark in low}


def test_no_receiver_and_no_log_sees_a_canary(s: Sinks, coop: Coop, heard: Callable[[], str]) -> None:
    changes = cycle((Change.OPENED, Change.ESCALATED, Change.RECOVERED, Change.TEST))
    with ExitStack() as stack:
        channels = [stack.enter_context(closing(channel)) for channel in configured(settings(s), [KNOWN])]
        for channel, change, _ in zip(cycle(channels), changes, range(COUNT), strict=False):
            channel.send(coop.message(change), NOW)
    got = len(s.slack.posts), len(s.webhook.requests), len(s.sentry.events), len(s.mail.mails)
    assert got == (COUNT // 5,) * 4
    assert coop.hatched > 8 * COUNT
    assert seen(s.everything()) == set()
    assert seen(s.bodies(), s) == set()
    assert seen(heard(), s) == set()
    bodies = "\n".join(request.body.decode() for request in (*s.slack.requests, *s.webhook.requests))
    assert check_text(bodies, [KNOWN]) == []


@pytest.mark.parametrize("name", ["slack", "sentry", "email", "webhook", "log"])
def test_each_channel_would_show_canaries_that_it_is_handed(
    s: Sinks, coop: Coop, heard: Callable[[], str], name: str
) -> None:
    """The control: the same messages without the scrubbing. Sentry has a second one of its own."""
    for channel in configured(settings(s), [KNOWN]):
        assert isinstance(channel, Scrubbed)
        with closing(channel):
            if channel.name == name:
                for _ in range(3):
                    channel._channel.send(coop.message(Change.OPENED), NOW)
    found = seen(s.bodies() + heard())
    assert found == (set() if name == "sentry" else set(MARKS))


# --------------------------------------------------------------------------------------------------------- exceptions


def break_down(coop: Coop, depth: int) -> None:
    """An error with canaries in its words, its cause's words, and the variables of every frame."""
    secret, people = coop.text(), {coop.canary(): [coop.canary()]}
    if depth:
        break_down(coop, depth - 1)
    try:
        raise KeyError(secret)
    except KeyError as error:
        error.add_note(coop.text())
        raise ValueError(secret, people) from error


def broken(coop: Coop, depth: int) -> ValueError:
    """Caught here: the name of a test would be in its frames, and has the mark."""
    try:
        break_down(coop, depth)
    except ValueError as error:
        return error
    raise AssertionError("it did not break")


def test_sentry_sees_no_canary_of_an_exception(s: Sinks, coop: Coop, heard: Callable[[], str]) -> None:
    scope = sentry_sdk.get_isolation_scope()
    scope.set_tag("person", coop.canary())
    scope.set_user({"id": coop.canary(), "email": coop.canary()})
    scope.set_context("settings", {"url": coop.canary()})
    try:
        with closing(Sentry(s.sentry.dsn, [KNOWN], 20)) as channel:
            for n in range(COUNT):
                scope.add_breadcrumb({"message": coop.text()})
                sentry_sdk.add_breadcrumb({"message": coop.text()})
                channel.capture(broken(coop, n % 3), NOW)
    finally:
        scope.clear()
    assert len(s.sentry.events) == COUNT
    values = s.sentry.events[0]["exception"]["values"]
    assert [value["type"] for value in values] == ["KeyError", "ValueError"]
    assert values[-1]["stacktrace"]["frames"][-1]["function"] == "break_down"
    assert seen(s.everything()) == set()
    assert seen(heard(), s) == set()


NAIVE = """
import os, sentry_sdk
from tests.integration.test_channel_canaries import Coop, broken
coop = Coop(())
sentry_sdk.init(dsn=os.environ["SENTRY_DSN"])
for _ in range(3):
    sentry_sdk.add_breadcrumb({"message": coop.text()})
    sentry_sdk.capture_exception(broken(coop, 1))
sentry_sdk.flush(10)
"""


def test_sentry_with_its_defaults_would_see_them(s: Sinks) -> None:
    """The control. In a process of its own: the defaults reach into the whole interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", NAIVE],
        env=os.environ | {"SENTRY_DSN": s.sentry.dsn},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert seen(s.bodies()) == set(MARKS)
    (event, *_) = s.sentry.events
    assert event["server_name"]
    assert event["exception"]["values"][-1]["stacktrace"]["frames"][-1]["vars"]


# -------------------------------------------------------------------------------------------------------- forced failures


def failures(s: Sinks, channels: list[Channel], coop: Coop) -> Iterator[Failed]:
    faults = (Fault.ERROR, Fault.BUSY, Fault.RESET, Fault.MOVED, Fault.WRONG, Fault.DOWN)
    mail_faults = (
        MailFault.LOGIN,
        MailFault.REFUSE,
        MailFault.GREYLIST,
        MailFault.FULL,
        MailFault.WRONG,
        MailFault.DOWN,
    )
    for fault, mail_fault in zip(faults, mail_faults, strict=True):
        s.slack.fault = s.webhook.fault = s.sentry.fault = fault
        s.mail.fault = mail_fault
        for _ in range(5):
            for channel in channels:
                try:
                    channel.send(coop.message(Change.OPENED), NOW)
                except Failed as failed:
                    yield failed


def test_a_hundred_failures_show_nothing_of_how_to_get_in(s: Sinks, coop: Coop, heard: Callable[[], str]) -> None:
    login = s.mail.url.replace("//", "//canary:canary-password@")
    with ExitStack() as stack:
        made = configured(settings(s, ALERT_SMTP_URL=login), [KNOWN])
        channels = [stack.enter_context(closing(channel)) for channel in made]
        failed = 0
        for failure in failures(s, channels, coop):
            failed += 1
            logging.getLogger("alerts").error("not told: %s", failure, exc_info=failure)
    assert failed >= 100
    assert seen(heard(), s) == set()


def test_the_text_of_an_http_exception_would_show_the_webhook(s: Sinks, heard: Callable[[], str]) -> None:
    """The control: what a plain `raise_for_status` writes into a log."""
    s.slack.fault = Fault.ERROR
    try:
        httpx.post(s.slack.url, json={}).raise_for_status()
    except httpx.HTTPStatusError:
        logging.getLogger("naive").exception("slack alert not sent")
    assert "sinksecret" in heard()


def test_the_secrets_of_the_settings_are_the_ones_that_are_looked_for(s: Sinks) -> None:
    known = secrets_of(settings(s))
    assert {s.slack.url, s.sentry.dsn, s.webhook.url, "webhook-sink-secret"} <= known
