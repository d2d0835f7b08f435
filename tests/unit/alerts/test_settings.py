"""Settings of alerts: the usual names, files of secrets, and errors that name a variable and never a value."""

from __future__ import annotations

from pathlib import Path

import pytest

from alerts import opening, settings
from alerts.settings import AlertSettings, WrongSettings
from tests.support.fakes_alerts import HOUR, MINUTE


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in AlertSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setitem(AlertSettings.model_config, "env_file", None)
    monkeypatch.setenv("ORGANISM_SECRETS_DIR", str(tmp_path / "none"))


def test_nothing_is_configured_by_default() -> None:
    config = settings.load()
    assert [config.slack_webhook_url, config.sentry_dsn, config.alert_smtp_url, config.alert_webhook_url] == [None] * 4
    assert config.alert_enabled


def test_channels_come_from_the_usual_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_WEBHOOK_URL", "https://hooks.slack.com/services/T0/B0/canary")
    config = settings.load()
    assert config.slack_webhook_url is not None
    assert config.slack_webhook_url.get_secret_value().endswith("canary")
    assert "canary" not in repr(config)


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_WEBHOOK_URL", "")
    assert settings.load().slack_webhook_url is None


def test_secrets_come_from_files_and_lose_their_line_break(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "alert_webhook_url").write_text("https://example.org/hook\n")
    monkeypatch.setenv("ORGANISM_SECRETS_DIR", str(tmp_path))
    found = settings.load().alert_webhook_url
    assert found is not None
    assert found.get_secret_value() == "https://example.org/hook"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"SLACK_WEBHOOK_URL": "canary"}, "SLACK_WEBHOOK_URL: expected http:// or https:// and a host"),
        ({"SENTRY_DSN": "ftp://canary"}, "SENTRY_DSN"),
        ({"ALERT_SMTP_URL": "https://canary:canary@host"}, "ALERT_SMTP_URL: expected smtp:// or smtps:// and a host"),
        ({"ALERT_SMTP_URL": "smtp://u:canary@host:notaport"}, "ALERT_SMTP_URL"),
        ({"ALERT_SMTP_URL": "smtp://u:canary@host:587"}, "needs ALERT_EMAIL_FROM and ALERT_EMAIL_TO"),
        ({"ALERT_EMAIL_TO": "canary"}, "ALERT_EMAIL_TO: expected mail addresses"),
        ({"SLACK_BOT_TOKEN": "xoxb-canary"}, "needs SLACK_CHANNEL"),
        ({"ALERT_WEBHOOK_SECRET": "canary"}, "needs ALERT_WEBHOOK_URL"),
        ({"ALERT_ESCALATE_AFTER_MIN": "canary"}, "ALERT_ESCALATE_AFTER_MIN"),
        ({"ALERT_DIGEST": "canary"}, "ALERT_DIGEST"),
        ({"ALERT_MESSAGES_PER_HOUR": "0"}, "ALERT_MESSAGES_PER_HOUR"),
    ],
)
def test_a_wrong_value_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], named: str
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(WrongSettings, match="wrong settings: ") as caught:
        settings.load()
    assert named in str(caught.value)
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_limits_of_operators_reach_the_policy_and_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_ESCALATE_AFTER_MIN", "30")
    monkeypatch.setenv("ALERT_GIVE_UP_AFTER_H", "2")
    monkeypatch.setenv("ALERT_DIGEST", "weekly")
    config = settings.load()
    policy = opening.policy(config)
    assert (policy.escalate_after, policy.give_up_after, policy.update_every) == (30 * MINUTE, 2 * HOUR, 30 * MINUTE)
    assert opening.limits(config).digest == "weekly"
