"""The weekly load as anybody would write it down: dictionaries, loops and `datetime`, one person at a time.

Shares no code with `metrics.load`, only the definitions; what it computes is exact (fractions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from hashlib import blake2b
from itertools import pairwise
from statistics import median
from zoneinfo import ZoneInfo

from pipelines.model import Interaction, Medium, RosterChange, RosterKind, Scope

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)
TEXT, MEET = {Medium.MESSAGE, Medium.EMAIL}, {Medium.MEETING, Medium.CALL, Medium.CONTACT}
MUTUAL = {Medium.CALL, Medium.CONTACT}
Row = dict[str, object]


@dataclass
class Doing:
    """One person's part in one interaction. `local` is naive: what the person's clock shows."""

    event: Interaction
    utc: datetime
    actor: bool
    offset: timedelta | None = None
    local: datetime = datetime.min  # noqa: DTZ901 - what a clock shows has no zone

    @property
    def length(self) -> timedelta:
        return timedelta(seconds=self.event.duration_s) if self.event.medium in MEET else timedelta(0)

    @property
    def own(self) -> bool:
        return self.actor or self.event.medium in MUTUAL

    @property
    def end(self) -> datetime:
        return self.utc + self.length

    @property
    def local_end(self) -> datetime:
        return self.local + self.length

    @property
    def day(self) -> date:
        return (self.local - 4 * HOUR).date()


def when(ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


def rows(
    events: Sequence[Interaction], changes: Sequence[RosterChange], week: date, excluded: frozenset[str] = frozenset()
) -> dict[str, Row]:
    """Person -> columns and team. None is NULL."""
    monday = datetime(week.year, week.month, week.day)  # noqa: DTZ001 - by the person's clock
    start = monday.replace(tzinfo=UTC)
    seen: dict[str, list[Doing]] = {}
    for event in events:
        targets = [t for t in event.targets if t not in excluded]
        if event.actor in excluded or not targets:
            continue
        if not start - 60 * HOUR <= when(event.time_ms) < start + WEEK + 12 * HOUR:
            continue
        event = Interaction(**{f: getattr(event, f) for f in event.__dataclass_fields__} | {"targets": tuple(targets)})
        seen.setdefault(event.actor, []).append(Doing(event, when(event.time_ms), True))
        for target in targets:
            seen.setdefault(target, []).append(Doing(event, when(event.time_ms), False))
    found = {}
    for person in {*seen, *(c.person for c in changes)} - excluded:
        if not person.startswith("p_"):
            continue
        history = sorted((c for c in changes if c.person == person), key=lambda c: (c.time_ms, c.key))
        row = _row(person, seen.get(person, []), history, monday)
        if row is not None:
            found[person] = row
    return found


def _zone(history: Sequence[RosterChange], at: datetime) -> ZoneInfo | None:
    zone = None
    for change in history:
        if when(change.time_ms) <= at and change.tz is not None:
            zone = ZoneInfo(change.tz)
    return zone


def _put_on_the_clock(doings: list[Doing], history: Sequence[RosterChange]) -> None:
    for doing in doings:
        if doing.actor and doing.event.tz_offset_min is not None:
            doing.offset = timedelta(minutes=doing.event.tz_offset_min)
        elif zone := _zone(history, doing.utc):
            doing.offset = doing.utc.astimezone(zone).utcoffset()
    known = [(d.utc, d.offset) for d in doings if d.offset is not None]
    for doing in doings:
        if doing.offset is None:
            before = [k for k in known if k[0] <= doing.utc]
            after = [k for k in known if k[0] > doing.utc]
            doing.offset = max(before)[1] if before else min(after)[1] if after else None
        doing.local = doing.utc.replace(tzinfo=None) + (doing.offset or timedelta(0))


def _row(person: str, doings: list[Doing], history: Sequence[RosterChange], monday: datetime) -> Row | None:
    _put_on_the_clock(doings, history)
    week = [d for d in doings if monday <= d.local < monday + WEEK]
    start, end = (_instant(at, history) for at in (monday, monday + WEEK))
    before = [c for c in history if when(c.time_ms) <= start]
    within = [c for c in history if start < when(c.time_ms) < end]
    there = bool(before and before[-1].kind is not RosterKind.LEFT) or any(
        c.kind is not RosterKind.LEFT for c in within
    )
    left = bool(before and before[-1].kind is RosterKind.LEFT)
    if not there and (left or not week):
        return None
    teams = [c.team for c in history if when(c.time_ms) < end and c.team is not None]
    clock = any(d.offset is not None for d in doings)
    if not doings:
        clock = _zone(history, monday.replace(tzinfo=UTC) + WEEK - timedelta(milliseconds=1)) is not None
    columns = _columns(person, doings, week, monday)
    if not clock:
        columns |= dict.fromkeys(("after_hours_share", "weekend_share", "short_rests", "span_h", "focus_blocks"))
    return columns | {"team": teams[-1] if teams else None}


def _instant(local: datetime, history: Sequence[RosterChange]) -> datetime:
    """The Monday by the zone that the roster names at that time in UTC."""
    at = local.replace(tzinfo=UTC)
    zone = _zone(history, at)
    return at - (at.astimezone(zone).utcoffset() if zone else timedelta(0))  # type: ignore[operator]


def _columns(person: str, doings: list[Doing], week: list[Doing], monday: datetime) -> Row:
    own = [d for d in week if d.own]
    worked = sorted({max(d.day, monday.date()) for d in own})
    text = [d for d in week if d.event.medium in TEXT]
    received = [d for d in text if not d.actor]
    asked = [d for d in received if d.event.scope is not Scope.BROADCAST]
    load = sum((Fraction(1, d.event.target_count) for d in asked), Fraction(0))
    answers = [d.event.response_s for d in week if d.actor and d.event.response_s is not None]
    acted = {d.day for d in doings if d.own}
    busy = [d for d in doings if d.own or (d.event.medium in MEET and d.day in acted)]
    return {
        "working_days": len(worked),
        "sent": len(text) - len(received),
        "received": len(received),
        "meeting_h": _meeting_h(doings, monday),
        "after_hours_share": _share(own, _is_after_hours),
        "weekend_share": _share(own, lambda d: d.local.weekday() >= 5),
        "short_rests": _short_rests(busy, monday),
        "span_h": _span_h(busy, worked, monday),
        "focus_blocks": _focus(busy, worked, monday),
        "fragmentation": _fragmentation(busy, worked, monday),
        "response_load": load / len(worked) if worked else 0,
        "response_h": Fraction(median(Fraction(a) for a in answers)) / 3600 if answers else None,
        "network_size": len(_network(person, week)),
    }


def _is_after_hours(doing: Doing) -> bool:
    return doing.local.weekday() >= 5 or not 8 <= doing.local.hour < 18


def _share(own: list[Doing], test) -> Fraction | int:  # type: ignore[no-untyped-def]
    return Fraction(sum(1 for d in own if test(d)), len(own)) if own else 0


def _meeting_h(doings: list[Doing], monday: datetime) -> Fraction:
    """Second by second would be the same: walk over the boundaries and ask whether anything covers the stretch."""
    spans = [(d.local, d.local_end) for d in doings if d.event.medium in MEET]
    edges = sorted({monday, monday + WEEK, *(t for s in spans for t in s if monday < t < monday + WEEK)})
    total = timedelta(0)
    for one, next_ in pairwise(edges):
        if any(a <= one and next_ <= b for a, b in spans):
            total += next_ - one
    return Fraction(total // timedelta(milliseconds=1), 3_600_000)


def _short_rests(busy: list[Doing], monday: datetime) -> int:
    short = 0
    for number in range(7):
        day = (monday + number * DAY).date()
        that_day = [d for d in busy if d.day == day]
        if not that_day:
            continue
        first = min(that_day, key=lambda d: (d.utc, d.local))
        before = [d for d in busy if d.utc < first.utc]
        if before:
            passed = first.utc - max(d.end for d in before)
            shown = first.local - max(d.local_end for d in before)
            short += max(passed, shown) < 11 * HOUR
    return short


def _of_day(busy: list[Doing], day: date, monday: datetime) -> list[Doing]:
    week = [d for d in busy if monday <= d.local < monday + WEEK]
    return [d for d in week if max(d.day, monday.date()) == day]


def _span_h(busy: list[Doing], worked: list[date], monday: datetime) -> Fraction | int:
    spans = []
    for day in worked:
        doings = _of_day(busy, day, monday)
        spans.append(max(d.end for d in doings) - min(d.utc for d in doings))
    total = sum(spans, timedelta(0)) // timedelta(milliseconds=1)
    return Fraction(total, 3_600_000 * len(worked)) if worked else 0


def _focus(busy: list[Doing], worked: list[date], monday: datetime) -> Fraction | int | None:
    weekdays = [day for day in worked if day.weekday() < 5]
    if not worked or not weekdays:
        return None if worked else 0
    blocks = 0
    for day in weekdays:
        midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - by the person's clock
        free, close = midnight + 9 * HOUR, midnight + 17 * HOUR
        for doing in sorted(busy, key=lambda d: d.local):
            if doing.local > close or doing.local_end < midnight + 9 * HOUR:
                continue
            blocks += max(doing.local - free, timedelta(0)) // (2 * HOUR)
            free = max(free, doing.local_end)
        blocks += max(close - free, timedelta(0)) // (2 * HOUR)
    return Fraction(blocks, len(weekdays))


def _fragmentation(busy: list[Doing], worked: list[date], monday: datetime) -> Fraction | int:
    week = [d for day in worked for d in _of_day(busy, day, monday)]
    hours: dict[datetime, list[Doing]] = {}
    for doing in week:
        hours.setdefault(doing.utc.replace(minute=0, second=0, microsecond=0), []).append(doing)
    switches = 0
    for doings in hours.values():
        contexts = [_context(d) for d in sorted(doings, key=_order)]
        switches += sum(a != b for a, b in pairwise(contexts))
    return Fraction(switches, len(hours)) if hours else 0


def _context(doing: Doing) -> tuple[Medium, frozenset[str]]:
    return doing.event.medium, frozenset({doing.event.actor, *doing.event.targets})


def _order(doing: Doing) -> tuple[datetime, int, int]:
    """By time; at the same millisecond by medium, then by the number that stands for the set of people."""
    people = {doing.event.actor, *doing.event.targets}
    numbers = (int.from_bytes(blake2b(p.encode(), digest_size=8).digest(), "little") for p in people)
    return doing.utc, list(Medium).index(doing.event.medium), sum(numbers) % 2**64


def _network(person: str, week: list[Doing]) -> set[str]:
    met: set[str] = set()
    for doing in week:
        if doing.event.scope is not Scope.BROADCAST:
            met |= set(doing.event.targets) if doing.actor else {doing.event.actor}
    return met - {person}
