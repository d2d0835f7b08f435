"""The organisation graph over a window, as arrays and with a fingerprint of each part of it.

A fingerprint is made of what is stored (forward-decayed sums, teams), not of what is shown, so that it stays the same
when only time has passed; it does not depend on the order in which the graph was read or the people were numbered.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.evidence import Floats, Ints
from pipelines.metrics.csr import Csr, team_order
from pipelines.model import Tie

#: An end of a tie that is nobody of ours: outside the organisation, or somebody who has left.
_OUTSIDE, _GONE = -1, -2


class Part(StrEnum):
    """What a view may depend on. It is computed again when one of its parts has changed, and only then."""

    PEOPLE = "people"
    PAIRS = "pairs"  # who is tied to whom, in either direction
    ARCS = "arcs"  # who turned to whom
    STRENGTH = "strength"
    TEAMS = "teams"
    OUTSIDE = "outside"  # strength of ties that lead out of the organisation
    EVENTS = "events"  # when each person acted


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The graph between `start_ms` and `end_ms` (see `take`). n people, numbered 0..n-1 by team and pseudonym.

    people: pseudonyms, n. teams: names, ascending. team: index into `teams` for each person, -1 when not known; int64, n.
    directed, undirected: ties inside the organisation, all media summed; weights are strengths as of `end_ms`.
    outside: strength of each person's ties out of the organisation, both directions; float64, n.
    gaps, gap_offsets: hours between one act of a person and the next, person i at gap_offsets[i]:gap_offsets[i + 1]; None
    until `with_acts`.
    digests: fingerprint of each part.
    """

    start_ms: int
    end_ms: int
    people: tuple[str, ...]
    teams: tuple[str, ...]
    team: Ints
    directed: Csr
    undirected: Csr
    outside: Floats
    digests: Mapping[Part, str]
    gaps: Floats | None = None
    gap_offsets: Ints | None = None

    @property
    def n(self) -> int:
        return len(self.people)

    def by_id(self) -> Ints:
        """People by pseudonym alone: an order that no change of team can change. int64, n."""
        return _by_id(self.people)

    @property
    def fingerprint(self) -> str:
        """One for all parts: equal fingerprints, equal views (apart from the passing of time)."""
        return _digest(*(f"{part}={digest}".encode() for part, digest in sorted(self.digests.items())))


def take(
    ties: Iterable[Tie], people: Iterable[tuple[str, str | None]], start_ms: int, end_ms: int, scale: float
) -> Snapshot:
    """Put the graph into arrays. Reads `ties` and `people` once each, in any order; the result is the same for every order.

    Ties that were last used before `start_ms` are left out, and so are ties of somebody who has left. A graph knows the
    present only: what happened after `end_ms` is in it.

    Args:
        people: everybody inside the organisation, with the current team.
        scale: what one unit of stored strength is worth at `end_ms` (`graph.weights.shown(1.0, end_ms)`).
    """
    roster = sorted(people)
    roster = [roster[i] for i in team_order([team for _, team in roster])]
    index = {person: i for i, (person, _) in enumerate(roster)}
    src, dst, raw = _columns(ties, index, start_ms)
    inside = (src >= 0) & (dst >= 0)
    arcs = _summed(len(roster), src[inside], dst[inside], raw[inside])
    outside = _outside(len(roster), src, dst, raw)
    teams, team = _teams([team for _, team in roster])
    names = tuple(person for person, _ in roster)
    return Snapshot(
        start_ms=start_ms,
        end_ms=end_ms,
        people=names,
        teams=teams,
        team=team,
        directed=Csr.directed(len(names), arcs[0], arcs[1], arcs[2] * scale),
        undirected=Csr.undirected(len(names), arcs[0], arcs[1], arcs[2] * scale),
        outside=outside * scale,
        digests=_digests(names, teams, team, arcs, outside),
    )


def with_acts(snapshot: Snapshot, acts: Iterable[tuple[Sequence[str], NDArray[np.integer[Any]], Ints]]) -> Snapshot:
    """The same snapshot with the gaps between acts. Acts outside the window, or of nobody in it, are left out.

    Args:
        acts: chunks of (people, who acted as an index into these, when in ms), in any order.
    """
    index = {person: i for i, person in enumerate(snapshot.people)}
    span = snapshot.end_ms - snapshot.start_ms
    chunks = [_acts(index, *chunk, snapshot.start_ms, span) for chunk in acts]
    # One number per act, person first: a sort of one column, where there may be tens of millions of them.
    keys = np.sort(np.concatenate([np.empty(0, dtype=np.int64), *chunks]))
    person, at = keys // span, keys % span
    same = person[1:] == person[:-1]
    gaps = np.diff(at)[same] / 3_600_000.0
    offsets = np.concatenate([[0], np.cumsum(np.bincount(person[1:][same], minlength=snapshot.n))]).astype(np.int64)
    digest = _digest("\n".join(snapshot.people).encode(), _bytes(gaps), _bytes(offsets))
    return replace(snapshot, gaps=gaps, gap_offsets=offsets, digests={**snapshot.digests, Part.EVENTS: digest})


