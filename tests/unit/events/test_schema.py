"""The contract's validator: every code, every edge that slipped through some parser, and what a re-send may change."""

from __future__ import annotations

import json
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pipelines.events import schema
from pipelines.model import (
    Code,
    Event,
    Heartbeat,
    Interaction,
    Medium,
    Outcome,
    PrivacyRequest,
    Refusal,
    Retraction,
    RosterChange,
    Scope,
)
from tests.support import hostile, make
from tests.support.make import NOW, NOW_MS, outsider, person

HORIZON = timedelta(days=30)


def code(payload: bytes) -> Code | None:
    event, _ = schema.parse(payload)
    return event.code if isinstance(event, Refusal) else None


def changed(**changes: object) -> bytes:
    """A valid event with top-level keys changed; a change to None removes the key."""
    event = msgspec.json.decode(make.event("a")) | changes
    return msgspec.json.encode({k: v for k, v in event.items() if v is not None})


def with_data(**changes: object) -> bytes:
    data = {"actor": person(1), "targets": [person(2)]} | changes
    return changed(data={k: v for k, v in data.items() if v is not None})


def test_a_valid_interaction_comes_back_as_it_was_meant() -> None:
    payload = make.event(
        "a", person(1), [person(3), person(2), person(1), person(3)], kind="interaction.meeting", duration_s=1800.4,
        scope="group", response_s=7, tz_offset_min=-60,
    )  # fmt: skip
    event, unknown = schema.parse(payload)
    assert isinstance(event, Interaction)
    assert (event.medium, event.actor, event.targets, event.target_count) == (
        Medium.MEETING, person(1), (person(2), person(3)), 2,
    )  # fmt: skip
    assert (event.scope, event.duration_s, event.response_s, event.tz_offset_min) == (Scope.GROUP, 1800, 7, -60)
    assert (event.time_ms, unknown) == (NOW_MS - 3_600_000, 0)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", Code.BAD_JSON),
        (b"[]", Code.BAD_JSON),
        (b"null", Code.BAD_JSON),
        (b"{", Code.BAD_JSON),
        (b'{"a": NaN}', Code.BAD_JSON),
        (b"[" * 20_000, Code.BAD_JSON),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, Code.BAD_JSON),
        (b'{"a": "\\ud800"}', Code.BAD_JSON),
        (b" " * 40_000, Code.BAD_JSON),
        (b'{"a": "\xff"}', Code.BAD_ENCODING),
        (b"\xff\xfe{}", Code.BAD_ENCODING),
        (changed(specversion="0.3"), Code.UNKNOWN_VERSION),
        (changed(specversion=None), Code.UNKNOWN_VERSION),
        (changed(dataschema="causal-organism/interaction/2"), Code.UNKNOWN_VERSION),
        (changed(type="interaction.fax"), Code.UNKNOWN_TYPE),
        (changed(type=["interaction.message"]), Code.UNKNOWN_TYPE),
        (changed(type=None), Code.MISSING_FIELD),
        (changed(id=None), Code.MISSING_FIELD),
        (changed(source=None), Code.MISSING_FIELD),
        (changed(time=None), Code.MISSING_FIELD),
        (changed(data=None), Code.MISSING_FIELD),
        (changed(data=5), Code.BAD_FORMAT),
        (changed(id=""), Code.BAD_FORMAT),
        (changed(id="x" * 65), Code.BAD_FORMAT),
        (changed(id="a\x00b"), Code.BAD_FORMAT),
        (changed(id="a\n"), Code.BAD_FORMAT),
        (changed(id=5), Code.BAD_FORMAT),
        (changed(source="/mail/anna@corp.example"), Code.RAW_IDENTIFIER),
        (changed(source="with space"), Code.BAD_FORMAT),
        (changed(time="2026-03-02T11:00:00"), Code.BAD_FORMAT),
        (changed(time="yesterday"), Code.BAD_FORMAT),
        (changed(time=1_772_445_600), Code.BAD_FORMAT),
        (changed(time="1969-12-31T23:59:59Z"), Code.BAD_FORMAT),
        (changed(time="0001-01-01T00:00:00+14:00"), Code.BAD_FORMAT),
        (with_data(actor="anna@corp.example"), Code.RAW_IDENTIFIER),
        (with_data(actor="p_123"), Code.RAW_IDENTIFIER),
        (with_data(actor=person(1) + "\n"), Code.RAW_IDENTIFIER),
        (with_data(actor=person(10).upper()), Code.RAW_IDENTIFIER),
        (with_data(actor="p_" + "a" * 41), Code.RAW_IDENTIFIER),
        (with_data(actor="p_" + "٣" * 20), Code.RAW_IDENTIFIER),
        (with_data(actor=outsider(1)), Code.RAW_IDENTIFIER),
        (with_data(targets=["U061F7AUR"]), Code.RAW_IDENTIFIER),
        (with_data(targets=[5]), Code.RAW_IDENTIFIER),
        (with_data(targets="p_1"), Code.RAW_IDENTIFIER),
        (with_data(actor=None), Code.MISSING_FIELD),
        (with_data(targets=[]), Code.SELF_ONLY),
        (with_data(targets=[person(1), person(1)]), Code.SELF_ONLY),
        (with_data(targets=[person(i) for i in range(2, 203)]), Code.TOO_MANY_TARGETS),
        (with_data(scope="everybody"), Code.BAD_FORMAT),
        (with_data(duration_s=-1), Code.BAD_DURATION),
        (with_data(duration_s=86_401), Code.BAD_DURATION),
        (with_data(duration_s="90"), Code.BAD_DURATION),
        (with_data(duration_s=True), Code.BAD_DURATION),
        (with_data(response_s=-1), Code.BAD_FORMAT),
        (with_data(tz_offset_min=841), Code.BAD_FORMAT),
        (with_data(tz_offset_min=1.5), Code.BAD_FORMAT),
        (make.event("a", kind="interaction.meeting"), Code.BAD_DURATION),
        (make.event("a", kind="interaction.call"), Code.BAD_DURATION),
        (make.event("a", kind="interaction.contact"), Code.BAD_DURATION),
        (make.other("roster.joined", "a", person=person(1)), Code.MISSING_FIELD),
        (make.other("roster.joined", "a", person="anna", team="red"), Code.RAW_IDENTIFIER),
        (make.other("roster.moved", "a", person=person(1), team="red", tz="Mars/Olympus"), Code.BAD_FORMAT),
        (make.other("roster.moved", "a", person=person(1), team="a@b.example"), Code.RAW_IDENTIFIER),
        (make.other("outcome.recorded", "a", person=person(1), measure="survey"), Code.MISSING_FIELD),
    ],
)
def test_each_fault_has_its_code(payload: bytes, expected: Code) -> None:
    assert code(payload) is expected


