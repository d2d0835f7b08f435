"""The only parser of events: bytes in, a frozen event or a refusal out. Pure; the contract is `docs/data.md`.

A payload is decoded once with msgspec, walked once for keys that must never be stored, and converted to a typed
envelope. The walk needs plain objects, and msgspec converts these where pydantic would build models first
(`benchmarks/validate.py` has both); pydantic stays at the settings edge, where its messages matter more than its speed.
"""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
import zoneinfo
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Annotated, Any

import msgspec

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
    RosterKind,
    Scope,
)
from pipelines.privacy.traces import check_text

SPECVERSION = "1.0"
DATASCHEMA = "causal-organism/interaction/1"
FIELD = b"event"
MAX_BYTES = 32_768
MAX_TARGETS = 200
FUTURE_MS = 5 * 60_000
MOST_VALUE = 1e12
TIMED = frozenset({Medium.MEETING, Medium.CALL, Medium.CONTACT})
FORBIDDEN = frozenset([
    "text", "body", "subject", "title", "content", "summary", "snippet", "sentiment", "emotion", "mood", "name", "email",
    "phone", "ip", "url", "file", "attachment", "location",
])  # fmt: skip

# `$(?!\n)`: Python's `$` also matches before a final newline, which would let "p_...\n" through (msgspec searches).
Person = Annotated[str, msgspec.Meta(pattern=r"^p_[0-9a-f]{16,40}$(?!\n)")]
Anyone = Annotated[str, msgspec.Meta(pattern=r"^[px]_[0-9a-f]{16,40}$(?!\n)")]
#: No control characters: NUL cannot be stored by PostgreSQL, and a newline would forge a log line.
Id = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,64}$(?!\n)", min_length=1, max_length=64)]
#: RFC 3986 characters less `@`: a source such as /mail/anna@corp would carry a person into every table.
Source = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._~:/?#\[\]!$&'()*+,;=%-]{1,255}$(?!\n)", min_length=1)]
Label = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f@]{1,64}$(?!\n)", min_length=1, max_length=64)]
#: A team's name is shown, and "A|B" is a pair of teams. No marks that turn a line around.
Team = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[^\x00-\x1f\x7f-\x9f@|\u2028-\u202e\u2066-\u2069]{1,64}$(?!\n)", min_length=1, max_length=64
    ),
]
Time = Annotated[datetime, msgspec.Meta(tz=True)]


class InteractionData(msgspec.Struct):
    actor: Person
    targets: list[Anyone]
    scope: Scope = Scope.DIRECT
    duration_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] | None = None
    response_s: Annotated[float, msgspec.Meta(ge=0, le=2_592_000)] | None = None
    tz_offset_min: Annotated[int, msgspec.Meta(ge=-720, le=840)] | None = None


class RosterData(msgspec.Struct):
    person: Person
    team: Team | None = None
    role_class: Label | None = None
    manager: Person | None = None
    tz: Label | None = None


class HeartbeatData(msgspec.Struct):
    pass


class OutcomeData(msgspec.Struct):
    person: Person
    measure: Label
    value: float
    scale: Label | None = None
    period: Label | None = None


class RetractionData(msgspec.Struct):
    source: Source
    id: Id


class PrivacyData(msgspec.Struct):
    person: Person


Data = InteractionData | RosterData | HeartbeatData | OutcomeData | RetractionData | PrivacyData


class Envelope(msgspec.Struct):
    """CloudEvents 1.0 attributes that every event carries."""

    id: Id
    source: Source
    time: Time


