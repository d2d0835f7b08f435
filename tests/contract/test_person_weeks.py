"""One suite over the fake and the embedded PostgreSQL; and what only a database can do: triggers and transactions."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from pipelines.archive import effects
from pipelines.archive.weeks import PostgresWeeks
from pipelines.errors import PermanentError
from pipelines.jobs.weeks import Weeks, refresh_weeks
from pipelines.metrics.load_acts import join
from pipelines.model import Event, Interaction, PrivacyRequest, Retraction, RosterChange, RosterKind
from pipelines.person_weeks import (
    COLUMNS,
    MEDIA,
    NO_OFFSET,
    NO_RESPONSE,
    SCOPES,
    Acts,
    Mark,
    Shard,
    WeekRows,
    WeekState,
)
from pipelines.ports import Archive
from pipelines.postgres import open_pool
from pipelines.wiring import Endpoints
from tests.conftest import opened
from tests.support.fakes_weeks import FakeWeeks, WeekWorld, act, as_table, at, change, meet, ms, organisation
from tests.support.make import outsider, person

WEEK = date(2026, 3, 9)
LATER = datetime(2026, 5, 1, tzinfo=UTC)
START, END = at(WEEK, -2), at(WEEK, 9)


@dataclass
class Place:
    """The weeks and the archive under test, and a way to put events there."""

    weeks: Weeks
    archive: Archive
    store: Callable[..., None]

    def refresh(self, **rest: int) -> None:
        refresh_weeks(self.weeks, self.archive, LATER, **rest)

    def tables(self) -> dict[date, dict[str, tuple[object, ...]]]:
        return {rows.week: as_table(rows) for rows in self.weeks.rows(date(2020, 1, 6), date(2030, 1, 7))}

    def marked(self) -> set[date]:
        return {mark.week for mark in self.weeks.marks()}


@pytest.fixture(params=["fake", "embedded"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "fake":
        weeks = FakeWeeks(WeekWorld())
        yield Place(weeks, weeks, lambda *events: _put(weeks.world, events))  # type: ignore[arg-type]
        return
    yield from _real(request.getfixturevalue("embedded"))


@pytest.fixture
def real(embedded: Endpoints) -> Iterator[Place]:
    yield from _real(embedded)


def _real(where: Endpoints) -> Iterator[Place]:
    with opened(where) as stores, open_pool(where.postgres) as pool:
        store = stores.archive.store
        yield Place(PostgresWeeks(pool), stores.archive, lambda *events: store([effects.pack(events)]))


def _put(world: WeekWorld, events: tuple[Event, ...]) -> None:
    for event in events:
        if isinstance(event, RosterChange):
            world.changes.append(event)
        elif isinstance(event, Interaction):
            world.events.append(event)
            day = datetime.fromtimestamp(event.time_ms / 1000, UTC).date()
            world.stale[day - timedelta(days=day.weekday())] = LATER


def flat(acts: Acts) -> set[tuple[object, ...]]:
    """Rows of columns as something that can be compared."""
    targets: dict[int, list[str]] = {}
    for row, target in zip(acts.target_row.tolist(), acts.target.tolist(), strict=True):
        targets.setdefault(row, []).append(acts.people[target])
    columns = zip(
        acts.time_ms.tolist(),
        [MEDIA[m] for m in acts.medium],
        [SCOPES[s] for s in acts.scope],
        [acts.people[a] for a in acts.actor],
        acts.target_count.tolist(),
        acts.duration_s.tolist(),
        acts.response_s.tolist(),
        acts.offset_min.tolist(),
        strict=True,
    )
    return {(*row, *sorted(targets[number])) for number, row in enumerate(columns)}


def rows(week: date = WEEK, people: int = 3, value: float = 0.1, strain: float = 50.0) -> WeekRows:
    values = {
        n: np.full(people, 3.0 if whole else value, dtype=np.float32).astype(float) for n, whole in COLUMNS.items()
    }
    values["response_h"][0] = values["short_rests"][0] = np.nan
    strains = np.array([np.nan, *[strain] * (people - 1)])
    names = tuple(person(n) for n in range(people))
    return WeekRows(week, names, (None, *["red"] * (people - 1)), values, strains, {"a": strains, "b": strains * 0})


def state(week: date = WEEK, revision: int = 0) -> WeekState:
    return WeekState(week, 1, revision, True, False, LATER, 7)


# ------------------------------------------------------------------------------------------------ the archive as columns


def test_an_empty_archive_has_no_span_and_no_acts(place: Place) -> None:
    assert (place.weeks.span(), place.weeks.states(), place.weeks.marks()) == (None, [], [])
    assert len(join(place.weeks.acts(START, END))) == place.weeks.count(START, END) == 0


def test_acts_come_back_as_they_were_stored(place: Place) -> None:
    full = meet(at(WEEK, 1, 9.1), 2, 1, [2, 3, outsider(4)], response_s=0, tz_offset_min=-720, target_count=5)
    place.store(full, act(at(WEEK, 1, 10), 2, [1]), act(START, 3, [1]), act(END, 4, [1]))
    found = join(place.weeks.acts(START, END))
    expected = (full.time_ms, "meeting", "group", person(1), 5, 7200, 0, -720, person(2), person(3), outsider(4))
    plain = (ms(at(WEEK, 1, 10)), "message", "direct", person(2), 1, 0, NO_RESPONSE, NO_OFFSET, person(1))
    assert flat(found) == {expected, plain, (ms(START), *plain[1:3], person(3), *plain[4:])}
    assert place.weeks.count(START, END) == 3
    span = place.weeks.span()
    assert span
    assert (span.first, span.last, span.retired) == (START, END, False)


def test_a_shard_has_all_that_names_somebody_of_it(place: Place) -> None:
    place.store(act(at(WEEK, 1, 9), 1, [2]), act(at(WEEK, 1, 10), 3, [1, 200]), act(at(WEEK, 1, 11), 254, [255]))
    actors = [
        sorted(a[3] for a in flat(join(place.weeks.acts(START, END, shard))))
        for shard in (Shard(0, 2), Shard(2, 4), Shard(128, 255), Shard(255, 256), Shard(10, 20))
    ]
    one, three, last = person(1), person(3), person(254)
    assert actors == [[one, three], [one, three], [three, last], [last], []]


# ------------------------------------------------------------------------------------------------ weeks


def test_a_week_comes_back_as_it_was_written(place: Place) -> None:
    assert place.weeks.replace(rows(), state(), 12)
    assert place.tables() == {WEEK: as_table(rows())}
    assert place.weeks.states() == [state(revision=1)]


def test_a_second_write_leaves_no_row_of_the_first(place: Place) -> None:
    place.weeks.replace(rows(people=4), state(), 12)
    assert place.weeks.replace(rows(people=2, value=0.7), state(revision=1), 12)
    assert place.tables() == {WEEK: as_table(rows(people=2, value=0.7))}


@pytest.mark.parametrize("revision", [0, 2])
def test_who_read_another_revision_writes_nothing(place: Place, revision: int) -> None:
    place.weeks.replace(rows(), state(), 12)
    mark = _marked(place)
    assert not place.weeks.replace(rows(people=1), state(revision=revision), 12, [mark])
    assert not place.weeks.set_strain(rows(strain=9), revision)
    assert (place.tables(), place.weeks.states()) == ({WEEK: as_table(rows())}, [state(revision=1)])
    assert place.weeks.marks() == [mark]


def test_nothing_is_overwritten_that_is_not_there_any_more(place: Place) -> None:
    assert not place.weeks.replace(rows(), state(revision=3), 12)
    assert (place.tables(), place.weeks.states()) == ({}, [])


def _marked(place: Place) -> Mark:
    place.store(act(at(WEEK, 1, 9)))
    (mark,) = place.weeks.marks()
    return mark


def test_a_mark_is_settled_with_the_week_and_one_that_was_made_again_stays(place: Place) -> None:
    mark = _marked(place)
    older = replace(mark, at=mark.at - timedelta(microseconds=1))
    place.weeks.replace(rows(), state(), 12, [older])
    place.weeks.forget([older])
    assert place.weeks.marks() == [mark]
    place.weeks.replace(rows(), state(revision=1), 12, [mark])
    assert place.weeks.marks() == []


def test_the_strain_of_the_weeks_after_becomes_due_and_is_set_by_itself(place: Place) -> None:
    weeks = [WEEK + timedelta(weeks=n) for n in range(4)]
    for week in reversed(weeks):
        place.weeks.replace(rows(week), state(week), 2)
    due = {s.week: s for s in place.weeks.states()}
    assert [due[week].strain_due for week in weeks] == [False, True, True, True]
    place.weeks.replace(rows(), state(revision=1), 2)
    assert place.weeks.set_strain(rows(weeks[1], value=9.9, strain=64.015625), due[weeks[1]].revision)
    now = {s.week: s for s in place.weeks.states()}
    assert [now[week].strain_due for week in weeks] == [False, False, True, True]
    assert place.tables()[weeks[1]][person(1)][-2:] == (64.015625, (64.015625, 0))


def test_a_refresh_writes_the_same_on_the_server_as_in_memory(place: Place) -> None:
    rng, memory = random.Random(8), FakeWeeks(WeekWorld())
    for n in range(14):
        events, changes = organisation(rng, WEEK - timedelta(weeks=n), acts=40)
        unique = [replace(e, key=f"{n} {e.key}") for e in events]
        place.store(*unique, *changes)
        _put(memory.world, (*unique, *changes))
    place.refresh(shard_rows=100)
    refresh_weeks(memory, memory, LATER)  # type: ignore[arg-type]
    expected = {rows.week: as_table(rows) for rows in memory.rows(date(2020, 1, 6), date(2030, 1, 7))}
    assert len(expected) >= 14
    assert place.tables() == expected
    assert place.marked() == set()
    states = place.weeks.states()
    place.refresh()
    assert (place.tables(), place.weeks.states()) == (expected, states)


# ------------------------------------------------------------------------------------------------ PostgreSQL


def fortnight(real: Place) -> None:
    events = [act(at(WEEK, day, hour), who, [3 - who]) for day in range(-7, 7) for hour in (9, 15) for who in (1, 2)]
    others = [act(at(WEEK, day, 12), 3, [4]) for day in range(-7, 7)]
    roster = [change(who, at(WEEK, -30), "red", "Europe/Berlin") for who in (1, 2)]
    real.store(*events, *others, *roster)
    real.refresh()
    assert len(real.tables()) == 2
    assert real.marked() == set()


def test_a_withdrawn_interaction_no_longer_counts_and_marks_its_week(real: Place) -> None:
    fortnight(real)
    gone = act(at(WEEK, 1, 9))
    real.store(Retraction("w1", 1, "/test", ms(LATER), gone.key))
    assert real.marked() == {WEEK}
    before = real.tables()[WEEK][person(1)]
    real.refresh()
    after = real.tables()[WEEK][person(1)]
    sent = 1 + list(COLUMNS).index("sent")
    assert (before[sent], after[sent]) == (14, 13)


def test_a_late_change_of_the_roster_marks_the_weeks_since_and_a_repetition_none(real: Place) -> None:
    fortnight(real)
    again = replace(change(1, at(WEEK, -30), "red", "Europe/Berlin"), key="again")
    real.store(again)
    assert real.marked() == set()
    real.store(change(1, at(WEEK, 2), "blue", kind=RosterKind.MOVED))
    assert real.marked() == {WEEK}
    real.refresh()
    assert real.tables()[WEEK][person(1)][0] == "blue"


@pytest.mark.parametrize("erase", [False, True])
def test_who_is_excluded_has_no_row_at_once_and_counts_for_nobody_after_the_next_refresh(
    real: Place, erase: bool
) -> None:
    fortnight(real)
    real.store(PrivacyRequest("x1", 1, "/hr", ms(LATER), person(2), erase))
    assert [set(table) for table in real.tables().values()] == [{person(1), person(3), person(4)}] * 2
    real.refresh()
    (alone, _) = real.tables().values()
    assert alone[person(1)][1:4] == (0, 0, 0)  # all that person 1 did was with person 2


def test_an_exclusion_during_a_refresh_leaves_no_row(real: Place) -> None:
    fortnight(real)
    stale, (first, *_) = rows(people=3), real.weeks.states()
    real.store(PrivacyRequest("x1", 1, "/hr", ms(LATER), person(2), True))
    real.weeks.replace(replace(stale, week=first.week), first, 12)
    assert set(real.tables()[first.week]) == {person(0), person(1)}  # and not 2, who is in the rows


def test_a_write_that_fails_leaves_the_week_as_it_was(real: Place) -> None:
    real.weeks.replace(rows(), state(), 12)
    twice = rows(people=2)
    twice = replace(twice, people=(person(1), person(1)))
    mark = _marked(real)
    with pytest.raises(PermanentError):
        real.weeks.replace(twice, state(revision=1), 12, [mark])
    assert (real.tables(), real.weeks.states()) == ({WEEK: as_table(rows())}, [state(revision=1)])
    assert real.weeks.marks() == [mark]
