"""Microsoft Graph: message, calendar event, chatMessage.

One thing lies in several mailboxes, and must give one event from every copy: so bcc is left out, which only the
sender's copy has, and of a meeting only the organiser's copy counts, which alone knows who declined.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

import msgspec

from pipelines.errors import InvalidInput
from pipelines.model import Medium
from pipelines.sources.layouts.layout import NOT_AN_INTERACTION, Aids, Instant, Layout, interaction, reading
from pipelines.sources.raw import Item, Skipped, Unreadable
from pipelines.sources.times import TimeOptions, TimeReader


class _Graph(msgspec.Struct, rename="camel"):
    """Base of Graph's records: names are in camel case there."""


class _EmailAddress(_Graph):
    address: str | None = None


class _Mailbox(_Graph):
    email_address: _EmailAddress | None = None

    @property
    def address(self) -> str:
        return (self.email_address and self.email_address.address) or ""


class _Message(_Graph):
    sent_date_time: Instant | None = None
    internet_message_id: str | None = None
    id: str = ""
    is_draft: bool | None = False
    sender: _Mailbox | None = None
    from_: _Mailbox | None = msgspec.field(default=None, name="from")
    to_recipients: list[_Mailbox] = []  # msgspec copies empty defaults
    cc_recipients: list[_Mailbox] = []


def _message(message: _Message, line: int, _aids: Aids) -> Sequence[Item]:
    if message.is_draft:
        return [Skipped(line, "a draft")]
    if message.sent_date_time is None:
        return [Unreadable(line, "has no sentDateTime; expected when it was sent")]
    actor = message.sender or message.from_
    return interaction(
        line,
        actor.address if actor else "",
        [box.address for box in (*message.to_recipients, *message.cc_recipients)],
        Medium.EMAIL,
        message.sent_date_time,
        nobody="no recipient but oneself or bcc",
        native_id=message.internet_message_id or message.id,
    )


# ------------------------------------------------------------------------------------------------ calendar


class _Moment(_Graph):
    date_time: str
    time_zone: str = "UTC"

    def instant(self) -> datetime:
        zone = "UTC" if self.time_zone.upper() in ("UTC", "TZONE://MICROSOFT/UTC") else self.time_zone
        return TimeReader(TimeOptions(zone=zone)).read(self.date_time).at


class _Status(_Graph):
    response: str | None = None


class _Attendee(_Mailbox):
    type: str | None = None
    status: _Status | None = None

    @property
    def comes(self) -> bool:
        """Rooms are attendees too, and no people."""
        return self.type != "resource" and not (self.status and self.status.response == "declined")


class _Meeting(_Graph):
    start: _Moment
    end: _Moment
    organizer: _Mailbox | None = None
    attendees: list[_Attendee] = []
    i_cal_u_id: str | None = msgspec.field(default=None, name="iCalUId")
    id: str = ""
    is_cancelled: bool | None = False
    is_all_day: bool | None = False
    is_organizer: bool | None = True


def _meeting(meeting: _Meeting, line: int, _aids: Aids) -> Sequence[Item]:
    if reason := _why_no_meeting(meeting):
        return [Skipped(line, reason)]
    try:
        start, end = meeting.start.instant(), meeting.end.instant()
    except (ValueError, InvalidInput) as error:
        return [Unreadable(line, f'start or end: {error}; or export in UTC (Prefer: outlook.timezone="UTC")')]
    if end < start:
        return [Unreadable(line, "ends before it starts")]
    return interaction(
        line,
        meeting.organizer.address if meeting.organizer else "",
        [attendee.address for attendee in meeting.attendees if attendee.comes],
        Medium.MEETING,
        start,
        nobody="nobody attends",
        native_id=meeting.i_cal_u_id or meeting.id,
        duration_s=(end - start).total_seconds(),
    )


def _why_no_meeting(meeting: _Meeting) -> str | None:
    if meeting.is_cancelled:
        return "cancelled"
    if meeting.is_all_day:
        return "all-day"
    return "an attendee's copy; the organiser's counts" if meeting.is_organizer is False else None


# ------------------------------------------------------------------------------------------------ chat


class _User(_Graph):
    id: str | None = None


class _Identity(_Graph):
    user: _User | None = None

    @property
    def person(self) -> str:
        """Empty for an app, a team or a channel."""
        return (self.user and self.user.id) or ""


class _Mention(_Graph):
    mentioned: _Identity | None = None


class _ChatMessage(_Graph):
    created_date_time: Instant
    id: str = ""
    message_type: str = "message"
    deleted_date_time: str | None = None
    from_: _Identity | None = msgspec.field(default=None, name="from")
    mentions: list[_Mention] = []


def _chat(message: _ChatMessage, line: int, _aids: Aids) -> Sequence[Item]:
    if message.message_type != "message" or message.from_ is None or not message.from_.person:
        return [Skipped(line, NOT_AN_INTERACTION)]
    if message.deleted_date_time:
        return [Skipped(line, "deleted")]
    return interaction(
        line,
        message.from_.person,
        [mention.mentioned.person for mention in message.mentions if mention.mentioned],
        Medium.MESSAGE,
        message.created_date_time,
        nobody="mentions nobody, and who read it is not in the export",
        native_id=message.id,
    )


_READ = {
    "message": reading(msgspec.json.Decoder(_Message).decode, _message),
    "event": reading(msgspec.json.Decoder(_Meeting).decode, _meeting),
    "chatMessage": reading(msgspec.json.Decoder(_ChatMessage).decode, _chat),
}
_keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _kind(keys: Collection[str]) -> str | None:
    if "toRecipients" in keys or "sentDateTime" in keys:
        return "message"
    if "organizer" in keys and "start" in keys:
        return "event"
    return "chatMessage" if "messageType" in keys and "createdDateTime" in keys else None


def _read(data: bytes, line: int, aids: Aids) -> Sequence[Item]:
    try:
        kind = _kind(_keys(data))
    except msgspec.DecodeError:
        kind = None
    if kind is None:
        return [Unreadable(line, "is neither a message, a calendar event nor a chatMessage of Microsoft Graph")]
    return _READ[kind](data, line, aids)


LAYOUT = Layout("msgraph", lambda keys: _kind(keys) is not None, _read)
