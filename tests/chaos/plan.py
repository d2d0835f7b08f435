"""What is sent, and what must come of it: made from a seed, and without the code that is under test.

The oracle counts from these facts alone. It shares with the pipeline the envelope (`schema.encode`) and the name of an
event (`schema.event_key`), nothing that parses, weighs or adds up.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pipelines.events import schema
from pipelines.model import Code

#: Everybody speaks with few others, as in life: each tie is counted often, and nobody has thousands of them.
PEOPLE, NEIGHBOURS, OUTSIDERS, TEAMS = 400, 15, 10, 12
TWICE, POISON, ROSTER, RETRACTED, PRIVACY, BROADCAST = 0.05, 0.01, 0.01, 0.005, 0.004, 0.02
#: Every time is this far from the horizon (30 days) and from the present: nothing is late, nothing from the future.
OLDEST, YOUNGEST = timedelta(days=20), timedelta(minutes=10)
SOURCE, HR = "/chaos/chat", "/chaos/hr"
_MS = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMED = ("meeting", "call", "contact")
_MEDIA = ("message", "message", "email", "meeting", "call", "doc", "review", "ticket", "contact")


@dataclass(frozen=True)
class Fact:
    """One interaction that was sent."""

    key: str
    medium: str
    scope: str
    actor: str
    targets: tuple[str, ...]
    seconds: int
    time_ms: int


@dataclass(frozen=True)
class Place:
    """One roster change that was sent."""

    key: str
    person: str
    team: str | None
    time_ms: int


@dataclass
class Plan:
    """`sends` is the order of sending; the rest is what the sends mean."""

    sends: list[bytes] = field(default_factory=list)
    interactions: dict[str, Fact] = field(default_factory=dict)
    roster: dict[str, Place] = field(default_factory=dict)
    retracted: set[str] = field(default_factory=set)
    excluded: set[str] = field(default_factory=set)
    poison: dict[bytes, Code] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    twice: int = 0

    @property
    def counting(self) -> list[Fact]:
        """The interactions that must be in the graph and in the archive."""
        return [fact for key, fact in self.interactions.items() if key not in self.retracted]


def make(count: int, seed: int, now: datetime, *, crashes_only: bool = False) -> Plan:
    """A plan of `count` valid events, and of what comes besides.

    Args:
        crashes_only: nothing is sent twice and nothing is withdrawn, so that all that goes wrong is the work of faults:
            for the control, which could not cope with the rest on the best of days.
    """
    return _Maker(random.Random(seed), now, crashes_only).make(count)


class _Maker:
    def __init__(self, chance: random.Random, now: datetime, crashes_only: bool) -> None:
        self._chance, self._crashes_only, self._plan = chance, crashes_only, Plan()
        self._now = now.replace(microsecond=0)
        self._at: list[tuple[float, int, bytes]] = []

    def make(self, count: int) -> Plan:
        for number in range(count):
            self._one(number, float(number), count)
        self._plan.sends = [payload for _, _, payload in sorted(self._at)]
        return self._plan

    def _one(self, number: int, at: float, count: int) -> None:
        kind, anywhere = self._chance.random(), self._chance.uniform(0, count)
        if kind < ROSTER:
            payload = self._roster(number)
        elif kind < ROSTER + PRIVACY and not self._crashes_only:
            payload = self._privacy(number)
        else:
            payload = self._interaction(number, count)
        self._send(at, payload)
        if self._chance.random() < TWICE and not self._crashes_only:
            self._plan.twice += 1
            self._send(anywhere, payload)
        if self._chance.random() < POISON:
            self._poison(number)

    def _send(self, at: float, payload: bytes) -> None:
        self._at.append((at, len(self._at), payload))

    def _time(self) -> datetime:
        return self._now - YOUNGEST - self._chance.randrange(OLDEST // _MS) * _MS

    def _person(self) -> str:
        return _pseudonym("p", self._chance.randrange(PEOPLE))

    def _key(self, source: str, id_: str) -> str:
        key = schema.event_key(source, id_)
        self._plan.keys.add(key)
        return key

    def _interaction(self, number: int, count: int) -> bytes:
        medium, time, id_ = self._chance.choice(_MEDIA), self._time(), f"e{number}"
        someone, scope = self._chance.randrange(PEOPLE), self._scope()
        actor, targets = _pseudonym("p", someone), self._targets(someone)
        data: dict[str, object] = {"actor": actor, "targets": targets, "scope": scope}
        seconds = self._chance.randrange(60, 7_200) if medium in _TIMED else 0
        if medium in _TIMED:
            data["duration_s"] = seconds
        key = self._key(SOURCE, id_)
        self._plan.interactions[key] = Fact(key, medium, scope, actor, tuple(targets), seconds, _ms(time))
        if self._chance.random() < RETRACTED and not self._crashes_only:
            self._retract(key, id_, count)
        return schema.encode(f"interaction.{medium}", SOURCE, id_, time, data)

    def _targets(self, someone: int) -> list[str]:
        near = self._chance.sample(range(1, NEIGHBOURS + 1), self._chance.choice((1, 1, 1, 2, 5)))
        some = [_pseudonym("p", (someone + steps) % PEOPLE) for steps in near]
        if self._chance.random() < 0.03:
            some.append(_pseudonym("x", self._chance.randrange(OUTSIDERS)))
        return some

    def _scope(self) -> str:
        if self._chance.random() < BROADCAST:
            return "broadcast"
        return self._chance.choice(("direct", "group"))

    def _retract(self, key: str, id_: str, count: int) -> None:
        """Before the event or after it, and now and then by two different people."""
        self._plan.retracted.add(key)
        for copy in range(self._chance.choice((1, 1, 1, 2))):
            self._key(HR, f"w{copy}-{id_}")
            payload = schema.encode(
                "interaction.retracted", HR, f"w{copy}-{id_}", self._time(), {"source": SOURCE, "id": id_}
            )
            self._send(self._chance.uniform(0, count), payload)

    def _roster(self, number: int) -> bytes:
        id_, time, person = f"r{number}", self._time(), self._person()
        kind = self._chance.choice(("joined", "moved", "moved", "left"))
        team = None if kind == "left" else f"team-{self._chance.randrange(TEAMS)}"
        key = self._key(HR, id_)
        self._plan.roster[key] = Place(key, person, team, _ms(time))
        data = {"person": person} if team is None else {"person": person, "team": team}
        return schema.encode(f"roster.{kind}", HR, id_, time, data)

    def _privacy(self, number: int) -> bytes:
        """About people who appear nowhere else: whom it concerns would depend on the order of arrival."""
        person, kind = _pseudonym("p", 1_000_000 + number), self._chance.choice(("exclude", "erase"))
        self._plan.excluded.add(person)
        self._key(HR, f"x{number}")
        return schema.encode(f"privacy.{kind}", HR, f"x{number}", self._time(), {"person": person})

    def _poison(self, number: int) -> None:
        code = self._chance.choice(sorted(_SPOIL))
        payload = _SPOIL[code](f"bad{number}", self._now)
        self._plan.poison[payload] = code
        self._send(number + self._chance.random(), payload)


def _spoiled(id_: str, now: datetime, kind: str = "interaction.message", **changes: object) -> bytes:
    data = {"actor": _pseudonym("p", 1), "targets": [_pseudonym("p", 2)], **changes}
    return schema.encode(kind, SOURCE, id_, now, {name: value for name, value in data.items() if value is not None})


_SPOIL: Mapping[Code, Callable[[str, datetime], bytes]] = {
    Code.BAD_JSON: lambda id_, now: b"{not json " + id_.encode(),
    Code.BAD_ENCODING: lambda id_, now: b'{"id": "\xff\xfe' + id_.encode() + b'"}',
    Code.RAW_IDENTIFIER: lambda id_, now: _spoiled(id_, now, targets=["anna@example.org"]),
    Code.UNKNOWN_TYPE: lambda id_, now: _spoiled(id_, now, "interaction.telepathy"),
    Code.SELF_ONLY: lambda id_, now: _spoiled(id_, now, targets=[_pseudonym("p", 1)]),
    Code.FROM_FUTURE: lambda id_, now: _spoiled(id_, now + timedelta(days=3)),
    Code.MISSING_FIELD: lambda id_, now: _spoiled(id_, now, actor=None),
    Code.BAD_DURATION: lambda id_, now: _spoiled(id_, now, "interaction.call"),
    Code.FORBIDDEN_CONTENT: lambda id_, now: _spoiled(id_, now, body="hello"),
    Code.TOO_MANY_TARGETS: lambda id_, now: _spoiled(id_, now, targets=[_pseudonym("p", n) for n in range(2, 204)]),
    Code.UNKNOWN_VERSION: lambda id_, now: _spoiled(id_, now).replace(b"interaction/1", b"interaction/9"),
    Code.BAD_FORMAT: lambda id_, now: _spoiled(id_ + "\t", now),
}


def _pseudonym(prefix: str, number: int) -> str:
    return f"{prefix}_{number:032x}"


def _ms(time: datetime) -> int:
    return (time - _EPOCH) // _MS
