"""What holds inside and between teams. Every value comes with the people behind it; nothing is suppressed here.

Two people are tied when either turned to the other. People whose team is not known are in no team: ties with them count
for nobody's inside and nobody's outside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.evidence import Floats, Ints
from pipelines.metrics.cohesion import Flags, mutual, share
from pipelines.metrics.csr import Csr


@dataclass(frozen=True, slots=True, eq=False)
class Teams:
    """Sums over teams, T of them: what every view of a team is made of.

    people: members. ties_inside, ties_out: unordered pairs; a tie out counts for both teams. strength_inside,
    strength_out: of the same. arcs_inside: ordered pairs, arcs_back: those of them that go both ways.
    """

    people: Ints
    ties_inside: Ints
    ties_out: Ints
    strength_inside: Floats
    strength_out: Floats
    arcs_inside: Ints
    arcs_back: Ints


def teams(directed: Csr, undirected: Csr, team: Ints, count: int) -> Teams:
    """Sum the graph up by team. `team`: index of each person's team, -1 when not known; `count`: how many teams."""
    mine, theirs, weight = _between_teams(undirected, team)
    once = mine == theirs
    arcs, back = team[directed.sources()], mutual(directed)
    inside = (arcs >= 0) & (arcs == team[directed.indices])
    return Teams(
        people=np.bincount(team[team >= 0], minlength=count),
        ties_inside=np.bincount(mine[once], minlength=count) // 2,
        ties_out=np.bincount(mine[~once], minlength=count),
        strength_inside=np.bincount(mine[once], weights=weight[once], minlength=count) / 2,
        strength_out=np.bincount(mine[~once], weights=weight[~once], minlength=count).astype(np.float64),
        arcs_inside=np.bincount(arcs[inside], minlength=count),
        arcs_back=np.bincount(arcs[inside & back], minlength=count),
    )


def density(sums: Teams) -> Floats:
    """Pairs of members who are tied / pairs of members; NaN for a team of one."""
    return share(sums.ties_inside, sums.people * (sums.people - 1) // 2)


def reciprocity(sums: Teams) -> Floats:
    """Of the arcs inside the team, the share that is answered; NaN without any."""
    return share(sums.arcs_back, sums.arcs_inside)


def ei_index(sums: Teams) -> Floats:
    """(E - I) / (E + I), E ties that leave the team, I ties inside, each counted once (Krackhardt and Stern 1988)."""
    return share(sums.ties_out - sums.ties_inside, sums.ties_out + sums.ties_inside)


def silo_index(sums: Teams) -> Floats:
    """How far a team keeps to itself: 0 as if everybody were met by chance, 1 nobody outside, below 0 more out than chance.

    Inbreeding homophily of Coleman 1958 (as in Currarini, Jackson, Pin 2009), on strength: (h - w) / (1 - w), where h is
    the share of its members' strength that stays inside and w is the team's share of the people whom a member could turn
    to. Unlike the E-I index it can be compared between a large and a small team. NaN without strength, and for one team
    that is everybody.
    """
    kept = share(2 * sums.strength_inside, 2 * sums.strength_inside + sums.strength_out)
    chance = share(sums.people - 1, np.full(len(sums.people), sums.people.sum() - 1))
    return share(kept - chance, np.where(np.isnan(chance), 0.0, 1.0 - chance))


def most_lost(lost: Floats, team: Ints, count: int) -> Floats:
    """The largest value among a team's members; NaN when none of them has one."""
    known = (team >= 0) & ~np.isnan(lost)
    result = np.full(count, -np.inf)
    np.maximum.at(result, team[known], lost[known])
    return np.where(np.isneginf(result), np.nan, result)


def counted(flags: Flags, team: Ints, count: int) -> Floats:
    """How many members have the flag."""
    return np.bincount(team[flags & (team >= 0)], minlength=count).astype(np.float64)


# ------------------------------------------------------------------------------------------------ pairs


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Sums over the pairs of teams between which there is a tie, P of them, ordered by (one, other), one < other.

    strength, ties: of all ties between the two. hinge: the largest part of the strength in which one same person has part.
    """

    one: Ints
    other: Ints
    ties: Ints
    strength: Floats
    hinge: Floats


def pairs(undirected: Csr, team: Ints, count: int) -> Pairs:
    """Sum the ties between teams up by pair."""
    mine, theirs, weight = _between_teams(undirected, team)
    source = undirected.sources()[_known(undirected, team)].astype(np.int64)
    out = mine != theirs
    low, high = np.minimum(mine, theirs)[out], np.maximum(mine, theirs)[out]
    found, pair = np.unique(low * max(count, 1) + high, return_inverse=True)
    # Each tie stands twice, once in the row of each end: half the sum for a pair, the whole for a person in it.
    strength = np.bincount(pair, weights=weight[out], minlength=len(found)) / 2
    ties = np.bincount(pair, minlength=len(found)) // 2
    return Pairs(
        found // max(count, 1),
        found % max(count, 1),
        ties,
        strength,
        _hinge(pair, source[out], weight[out], undirected.n, len(found)),
    )


def _hinge(pair: Ints, person: Ints, weight: Floats, n: int, count: int) -> Floats:
    """The strength of whoever has most of it, of each pair."""
    parts, of_part = np.unique(pair * max(n, 1) + person, return_inverse=True)
    sums = np.bincount(of_part, weights=weight, minlength=len(parts))
    result = np.zeros(count)
    np.maximum.at(result, parts // max(n, 1), sums)
    return result


def pair_density(found: Pairs, sums: Teams) -> Floats:
    """Tied pairs of people, one of each team / all such pairs."""
    return share(found.ties, sums.people[found.one] * sums.people[found.other])


def pair_share(found: Pairs, sums: Teams) -> Floats:
    """Of all strength in which one of the two teams has part, the share that lies between them: 0 to 1 (Jaccard)."""
    whole = sums.strength_inside + sums.strength_out
    return share(found.strength, whole[found.one] + whole[found.other] - found.strength)


def pair_hinge(found: Pairs) -> Floats:
    """The share of what lies between two teams that would go with one person: 1 when all of it hangs on somebody."""
    return np.minimum(share(found.hinge, found.strength), 1.0)  # the two are summed in different orders


def _known(graph: Csr, team: Ints) -> Flags:
    found: Flags = (team[graph.sources()] >= 0) & (team[graph.indices] >= 0)
    return found


def _between_teams(graph: Csr, team: Ints) -> tuple[Ints, Ints, Floats]:
    """Teams of both ends and strength of every tie whose ends have one; each tie twice, once from each end."""
    known = _known(graph, team)
    weights = np.ones(len(graph.indices)) if graph.weights is None else graph.weights
    return team[graph.sources()[known]], team[graph.indices[known]], weights[known]