DATA_OF: Mapping[str, type[msgspec.Struct]] = {
    **{f"interaction.{medium}": InteractionData for medium in Medium},
    **{f"roster.{kind}": RosterData for kind in RosterKind},
    "source.heartbeat": HeartbeatData,
    "outcome.recorded": OutcomeData,
    "interaction.retracted": RetractionData,
    "privacy.exclude": PrivacyData,
    "privacy.erase": PrivacyData,
}
_TYPES: list[type[msgspec.Struct]] = [Envelope, *DATA_OF.values()]
_KNOWN = frozenset({"specversion", "dataschema", "type", "data", "datacontenttype"}).union(
    *({f.encode_name for f in msgspec.structs.fields(data)} for data in _TYPES)
)
_PEOPLE = ("actor", "targets", "person", "manager")
_PSEUDONYM = re.compile(r"[px]_[0-9a-f]{16,40}")
_PATH = re.compile(r"`\$\.?([a-z_]*)")
#: "1-7", "0-100", "-3-3" or "0.5 - 9.5" bound a value; any other scale is a label and bounds nothing.
_SCALE = re.compile(r"\s*([+-]?[0-9]+(?:\.[0-9]+)?)\s*[-\u2013]\s*([+-]?[0-9]+(?:\.[0-9]+)?)\s*")
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(order="deterministic").encode


# ------------------------------------------------------------------------------------------------ parsing


def parse(payload: bytes) -> tuple[Event | Refusal, int]:
    """One event, or the first reason to refuse it, and how many unknown keys were ignored.

    Never raises, whatever the bytes are. Time limits and the exclusion list are `gate` and `without`.
    """
    if len(payload) > MAX_BYTES:
        return Refusal(Code.BAD_JSON, f"{len(payload)} bytes; an event has at most {MAX_BYTES}"), 0
    try:
        raw = _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _not_json(payload), 0
    if not isinstance(raw, dict):
        return Refusal(Code.BAD_JSON, f"a JSON {type(raw).__name__}; expected one object"), 0
    forbidden, unknown = _survey(raw)
    if forbidden:
        return Refusal(Code.FORBIDDEN_CONTENT, f"carries the key '{forbidden}'; content is never accepted"), unknown
    verdict = _event(raw)
    if isinstance(verdict, Refusal) and verdict.code is not Code.RAW_IDENTIFIER and _names_somebody(raw, payload):
        return Refusal(
            Code.RAW_IDENTIFIER, f"names a person by a raw identifier, and besides: {verdict.words}"
        ), unknown
    return verdict, unknown


def _not_json(payload: bytes) -> Refusal:
    try:
        payload.decode("utf-8")
    except UnicodeDecodeError as error:
        return Refusal(Code.BAD_ENCODING, f"not UTF-8 at byte {error.start}")
    return Refusal(Code.BAD_JSON, "not one JSON object")


def _survey(raw: Any) -> tuple[str | None, int]:
    """The first key, at any depth, that must never be stored; and how many keys we do not know.

    Iterative: a hostile payload may be nested more deeply than Python recurses. Types are exact, because the decoder made
    them; `type is` costs a third of `isinstance` in the hottest loop of the parser.
    """
    unknown, stack = 0, [raw]
    while stack:
        item = stack.pop()
        if type(item) is list:
            stack.extend(inner for inner in item if type(inner) is dict or type(inner) is list)
            continue
        for key, value in item.items():
            if key not in _KNOWN:
                if (lowered := key.lower()) in FORBIDDEN:
                    return lowered, unknown
                unknown += 1
            if type(value) is dict or type(value) is list:
                stack.append(value)
    return None, unknown


def _names_somebody(raw: dict[str, Any], payload: bytes) -> bool:
    """Whether a refused event holds what may be a raw identifier: then its payload must not be kept either."""
    data = raw.get("data")
    people = [data[key] for key in _PEOPLE if key in data] if isinstance(data, dict) else []
    flat = [p for value in people for p in (value if isinstance(value, list) else [value])]
    return b"@" in payload or any(isinstance(p, str) and not _PSEUDONYM.fullmatch(p) for p in flat)


def _event(raw: dict[str, Any]) -> Event | Refusal:
    if raw.get("specversion") != SPECVERSION or raw.get("dataschema") != DATASCHEMA:
        return Refusal(Code.UNKNOWN_VERSION, f"expected specversion {SPECVERSION} and dataschema {DATASCHEMA}")
    if "type" not in raw:
        return Refusal(Code.MISSING_FIELD, "type is missing")
    kind = raw["type"]
    if not isinstance(kind, str) or kind not in DATA_OF:
        return Refusal(Code.UNKNOWN_TYPE, "type is none of the contract's; see docs/data.md")
    try:
        envelope = msgspec.convert(raw, Envelope)
        data = msgspec.convert(raw.get("data", {}), DATA_OF[kind])
    except msgspec.ValidationError as error:
        return _refusal(str(error))
    except OverflowError:
        return Refusal(Code.BAD_FORMAT, "time is outside the calendar")
    return _build(kind, envelope, data)


