"""A made-up organisation: who is there, in which team, under whom, in which time zone, and who comes, moves and leaves.

Everything follows from the options, so that the same options give the same people on every machine. Nobody has a name,
not even before pseudonymisation.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from zoneinfo import ZoneInfo

from pipelines.errors import InvalidInput

MIN_PEOPLE = 12
#: Teams of this size can spare people; smaller ones are there so that the k >= 5 rule has something to hide.
_FULL_TEAM = 5
_TEAM_MEAN, _TEAM_SPREAD, _TEAM_MAX = 8, 2.5, 15
_TEAMS_PER_DEPARTMENT = (3, 6)
_WEEKS_PER_MOVE = 2
#: Spread of log-activity: the busiest tenth then does about a quarter of everything.
_ACTIVITY_SIGMA = 0.6
_ELSEWHERE = 0.15
_PEOPLE_PER_OUTSIDER = 2
_ZONES = ("Europe/Berlin", "America/New_York", "Asia/Singapore")
_THREE_OFFICES_FROM = 60
_DEPARTMENTS = ("Platform", "Product", "Sales", "Operations", "Finance", "Research", "Support", "Design", "Legal")
_TEAMS = (
    "North",
    "Harbour",
    "Delta",
    "Orchard",
    "Compass",
    "Lantern",
    "Summit",
    "Bridge",
    "Meadow",
    "Anchor",
    "Beacon",
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to make up.

    Args:
        end: nothing happens at or after this time; aware.
        people: at the start; one more joins later, and one leaves.
        per_day: mean interactions per person (as their actor) and working day.
        quiet_week: number of a week, from 0, in which hardly anybody works.
        pressure: weeks differ by person and team as `pressure` describes, so that there are effects to look for.
    """

    end: datetime
    people: int = 120
    weeks: int = 4
    seed: int = 1
    per_day: float = 20.0
    quiet_week: int | None = None
    pressure: bool = False

    def __post_init__(self) -> None:
        if self.end.tzinfo is None:
            raise InvalidInput("end has no time zone; give an aware time such as 2026-03-02T00:00:00Z")
        if self.people < MIN_PEOPLE:
            raise InvalidInput(f"{self.people} people are too few for teams; give {MIN_PEOPLE} or more")
        if self.weeks < 1 or self.per_day < 1:
            raise InvalidInput(f"{self.weeks} weeks with {self.per_day} interactions a day; give 1 or more of both")

    @property
    def start(self) -> datetime:
        return self.end.astimezone(UTC) - timedelta(weeks=self.weeks)

    @property
    def mark(self) -> str:
        """Twelve digits that are the same for equal options and different for others."""
        words = (
            f"{self.start.isoformat()} {self.weeks} {self.people} {self.seed} {float(self.per_day)} {self.quiet_week}"
            + " pressure" * self.pressure
        )
        return hashlib.sha256(words.encode()).hexdigest()[:12]


def repeatable(words: str) -> random.Random:
    """A generator of our own that starts the same for the same words, everywhere."""
    return random.Random(words)  # noqa: S311 - these draws are to be repeated, not to be secret


@dataclass(frozen=True, slots=True)
class Team:
    """`lead` is a place in `Organisation.people`; None in a team of one."""

    name: str
    department: int
    office: int
    size: int
    lead: int | None


