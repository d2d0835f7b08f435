"""How a person's days look: rest between them, how long they are, what stays undisturbed, how often work is interrupted.

A day runs from 04:00 to 04:00 of the own clock, so that an evening past midnight belongs to the day that it ends. What
somebody is busy with are their own acts, and the meetings that they were called to on days on which they also acted: to be
invited during a holiday is no work. Night shifts are not seen as such; they are compared with their own baseline only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.evidence import Floats, Ints
from pipelines.metrics.load_acts import DAY_MS, HOUR_MS, WEEK_MS, Doings
from pipelines.person_weeks import Bools

#: Minimum daily rest: Directive 2003/88/EC of the European Parliament and of the Council, article 3.
REST_MS = 11 * HOUR_MS
_DAY_BEGINS_MS = 4 * HOUR_MS
_FOCUS_FROM_MS, _FOCUS_TO_MS, FOCUS_MS = 9 * HOUR_MS, 17 * HOUR_MS, 2 * HOUR_MS
_WEEKDAYS = 5
#: Days that a read may reach back before Monday, and room for one person's days in a table.
_BEFORE, _DAYS = 5, 16
#: More milliseconds than a read is long, as a power of two: a person's times shifted by this never meet the next person's.
_STRIDE = 1 << 31
_SHIFT = 1 << 30


@dataclass(frozen=True, slots=True, eq=False)
class Busy:
    """What people were busy with: a subset of the entries of `Doings`, ends included; milliseconds since Monday.

    day: number of the day, 0 is Monday; negative before. worked: people x 7, whether each day of the week was worked.
    """

    person: Ints
    row: Ints
    start: Ints
    end: Ints
    local_start: Ints
    local_end: Ints
    day: Ints
    worked: Bools

    def chosen(self, which: Bools | Ints) -> Busy:
        taken: dict[str, Any] = {f.name: getattr(self, f.name)[which] for f in fields(self) if f.name != "worked"}
        return replace(self, **taken)

    @property
    def in_week(self) -> Busy:
        """What began on the worked days of the week. Its first four hours count to Monday, not to the Sunday before."""
        day = np.clip(self.day, 0, 6)
        inside = (self.local_start >= 0) & (self.local_start < WEEK_MS) & self.worked[self.person, day]
        return replace(self, day=day).chosen(inside)


def busy_of(doings: Doings) -> Busy:
    """Own acts, and meetings on days with an own act."""
    day = (doings.local - _DAY_BEGINS_MS) // DAY_MS
    acted = _table(doings, doings.own, day)
    chosen = doings.own | (doings.meeting & acted[doings.person, day + _BEFORE])
    in_week = doings.own & doings.in_week
    worked = _table(doings, in_week, np.maximum(day, 0))[:, _BEFORE : _BEFORE + 7]
    return Busy(
        person=doings.person[chosen],
        row=doings.row[chosen],
        start=doings.utc[chosen],
        end=(doings.utc + doings.length)[chosen],
        local_start=doings.local[chosen],
        local_end=(doings.local + doings.length)[chosen],
        day=day[chosen],
        worked=worked,
    )


def _table(doings: Doings, which: Bools, day: Ints) -> Bools:
    """people x days: whether a chosen entry is there."""
    table = np.zeros((len(doings.people), _DAYS), dtype=bool)
    table[doings.person[which], day[which] + _BEFORE] = True
    return table


def short_rests(busy: Busy) -> Ints:
    """Nights of the week, counted to the day that follows, with under 11 h from the end of work to its next beginning.

    Both the time that passed and the difference of the clocks must be shorter: neither a night on which the clocks change
    nor a flight makes a short rest by itself.
    """
    ordered = busy.chosen(np.lexsort((busy.local_start, busy.start, busy.person)))
    _, first = np.unique(ordered.person * _DAYS + ordered.day + _BEFORE, return_index=True)
    first = first[(ordered.day[first] >= 0) & (ordered.day[first] < 7)]
    # What began at the same millisecond is not before it, whatever clock it was on.
    key = ordered.person * _STRIDE + ordered.start + _SHIFT
    since = np.searchsorted(key, key[first])
    passed = ordered.start[first] - _reached(ordered.person, ordered.end)[since]
    shown = ordered.local_start[first] - _reached(ordered.person, ordered.local_end)[since]
    return np.bincount(ordered.person[first[np.maximum(passed, shown) < REST_MS]], minlength=len(busy.worked))


def _reached(group: Ints, end: Ints) -> Ints:
    """The latest end among the entries before each of the same group; long ago for the first. Groups must ascend."""
    reach = np.maximum.accumulate(group * _STRIDE + end + _SHIFT)
    before = np.concatenate([np.array([-1], dtype=np.int64), reach[:-1]])[: group.size]
    same = before // _STRIDE == group
    return np.where(same, before - group * _STRIDE - _SHIFT, -_SHIFT)


def span_h(busy: Busy) -> Floats:
    """Mean over the worked days of the hours from the first beginning to the last end; 0 without a worked day."""
    week = busy.in_week
    key = week.person * 7 + week.day
    order = np.argsort(key, kind="stable")
    begins = changes(key[order])
    if not begins.size:
        return np.zeros(len(busy.worked))
    last = np.maximum.reduceat(week.end[order], begins)
    first = np.minimum.reduceat(week.start[order], begins)
    total = np.bincount(week.person[order[begins]], weights=last - first, minlength=len(busy.worked))
    return ratio(total / HOUR_MS, busy.worked.sum(axis=1))


def focus_blocks(busy: Busy) -> Floats:
    """Two-hour blocks that fit undisturbed between 09:00 and 17:00, per worked day from Monday to Friday.

    A day without anything has four; any act or meeting in the middle of a stretch leaves what fits before and after it. NaN
    for who worked on no such day.
    """
    weekdays = busy.worked[:, :_WEEKDAYS]
    person, day = np.nonzero(weekdays)
    group, start, end = _pieces(busy, weekdays)
    group = np.concatenate([group, *[person * _WEEKDAYS + day] * 2])
    start = np.concatenate([start, np.full(person.size, _FOCUS_FROM_MS), np.full(person.size, _FOCUS_TO_MS)])
    end = np.concatenate([end, np.full(person.size, _FOCUS_FROM_MS), np.full(person.size, _FOCUS_TO_MS)])
    order = np.lexsort((end, start, group))
    group, start = group[order], start[order]
    free = np.maximum(start - np.maximum(_reached(group, end[order]), _FOCUS_FROM_MS), 0)
    blocks = np.bincount(group // _WEEKDAYS, weights=free // FOCUS_MS, minlength=len(weekdays))
    return ratio(blocks, weekdays.sum(axis=1), empty=np.nan)


def _pieces(busy: Busy, weekdays: Bools) -> tuple[Ints, Ints, Ints]:
    """What falls into the focus hours of worked weekdays: (person and day, start, end) by the clock of that day."""
    first = busy.local_start // DAY_MS
    pieces = []
    for day in (first, first + 1):  # nothing lasts for longer than a day
        start, end = busy.local_start - day * DAY_MS, busy.local_end - day * DAY_MS
        inside = (day >= 0) & (day < _WEEKDAYS) & (end >= _FOCUS_FROM_MS) & (start <= _FOCUS_TO_MS)
        inside &= weekdays[busy.person, np.clip(day, 0, _WEEKDAYS - 1)]
        group = (busy.person * _WEEKDAYS + day)[inside]
        pieces.append((group, *(np.clip(times[inside], _FOCUS_FROM_MS, _FOCUS_TO_MS) for times in (start, end))))
    group, start, end = (np.concatenate(columns) for columns in zip(*pieces, strict=True))
    return group, start, end


def fragmentation(busy: Busy, medium: NDArray[np.int8], circle: NDArray[np.uint64]) -> Floats:
    """Switches per active hour: how often, within a clock hour of UTC, one act differs from the one before.

    It differs when its medium is another or the set of its people. An hour is active when something began in it. 0 for who
    was never active. Acts of the same millisecond are taken by medium and circle, so that their order does not matter.

    Args:
        medium, circle: of each interaction; see `load_acts.circles`.
    """
    week = busy.in_week
    order = np.lexsort((circle[week.row], medium[week.row], week.start, week.person))
    row, person = week.row[order], week.person[order]
    hour = person * _STRIDE + week.start[order] // HOUR_MS + _DAYS * 24
    same = hour[1:] == hour[:-1]
    other = (medium[row[1:]] != medium[row[:-1]]) | (circle[row[1:]] != circle[row[:-1]])
    switches = np.bincount(person[1:][same & other], minlength=len(busy.worked))
    hours = np.bincount(person[changes(hour)], minlength=len(busy.worked))
    return ratio(switches, hours)


def changes(key: Ints) -> Ints:
    """Where a new value begins in an ascending array."""
    return np.flatnonzero(np.concatenate([np.ones(min(key.size, 1), dtype=bool), key[1:] != key[:-1]]))


def union_h(person: Ints, start: Ints, end: Ints, people: int) -> Floats:
    """Hours that are covered by at least one of a person's intervals, between 0 and a week: nothing counts twice."""
    start, end = np.clip(start, 0, WEEK_MS), np.clip(end, 0, WEEK_MS)
    order = np.lexsort((start, person))
    person, start, end = person[order], start[order], end[order]
    gain = np.maximum(end - np.maximum(start, _reached(person, end)), 0)
    return np.bincount(person, weights=gain, minlength=people) / HOUR_MS


def ratio(total: Floats | Ints | Sequence[float], count: Floats | Ints, empty: float = 0.0) -> Floats:
    """total / count, and `empty` where there is nothing to divide by."""
    counted = np.asarray(count, dtype=np.float64)
    result: Floats = np.divide(total, counted, out=np.full(counted.shape, empty), where=counted > 0)
    return result
