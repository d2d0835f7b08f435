"""Entries as a broken or hostile producer would send them: valid ones, mutated in every way that we could think of."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec

from pipelines.events.schema import FIELD, FORBIDDEN
from tests.support import make
from tests.support.make import person

Fields = dict[bytes, bytes]

_STRINGS = [
    "", " ", "\x00", "a\x00b", "\n", "p_1\n", "\u202e", "\u200d", "\ufeff", "\ue000", "\U0010ffff", "٣", "ｐ＿", "é" * 40,
    "x" * 65, "x" * 70_000, "x'}) DETACH DELETE n //", "'; DROP TABLE interactions; --", "${jndi:ldap://x}", "../../etc",
    "anna@example.com", "p_" + "g" * 32, "P_" + "a" * 32, "p_" + "a" * 41, person(1) + "\n", "NaN", "null",
]  # fmt: skip
_TIMES = [
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1969-12-31T23:59:59Z", "2026-03-02T11:00:00", "2026-02-30T00:00:00Z",
    "2026-03-02T11:00:60Z", "2026-03-02T11:00:00+25:00", "2026-03-02 11:00:00Z", "1772445600", "2016-01-01T00:00:00Z", "",
]  # fmt: skip
_NUMBERS: list[Any] = [-1, 0, 86_400, 86_401, 10**30, 1.5, -0.0, True, "12", None, [], {}]
_RAW = [
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"1e400",
    b"[" * 5_000,
    b'{"a":' * 3_000,
    b'"\\ud800"',
    b"\xff\xfe",
    b"{}",
    b"[]",
]
_RAW += [b"null", b"0", b"", b"\x00" * 10, b'"', b'{"specversion":"1.0"', b"\xf0\x28\x8c\x28", b" " * 40_000]


class Hostile:
    """A stream of entries from one seed. `next` gives the name of the mutation and the entry's fields."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._number = 0
        self._sent: list[Fields] = []
        self._ways: list[Callable[[], Fields]] = [
            self._valid, self._resent, self._reused, self._raw, self._cut, self._flipped, self._string, self._time,
            self._number_, self._missing, self._extra, self._targets, self._kind, self._fields, self._deep,
        ]  # fmt: skip

    def next(self) -> tuple[str, Fields]:
        self._number += 1
        way = self._rng.choice(self._ways)
        return way.__name__.strip("_"), way()

    def _event(self) -> dict[str, Any]:
        id_ = f"f{self._number}"
        a, b = person(self._rng.randrange(50)), person(50 + self._rng.randrange(50))
        made = self._rng.choice([
            make.event(id_, a, [b]),
            make.event(id_, a, [b, person(200)], kind="interaction.meeting", duration_s=1_800, tz_offset_min=60),
            make.event(id_, a, [b], kind="interaction.email", scope="group", response_s=5),
            make.other("roster.joined", id_, person=a, team="red", tz="Europe/Berlin", manager=b),
            make.other("source.heartbeat", id_),
            make.other("outcome.recorded", id_, person=a, measure="survey", value=3),
            make.other("privacy.exclude", id_, person=person(900 + self._rng.randrange(50))),
            make.retraction(id_, of=f"f{self._rng.randrange(self._number)}"),
        ])  # fmt: skip
        decoded: dict[str, Any] = msgspec.json.decode(made)
        return decoded

    @staticmethod
    def _one(event: Any) -> Fields:
        return {FIELD: msgspec.json.encode(event)}

    def _valid(self) -> Fields:
        fields = self._one(self._event())
        self._sent = [fields, *self._sent[:99]]
        return fields

    def _resent(self) -> Fields:
        """The very same bytes again."""
        return self._rng.choice(self._sent) if self._sent else self._valid()

    def _reused(self) -> Fields:
        """An id that came before, with other content."""
        event = self._event()
        event["id"] = f"f{self._rng.randrange(self._number)}"
        return self._one(event)

    def _raw(self) -> Fields:
        return {FIELD: self._rng.choice(_RAW)}

    def _cut(self) -> Fields:
        payload = self._valid()[FIELD]
        return {FIELD: payload[: self._rng.randrange(len(payload))]}

    def _flipped(self) -> Fields:
        payload = bytearray(self._valid()[FIELD])
        for _ in range(self._rng.randint(1, 4)):
            payload[self._rng.randrange(len(payload))] = self._rng.randrange(256)
        return {FIELD: bytes(payload)}

    def _place(self, event: dict[str, Any]) -> tuple[dict[str, Any], str]:
        inside = [event, event["data"]] if event["data"] else [event]
        where = self._rng.choice(inside)
        return where, self._rng.choice(sorted(where))

    def _string(self) -> Fields:
        event = self._event()
        where, key = self._place(event)
        where[key] = self._rng.choice(_STRINGS)
        return self._one(event)

    def _time(self) -> Fields:
        return self._one(self._event() | {"time": self._rng.choice(_TIMES)})

    def _number_(self) -> Fields:
        event = self._event()
        where, key = self._place(event)
        where[key] = self._rng.choice(_NUMBERS)
        return self._one(event)

    def _missing(self) -> Fields:
        event = self._event()
        where, key = self._place(event)
        del where[key]
        return self._one(event)

    def _extra(self) -> Fields:
        event = self._event()
        key = self._rng.choice([*sorted(FORBIDDEN), "Body", "TEXT", "harmless", "x" * 300, "\x00", "🜏"])
        self._rng.choice([event, event["data"]])[key] = self._rng.choice(_STRINGS)
        return self._one(event)

    def _targets(self) -> Fields:
        event = self._event()
        actor = event["data"].get("actor", person(1))
        event["data"]["targets"] = self._rng.choice([
            [], [actor], [actor, actor], [person(i) for i in range(201)], [person(i) for i in range(10_000)],
            [person(2)] * 300, [make.outsider(1)], ["x"], [None], person(2), {"a": 1},
        ])  # fmt: skip
        return self._one(event)

    def _kind(self) -> Fields:
        kinds = ["interaction.fax", "interaction.", "", "privacy.sell", "roster.joined", "interaction.call", 5, None]
        return self._one(self._event() | {"type": self._rng.choice(kinds)})

    def _fields(self) -> Fields:
        payload = self._valid()[FIELD]
        return self._rng.choice([
            {b"other": payload},
            {b"event": payload, b"more": b"\xff" * 50},
            {f"f{i}".encode(): b"v" for i in range(self._rng.choice([1, 200, 600]))},
            {b"code": b"FAKE", b"kept": b"no", b"replays": b"9"},
            {b"\xff\x00": b"", b"event": payload},
        ])  # fmt: skip

    def _deep(self) -> Fields:
        value: Any = self._rng.choice(_STRINGS)
        for _ in range(self._rng.randint(1, 60)):
            value = {"k": value} if self._rng.random() < 0.5 else [value]
        return self._one(self._event() | {"nested": value})
