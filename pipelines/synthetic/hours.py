"""When people work: a density of local time with a lunch dip and a thin evening, and the arithmetic of offices' clocks.

Milliseconds since 1970 as everywhere; a local day is its number since 1970-01-01.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from zoneinfo import ZoneInfo

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
SLOT_MS = 5 * MINUTE_MS
#: Local working hours; what is outside of them, or at a week-end, is after-hours.
OPENS_MS, CLOSES_MS = 8 * HOUR_MS, 18 * HOUR_MS
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOON = timedelta(hours=12)
_THURSDAY = 3  # 1970-01-01

#: Density of activity in each local hour: rises towards ten, dips at lunch, thins out after six, next to none at night.
_NIGHT, _EARLY, _EVENING, _LATE = 0.003, 0.05, 0.10, 0.05
_WORK = (0.6, 1.0, 1.0, 1.0, 0.4, 0.9, 1.0, 1.0, 1.0, 0.7)  # 8 to 18
_PER_HOUR = (*[_NIGHT] * 6, *[_EARLY] * 2, *_WORK, *[_EVENING] * 2, *[_LATE] * 3, _NIGHT)

#: For `random.choices`: starts of five-minute slots of a local day, and their cumulative weights.
SLOTS: Sequence[int] = range(0, DAY_MS, SLOT_MS)
CUMULATIVE: Sequence[float] = list(accumulate(_PER_HOUR[slot // HOUR_MS] for slot in SLOTS))
#: Slots of a working day before and after its close.
WORKING = [slot for slot in SLOTS if OPENS_MS + HOUR_MS <= slot < CLOSES_MS - HOUR_MS]
EVENING = [slot for slot in SLOTS if CLOSES_MS + HOUR_MS // 2 <= slot < CLOSES_MS + 5 * HOUR_MS]


def to_ms(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(milliseconds=1)


def to_time(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)


def weekday(day: int) -> int:
    """0 is Monday."""
    return (day + _THURSDAY) % 7


def is_workday(day: int) -> bool:
    return weekday(day) < 5


def offset_ms(zone: ZoneInfo, day: int) -> int:
    """Local minus UTC at noon of the day: clocks change at night, and on a week-end."""
    offset = (_EPOCH + timedelta(days=day) + _NOON).replace(tzinfo=zone).utcoffset()
    return (offset or timedelta()) // timedelta(milliseconds=1)


def is_open(local_ms: int) -> bool:
    """Whether it is a working hour of a working day, by the local clock."""
    day, time = divmod(local_ms, DAY_MS)
    return is_workday(day) and OPENS_MS <= time < CLOSES_MS


def next_opening(local_ms: int) -> int:
    """The start of the next working day, by the local clock; of this one if it has not begun."""
    day, time = divmod(local_ms, DAY_MS)
    day += time >= OPENS_MS
    while not is_workday(day):
        day += 1
    return day * DAY_MS + OPENS_MS
