"""Who was where as of a time: the roster's history as sorted arrays, to be asked for millions of times at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.evidence import Ints
from pipelines.model import RosterChange, RosterKind
from pipelines.person_weeks import Bools

_TIME_BITS = 43  # milliseconds until 2248; leaves room for a million people in 64 bits


@dataclass(frozen=True, slots=True, eq=False)
class Roster:
    """Changes sorted by person and time. A change that names no team or zone leaves the one before it.

    people: pseudonyms, ascending. key: person's place and time of each change in one number. team, zone: places in `teams`
    and `zones`, -1: not known. present: False once the person has left.
    """

    people: tuple[str, ...]
    teams: tuple[str, ...]
    zones: tuple[str, ...]
    key: Ints
    team: Ints
    zone: Ints
    present: Bools

    def as_of(self, person: Ints, time_ms: Ints) -> Ints:
        """The change that holds at each time for each person (place in `people`); -1 before the first."""
        if not self.key.size:
            return np.full(np.shape(person), -1, dtype=np.int64)
        wanted = _key(person, time_ms)
        found = np.searchsorted(self.key, wanted, side="right") - 1
        own = (found >= 0) & (person >= 0) & (self.key[np.maximum(found, 0)] >> _TIME_BITS == person)
        return np.where(own, found, -1)

    def first(self, person: Ints) -> Ints:
        """The first change of each person."""
        return np.searchsorted(self.key, _key(person, np.zeros_like(person)))


def _key(person: Ints, time_ms: Ints) -> Ints:
    key: Ints = (person.astype(np.int64) << _TIME_BITS) + np.maximum(time_ms, 0)
    return key


def roster_of(changes: Sequence[RosterChange]) -> Roster:
    """The history that these changes make up, in whatever order they come."""
    ordered = sorted(changes, key=lambda c: (c.person, c.time_ms, c.key))
    people = tuple(sorted({c.person for c in ordered}))
    teams = tuple(sorted({c.team for c in ordered if c.team is not None}))
    zones = tuple(sorted({c.tz for c in ordered if c.tz is not None}))
    places = {name: place for place, name in enumerate(people)}
    person = np.array([places[c.person] for c in ordered], dtype=np.int64)
    time = np.array([c.time_ms for c in ordered], dtype=np.int64)
    return Roster(
        people=people,
        teams=teams,
        zones=zones,
        key=_key(person, time),
        team=_carried(person, [c.team for c in ordered], teams),
        zone=_carried(person, [c.tz for c in ordered], zones),
        present=np.array([c.kind is not RosterKind.LEFT for c in ordered], dtype=bool),
    )


def _carried(person: Ints, names: Sequence[str | None], known: Sequence[str]) -> Ints:
    """Places of the names; where there is none, the one that the person had before."""
    places = {name: place for place, name in enumerate(known)}
    carried = np.full(len(names), -1, dtype=np.int64)
    for i, name in enumerate(names):
        if name is not None:
            carried[i] = places[name]
        elif i and person[i] == person[i - 1]:
            carried[i] = carried[i - 1]
    return carried
