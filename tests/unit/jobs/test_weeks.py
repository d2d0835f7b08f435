"""Which weeks a refresh writes, when, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from pipelines.jobs.weeks import WeekCounts, refresh_weeks, shards, whole_weeks
from pipelines.metrics import load
from pipelines.model import Interaction, RosterKind
from pipelines.person_weeks import ArchiveSpan, Mark, WeekRows, WeekState
from tests.support.fakes_weeks import FakeWeeks, WeekWorld, act, as_table, at, change
from tests.support.make import person

FIRST = date(2026, 1, 5)
NOON = timedelta(hours=12)
WEEK = timedelta(weeks=1)


def monday(number: int) -> date:
    return FIRST + number * WEEK


def habits(weeks: int, people: int = 3) -> list[Interaction]:
    days = [(n, d, h) for n in range(weeks) for d in range(5) for h in (9, 11 + n % 3, 16, *[17 + n % 5] * (n * 7 % 5))]
    return [act(at(monday(n), d, h), who, [1 + who % people]) for n, d, h in days for who in range(1, people + 1)]


def world(weeks: int) -> WeekWorld:
    joined = [change(who, at(FIRST, -1), "red", "Europe/Berlin") for who in (1, 2, 3)]
    return WeekWorld(habits(weeks), joined)


def refresh(world: WeekWorld, now: datetime) -> WeekCounts:
    weeks = FakeWeeks(world)
    return refresh_weeks(weeks, weeks, now)  # type: ignore[arg-type]


def tables(world: WeekWorld) -> dict[date, dict[str, tuple[object, ...]]]:
    return {week: as_table(rows) for week, rows in world.weeks.items()}


def over(number: int) -> datetime:
    """When week `number` is over everywhere."""
    return at(monday(number + 1)) + NOON


# ------------------------------------------------------------------------------------------------ whole weeks


@pytest.mark.parametrize(
    ("first", "last", "weeks"),
    [
        (at(FIRST, 0, 9), at(FIRST, 20), [0, 1]),
        (at(FIRST, 1, 0), at(FIRST, 20), [1]),
        (at(FIRST, -3, 0), at(FIRST, 20), [0, 1]),
        (at(FIRST, 0, 9), at(FIRST, 11, 1), [0, 1]),
        (at(FIRST, 0, 9), at(FIRST, 10, 23), [0]),
    ],
)
def test_half_weeks_at_the_edges_are_none(first: datetime, last: datetime, weeks: list[int]) -> None:
    assert whole_weeks(ArchiveSpan(first, last, False), over(1)) == [monday(n) for n in weeks]


def test_a_week_is_over_when_the_westernmost_clock_says_so() -> None:
    span = ArchiveSpan(at(FIRST), at(FIRST, 20), False)
    assert whole_weeks(span, over(0) - timedelta(milliseconds=1)) == []
    assert whole_weeks(span, over(0)) == [FIRST]
    assert whole_weeks(None, over(9)) == []


def test_what_retention_cut_into_is_no_whole_week() -> None:
    cut = [ArchiveSpan(at(FIRST, -2.5, back), at(FIRST, 20), True) for back in (0, 1)]
    assert [whole_weeks(span, over(0)) for span in cut] == [[FIRST], []]


# ------------------------------------------------------------------------------------------------ refreshing


def test_new_weeks_are_written_once_and_a_second_run_changes_nothing() -> None:
    w = world(4)
    first = refresh(w, over(3))
    assert (first.new, first.again, sorted(w.weeks)) == (4, 0, [monday(n) for n in range(4)])
    before, states = tables(w), dict(w.states)
    second = refresh(w, over(3))
    assert second == WeekCounts()
    assert (tables(w), w.states) == (before, states)


def test_the_current_week_is_not_written() -> None:
    w = world(4)
    assert refresh(w, at(monday(3), 4, 20)).new == 3
    assert monday(3) not in w.weeks


def test_week_by_week_gives_what_one_run_gives() -> None:
    at_once, slowly = world(16), world(16)
    refresh(at_once, over(17))
    for number in range(18):
        refresh(slowly, over(number))
    assert tables(slowly) == tables(at_once)
    assert np.isfinite(slowly.weeks[monday(15)].strain).all()


def test_a_week_is_written_again_once_when_nothing_can_come_unmarked_any_more() -> None:
    w = world(3)
    refresh(w, over(0))
    w.events.append(act(at(monday(1), 0, 5), 1, [2], tz_offset_min=-720))  # Sunday evening there; came on Monday
    assert refresh(w, at(monday(1), 6)) == WeekCounts()
    later = refresh(w, at(monday(2)))
    assert (later.again, refresh(w, at(monday(2))).again) == (1, 0)
    assert w.weeks[FIRST].values["sent"][0] == 15 + 1


def test_a_mark_is_for_three_weeks_of_own_clocks_and_goes_with_the_last() -> None:
    w = world(5)
    refresh(w, over(4) + 2 * WEEK)
    before, revisions = tables(w), {week: s.revision for week, s in w.states.items()}
    w.events.append(act(at(monday(2), 2, 9.25), 1, [2]))
    w.stale[monday(2)] = at(monday(5))
    counts = refresh(w, over(4) + 2 * WEEK)
    assert (counts.again, counts.marks, w.stale) == (3, 1, {})
    rewritten = {week for week, s in w.states.items() if s.revision > revisions[week]}
    assert rewritten >= {monday(1), monday(2), monday(3)}
    assert {week for week in before if tables(w)[week] != before[week]} == {monday(2)}


def test_a_mark_that_is_made_meanwhile_survives() -> None:
    w = world(3)
    refresh(w, over(2) + 2 * WEEK)
    w.stale[monday(1)] = at(monday(3))

    class MarkedMeanwhile(FakeWeeks):
        def rows(self, first: date, end: date) -> list[WeekRows]:
            w.stale[monday(1)] = at(monday(3), 1)
            return super().rows(first, end)

    weeks = MarkedMeanwhile(w)
    refresh_weeks(weeks, weeks, over(2) + 2 * WEEK)  # type: ignore[arg-type]
    assert w.stale == {monday(1): at(monday(3), 1)}


def test_a_mark_of_a_week_that_is_not_kept_goes() -> None:
    w = world(2)
    w.stale = {monday(-9): at(monday(2)), monday(1): at(monday(2))}
    refresh(w, over(1))
    assert w.stale == {}


def test_a_late_event_moves_the_strain_of_the_weeks_after_it() -> None:
    late = [act(at(monday(3), day, 9 + n / 7), 2, [1]) for day in range(5) for n in range(30)]
    w, fresh = world(12), world(12)
    refresh(w, over(11) + 2 * WEEK)
    before = tables(w)
    w.events += late
    w.stale[monday(3)] = at(monday(12))
    assert refresh(w, over(11) + 2 * WEEK).strained == 7
    fresh.events += late
    refresh(fresh, over(11) + 2 * WEEK)
    assert tables(w) == tables(fresh)
    assert tables(w)[monday(9)] != before[monday(9)]


def test_older_definitions_are_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    w = world(3)
    refresh(w, over(2) + 2 * WEEK)
    monkeypatch.setattr(load, "VERSION", load.VERSION + 1)
    assert refresh(w, over(2) + 2 * WEEK).again == 3
    assert {s.version for s in w.states.values()} == {load.VERSION}


def test_weeks_that_retention_cut_into_stay_as_they_were() -> None:
    w = world(4)
    refresh(w, over(3) + 2 * WEEK)
    before = tables(w)
    w.events = [e for e in w.events if e.time_ms >= act(at(monday(2), 2)).time_ms]
    w.retired, w.stale = True, {monday(1): at(monday(9))}
    assert refresh(w, over(3) + 2 * WEEK).again == 0
    assert tables(w) == before


def test_of_two_writers_one_writes_and_the_other_settles_no_mark() -> None:
    w = world(3)
    refresh(w, over(2) + 2 * WEEK)
    w.stale[monday(1)] = at(monday(3))

    class Overtaken(FakeWeeks):
        def replace(self, rows: WeekRows, state: WeekState, strains_after: int, settled: Sequence[Mark] = ()) -> bool:
            if state.week == FIRST:
                super().replace(rows, state, strains_after)
            return super().replace(rows, state, strains_after, settled)

    weeks = Overtaken(w)
    counts = refresh_weeks(weeks, weeks, over(2) + 2 * WEEK)  # type: ignore[arg-type]
    assert (counts.lost, counts.again) == (1, 2)
    assert w.stale == {monday(1): at(monday(3))}


def test_shards_give_the_rows_of_the_whole() -> None:
    whole, sliced = world(3), world(3)
    refresh(whole, over(2))
    weeks = FakeWeeks(sliced)
    refresh_weeks(weeks, weeks, over(2), shard_rows=10)  # type: ignore[arg-type]
    assert sliced.reads > whole.reads
    assert tables(sliced) == tables(whole)


@pytest.mark.parametrize(("interactions", "count"), [(0, 1), (10, 1), (11, 2), (35, 4), (10**9, 256)])
def test_shards_cover_everybody_once(interactions: int, count: int) -> None:
    found = shards(interactions, 10)
    assert len(found) == count
    digits = [f"p_{n:032x}" for n in range(256)]
    assert all(sum(shard.has(p) for shard in found) == 1 for p in digits)


def test_who_left_stays_gone_and_who_is_excluded_has_no_row() -> None:
    w = world(3)
    w.changes.append(change(3, at(monday(1), 2), kind=RosterKind.LEFT))
    w.excluded.add(person(2))
    refresh(w, over(2))
    present = [w.weeks[monday(n)].people for n in range(3)]
    assert present == [(person(1), person(3)), (person(1), person(3)), (person(1),)]


def test_an_empty_archive_is_no_error() -> None:
    assert refresh(WeekWorld(), datetime(2026, 1, 1, tzinfo=UTC)) == WeekCounts()