def _refusal(message: str) -> Refusal:
    """msgspec's message as a refusal. It names the path and the rule and never quotes a value."""
    if "missing required field" in message:
        return Refusal(Code.MISSING_FIELD, message)
    path = _PATH.search(message)
    at = path.group(1) if path else ""
    if at in _PEOPLE and "`array`" not in message:
        return Refusal(Code.RAW_IDENTIFIER, f"{at} is not a pseudonym (p_ or x_ and 16-40 hex digits)")
    if at == "duration_s":
        return Refusal(Code.BAD_DURATION, "duration_s must be a number from 0 to 86400")
    if "matching regex" in message or "enum value" in message:  # msgspec would quote the rule, or worse the value
        return Refusal(Code.BAD_FORMAT, f"{at} has not the form, or is none of the values, of docs/data.md")
    return Refusal(Code.BAD_FORMAT, message)


def _build(kind: str, envelope: Envelope, data: Any) -> Event | Refusal:
    time_ms = (envelope.time - _EPOCH) // _MS
    if time_ms < 0:
        return Refusal(Code.BAD_FORMAT, "time is before 1970: a broken clock")
    head = (event_key(envelope.source, envelope.id), _digest(kind, time_ms, data), envelope.source, time_ms)
    match data:
        case InteractionData():
            return _interaction(head, Medium(kind.removeprefix("interaction.")), data)
        case RosterData():
            return _roster(head, RosterKind(kind.removeprefix("roster.")), data)
        case OutcomeData():
            return _outcome(head, data)
        case RetractionData():
            return Retraction(*head, event_key(data.source, data.id))
        case PrivacyData():
            return PrivacyRequest(*head, data.person, kind == "privacy.erase")
        case _:
            return Heartbeat(*head)


def _interaction(head: tuple[str, int, str, int], medium: Medium, data: InteractionData) -> Interaction | Refusal:
    targets = tuple(sorted(set(data.targets) - {data.actor}))
    if not targets:
        return Refusal(Code.SELF_ONLY, "no target other than the actor")
    if len(targets) > MAX_TARGETS:
        return Refusal(Code.TOO_MANY_TARGETS, f"{len(targets)} targets; at most {MAX_TARGETS}")
    if medium in TIMED and data.duration_s is None:
        return Refusal(Code.BAD_DURATION, f"a {medium} needs duration_s")
    duration = round(data.duration_s or 0)
    response = None if data.response_s is None else round(data.response_s)
    return Interaction(
        *head, medium, data.actor, targets, len(targets), data.scope, duration, response, data.tz_offset_min
    )


def _roster(head: tuple[str, int, str, int], kind: RosterKind, data: RosterData) -> RosterChange | Refusal:
    if data.tz is not None and data.tz not in _zones():
        return Refusal(Code.BAD_FORMAT, "tz is not an IANA time zone such as Europe/Berlin")
    if data.team is not None and check_text(unicodedata.normalize("NFKC", data.team)):
        return Refusal(Code.RAW_IDENTIFIER, "team reads as a pseudonym or an e-mail address, perhaps encoded")
    if kind is not RosterKind.LEFT and data.team is None:
        return Refusal(Code.MISSING_FIELD, f"roster.{kind} needs team")
    return RosterChange(*head, kind, data.person, data.team, data.role_class, data.manager, data.tz)


def _outcome(head: tuple[str, int, str, int], data: OutcomeData) -> Outcome | Refusal:
    """A mistyped answer is refused here: further on it would be one of thousands, and could still decide an estimate."""
    if abs(data.value) > MOST_VALUE:
        return Refusal(Code.BAD_FORMAT, f"value is beyond {MOST_VALUE:.0e}: no survey or count is as large")
    bounds = _SCALE.fullmatch(data.scale or "")
    low, high = map(float, bounds.groups()) if bounds else (0.0, 0.0)
    if low < high and not low <= data.value <= high:
        return Refusal(
            Code.BAD_FORMAT, "value lies outside its own scale: a mistyped answer, or another scale than it says"
        )
    return Outcome(*head, data.person, data.measure, data.value, data.scale, data.period)


@cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def event_key(source: str, id_: str) -> str:
    """Identity of an event: 96 bits of a hash of (source, id), so that the stores hold no producer's id.

    96 bits: a collision among 10^10 events has probability 6e-10.
    """
    return base64.urlsafe_b64encode(hashlib.blake2b(f"{source}\0{id_}".encode(), digest_size=12).digest()).decode()


def _digest(kind: str, time_ms: int, data: Any) -> int:
    """63 bits of a hash of the content as we understand it; unknown keys and the order of targets do not matter."""
    if isinstance(data, InteractionData):
        data.targets = sorted(set(data.targets))
    content = _encode((kind, time_ms, data))
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest()) >> 1


# ------------------------------------------------------------------------------------------------ time and privacy


def gate(event: Event, now_ms: int, horizon: timedelta | None, floor_ms: int = 0) -> Refusal | None:
    """Whether the event's own time lets it in.

    Only what is counted has to be inside the horizon: roster, outcomes, heartbeats and privacy requests are upserts, so
    that a second application changes nothing and their keys need not be remembered. `floor_ms` stays when the horizon is
    made longer: what was forgotten is not remembered again by that.
    """
    if event.time_ms > now_ms + FUTURE_MS:
        return Refusal(Code.FROM_FUTURE, "time is more than 5 minutes ahead of our clock")
    if not isinstance(event, (Interaction, Retraction)):
        return None
    if horizon is not None and event.time_ms < now_ms - horizon // _MS:
        return Refusal(Code.TOO_LATE, f"time is more than {horizon.days} days ago; a person decides (dlq --late)")
    if event.time_ms < floor_ms:
        return Refusal(Code.TOO_LATE, "keys of that time were forgotten under a shorter horizon (dlq --late)")
    return None


def without(event: Event, excluded: frozenset[str]) -> Event | Refusal:
    """The event without excluded people: as it is, with fewer targets, or refused when nobody is left."""
    match event:
        case Interaction(actor=actor, targets=targets) if excluded and not excluded.isdisjoint((actor, *targets)):
            left = tuple(t for t in targets if t not in excluded)
            if actor in excluded or not left:
                return Refusal(Code.EXCLUDED_PERSON, "names a person on the exclusion list")
            return replace(event, targets=left)
        case RosterChange(person=person) | Outcome(person=person) if person in excluded:
            return Refusal(Code.EXCLUDED_PERSON, "names a person on the exclusion list")
        case RosterChange(manager=manager) if manager in excluded:
            return replace(event, manager=None)
    return event


# ------------------------------------------------------------------------------------------------ writing


def encode(kind: str, source: str, id_: str, time: datetime, data: Mapping[str, object]) -> bytes:
    """One event as the bytes that a producer sends; keys in a fixed order, so that a re-send is the same bytes."""
    envelope = {
        "specversion": SPECVERSION,
        "dataschema": DATASCHEMA,
        "id": id_,
        "source": source,
        "type": kind,
        "time": time,
        "data": data,
    }
    return msgspec.json.encode(envelope)


def json_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of every event type, generated from the types above."""
    datas = sorted({*DATA_OF.values()}, key=lambda s: s.__name__)
    (envelope, *_), components = msgspec.json.schema_components([Envelope, *datas], ref_template="#/$defs/{name}")
    kinds = {s.__name__: sorted(k for k, v in DATA_OF.items() if v is s) for s in datas}
    variants = [
        {"properties": {"type": {"enum": kinds[name]}, "data": {"$ref": f"#/$defs/{name}"}}} for name in sorted(kinds)
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": DATASCHEMA,
        "title": "Interaction event, version 1",
        "allOf": [envelope],
        "required": ["specversion", "dataschema", "type"],
        "properties": {"specversion": {"const": SPECVERSION}, "dataschema": {"const": DATASCHEMA}},
        "oneOf": variants,
        "propertyNames": {"not": {"enum": sorted(FORBIDDEN)}},
        "$defs": components,
    }
