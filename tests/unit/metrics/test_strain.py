"""Strain: what it is the sum of, when it says nothing, and what must not move it."""

from __future__ import annotations

import random
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.metrics import load, strain
from pipelines.metrics.weeks_roster import roster_of
from pipelines.model import Interaction, RosterChange, RosterKind
from pipelines.person_weeks import COLUMNS, WeekRows
from tests.support.fakes_weeks import act, acts_of, at, change, meet
from tests.support.make import person

USED = [part.column for part in strain.PARTS]


def history(values: np.ndarray) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    return dict.fromkeys(USED, values)


def now(people: int = 1, **changed: float) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    return {name: np.full(people, changed.get(name, 5.0)) for name in USED}


def usual(weeks: int = 12) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    return history(np.full((1, weeks), 5.0))


# ------------------------------------------------------------------------------------------------ deviation


def test_a_deviation_is_counted_in_robust_standard_deviations() -> None:
    weeks = np.array([[10.0, 12.0, 8.0, 11.0, 9.0, 10.0, 1000.0]])  # median 10, median absolute deviation 1
    assert strain.deviation(weeks, np.array([14.0]), 0.1) == pytest.approx(4 / 1.4826)
    plain = (14 - weeks.mean()) / weeks.std()
    assert plain < 0  # one wild week and the plain score calls a heavy week a light one


def test_it_abstains_below_six_weeks_of_data() -> None:
    weeks = np.full((2, 12), np.nan)
    weeks[0, :5], weeks[1, :6] = 5, 5
    found = strain.deviation(weeks, np.array([7.0, 7.0]), 1.0)
    assert np.isnan(found).tolist() == [True, False]


def test_equal_weeks_do_not_make_every_change_infinite() -> None:
    assert strain.deviation(np.full((1, 8), 3.0), np.array([3.5]), 0.5) == pytest.approx(1.0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=5, max_size=5), min_size=1, max_size=6))
def test_the_median_is_numpys_without_its_warning(rows: list[list[float]]) -> None:
    for found, row in zip(strain.middle(np.array(rows)).tolist(), rows, strict=True):
        there = [v for v in row if v == v]
        assert found == np.median(there) if there else found != found


# ------------------------------------------------------------------------------------------------ the index


def test_the_parts_sum_to_the_index_exactly_also_in_single_precision() -> None:
    rng = np.random.default_rng(3)
    before = {name: rng.normal(5, 2, (400, 12)) for name in USED}
    index, parts = strain.strain(before, {name: rng.normal(6, 3, 400) for name in USED})
    assert np.array_equal(sum(parts.values()), index)
    single = [values.astype(np.float32) for values in parts.values()]
    assert np.array_equal(np.sum(single, axis=0, dtype=np.float32).astype(np.float64), index)
    assert index.min() >= 0
    assert index.max() <= 100
    assert np.ptp(index) > 40


def test_ones_own_usual_week_is_fifty() -> None:
    index, parts = strain.strain(usual(), now())
    assert (float(index[0]), {name: float(v[0]) for name, v in parts.items()}) == (
        50.0,
        {part.name: part.weight / 2 for part in strain.PARTS},
    )


@pytest.mark.parametrize("part", strain.PARTS, ids=lambda part: part.name)
def test_it_rises_with_each_load_and_stays_within_the_weight(part: strain.PartOfStrain) -> None:
    steps = [strain.strain(usual(), now(**{part.column: 5 + part.sign * far})) for far in (-50, -0.1, 0, 0.1, 50)]
    totals = [float(index[0]) for index, _ in steps]
    shares = [float(parts[part.name][0]) for _, parts in steps]
    assert totals == sorted(set(totals))
    assert (shares[0], shares[-1]) == (0, part.weight)


def test_it_abstains_as_a_whole_when_one_part_is_unknown() -> None:
    index, parts = strain.strain(usual(), now() | {"after_hours_share": np.array([np.nan])})
    assert np.isnan([index, *parts.values()]).all()


def test_the_weights_sum_to_hundred_and_each_has_a_reason() -> None:
    assert sum(part.weight for part in strain.PARTS) == 100
    assert all(part.reason.endswith(".") and part.column in COLUMNS for part in strain.PARTS)
    assert strain.LEAST_SD.keys() == COLUMNS.keys()
    assert min(strain.LEAST_SD.values()) > 0


# ------------------------------------------------------------------------------------------------ from weeks


def rows(week: date, working_days: float = 5, people: tuple[str, ...] = (person(1),), **values: float) -> WeekRows:
    columns = {name: np.full(len(people), values.get(name, 5.0)) for name in COLUMNS}
    columns["working_days"] = np.full(len(people), working_days)
    return WeekRows(week, people, (None,) * len(people), columns, np.full(len(people), np.nan), {})


WEEK = date(2026, 6, 29)


def weeks_before(count: int, **values: float) -> list[WeekRows]:
    return [rows(WEEK - timedelta(weeks=n), **values) for n in range(1, count + 1)]


