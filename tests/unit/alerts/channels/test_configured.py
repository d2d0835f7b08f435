"""Which channels there are with which settings, and that none of them sees what must not leave."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime

import pytest

from alerts.channels import Scrubbed, configured, secrets_of
from alerts.channels.log import Log
from alerts.model import Change, Failed, Message, Problem, Severity, Waiting
from alerts.settings import AlertSettings
from tests.support.alerting import NOW, message

ALL = {
    "slack_webhook_url": "https://hooks.slack.com/services/T0/B0/abcdefghijklmnop",
    "sentry_dsn": "https://0123456789abcdef0123456789abcdef@sentry.example/1",
    "alert_smtp_url": "smtp://organism:hunter22@mail.example:587",
    "alert_email_from": "organism@corp.example",
    "alert_email_to": "a@corp.example, b@corp.example",
    "alert_webhook_url": "https://hook.example/alerts",
    "alert_webhook_secret": "webhook-secret",
    "slack_signing_secret": "8f742231b10e8888abcd99yyyzzz85a5",
}
BOT = {"slack_bot_token": "xoxb-1-2-abc", "slack_channel": "C1"}


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*ALL, *BOT, "slack_api_url"):
        monkeypatch.delenv(name.upper(), raising=False)


def config(**values: str) -> AlertSettings:
    return AlertSettings(_env_file=None, **values)


def names(**values: str) -> Iterator[str]:
    for channel in configured(config(**values)):
        with closing(channel):
            yield channel.name


def test_the_log_is_always_there() -> None:
    assert list(names()) == ["log"]


def test_each_channel_is_there_when_it_has_what_it_needs() -> None:
    assert list(names(**ALL)) == ["slack", "sentry", "email", "webhook", "log"]
    assert list(names(sentry_dsn=ALL["sentry_dsn"])) == ["sentry", "log"]
    assert list(names(**BOT)) == ["slack", "log"]


def test_with_a_bot_and_a_webhook_slack_is_told_once() -> None:
    assert list(names(**ALL, **BOT)).count("slack") == 1


def test_a_channel_shows_no_secret_when_it_is_printed() -> None:
    channels = configured(config(**ALL))
    inner = [channel._channel for channel in channels if isinstance(channel, Scrubbed)]
    assert len(inner) == 5
    for channel in (*channels, *inner):
        with closing(channel):
            assert not any(secret in f"{channel!r} {channel}" for secret in ALL.values())


class Keeps:
    name = "keeps"

    def __init__(self) -> None:
        self.got: list[Message] = []

    def send(self, message: Message, now: datetime) -> str | None:
        self.got.append(message)
        return "thread"

    def close(self) -> None: ...


def test_what_a_channel_gets_is_clean_also_of_the_configured_secrets() -> None:
    inner = Keeps()
    dirty = message(what="login with hunter22 failed", fix="curl https://hook.example/alerts -H webhook-secret")
    signing = ALL["slack_signing_secret"]
    dirty = replace(dirty, incident=replace(dirty.incident, problem=_asking(dirty.incident.problem, f"by {signing}")))
    assert Scrubbed(inner, secrets_of(config(**ALL))).send(dirty, NOW) == "thread"
    assert not any(
        secret in repr(inner.got) for secret in ("hunter22", "webhook-secret", "hook.example/alerts", signing)
    )


def _asking(problem: Problem, text: str) -> Problem:
    return replace(problem, works=text, asks=Waiting("a", 1, text, text, text, link=f"https://x.example/?key={text}"))


@pytest.mark.parametrize("given", [ALL, {**ALL, **BOT}])
def test_slack_has_buttons_only_with_the_secret_by_which_clicks_are_known(given: dict[str, str]) -> None:
    for values, heard in ((given, True), ({k: v for k, v in given.items() if k != "slack_signing_secret"}, False)):
        channels = configured(config(**values))
        (slack,) = [c._channel for c in channels if isinstance(c, Scrubbed) and c.name == "slack"]
        assert slack._buttons is heard  # type: ignore[attr-defined]
        for channel in channels:
            channel.close()


def test_a_wrong_dsn_is_a_failure_that_does_not_quote_it() -> None:
    (sentry, log) = configured(config(sentry_dsn="https://sentry.example/not-a-number-canary"))
    with closing(sentry), closing(log), pytest.raises(Failed) as failed:
        sentry.send(message(), NOW)
    assert failed.value.permanent
    assert "canary" not in failed.value.words


# ----------------------------------------------------------------------------------------------------------------- log


@pytest.mark.parametrize(
    ("severity", "change", "level"),
    [
        (Severity.CRITICAL, Change.OPENED, logging.ERROR),
        (Severity.WARNING, Change.ESCALATED, logging.WARNING),
        (Severity.INFO, Change.OPENED, logging.INFO),
        (Severity.CRITICAL, Change.RECOVERED, logging.INFO),
        (Severity.CRITICAL, Change.TEST, logging.INFO),
    ],
)
def test_the_log_says_one_line_as_loud_as_it_is_bad(
    severity: Severity, change: Change, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "alerts")
    Log().send(message(change, severity=severity, what="100 % of\nmemory"), NOW)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("alerts", level)
    assert "100 % of memory" in record.getMessage()
