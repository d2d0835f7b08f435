"""Offsets of many times at once against `zoneinfo`, one at a time."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from pipelines.metrics import zones
from pipelines.metrics.weeks_roster import roster_of
from pipelines.model import RosterKind
from pipelines.person_weeks import NO_OFFSET
from tests.support.fakes_weeks import change, ms
from tests.support.make import person

NAMES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia", "America/St_Johns")


@pytest.mark.parametrize("around", ["2026-03-29", "2026-10-25", "2026-11-01", "2026-04-04", "2011-12-29"])
def test_offsets_are_those_of_the_zone_at_that_very_time(around: str) -> None:
    rng = random.Random(around)
    start = datetime.fromisoformat(around).replace(tzinfo=UTC) - timedelta(days=1)
    times = [start + timedelta(milliseconds=rng.randrange(3 * 86_400_000)) for _ in range(300)]
    which = [rng.randrange(len(NAMES)) for _ in times]
    found = zones.offsets(NAMES, np.array(which), np.array([ms(t) for t in times]))
    expected = [t.astimezone(ZoneInfo(NAMES[z])).utcoffset() for t, z in zip(times, which, strict=True)]
    assert [timedelta(minutes=m) for m in found.tolist()] == expected
    assert len(set(found.tolist())) > len(NAMES)  # some zone did change its clocks


def test_no_zone_and_an_unknown_zone_have_no_offset() -> None:
    time = np.array([0, 0, 0])
    assert zones.offsets(("Mars/Olympus", "Asia/Kolkata"), np.array([0, 1, -1]), time).tolist() == [
        NO_OFFSET,
        330,
        NO_OFFSET,
    ]
    assert zones.offsets((), np.array([-1, -1, -1]), time).tolist() == [NO_OFFSET] * 3


def test_a_gap_takes_the_offset_before_it_or_else_the_one_after() -> None:
    person_, time = np.array([1, 1, 1, 1, 2, 3, 3]), np.array([10, 20, 30, 40, 25, 50, 60])
    offset = np.array([NO_OFFSET, 60, NO_OFFSET, 120, NO_OFFSET, NO_OFFSET, -60], dtype=np.int16)
    assert zones.from_neighbours(person_, time, offset).tolist() == [60, 60, 60, 120, NO_OFFSET, -60, -60]


def test_the_roster_is_asked_as_of_a_time() -> None:
    joined, moved, left = (datetime(2026, 1, day, tzinfo=UTC) for day in (5, 12, 19))
    roster = roster_of(
        [
            change(1, left, kind=RosterKind.LEFT),
            change(1, joined, "red", "Europe/Berlin"),
            change(1, moved, "blue", kind=RosterKind.MOVED),
            change(2, moved, "green"),
        ]
    )
    times = [joined - timedelta(milliseconds=1), joined, moved, left, left + timedelta(days=999)]
    found = roster.as_of(np.zeros(5, dtype=np.int64), np.array([ms(t) for t in times])).tolist()
    assert roster.people == (person(1), person(2))
    assert [None if c < 0 else roster.teams[roster.team[c]] for c in found] == [None, "red", "blue", "blue", "blue"]
    assert [None if c < 0 else bool(roster.present[c]) for c in found] == [None, True, True, False, False]
    assert {roster.zones[roster.zone[c]] for c in found if c >= 0} == {"Europe/Berlin"}
    assert roster.as_of(np.array([-1]), np.array([ms(left)])).tolist() == [-1]
