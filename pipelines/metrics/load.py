"""What a week was like for each person, counted from the archive on the person's own clock. No text, no judgement.

A week is a calendar week from Monday 00:00 of the person's own zone: the offset that the event says of its actor, else the
roster's zone at that time, else that of the person's own acts around it. Where none is known the week is taken in UTC and
what depends on the clock is NaN. Retracted interactions and excluded people are as if they had never been.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import numpy as np

from pipelines.evidence import Floats, Ints
from pipelines.metrics import load_days, zones
from pipelines.metrics.load_acts import (
    DAY_MS,
    HOUR_MS,
    INSIDE,
    MINUTE_MS,
    WEEK_MS,
    Doings,
    chosen,
    circles,
    doings_of,
    has_response,
    is_broadcast,
    without,
)
from pipelines.metrics.load_days import ratio
from pipelines.metrics.weeks_roster import Roster
from pipelines.person_weeks import COLUMNS, EVERYBODY, NO_OFFSET, Acts, Bools, Shard, WeekRows

#: Goes up when any definition in this module or in `load_acts`, `load_days`, `zones` changes: weeks are then made again.
VERSION = 1
#: How far a read reaches around the week in UTC: back to Saturday morning of the easternmost clock (+14 h), because rest
#: and meetings may begin two days before Monday; on to Sunday midnight of the westernmost (-12 h).
READ_BEFORE, READ_AFTER = timedelta(hours=60), timedelta(hours=12)
#: Working time: from 08:00 to 18:00, Monday to Friday. Public holidays are not known.
_OPENS_MS, _CLOSES_MS, _WEEKDAYS_MS = 8 * HOUR_MS, 18 * HOUR_MS, 5 * DAY_MS
_FRACTION = 1 << 32  # shares of a message are added as whole numbers, so that their order cannot change a sum

#: Column -> what it counts, for people who read a table of it.
MEANINGS: Mapping[str, str] = {
    "working_days": "days (04:00 to 04:00) with an act of one's own: anything begun, a call or a contact",
    "sent": "messages and e-mails written; one to many counts once",
    "received": "messages and e-mails received, broadcasts included",
    "meeting_h": "hours in meetings, calls and contacts, as caller or invited; overlapping ones count once",
    "after_hours_share": "share of own acts outside 08:00 to 18:00 on Monday to Friday; week-ends included",
    "weekend_share": "share of own acts on Saturday and Sunday",
    "short_rests": "nights with under 11 h between the end of work and its next beginning (2003/88/EC, art. 3)",
    "span_h": "hours from the first to the last act or meeting, mean of the worked days",
    "focus_blocks": "undisturbed blocks of 2 h between 09:00 and 17:00, mean of the worked days, Monday to Friday",
    "fragmentation": "switches per active hour: acts that differ from the one before in medium or people",
    "response_load": "messages and e-mails to oneself or a group, each shared by its targets, per working day",
    "response_h": "median hours until own answers",
    "network_size": "different people written to, met, or heard from; broadcasts apart",
}
assert MEANINGS.keys() == COLUMNS.keys(), "a column without a meaning is not shown"


def read_range(week: date) -> tuple[datetime, datetime]:
    """The stretch of the archive that a week needs, UTC."""
    monday = datetime(week.year, week.month, week.day, tzinfo=UTC)
    return monday - READ_BEFORE, monday + timedelta(weeks=1) + READ_AFTER


def week_rows(
    acts: Acts, roster: Roster, week: date, shard: Shard = EVERYBODY, excluded: frozenset[str] = frozenset()
) -> WeekRows:
    """One row for each person of the shard who was on the roster in the week, or took part in something; without strain.

    Who has left by the beginning of the week has no row, whatever still arrives. Somebody without any act has a row of
    zeros with 0 working days. The order of the acts does not matter.

    Args:
        acts: all of `read_range(week)` that names somebody of the shard; more does no harm.
        week: a Monday.
    """
    monday_ms = round(datetime(week.year, week.month, week.day, tzinfo=UTC).timestamp() * 1000)
    acts = _read(without(acts, excluded), monday_ms)
    people = sorted(p for p in {*acts.people, *roster.people} - excluded if p.startswith(INSIDE) and shard.has(p))
    doings = doings_of(acts, roster, tuple(people), monday_ms)
    here, team = _presence(doings, roster, monday_ms)
    values = {name: value[here] for name, value in _values(acts, doings).items()}
    return WeekRows(
        week=week,
        people=tuple(doings.people[i] for i in np.flatnonzero(here)),
        teams=tuple(None if t < 0 else roster.teams[t] for t in team[here].tolist()),
        values={name: values[name].astype(np.float32).astype(np.float64) for name in COLUMNS},
        strain=np.full(int(here.sum()), np.nan),
        parts={},
    )


def _read(acts: Acts, monday_ms: int) -> Acts:
    """Only what is in the read range, so that a caller who hands in more gets the same."""
    before, after = (limit // timedelta(milliseconds=1) for limit in (READ_BEFORE, READ_AFTER))
    row = (acts.time_ms >= monday_ms - before) & (acts.time_ms < monday_ms + WEEK_MS + after)
    return acts if row.all() else chosen(acts, row)


def no_rows(week: date) -> WeekRows:
    """A week in which nobody was there."""
    return WeekRows(week, (), (), {name: np.empty(0) for name in COLUMNS}, np.empty(0), {})


def merge(shards: Sequence[WeekRows]) -> WeekRows:
    """The rows of all shards of one week, ascending by person again."""
    people = [person for rows in shards for person in rows.people]
    teams = [team for rows in shards for team in rows.teams]
    order = sorted(range(len(people)), key=people.__getitem__)
    values = {name: np.concatenate([rows.values[name] for rows in shards])[order] for name in COLUMNS}
    strain = np.concatenate([rows.strain for rows in shards])[order]
    return WeekRows(shards[0].week, tuple(people[i] for i in order), tuple(teams[i] for i in order), values, strain, {})


# ------------------------------------------------------------------------------------------------ who has a row


def _presence(doings: Doings, roster: Roster, monday_ms: int) -> tuple[Bools, Ints]:
    """Whether each person has a row, and the place of the team at the end of the week (-1: none known)."""
    active = np.bincount(doings.person[doings.in_week], minlength=len(doings.people)) > 0
    start, end = _bounds(doings, roster, monday_ms)
    at_start, at_end = roster.as_of(doings.place, start), roster.as_of(doings.place, end - 1)
    begun = np.where(at_start >= 0, at_start, roster.first(doings.place) - 1)
    sums = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(roster.present)])
    present = np.where(at_end >= 0, sums[at_end + 1] - sums[np.minimum(begun, at_end) + 1], 0) > 0
    stayed, gone = _flag(roster, at_start, True), _flag(roster, at_start, False)
    here: Bools = present | stayed | (active & ~gone)
    team = np.where(at_end >= 0, roster.team[np.maximum(at_end, 0)] if roster.team.size else -1, -1)
    return here, team


def _flag(roster: Roster, change: Ints, present: bool) -> Bools:
    if not roster.present.size:
        return np.zeros(change.shape, dtype=bool)
    flag: Bools = (change >= 0) & (roster.present[np.maximum(change, 0)] == present)
    return flag


def _bounds(doings: Doings, roster: Roster, monday_ms: int) -> tuple[Ints, Ints]:
    """When the week begins and ends for each person by the zone that the roster names, else in UTC; since 1970."""
    bounds = []
    for at in (monday_ms, monday_ms + WEEK_MS):
        time = np.full(len(doings.people), at)
        change = roster.as_of(doings.place, time)
        zone = np.where(change >= 0, roster.zone[np.maximum(change, 0)] if roster.zone.size else -1, -1)
        offset = zones.offsets(roster.zones, zone, time)
        bounds.append(at - np.where(offset == NO_OFFSET, 0, offset.astype(np.int64)) * MINUTE_MS)
    return bounds[0], bounds[1]


# ------------------------------------------------------------------------------------------------ what is counted


def _values(acts: Acts, doings: Doings) -> dict[str, Floats]:
    """Each column for each person; NaN where the clock is needed and not known."""
    values = {
        **_letters(acts, doings),
        **_hours(doings),
        **_days(acts, doings),
        "network_size": _network(acts, doings),
    }
    for name in ("after_hours_share", "weekend_share", "short_rests", "span_h", "focus_blocks"):
        values[name] = np.where(doings.clock, values[name], np.nan)
    values["response_load"] = ratio(values["response_load"], values["working_days"])
    return values


def _letters(acts: Acts, doings: Doings) -> dict[str, Floats]:
    """response_load: not yet divided by the days."""
    text, actor = doings.in_week & doings.text, doings.actor
    asked = text & ~actor & ~is_broadcast(acts)[doings.row]
    shares = np.round(_FRACTION / acts.target_count[doings.row[asked]])
    return {
        "sent": _count(doings, text & actor),
        "received": _count(doings, text & ~actor),
        "response_load": np.bincount(doings.person[asked], shares, minlength=len(doings.people)) / _FRACTION,
        "response_h": _response_h(acts, doings),
    }


def _count(doings: Doings, which: Bools) -> Floats:
    return np.bincount(doings.person[which], minlength=len(doings.people)).astype(np.float64)


def _response_h(acts: Acts, doings: Doings) -> Floats:
    own = doings.in_week & doings.actor & has_response(acts)[doings.row]
    person, seconds = doings.person[own], acts.response_s[doings.row[own]]
    order = np.lexsort((seconds, person))
    seconds = seconds[order].astype(np.float64)
    count = np.bincount(person, minlength=len(doings.people))
    begins, some = np.cumsum(count) - count, count > 0
    result = np.full(count.size, np.nan)
    low, high = (begins + (count - 1) // 2)[some], (begins + count // 2)[some]
    result[some] = (seconds[low] + seconds[high]) / 2 / 3_600
    return result


def _hours(doings: Doings) -> dict[str, Floats]:
    own, time = doings.in_week & doings.own, doings.local % DAY_MS
    weekend = own & (doings.local >= _WEEKDAYS_MS)
    after = own & ((time < _OPENS_MS) | (time >= _CLOSES_MS) | weekend)
    acts, meeting = _count(doings, own), doings.meeting
    start = doings.local[meeting]
    return {
        "after_hours_share": ratio(_count(doings, after), acts),
        "weekend_share": ratio(_count(doings, weekend), acts),
        "meeting_h": load_days.union_h(
            doings.person[meeting], start, start + doings.length[meeting], len(doings.people)
        ),
    }


def _days(acts: Acts, doings: Doings) -> dict[str, Floats]:
    busy = load_days.busy_of(doings)
    working_days = busy.worked.sum(axis=1).astype(np.float64)
    focus = load_days.focus_blocks(busy)
    return {
        "working_days": working_days,
        "short_rests": load_days.short_rests(busy).astype(np.float64),
        "span_h": load_days.span_h(busy),
        "focus_blocks": np.where(working_days > 0, focus, 0.0),
        "fragmentation": load_days.fragmentation(busy, acts.medium, circles(acts)),
    }


def _network(acts: Acts, doings: Doings) -> Floats:
    """Different people at the other end of an interaction of the week; broadcasts are to nobody in particular."""
    apart = doings.in_week & ~is_broadcast(acts)[doings.row]
    person = np.full(len(acts) + acts.target.size, -1, dtype=np.int64)
    person[doings.entry[apart]] = doings.person[apart]
    actor, target = person[acts.target_row], person[len(acts) :]
    met = np.concatenate(
        [actor * len(acts.people) + acts.target, target * len(acts.people) + acts.actor[acts.target_row]]
    )
    # Sorted, not numpy's unique, which hashes: on a million pairs that took most of the time of a week (numpy 2.4).
    pairs = np.sort(met[np.concatenate([actor, target]) >= 0])
    pairs = pairs[load_days.changes(pairs)]
    return np.bincount(pairs // max(len(acts.people), 1), minlength=len(doings.people)).astype(np.float64)
