"""Teams and the organisation: means over who worked, and the normal band of the weeks before."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from pipelines.evidence import Series, SubjectKind
from pipelines.metrics import load
from pipelines.metrics.strain import middle
from pipelines.metrics.weeks import BAND_MADS, VIEWS, normal_bands, team_weeks
from pipelines.person_weeks import COLUMNS, WeekRows
from tests.support.fakes_weeks import at, ms
from tests.support.make import person

WEEK = date(2026, 6, 29)


def rows(meeting_h: list[float], teams: list[str | None], days: list[int] | None = None, week: date = WEEK) -> WeekRows:
    n = len(teams)
    values = {name: np.ones(n) for name in COLUMNS}
    values |= {"meeting_h": np.array(meeting_h, dtype=float), "working_days": np.array(days or [5] * n, dtype=float)}
    strain = np.array([np.nan, *range(1, n)], dtype=float)
    return WeekRows(week, tuple(person(i) for i in range(n)), tuple(teams), values, strain, {})


def view(series: list[Series], name: str, kind: SubjectKind) -> Series:
    (found,) = [s for s in series if s.view == name and s.kind is kind]
    return found


def test_a_team_is_the_mean_of_who_worked() -> None:
    found = team_weeks(rows([1, 3, 100, 8, 20], ["red", "red", "red", "blue", None], [5, 5, 0, 5, 5]))
    teams = view(found, "meeting_h", SubjectKind.TEAM)
    assert (teams.subjects, teams.values.tolist(), teams.sizes.tolist()) == (("blue", "red"), [8, 2], [1, 2])
    everybody = view(found, "meeting_h", SubjectKind.ORG)
    assert (everybody.subjects, everybody.values.tolist(), everybody.sizes.tolist()) == (("",), [8], [4])
    assert (everybody.time_ms, everybody.version) == (ms(at(WEEK)), load.VERSION)
    assert {s.view for s in found} == set(VIEWS)


def test_sizes_count_the_values_not_the_people() -> None:
    strain = view(team_weeks(rows([1, 1, 1], ["red"] * 3)), "strain", SubjectKind.TEAM)
    assert (strain.values.tolist(), strain.sizes.tolist()) == ([1.5], [2])


def test_a_team_on_holiday_has_no_value() -> None:
    teams = view(team_weeks(rows([1, 2], ["red", "blue"], [0, 5])), "meeting_h", SubjectKind.TEAM)
    assert np.isnan(teams.values).tolist() == [False, True]
    assert teams.sizes.tolist() == [1, 0]


def test_an_empty_week_has_no_value() -> None:
    assert all(np.isnan(s.values).all() for s in team_weeks(load.no_rows(WEEK)))


def past(hours: list[float], people: int = 2) -> list[WeekRows]:
    """Weeks before WEEK, the latest first."""
    return [rows([h] * people, ["red"] * people, week=WEEK - timedelta(weeks=n)) for n, h in enumerate(hours, start=1)]


def test_the_normal_band_is_four_absolute_deviations_around_the_median() -> None:
    bands = normal_bands([*past([10, 12, 8, 11, 9, 10]), *past([500], people=1)[:0]], WEEK)
    (band,) = [b for b in bands if (b.view, b.kind) == ("meeting_h", SubjectKind.TEAM)]
    assert (band.subject, band.low, band.high, band.weeks, band.people) == ("red", 6, 14, 6, 2)
    assert (band.from_week, band.to_week) == (WEEK - timedelta(weeks=12), WEEK - timedelta(weeks=1))


def test_five_weeks_give_no_band_and_older_weeks_do_not_count() -> None:
    old = [rows([1, 1], ["red"] * 2, week=WEEK - timedelta(weeks=n)) for n in (13, 14, 15)]
    later = rows([1, 1], ["red"] * 2)
    assert normal_bands([*past([10] * 5), *old, later], WEEK) == []


def test_a_band_remembers_the_fewest_people_behind_it() -> None:
    weeks = [*past([10] * 6, people=7), rows([10], ["red"], week=WEEK - timedelta(weeks=9))]
    assert {b.people for b in normal_bands(weeks, WEEK) if b.view == "meeting_h"} == {1}


@pytest.mark.parametrize("name", COLUMNS)
def test_every_column_is_a_view_with_a_meaning(name: str) -> None:
    assert name in VIEWS
    assert load.MEANINGS[name]


def test_about_one_ordinary_week_in_seventeen_is_outside_its_normal_band() -> None:
    """By chance alone, with 12 weeks to go by; two deviations, as one would for a known spread, call every fourth odd."""
    chance = np.random.default_rng(1)
    before, now = chance.normal(size=(50_000, 12)), chance.normal(size=50_000)
    usual = middle(before)
    spread = middle(np.abs(before - usual[:, None]))
    odd = {width: float((np.abs(now - usual) > width * spread).mean()) for width in (2.0, BAND_MADS)}
    assert odd[BAND_MADS] == pytest.approx(1 / 17, abs=0.005)
    assert odd[2.0] > 0.25
