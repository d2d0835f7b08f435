from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import InvalidInput
from pipelines.events import schema
from pipelines.jobs.convert import Conversion, kind_of
from pipelines.model import Code, Event, Interaction, Medium, Refusal, RosterChange, Scope
from pipelines.pseudonyms import Pseudonymiser
from pipelines.sources.raw import Item, RawEvent, RawInteraction, RawPlace, Skipped, Unreadable
from tests.support import make
from tests.support.make import NOW

KEY = b"a key of the tests, long enough"
HORIZON = timedelta(days=30)


def conversion(*own_domains: str, source: str = "/files/x", rejects: list[Unreadable] | None = None) -> Conversion:
    found = [] if rejects is None else rejects
    return Conversion(source, Pseudonymiser(KEY, own_domains), NOW, HORIZON, found.append)


def raw(**changes: Any) -> RawInteraction:
    fields: dict[str, Any] = {
        "line": 1,
        "actor": "anna",
        "targets": ("bert",),
        "medium": Medium.MESSAGE,
        "time": NOW,
    } | changes
    return RawInteraction(**fields)


def parsed(items: Iterable[Item], *own_domains: str) -> list[Event | Refusal]:
    return [schema.parse(payload)[0] for payload in conversion(*own_domains).events(items)]


def one(item: Item) -> Any:
    (found,) = parsed([item])
    return found


def test_an_interaction_becomes_a_valid_event() -> None:
    item = raw(targets=("bert", "carl"), scope=Scope.GROUP, medium=Medium.MEETING, duration_s=90.0, tz_offset_min=60)
    event = one(item)
    assert isinstance(event, Interaction)
    of = Pseudonymiser(KEY).of
    assert (event.actor, set(event.targets)) == (of("anna"), {of("bert"), of("carl")})
    assert (event.medium, event.scope, event.duration_s, event.tz_offset_min) == (Medium.MEETING, Scope.GROUP, 90, 60)
    assert event.source == "/files/x"


ids = st.text(st.characters(exclude_categories=["Cs"])).map(lambda text: f"~{text}~")
interactions = st.builds(
    raw,
    actor=ids,
    targets=st.lists(ids, min_size=1, max_size=4).map(tuple),
    medium=st.sampled_from(Medium),
    time=st.timedeltas(timedelta(0), timedelta(days=40_000)).map(
        lambda since: datetime(1971, 1, 1, tzinfo=UTC) + since
    ),
    native_id=ids,
    duration_s=st.none() | st.floats(0, 86_400),
)
fixed = settings(derandomize=True, deadline=None)


@fixed
@given(st.lists(interactions, max_size=5))
def test_the_same_records_give_the_same_bytes(items: list[RawInteraction]) -> None:
    assert list(conversion().events(items)) == list(conversion().events(items))


@fixed
@given(interactions)
def test_published_twice_is_published_once(item: RawInteraction) -> None:
    """The consumer counts by (source, id): the key of both is one."""
    keys = {event.key if isinstance(event, Event) else event for event in parsed([item, item])}
    assert len(keys) == 1


@fixed
@given(interactions)
def test_no_raw_id_is_in_any_byte(item: RawInteraction) -> None:
    """Every raw id has a tilde, and nothing else in an event has."""
    (payload,) = conversion().events([item])
    assert b"~" not in payload


@fixed
@given(interactions)
def test_every_event_is_small_and_at_most_refused_for_what_it_says(item: RawInteraction) -> None:
    (payload,) = conversion().events([item])
    found = one(item)
    assert len(payload) <= schema.MAX_BYTES
    assert isinstance(found, Interaction) or found.code in (Code.SELF_ONLY, Code.BAD_DURATION)


def test_ids_tell_apart_what_is_different() -> None:
    variants = [
        raw(),
        raw(actor="carl"),
        raw(time=NOW + timedelta(microseconds=1)),
        raw(medium=Medium.EMAIL),
        raw(native_id="<m@x>"),
    ]
    here = [msgspec.json.decode(payload)["id"] for payload in conversion().events(variants)]
    there = [msgspec.json.decode(payload)["id"] for payload in conversion(source="/files/y").events(variants)]
    assert len({*here, *there}) == 10


def test_a_message_to_oneself_is_sent_and_the_consumer_says_why_it_is_none() -> None:
    found = one(raw(targets=("Anna",)))
    assert (found.code, conversion().tally.skipped.total()) == (Code.SELF_ONLY, 0)


