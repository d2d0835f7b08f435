from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import InvalidInput
from pipelines.model import Medium, Scope
from pipelines.sources.layouts import known
from pipelines.sources.layouts.layout import NOT_AN_INTERACTION, Aids
from pipelines.sources.raw import Counts, Item, RawInteraction, Skipped, Unreadable

NONE = Aids()


@pytest.fixture
def samples(shared: Path) -> dict[str, Any]:
    return {path.name[:2]: json.loads(path.read_bytes()) for path in (shared / "schema_samples").iterdir()}


def read(record: object, aids: Aids = NONE, name: str | None = None) -> list[Item]:
    return list(known.read(io.BytesIO(json.dumps(record).encode()), name, aids, Counts()))


def one(record: object, aids: Aids = NONE) -> RawInteraction:
    (item,) = read(record, aids)
    assert isinstance(item, RawInteraction), item
    return item


def reason(record: object, aids: Aids = NONE) -> str:
    (item,) = read(record, aids)
    assert isinstance(item, Skipped), item
    return item.reason


def words(record: object, aids: Aids = NONE) -> str:
    (item,) = read(record, aids)
    assert isinstance(item, Unreadable), item
    return item.words


def test_a_graph_message_goes_from_its_sender_to_to_and_cc(samples: dict[str, Any]) -> None:
    message = one(samples["10"])
    assert (message.actor, message.targets, message.medium) == (
        "a@example.com",
        ("b@example.com", "c@example.com"),
        Medium.EMAIL,
    )
    assert message.time == datetime(2026, 3, 2, 8, 14, 5, tzinfo=UTC)
    assert message.native_id == "<PH0PR01MB1@example.com>"


def test_every_copy_of_a_graph_message_is_the_same_event(samples: dict[str, Any]) -> None:
    mine = samples["10"]
    theirs = mine | {"id": "another", "bccRecipients": [], "receivedDateTime": "2026-03-02T08:14:09Z"}
    mine["bccRecipients"] = [{"emailAddress": {"address": "secret@example.com"}}]
    assert one(mine) == one(theirs)


def test_a_graph_draft_is_skipped(samples: dict[str, Any]) -> None:
    assert reason(samples["10"] | {"isDraft": True, "sentDateTime": None}) == "a draft"


def test_a_graph_meeting_leaves_out_who_declined_and_rooms(samples: dict[str, Any]) -> None:
    samples["11"]["attendees"].append({"type": "resource", "emailAddress": {"address": "room1@example.com"}})
    meeting = one(samples["11"])
    assert (meeting.actor, meeting.targets, meeting.duration_s) == ("a@example.com", ("b@example.com",), 3600)
    assert (meeting.medium, meeting.time) == (Medium.MEETING, datetime(2026, 3, 2, 9, tzinfo=UTC))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"isCancelled": True}, "cancelled"),
        ({"isAllDay": True}, "all-day"),
        ({"isOrganizer": False}, "an attendee's copy; the organiser's counts"),
        ({"attendees": []}, "nobody attends"),
    ],
)
def test_a_graph_event_that_is_no_meeting_is_skipped(
    samples: dict[str, Any], change: dict[str, Any], expected: str
) -> None:
    assert reason(samples["11"] | change) == expected


def test_a_graph_meeting_in_an_iana_zone_is_understood_and_in_another_one_reported(samples: dict[str, Any]) -> None:
    place = samples["11"]
    place["start"]["timeZone"] = place["end"]["timeZone"] = "Europe/Warsaw"
    assert one(place).time == datetime(2026, 3, 2, 8, tzinfo=UTC)
    place["start"]["timeZone"] = "W. Europe Standard Time"
    assert "outlook.timezone" in words(place)


def test_a_graph_chat_message_goes_to_those_it_mentions(samples: dict[str, Any]) -> None:
    message = one(samples["12"])
    assert message.actor == "8ea0e38b-efb3-4757-924a-5f94061cf8c2"
    assert message.targets == ("cb4d3e58-1b3e-4a86-9f61-6b0a0f8f0b11",)
    assert reason(samples["12"] | {"mentions": []}).startswith("mentions nobody")
    assert reason(samples["12"] | {"deletedDateTime": "2026-03-02T09:00:00Z"}) == "deleted"
    assert reason(samples["12"] | {"messageType": "systemEventMessage"}) == NOT_AN_INTERACTION
    assert reason(samples["12"] | {"from": None}) == NOT_AN_INTERACTION


def test_a_slack_message_goes_to_the_other_members_of_its_channel(samples: dict[str, Any]) -> None:
    message = one(samples["20"], Aids({"D0PNCRP9N": ["U061F7AUR", "U024BE7LH"]}))
    assert (message.actor, message.targets, message.scope) == ("u061f7aur", ("u024be7lh",), Scope.DIRECT)
    assert message.time == datetime(2018, 5, 1, 22, 52, 9, 1, tzinfo=UTC)


def test_a_slack_message_to_a_channel_is_to_a_group(samples: dict[str, Any]) -> None:
    samples["20"]["event"] |= {"channel": "C1", "channel_type": "channel"}
    assert one(samples["20"], Aids({"C1": ["U061F7AUR", "U2"]})).scope is Scope.GROUP


