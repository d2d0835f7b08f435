"""A synthetic organisation with known effects: what a causal analysis has to find, and what it must not claim.

The weeks are those of `synthetic` under pressure. Surveys are put on top, made of what people really did, as the weekly load
counts it: so the truth is exact, and no analysis is told anything that a real organisation would not send.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import numpy as np

from pipelines import synthetic
from pipelines.events import schema
from pipelines.jobs import synthesise
from pipelines.metrics import load
from pipelines.metrics.weeks_roster import roster_of
from pipelines.model import Interaction, RosterChange
from pipelines.person_weeks import MEDIA, NO_OFFSET, NO_RESPONSE, SCOPES, Acts, WeekRows

SOURCE = "/synthetic/survey"
#: Weeks before the outcome that an effect is the mean of, as in the questions of the causal analysis.
LAGS = 4
_ANSWERS = 0.9  # share of people who answer in a week
_PERSISTS, _NOISE = 0.4, 0.45


@dataclass(frozen=True, slots=True)
class Truth:
    """A planted effect on a survey measure, in its points per unit of the treatment; 0: none, whatever it looks like.

    trap: something else moves both, so that a correlation would claim an effect.
    """

    treatment: str
    outcome: str
    effect: float
    words: str
    trap: bool = False


TRUTHS = (
    Truth("after_hours_share", "exhaustion", 3.0, "late work exhausts"),
    Truth("meeting_h", "recovery", -0.12, "meetings cost recovery"),
    Truth("meeting_h", "exhaustion", 0.0, "meetings do not exhaust: a busy team has more of both", trap=True),
    Truth("after_hours_share", "recovery", 0.0, "late work does not touch recovery"),
    Truth(
        "response_load", "exhaustion", 0.0, "having to answer does not exhaust: a busy team has more of both", trap=True
    ),
    Truth("response_load", "recovery", 0.0, "having to answer does not touch recovery"),
    Truth("fragmentation", "exhaustion", 0.0, "broken-up work does not exhaust"),
    Truth("fragmentation", "recovery", 0.0, "broken-up work does not touch recovery"),
)
#: Points of exhaustion per unit of the team mates' mean after-hours share: it spills over.
SPILLOVER = 2.5
#: Each measure: its usual level, and the points that one more message received a week adds. This is the common cause: what a
#: busy team receives follows its crunch, and so do its meetings.
_MEASURES: Mapping[str, tuple[float, float]] = {"exhaustion": (3.2, 0.012), "recovery": (4.8, 0.0)}


@dataclass(frozen=True, slots=True)
class Planted:
    """What is put on top of the weeks. The common cause of `_MEASURES` is always there."""

    truths: tuple[Truth, ...] = TRUTHS
    spillover: float = SPILLOVER


PLANTED = Planted()
#: An organisation in which nothing has an effect, and a busy team looks worse all the same.
NOTHING = Planted(tuple(replace(truth, effect=0.0) for truth in TRUTHS), 0.0)


def events(options: synthetic.Options, planted: Planted = PLANTED) -> Iterator[bytes]:
    """The events of the options in order of time, and after them the surveys. The same options give the same bytes."""
    interactions: list[Interaction] = []
    roster: list[RosterChange] = []
    for payload in synthesise.events(options):
        event, _ = schema.parse(payload)
        if isinstance(event, Interaction):
            interactions.append(event)
        elif isinstance(event, RosterChange):
            roster.append(event)
        yield payload
    yield from surveys(weeks(interactions, roster, options), options, planted)


def weeks(
    interactions: Sequence[Interaction], changes: Sequence[RosterChange], options: synthetic.Options
) -> list[WeekRows]:
    """The weekly load of every complete week."""
    acts, roster = acts_of(interactions), roster_of(changes)
    first, last = options.start.date(), options.end.astimezone(UTC).date()
    monday = first + timedelta(days=-first.weekday() % 7)
    count = (last - monday).days // 7
    return [load.week_rows(acts, roster, monday + timedelta(weeks=n)) for n in range(count)]


def acts_of(interactions: Sequence[Interaction]) -> Acts:
    """Interactions as columns."""
    people: dict[str, int] = {}
    actors = [people.setdefault(e.actor, len(people)) for e in interactions]
    ends = [(row, people.setdefault(t, len(people))) for row, e in enumerate(interactions) for t in e.targets]
    return Acts(
        people=tuple(people),
        time_ms=np.array([e.time_ms for e in interactions], dtype=np.int64),
        medium=np.array([MEDIA.index(e.medium) for e in interactions], dtype=np.int8),
        scope=np.array([SCOPES.index(e.scope) for e in interactions], dtype=np.int8),
        actor=np.array(actors, dtype=np.int32),
        target_count=np.array([e.target_count for e in interactions], dtype=np.int16),
        duration_s=np.array([e.duration_s for e in interactions], dtype=np.int32),
        response_s=np.array([_or(e.response_s, NO_RESPONSE) for e in interactions], dtype=np.int32),
        offset_min=np.array([_or(e.tz_offset_min, NO_OFFSET) for e in interactions], dtype=np.int16),
        target_row=np.array([row for row, _ in ends], dtype=np.int64),
        target=np.array([target for _, target in ends], dtype=np.int32),
    )


def _or(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value


# ------------------------------------------------------------------------------------------------ surveys


def surveys(rows: Sequence[WeekRows], options: synthetic.Options, planted: Planted) -> Iterator[bytes]:
    """The answers of everybody, week by week, made of the weeks before."""
    chance = synthetic.repeatable(f"survey {options.mark}")
    noises: dict[tuple[str, str], float] = defaultdict(float)
    usual = {measure: _Usual(chance) for measure in _MEASURES}
    for number in range(LAGS, len(rows)):
        before, now = rows[number - LAGS : number], rows[number]
        means = _means(before)
        for measure in _MEASURES:
            week_level = chance.gauss(0.0, 0.15)
            for person in sorted(means.keys() & set(now.people)):
                noise = _PERSISTS * noises[measure, person] + chance.gauss(0.0, _NOISE)
                noises[measure, person] = noise
                value = usual[measure].of(person) + week_level + _effect(measure, means[person], planted) + noise
                if chance.random() < _ANSWERS:
                    yield _answer(options, measure, person, now.week, value)


class _Usual:
    """Where each person is without any effect: drawn when first asked for, then fixed."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._levels: dict[str, float] = {}

    def of(self, person: str) -> float:
        if person not in self._levels:
            self._levels[person] = self._chance.gauss(0.0, 0.5)
        return self._levels[person]


