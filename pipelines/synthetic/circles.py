"""Whom each person deals with, and how often: mostly the team, some people of the department, a few across it.

Circles are mutual, and a pair keeps its affinity when others come and go, so that ties last as they do among people.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from pipelines.synthetic.organisation import Organisation

#: Shares of what a person sends: team, department, beyond. Leads and managers are the bridges.
_SHARES = {"ic": (0.76, 0.18, 0.06), "lead": (0.66, 0.24, 0.10), "manager": (0.45, 0.35, 0.20)}
_AFFINITIES = 4_096
_AFFINITY_SIGMA = 0.8
#: One pair in so many knows each other across teams of a department.
_NEIGHBOURS_ONE_IN = 6
_FAR_CONTACTS = 2


@dataclass(frozen=True, slots=True)
class Circle:
    """For `random.choices`: partners as places in `Organisation.people`, with cumulative weights; and team mates."""

    partners: Sequence[int]
    cumulative: Sequence[float]
    mates: Sequence[int]


@dataclass(frozen=True, slots=True)
class Acquaintance:
    """What does not change when people move: how well a pair gets on, and who knows whom beyond the department."""

    affinities: Sequence[float]
    far: Mapping[int, Sequence[int]]

    def of(self, one: int, other: int) -> float:
        return self.affinities[_mix(one, other) % _AFFINITIES]


def acquaint(organisation: Organisation, rng: random.Random) -> Acquaintance:
    everybody = range(len(organisation.people))
    far: dict[int, set[int]] = defaultdict(set)
    for one in everybody:
        for other in rng.sample(everybody, _FAR_CONTACTS):
            if one != other:
                far[one].add(other)
                far[other].add(one)
    affinities = [rng.lognormvariate(0.0, _AFFINITY_SIGMA) for _ in range(_AFFINITIES)]
    return Acquaintance(affinities, {one: sorted(others) for one, others in far.items()})


def _mix(one: int, other: int) -> int:
    """A fixed scramble of the pair, the same in both directions."""
    low, high = (one, other) if one < other else (other, one)
    mixed = (low * 0x9E3779B1 + high * 0x85EBCA77) & 0xFFFFFFFF
    return (mixed ^ (mixed >> 15)) * 0x2C1B3C6D >> 11 & 0xFFFFFF


def circles(organisation: Organisation, acquaintance: Acquaintance, team_of: Mapping[int, int]) -> dict[int, Circle]:
    """The circle of everybody in `team_of`, which says who is there and in which team."""
    teams: dict[int, list[int]] = defaultdict(list)
    departments: dict[int, list[int]] = defaultdict(list)
    for person, team in team_of.items():
        teams[team].append(person)
        departments[organisation.teams[team].department].append(person)
    found = {}
    for person, team in team_of.items():
        mates = [other for other in teams[team] if other != person]
        near = [
            other
            for other in departments[organisation.teams[team].department]
            if team_of[other] != team and _mix(person, other) % _NEIGHBOURS_ONE_IN == 0
        ]
        known = {person, *mates, *near}
        far = [other for other in acquaintance.far.get(person, ()) if other in team_of and other not in known]
        shares = _SHARES[organisation.people[person].role_class]
        found[person] = _circle(acquaintance, person, (mates, near, far), shares)
    return found


def _circle(
    acquaintance: Acquaintance, person: int, rings: tuple[list[int], list[int], list[int]], shares: Sequence[float]
) -> Circle:
    """A circle in which each ring has its share, however many are in it."""
    weights: list[float] = []
    for share, ring in zip(shares, rings, strict=True):
        drawn = [acquaintance.of(person, other) for other in ring]
        total = sum(drawn)
        weights += [share * weight / total for weight in drawn]
    mates, near, far = rings
    return Circle([*mates, *near, *far], list(accumulate(weights)), mates)
