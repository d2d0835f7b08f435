"""The ways by which people are told. Each renders a message and sends it; none decides whether."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from alerts import scrub
from alerts.model import Message

if TYPE_CHECKING:
    from pydantic import SecretStr

    from alerts.settings import AlertSettings


class Channel(Protocol):
    @property
    def name(self) -> str: ...

    def send(self, message: Message, now: datetime) -> str | None:
        """Delivers it before it returns. What comes back is the `thread` of later messages about this incident.

        Raises:
            alerts.model.Failed: not delivered, as far as can be known. Sent again, the receiver may have it twice.
        """

    def close(self) -> None: ...


class Scrubbed:
    """A channel that gets nothing to see that must not leave. known: secrets, besides what looks like one."""

    def __init__(self, channel: Channel, known: Collection[str]) -> None:
        self._channel, self._known = channel, tuple(known)

    @property
    def name(self) -> str:
        return self._channel.name

    def send(self, message: Message, now: datetime) -> str | None:
        return self._channel.send(scrub.clean_message(message, self._known), now)

    def close(self) -> None:
        self._channel.close()


def configured(config: AlertSettings, known: Collection[str] = ()) -> list[Channel]:
    """The channels that have what they need, the log last and always. Opens no connection. Close each.

    With both ways to Slack the bot is taken, or everybody would be told twice.

    Args:
        config: which channels, and their secrets, which are taken out of every message.
        known: further secrets, such as those of the stores.
    """
    from alerts.channels.log import Log

    secrets = frozenset({*known, *secrets_of(config)})
    chosen = [*_slack(config), *_sentry(config, secrets), *_email(config), *_webhook(config), Log()]
    return [Scrubbed(channel, secrets) for channel in chosen]


def secrets_of(config: AlertSettings) -> frozenset[str]:
    """Every secret of the settings, and the parts of those that are URLs."""
    names = ("slack_webhook_url", "slack_bot_token", "sentry_dsn", "alert_smtp_url", "alert_webhook_url")
    given = [_open(getattr(config, name)) for name in (*names, "alert_webhook_secret", "slack_signing_secret")]
    return frozenset(part for secret in given if secret for part in scrub.secrets_of(secret))


# Each is imported when it is used: a run that tells nobody needs neither Sentry's SDK nor a mail client.


def _slack(config: AlertSettings) -> list[Channel]:
    from alerts.channels import slack

    token, url = _open(config.slack_bot_token), _open(config.slack_webhook_url)
    heard = _open(config.slack_signing_secret) is not None
    if token:
        return [slack.SlackBot(token, config.slack_channel, config.slack_api_url, buttons=heard)]
    return [slack.SlackWebhook(url, buttons=heard)] if url else []


def _sentry(config: AlertSettings, known: Collection[str]) -> list[Channel]:
    if not (dsn := _open(config.sentry_dsn)):
        return []
    from alerts.channels.sentry import Sentry

    return [Sentry(dsn, known)]


def _email(config: AlertSettings) -> list[Channel]:
    if not (url := _open(config.alert_smtp_url)):
        return []
    from alerts.channels.email import Email

    return [Email(url, config.alert_email_from, config.alert_email_to)]


def _webhook(config: AlertSettings) -> list[Channel]:
    if not (url := _open(config.alert_webhook_url)):
        return []
    from alerts.channels.webhook import Webhook

    return [Webhook(url, _open(config.alert_webhook_secret))]


def _open(secret: SecretStr | None) -> str | None:
    return (secret.get_secret_value() or None) if secret is not None else None
