"""Change against one's own baseline, and strain: an unvalidated index of workload. It is no diagnosis, never "burnout".

Nobody is compared with anybody else: every number is measured against the same person's weeks before. What makes a person's
normal week hard, and always has, is therefore invisible here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np

from pipelines.evidence import Floats
from pipelines.person_weeks import COLUMNS, WeekRows

BASELINE_WEEKS, LEAST_WEEKS = 12, 6
#: A normal distribution's standard deviation is that many median absolute deviations.
_MAD_TO_SD = 1.4826
#: Parts are whole 64ths: these, and their sum up to 100, are exact also in single precision.
_GRAIN = 64

#: The least standard deviation that a column is given: what is a change worth speaking of for somebody whose weeks are all
#: alike. Without it one message more than never would be infinitely unusual.
LEAST_SD: Mapping[str, float] = {
    "working_days": 1.0,
    "sent": 5.0,
    "received": 5.0,
    "meeting_h": 1.0,
    "after_hours_share": 0.03,
    "weekend_share": 0.03,
    "short_rests": 0.5,
    "span_h": 0.5,
    "focus_blocks": 0.25,
    "fragmentation": 0.25,
    "response_load": 1.0,
    "response_h": 0.5,
    "network_size": 2.0,
}


@dataclass(frozen=True, slots=True)
class PartOfStrain:
    """How one column enters the index. weight: points of 100. sign: -1 where less is worse."""

    name: str
    column: str
    weight: float
    sign: int
    reason: str


#: Chosen by hand, from what is known to matter; nothing here was fitted or validated. Weights sum to 100.
PARTS: tuple[PartOfStrain, ...] = (
    PartOfStrain("short_rests", "short_rests", 20, 1, "The one limit here that law names: 11 h of rest (2003/88/EC)."),
    PartOfStrain("meetings", "meeting_h", 20, 1, "Time in meetings cannot be worked in; load that others impose."),
    PartOfStrain(
        "after_hours", "after_hours_share", 15, 1, "Work that spills over the day hinders detachment from it."
    ),
    PartOfStrain("response", "response_load", 15, 1, "Messages that wait for an answer are demand from outside."),
    PartOfStrain("weekend", "weekend_share", 10, 1, "Days off lost; less than after-hours, which counts them as well."),
    PartOfStrain(
        "focus", "focus_blocks", 10, -1, "Lost undisturbed time; half, because it is the same day as switches."
    ),
    PartOfStrain("fragmentation", "fragmentation", 10, 1, "Work broken into pieces; the other half of lost focus."),
)
assert sum(part.weight for part in PARTS) == 100, "the parts must sum to the index"


def deviation(history: Floats, now: Floats, least_sd: float) -> Floats:
    """How far this week is from a person's own usual one, in robust standard deviations.

    (now - median) / max(1.4826 x median absolute deviation, least_sd): outliers among the weeks before hardly move it.

    Args:
        history: people x weeks, NaN for weeks that do not count (no work, no row).
        now: people.

    Returns:
        people; NaN where fewer than 6 weeks count, or there is no value now.
    """
    usual = middle(history)
    spread = _MAD_TO_SD * middle(np.abs(history - usual[:, None]))
    enough = (~np.isnan(history)).sum(axis=1) >= LEAST_WEEKS
    return np.where(enough, (now - usual) / np.fmax(spread, least_sd), np.nan)


def middle(values: Floats) -> Floats:
    """Median of each row, without its NaN; NaN for a row that has nothing else. (numpy's own warns about those.)"""
    count = (~np.isnan(values)).sum(axis=1)
    if not values.shape[1]:
        return np.full(values.shape[0], np.nan)
    ordered, row = np.sort(values, axis=1), np.arange(values.shape[0])  # NaN go last
    median: Floats = (ordered[row, np.maximum(count - 1, 0) // 2] + ordered[row, count // 2]) / 2
    return median


def score(deviations: Floats) -> Floats:
    """From 0 to 1, rising, 1/2 at one's own usual: the logistic function, which no single wild week can run away with."""
    result: Floats = (1 + np.tanh(deviations / 2)) / 2
    return result


def strain(history: Mapping[str, Floats], now: Mapping[str, Floats]) -> tuple[Floats, dict[str, Floats]]:
    """The index, 0-100, and the parts that sum to it exactly; about 50 in one's own usual week.

    Both are NaN (it abstains) where any part has no value: below 6 weeks of work, on holiday, without a known clock.

    Args:
        history: people x weeks a column, NaN for weeks that do not count. now: people a column.
    """
    parts = {}
    for part in PARTS:
        far = part.sign * deviation(history[part.column], now[part.column], LEAST_SD[part.column])
        parts[part.name] = np.round(part.weight * score(far) * _GRAIN) / _GRAIN
    index = np.sum(list(parts.values()), axis=0)
    return index, {name: np.where(np.isnan(index), np.nan, values) for name, values in parts.items()}


def with_strain(rows: WeekRows, before: Sequence[WeekRows]) -> WeekRows:
    """The rows with their strain. `before`: weeks in any order; those of the 12 weeks before count."""
    index, parts = strain(aligned(rows, before), worked(rows))
    return replace(rows, strain=index, parts=parts)


def changes(rows: WeekRows, before: Sequence[WeekRows]) -> dict[str, Floats]:
    """Each column's change against the person's own 12 weeks, in robust standard deviations; NaN where it abstains."""
    history, now = aligned(rows, before), worked(rows)
    return {name: deviation(history[name], now[name], LEAST_SD[name]) for name in COLUMNS}


def worked(rows: WeekRows) -> dict[str, Floats]:
    """The columns, NaN for who did not work in the week: a holiday is no calm week."""
    at_work = rows.values["working_days"] > 0
    return {name: np.where(at_work, values, np.nan) for name, values in rows.values.items()}


def aligned(rows: WeekRows, before: Sequence[WeekRows]) -> dict[str, Floats]:
    """people x 12 a column: the same people in the 12 weeks before, NaN where they did not work or were not there."""
    place = {person: number for number, person in enumerate(rows.people)}
    history = {name: np.full((len(rows), BASELINE_WEEKS), np.nan) for name in COLUMNS}
    for week in before:
        back = (rows.week - week.week) // timedelta(weeks=1)
        if not 1 <= back <= BASELINE_WEEKS:
            continue
        to = np.array([place.get(person, -1) for person in week.people], dtype=np.int64)
        for name, values in worked(week).items():
            history[name][to[to >= 0], back - 1] = values[to >= 0]
    return history
