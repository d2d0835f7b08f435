"""What each column counts, one statement at a time; `test_load_reference` compares all of them with a plain count."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.metrics import load
from pipelines.metrics.load_acts import join
from pipelines.metrics.weeks_roster import roster_of
from pipelines.model import Interaction, Medium, RosterChange, RosterKind, Scope
from pipelines.person_weeks import COLUMNS, Shard, WeekRows
from tests.support.fakes_weeks import act, acts_of, as_table, at, change, meet, organisation
from tests.support.make import outsider, person

WEEK = date(2026, 3, 9)  # no clock changes in Europe
BERLIN = "Europe/Berlin"


def counted(
    events: list[Interaction], changes: list[RosterChange] | None = None, week: date = WEEK, **rest: object
) -> WeekRows:
    return load.week_rows(acts_of(events), roster_of(changes or []), week, **rest)  # type: ignore[arg-type]


def of(rows: WeekRows, who: int) -> dict[str, float]:
    place = rows.people.index(person(who))
    return {name: float(values[place]) for name, values in rows.values.items()}


def everyone(*zones: str | None) -> list[RosterChange]:
    return [change(who, at(WEEK, -60), "red", zone) for who, zone in enumerate(zones, start=1)]


def test_messages_are_counted_for_both_sides_and_a_broadcast_is_load_for_its_receivers_only() -> None:
    to_all = act(at(WEEK, 1, 10), 1, [2, 3], scope=Scope.BROADCAST)
    rows = counted([act(at(WEEK, 1, 9)), act(at(WEEK, 1, 9.5), 1, [2, 3], Medium.EMAIL, scope=Scope.GROUP), to_all])
    assert (of(rows, 1)["sent"], of(rows, 2)["received"], of(rows, 3)["received"]) == (3, 3, 2)
    assert [of(rows, who)["network_size"] for who in (1, 2, 3)] == [2, 1, 1]


def test_response_load_shares_a_message_among_its_targets_and_spares_broadcasts() -> None:
    asked = [
        act(at(WEEK, 1, 9), 2, [1]),
        act(at(WEEK, 1, 9), 2, [1, 3], scope=Scope.GROUP, target_count=4),
        act(at(WEEK, 1, 9.5), 2, [1, 3], scope=Scope.BROADCAST),
    ]
    own = [act(at(WEEK, day, 12), 1, [2]) for day in (0, 1)]
    assert of(counted(asked + own), 1)["response_load"] == pytest.approx((1 + 1 / 4) / 2)


def test_overlapping_meetings_count_once_and_outsiders_have_no_row() -> None:
    rows = counted([meet(at(WEEK, 1, 9), 2), meet(at(WEEK, 1, 10), 2, 2, [1, outsider(1)]), meet(at(WEEK, 1, 20), 0.5)])
    assert [of(rows, who)["meeting_h"] for who in (1, 2)] == [3.5, 3.5]
    assert rows.people == (person(1), person(2))
    assert of(rows, 2)["network_size"] == 2


def test_a_meeting_over_midnight_is_shared_by_the_weeks_of_each_clock() -> None:
    late = meet(at(WEEK, 6, 22.5), 2)  # Sunday 22:30 UTC: Sunday 23:30 in Berlin, Monday 04:00 in India
    rows = counted([late], everyone(BERLIN, "Asia/Kolkata"))
    after = counted([late], everyone(BERLIN, "Asia/Kolkata"), WEEK + timedelta(weeks=1))
    assert [of(rows, who)["meeting_h"] for who in (1, 2)] == [0.5, 0]
    assert [of(after, who)["meeting_h"] for who in (1, 2)] == [1.5, 2]


def test_meetings_cannot_fill_more_than_the_day_has_hours() -> None:
    all_day = [meet(at(WEEK, day, hour), 24) for day in range(7) for hour in (0, 6, 12)]
    rows = counted(all_day)
    assert of(rows, 1)["meeting_h"] == 7 * 24
    assert sum(e.duration_s for e in all_day) > 2 * 7 * 24 * 3600  # the naive sum


def test_working_hours_are_those_of_the_own_clock() -> None:
    events = [act(at(WEEK, 1, hour), who, [9]) for who in (1, 2) for hour in (8, 13)]
    rows = counted(events, everyone(BERLIN, "America/New_York"))
    # 08:00 and 13:00 UTC are 09:00 and 14:00 in Berlin, 04:00 and 09:00 in New York, which has changed its clocks already
    assert [of(rows, who)["after_hours_share"] for who in (1, 2)] == [0, 0.5]


def test_the_offset_of_the_event_goes_before_the_roster() -> None:
    rows = counted([act(at(WEEK, 1, 8), tz_offset_min=-240)], everyone(BERLIN))
    assert of(rows, 1)["after_hours_share"] == 1


def test_a_weekend_counts_as_after_hours_too() -> None:
    events = [act(at(WEEK, day, 12), tz_offset_min=0) for day in (1, 2, 5, 6)] + [act(at(WEEK, 3, 19), tz_offset_min=0)]
    row = of(counted(events), 1)
    assert (row["after_hours_share"], row["weekend_share"]) == pytest.approx((3 / 5, 2 / 5))


def test_without_a_zone_what_depends_on_the_clock_is_unknown_and_the_rest_is_not() -> None:
    row = of(counted([act(at(WEEK, 1, 12)), meet(at(WEEK, 2, 12), 1)]), 1)
    unknown = {name for name in COLUMNS if np.isnan(row[name])}
    clock = {"after_hours_share", "weekend_share", "short_rests", "span_h", "focus_blocks"}
    assert unknown == clock | {"response_h"}
    assert (row["sent"], row["working_days"], row["meeting_h"]) == (1, 2, 1)


def test_own_acts_tell_where_a_person_reads_and_meets() -> None:
    own = act(at(WEEK, 2, 12), 2, [1], tz_offset_min=330)
    invited = meet(at(WEEK, 6, 19), 1, 1, [2])  # Monday 00:30 of the next week in India
    assert of(counted([own, invited]), 2)["meeting_h"] == 0
    assert of(counted([replace(own, tz_offset_min=None), invited]), 2)["meeting_h"] == 1


def nights(*pairs: tuple[float, float], **rest: object) -> list[Interaction]:
    """Days that begin and end at these hours of UTC, from Monday on."""
    return [act(at(WEEK, day, hour), **rest) for day, pair in enumerate(pairs) for hour in pair]  # type: ignore[arg-type]


def test_a_rest_below_eleven_hours_is_short() -> None:
    until = [nights((8, 21), (8 - short / 60, 17), tz_offset_min=0) for short in (0, 1)]
    assert [of(counted(events), 1)["short_rests"] for events in until] == [0, 1]


def test_an_evening_past_midnight_belongs_to_its_day() -> None:
    row = of(counted(nights((9, 24.5), (12, 18), tz_offset_min=0)), 1)
    assert (row["short_rests"], row["working_days"], row["span_h"]) == (0, 2, (15.5 + 6) / 2)


def test_the_night_before_monday_counts_to_the_week_that_it_begins() -> None:
    events = [act(at(WEEK, -1, 23), tz_offset_min=0), act(at(WEEK, 0, 8), tz_offset_min=0)]
    weeks = [counted(events, week=WEEK + timedelta(weeks=n)) for n in (-1, 0)]
    assert [of(rows, 1)["short_rests"] for rows in weeks] == [0, 1]


@pytest.mark.parametrize("week", [date(2026, 3, 23), date(2026, 10, 19)], ids=["an hour less", "an hour more"])
def test_the_night_of_the_changing_clocks_is_no_short_rest(week: date) -> None:
    # Saturday until 20:40, Sunday from 08:10: 11.5 h by the clock; 10.5 h passed in spring, 12.5 h in autumn.
    local = [(5, 20 + 40 / 60, 60 if week.month == 3 else 120), (6, 8 + 10 / 60, 120 if week.month == 3 else 60)]
    events = [act(at(week, day, hour - offset / 60)) for day, hour, offset in local]
    roster = [change(1, at(week, -60), "red", BERLIN)]
    assert of(counted(events, roster, week), 1)["short_rests"] == 0
    passed = (events[1].time_ms - events[0].time_ms) / 3_600_000
    assert (passed < 11) == (week.month == 3)  # what a plain difference would have called short


def test_a_meeting_in_the_evening_shortens_the_rest_of_who_worked_that_day_only() -> None:
    evening, morning = meet(at(WEEK, 1, 20), 2, 1, [2], tz_offset_min=0), act(at(WEEK, 2, 8), 2, [1], tz_offset_min=0)
    at_work = act(at(WEEK, 1, 9), 2, [1], tz_offset_min=0)
    assert of(counted([evening, morning]), 2)["short_rests"] == 0
    assert of(counted([evening, morning, at_work]), 2)["short_rests"] == 1


@pytest.mark.parametrize(
    ("hours", "blocks"),
    [([18], 4), ([12], 3), ([13], 4), ([10, 12, 14, 16], 3), ([10.5, 12, 13.5, 15, 16.5], 0), ([9, 17], 4)],
)
def test_focus_blocks_are_the_two_hours_that_fit_between_acts(hours: list[float], blocks: int) -> None:
    assert of(counted([act(at(WEEK, 1, h), tz_offset_min=0) for h in hours]), 1)["focus_blocks"] == blocks


def test_a_meeting_takes_focus_time_and_a_weekend_gives_none() -> None:
    work = [act(at(WEEK, day, 20), tz_offset_min=0) for day in (1, 2, 5)]
    rows = counted([*work, meet(at(WEEK, 1, 8), 5, tz_offset_min=0)])
    assert of(rows, 1)["focus_blocks"] == (2 + 4) / 2
    assert np.isnan(of(counted(work[2:]), 1)["focus_blocks"])


def test_a_switch_is_another_medium_or_other_people_within_an_hour() -> None:
    to = {0: [2], 5: [2], 10: [3], 15: [2, 3]}
    events = [act(at(WEEK, 1, 9 + minute / 60), 1, targets, scope=Scope.GROUP) for minute, targets in to.items()]
    events += [act(at(WEEK, 1, 9.5), 1, [2, 3], Medium.DOC), act(at(WEEK, 1, 10), 1, [2])]
    assert of(counted(events), 1)["fragmentation"] == pytest.approx(3 / 2)


def test_response_time_is_the_median_of_own_answers() -> None:
    events = [act(at(WEEK, 1, 9 + i), response_s=3600 * hours) for i, hours in enumerate((1, 2, 6, 30))]
    rows = counted(events)
    assert of(rows, 1)["response_h"] == 4
    assert np.isnan(of(rows, 2)["response_h"])


def test_a_call_is_an_act_of_both_sides_and_an_invitation_is_none() -> None:
    call = meet(at(WEEK, 1, 9), 0.5, 1, [2], medium=Medium.CALL, scope=Scope.DIRECT)
    assert of(counted([call]), 2)["working_days"] == 1
    assert of(counted([replace(call, medium=Medium.MEETING)]), 2)["working_days"] == 0


# ------------------------------------------------------------------------------------------------ who has a row


def test_a_quiet_week_on_the_roster_is_a_row_of_zeros() -> None:
    rows = counted([], everyone(BERLIN))
    row = of(rows, 1)
    assert np.isnan(row.pop("response_h"))
    assert rows.teams == ("red",)
    assert set(row.values()) == {0}


def test_a_quiet_week_without_a_zone_knows_no_shares() -> None:
    row = of(counted([], everyone(None)), 1)
    assert np.isnan(row["after_hours_share"])
    assert row["working_days"] == 0


def test_who_left_has_no_row_even_when_mail_still_comes() -> None:
    left = change(1, at(WEEK, -3), kind=RosterKind.LEFT)
    mail = act(at(WEEK, 1, 9), 2, [1])
    assert person(1) not in counted([mail], [*everyone(BERLIN), left]).people
    assert person(1) in counted([mail], everyone(BERLIN)).people


def test_the_week_of_leaving_is_the_last_one_and_keeps_the_team() -> None:
    changes = [*everyone(BERLIN), change(1, at(WEEK, 2), kind=RosterKind.LEFT)]
    rows = [counted([], changes, WEEK + timedelta(weeks=n)) for n in (-1, 0, 1)]
    assert [r.people for r in rows] == [(person(1),), (person(1),), ()]
    assert rows[1].teams == ("red",)


def test_a_mover_belongs_to_the_team_at_the_end_of_the_own_week() -> None:
    # Monday 05:00 in India is still Sunday in UTC and in New York.
    moves = [change(who, at(WEEK, 6, 23.5), "blue", kind=RosterKind.MOVED) for who in (1, 2)]
    rows = counted([], [*everyone("Asia/Kolkata", "America/New_York"), *moves])
    assert rows.teams == ("red", "blue")


def test_a_move_without_a_zone_keeps_the_zone() -> None:
    moved = change(1, at(WEEK, -8), "blue", None, RosterKind.MOVED)
    row = of(counted([act(at(WEEK, 1, 7.5))], [*everyone(BERLIN), moved]), 1)
    assert row["after_hours_share"] == 0  # 08:30 in Berlin, 07:30 in UTC


def test_excluded_people_are_as_if_they_had_never_been() -> None:
    events = [act(at(WEEK, 1, 9), 1, [2, 3]), act(at(WEEK, 1, 10), 2, [1]), act(at(WEEK, 1, 11), 1, [2])]
    rows = counted(events, everyone(BERLIN, BERLIN), excluded=frozenset({person(2)}))
    assert rows.people == (person(1), person(3))
    row = of(rows, 1)
    assert (row["sent"], row["received"], row["network_size"]) == (1, 0, 1)


def test_a_zone_that_this_machine_does_not_know_is_no_zone() -> None:
    assert np.isnan(of(counted([act(at(WEEK, 1, 9))], everyone("Mars/Olympus")), 1)["span_h"])


# ------------------------------------------------------------------------------------------------ as a whole


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_order_of_events_and_their_chunks_does_not_matter(seed: int) -> None:
    rng = random.Random(seed)
    events, changes = organisation(rng, WEEK, acts=60)
    straight = as_table(counted(events, changes))
    rng.shuffle(events)
    rng.shuffle(changes)
    chunks = [acts_of(events[i : i + 9]) for i in range(0, len(events), 9)]
    assert as_table(load.week_rows(join(chunks), roster_of(changes), WEEK)) == straight


def test_shards_together_are_the_whole() -> None:
    events, changes = organisation(random.Random(5), WEEK)
    slices = [Shard(0, 3), Shard(3, 5), Shard(5, 256)]
    parts = [load.week_rows(acts_of(events), roster_of(changes), WEEK, shard) for shard in slices]
    assert all(len(part) for part in parts)
    assert as_table(load.merge(parts)) == as_table(counted(events, changes))


def test_what_lies_outside_the_read_range_changes_nothing() -> None:
    events, changes = organisation(random.Random(6), WEEK)
    far = [act(at(WEEK, day, 3), 1, [2], tz_offset_min=-720) for day in (-3, 9)]
    assert as_table(counted(events + far, changes)) == as_table(counted(events, changes))


def test_an_empty_archive_and_an_empty_roster_give_no_rows() -> None:
    rows = load.week_rows(join([]), roster_of([]), WEEK)
    assert (len(rows), set(rows.values)) == (0, set(COLUMNS))


def test_every_number_is_one_that_the_table_can_hold() -> None:
    rows = counted(*organisation(random.Random(7), WEEK))
    for name, values in rows.values.items():
        assert np.array_equal(values, values.astype(np.float32), equal_nan=True), name
        assert not COLUMNS[name] or np.array_equal(values, np.round(values), equal_nan=True), name
