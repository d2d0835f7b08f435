"""The vectorised week against the one that is written down plainly, over organisations made at random."""

from __future__ import annotations

import math
import random
from datetime import date
from fractions import Fraction

import pytest

from pipelines.metrics import load
from pipelines.metrics.weeks_roster import roster_of
from pipelines.person_weeks import WeekRows
from tests.support import fakes_weeks as fakes
from tests.support import weeks_reference as reference

#: Around the nights on which Europe and America change their clocks, in both directions, and a week in between.
WEEKS = [date(2026, 3, 2), date(2026, 3, 23), date(2026, 3, 30), date(2026, 10, 19), date(2026, 10, 26)]


def as_dict(rows: WeekRows) -> dict[str, reference.Row]:
    columns = {name: values.tolist() for name, values in rows.values.items()} | {"team": list(rows.teams)}
    return {p: {name: column[i] for name, column in columns.items()} for i, p in enumerate(rows.people)}


def differences(found: dict[str, reference.Row], expected: dict[str, reference.Row]) -> list[tuple[object, ...]]:
    wrong: list[tuple[object, ...]] = []
    if found.keys() != expected.keys():
        return [("people", sorted(found.keys() ^ expected.keys()))]
    for person, row in expected.items():
        for name, value in row.items():
            if not _same(found[person][name], value):
                wrong.append((person[-2:], name, found[person][name], value))
    return wrong


def _same(found: object, expected: object) -> bool:
    if isinstance(found, float):
        if expected is None:
            return math.isnan(found)
        assert isinstance(expected, int | Fraction)
        return math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-9)
    return found == expected


@pytest.mark.parametrize("week", WEEKS, ids=str)
@pytest.mark.parametrize("seed", range(8))
def test_every_column_equals_the_plain_count(week: date, seed: int) -> None:
    rng = random.Random(f"{week} {seed}")
    events, changes = fakes.organisation(rng, week)
    excluded = frozenset(rng.sample(sorted({e.actor for e in events}), seed % 2))
    rows = load.week_rows(fakes.acts_of(events), roster_of(changes), week, excluded=excluded)
    assert differences(as_dict(rows), reference.rows(events, changes, week, excluded)) == []
