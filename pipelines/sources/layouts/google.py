"""Google Workspace audit (Reports API activities): mails that were sent, and guests that were added to a meeting.

The calendar log tells changes, not meetings: each guest who is added comes as a meeting of two, the organiser and the
guest, and who declines later is not taken back. It says more about who meets whom than about hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from pipelines.model import Medium
from pipelines.sources.layouts.layout import NOT_AN_INTERACTION, Aids, Instant, Layout, interaction, reading
from pipelines.sources.raw import Item, Skipped, Unreadable

#: `mail_event_type` of a mail that was sent; the others are receipts, reads, spam marks (Reports API, Gmail events).
_SENT = "1"
#: Calendar times count seconds from here.
_YEAR_ONE = datetime(1, 1, 1, tzinfo=UTC)


class _Parameter(msgspec.Struct, rename="camel"):
    name: str = ""
    value: str | None = None
    int_value: str | int | None = None
    message_value: _Message | None = None


class _Message(msgspec.Struct):
    parameter: list[_Parameter] = []


class _Happening(msgspec.Struct):
    name: str = ""
    parameters: list[_Parameter] = []


class _Id(msgspec.Struct, rename="camel"):
    time: Instant
    application_name: str = ""


class _Actor(msgspec.Struct):
    email: str | None = None


class _Activity(msgspec.Struct):
    id: _Id
    actor: _Actor
    events: list[_Happening] = []


def _understand(activity: _Activity, line: int, _aids: Aids) -> Sequence[Item]:
    found: list[Item] = []
    for happening in activity.events:
        about = _flat(happening.parameters)
        if happening.name == "delivery" and about.get("event_info.mail_event_type") == _SENT:
            found += _mail(activity, about, line)
        elif happening.name == "add_event_guest":
            found += _guest(activity, about, line)
        else:
            found.append(Skipped(line, NOT_AN_INTERACTION))
    return found or [Skipped(line, NOT_AN_INTERACTION)]


def _flat(parameters: Sequence[_Parameter], prefix: str = "") -> dict[str, str]:
    """Parameters by their full name, such as message_info.rfc2822_message_id."""
    flat: dict[str, str] = {}
    for parameter in parameters:
        name = prefix + parameter.name
        if parameter.message_value is not None:
            flat |= _flat(parameter.message_value.parameter, f"{name}.")
        elif parameter.value is not None or parameter.int_value is not None:
            flat[name] = str(parameter.int_value if parameter.value is None else parameter.value)
    return flat


def _mail(activity: _Activity, about: dict[str, str], line: int) -> Sequence[Item]:
    destinations = about.get("message_info.flattened_destinations", "")
    return interaction(
        line,
        activity.actor.email or about.get("message_info.source.address", ""),
        [destination.rpartition("::")[2] for destination in destinations.split(",")],  # service::address
        Medium.EMAIL,
        activity.id.time,
        nobody="no recipient but oneself",
        native_id=about.get("message_info.rfc2822_message_id", ""),
    )


def _guest(activity: _Activity, about: dict[str, str], line: int) -> Sequence[Item]:
    try:
        start, end = (_YEAR_ONE + timedelta(seconds=int(about[name])) for name in ("start_time", "end_time"))
    except (KeyError, ValueError, OverflowError):
        return [Unreadable(line, "start_time and end_time: expected seconds since the year 1")]
    if end < start:
        return [Unreadable(line, "ends before it starts")]
    guest = about.get("event_guest", "")
    return interaction(
        line,
        about.get("organizer_calendar_id") or activity.actor.email or "",
        [guest],
        Medium.MEETING,
        start,
        nobody="no guest but oneself",
        native_id=f"{about.get('event_id', '')} {guest}",  # each guest of a meeting is an event of its own
        duration_s=(end - start).total_seconds(),
    )


LAYOUT = Layout(
    "google",
    lambda keys: {"id", "actor", "events"} <= set(keys),
    reading(msgspec.json.Decoder(_Activity).decode, _understand),
)
