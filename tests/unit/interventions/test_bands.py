"""A group's band is its own past; coverage says how much of it was seen."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from pipelines.evidence import Series, SubjectKind
from pipelines.interventions.bands import WEEKS, Band
from pipelines.interventions.bands import bands as bands_of
from pipelines.interventions.proposal import TargetKind

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
QUIET = [10.0, 11.0, 9.0, 10.0, 10.5, 9.5, 10.0, 11.0, 9.0, 10.0, 10.5, 9.5]


def week(ago: int, values: dict[str, float], kind: SubjectKind = SubjectKind.TEAM, size: int = 20) -> Series:
    at = int((MONDAY - timedelta(weeks=ago)).timestamp() * 1000)
    sizes = np.full(len(values), size, dtype=np.int64)
    return Series("meeting_h", 1, kind, at, tuple(values), np.array(list(values.values())), sizes)


def weeks(values: list[float], size: int = 20) -> list[Series]:
    """The latest last."""
    return [week(len(values) - 1 - n, {"a": value}, size=size) for n, value in enumerate(values)]


def bands(weekly: list[Series], people: dict[str, int]) -> list[Band]:
    return bands_of(weekly, people, 2.0, 8)


def only(found: list[Band]) -> Band:
    (band,) = found
    return band


def test_the_band_is_the_median_of_twelve_weeks_and_some_deviations_around_it() -> None:
    found = only(bands(weeks([*QUIET, 14.0]), {"a": 20})).found
    # Median 10; deviations 0 x4, 0.5 x4, 1 x4: their median is 0.5, and 2 of them are 1.
    assert (found.value, found.coverage, found.since) == (14.0, 1.0, date(2026, 3, 2))
    assert (found.normal_low, found.normal_high) == (9.0, 11.0)


def test_one_odd_week_does_not_widen_it() -> None:
    calm = only(bands(weeks([*QUIET, 14.0]), {"a": 20})).found
    odd = only(bands(weeks([*QUIET[:5], 90.0, *QUIET[6:], 14.0]), {"a": 20})).found
    assert odd.normal_high == pytest.approx(calm.normal_high, abs=0.8)
    assert np.std([*QUIET[:5], 90.0, *QUIET[6:]]) > 20  # the control: what a plain standard deviation would make of it


def test_since_is_the_first_week_of_the_present_run_on_the_same_side() -> None:
    for tail, ago in (([14.0, 14.0, 14.0], 2), ([14.0, 10.0, 14.0], 0), ([2.0, 2.0, 14.0], 0), ([2.0, 14.0, 14.0], 1)):
        found = only(bands(weeks([*QUIET, *tail]), {"a": 20})).found
        assert found.since == (MONDAY - timedelta(weeks=ago)).date(), tail


def test_a_group_that_never_varied_has_a_band_of_no_width() -> None:
    found = only(bands(weeks([10.0] * 13), {"a": 20})).found
    assert (found.normal_low, found.value, found.normal_high) == (10.0, 10.0, 10.0)


def test_coverage_counts_missing_weeks_and_missing_people() -> None:
    gaps = [s for n, s in enumerate(weeks([*QUIET, 14.0])) if n not in (3, 4)]
    assert only(bands(gaps, {"a": 20})).found.coverage == pytest.approx(11 / 13)
    assert only(bands(weeks([*QUIET, 14.0], size=15), {"a": 20})).found.coverage == pytest.approx(0.75)
    assert only(bands(weeks([*QUIET, 14.0]), {"a": 18})).found.coverage == 1.0
    assert only(bands(weeks([*QUIET, 14.0]), {})).found.coverage == 1.0


def test_there_is_no_band_without_enough_weeks_or_without_this_one() -> None:
    assert bands([], {}) == []
    assert bands(weeks([10.0] * 8), {}) == []
    assert len(bands(weeks([10.0] * 9), {})) == 1
    other = [week(0, {"b": 1.0})]
    assert bands([*weeks([*QUIET, 14.0])[:-1], *other], {}) == []


def test_values_that_are_missing_are_not_values() -> None:
    found = only(bands(weeks([*QUIET[:4], float("nan"), *QUIET[5:], 14.0]), {"a": 20})).found
    assert found.coverage == pytest.approx(12 / 13)


def test_people_have_no_band_and_groups_have_one_of_their_kind() -> None:
    series = [
        week(ago, {name: 10.0}, kind)
        for ago in range(WEEKS + 1)
        for kind, name in ((SubjectKind.PERSON, "p_1"), (SubjectKind.TEAM_PAIR, "a|b"), (SubjectKind.ORG, ""))
    ]
    assert [(b.kind, b.key) for b in bands(series, {})] == [(TargetKind.ORG, ""), (TargetKind.TEAM_PAIR, "a|b")]


def test_the_order_of_the_input_does_not_matter() -> None:
    series = weeks([*QUIET, 14.0])
    assert bands(series, {"a": 20}) == bands(series[::-1], {"a": 20})
