"""The clocks of people: how far local time is from UTC, by the zone that the roster names and by what events say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from pipelines.evidence import Ints
from pipelines.person_weeks import NO_OFFSET, Bools

Offsets = NDArray[np.int16]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Since 1972 every zone has changed its clocks at a full quarter of an hour of UTC (IANA time zone database).
_STEP = timedelta(minutes=15)
_STEP_MS = 900_000


def offsets(zones: Sequence[str], zone: Ints, time_ms: Ints) -> Offsets:
    """Local minus UTC in minutes at each time, by the zone's rules at that time. NO_OFFSET where `zone` is -1.

    Args:
        zones: IANA names; one that this machine does not know has no offset.
        zone: place in `zones` of each time; -1: not known.
    """
    if not zones or not time_ms.size:
        return np.full(time_ms.shape, NO_OFFSET, dtype=np.int16)
    first, last = int(time_ms.min()) // _STEP_MS, int(time_ms.max()) // _STEP_MS
    unknown = np.full(last - first + 1, NO_OFFSET, dtype=np.int16)  # the last row: where place -1 leads
    table = np.stack([*(_quarters(name, first, last) for name in zones), unknown])
    return table[zone, time_ms // _STEP_MS - first]


@lru_cache(maxsize=1_024)
def _quarters(name: str, first: int, last: int) -> Offsets:
    """Offsets of a zone for each quarter of an hour since 1970 from `first` to `last`."""
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return np.full(last - first + 1, NO_OFFSET, dtype=np.int16)
    start, count = _EPOCH + first * _STEP, last - first + 1
    found = [_minutes(zone, start + i * _STEP) for i in range(count)]
    return np.array(found, dtype=np.int16)


def _minutes(zone: ZoneInfo, at: datetime) -> int:
    offset = at.astimezone(zone).utcoffset()
    return NO_OFFSET if offset is None else offset // timedelta(minutes=1)


def from_neighbours(person: Ints, time_ms: Ints, offset: Offsets) -> Offsets:
    """Offsets with the gaps filled from the same person's own: the one before, or else the one after.

    Events say where their actor is, not where their targets are; without a zone in the roster this is how a person's own
    acts tell where the person reads and meets. A person without any stays without.
    """
    gap = offset == NO_OFFSET
    if not gap.any() or gap.all():
        return offset
    people = int(person.max()) + 1
    mended = (np.bincount(person[gap], minlength=people) > 0) & (np.bincount(person[~gap], minlength=people) > 0)
    concerned = np.flatnonzero(mended[person])  # sorting everybody's entries would take longer than all the rest
    keys = (offset, gap, time_ms, person)
    order = concerned[np.lexsort(tuple(key[concerned] for key in keys))]
    known = ~gap[order]
    place = np.arange(order.size)
    before = np.maximum.accumulate(np.where(known, place, -1))
    after = np.minimum.accumulate(np.where(known, place, order.size)[::-1])[::-1]
    filled = np.where(_same(person[order], before, place), before, after)
    usable = _same(person[order], filled, place)
    result = offset.copy()
    result[order[usable]] = offset[order[filled[usable]]]
    return result


def _same(person: Ints, other: Ints, place: Ints) -> Bools:
    """Whether the entry at `other` exists and is of the same person."""
    inside = (other >= 0) & (other < place.size)
    same: Bools = inside & (person[np.where(inside, other, 0)] == person)
    return same
