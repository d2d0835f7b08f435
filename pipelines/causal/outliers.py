"""Which answers cannot be on the scale of the others: mistyped ones, and those of a survey whose scale was changed.

By medians, so that what is looked for does not hide itself. Pure; decides nothing about an estimate.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.causal.design import Design
from pipelines.evidence import Floats, Ints

Flags = NDArray[np.bool_]

#: Robust standard deviations. Of a normal distribution nothing is beyond; of one with heavy tails a value in some thousands.
FAR = 8.0
#: A normal distribution's standard deviation as a multiple of its median absolute deviation.
_NORMAL = 1.4826
#: Answers of a team in a week, and weeks on either side, from which a level of its own is believed.
_FEWEST_ANSWERS, _FEWEST_WEEKS = 5, 3


def odd(design: Design) -> Flags:
    """(n,) whether an outcome is on another scale than most: in weeks of its team or of everybody, or alone far away."""
    found = _other_scale(design)
    rest = np.flatnonzero(~found)
    found[rest] = _far(design.y[rest], design.unit[rest])
    return found


def _far(y: Floats, unit: Ints) -> Flags:
    """(n,) whether a value is more than FAR robust standard deviations from the median of its person.

    The deviations that are zero do not count: of a rare event nearly all are, and an event is not far from none.
    """
    codes = np.unique(unit, return_inverse=True)[1]
    away = np.abs(y - _medians(y, codes)[codes])
    there = away[away > 0]
    return away > FAR * _NORMAL * np.median(there) if there.size else np.zeros(len(y), dtype=np.bool_)


def _other_scale(design: Design) -> Flags:
    """(n,) whether a value is of weeks whose level is FAR spreads away from that of the other weeks of the same people.

    A team's weeks (and everybody's) are put in order of their level, in time or not, and parted at the widest gap. Where
    that parts two scales, the one with fewer values over all teams is the other one.
    """
    side = np.zeros(design.rows, dtype=np.int64)
    for team in (np.zeros_like(design.team), design.team + 1):
        cells, cell = np.unique(team * design.periods + design.week, return_inverse=True)
        level = _medians(design.y, cell)
        spread = _medians(np.abs(design.y - level[cell]), cell)
        enough = np.flatnonzero(np.bincount(cell) >= _FEWEST_ANSWERS)
        by_level = enough[np.lexsort((level[enough], cells[enough] // design.periods))]
        ends = np.flatnonzero(np.diff(cells[by_level] // design.periods)) + 1
        of_cell = np.zeros(len(cells), dtype=np.int64)
        for weeks in np.split(by_level, ends):
            lower, upper = _parted(weeks, level, spread)
            of_cell[lower], of_cell[upper] = -1, 1
        side = np.where(of_cell[cell], of_cell[cell], side)
    other: Flags = side == (1 if np.count_nonzero(side == 1) <= np.count_nonzero(side == -1) else -1)
    return other


def _parted(weeks: Ints, level: Floats, spread: Floats) -> tuple[Ints, Ints]:
    """Weeks, in order of their level, parted in two scales; two empty ones where all may be of one."""
    none = weeks[:0]
    if len(weeks) < 2 * _FEWEST_WEEKS:
        return none, none
    gaps = np.diff(level[weeks])[_FEWEST_WEEKS - 1 : len(weeks) - _FEWEST_WEEKS]
    lower, upper = np.split(weeks, [_FEWEST_WEEKS + int(gaps.argmax())])
    least = min(float(np.median(spread[lower])), float(np.median(spread[upper])))
    apart = float(np.median(level[upper]) - np.median(level[lower]))
    return (lower, upper) if 0.0 < FAR * _NORMAL * least < apart else (none, none)


def _medians(values: Floats, codes: Ints) -> Floats:
    """The median of each code; codes are dense."""
    order = np.lexsort((values, codes))
    count = np.bincount(codes)
    first = np.cumsum(count) - count
    lower, upper = values[order[first + (count - 1) // 2]], values[order[first + count // 2]]
    middle: Floats = 0.5 * lower + 0.5 * upper
    return middle
