"""Slack Events API: messages of people in channels. Who is in a channel is not in the event: `--members` says it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec

from pipelines.model import Medium
from pipelines.sources.layouts.layout import NOT_AN_INTERACTION, Aids, Layout, interaction, reading
from pipelines.sources.raw import Item, Skipped, Unreadable

#: Subtypes that a person wrote; all others are notices of Slack, edits and bots.
_WRITTEN = (None, "file_share", "thread_broadcast", "me_message")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Event(msgspec.Struct):
    type: str = ""
    subtype: str | None = None
    user: str | None = None
    bot_id: str | None = None
    channel: str | dict[str, msgspec.Raw] = ""  # an object in events about the channel itself
    channel_type: str | None = None
    ts: str = ""


class _Callback(msgspec.Struct):
    event: _Event
    team_id: str = ""


def _understand(callback: _Callback, line: int, aids: Aids) -> Sequence[Item]:
    event = callback.event
    if event.type != "message" or event.subtype not in _WRITTEN or event.bot_id or not event.user:
        return [Skipped(line, NOT_AN_INTERACTION)]
    if aids.members is None:
        return [Unreadable(line, "is a Slack message, which does not say who reads it; give --members FILE.json")]
    if not isinstance(event.channel, str) or event.channel not in aids.members:
        return [Unreadable(line, "was written in a channel that is not in the --members file; add it")]
    try:
        at = _EPOCH + timedelta(microseconds=int(Decimal(event.ts) * 1_000_000))
    except (ArithmeticError, ValueError):
        return [Unreadable(line, "ts is not a time; expected seconds since 1970 such as 1525215129.000001")]
    return interaction(
        line,
        event.user,
        aids.members[event.channel],
        Medium.MESSAGE,
        at,
        nobody="alone in the channel",
        group=event.channel_type != "im",
        native_id=f"{callback.team_id} {event.channel} {event.ts}",
    )


LAYOUT = Layout(
    "slack",
    lambda keys: "event" in keys and ("team_id" in keys or "event_id" in keys),
    reading(msgspec.json.Decoder(_Callback).decode, _understand),
)
