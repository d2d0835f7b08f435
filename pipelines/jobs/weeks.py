"""Keeps the weeks of people up to date with the archive: new ones, those in which something changed, and their strain.

A week is written once it is over for everybody: 12 hours after it is in UTC, when the westernmost clock has reached Monday.
Half weeks are never written: the archive must reach from the week's Monday to its Friday.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

from pipelines.metrics import load
from pipelines.metrics.load_acts import join
from pipelines.metrics.strain import BASELINE_WEEKS, with_strain
from pipelines.metrics.weeks_roster import Roster, roster_of
from pipelines.person_weeks import EVERYBODY, Acts, ArchiveSpan, Mark, Shard, WeekRows, WeekState
from pipelines.ports import Archive

_WEEK, _FRIDAY, _TUESDAY = timedelta(weeks=1), timedelta(days=4), timedelta(days=1)
#: Interactions whose columns are held at a time: about 1.3 GB at three targets each, with all that is computed from them.
SHARD_ROWS = 2_000_000
_MOST_SHARDS = 256


class Weeks(Protocol):
    """Weeks of people, and the archive as columns."""

    def span(self) -> ArchiveSpan | None:
        """None when there is no interaction."""

    def states(self) -> list[WeekState]:
        """Of every week that was computed, in no order."""

    def marks(self) -> list[Mark]:
        """Weeks in which something changed after they were over. Ask before reading what they tell about."""

    def forget(self, marks: Sequence[Mark]) -> None:
        """Remove marks, each only if the week was not marked again since. Repeatable."""

    def count(self, start: datetime, end: datetime) -> int:
        """Interactions that count, from `start` to before `end`."""

    def acts(self, start: datetime, end: datetime, shard: Shard = EVERYBODY) -> Iterator[Acts]:
        """All interactions that count and name somebody of the shard, in chunks, in no order."""

    def rows(self, first: date, end: date) -> list[WeekRows]:
        """What was written of the weeks from `first` to before `end`, ascending; weeks without any row are left out."""

    def replace(self, rows: WeekRows, state: WeekState, strains_after: int, settled: Sequence[Mark] = ()) -> bool:
        """In one transaction: these rows and no others for the week, and its state with the next revision.

        The strain of the `strains_after` weeks that follow becomes due, and `settled` are forgotten as by `forget`. Who is
        excluded or erased meanwhile gets no row. False, and nothing is written, when the week is not at `state.revision`.
        """

    def set_strain(self, rows: WeekRows, revision: int) -> bool:
        """In one transaction: strain and parts of these rows, which is due no more. False as `replace`."""


@dataclass(frozen=True)
class WeekCounts:
    """What one refresh did. new, again: weeks written. strained: weeks whose strain only was. lost: to another writer."""

    new: int = 0
    again: int = 0
    strained: int = 0
    lost: int = 0
    rows: int = 0
    interactions: int = 0
    marks: int = 0


@dataclass(frozen=True)
class _Plan:
    """Weeks to write, ascending, each with its state so far; the marks that are settled once a week is written; the rest."""

    weeks: Mapping[date, WeekState]
    settled: Mapping[date, Sequence[Mark]]
    idle: Sequence[Mark]


def refresh_weeks(
    weeks: Weeks,
    archive: Archive,
    now: datetime,
    shard_rows: int = SHARD_ROWS,
    watch: Callable[[int, int], None] = lambda _done, _of: None,
) -> WeekCounts:
    """Write every whole week that is not written, is marked, or was computed by older definitions. Idempotent.

    One transaction a week: whatever stops it, each week is there as a whole or as it was, and what was not done is found
    again. Of several at the same time, one writes a week and the others lose it.
    """
    marks = weeks.marks()  # before anything else is read: what is marked later is read later, and stays marked
    plan = _plan(whole_weeks(weeks.span(), now), weeks.states(), marks, now)
    roster, excluded = roster_of(archive.roster()), archive.excluded()
    counts = WeekCounts(marks=len(marks))
    for done, (week, state) in enumerate(plan.weeks.items(), start=1):
        rows, read = _computed(weeks, roster, excluded, week, shard_rows)
        after = replace(state, version=load.VERSION, final=_is_final(week, now), computed_at=now, interactions=read)
        # Who took a week from us may have read it before what the marks tell about: then no mark is settled.
        settled = () if counts.lost else plan.settled.get(week, ())
        written = weeks.replace(rows, after, BASELINE_WEEKS, settled)
        counts = _counted(counts, written, state, rows, read)
        watch(done, len(plan.weeks))
    if not counts.lost:
        weeks.forget(plan.idle)
    return replace(counts, strained=_refresh_strain(weeks))


# ------------------------------------------------------------------------------------------------ which weeks


def whole_weeks(span: ArchiveSpan | None, now: datetime) -> list[date]:
    """Mondays of the weeks that are over for everybody and of which the archive has all, ascending.

    A week whose Monday the archive does not reach, or whose Friday, is half a week. Where retention has removed something,
    the two days before Monday must be there as well, which a young archive cannot have.
    """
    if span is None:
        return []
    monday = span.first.date() - timedelta(days=span.first.weekday())
    mondays = (monday + n * _WEEK for n in range((now.date() - monday) // _WEEK + 1))
    return [week for week in mondays if _is_whole(week, span, now)]


def _is_whole(week: date, span: ArchiveSpan, now: datetime) -> bool:
    start, end = load.read_range(week)
    begins = _midnight(week)
    reached = span.first <= start if span.retired else span.first < begins + _TUESDAY
    return reached and span.last >= begins + _FRIDAY and now >= end


def _is_final(week: date, now: datetime) -> bool:
    """Whether the UTC week after it is over: what still comes for one that is over leaves a mark."""
    return now >= _midnight(week) + 2 * _WEEK


def _midnight(week: date) -> datetime:
    return datetime(week.year, week.month, week.day, tzinfo=UTC)


def _plan(whole: Sequence[date], states: Collection[WeekState], marks: Sequence[Mark], now: datetime) -> _Plan:
    known = {state.week: state for state in states}
    touched = {week for mark in marks for week in _touched(mark)}
    todo = {
        week: known.get(week) or WeekState(week, load.VERSION, 0, False, False, now, 0)
        for week in whole
        if week not in known or week in touched or _is_outdated(known[week], now)
    }
    settled: dict[date, list[Mark]] = {}
    for mark in marks:
        if ours := [week for week in _touched(mark) if week in todo]:
            settled.setdefault(max(ours), []).append(mark)
    return _Plan(todo, settled, [mark for mark in marks if not any(week in todo for week in _touched(mark))])


def _touched(mark: Mark) -> Iterator[date]:
    """A week in UTC is part of three weeks of people's own clocks."""
    return (mark.week + n * _WEEK for n in (-1, 0, 1))