def _means(before: Sequence[WeekRows]) -> dict[str, dict[str, float]]:
    """For each person the means over the weeks worked of what an effect is made of."""
    names = ("received", "mates", *{truth.treatment for truth in TRUTHS})
    sums: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for rows in before:
        columns = {**rows.values, "mates": _mates(rows)}
        for place, person in enumerate(rows.people):
            if rows.values["working_days"][place] > 0:
                for name in names:
                    sums[person][name].append(float(columns[name][place]))
    return {person: {name: _mean(values) for name, values in its.items()} for person, its in sums.items()}


def _mates(rows: WeekRows) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The mean after-hours share of the others in each person's team; 0 where there is none."""
    share = np.nan_to_num(rows.values["after_hours_share"])
    totals: dict[str | None, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for team, value in zip(rows.teams, share, strict=True):
        totals[team][0] += value
        totals[team][1] += 1
    return np.array(
        [
            (totals[team][0] - value) / (totals[team][1] - 1) if team and totals[team][1] > 1 else 0.0
            for team, value in zip(rows.teams, share, strict=True)
        ]
    )


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if value == value]
    return sum(known) / len(known) if known else 0.0


def _effect(measure: str, means: Mapping[str, float], planted: Planted) -> float:
    level, per_message = _MEASURES[measure]
    own = sum(truth.effect * means[truth.treatment] for truth in planted.truths if truth.outcome == measure)
    spilt = planted.spillover * means["mates"] if measure == "exhaustion" else 0.0
    return level + per_message * means["received"] + own + spilt


def _answer(options: synthetic.Options, measure: str, person: str, week: date, value: float) -> bytes:
    """Asked on Friday at noon. To a tenth of a point, and no further than the scale goes."""
    at = datetime(week.year, week.month, week.day, 12, tzinfo=UTC) + timedelta(days=4)
    data = {"person": person, "measure": measure, "value": min(7.0, max(1.0, round(value, 1))), "scale": "1-7"}
    data["period"] = f"{week.isocalendar().year}-W{week.isocalendar().week:02d}"
    id_ = f"{options.mark}-{measure}-{week.isoformat()}-{person[2:18]}"
    return schema.encode("outcome.recorded", SOURCE, id_, at, data)