@pytest.mark.parametrize(
    ("team", "expected"),
    [
        ("A|B", Code.BAD_FORMAT),
        ("red\x1b[31m", Code.BAD_FORMAT),
        ("red\u202egnitekram", Code.BAD_FORMAT),
        ("red\u2028blue", Code.BAD_FORMAT),
        ("p_0123456789abcdef", Code.RAW_IDENTIFIER),
        ("team of P_0123456789ABCDEF", Code.RAW_IDENTIFIER),
        ("ops.team%40acme.com", Code.RAW_IDENTIFIER),
        ("ops&#64;acme.com", Code.RAW_IDENTIFIER),
        ("sales\uff20acme.com", Code.RAW_IDENTIFIER),
    ],
)
@pytest.mark.parametrize("kind", ["roster.joined", "roster.left"])
def test_a_team_is_not_named_like_a_person_a_pair_or_a_command(kind: str, team: str, expected: Code) -> None:
    assert code(make.other(kind, "a", person=person(1), team=team)) is expected


@pytest.mark.parametrize("team", ["R&D [/]", "Vertrieb Süd", "営業", "50% club", "p_team", "sales, north"])
def test_an_ordinary_name_of_a_team_is_taken(team: str) -> None:
    event, _ = schema.parse(make.other("roster.joined", "a", person=person(1), team=team))
    assert isinstance(event, RosterChange)
    assert event.team == team


def answer(value: float, scale: str | None) -> bytes:
    return make.other("outcome.recorded", "a", person=person(1), measure="survey", value=value, scale=scale)


@pytest.mark.parametrize(
    ("value", "scale"),
    [(55, "1-7"), (0.9, "1-7"), (7.01, "1 - 7"), (101, "0\u2013100"), (-4, "-3-3"), (-3.5, "-3--1"), (10, "0.5-9.5")],
)
def test_an_answer_outside_its_own_scale_is_refused_in_clear_words(value: float, scale: str) -> None:
    event, _ = schema.parse(answer(value, scale))
    assert isinstance(event, Refusal)
    assert event.code is Code.BAD_FORMAT
    assert "outside its own scale" in event.words
    assert str(value) not in event.words


