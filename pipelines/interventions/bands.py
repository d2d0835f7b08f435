"""A group's normal band: where its own last 12 weeks lay, week by week, for one metric. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np

from pipelines.errors import InvalidInput
from pipelines.evidence import K_FLOOR, RuleRefusal, Series, SubjectKind
from pipelines.interventions.proposal import FindingRef, Target, TargetKind

WEEKS = 12
_WEEK_MS = 7 * 24 * 3_600_000
_GROUPS = {kind: TargetKind(kind.value) for kind in (SubjectKind.TEAM, SubjectKind.TEAM_PAIR, SubjectKind.ORG)}


@dataclass(frozen=True, slots=True)
class Band:
    """A group and where it stands. size: people behind the latest value; it may be under k, and is then not used."""

    kind: TargetKind
    key: str
    size: int
    found: FindingRef


def bands(weekly: Iterable[Series], people: Mapping[str, int], mads: float, least: int) -> list[Band]:
    """The band of every group and metric that has enough weeks, in a fixed order.

    Args:
        weekly: one series per view and week, of the past 13 weeks or more; those of people are passed over.
        people: how many belong to a group now; coverage is the share of their weeks that has a value. Of a group that is
            not here, as many as were ever seen.
        mads: half the width, in median absolute deviations.
        least: a group with values in fewer of the 12 weeks has no band.
    """
    rows: dict[tuple[str, TargetKind, str], dict[int, tuple[float, int]]] = {}
    latest: dict[str, int] = {}
    for series in weekly:
        if kind := _GROUPS.get(series.kind):
            latest[series.view] = max(latest.get(series.view, series.time_ms), series.time_ms)
            for subject, value, size in zip(series.subjects, series.values, series.sizes, strict=True):
                if np.isfinite(value):
                    rows.setdefault((series.view, kind, subject), {})[series.time_ms] = (float(value), int(size))
    found = (_band(*key, weeks, latest[key[0]], people, mads, least) for key, weeks in sorted(rows.items()))
    return [band for band in found if band]


def target_of(band: Band) -> Target | None:
    """The group as one that something can be proposed to; None where that cannot be."""
    try:
        return Target(band.kind, band.key, band.size)
    except InvalidInput:
        return None


def unnamed(found: Iterable[Band]) -> list[RuleRefusal]:
    """Why nothing is proposed to groups that are large enough; their names are not repeated."""
    groups = {(band.kind, band.key) for band in found if band.size >= K_FLOOR and target_of(band) is None}
    words = "a group has a name that cannot be told from a person's, or from that of a pair of groups"
    return [RuleRefusal("UNSAFE_NAME", words, "another name for it in the roster") for _ in groups]


def _band(
    view: str,
    kind: TargetKind,
    key: str,
    values: Mapping[int, tuple[float, int]],
    latest: int,
    people: Mapping[str, int],
    mads: float,
    least: int,
) -> Band | None:
    """None: no value in the latest week, or too few weeks before it."""
    weeks = {round((latest - at) / _WEEK_MS): value for at, value in values.items()}
    before = [weeks[ago][0] for ago in range(1, WEEKS + 1) if ago in weeks]
    if 0 not in weeks or len(before) < least:
        return None
    low, high = _normal(before, mads)
    since = latest - _WEEK_MS * _weeks_outside(weeks, low, high)
    found = FindingRef(view, weeks[0][0], low, high, _day(since), _coverage(weeks, people.get(key)))
    return Band(kind, key, weeks[0][1], found)


def _normal(values: list[float], mads: float) -> tuple[float, float]:
    middle = float(np.median(values))
    half = mads * float(np.median(np.abs(np.array(values) - middle)))
    return middle - half, middle + half


def _weeks_outside(weeks: Mapping[int, tuple[float, int]], low: float, high: float) -> int:
    """How many weeks before the latest one were outside without a break, on the same side as it."""
    above = weeks[0][0] > high

    def outside() -> Iterator[bool]:
        for ago in range(1, WEEKS + 1):
            yield ago in weeks and (weeks[ago][0] > high if above else weeks[ago][0] < low)

    return next((count for count, is_out in enumerate(outside()) if not is_out), WEEKS)


def _coverage(weeks: Mapping[int, tuple[float, int]], people: int | None) -> float:
    belong = people or max(size for _, size in weeks.values())
    seen = sum(min(1.0, weeks[ago][1] / belong) for ago in range(WEEKS + 1) if ago in weeks)
    return seen / (WEEKS + 1)


def _day(ms: int) -> date:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).date()
