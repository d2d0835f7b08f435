"""Interactions as columns, small organisations to count, and an in-memory `Weeks` that behaves as the real one does."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import numpy as np

from pipelines.model import Interaction, Medium, RosterChange, RosterKind, Scope
from pipelines.person_weeks import (
    EVERYBODY,
    MEDIA,
    NO_OFFSET,
    NO_RESPONSE,
    SCOPES,
    Acts,
    ArchiveSpan,
    Mark,
    Shard,
    WeekRows,
    WeekState,
)
from tests.support.make import outsider, person

MONDAY = date(2026, 3, 30)  # the week after Europe changed its clocks; the night before the Monday has 23 hours
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata")


def ms(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def at(week: date, day: float = 0, hour: float = 0) -> datetime:
    """A time of a week, by its day (0 is Monday) and hour in UTC."""
    return datetime(week.year, week.month, week.day, tzinfo=UTC) + timedelta(days=day, hours=hour)


def act(
    time: datetime,
    actor: int = 1,
    targets: Iterable[int | str] = (2,),
    medium: Medium = Medium.MESSAGE,
    key: str = "",
    **rest: object,
) -> Interaction:
    """An interaction between people by number; targets may be pseudonyms."""
    names = tuple(sorted(person(t) if isinstance(t, int) else t for t in targets))
    fields: dict[str, object] = {"target_count": len(names)} | rest
    key = key or f"{ms(time)}-{actor}-{names}-{medium}"
    return Interaction(key, 1, "/test", ms(time), medium, person(actor), names, **fields)  # type: ignore[arg-type]


def meet(
    time: datetime, hours: float, actor: int = 1, targets: Iterable[int | str] = (2,), **rest: object
) -> Interaction:
    rest = {"scope": Scope.GROUP, "medium": Medium.MEETING, "duration_s": round(hours * 3600)} | rest
    return act(time, actor, targets, **rest)  # type: ignore[arg-type]


def change(
    who: int, at: datetime, team: str | None = None, tz: str | None = None, kind: RosterKind = RosterKind.JOINED
) -> RosterChange:
    return RosterChange(f"r{who}-{ms(at)}-{kind}", 1, "/hr", ms(at), kind, person(who), team, None, None, tz)


def acts_of(events: Sequence[Interaction]) -> Acts:
    """The columns of these interactions, as a store hands them out."""
    people = tuple(sorted({p for e in events for p in (e.actor, *e.targets)}))
    place = {p: i for i, p in enumerate(people)}
    targets = [(row, place[t]) for row, e in enumerate(events) for t in e.targets]
    return Acts(
        people=people,
        time_ms=np.array([e.time_ms for e in events], dtype=np.int64),
        medium=np.array([MEDIA.index(e.medium) for e in events], dtype=np.int8),
        scope=np.array([SCOPES.index(e.scope) for e in events], dtype=np.int8),
        actor=np.array([place[e.actor] for e in events], dtype=np.int32),
        target_count=np.array([e.target_count for e in events], dtype=np.int16),
        duration_s=np.array([e.duration_s for e in events], dtype=np.int32),
        response_s=np.array([NO_RESPONSE if e.response_s is None else e.response_s for e in events], dtype=np.int32),
        offset_min=np.array(
            [NO_OFFSET if e.tz_offset_min is None else e.tz_offset_min for e in events], dtype=np.int16
        ),
        target_row=np.array([row for row, _ in targets], dtype=np.int64),
        target=np.array([target for _, target in targets], dtype=np.int32),
    )


def organisation(
    rng: random.Random, week: date, people: int = 8, acts: int = 120
) -> tuple[list[Interaction], list[RosterChange]]:
    """Around a week: three zones and none, movers, leavers, overlapping meetings and some that span midnight."""
    return [_any_act(rng, week, people, i) for i in range(acts)], _any_roster(rng, week, people)


def _any_act(rng: random.Random, week: date, people: int, number: int) -> Interaction:
    medium = rng.choice([*Medium, Medium.MESSAGE, Medium.EMAIL, Medium.MEETING])
    meets = medium in (Medium.MEETING, Medium.CALL, Medium.CONTACT)
    actor, *others = rng.sample(range(people), min(people, rng.choice([2, 2, 3, 5])))
    targets: list[int | str] = [*others, *([outsider(rng.randrange(3))] if rng.random() < 0.2 else [])]
    minute = rng.choice([rng.randrange(-4 * 1440, 8 * 1440), 30 * rng.randrange(-4 * 48, 8 * 48)])
    return act(
        at(week) + timedelta(minutes=minute),
        actor,
        targets,
        medium,
        key=f"k{number}",
        target_count=len(targets) + (rng.random() < 0.1),
        scope=rng.choice(list(Scope)),
        duration_s=rng.choice([0, 1800, 3600, 5400, 30_000, 86_400]) if meets else 0,
        response_s=rng.choice([None, rng.randrange(90_000)]),
        tz_offset_min=rng.choice([None, None, None, 120, -240]) if actor < people // 2 else None,
    )


def _any_roster(rng: random.Random, week: date, people: int) -> list[RosterChange]:
    changes = []
    for who in range(people):
        if rng.random() < 0.2:
            continue  # acts, but nobody told us who this is
        zone = rng.choice([*ZONES, None])
        changes.append(change(who, at(week, rng.choice([-40, -40, -40, 2.5])), f"t{who % 3}", zone))
        if rng.random() < 0.3:
            moved = rng.choice([None, *ZONES])
            changes.append(change(who, at(week, rng.uniform(-8, 8)), "t9", moved, RosterKind.MOVED))
        if rng.random() < 0.3:
            changes.append(change(who, at(week, rng.uniform(-8, 8)), kind=RosterKind.LEFT))
        if rng.random() < 0.1:
            changes.append(change(who, at(week, 3.3), "back", None))
    return changes


@dataclass
class WeekWorld:
    """What an archive and its weeks hold."""

    events: list[Interaction] = field(default_factory=list)
    changes: list[RosterChange] = field(default_factory=list)
    excluded: set[str] = field(default_factory=set)
    stale: dict[date, datetime] = field(default_factory=dict)
    states: dict[date, WeekState] = field(default_factory=dict)
    weeks: dict[date, WeekRows] = field(default_factory=dict)
    retired: bool = False
    reads: int = 0


class FakeWeeks:
    """`ports.Weeks`, and as much of `ports.Archive` as a refresh asks for."""

    def __init__(self, world: WeekWorld) -> None:
        self.world = world

    def roster(self) -> list[RosterChange]:
        return self.world.changes

    def excluded(self) -> frozenset[str]:
        return frozenset(self.world.excluded)

    def span(self) -> ArchiveSpan | None:
        times = [e.time_ms for e in self.world.events]
        return ArchiveSpan(_time(min(times)), _time(max(times)), self.world.retired) if times else None

    def states(self) -> list[WeekState]:
        return list(self.world.states.values())

    def marks(self) -> list[Mark]:
        return [Mark(*item) for item in self.world.stale.items()]

    def forget(self, marks: Sequence[Mark]) -> None:
        for mark in marks:
            if self.world.stale.get(mark.week) == mark.at:
                del self.world.stale[mark.week]

    def count(self, start: datetime, end: datetime) -> int:
        return len(self._between(start, end, EVERYBODY))

    def acts(self, start: datetime, end: datetime, shard: Shard = EVERYBODY) -> Iterator[Acts]:
        self.world.reads += 1
        found = self._between(start, end, shard)
        for first in range(0, len(found), 7):
            yield acts_of(found[first : first + 7])

    def _between(self, start: datetime, end: datetime, shard: Shard) -> list[Interaction]:
        inside = [e for e in self.world.events if ms(start) <= e.time_ms < ms(end)]
        return [e for e in inside if any(shard.has(p) for p in (e.actor, *e.targets))]

    def rows(self, first: date, end: date) -> list[WeekRows]:
        return [rows for week, rows in sorted(self.world.weeks.items()) if first <= week < end and len(rows)]

    def replace(self, rows: WeekRows, state: WeekState, strains_after: int, settled: Sequence[Mark] = ()) -> bool:
        if not self._claim(state.week, state.revision):
            return False
        world = self.world
        world.states[state.week] = replace(state, revision=state.revision + 1, strain_due=False)
        world.weeks[state.week] = kept(rows, [p not in world.excluded for p in rows.people])
        for week, other in world.states.items():
            if state.week < week <= state.week + timedelta(weeks=strains_after):
                world.states[week] = replace(other, strain_due=True)
        self.forget(settled)
        return True

    def set_strain(self, rows: WeekRows, revision: int) -> bool:
        if not self._claim(rows.week, revision):
            return False
        self.world.weeks[rows.week] = rows
        state = self.world.states[rows.week]
        self.world.states[rows.week] = replace(state, revision=revision + 1, strain_due=False)
        return True

    def _claim(self, week: date, revision: int) -> bool:
        known = self.world.states.get(week)
        return (known.revision if known else 0) == revision


def kept(rows: WeekRows, which: Sequence[bool]) -> WeekRows:
    """Some of the rows of a week."""
    places = np.flatnonzero(which)
    return replace(
        rows,
        people=tuple(rows.people[i] for i in places),
        teams=tuple(rows.teams[i] for i in places),
        values={name: values[places] for name, values in rows.values.items()},
        strain=rows.strain[places],
        parts={name: values[places] for name, values in rows.parts.items()},
    )


def _time(time_ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)


def as_table(rows: WeekRows) -> dict[str, tuple[object, ...]]:
    """Person -> team, columns, strain and its parts by name; NaN as None, so that rows can be compared."""
    columns = [v.tolist() for v in (*rows.values.values(), rows.strain)]
    parts = [v.tolist() for _, v in sorted(rows.parts.items())]
    table = {}
    for number, (person_, team) in enumerate(zip(rows.people, rows.teams, strict=True)):
        cells = [column[number] for column in columns]
        own = [column[number] for column in parts if cells[-1] == cells[-1]]
        table[person_] = (team, *(None if c != c else c for c in cells), tuple(own))
    return table
