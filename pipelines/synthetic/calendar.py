"""What is fixed in advance: weekly meetings of teams and of leads, one-to-ones, and news to a department."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipelines.synthetic import habits, hours
from pipelines.synthetic.habits import Habit
from pipelines.synthetic.organisation import Organisation

_TEAM = Habit("meeting", habits.CALENDAR, 0.0, minutes=(30, 60))
_LEADS = Habit("meeting", habits.CALENDAR, 0.0, minutes=(45, 90))
_ONE_TO_ONE = Habit("meeting", habits.CALENDAR, 0.0, minutes=(25, 35))
_NEWS = Habit("email", habits.MAIL, 0.0, broadcast=True)
#: Called by anybody, when there is pressure.
AD_HOC = Habit("meeting", habits.CALENDAR, 0.0, minutes=(30, 60))
_NEWS_PER_DAY, _NEWS_MAX = 0.1, 200
_STARTS = tuple(60 * hour for hour in (9, 10, 11, 13, 14, 15, 16))


@dataclass(frozen=True, slots=True)
class Appointment:
    """People by their places in `Organisation.people`; `minute` of the local day of who calls it."""

    habit: Habit
    actor: int
    targets: Sequence[int]
    minute: int


def per_day(organisation: Organisation) -> float:
    """How many appointments there are, per person and working day."""
    led = [team for team in organisation.teams if team.lead is not None]
    departments = {team.department for team in led}
    one_to_ones = sum(team.size - 1 for team in led) / 10
    meetings = (len(led) + len(departments)) / 5
    return (one_to_ones + meetings + _NEWS_PER_DAY * len(led)) / sum(team.size for team in organisation.teams)


def appointments(
    organisation: Organisation, team_of: Mapping[int, int], day: int, rng: random.Random
) -> Iterator[Appointment]:
    """All appointments of a working day that have somebody to meet."""
    members: dict[int, list[int]] = defaultdict(list)
    for person, team in team_of.items():
        members[team].append(person)
    for drawn in (*_of_teams(organisation, members, day, rng), *_of_departments(organisation, members, day, rng)):
        if drawn.targets:
            yield drawn


def _of_teams(
    organisation: Organisation, members: Mapping[int, list[int]], day: int, rng: random.Random
) -> Iterator[Appointment]:
    """Each team weekly, each of its people with the lead once a fortnight; each on a day of its own."""
    today, fortnight = hours.weekday(day), day // 7 % 2
    for number, team in enumerate(organisation.teams):
        if team.lead is None:
            continue
        staff = [person for person in members[number] if person != team.lead]
        if number % 5 == today:
            yield Appointment(_TEAM, team.lead, staff, rng.choice(_STARTS))
        for person in staff:
            if person % 5 == today and person // 5 % 2 == fortnight:
                yield Appointment(_ONE_TO_ONE, team.lead, (person,), rng.choice(_STARTS))


def _of_departments(
    organisation: Organisation, members: Mapping[int, list[int]], day: int, rng: random.Random
) -> Iterator[Appointment]:
    """The leads of a department meet once a week; now and then one of them writes to the whole department."""
    leads: dict[int, list[int]] = defaultdict(list)
    staff: dict[int, list[int]] = defaultdict(list)
    for number, team in enumerate(organisation.teams):
        leads[team.department] += [] if team.lead is None else [team.lead]
        staff[team.department] += members[number]
    for department, its in leads.items():
        if its and department % 5 == hours.weekday(day):
            yield Appointment(_LEADS, its[0], its[1:], rng.choice(_STARTS))
        for lead in its:
            if rng.random() < _NEWS_PER_DAY:
                others = [person for person in staff[department] if person != lead]
                yield Appointment(_NEWS, lead, others[:_NEWS_MAX], rng.choice(_STARTS))
