"""The weeks of a synthetic organisation as a stream of records in order of time, about one day in memory at a time.

Plain records, not bytes: `jobs.synthesise` encodes them. Nothing is planted here; `jobs.study` puts effects on top.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from pipelines.synthetic import calendar, circles, habits, hours
from pipelines.synthetic.calendar import Appointment
from pipelines.synthetic.circles import Acquaintance, Circle
from pipelines.synthetic.habits import Habit
from pipelines.synthetic.organisation import Change, Options, Organisation, found, repeatable
from pipelines.synthetic.pressure import Pressure

#: Share of a working day's activity that is left at a week-end, and in a quiet week.
_WEEKEND, _QUIET = 0.03, 0.15
#: Answers that would fall outside working hours mostly wait for the morning, and come within about half an hour then.
_WAITS = 0.85
_MORNING_MS = 30 * hours.MINUTE_MS
_ANSWER_SIGMA, _ANSWER_MAX_S = 1.0, 5 * 86_400
#: One person's days differ by about this much (sigma of the log).
_DAY_SIGMA = 0.3
#: UTC hours of a day's heartbeats are those in which some office has this local hour.
_AWAKE = range(7, 19)


class Record(NamedTuple):
    """One event, ready to be encoded."""

    kind: str
    source: str
    id: str
    time: datetime
    data: dict[str, object]


class _Draft(NamedTuple):
    """An event to come. `place` keeps drafts of the same millisecond in the order in which they were made."""

    at: int
    place: int
    kind: str
    source: str
    data: dict[str, object]
    people: tuple[int, ...] = ()


def events(options: Options) -> Iterator[Record]:
    """All events of the options, in order of time, from `options.start` to before `options.end`.

    First everybody's `roster.joined`, as of the start. The same options give the same records; an id is unique within
    its source, and other options give other ids. Memory does not grow with the number of weeks.
    """
    mark = options.mark
    used: Counter[str] = Counter()
    for at, _, kind, source, data, _ in _opened(options).in_order():
        used[source] += 1
        yield Record(kind, source, f"{mark}-{used[source]}", hours.to_time(at), data)


def _opened(options: Options) -> _Diary:
    organisation = found(options)
    acquaintance = circles.acquaint(organisation, repeatable(f"ties {options.seed} {options.people}"))
    team_of = {person: organisation.people[person].team for person in range(options.people)}
    begun = max(0.0, options.per_day - calendar.per_day(organisation)) / habits.EXPECTED
    pressure = Pressure(options.mark) if options.pressure else None
    return _Diary(options, organisation, acquaintance, repeatable(f"weeks {options.mark}"), team_of, begun, pressure)


@dataclass(slots=True)
class _Diary:
    """What is known on the day that is being planned, and the drafts that are not due yet.

    begun: mean of what a person begins on a working day; answers and the calendar come on top.
    """

    options: Options
    organisation: Organisation
    acquaintance: Acquaintance
    rng: random.Random
    team_of: dict[int, int]
    begun: float
    pressure: Pressure | None = None
    circles: dict[int, Circle] = field(default_factory=dict)
    offsets: Sequence[int] = ()
    drafts: list[_Draft] = field(default_factory=list)
    made: int = 0

    def in_order(self) -> Iterator[_Draft]:
        start, end = hours.to_ms(self.options.start), hours.to_ms(self.options.end)
        for person in self.team_of:
            self._enrol(start, "joined", person)
        self._meet()
        # A local day may begin before the same day in UTC, and end after it.
        for day in range(start // hours.DAY_MS - 1, end // hours.DAY_MS + 2):
            self.offsets = [hours.offset_ms(zone, day) for zone in self.organisation.offices]
            yield from self._due(start, min(end, day * hours.DAY_MS - max(self.offsets)))
            self._plan(day)
        yield from self._due(start, end)

    def _due(self, start: int, before: int) -> Iterator[_Draft]:
        """Drafts before a time, to which nothing can be added any more. What is before the start is dropped."""
        self.drafts.sort()
        count = next((i for i, draft in enumerate(self.drafts) if draft.at >= before), len(self.drafts))
        due, self.drafts = self.drafts[:count], self.drafts[count:]
        return (draft for draft in due if draft.at >= start)

    # -------------------------------------------------------------------------------------------- one day

    def _plan(self, day: int) -> None:
        """Leavers are gone for the whole day, newcomers are there from the next: true by the clock of every office."""
        changes = [c for c in self.organisation.changes if hours.to_ms(c.at) // hours.DAY_MS == day]
        for change in changes:
            if change.team is None:
                self._leave(change)
        self._work(day)
        for change in changes:
            if change.team is not None:
                self._place(change, change.team)

    def _work(self, day: int) -> None:
        factor = self._factor(day)
        for person in self.team_of:
            self._busy(person, day, factor)
        if factor == 1.0:
            for appointment in calendar.appointments(self.organisation, self.team_of, day, self.rng):
                self._keep(appointment, day)
        self._heartbeats(day)

    def _factor(self, day: int) -> float:
        if not hours.is_workday(day):
            return _WEEKEND
        return _QUIET if self._week(day) == self.options.quiet_week else 1.0

    def _week(self, day: int) -> int:
        noon = day * hours.DAY_MS + hours.DAY_MS // 2
        return max(0, (noon - hours.to_ms(self.options.start)) // (7 * hours.DAY_MS))

    def _busy(self, person: int, day: int, factor: float) -> None:
        """What one person begins on a day, and what comes of it."""
        rng, circle, whom = self.rng, self.circles[person], self.organisation.people[person]
        swing = rng.lognormvariate(-(_DAY_SIGMA**2) / 2, _DAY_SIGMA)
        if self.pressure:
            swing *= self.pressure.volume(self.team_of[person], self._week(day))
        count = int(self.begun * whom.activity * factor * swing + rng.random())
        midnight = day * hours.DAY_MS - self.offsets[whom.office]
        if self.pressure and circle.mates and factor == 1.0:
            self._call_meetings(self.pressure, person, day, midnight)
        if not count or not circle.partners:
            return
        doings = rng.choices(habits.HABITS, cum_weights=habits.CUMULATIVE, k=count)
        partners = rng.choices(circle.partners, cum_weights=circle.cumulative, k=count)
        slots = rng.choices(hours.SLOTS, cum_weights=hours.CUMULATIVE, k=count)
        if self.pressure:
            late = self.pressure.evening(person, self._week(day))
            slots = [rng.choice(hours.EVENING) if rng.random() < late else slot for slot in slots]
        for habit, partner, slot in zip(doings, partners, slots, strict=True):
            self._do(habit, person, partner, midnight + slot + int(rng.random() * hours.SLOT_MS))

    def _call_meetings(self, pressure: Pressure, person: int, day: int, midnight: int) -> None:
        mates = self.circles[person].mates
        count = int(pressure.meetings(person, self.team_of[person], self._week(day)) + self.rng.random())
        for _ in range(count):
            some = self.rng.sample(mates, min(len(mates), self.rng.randint(1, 3)))
            at = midnight + self.rng.choice(hours.WORKING) + self.rng.randrange(hours.SLOT_MS)
            self._interact(at, calendar.AD_HOC, person, some)

    def _do(self, habit: Habit, actor: int, partner: int, at: int) -> None:
        if habit.outside:
            self._interact(at, habit, actor, (), [self.rng.choice(self.organisation.outsiders)])
            return
        self._interact(at, habit, actor, self._targets(habit, actor, partner))
        while habit.answered and self.rng.random() < habit.answered:
            pause = min(_ANSWER_MAX_S, self.rng.lognormvariate(math.log(habit.answer_s), _ANSWER_SIGMA))
            answer = self._when(partner, at + int(pause * 1000))
            self._interact(answer, habit, partner, (actor,), response_s=(answer - at) // 1000)
            actor, partner, at = partner, actor, answer

    def _targets(self, habit: Habit, actor: int, partner: int) -> Sequence[int]:
        circle = self.circles[actor]
        if habit.channel and circle.mates:
            return circle.mates
        if not habit.others[1]:
            return (partner,)
        more = self.rng.choices(circle.partners, cum_weights=circle.cumulative, k=self.rng.randint(*habit.others))
        return tuple(dict.fromkeys((partner, *more)))

    def _when(self, person: int, at: int) -> int:
        """When the person gets round to what reaches them at `at`."""
        offset = self.offsets[self.organisation.people[person].office]
        if hours.is_open(at + offset) or self.rng.random() > _WAITS:
            return at
        return hours.next_opening(at + offset) - offset + int(self.rng.expovariate(1 / _MORNING_MS))

    def _keep(self, appointment: Appointment, day: int) -> None:
        """Put an appointment of the day on the clock of whoever calls it."""
        offset = self.offsets[self.organisation.people[appointment.actor].office]
        at = day * hours.DAY_MS + appointment.minute * hours.MINUTE_MS - offset
        self._interact(at, appointment.habit, appointment.actor, appointment.targets)

    def _heartbeats(self, day: int) -> None:
        """Every full hour in which some office may be at work, from every source. Nothing at week-ends."""
        if not hours.is_workday(day):
            return
        for hour in sorted({local - offset // hours.HOUR_MS for offset in self.offsets for local in _AWAKE}):
            for source in habits.SOURCES:
                self._draft(day * hours.DAY_MS + hour * hours.HOUR_MS, "source.heartbeat", source, {})

    # -------------------------------------------------------------------------------------------- the roster

    def _leave(self, change: Change) -> None:
        """Nobody answers who has left, and nobody answers them."""
        del self.team_of[change.person]
        self.drafts = [draft for draft in self.drafts if change.person not in draft.people]
        self._enrol(hours.to_ms(change.at), change.kind, change.person)
        self._meet()

    def _place(self, change: Change, team: int) -> None:
        self.team_of[change.person] = team
        self._enrol(hours.to_ms(change.at), change.kind, change.person)
        self._meet()

    def _enrol(self, at: int, kind: str, person: int) -> None:
        its = self.organisation.people[person]
        data: dict[str, object] = {"person": its.id}
        if person in self.team_of:
            team = self.organisation.teams[self.team_of[person]]
            manager = its.manager if self.team_of[person] == its.team else team.lead
            data |= {"team": team.name, "role_class": its.role_class}
            data |= {"manager": self.organisation.people[manager].id} if manager is not None else {}
            data["tz"] = self.organisation.offices[its.office].key
        self._draft(at, f"roster.{kind}", habits.ROSTER, data)

    def _meet(self) -> None:
        self.circles = circles.circles(self.organisation, self.acquaintance, self.team_of)

    # -------------------------------------------------------------------------------------------- drafts

    def _interact(
        self,
        at: int,
        habit: Habit,
        actor: int,
        targets: Sequence[int],
        others: Sequence[str] = (),
        response_s: int | None = None,
    ) -> None:
        """Draft one interaction. `others` are ids of people outside."""
        people, whom = self.organisation.people, self.organisation.people[actor]
        data: dict[str, object] = {"actor": whom.id, "targets": [*(people[t].id for t in targets), *others]}
        if habit.broadcast or len(targets) > 1:
            data["scope"] = "broadcast" if habit.broadcast else "group"
        if habit.minutes:
            data["duration_s"] = 60 * self.rng.randint(*habit.minutes)
        if response_s is not None:
            data["response_s"] = response_s
        data["tz_offset_min"] = self.offsets[whom.office] // hours.MINUTE_MS
        self._draft(at, f"interaction.{habit.medium}", habit.source, data, (actor, *targets))

    def _draft(self, at: int, kind: str, source: str, data: dict[str, object], people: tuple[int, ...] = ()) -> None:
        self.made += 1
        self.drafts.append(_Draft(at, self.made, kind, source, data, people))