@pytest.mark.parametrize(
    ("value", "scale"),
    [(1, "1-7"), (7, "1-7"), (6.5, "1 - 7"), (-3, "-3-3"), (-2, "-3--1"), (9.5, "0.5-9.5"), (1e12, None)]
    + [(55, scale) for scale in (None, "", "7-1", "2026-03", "points", "1-7-9", "a-b", "1-", "-7")],
)
def test_an_answer_on_its_scale_or_without_bounds_is_taken(value: float, scale: str | None) -> None:
    assert isinstance(schema.parse(answer(value, scale or None))[0], Outcome)


@pytest.mark.parametrize("value", [1.1e12, -1e160, 1e300])
def test_an_answer_beyond_any_scale_is_refused(value: float) -> None:
    event, _ = schema.parse(answer(value, None))
    assert isinstance(event, Refusal)
    assert event.code is Code.BAD_FORMAT
    assert code(answer(1, None).replace(b'"value":1', b'"value":1e400')) is Code.BAD_JSON


@pytest.mark.parametrize("key", sorted(schema.FORBIDDEN))
def test_content_is_refused_at_any_depth_and_in_any_case(key: str) -> None:
    deep: object = {key.upper(): "x"}
    for _ in range(50):
        deep = [{"a": deep}]
    assert (
        code(changed(**{key: "x"})) is code(with_data(**{key: 1})) is code(changed(ext=deep)) is Code.FORBIDDEN_CONTENT
    )


def test_a_forbidden_key_behind_an_escape_is_still_seen() -> None:
    assert code(b'{"te\\u0078t": 1}') is Code.FORBIDDEN_CONTENT


def test_unknown_keys_are_ignored_and_counted() -> None:
    event, unknown = schema.parse(
        changed(traceparent="00-1", data={"actor": person(1), "targets": [person(2)], "x": 1})
    )
    assert isinstance(event, Interaction)
    assert unknown == 2


def test_a_refusal_never_quotes_a_value() -> None:
    for payload in (with_data(actor="anna"), with_data(scope="anna"), changed(id="anna\x00"), changed(type="anna")):
        event, _ = schema.parse(payload)
        assert isinstance(event, Refusal)
        assert "anna" not in event.words


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (make.other("roster.left", "a", person=person(1)), RosterChange),
        (make.other("roster.joined", "a", person=person(1), team="red", manager=person(2)), RosterChange),
        (make.other("source.heartbeat", "a"), Heartbeat),
        (make.other("outcome.recorded", "a", person=person(1), measure="survey", value=3), Outcome),
        (make.retraction("a", of="b"), Retraction),
        (make.other("privacy.exclude", "a", person=person(1)), PrivacyRequest),
        (make.other("privacy.erase", "a", person=person(1)), PrivacyRequest),
    ],
)
def test_every_kind_of_event_is_read(payload: bytes, kind: type[Event]) -> None:
    event, unknown = schema.parse(payload)
    assert isinstance(event, kind)
    assert unknown == 0


def test_a_retraction_points_at_the_key_of_what_it_withdraws() -> None:
    event, _ = schema.parse(make.event("b"))
    retraction, _ = schema.parse(make.retraction("a", of="b"))
    assert isinstance(event, Interaction)
    assert isinstance(retraction, Retraction)
    assert retraction.target_key == event.key


@pytest.mark.parametrize(
    "payload",
    [
        with_data(targets="bob@corp.example"),
        make.event("a", actor="anna@corp.example", kind="interaction.fax"),
        msgspec.json.encode(msgspec.json.decode(make.event("a", actor="anna")) | {"time": "bad"}),
        msgspec.json.encode(msgspec.json.decode(make.event("a", actor="anna")) | {"dataschema": "other"}),
    ],
)
def test_a_raw_identifier_is_seen_behind_any_other_fault(payload: bytes) -> None:
    assert code(payload) is Code.RAW_IDENTIFIER


class TestIdentity:
    def test_source_and_id_make_the_key_and_nothing_else_does(self) -> None:
        one, same = make.event("a"), make.event("a", actor=person(9), time=NOW)
        other, elsewhere = make.event("b"), make.event("a", source="/test/mail")
        keys = [schema.parse(p)[0].key for p in (one, same, other, elsewhere)]  # type: ignore[union-attr]
        assert keys[0] == keys[1]
        assert len({*keys}) == 3

    def test_key_parts_do_not_run_into_each_other(self) -> None:
        assert schema.event_key("/a", "b") != schema.event_key("/ab", "")

    def test_order_of_targets_and_unknown_keys_do_not_change_the_content(self) -> None:
        one = with_data(targets=[person(2), person(3)])
        other = with_data(targets=[person(3), person(2), person(3)], harmless=1)
        assert schema.parse(one)[0].digest == schema.parse(other)[0].digest  # type: ignore[union-attr]

    @pytest.mark.parametrize("change", [{"targets": [person(3)]}, {"scope": "group"}, {"response_s": 4}])
    def test_other_content_has_another_digest(self, change: dict[str, object]) -> None:
        assert schema.parse(with_data())[0].digest != schema.parse(with_data(**change))[0].digest  # type: ignore[union-attr]