@dataclass(frozen=True, slots=True)
class Person:
    """`team` and `manager` as of the first day, as places; `activity` is relative, with mean 1 over all."""

    id: str
    team: int
    role_class: str
    manager: int | None
    office: int
    activity: float


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the roster at `at`. Of `person` and `team`: places. `team` is None for who left."""

    at: datetime
    kind: str
    person: int
    team: int | None


@dataclass(frozen=True, slots=True)
class Organisation:
    """`people` is everybody who is ever there: the last one joins during the period, if it is long enough."""

    offices: tuple[ZoneInfo, ...]
    teams: tuple[Team, ...]
    people: tuple[Person, ...]
    changes: tuple[Change, ...]
    outsiders: tuple[str, ...]


def found(options: Options) -> Organisation:
    """The organisation of these options. People and teams depend on `people` and `seed` only, not on the time."""
    rng = repeatable(f"organisation {options.seed} {options.people}")
    zones = _ZONES if options.people >= _THREE_OFFICES_FROM else _ZONES[:2]
    teams = _teams(_sizes(options.people, rng), len(zones), rng)
    people = _people(options.seed, teams, len(zones), rng)
    outsiders = tuple(_pseudonym("x", options.seed, i) for i in range(options.people // _PEOPLE_PER_OUTSIDER))
    changes = _changes(options, teams, people, rng)
    return Organisation(tuple(map(ZoneInfo, zones)), teams, people, changes, outsiders)


# ------------------------------------------------------------------------------------------------ teams


def _sizes(people: int, rng: random.Random) -> list[int]:
    """Sizes of all teams in random order: one of 1, one of 3 or 4, the others 5 to 19."""
    sizes = [1, rng.choice((3, 4))]
    left = people - sum(sizes)
    while left:
        size = min(_TEAM_MAX, max(_FULL_TEAM, round(rng.gauss(_TEAM_MEAN, _TEAM_SPREAD))))
        size = left if left - size < _FULL_TEAM else size
        sizes.append(size)
        left -= size
    rng.shuffle(sizes)
    return sizes


def _teams(sizes: list[int], offices: int, rng: random.Random) -> tuple[Team, ...]:
    firsts = [0, *accumulate(sizes)]
    teams: list[Team] = []
    department = 0
    while len(teams) < len(sizes):
        words = rng.sample(_TEAMS, rng.randint(*_TEAMS_PER_DEPARTMENT))
        home = rng.randrange(offices)
        for word in words[: len(sizes) - len(teams)]:
            size, first = sizes[len(teams)], firsts[len(teams)]
            office = home if rng.random() < 0.7 else rng.randrange(offices)
            lead = first if size > 1 else None
            teams.append(Team(f"{_department(department)} {word}", department, office, size, lead))
        department += 1
    return tuple(teams)


def _department(number: int) -> str:
    round_, place = divmod(number, len(_DEPARTMENTS))
    return _DEPARTMENTS[place] + (f" {round_ + 1}" if round_ else "")


# ------------------------------------------------------------------------------------------------ people


def _people(seed: int, teams: tuple[Team, ...], offices: int, rng: random.Random) -> tuple[Person, ...]:
    """Everybody at the start, team after team, the lead first; then the one who is to join."""
    heads = _heads(teams)
    seats = [team for team, its in enumerate(teams) for _ in range(its.size)]
    seats.append(_full(teams, rng))
    drawn = [rng.lognormvariate(0.0, _ACTIVITY_SIGMA) for _ in seats]
    mean = sum(drawn) / len(drawn)
    return tuple(
        Person(
            _pseudonym("p", seed, person),
            team,
            _role(person, teams[team], heads),
            _manager(person, teams[team], heads),
            teams[team].office if rng.random() > _ELSEWHERE else rng.randrange(offices),
            activity / mean,
        )
        for person, (team, activity) in enumerate(zip(seats, drawn, strict=True))
    )


def _heads(teams: tuple[Team, ...]) -> dict[int, int]:
    """The manager of each department: the lead of its largest team."""
    heads: dict[int, int] = {}
    for team in sorted(teams, key=lambda t: t.size):
        if team.lead is not None:
            heads[team.department] = team.lead
    return heads


def _role(person: int, team: Team, heads: dict[int, int]) -> str:
    if person in heads.values():
        return "manager"
    return "lead" if person == team.lead else "ic"


def _manager(person: int, team: Team, heads: dict[int, int]) -> int | None:
    """Lead, head of the department, head of the first department: the next one up who is somebody else."""
    top = heads[min(heads)]
    chain = (team.lead, heads.get(team.department, top), top)
    places = [other for other in chain if other is not None]
    above = places[places.index(person) :] if person in places else places
    return next((other for other in above if other != person), None)


def _pseudonym(prefix: str, seed: int, number: int) -> str:
    """Made of the seed, not of the secret key: these people do not exist."""
    return f"{prefix}_{hashlib.sha256(f'synthetic {seed} {prefix} {number}'.encode()).hexdigest()[:32]}"


# ------------------------------------------------------------------------------------------------ changes


def _full(teams: tuple[Team, ...], rng: random.Random, but: int | None = None) -> int:
    """A team, other than `but`, that is large enough to take part in changes."""
    return rng.choice([i for i, t in enumerate(teams) if t.size >= _FULL_TEAM and i != but])


def _changes(
    options: Options, teams: tuple[Team, ...], people: tuple[Person, ...], rng: random.Random
) -> tuple[Change, ...]:
    """One leaves half-way, one joins, and every other week one moves; all on Saturdays, when nobody works."""
    saturdays = _saturdays(options.start, options.end.astimezone(UTC))
    staff = [i for i, p in enumerate(people[:-1]) if p.role_class == "ic" and teams[p.team].size >= _FULL_TEAM]
    leaver, *movers = rng.sample(staff, len(staff))
    joiner = len(people) - 1
    changes = [
        Change(saturdays[len(saturdays) // 2], "left", leaver, None),
        Change(saturdays[len(saturdays) // 3], "joined", joiner, people[joiner].team),
    ]
    if movers and sum(t.size >= _FULL_TEAM for t in teams) > 1:
        team_of = {person: people[person].team for person in movers}
        changes += _moves(saturdays[1::_WEEKS_PER_MOVE] or saturdays, movers, team_of, teams, rng)
    return tuple(sorted((c for c in changes if c.at < options.end), key=lambda c: c.at))


def _moves(
    saturdays: list[datetime], movers: list[int], team_of: dict[int, int], teams: tuple[Team, ...], rng: random.Random
) -> list[Change]:
    moves = []
    for number, at in enumerate(saturdays):
        person = movers[number % len(movers)]
        team_of[person] = _full(teams, rng, but=team_of[person])
        moves.append(Change(at + timedelta(hours=1), "moved", person, team_of[person]))
    return moves


def _saturdays(start: datetime, end: datetime) -> list[datetime]:
    """Every Saturday, 12:00 UTC, of the period: then it is week-end in all offices. At least one in any seven days."""
    noon = start.replace(hour=12, minute=0, second=0, microsecond=0)
    noon += timedelta(days=(5 - noon.weekday()) % 7)
    noon += timedelta(weeks=1) if noon <= start else timedelta()
    return [noon + timedelta(weeks=week) for week in range((end - noon) // timedelta(weeks=1) + 1)]
