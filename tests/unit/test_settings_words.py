"""A wrong setting is said with what was expected, in our words, and never with its value."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from alerts.settings import AlertSettings, WrongSettings
from alerts.settings import load as load_alerts
from pipelines import settings
from pipelines.errors import InvalidInput
from pipelines.settings import Settings

SECRET = "xq7-hunter2"  # what must not be seen again
#: How the library speaks, which says its types and patterns and not what a person should write.
THEIRS = re.compile(r"Input should|String should|Value error|valid \w+,|pattern|permitted|timedelta|Retries")


def said(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(name, value)
    with pytest.raises((InvalidInput, WrongSettings)) as caught:
        load_alerts() if not name.startswith("ORGANISM_") else settings.load()
    words = str(caught.value)
    assert words.startswith("wrong settings: ")
    assert SECRET not in words and not THEIRS.search(words), words
    return words.removeprefix("wrong settings: ")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ORGANISM_HORIZON", SECRET, "ORGANISM_HORIZON: expected days such as 30d, or forever"),
        ("ORGANISM_HORIZON", "P1Q", "ORGANISM_HORIZON: expected a length of time such as 30d"),
        ("ORGANISM_BATCH_SIZE", SECRET, "ORGANISM_BATCH_SIZE: expected a whole number from 1 to 5000"),
        ("ORGANISM_BATCH_SIZE", "0", "ORGANISM_BATCH_SIZE: expected a whole number from 1 to 5000"),
        ("ORGANISM_MIN_GROUP_SIZE", "2", "ORGANISM_MIN_GROUP_SIZE: expected a whole number of at least 5"),
        ("ORGANISM_BREAKER_SHARE", "2", "ORGANISM_BREAKER_SHARE: expected a number above 0 up to 1"),
        ("ORGANISM_SHADOW", SECRET, "ORGANISM_SHADOW: expected true or false"),
        ("ORGANISM_LOG_FORMAT", SECRET, "ORGANISM_LOG_FORMAT: expected one of auto, text, json"),
        ("ORGANISM_HORIZON", "900d", "ORGANISM_ARCHIVE_DAYS must not be below ORGANISM_HORIZON: "),
        (
            "ORGANISM_API_URL",
            "https://anna:xq7-hunter2@host",
            "ORGANISM_API_URL: expected http:// or https:// and a host",
        ),
        ("ALERT_DIGEST", SECRET, "ALERT_DIGEST: expected one of daily, weekly, never"),
        ("ALERT_DIGEST_HOUR", "24", "ALERT_DIGEST_HOUR: expected a whole number from 0 to 23"),
        ("ALERT_ENABLED", SECRET, "ALERT_ENABLED: expected true or false"),
        ("SLACK_WEBHOOK_URL", SECRET, "SLACK_WEBHOOK_URL: expected http:// or https:// and a host"),
        ("ALERT_SMTP_URL", "smtp://x", "ALERT_SMTP_URL: needs ALERT_EMAIL_FROM"),
    ],
)
def test_what_was_expected_is_said(name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(name, value, monkeypatch).startswith(words)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (SECRET, ': expected JSON such as {"store_metrics": '),
        ("[3]", ": expected JSON such as "),
        ('{"full": 3}', ": full: expected JSON such as "),
        ('{"full": {"attempts": 99}}', ": attempts of full: expected a whole number from 1 to 10"),
        ('{"full": {"attempts": "xq7-hunter2"}}', ": attempts of full: expected a whole number from 1 to 10"),
        ('{"full": {"base_s": -1}}', ": base_s of full: expected a number of at least 0"),
        ('{"full": {"xq7-hunter2": 3}}', ": full: expected nothing but attempts, base_s, factor"),
    ],
)
def test_in_the_retry_table_the_place_is_said_too(value: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert said("ORGANISM_RETRIES", value, monkeypatch).startswith(f"ORGANISM_RETRIES{words}")


@pytest.mark.parametrize("value", ["30d", "30", "P30D", "forever"])
def test_a_horizon_can_be_written_in_these_ways(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORGANISM_HORIZON", value)
    assert settings.load().horizon == (None if value == "forever" else timedelta(days=30))


NUMBERS = [
    *(f"ORGANISM_{n.upper()}" for n, f in Settings.model_fields.items() if f.annotation in (int, float, bool)),
    *(n.upper() for n, f in AlertSettings.model_fields.items() if f.annotation in (int, float, bool)),
]


@pytest.mark.parametrize("name", NUMBERS)
def test_no_setting_speaks_as_the_library_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(name, SECRET, monkeypatch).startswith(f"{name}: expected ")