class TestGate:
    def gate(self, payload: bytes, horizon: timedelta | None = HORIZON) -> Code | None:
        event, _ = schema.parse(payload)
        assert isinstance(event, Event)
        refusal = schema.gate(event, NOW_MS, horizon)
        return refusal.code if refusal else None

    def test_five_minutes_ahead_is_the_limit(self) -> None:
        assert self.gate(make.event("a", time=NOW + timedelta(minutes=5))) is None
        assert self.gate(make.event("a", time=NOW + timedelta(minutes=5, milliseconds=1))) is Code.FROM_FUTURE

    def test_the_horizon_is_the_limit_of_the_past(self) -> None:
        assert self.gate(make.event("a", time=NOW - HORIZON)) is None
        assert self.gate(make.event("a", time=NOW - HORIZON - timedelta(milliseconds=1))) is Code.TOO_LATE
        assert self.gate(make.event("a", time=NOW - HORIZON * 100), horizon=None) is None

    def test_what_is_not_counted_may_be_old(self) -> None:
        old = NOW - timedelta(days=4000)
        assert self.gate(make.other("roster.joined", "a", time=old, person=person(1), team="red")) is None
        assert self.gate(make.retraction("a", of="b", time=old)) is Code.TOO_LATE


class TestExclusion:
    def without(self, payload: bytes, *people: str) -> Event | Refusal:
        event, _ = schema.parse(payload)
        assert isinstance(event, Event)
        return schema.without(event, frozenset(people))

    def test_an_excluded_target_is_taken_out_and_the_weight_stays_shared(self) -> None:
        event = self.without(make.event("a", targets=[person(2), person(3)]), person(3))
        assert isinstance(event, Interaction)
        assert (event.targets, event.target_count) == ((person(2),), 2)

    @pytest.mark.parametrize("who", [1, 2])
    def test_nothing_is_left_without_the_actor_or_the_last_target(self, who: int) -> None:
        refusal = self.without(make.event("a"), person(who))
        assert isinstance(refusal, Refusal)
        assert refusal.code is Code.EXCLUDED_PERSON

    def test_an_excluded_manager_is_taken_out_of_a_roster_change(self) -> None:
        change = self.without(
            make.other("roster.joined", "a", person=person(1), team="x", manager=person(2)), person(2)
        )
        assert isinstance(change, RosterChange)
        assert change.manager is None


@given(st.binary(max_size=300))
def test_no_bytes_make_the_parser_raise(payload: bytes) -> None:
    event, unknown = schema.parse(payload)
    assert isinstance(event, (Event, Refusal))
    assert unknown >= 0


@settings(max_examples=25)
@given(st.integers(0, 10**9))
def test_no_mutation_makes_the_parser_raise_or_lets_a_raw_identifier_through(seed: int) -> None:
    source = hostile.Hostile(seed)
    for _ in range(40):
        _, fields = source.next()
        event, _ = schema.parse(fields.get(schema.FIELD, b""))
        if isinstance(event, Interaction):
            assert all(p[:2] in ("p_", "x_") and "@" not in p for p in (event.actor, *event.targets))


def test_the_json_schema_accepts_nothing_that_names_content_and_lists_every_type() -> None:
    document = schema.json_schema()
    kinds = {k for variant in document["oneOf"] for k in variant["properties"]["type"]["enum"]}
    assert kinds == set(schema.DATA_OF)
    assert set(document["propertyNames"]["not"]["enum"]) == schema.FORBIDDEN


def test_the_json_schema_is_one_and_judges_as_the_parser_does() -> None:
    """By a validator that is not ours. The schema may be laxer (it cannot see the clock), never stricter."""
    document = schema.json_schema()
    Draft202012Validator.check_schema(document)
    judge = Draft202012Validator(document)
    source, refused = hostile.Hostile(7), 0
    for _ in range(2_000):
        payload = source.next()[1].get(schema.FIELD, b"")
        event, _ = schema.parse(payload)
        try:
            value = json.loads(payload)
        except (ValueError, RecursionError):
            continue
        if not judge.is_valid(value):
            refused += 1
            assert isinstance(event, Refusal), payload
    assert refused > 300