def _acts(
    index: Mapping[str, int],
    people: Sequence[str],
    actor: NDArray[np.integer[Any]],
    time_ms: Ints,
    start_ms: int,
    span: int,
) -> Ints:
    place = np.fromiter((index.get(person, -1) for person in people), dtype=np.int64, count=len(people))
    person, at = place[actor], np.asarray(time_ms, dtype=np.int64) - start_ms
    inside = (person >= 0) & (at >= 0) & (at < span)
    keys: Ints = person[inside] * span + at[inside]
    return keys


def _columns(ties: Iterable[Tie], index: Mapping[str, int], start_ms: int) -> tuple[Ints, Ints, Floats]:
    """Actor, target and stored strength of every tie in the window that has at least one end inside."""
    src, dst, raw = array("q"), array("q"), array("d")
    for tie in ties:
        if tie.last_ms < start_ms or tie.strength <= 0.0:
            continue
        a, b = _place(tie.actor, index), _place(tie.target, index)
        if a != b and max(a, b) >= 0 and _GONE not in (a, b):
            src.append(a)
            dst.append(b)
            raw.append(tie.strength)
    return np.array(src, dtype=np.int64), np.array(dst, dtype=np.int64), np.array(raw, dtype=np.float64)


def _place(person: str, index: Mapping[str, int]) -> int:
    found = index.get(person)
    if found is not None:
        return found
    return _OUTSIDE if person.startswith("x_") else _GONE


Arcs = tuple[Ints, Ints, Floats]


def _summed(n: int, src: Ints, dst: Ints, raw: Floats) -> Arcs:
    """One row per ordered pair, all media summed: smallest first, because a sum of floats depends on the order."""
    order = np.lexsort((raw, dst, src))
    pair = (src * n + dst)[order]
    first = np.flatnonzero(np.diff(pair, prepend=-1))
    sums = np.add.reduceat(raw[order], first) if len(first) else raw[:0]
    return pair[first] // max(n, 1), pair[first] % max(n, 1), sums


def _outside(n: int, src: Ints, dst: Ints, raw: Floats) -> Floats:
    out = (src < 0) | (dst < 0)
    person, strength = np.maximum(src, dst)[out], raw[out]
    order = np.lexsort((strength, person))
    return np.bincount(person[order], weights=strength[order], minlength=n).astype(np.float64)


def _teams(of_people: list[str | None]) -> tuple[tuple[str, ...], Ints]:
    names = tuple(sorted({team for team in of_people if team is not None}))
    position: dict[str | None, int] = {name: i for i, name in enumerate(names)}
    return names, np.array([position.get(team, -1) for team in of_people], dtype=np.int64)


# ------------------------------------------------------------------------------------------------ fingerprints


def _digests(
    people: tuple[str, ...], teams: tuple[str, ...], team: Ints, arcs: Arcs, outside: Floats
) -> dict[Part, str]:
    """Every part as it reads when people are numbered by pseudonym alone: a change of team renumbers nobody there."""
    by_id = _by_id(people)
    rank = np.empty_like(by_id)
    rank[by_id] = np.arange(len(by_id))
    src, dst = rank[arcs[0]], rank[arcs[1]]
    order = np.lexsort((dst, src))
    src, dst, raw = src[order], dst[order], arcs[2][order]
    pairs = np.unique(np.minimum(src, dst) * len(people) + np.maximum(src, dst))
    who = _digest("\n".join(people[i] for i in by_id).encode())
    return {
        Part.PEOPLE: who,
        Part.PAIRS: _digest(who.encode(), _bytes(pairs)),
        Part.ARCS: _digest(who.encode(), _bytes(src), _bytes(dst)),
        Part.STRENGTH: _digest(who.encode(), _bytes(src), _bytes(dst), _bytes(raw)),
        Part.TEAMS: _digest(who.encode(), "\n".join(teams).encode(), _bytes(team[by_id])),
        Part.OUTSIDE: _digest(who.encode(), _bytes(outside[by_id])),
    }


def _by_id(people: Sequence[str]) -> Ints:
    return np.array(sorted(range(len(people)), key=people.__getitem__), dtype=np.int64)


def _bytes(column: NDArray[np.int64] | NDArray[np.float64]) -> bytes:
    return column.astype("<f8" if column.dtype == np.float64 else "<i8").tobytes()


def _digest(*parts: bytes) -> str:
    """128 bits. The length before each part keeps (ab, c) and (a, bc) apart."""
    hashed = hashlib.blake2b(digest_size=16)
    for part in parts:
        hashed.update(len(part).to_bytes(8, "little"))
        hashed.update(part)
    return hashed.hexdigest()