def test_a_slack_message_without_members_says_what_to_give(samples: dict[str, Any]) -> None:
    assert "--members" in words(samples["20"])
    assert "--members" in words(samples["20"], Aids({}))
    assert reason(samples["20"], Aids({"D0PNCRP9N": ["U061F7AUR"]})) == "alone in the channel"


@pytest.mark.parametrize("change", [{"subtype": "channel_join"}, {"bot_id": "B1"}, {"user": None}])
def test_what_no_person_wrote_in_slack_is_skipped(samples: dict[str, Any], change: dict[str, Any]) -> None:
    samples["20"]["event"] |= change
    assert reason(samples["20"]) == NOT_AN_INTERACTION


def test_a_slack_reaction_is_no_interaction(samples: dict[str, Any]) -> None:
    assert reason(samples["21"]) == NOT_AN_INTERACTION
    samples["21"]["event"] = {"type": "channel_created", "channel": {"id": "C1", "name": "x"}}
    assert reason(samples["21"]) == NOT_AN_INTERACTION


def test_a_gmail_audit_record_of_a_sent_mail_is_one_mail(samples: dict[str, Any]) -> None:
    mail = one(samples["30"])
    assert (mail.actor, mail.targets) == ("a@example.com", ("b@example.com", "c@example.com"))
    samples["30"]["events"][0]["parameters"][0]["messageValue"]["parameter"][0]["intValue"] = "2"
    assert reason(samples["30"]) == NOT_AN_INTERACTION  # it was received, and counted when it was sent


def test_a_google_calendar_guest_is_a_meeting_whose_times_count_from_the_year_one(samples: dict[str, Any]) -> None:
    meeting = one(samples["31"])
    assert (meeting.actor, meeting.targets, meeting.duration_s) == ("a@example.com", ("b@example.com",), 3600)
    assert meeting.time == datetime(2023, 1, 2, 9, tzinfo=UTC)
    samples["31"]["events"][0]["name"] = "change_event_title"
    assert reason(samples["31"]) == NOT_AN_INTERACTION


def test_two_guests_of_one_google_meeting_have_two_native_ids(samples: dict[str, Any]) -> None:
    first = one(samples["31"])
    samples["31"]["events"][0]["parameters"][3]["value"] = "c@example.com"
    assert one(samples["31"]).native_id != first.native_id


def test_an_activitystreams_note_goes_to_to_and_cc(samples: dict[str, Any]) -> None:
    note = one(samples["50"] | {"to": ["https://example.org/people/p_91aa", "as:Public"]})
    assert note.targets == ("https://example.org/people/p_03bc", "https://example.org/people/p_91aa")
    assert note.medium is Medium.MESSAGE
    assert reason(samples["50"] | {"type": "Like"}) == NOT_AN_INTERACTION
    assert reason(samples["50"] | {"to": "as:Public", "cc": None}) == "addressed to nobody in particular"


def test_an_xapi_statement_between_agents_is_a_message_or_mail(samples: dict[str, Any]) -> None:
    mail = one(samples["60"])
    assert (mail.medium, mail.actor) == (Medium.EMAIL, "https://example.org p_5d1e")
    samples["60"]["object"] = {"objectType": "Group", "member": [{"mbox": "mailto:B@x.example"}, {"openid": "c"}]}
    assert one(samples["60"]).targets == ("b@x.example", "c")
    samples["60"]["object"] = {"id": "https://example.org/course"}
    assert reason(samples["60"]) == NOT_AN_INTERACTION


@pytest.mark.parametrize("number", ["40", "41"])
def test_viva_queries_are_refused_as_a_whole(samples: dict[str, Any], number: str) -> None:
    with pytest.raises(InvalidInput, match="sums per person or pair"):
        read(samples[number])


def test_content_and_names_are_not_in_what_is_read(samples: dict[str, Any]) -> None:
    items = [
        read(samples[number], Aids({"D0PNCRP9N": ["U1"]})) for number in ("10", "11", "12", "20", "21", "30", "31")
    ]
    text = repr(items)
    assert "cats" not in text
    assert "displayName" not in text
    assert "gmail-ui" not in text


def test_a_record_of_another_shape_is_reported_without_its_values(samples: dict[str, Any]) -> None:
    bad = samples["10"] | {"toRecipients": "anna@corp.example"}
    assert "anna" not in words(bad)
    assert "toRecipients" in words(bad)


def test_an_unknown_layout_is_bad_input() -> None:
    with pytest.raises(InvalidInput, match="--format"):
        read({"hello": 1})
    with pytest.raises(InvalidInput, match="JSONL"):
        read([{"specversion": "1.0"}])


def test_a_named_layout_is_not_guessed() -> None:
    (item,) = read({"hello": 1}, name="msgraph")
    assert isinstance(item, Unreadable)


def test_members_are_an_object_of_lists() -> None:
    assert known.read_members(io.BytesIO(b'{"C1": ["U1"]}')) == {"C1": ["U1"]}
    with pytest.raises(InvalidInput, match="--members"):
        known.read_members(io.BytesIO(b'["U1"]'))