def _is_outdated(state: WeekState, now: datetime) -> bool:
    return state.version != load.VERSION or (not state.final and _is_final(state.week, now))


# ------------------------------------------------------------------------------------------------ one week


def _counted(counts: WeekCounts, written: bool, before: WeekState, rows: WeekRows, read: int) -> WeekCounts:
    if not written:
        return replace(counts, lost=counts.lost + 1)
    new = before.revision == 0
    return replace(
        counts,
        new=counts.new + new,
        again=counts.again + (not new),
        rows=counts.rows + len(rows),
        interactions=counts.interactions + read,
    )


def _computed(
    weeks: Weeks, roster: Roster, excluded: frozenset[str], week: date, shard_rows: int
) -> tuple[WeekRows, int]:
    """The rows of a week with their strain, and how many interactions were read for them."""
    start, end = load.read_range(week)
    read = weeks.count(start, end)
    parts = [
        load.week_rows(join(weeks.acts(start, end, shard)), roster, week, shard, excluded)
        for shard in shards(read, shard_rows)
    ]
    rows = load.merge(parts)
    return with_strain(rows, weeks.rows(week - BASELINE_WEEKS * _WEEK, week)), read


def shards(interactions: int, most: int) -> list[Shard]:
    """Slices of the organisation of which each is about in `most` interactions, and all are everybody."""
    count = 1
    while interactions > count * most and count < _MOST_SHARDS:
        count *= 2
    width = _MOST_SHARDS // count
    return [Shard(low, low + width) for low in range(0, _MOST_SHARDS, width)]


def _refresh_strain(weeks: Weeks) -> int:
    """Weigh again the weeks of which a week of the baseline was written since, oldest first. How many."""
    due = sorted((state for state in weeks.states() if state.strain_due), key=lambda state: state.week)
    done = 0
    for state in due:
        found = {rows.week: rows for rows in weeks.rows(state.week - BASELINE_WEEKS * _WEEK, state.week + _WEEK)}
        rows = found.pop(state.week, None) or load.no_rows(state.week)
        done += weeks.set_strain(with_strain(rows, list(found.values())), state.revision)
    return done
