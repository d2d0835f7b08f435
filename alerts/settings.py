"""Where alerts go and how often, read once from the environment, `.env`, or files of secrets.

The names of the channels' variables are those that people know from elsewhere, so nothing here has a prefix of ours.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from alerts import wrong_values

#: Where containers find secrets as files: /run/secrets/slack_webhook_url.
_SECRETS = Path("/run/secrets")
_ADDRESS = re.compile(r"[^@\s,<>]+@[^@\s,<>]+")

_SLACK_USER = re.compile(r"[UW][A-Z0-9]{2,30}")
#: Slack's are 32; what is much shorter could be guessed.
_SHORTEST_SECRET = 16


class WrongSettings(ValueError):
    """Names each wrong variable and what was expected; never shows a value, it may be a secret."""


class AlertSettings(BaseSettings):
    """Frozen. A channel is configured when its variables are set; the log always is."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True)

    slack_webhook_url: SecretStr | None = Field(None, description="incoming webhook of a Slack channel, https://...")
    slack_bot_token: SecretStr | None = Field(
        None, description="xoxb-...: with it messages are edited in place instead of sent anew"
    )
    slack_api_url: str = Field("https://slack.com/api", description="Slack's Web API; another one for trials")
    slack_channel: str = Field("", description="channel for the bot, such as C0123456789")
    slack_signing_secret: SecretStr | None = Field(
        None, description="of the Slack app: by it we know that a click on a button comes from Slack; unset: no buttons"
    )
    slack_users: str = Field("", description="who is who among those who click: U0123ABCD=anna; U0456EFGH=ben")
    sentry_dsn: SecretStr | None = Field(None, description="DSN of a Sentry project")
    alert_smtp_url: SecretStr | None = Field(None, description="smtp://user:password@host:587 or smtps://host:465")
    alert_email_from: str = Field("", description="sender of alert mails")
    alert_email_to: str = Field("", description="who gets alert mails, separated by commas")
    alert_webhook_url: SecretStr | None = Field(None, description="where alerts are posted as JSON")
    alert_webhook_secret: SecretStr | None = Field(None, description="key of the signature of what is posted there")

    alert_enabled: bool = Field(True, description="false: nothing is stored or sent, problems are only logged")
    alert_escalate_after_min: float = Field(
        60, gt=0, description="minutes until a critical incident that nobody acknowledged goes to every channel again"
    )
    alert_update_every_min: float = Field(
        30, ge=1, description="minutes between two visible changes of one incident's message, at least"
    )
    alert_reopen_within_min: float = Field(
        15, ge=0, description="what comes back within so many minutes is the same incident as before"
    )
    alert_messages_per_hour: int = Field(
        20, ge=1, description="new messages to one channel in an hour; what is over goes into one summary"
    )
    alert_give_up_after_h: float = Field(24, gt=0, description="hours for which a message that fails is tried again")
    alert_keep_days: int = Field(90, ge=1, description="days that incidents are kept after they recovered")
    alert_digest: str = Field(
        "daily", pattern="^(daily|weekly|never)$", description="how often the service levels are reported"
    )
    alert_digest_hour: int = Field(7, ge=0, le=23, description="hour of that report, UTC")

    @field_validator("alert_smtp_url")
    @classmethod
    def _is_smtp(cls, value: SecretStr | None) -> SecretStr | None:
        return _of_scheme(value, "smtp", "smtps")

    @field_validator("slack_webhook_url", "alert_webhook_url", "sentry_dsn")
    @classmethod
    def _is_http(cls, value: SecretStr | None) -> SecretStr | None:
        return _of_scheme(value, "http", "https")

    @field_validator("alert_email_from", "alert_email_to")
    @classmethod
    def _are_addresses(cls, value: str) -> str:
        if not all(_ADDRESS.fullmatch(part.strip()) for part in value.split(",") if part.strip()):
            raise ValueError("expected mail addresses, separated by commas")
        return value.strip()

    @field_validator("slack_users")
    @classmethod
    def _are_pairs(cls, value: str) -> str:
        slack_names(value)
        return value.strip()

    @field_validator("slack_signing_secret")
    @classmethod
    def _is_long(cls, value: SecretStr | None) -> SecretStr | None:
        text = value.get_secret_value().strip() if value else ""
        if text and len(text) < _SHORTEST_SECRET:
            raise ValueError(
                f"expected at least {_SHORTEST_SECRET} characters, as Slack shows it under Basic Information"
            )
        return SecretStr(text) if text else None

    @model_validator(mode="after")
    def _are_complete(self) -> AlertSettings:
        if self.alert_smtp_url and not (self.alert_email_from and self.alert_email_to):
            raise ValueError("ALERT_SMTP_URL: needs ALERT_EMAIL_FROM and ALERT_EMAIL_TO, too")
        if self.slack_bot_token and not self.slack_channel:
            raise ValueError("SLACK_BOT_TOKEN: needs SLACK_CHANNEL, too")
        if self.alert_webhook_secret and not self.alert_webhook_url:
            raise ValueError("ALERT_WEBHOOK_SECRET: needs ALERT_WEBHOOK_URL, too")
        return self


class Place(BaseSettings):
    """Where the incidents are kept, for the command line; everybody else passes it in. The pipelines' own variables."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True)

    organism_postgres_url: SecretStr | None = None
    organism_state_dir: Path | None = None


def load(**overrides: Any) -> AlertSettings:
    """The settings of this process: from the environment, from `.env`, from files of secrets; the first that is there.

    Raises:
        WrongSettings: see there.
    """
    try:
        return AlertSettings(_secrets_dir=_secrets_dir(), **overrides)  # type: ignore[call-arg]  # of its base
    except ValidationError as error:
        wrong = [_words(dict(e)) for e in error.errors(include_input=False, include_url=False)]
        raise WrongSettings("wrong settings: " + "; ".join(wrong)) from None


def slack_names(text: str) -> dict[str, str]:
    """`SLACK_USERS` as Slack's id of a user to the name of ours.

    Raises:
        ValueError: it is not ID=name, separated by semicolons, or an id is there twice.
    """
    pairs = [part.partition("=") for part in text.split(";") if part.strip()]
    found = {id_.strip(): name.strip() for id_, _, name in pairs}
    if len(found) < len(pairs) or not all(_SLACK_USER.fullmatch(id_) and name for id_, name in found.items()):
        raise ValueError(
            "expected Slack's id of each user once and the name of ours, such as U0123ABCD=anna; U0456EFGH=ben"
        )
    return found


def place() -> Place:
    """Where the pipelines keep their things, as far as variables and files say it."""
    return Place(_secrets_dir=_secrets_dir())  # type: ignore[call-arg]  # of its base


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def _secrets_dir() -> Path | None:
    folder = Path(os.environ.get("ORGANISM_SECRETS_DIR", _SECRETS))
    return folder if folder.is_dir() else None


def _of_scheme(value: SecretStr | None, *schemes: str) -> SecretStr | None:
    """The value, stripped: files of secrets end with a line break."""
    if value is None or not value.get_secret_value().strip():  # an empty file of secrets: not used
        return None
    text = value.get_secret_value().strip()
    try:
        parts = urlsplit(text)
        good = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        raise ValueError(f"expected {' or '.join(f'{scheme}://' for scheme in schemes)} and a host")
    return SecretStr(text)


def _words(error: Mapping[str, Any]) -> str:
    if not error["loc"]:  # a check of ours, of several settings together
        return str(error["msg"]).removeprefix("Value error, ")
    name = str(error["loc"][0])
    return f"{name.upper()}: {wrong_values.words(AlertSettings.model_fields[name], error)}"