def test_holidays_do_not_enter_the_baseline_and_have_no_strain() -> None:
    holidays = [rows(WEEK - timedelta(weeks=n), 0, meeting_h=0.0) for n in range(6, 13)]
    alone = strain.with_strain(rows(WEEK), [*weeks_before(5), *holidays])
    with_sixth = strain.with_strain(rows(WEEK), [*weeks_before(6), *holidays[1:]])
    assert np.isnan(alone.strain[0])
    assert with_sixth.strain[0] == 50
    assert np.isnan(strain.with_strain(rows(WEEK, 0), weeks_before(12)).strain[0])


def test_only_the_twelve_weeks_before_count_in_whatever_order() -> None:
    old_and_later = [rows(WEEK - timedelta(weeks=n), meeting_h=500.0) for n in (13, 14, 15, 0, -1)]
    before = [*old_and_later, *weeks_before(6)]
    random.Random(1).shuffle(before)
    assert strain.with_strain(rows(WEEK), before).strain[0] == 50


def test_people_are_compared_with_themselves_only() -> None:
    two = (person(1), person(2))
    before = [rows(WEEK - timedelta(weeks=n), people=(person(2),), meeting_h=40.0) for n in range(1, 13)]
    before += [rows(WEEK - timedelta(weeks=n), people=(person(1),), meeting_h=2.0) for n in range(1, 13)]
    found = strain.with_strain(rows(WEEK, people=two, meeting_h=40.0), before).strain
    assert found[0] > found[1] == 50


def test_changes_speak_of_every_column() -> None:
    found = strain.changes(rows(WEEK, meeting_h=8.0), weeks_before(7))
    assert found.keys() == COLUMNS.keys()
    assert (found["meeting_h"][0], found["sent"][0]) == (3.0, 0.0)


# ------------------------------------------------------------------------------------------------ clocks and places


def routine(first: date, zone_of: list[str]) -> tuple[list[Interaction], list[RosterChange]]:
    """The same habits every week by the clock of wherever the person is: two late evenings, a meeting a day."""
    rng, events, changes = random.Random(4), [], []
    for number, name in enumerate(zone_of):
        monday = midnight(first + timedelta(weeks=number), name)
        changes.append(change(1, monday, "red", name, RosterKind.MOVED if number else RosterKind.JOINED))
        for day in range(5):
            morning = midnight(first + timedelta(weeks=number, days=day), name)
            for hour in (8.1, 9.4, 10.2, 11.8, 13.5, 15.1, 16.2, 20.7 if day in (1, 3) else 17.5):
                # The clock of a zone is added to as a clock: 8.1 h after midnight is 08:06 also when it has changed.
                time, partner = morning + timedelta(hours=hour, minutes=rng.choice((0, 2, 4))), 2 + int(hour) % 2
                events += [act(time, 1, [partner]), act(time + timedelta(minutes=1), partner, [1])]
            events.append(meet(morning + timedelta(hours=14), 1, 1, [2]))
    return events, changes


def midnight(day: date, zone: str) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))


def strain_of_last(first: date, zones: list[str], clock: bool = True) -> tuple[float, dict[str, float]]:
    """Strain of the last of these weeks. Without `clock`: the naive control, which takes UTC for everybody's clock."""
    events, changes = routine(first, zones)
    roster = roster_of(changes if clock else [change(1, at(first, -60), "red", "UTC")])
    weeks = [load.week_rows(acts_of(events), roster, first + timedelta(weeks=n)) for n in range(len(zones))]
    last = strain.with_strain(weeks[-1], weeks[:-1])
    place = last.people.index(person(1))
    return float(last.strain[place]), {name: float(values[place]) for name, values in last.parts.items()}


CALM = strain_of_last(date(2026, 5, 4), ["Europe/Berlin"] * 9)


@pytest.mark.parametrize("first", [date(2026, 1, 26), date(2026, 2, 2), date(2026, 8, 24), date(2026, 8, 31)], ids=str)
def test_changing_the_clocks_makes_no_strain(first: date) -> None:
    """Of nine weeks the last one ends with the changing of the clocks, or is the first one after it."""
    assert strain_of_last(first, ["Europe/Berlin"] * 9) == CALM


@pytest.mark.parametrize("first", [date(2026, 2, 2), date(2026, 8, 31)], ids=str)
def test_a_count_in_utc_would_have_called_the_changed_clocks_strain(first: date) -> None:
    naive, _ = strain_of_last(first, ["Europe/Berlin"] * 9, clock=False)
    assert abs(naive - CALM[0]) > 3


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Singapore", "Pacific/Auckland"])
def test_moving_to_another_zone_makes_no_strain(zone: str) -> None:
    zones = ["Europe/Berlin"] * 8 + [zone]
    index, parts = strain_of_last(date(2026, 5, 4), zones)
    assert index == pytest.approx(CALM[0], abs=1)
    assert parts["after_hours"] == CALM[1]["after_hours"]
    assert parts["short_rests"] == CALM[1]["short_rests"]
    naive, _ = strain_of_last(date(2026, 5, 4), zones, clock=False)
    assert abs(naive - CALM[0]) > 3
