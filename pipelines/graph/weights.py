"""What one interaction is worth, and how worth fades: the only table of weights.

Strength is forward-decayed (Cormode, Shkapenyuk, Srivastava, Xu 2009, "Forward decay: a practical time decay model for
streaming systems"): an event at time t adds weight x 2^((t - L) / half-life) with a fixed landmark L, and the value shown at
time now is strength x 2^(-(now - L) / half-life). Additions commute, so the order of arrival does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta

from pipelines.model import Interaction, Medium, Scope, Tie

HALF_LIFE = timedelta(days=14)
#: A double holds 2^1023, so with a half-life of 14 days strengths are finite until 2059. Changing either constant
#: changes every stored strength: run `python -m pipelines.rebuild` after it.
LANDMARK = datetime(2020, 1, 1, tzinfo=UTC)
_HALF_LIFE_MS = HALF_LIFE // timedelta(milliseconds=1)
_LANDMARK_MS = int(LANDMARK.timestamp() * 1000)

#: medium -> (words for people, weight of one interaction on one tie)
WEIGHTS: Mapping[Medium, tuple[str, Callable[[Interaction], float]]] = {
    Medium.MESSAGE: ("1, or 1/targets in a group", lambda e: 1.0 if e.scope is Scope.DIRECT else 1.0 / e.target_count),
    Medium.EMAIL: ("1/targets", lambda e: 1.0 / e.target_count),
    Medium.MEETING: ("minutes/15 divided by (participants - 1)", lambda e: e.duration_s / 900 / e.target_count),
    Medium.CALL: ("minutes/15 divided by (participants - 1)", lambda e: e.duration_s / 900 / e.target_count),
    Medium.CONTACT: ("minutes/15 divided by (participants - 1)", lambda e: e.duration_s / 900 / e.target_count),
    Medium.DOC: ("1", lambda _: 1.0),
    Medium.REVIEW: ("1", lambda _: 1.0),
    Medium.TICKET: ("0.5", lambda _: 0.5),
}


def weight(event: Interaction) -> float:
    """Weight of one interaction on each of its ties, before decay; 0 for a broadcast, which makes no ties."""
    return 0.0 if event.scope is Scope.BROADCAST else WEIGHTS[event.medium][1](event)


def growth(time_ms: int) -> float:
    """2^((t - L) / half-life): the factor by which an event at `time_ms` enters a strength."""
    return float(2.0 ** ((time_ms - _LANDMARK_MS) / _HALF_LIFE_MS))


def shown(strength: float, now_ms: int) -> float:
    """A stored strength as of `now_ms`, in units of weight: 1.0 is one direct message a moment ago."""
    return strength / growth(now_ms)


def ties(events: Iterable[Interaction]) -> list[Tie]:
    """What the events add to the graph: one tie per (actor, target, medium), sorted by these.

    Sorted, so that all writers take the graph's locks in one order. Sums are exact for n and seconds, and to rounding for
    strength.
    """
    sums: dict[tuple[str, str, str], list[float]] = {}
    for event in events:
        if event.scope is Scope.BROADCAST:
            continue
        gain, at, medium = weight(event) * growth(event.time_ms), event.time_ms, event.medium.value
        for target in event.targets:
            found = sums.get((event.actor, target, medium))
            if found is None:
                sums[event.actor, target, medium] = [1, event.duration_s, gain, at, at]
                continue
            found[0] += 1
            found[1] += event.duration_s
            found[2] += gain
            found[3] = min(found[3], at)
            found[4] = max(found[4], at)
    return [Tie(*ends, int(n), int(s), g, int(f), int(l)) for ends, (n, s, g, f, l) in sorted(sums.items())]


def add(one: Tie, other: Tie) -> Tie:
    """The sum of two contributions to the same tie."""
    return Tie(
        *one.ends,
        one.n + other.n,
        one.seconds + other.seconds,
        one.strength + other.strength,
        min(one.first_ms, other.first_ms),
        max(one.last_ms, other.last_ms),
    )
