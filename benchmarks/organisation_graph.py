"""A made-up organisation as a graph: teams in departments in divisions, a few hubs, most ties returned, heavy-tailed weights.

A hierarchical stochastic block model with heavy-tailed activity; the same seed gives the same graph. Numbers of people are in
random order: who wants teammates beside each other in memory has to sort them, as with real ids.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_TIES_A_PERSON = 15
_RETURNED = 0.55
# Where the next tie leads: own team, own department, own division, anywhere.
_NEAR = np.array([0.40, 0.27, 0.18, 0.15])


@dataclass(frozen=True)
class Organisation:
    """n people; arcs src -> dst, each pair once a direction, weight a number of messages; team and department of each."""

    n: int
    src: Ints
    dst: Ints
    weight: Floats
    team: Ints
    department: Ints


def organisation(n: int, seed: int = 7) -> Organisation:
    """n people, 15 n arcs, about 9 n pairs."""
    rng = np.random.default_rng(seed)
    levels = _levels(n, rng)
    key = _arcs(n, levels, rng)
    weight = 1 + np.floor(rng.lognormal(1.0, 1.2, len(key)))
    number = rng.permutation(n)
    place, shuffled = np.argsort(number), rng.permutation(len(key))
    src, dst = number[key // n][shuffled], number[key % n][shuffled]
    return Organisation(n, src, dst, weight[shuffled], levels[0][place], levels[1][place])


def pairs(made: Organisation, seed: int = 1) -> tuple[Ints, Ints, Floats]:
    """Undirected pairs a < b with both directions summed; the weights decayed at random, so that few are equal."""
    low, high = np.minimum(made.src, made.dst), np.maximum(made.src, made.dst)
    key, back = np.unique(low * made.n + high, return_inverse=True)
    weight = np.bincount(back, weights=made.weight)
    return key // made.n, key % made.n, weight * (1 + 0.5 * np.random.default_rng(seed).random(len(key)))


def _levels(n: int, rng: np.random.Generator) -> list[Ints]:
    """Team, department, division and company of each person: about 9 people a team, 10 of each in the next."""
    sizes: list[int] = []
    while sum(sizes) < n:
        sizes.append(int(np.clip(rng.lognormal(np.log(9), 0.45), 3, 30)))
    team = np.repeat(np.arange(len(sizes)), sizes)[:n]
    department = np.cumsum(rng.random(team.max() + 1) < 0.1)[team]
    division = np.cumsum(rng.random(department.max() + 1) < 0.1)[department]
    return [team, department, division, np.zeros(n, dtype=np.int64)]


def _arcs(n: int, levels: list[Ints], rng: np.random.Generator) -> Ints:
    """Distinct arcs as src * n + dst."""
    active = rng.lognormal(0, 0.9, n)
    sought = active**0.7 * rng.lognormal(0, 0.5, n)
    hubs = rng.random(n) < 0.01  # managers, assistants, IT
    sought[hubs] *= 15
    active[hubs] *= 6
    keys, wanted = np.empty(0, dtype=np.int64), _TIES_A_PERSON * n
    while len(keys) < wanted:
        src, dst = _draw(int((wanted - len(keys)) * 0.9) + 100, active, sought, levels, rng)
        back = rng.random(len(src)) < _RETURNED
        keys = np.union1d(keys, np.concatenate([src * n + dst, dst[back] * n + src[back]]))
    return np.sort(rng.choice(keys, wanted, replace=False))


def _draw(
    count: int, active: Floats, sought: Floats, levels: list[Ints], rng: np.random.Generator
) -> tuple[Ints, Ints]:
    src = rng.choice(len(active), count, p=active / active.sum())
    level, dst = rng.choice(len(levels), count, p=_NEAR), np.empty(count, dtype=np.int64)
    for number, label in enumerate(levels):
        here = np.flatnonzero(level == number)
        dst[here] = _targets(label, label[src[here]], sought, rng)
    other = src != dst
    return src[other], dst[other]


def _targets(label: Ints, wanted: Ints, sought: Floats, rng: np.random.Generator) -> Ints:
    """For each wanted label somebody who has it, in proportion to how sought they are."""
    order = np.argsort(label, kind="stable")
    reached = np.cumsum(sought[order])
    first = np.searchsorted(label[order], np.arange(label.max() + 2))
    low = np.where(first[wanted] > 0, reached[first[wanted] - 1], 0.0)
    at = low + (reached[first[wanted + 1] - 1] - low) * rng.random(len(wanted))
    return order[np.minimum(np.searchsorted(reached, at, side="right"), len(label) - 1)]