def test_a_message_to_thousands_is_sent_small_enough_to_be_refused_for_its_targets() -> None:
    item = raw(targets=tuple(f"person {n}" for n in range(5_000)))
    work = conversion()
    (payload,) = work.events([item])
    found, _ = schema.parse(payload)
    assert isinstance(found, Refusal)
    assert (found.code, work.tally.crowded) == (Code.TOO_MANY_TARGETS, 1)


def test_people_outside_are_targets_but_not_actors() -> None:
    inside, outside = "anna@corp.example", "bert@else.example"
    (event,) = parsed([raw(actor=inside, targets=(outside,))], "corp.example")
    assert isinstance(event, Interaction)
    assert event.targets[0].startswith("x_")
    work = conversion("corp.example")
    assert list(work.events([raw(actor=outside, targets=(inside,))])) == []
    assert work.tally.skipped == {"by somebody outside the organisation": 1}


def test_a_place_becomes_a_roster_event() -> None:
    of = Pseudonymiser(KEY).of
    change = one(RawPlace(1, "anna", NOW, "Sales", None, "lead", "bert", "Europe/Berlin"))
    assert isinstance(change, RosterChange)
    assert (change.person, change.team, change.manager) == (of("anna"), "Sales", of("bert"))
    assert (change.role_class, change.tz) == ("lead", "Europe/Berlin")


def test_a_team_named_after_a_manager_shows_the_pseudonym_only() -> None:
    head, report = parsed([RawPlace(1, "86", NOW, team_of="86"), RawPlace(2, "19", NOW, team_of="86", manager="86")])
    assert isinstance(head, RosterChange)
    assert isinstance(report, RosterChange)
    assert head.team == report.team == f"team-{Pseudonymiser(KEY).of('86')[2:10]}"
    assert (head.manager, report.manager) == (None, Pseudonymiser(KEY).of("86"))


def test_a_manager_outside_is_left_out() -> None:
    (change,) = parsed([RawPlace(1, "anna", NOW, "Sales", manager="b@else.example")], "corp.example")
    assert isinstance(change, RosterChange)
    assert change.manager is None


def test_an_event_of_the_contract_passes_unchanged() -> None:
    payload = b" ".join([make.event("1"), b""])
    assert list(conversion().events([RawEvent(1, payload)])) == [payload]


def test_an_event_that_is_only_wrong_passes_and_one_that_is_dangerous_does_not() -> None:
    rejects: list[Unreadable] = []
    work = conversion(rejects=rejects)
    wrong = make.event("1", kind="interaction.fax")
    raw_id = make.event("2", actor="anna@corp.example")
    assert list(work.events([RawEvent(1, wrong), RawEvent(2, raw_id), RawEvent(3, b"{")])) == [wrong]
    assert [item.line for item in rejects] == [2, 3]
    assert work.tally.rejected == {"RAW_IDENTIFIER": 1, "BAD_JSON": 1}
    assert "anna" not in repr(rejects)


def test_everything_is_in_the_tally() -> None:
    work = conversion()
    old, new = NOW - timedelta(days=31), NOW + timedelta(hours=1)
    items: list[Item] = [
        raw(time=old),
        raw(time=new),
        RawPlace(3, "anna", old, "Sales"),
        RawEvent(4, make.event("1", time=old)),
        Skipped(5, "cancelled"),
        Unreadable(6, "column 'time': 'abc' is not a time"),
        raw(actor="\ud800"),
    ]
    sent = len(list(work.events(items)))
    tally = work.tally
    assert (sent, tally.events, tally.late, tally.future) == (4, 4, 2, 1)  # a roster has no horizon
    assert (tally.first, tally.last) == (old, new)
    assert sent + tally.skipped.total() + tally.rejected.total() == len(items)
    assert len(tally.people) == 4


def test_a_reject_that_raises_stops() -> None:
    def stop(item: Unreadable) -> None:
        raise InvalidInput(f"line {item.line}")

    work = Conversion("/files/x", Pseudonymiser(KEY), NOW, None, stop)
    with pytest.raises(InvalidInput, match="line 7"):
        list(work.events([Unreadable(7, "is bad")]))


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("column 'time': 'abc' is not a time", "column 'time'"),
        ("has 3 columns; expected 2 as in the first row", "has 3 columns"),
        ("is not CSV (unexpected end of data); look", "is not CSV"),
        ("RAW_IDENTIFIER: actor is not", "RAW_IDENTIFIER"),
    ],
)
def test_rejections_are_counted_without_what_was_seen(words: str, kind: str) -> None:
    assert kind_of(words) == kind
